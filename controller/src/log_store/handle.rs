//! What others hold of the logs. SKELETON: signatures stand, bodies do not.

use bytes::Bytes;
use jiff::Timestamp;
use octavius_protocol::id::AttemptId;
use octavius_service::actor::Unanswered;

/// Consecutive bytes that were written within 100 ms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// When the executor read them, by the executor's clock.
    pub observed_at: Timestamp,
    /// The bytes.
    pub data: Bytes,
}

/// How far the controller has a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// The offset that the next append must carry.
    pub next: u64,
    /// Everything before is durable.
    pub durable: u64,
    /// CRC-64/XZ of the log up to `durable`.
    pub durable_crc: u64,
    /// The cursor that came with the bytes up to `durable`; empty at 0.
    pub durable_cursor: Bytes,
    /// The log is sealed: nothing more is taken.
    pub closed: bool,
}

/// What came of a wish to seal a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sealed {
    /// The log is whole, durable and closed.
    Whole,
    /// Bytes are missing: they are wanted from this offset on.
    Missing {
        /// The offset that the next append must carry.
        next: u64,
    },
    /// All bytes are here, and they are not the executor's: the checksum differs.
    Different {
        /// CRC-64/XZ of what is here.
        crc: u64,
    },
}

/// What is known of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogInfo {
    /// Its size in bytes so far.
    pub size: u64,
    /// Whether it is sealed.
    pub closed: bool,
    /// Why it is not whole; empty where it is.
    pub cut: String,
}

/// Why a log could not be written or read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// The actor or the store did not answer.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
    /// The store or the object store could not be used; it may work later.
    #[error("the logs could not be reached: {0}")]
    Away(String),
    /// The log ends before the offset that was asked for.
    #[error(
        "the log ends at {size}, before the offset {offset}: what was shown behind it did not survive a crash; read again from {size}"
    )]
    OutOfRange {
        /// What was asked for.
        offset: u64,
        /// Where the log ends.
        size: u64,
    },
    /// Too much of this log waits to be made durable.
    #[error(
        "{waiting} bytes of this log wait to be stored, the most that is held: append again in a moment"
    )]
    Full {
        /// How much waits, in bytes.
        waiting: usize,
    },
}

/// The way in to the logs.
#[derive(Clone, Debug)]
pub struct LogHandle {}

impl LogHandle {
    /// Appends at `offset`; a wrong offset changes nothing, and the answer says the right one. Bytes that are here
    /// already are passed over, and what follows them is taken. No chunks: asks how far the log is.
    pub async fn append(
        &self,
        _attempt: AttemptId,
        _offset: u64,
        _chunks: Vec<Chunk>,
        _cursor: Bytes,
    ) -> Result<Appended, LogError> {
        todo!()
    }

    /// Closes a log if all of it is here: makes it durable first. `cut` says what the executor knows to be missing.
    pub async fn seal(
        &self,
        _attempt: AttemptId,
        _size: u64,
        _crc: u64,
        _cut: String,
    ) -> Result<Sealed, LogError> {
        todo!()
    }

    /// Closes a log as it is, with a reason if it is not whole, and tells its followers. Also where there is none.
    pub async fn cut(&self, _attempt: AttemptId, _why: String) -> Result<LogInfo, LogError> {
        todo!()
    }

    /// What is known of a log, live or stored.
    pub async fn info(&self, _attempt: AttemptId) -> Result<LogInfo, LogError> {
        todo!()
    }

    /// Reads a log from `offset` on. Each reader goes at its own pace, from the store and from memory, and holds one
    /// piece at a time.
    pub fn read(&self, _attempt: AttemptId, _offset: u64) -> LogReader {
        todo!()
    }
}

/// What a reader gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes of the log.
    Bytes {
        /// The place of the first byte.
        offset: u64,
        /// Whether they survive a crash of the controller.
        durable: bool,
        /// The bytes, and when they were read.
        chunk: Chunk,
    },
    /// There is no more at present.
    CaughtUp,
    /// The log is closed, and this is its end.
    End(LogInfo),
}

/// One reader of one log.
#[derive(Debug)]
pub struct LogReader {}

impl LogReader {
    /// The next piece, without waiting for the job to write more.
    pub async fn next(&mut self) -> Result<Piece, LogError> {
        todo!()
    }

    /// Waits until `next` has more to say than `CaughtUp`. Cancel safe.
    pub async fn more(&mut self) -> Result<(), LogError> {
        todo!()
    }
}
