//! The lines of a log as they are shown: with times before them, if they are wanted, and markers between them.

use bytes::{BufMut, Bytes, BytesMut};
use jiff::tz::TimeZone;
use prost_types::Timestamp;

/// Where in its lines a log is.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    with_times: bool,
    /// Whether the last byte that was shown did not end a line.
    in_a_line: bool,
}

impl Lines {
    /// With the time before each line.
    pub(crate) fn with_times() -> Self {
        Self { with_times: true, in_a_line: false }
    }

    /// The bytes as they are shown. A line has the time of its first byte, however long it is.
    pub(crate) fn take(&mut self, data: Bytes, at: Option<Timestamp>) -> Bytes {
        let Some(last) = data.last().copied() else { return data };
        let shown = if self.with_times {
            let stamp = at.and_then(stamp).unwrap_or_else(|| "-".to_owned());
            let mut shown = BytesMut::with_capacity(data.len() + stamp.len() + 1);
            for line in data.split_inclusive(|byte| *byte == b'\n') {
                if !std::mem::replace(&mut self.in_a_line, !line.ends_with(b"\n")) {
                    shown.put_slice(stamp.as_bytes());
                    shown.put_u8(b' ');
                }
                shown.put_slice(line);
            }
            shown.freeze()
        } else {
            data
        };
        self.in_a_line = last != b'\n';
        shown
    }

    /// A line of our own, wherever the log is in its lines.
    pub(crate) fn marker(&mut self, text: &str) -> Bytes {
        let before = if std::mem::take(&mut self.in_a_line) { "\n" } else { "" };
        Bytes::from(format!("{before}[octavius: {text}]\n"))
    }
}

/// A time as it stands before a line: UTC, in milliseconds. None where it says none: the runner did not know it.
pub(crate) fn stamp(at: Timestamp) -> Option<String> {
    let at = jiff::Timestamp::new(at.seconds, at.nanos).ok()?;
    let known = at > jiff::Timestamp::UNIX_EPOCH;
    known.then(|| at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(millisecond: i32) -> Option<Timestamp> {
        Some(Timestamp { seconds: 1_795_848_033, nanos: millisecond * 1_000_000 })
    }

    #[test]
    fn a_line_has_the_time_of_its_first_byte_and_no_more() {
        let mut lines = Lines::with_times();
        let mut shown = Vec::new();
        shown.extend(lines.take(Bytes::from("one\ntw"), at(1)));
        shown.extend(lines.take(Bytes::from("o\n"), at(2)));
        shown.extend(lines.take(Bytes::new(), at(3)));
        shown.extend(lines.take(Bytes::from("\nend"), at(4)));
        let expected = "\
2026-11-28T06:40:33.001Z one
2026-11-28T06:40:33.001Z two
2026-11-28T06:40:33.004Z 
2026-11-28T06:40:33.004Z end";
        assert_eq!(String::from_utf8(shown).unwrap(), expected);
    }

    #[test]
    fn a_marker_has_a_line_of_its_own() {
        let mut lines = Lines::default();
        assert_eq!(lines.take(Bytes::from("half a li"), at(1)), "half a li");
        assert_eq!(lines.marker("7 bytes"), "\n[octavius: 7 bytes]\n");
        assert_eq!(lines.marker("again"), "[octavius: again]\n");
        assert_eq!(lines.take(Bytes::from("ne\n"), None), "ne\n");
        assert_eq!(lines.marker("7 bytes"), "[octavius: 7 bytes]\n");
    }

    #[test]
    fn what_has_no_time_says_so() {
        let mut lines = Lines::with_times();
        assert_eq!(lines.take(Bytes::from("x\n"), None), "- x\n");
        let never = Some(Timestamp { seconds: 0, nanos: 0 });
        assert_eq!(lines.take(Bytes::from("y\n"), never), "- y\n");
    }

    proptest! {
        #[test]
        fn without_times_every_byte_is_shown_as_it_is(pieces: Vec<Vec<u8>>) {
            let mut lines = Lines::default();
            for piece in pieces {
                prop_assert_eq!(lines.take(Bytes::from(piece.clone()), at(0)), piece);
            }
        }
    }
}
