//! A place in the log of a container, as text of at most 256 bytes.
//!
//! The API can begin with a whole second and not with a byte, and stamps are not in order. So a place is found again by
//! the piece with the latest stamp of all that were taken, the *peak*, and the number of pieces taken behind it: what
//! is sent before the peak, or among that many behind it, was taken. If a later stamp comes before the peak, then the
//! peak is not there any more: it was rotated away.
//!
//! A hundred of the 256 bytes stay free: what masks a log adds to it (`crate::mask`).

use super::{decode::Item, stamp::Stamp};
use crate::runner::RunnerError;
use bytes::Bytes;
use crc::{CRC_64_XZ, Crc, Table};
use std::fmt::Write;

static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_XZ);

/// The first word of a cursor: whose it is, and the version of what follows.
const VERSION: &str = "pod-log-1";

/// Stamps of the two outputs of a container are this much out of order at the most, in seconds.
const DISORDER: i64 = 1;

/// A place in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// How many bytes stand before it.
    pub(super) offset: u64,
    /// The last of them is no newline.
    pub(super) mid_line: bool,
    /// How the API's log continues there.
    pub(super) place: Place,
}

/// How the API's log continues behind a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// From its start.
    Start,
    /// Behind some piece, but for its last `left` bytes.
    Behind { taken: Taken, left: u32 },
    /// With the piece of this stamp: what was before it is missing, and that is said.
    Gap { since: i64, until: Stamp },
    /// Not at all: it was read to its end, or what is missing at its end is said.
    Over,
}

/// What was taken last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// The second from which on to ask so that the peak and all behind it come.
    pub(super) since: i64,
    /// The peak's stamp.
    pub(super) peak: Stamp,
    /// CRC-64/XZ of the peak's bytes.
    pub(super) crc: u64,
    /// The number of pieces taken behind the peak.
    pub(super) behind: u64,
}

impl Taken {
    fn first(item: &Item) -> Self {
        Self { since: item.stamp.second() - DISORDER, peak: item.stamp, crc: crc(item), behind: 0 }
    }

    /// Whether this is the peak.
    pub(super) fn is_peak(&self, item: &Item) -> bool {
        item.stamp == self.peak && crc(item) == self.crc
    }
}

fn crc(item: &Item) -> u64 {
    CRC.checksum(&item.content)
}

impl Place {
    /// The second from which on to ask; none: from the start.
    pub(super) fn since(self) -> Option<i64> {
        match self {
            Self::Start | Self::Over => None,
            Self::Behind { taken: Taken { since, .. }, .. } | Self::Gap { since, .. } => {
                Some(since)
            }
        }
    }

    /// The latest stamp that is known here.
    pub(super) fn latest(self) -> Option<Stamp> {
        match self {
            Self::Start | Self::Over => None,
            Self::Behind { taken: Taken { peak, .. }, .. } => Some(peak),
            Self::Gap { until, .. } => Some(until),
        }
    }

    /// The place behind `item`, which is the next here.
    pub(super) fn behind(self, item: &Item) -> Self {
        let taken = match self {
            Self::Behind { taken, .. } if item.stamp <= taken.peak => Taken {
                since: taken.since.min(item.stamp.second()),
                behind: taken.behind + 1,
                ..taken
            },
            _ => Taken::first(item),
        };
        Self::Behind { taken, left: 0 }
    }
}

impl Cursor {
    /// Before the first byte.
    pub(super) const START: Self = Self { offset: 0, mid_line: false, place: Place::Start };

    /// As it is handed out.
    pub(super) fn to_bytes(self) -> Bytes {
        let Self { offset, mid_line, place } = self;
        let mut text = format!("{VERSION} {offset} {} ", u8::from(mid_line));
        let written = match place {
            Place::Start => write!(text, "start"),
            Place::Behind { taken: Taken { since, peak, crc, behind }, left } => {
                write!(text, "behind {since} {} {crc:x} {behind} {left}", peak.0)
            }
            Place::Gap { since, until } => write!(text, "gap {since} {}", until.0),
            Place::Over => write!(text, "over"),
        };
        debug_assert!(written.is_ok(), "writing to a string does not fail");
        Bytes::from(text)
    }

    /// What [`Self::to_bytes`] made; empty: the start. An error says what is wrong with others, in words.
    pub(super) fn from_bytes(bytes: &Bytes) -> Result<Self, RunnerError> {
        if bytes.is_empty() {
            return Ok(Self::START);
        }
        str::from_utf8(bytes).ok().and_then(Self::parse).ok_or_else(|| {
            RunnerError::Refused(format!(
                "the cursor `{}` is not one of this runner, which begin with `{VERSION}`: start from the empty one",
                String::from_utf8_lossy(bytes)
            ))
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        if words.next() != Some(VERSION) {
            return None;
        }
        let offset = words.next()?.parse().ok()?;
        let mid_line = words.next()?.parse::<u8>().ok()? == 1;
        let place = match words.next()? {
            "start" => Place::Start,
            "behind" => {
                let since = words.next()?.parse().ok()?;
                let peak = Stamp(words.next()?.parse().ok()?);
                let crc = u64::from_str_radix(words.next()?, 16).ok()?;
                let behind = words.next()?.parse().ok()?;
                let left = words.next()?.parse().ok()?;
                Place::Behind { taken: Taken { since, peak, crc, behind }, left }
            }
            "gap" => Place::Gap {
                since: words.next()?.parse().ok()?,
                until: Stamp(words.next()?.parse().ok()?),
            },
            "over" => Place::Over,
            _ => return None,
        };
        words.next().is_none().then_some(Self { offset, mid_line, place })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn places() -> impl Strategy<Value = Place> {
        let behind =
            any::<(i64, i64, u64, u64, u32)>().prop_map(|(since, peak, crc, behind, left)| {
                Place::Behind { taken: Taken { since, peak: Stamp(peak), crc, behind }, left }
            });
        let gap = any::<(i64, i64)>()
            .prop_map(|(since, until)| Place::Gap { since, until: Stamp(until) });
        prop_oneof![Just(Place::Start), behind, gap, Just(Place::Over)]
    }

    proptest! {
        /// There is room for what masks a log.
        #[test]
        fn a_cursor_is_read_as_it_was_written(offset: u64, mid_line: bool, place in places()) {
            let cursor = Cursor { offset, mid_line, place };
            let bytes = cursor.to_bytes();
            prop_assert!(bytes.len() <= 160, "{} bytes", bytes.len());
            prop_assert_eq!(Cursor::from_bytes(&bytes).unwrap(), cursor);
            for cut in 1..bytes.len() {
                let refused = Cursor::from_bytes(&bytes.slice(..cut));
                // What ends within its last number is another number.
                prop_assert!(refused.is_err() || !matches!(place, Place::Start | Place::Over));
            }
        }
    }

    #[test]
    fn a_cursor_of_somebody_else_is_refused() {
        assert_eq!(Cursor::from_bytes(&Bytes::new()).unwrap(), Cursor::START);
        for bad in ["1048576", "pod-log-2 1 0 start", "pod-log-1 1 0 start 7", "\u{fffd}"] {
            let refused = Cursor::from_bytes(&Bytes::from(bad)).unwrap_err().to_string();
            assert!(refused.contains(bad) && refused.contains("empty one"), "{refused}");
        }
    }
}
