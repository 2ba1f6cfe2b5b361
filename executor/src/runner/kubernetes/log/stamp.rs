//! The times with which the container runtime stamps what a container writes.

use std::fmt;

const NANOS: i64 = 1_000_000_000;

/// A time of the container runtime's clock, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Stamp(pub(super) i64);

/// What stands at the beginning of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begins {
    /// A stamp, of so many bytes with the space behind it.
    With(Stamp, usize),
    /// It may become a stamp with more bytes.
    Unclear,
    /// No stamp.
    Otherwise,
}

/// As the kubelet writes it, for any zone: a digit for `0`, a sign for `+`, and the rest as it stands.
const UTC: &[u8] = b"0000-00-00T00:00:00.000000000Z ";
const ZONED: &[u8] = b"0000-00-00T00:00:00.000000000+00:00 ";

impl Stamp {
    /// The whole second in which it lies, in seconds since 1970.
    pub(super) fn second(self) -> i64 {
        self.0.div_euclid(NANOS)
    }

    /// Milliseconds since 1970.
    pub(super) fn millis(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// A time of the API, if it is one of our age.
    pub(super) fn of(time: jiff::Timestamp) -> Self {
        Self(i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX))
    }

    /// What stands at the beginning of `bytes`.
    pub(super) fn at_start(bytes: &[u8]) -> Begins {
        // Nearly always, and each line of a log comes through here.
        if let Some(text) = bytes.first_chunk::<{ UTC.len() }>()
            && let Some(stamp) = utc(text)
        {
            return Begins::With(stamp, UTC.len());
        }
        let shape =
            if bytes.get(UTC.len() - 2).is_none_or(|byte| *byte == b'Z') { UTC } else { ZONED };
        let fits = shape.iter().zip(bytes).all(|(want, byte)| match want {
            b'0' => byte.is_ascii_digit(),
            b'+' => matches!(byte, b'+' | b'-'),
            _ => want == byte,
        });
        match (fits, bytes.get(..shape.len())) {
            (false, _) => Begins::Otherwise,
            (true, None) => Begins::Unclear,
            (true, Some(text)) => {
                read(text).map_or(Begins::Otherwise, |stamp| Begins::With(stamp, shape.len()))
            }
        }
    }
}

/// Reads a stamp in UTC, if it is one.
fn utc(text: &[u8; UTC.len()]) -> Option<Stamp> {
    let mut place = 0;
    while place < UTC.len() {
        let fits = match UTC[place] {
            b'0' => text[place].is_ascii_digit(),
            other => text[place] == other,
        };
        if !fits {
            return None;
        }
        place += 1;
    }
    read(text)
}

/// Reads what has the right shape.
fn read(text: &[u8]) -> Option<Stamp> {
    let number = |from: usize, to: usize| {
        let (mut number, mut place) = (0, from);
        while place < to {
            number = number * 10 + i64::from(text[place] - b'0');
            place += 1;
        }
        number
    };
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    let (hour, minute, second) = (number(11, 13), number(14, 16), number(17, 19));
    let sane = (1970..2262).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 61;
    let zone = match text[29] {
        b'+' => number(30, 32) * 3600 + number(33, 35) * 60,
        b'-' => -(number(30, 32) * 3600 + number(33, 35) * 60),
        _ => 0,
    };
    let seconds = (days(year, month, day) * 24 + hour) * 3600 + minute * 60 + second - zone;
    sane.then(|| Stamp(seconds * NANOS + number(20, 29)))
}

/// Days since 1970: years begin in March here, so that the leap day is the last of its year.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_nanosecond(i128::from(self.0)) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => write!(f, "{} ns since 1970", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(stamp: Stamp) -> String {
        let time = jiff::Timestamp::from_nanosecond(i128::from(stamp.0)).unwrap();
        format!("{time:.9} ")
    }

    proptest! {
        /// P4: as another implementation reads it.
        #[test]
        fn a_stamp_is_read_as_it_was_written(nanos in 0i64..9_000_000_000_000_000_000, rest: Vec<u8>) {
            let stamp = Stamp(nanos);
            let mut bytes = text(stamp).into_bytes();
            let length = bytes.len();
            for short in 0..length {
                prop_assert_eq!(Stamp::at_start(&bytes[..short]), Begins::Unclear);
            }
            bytes.extend(rest);
            prop_assert_eq!(Stamp::at_start(&bytes), Begins::With(stamp, length));
        }

        #[test]
        fn no_bytes_break_the_reader(bytes: Vec<u8>, text in "[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]{8,18}(Z|[+-][0-9:]{5}) ?.{0,3}") {
            for bytes in [bytes, text.into_bytes()] {
                if let Begins::With(_, length) = Stamp::at_start(&bytes) {
                    prop_assert!(length <= bytes.len());
                }
            }
        }

        #[test]
        fn a_stamp_of_another_zone_is_the_same_time(nanos in 9_000_000_000_000_000i64..9_000_000_000_000_000_000, hours in -12i8..=14) {
            let stamp = Stamp(nanos);
            let zone = jiff::tz::Offset::constant(hours).to_time_zone();
            let time = jiff::Timestamp::from_nanosecond(i128::from(nanos)).unwrap().to_zoned(zone);
            let text = time.strftime("%Y-%m-%dT%H:%M:%S.%9f%:z ").to_string();
            prop_assert_eq!(Stamp::at_start(text.as_bytes()), Begins::With(stamp, 36), "{}", text);
        }
    }

    #[test]
    fn what_only_looks_like_a_stamp_is_none() {
        for text in [
            "rpc error: code = Unavailable",
            "2026-11-28T20:31:26Z ",
            "2026-11-28T20:31:26.123456789Z\n",
            "2026-13-28T20:31:26.123456789Z ",
            "2026-11-28 20:31:26.123456789Z ",
        ] {
            assert_eq!(Stamp::at_start(text.as_bytes()), Begins::Otherwise, "{text}");
        }
    }
}
