//! Times and labels as they are written on a command line.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use octavius_client::duration;
use octavius_protocol::MAX_TIME;
use std::time::Duration;

/// A length of time such as `90s`, `5m` or `1h 30m`, of at most [`MAX_TIME`]; a bare number is seconds.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    let span = duration::parse(text).filter(|span| !span.is_zero() && *span <= MAX_TIME);
    span.ok_or_else(|| {
        "write a time such as `90s`, `5m` or `1h 30m`, of at most 365 days".to_owned()
    })
}

/// For how long something is taken; none: until somebody ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lasting(pub(crate) Option<Duration>);

/// A length of time, or `never`.
pub(crate) fn lasting(text: &str) -> Result<Lasting, String> {
    match text.trim() {
        "never" => Ok(Lasting(None)),
        text => {
            span(text).map(|span| Lasting(Some(span))).map_err(|why| format!("{why}, or `never`"))
        }
    }
}

/// A moment: how long ago it was, or a time, which is of this machine's zone where it names none.
pub(crate) fn moment(text: &str) -> Result<Timestamp, String> {
    let text = text.trim();
    if let Some(ago) = duration::parse(text) {
        let moment = Timestamp::now().checked_sub(ago).ok();
        return moment.filter(|moment| *moment >= Timestamp::UNIX_EPOCH).ok_or_else(|| {
            format!("`{text}` ago is before 1970: leave it out, as nothing is that old")
        });
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let local = text.parse::<DateTime>().and_then(|local| local.to_zoned(TimeZone::system()));
    local.map(|local| local.timestamp()).map_err(|_| {
        "give how long ago, for example `10m` or `2h30m`, or a time, for example `2026-11-28` or \
         `2026-11-28T06:40:00Z`"
            .to_owned()
    })
}

/// A moment as the protocol has it.
pub(crate) fn sent(moment: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: moment.as_second(), nanos: moment.subsec_nanosecond() }
}

/// A label such as `zone=eu`.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` is no label: write NAME=VALUE, for example `zone=eu`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_people_do() {
        for (text, seconds) in [
            ("90", 90),
            ("90s", 90),
            ("5m", 300),
            ("1h 30m", 5400),
            ("1h30m", 5400),
            ("2d", 172_800),
        ] {
            assert_eq!(span(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "0", "0s", "-5s", "soon", "5 apples", "366d"] {
            assert!(span(text).unwrap_err().contains("`1h 30m`"), "{text}");
        }
        assert_eq!(span("500ms"), Ok(Duration::from_millis(500)));
    }

    #[test]
    fn a_time_is_given_as_such_or_as_how_long_ago_it_was() {
        let ago = Timestamp::now().duration_since(moment("10m").unwrap()).as_secs();
        // A second is cut off where the clock went on between the two.
        assert!((599..660).contains(&ago), "{ago}");
        assert_eq!(moment("2026-11-28T06:40:00Z"), Ok("2026-11-28T06:40:00Z".parse().unwrap()));
        assert_eq!(moment("2026-11-28T06:40:00+02:00"), moment("2026-11-28T04:40:00Z"));
        for local in ["2026-11-28", "2026-11-28 06:40", "2026-11-28T06:40:01.5"] {
            assert!(moment(local).is_ok(), "{local}");
        }
        for wrong in ["", "yesterday", "10 parsecs", "-5m"] {
            assert!(moment(wrong).unwrap_err().contains("`10m`"), "{wrong}");
        }
        assert!(moment("99999d").unwrap_err().contains("leave it out"));
    }

    #[test]
    fn a_label_has_a_name_and_a_value() {
        assert_eq!(label("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(label("a").is_err() && label("=b").is_err());
    }
}
