//! A place in a masked log: the runner's cursor, and what was masked before.
//!
//! Where nothing was masked yet it is the runner's cursor alone, so that who has nothing to mask pays nothing, and what an
//! earlier version handed out goes on. Nothing else is in it: it is only ever handed out for a place from which on
//! what is found does not depend on what stands before it ([`super::scan`]).

use crate::runner::RunnerError;
use bytes::{BufMut as _, Bytes, BytesMut};
use std::io::Write as _;

/// The first word of a cursor that is not the runner's alone, with the version of what follows.
const VERSION: &[u8] = b"masked-1 ";

/// A place in a masked log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// By how many bytes the log is shorter up to here than what the program wrote.
    pub(super) less: i64,
    /// How many values are masked before.
    pub(super) count: u64,
    /// How it goes on.
    pub(super) line: Line,
    /// The runner's cursor.
    pub(super) inner: Bytes,
}

/// How a log goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Line {
    /// With a line, as far as is known.
    #[default]
    Begun,
    /// In the middle of a line.
    Middle,
    /// Not at all: it was said how many values are masked.
    Over,
}

impl Place {
    /// As it is handed out.
    pub(super) fn to_bytes(&self) -> Bytes {
        let Self { less, count, line, inner } = self;
        if (*less, *count) == (0, 0) {
            return inner.clone();
        }
        let line = match line {
            Line::Begun => "line",
            Line::Middle => "mid",
            Line::Over => "over",
        };
        let mut bytes = BytesMut::with_capacity(64 + inner.len()).writer();
        let written =
            bytes.write_all(VERSION).and_then(|()| write!(bytes, "{less} {count} {line} "));
        debug_assert!(written.is_ok(), "writing to memory does not fail");
        let mut bytes = bytes.into_inner();
        bytes.extend_from_slice(inner);
        bytes.freeze()
    }

    /// What [`Self::to_bytes`] made, or a cursor of the runner.
    pub(super) fn from_bytes(bytes: &Bytes) -> Result<Self, RunnerError> {
        let Some(words) = bytes.strip_prefix(VERSION) else {
            return Ok(Self { inner: bytes.clone(), ..Self::default() });
        };
        Self::parse(bytes, words).ok_or_else(|| {
            RunnerError::Refused(format!(
                "the cursor `{}` is not one of a masked log: start from the empty one",
                String::from_utf8_lossy(bytes)
            ))
        })
    }

    fn parse(bytes: &Bytes, words: &[u8]) -> Option<Self> {
        let mut words = words.splitn(4, |byte| *byte == b' ');
        let mut word = || str::from_utf8(words.next()?).ok();
        let (less, count) = (word()?.parse().ok()?, word()?.parse().ok()?);
        let line = match word()? {
            "line" => Line::Begun,
            "mid" => Line::Middle,
            "over" => Line::Over,
            _ => return None,
        };
        Some(Self { less, count, line, inner: bytes.slice_ref(words.next()?) })
    }

    /// The place in what the program wrote, of this one, which is at `offset` of the masked log.
    pub(super) fn raw(&self, offset: u64) -> u64 {
        offset.saturating_add_signed(self.less)
    }
}

/// Whether a masked log is over at `cursor`, which is at `offset` of it, where the program wrote `size` bytes.
pub(crate) fn is_over(cursor: &Bytes, offset: u64, size: u64) -> bool {
    Place::from_bytes(cursor).is_ok_and(|place| match place.line {
        Line::Over => true,
        Line::Begun | Line::Middle => place.count == 0 && place.raw(offset) >= size,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(bytes: Vec<u8>, text in "[a-z0-9 :=,-]{0,80}") {
            for bytes in [Bytes::from(bytes), Bytes::from(text)] {
                let _ = Place::from_bytes(&bytes);
            }
        }

        /// A pod's log needs up to 160 bytes for itself.
        #[test]
        fn a_place_is_read_as_it_was_written(
            less: i64,
            count: u64,
            line in prop_oneof![Just(Line::Begun), Just(Line::Middle), Just(Line::Over)],
            inner in "[ -~]{0,160}",
        ) {
            let place = Place { less, count, line, inner: Bytes::from(inner) };
            let bytes = place.to_bytes();
            prop_assert!(bytes.len() <= 256, "{} bytes", bytes.len());
            if (less, count) != (0, 0) {
                prop_assert_eq!(Place::from_bytes(&bytes).unwrap(), place);
            }
        }
    }

    #[test]
    fn the_cursor_of_a_runner_is_a_place_where_nothing_was_masked() {
        for cursor in ["", "1048576", "pod-log-1 1 0 start"] {
            let cursor = Bytes::from(cursor);
            let place = Place::from_bytes(&cursor).unwrap();
            assert_eq!(place, Place { inner: cursor.clone(), ..Place::default() });
            assert_eq!(place.to_bytes(), cursor);
        }
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for bad in ["masked-1 ", "masked-1 1 2 mid", "masked-1 1 2 far 7", "masked-1 x 2 mid 7"] {
            let refused = Place::from_bytes(&Bytes::from(bad)).unwrap_err().to_string();
            assert!(refused.contains(bad) && refused.contains("empty one"), "{refused}");
        }
    }
}
