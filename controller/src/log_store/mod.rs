//! The logs: their bytes, offsets, and who follows.

mod handle;

pub use handle::{Appended, Chunk, LogError, LogHandle, LogInfo, LogReader, Piece, Sealed};
