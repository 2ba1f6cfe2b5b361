//! Times for people (with their offset, and how long ago) and for programs.

use super::Style;
use jiff::{SignedDuration, Timestamp};

/// A time of the protocol: seconds and nanoseconds since 1970.
pub(crate) fn timestamp(seconds: i64, nanos: i32) -> Option<Timestamp> {
    Timestamp::new(seconds, nanos).ok()
}

impl Style {
    /// A time with its offset.
    pub(crate) fn time(&self, time: Timestamp) -> String {
        time.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
    }

    /// How long ago a time is. Clocks differ: what lies ahead is now.
    pub(crate) fn age(&self, time: Timestamp) -> String {
        length(self.now.duration_since(time).max(SignedDuration::ZERO))
    }

    /// A time with its offset, and how long ago it is.
    pub(crate) fn time_and_age(&self, time: Timestamp) -> String {
        format!("{} ({} ago)", self.time(time), self.age(time))
    }
}

/// A length of time in its two largest units.
pub(crate) fn length(length: SignedDuration) -> String {
    let seconds = length.as_secs();
    match seconds {
        ..0 => "0s".to_owned(),
        0..60 => format!("{seconds}s"),
        60..3_600 => two(seconds, ("m", 60), ("s", 1)),
        3_600..86_400 => two(seconds, ("h", 3_600), ("m", 60)),
        _ => two(seconds, ("d", 86_400), ("h", 3_600)),
    }
}

fn two(seconds: i64, large: (&str, i64), small: (&str, i64)) -> String {
    let whole = seconds / large.1;
    match seconds % large.1 / small.1 {
        0 => format!("{whole}{}", large.0),
        rest => format!("{whole}{}{rest}{}", large.0, small.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_two_units_and_are_never_negative() {
        let style = Style::fixed();
        let age = |text: &str| style.age(text.parse().unwrap());
        assert_eq!(age("2026-11-25T11:59:58Z"), "2s");
        assert_eq!(age("2026-11-25T11:58:30Z"), "1m30s");
        assert_eq!(age("2026-11-25T10:00:00Z"), "2h");
        assert_eq!(age("2026-11-20T09:00:00Z"), "5d3h");
        assert_eq!(age("2026-11-25T12:05:00Z"), "0s");
    }

    #[test]
    fn a_time_carries_its_offset() {
        let style = Style::fixed();
        let shown = style.time_and_age("2026-11-25T11:00:00Z".parse().unwrap());
        assert_eq!(shown, "2026-11-25 13:00:00 +02:00 (1h ago)");
    }
}
