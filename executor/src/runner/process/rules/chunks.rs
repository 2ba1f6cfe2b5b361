//! Which bytes of a log were written when: records of a place and a time, and the pieces that they cut.

use bytes::Bytes;
use std::time::Duration;

/// A piece of a log spans at most this.
pub(crate) const SPAN: Duration = Duration::from_millis(100);

/// The bytes from this place on, up to the next record's, were written within [`SPAN`] of this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::runner::process) struct Record {
    /// Place in the log, in bytes.
    pub(in crate::runner::process) offset: u64,
    /// Wall clock, in milliseconds since 1970.
    pub(in crate::runner::process) wall: i64,
}

impl Record {
    /// Length of a record in its file.
    pub(in crate::runner::process) const SIZE: usize = 16;

    /// As it stands in the file.
    pub(in crate::runner::process) fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..8].copy_from_slice(&self.offset.to_le_bytes());
        bytes[8..].copy_from_slice(&self.wall.to_le_bytes());
        bytes
    }

    /// What stands in the file.
    pub(in crate::runner::process) fn from_bytes(bytes: [u8; Self::SIZE]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
        Self {
            offset: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            wall: i64::from_le_bytes([i, j, k, l, m, n, o, p]),
        }
    }
}

/// Whether bytes that come at `now` need a record of their own, after one of the time `last`.
pub(in crate::runner::process) fn record_is_due(last: Option<Duration>, now: Duration) -> bool {
    last.is_none_or(|last| now.saturating_sub(last) >= SPAN)
}

/// Cuts `bytes`, which stand at `offset`, where a record begins. `records` are in order, the first one at `offset` or
/// before it; what no record covers has the time 0.
pub(in crate::runner::process) fn split(
    offset: u64,
    mut bytes: Bytes,
    records: &[Record],
) -> Vec<(i64, Bytes)> {
    let mut chunks = Vec::new();
    let mut at = offset;
    let mut wall = 0;
    for record in records {
        let ahead = usize::try_from(record.offset.saturating_sub(at)).unwrap_or(usize::MAX);
        let chunk = bytes.split_to(ahead.min(bytes.len()));
        at += chunk.len() as u64;
        if !chunk.is_empty() {
            chunks.push((wall, chunk));
        }
        wall = record.wall;
    }
    if !bytes.is_empty() {
        chunks.push((wall, bytes));
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_record_survives_its_bytes(offset: u64, wall: i64) {
            let record = Record { offset, wall };
            prop_assert_eq!(Record::from_bytes(record.to_bytes()), record);
        }

        /// P4: cutting changes no byte, and each byte has the time of the last record at or before it.
        #[test]
        fn pieces_are_the_bytes_and_each_byte_has_its_time(
            bytes in prop::collection::vec(any::<u8>(), 0..60),
            offset in 0u64..40,
            places in prop::collection::btree_set(0u64..120, 0..12),
        ) {
            let records: Vec<Record> =
                (1..).zip(places).map(|(wall, offset)| Record { offset, wall }).collect();
            let chunks = split(offset, Bytes::from(bytes.clone()), &records);
            let mut at = offset;
            for (wall, chunk) in &chunks {
                prop_assert!(!chunk.is_empty());
                for _ in chunk {
                    let last = records.iter().rfind(|record| record.offset <= at);
                    prop_assert_eq!(*wall, last.map_or(0, |record| record.wall), "byte {}", at);
                    at += 1;
                }
            }
            let joined: Vec<u8> = chunks.iter().flat_map(|(_, chunk)| chunk.to_vec()).collect();
            prop_assert_eq!(joined, bytes);
        }

        /// However the bytes come, none is more than [`SPAN`] later than its record.
        #[test]
        fn no_byte_is_later_than_its_record_by_more_than_the_span(
            gaps in prop::collection::vec(0u64..250, 1..50),
        ) {
            let mut now = Duration::from_secs(7);
            let mut last = None;
            for gap in gaps {
                now += Duration::from_millis(gap);
                if record_is_due(last, now) {
                    last = Some(now);
                }
                prop_assert!(last.is_some_and(|last| now - last < SPAN));
            }
        }
    }
}
