//! Lengths of time as people write them: `90s`, `5m`, `1h30m`, `1h 30m`.

use std::time::Duration;

/// The length of time that `text` says; a bare number is seconds. None where it says none.
pub fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Duration::from_secs);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, behind) = rest.split_at(digits);
        let letters = behind.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, behind) = behind.split_at(letters);
        total = total.checked_add(one(number.parse().ok()?, unit)?)?;
        rest = behind.trim_start();
    }
    (!text.is_empty()).then_some(total)
}

fn one(number: u64, unit: &str) -> Option<Duration> {
    let seconds = match unit {
        "ms" => return Some(Duration::from_millis(number)),
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    number.checked_mul(seconds).map(Duration::from_secs)
}

/// `duration` as [`parse`] reads it, with the largest units that fit.
pub fn text(duration: Duration) -> String {
    let mut seconds = duration.as_secs();
    let mut text = String::new();
    for (unit, length) in [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)] {
        if seconds >= length {
            text += &format!("{}{unit}", seconds / length);
            seconds %= length;
        }
    }
    match duration.subsec_millis() {
        0 if text.is_empty() => "0s".to_owned(),
        0 => text,
        milliseconds => text + &format!("{milliseconds}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_are_read_as_people_write_them() {
        let read = |text| parse(text).map(|length| length.as_millis());
        assert_eq!(read("90s"), Some(90_000));
        assert_eq!(read("90"), Some(90_000));
        assert_eq!(read("1h30m"), Some(5_400_000));
        assert_eq!(read(" 1h 30m "), Some(5_400_000));
        assert_eq!(read("250ms"), Some(250));
        for bad in [
            "",
            " ",
            "s",
            "-1s",
            "1.5s",
            "5 m",
            "5 minutes",
            "1h30",
            "1h 30",
            "99999999999999999999s",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(milliseconds in 0..u64::from(u32::MAX)) {
            let length = Duration::from_millis(milliseconds);
            prop_assert_eq!(parse(&text(length)), Some(length));
        }

        #[test]
        fn no_text_breaks_the_reader(text: String) {
            let _ = parse(&text);
        }
    }
}
