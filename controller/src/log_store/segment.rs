//! What a segment is on disk, and what its object is called.
//!
//! A segment is one zstd frame with a checksum around one protobuf message. An object's name says what it is, so that it is written once: the
//! attempt, the offset of its first byte, the term that wrote it, and a hash of the frame. It exists only if the index
//! says so.

use super::{Chunk, rules::Placed};
use bytes::Bytes;
use crc::{CRC_64_XZ, Crc, Table};
use jiff::Timestamp;
use octavius_protocol::id::{AttemptId, AttemptNumber};
use prost::Message;

static HASH: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_XZ);

const ZSTD_LEVEL: i32 = 3;

/// The most bytes of one piece that a reader gets: what is on its way to one that does not read is about as much.
pub(crate) const PIECE: usize = 128 << 10;

/// What a chunk's time, tags and lengths take in the message at the most.
const STORED_OVERHEAD: u64 = 40;

/// Why a segment cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is damaged: {0}")]
pub(super) struct Damaged(pub(super) String);

#[derive(Clone, PartialEq, prost::Message)]
struct StoredSegment {
    #[prost(message, repeated, tag = "1")]
    chunks: Vec<StoredChunk>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredChunk {
    /// Milliseconds since 1970, by the executor's clock.
    #[prost(sint64, tag = "1")]
    observed_at: i64,
    #[prost(bytes = "bytes", tag = "2")]
    data: Bytes,
}

/// The segment as it is stored. Takes milliseconds of a core for a large one.
pub(super) fn packed(chunks: Vec<Placed>) -> std::io::Result<Bytes> {
    let stored = |placed: Placed| StoredChunk {
        observed_at: placed.chunk.observed_at.as_millisecond(),
        data: placed.chunk.data,
    };
    let message = StoredSegment { chunks: chunks.into_iter().map(stored).collect() };
    let mut compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
    // What lies in the index has no name that carries one.
    compressor.include_checksum(true)?;
    compressor.compress(&message.encode_to_vec()).map(Bytes::from)
}

/// The chunks of a segment of `size` bytes that begins at `offset`. Takes milliseconds of a core for a large one.
pub(super) fn unpacked(offset: u64, size: u64, packed: &[u8]) -> Result<Vec<Placed>, Damaged> {
    let most = size.saturating_mul(STORED_OVERHEAD + 1); // each chunk has a byte at least
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let message =
        zstd::bulk::decompress(packed, most).map_err(|error| Damaged(error.to_string()))?;
    let message = StoredSegment::decode(Bytes::from(message));
    let message = message.map_err(|error| Damaged(error.to_string()))?;
    let (mut at, mut chunks) = (offset, Vec::with_capacity(message.chunks.len()));
    for StoredChunk { observed_at, data } in message.chunks {
        let observed_at = Timestamp::from_millisecond(observed_at);
        let observed_at = observed_at.map_err(|error| Damaged(error.to_string()))?;
        let placed = Placed { offset: at, chunk: Chunk { observed_at, data } };
        at = placed.end();
        chunks.push(placed);
    }
    if at != offset + size {
        return Err(Damaged(format!("it holds {} bytes instead of {size}", at - offset)));
    }
    Ok(chunks)
}

/// What a reader at `offset` gets of the chunks of a segment; none where it ends before.
pub(super) fn piece(chunks: &[Placed], offset: u64) -> Option<Placed> {
    let index = chunks.partition_point(|placed| placed.end() <= offset);
    let placed = chunks.get(index)?;
    Some(Placed { offset: placed.offset.max(offset), chunk: placed.from(offset, PIECE) })
}

/// What an object's name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ObjectName {
    pub(super) attempt: AttemptId,
    pub(super) offset: u64,
    /// The revision of the term that wrote it.
    pub(super) term: u64,
    hash: u64,
}

impl ObjectName {
    pub(super) fn new(attempt: AttemptId, offset: u64, term: u64, packed: &[u8]) -> Self {
        Self { attempt, offset, term, hash: HASH.checksum(packed) }
    }

    pub(super) fn text(&self) -> String {
        let Self { attempt, offset, term, hash } = self;
        format!("{}/{}/{offset:016x}-{term}-{hash:016x}", attempt.execution, attempt.attempt)
    }

    /// The name that this text is; none where it is none of ours.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (execution, rest) = text.split_once('/')?;
        let (attempt, rest) = rest.split_once('/')?;
        let (offset, rest) = rest.split_once('-')?;
        let (term, hash) = rest.split_once('-')?;
        let name = Self {
            attempt: AttemptId {
                execution: execution.parse().ok()?,
                attempt: AttemptNumber(attempt.parse().ok()?),
            },
            offset: u64::from_str_radix(offset, 16).ok()?,
            term: term.parse().ok()?,
            hash: u64::from_str_radix(hash, 16).ok()?,
        };
        (name.text() == text).then_some(name)
    }

    /// Whether these are the bytes that were written under this name.
    pub(super) fn fits(&self, packed: &[u8]) -> Result<(), Damaged> {
        match HASH.checksum(packed) {
            hash if hash == self.hash => Ok(()),
            hash => Err(Damaged(format!("its bytes have the checksum {hash:016x}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use octavius_protocol::id::ExecutionId;
    use proptest::{collection::vec, prelude::*};

    fn placed(offset: u64, lengths: &[usize]) -> Vec<Placed> {
        let mut at = offset;
        let chunk = |(index, length): (usize, &usize)| {
            let observed_at =
                Timestamp::from_millisecond(1_700_000_000_000 + index as i64).unwrap();
            let data = (at..at + *length as u64).map(|place| place as u8).collect();
            at += *length as u64;
            Placed { offset: at - *length as u64, chunk: Chunk { observed_at, data } }
        };
        lengths.iter().enumerate().map(chunk).collect()
    }

    proptest! {
        #[test]
        fn a_segment_comes_back_as_it_was_packed(
            offset in 0..1u64 << 40,
            lengths in vec(1..2000usize, 0..20),
        ) {
            let chunks = placed(offset, &lengths);
            let size = lengths.iter().sum::<usize>() as u64;
            let stored = packed(chunks.clone()).unwrap();
            prop_assert_eq!(unpacked(offset, size, &stored), Ok(chunks));
            prop_assert!(unpacked(offset, size + 1, &stored).is_err(), "a size that is not its own");
        }

    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))] // each makes a megabyte

        #[test]
        fn pieces_are_the_bytes_from_the_offset_on_and_never_large(
            lengths in vec(1..PIECE * 3, 1..5),
            from in 0..PIECE as u64 * 15,
        ) {
            let chunks = placed(0, &lengths);
            let size = lengths.iter().sum::<usize>() as u64;
            let mut at = from.min(size);
            while let Some(piece) = piece(&chunks, at) {
                prop_assert_eq!(piece.offset, at);
                prop_assert!((1..=PIECE).contains(&piece.chunk.data.len()));
                prop_assert_eq!(piece.chunk.data[0], at as u8);
                at = piece.end();
            }
            prop_assert_eq!(at, size);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(bytes: Vec<u8>, at in any::<prop::sample::Index>(), other: u8, text in "[0-9a-v/._-]{0,80}") {
            let mut stored = packed(placed(0, &[1000])).unwrap().to_vec();
            let at = at.index(stored.len());
            stored[at] = other;
            for bytes in [&bytes, &stored] {
                if let Ok(read) = unpacked(0, 1000, bytes) {
                    prop_assert_eq!(read, placed(0, &[1000]));
                }
            }
            let _ = ObjectName::parse(&text);
        }

        #[test]
        fn a_name_is_read_as_it_was_written(id: [u8; 16], attempt in 1..9u32, offset: u64, term: u64) {
            let execution = ExecutionId::from_bytes(id);
            let attempt = AttemptId { execution, attempt: AttemptNumber(attempt) };
            let name = ObjectName::new(attempt, offset, term, b"bytes");
            prop_assert_eq!(ObjectName::parse(&name.text()), Some(name));
            prop_assert_eq!(ObjectName::parse(&format!("{}x", name.text())), None);
            prop_assert!(name.fits(b"bytes").is_ok() && name.fits(b"bytez").is_err());
        }
    }

    #[test]
    fn what_was_damaged_on_disk_is_an_error() {
        let stored = packed(placed(0, &[1000])).unwrap();
        for byte in 0..stored.len() {
            let mut damaged = stored.to_vec();
            damaged[byte] ^= 0x10;
            // A bit of the frame's head that nobody reads may be another one.
            let read = unpacked(0, 1000, &damaged);
            assert!(read.is_err() || read == Ok(placed(0, &[1000])), "byte {byte}");
        }
        assert!(unpacked(0, 1000, &stored[..stored.len() - 3]).is_err());
        assert!(unpacked(0, 1000, b"not a frame").is_err());
        assert!(unpacked(0, 10, &stored).is_err(), "more than it may hold");
    }
}
