//! Times as people write them: `90s`, `5m`, or a bare number of seconds.

use jiff::fmt::friendly::SpanParser;
use std::time::Duration;

/// Reads a time; none if it is not one, or below zero.
pub fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    match text.parse() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => SpanParser::new().parse_unsigned_duration(text).ok(),
    }
}

/// A time in the largest unit that gives a whole number.
pub fn text(time: Duration) -> String {
    let seconds = time.as_secs();
    match time.subsec_nanos() {
        0 if seconds > 0 && seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        0 if seconds > 0 && seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        0 => format!("{seconds}s"),
        nanos if seconds == 0 && nanos.is_multiple_of(1_000_000) => {
            format!("{}ms", nanos / 1_000_000)
        }
        _ => format!("{}s", time.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_time_is_shown_in_its_largest_whole_unit() {
        let shown = |milliseconds| text(Duration::from_millis(milliseconds));
        let all = [0, 250, 1500, 90_000, 300_000, 7_200_000].map(shown);
        assert_eq!(all, ["0s", "250ms", "1.5s", "90s", "5m", "2h"]);
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back_as_the_same(milliseconds in 0u64..10_000_000_000) {
            let time = Duration::from_millis(milliseconds);
            prop_assert_eq!(parse(&text(time)), Some(time));
        }
    }
}
