//! Times as people write them: `90s`, `5m`, `30d`, or a bare number of seconds.

use jiff::{SpanRelativeTo, fmt::friendly::SpanParser};
use std::time::Duration;

/// Reads a time; none if it is not one, or below zero.
pub fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    match text.parse() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => {
            let span = SpanParser::new().parse_span(text).ok()?;
            // Time that passes, and not days of a calendar.
            let time = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
            Duration::try_from(time).ok()
        }
    }
}

/// A time in the largest unit that gives a whole number.
pub fn text(time: Duration) -> String {
    let seconds = time.as_secs();
    match time.subsec_nanos() {
        0 if seconds > 0 && seconds.is_multiple_of(86_400) => format!("{}d", seconds / 86_400),
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
        let all = [0, 250, 1500, 90_000, 300_000, 7_200_000, 2_592_000_000].map(shown);
        assert_eq!(all, ["0s", "250ms", "1.5s", "90s", "5m", "2h", "30d"]);
    }

    #[test]
    fn a_day_has_24_hours_and_what_has_no_length_is_no_time() {
        let hours = |hours| Some(Duration::from_hours(hours));
        assert_eq!(
            (parse("30d"), parse("1d 12h"), parse("36h")),
            (hours(720), hours(36), hours(36))
        );
        for wrong in ["1 month", "1y", "-1d", "-5s", "5 apples", ""] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back_as_the_same(milliseconds in 0u64..10_000_000_000) {
            let time = Duration::from_millis(milliseconds);
            prop_assert_eq!(parse(&text(time)), Some(time));
        }
    }
}
