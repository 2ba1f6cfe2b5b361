//! What others hold of the logs.

use super::{
    LogFolder, LogLimits, LogReader, LogStore,
    append::{Append, Taken},
    close::{Complete, Cut, Seal},
    flush::Drain,
    index,
    look::Describe,
    remove::Remove,
    segments::Segments,
};
use crate::store::{ReadError, StoreHandle, keys};
use bytes::Bytes;
use jiff::Timestamp;
use octavius_protocol::id::{AttemptId, ExecutionId};
use octavius_service::{
    actor::{ActorSystem, Handle, Limits, Priority, RestartPolicy, Unanswered, Vitals},
    configuration::Setting,
};
use std::{io, sync::Arc, time::Duration};
use tokio::time::{Instant, timeout_at};

/// The actor's name, as metrics and errors call it.
const ACTOR: &str = "LogStore";

/// Consecutive bytes that were written within 100 ms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// When the executor read them, by the executor's clock.
    pub observed_at: Timestamp,
    /// The bytes.
    pub data: Bytes,
}

impl Chunk {
    /// Chunks from this size on are not copied: by far the most of the buffer that they hold is their own.
    pub(crate) const SHARES_FROM: usize = 4 << 10;

    /// The same bytes, and nothing else with them. Received bytes share the buffer of their whole connection, or of a
    /// larger chunk: of a small one, which waits for minutes until it is stored, that would be most of what it takes in
    /// memory.
    pub(crate) fn of_its_own(self) -> Self {
        if self.data.len() >= Self::SHARES_FROM {
            return self;
        }
        Self { data: Bytes::copy_from_slice(&self.data), ..self }
    }
}

/// How far the controller has a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// The offset that the next append must carry.
    pub next: u64,
    /// CRC-64/XZ of the log up to `next`.
    pub next_crc: u64,
    /// The cursor that came with the bytes up to `next`; empty at 0.
    pub next_cursor: Bytes,
    /// Everything before is durable.
    pub durable: u64,
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
    /// What is kept of the log is damaged: it will not get better.
    #[error("the log is damaged: {0}")]
    Damaged(String),
    /// The log was kept as long as logs are.
    #[error(
        "the log of {attempt} is not kept any more: `keep_logs_for` in the controller's configuration is {}",
        keep_for.shown()
    )]
    Expired {
        /// Whose log.
        attempt: AttemptId,
        /// How long logs are kept.
        keep_for: Duration,
    },
    /// The log is written to, or about to be, and so it is not removed.
    #[error("the log of {0} is not closed: it can be removed when its execution is final")]
    Open(AttemptId),
    /// The log ends before the offset that was asked for.
    #[error(
        "the log has {size} bytes, and the offset {offset} is behind them: give one of {size} at the most; if so much was \
         shown before, it did not survive a crash of the controller"
    )]
    OutOfRange {
        /// What was asked for.
        offset: u64,
        /// Where the log ends.
        size: u64,
    },
    /// Too much of this log, or of all logs together, waits to be made durable.
    #[error(
        "no more of logs can be held until some of it is stored, and of this one {waiting} bytes wait: append again in a moment"
    )]
    Full {
        /// How much of this log waits, in bytes.
        waiting: usize,
    },
}

impl From<ReadError> for LogError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Unanswered(unanswered) => Self::Unanswered(unanswered),
            ReadError::Backend(_) => Self::Away(error.to_string()),
        }
    }
}

/// The way in to the logs.
#[derive(Clone, Debug)]
pub struct LogHandle {
    pub(super) actor: Handle<LogStore>,
    pub(super) store: StoreHandle,
    pub(super) segments: Segments,
    limits: LogLimits,
}

impl LogHandle {
    /// Starts the actor. `term` is the revision of the controller's term: it grows with each start on the same store.
    pub fn start(
        system: &mut ActorSystem,
        store: StoreHandle,
        folder: LogFolder,
        term: u64,
        limits: LogLimits,
    ) -> io::Result<Self> {
        let (index, objects, gate) = (store.clone(), folder.clone(), store.gate());
        let build = move || {
            let (store, folder) = (index.clone(), objects.clone());
            async move {
                let writer = store.enlist("LogStore").await?;
                Ok(LogStore::new(store, writer, folder, term, limits))
            }
        };
        let policy = RestartPolicy::default();
        let actor = system.supervise(ACTOR, Limits::default(), policy, build)?.behind(gate);
        Ok(Self { actor, store, segments: Segments::new(folder), limits })
    }

    /// Waits until the actor serves, `within` at the most.
    pub async fn up(&self, within: Duration) -> Result<(), Unanswered> {
        self.actor.up(within).await
    }

    /// Why segments have not been taken for so long that somebody should know; none if all is well.
    pub fn behind(&self) -> Option<String> {
        self.segments.folder().behind(self.limits.behind_after)
    }

    /// Makes the actor panic; for tests of supervision.
    #[cfg(feature = "fault-injection")]
    pub async fn inject_panic(&self) -> Result<(), Unanswered> {
        self.actor.inject_panic().await
    }

    /// What is seen of the actor from outside.
    pub fn vitals(&self) -> &Arc<Vitals> {
        self.actor.vitals()
    }

    /// Appends at `offset`; a wrong offset changes nothing, and the answer says the right one. Bytes that are here
    /// already are passed over, and what follows them is taken. No chunks: asks how far the log is. Chunks have
    /// together 1 MiB at the most, a cursor 256 bytes: whoever calls this has checked it. Where much of this log or of
    /// all waits for the disk, so does the answer, two seconds at the most.
    pub async fn append(
        &self,
        attempt: AttemptId,
        offset: u64,
        chunks: Vec<Chunk>,
        cursor: Bytes,
    ) -> Result<Appended, LogError> {
        self.take(Append { attempt, offset, chunks, cursor, behind_the_end: false }).await
    }

    /// The same behind the end of a log that was closed before it was whole. It stays closed, and its end moves with what
    /// is stored: a reader has that with the next reading. What is closed for good, and what is not kept any more, takes
    /// nothing, and is answered as closed.
    pub async fn extend(
        &self,
        attempt: AttemptId,
        offset: u64,
        chunks: Vec<Chunk>,
        cursor: Bytes,
    ) -> Result<Appended, LogError> {
        self.take(Append { attempt, offset, chunks, cursor, behind_the_end: true }).await
    }

    async fn take(&self, append: Append) -> Result<Appended, LogError> {
        // Below reports, which must get through a flood of appends.
        let Taken { appended, first } = self.actor.mutate(Priority::Poll, append).await??;
        if let Some(first) = first {
            // A disk that is slower than that, or an actor that is gone: it is with the next append to tell.
            let _ = tokio::time::timeout(self.limits.disk_wait, first.stored()).await;
        }
        Ok(appended)
    }

    /// Closes a log if all of it is here: makes it durable first. `cut` says what the executor knows to be missing.
    /// Saying it again is safe; a log that was closed with another size or checksum is `Different`.
    pub async fn seal(
        &self,
        attempt: AttemptId,
        size: u64,
        crc: u64,
        cut: String,
    ) -> Result<Sealed, LogError> {
        self.actor.mutate(Priority::Report, Seal { attempt, size, crc, cut }).await?
    }

    /// Closes a log again that was closed before it was whole, if all of it is here now; `cut` says what the executor knows
    /// to be missing. Saying it again is safe. [`LogError::Expired`] where it is not kept any more.
    pub async fn complete(
        &self,
        attempt: AttemptId,
        size: u64,
        crc: u64,
        cut: String,
    ) -> Result<Sealed, LogError> {
        let complete = Complete { attempt, size, crc, cut };
        let sealed = self.actor.mutate(Priority::Report, complete).await??;
        sealed.ok_or_else(|| self.expired(attempt))
    }

    /// Closes a log as it is, with a reason if it is not whole, and tells its followers. Also where there is none. A
    /// log that is closed stays as it was.
    pub async fn cut(&self, attempt: AttemptId, why: String) -> Result<LogInfo, LogError> {
        self.actor.mutate(Priority::Report, Cut { attempt, why }).await?
    }

    /// What is known of a log, live or stored. Loads nothing into the actor.
    pub async fn info(&self, attempt: AttemptId) -> Result<LogInfo, LogError> {
        if let Some(info) = index::end(&self.store, attempt).await? {
            return Ok(info);
        }
        match self.actor.query(Priority::Read, Describe { attempt }).await? {
            Some(info) => Ok(info),
            None => Ok(index::load(&self.store, attempt, &self.limits).await?.info()),
        }
    }

    /// Removes the logs of all attempts of an execution that is final: first what the index says of them, then their
    /// bytes. Says how many there were; safe to ask again.
    pub async fn remove_all(&self, execution: ExecutionId) -> Result<usize, LogError> {
        let all = keys::logs_of(execution);
        let end = keys::prefix_end(&all);
        let mut removed = 0;
        while let Some(attempt) = index::first_log(&self.store, all.clone(), end.clone()).await? {
            self.actor.mutate(Priority::Report, Remove { attempt }).await??;
            removed += 1;
        }
        Ok(removed)
    }

    pub(super) fn expired(&self, attempt: AttemptId) -> LogError {
        LogError::Expired { attempt, keep_for: self.limits.keep_for }
    }

    /// Reads a log from `offset` on. Each reader goes at its own pace, from the store and from memory, and holds
    /// nothing between two pieces.
    pub fn read(&self, attempt: AttemptId, offset: u64) -> LogReader {
        LogReader::new(self.clone(), attempt, offset)
    }

    /// Makes all logs durable as they are, and from now on each append at once: for the end of the controller. An
    /// error says how much was left, which executors will append again.
    pub async fn flush_all(&self, within: Duration) -> Result<(), LogError> {
        let until = Instant::now() + within;
        let flushed = async {
            let mut left = self.actor.mutate_always(Priority::Report, Drain).await?;
            let all = left.wait_for(|left| *left == 0);
            if timeout_at(until, all).await.is_ok_and(|all| all.is_ok()) {
                return Ok(());
            }
            let left = *left.borrow();
            Err(LogError::Away(format!("{left} bytes were not stored within {within:?}")))
        };
        match timeout_at(until, flushed).await {
            Ok(flushed) => flushed,
            Err(_) => Err(LogError::Away(format!("nothing was stored within {within:?}"))),
        }
    }
}

/// What a reader gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes of the log.
    Bytes {
        /// The place of the first byte.
        offset: u64,
        /// Everything before survives a crash of the controller, as known now: behind these bytes, in them, or ahead.
        durable: u64,
        /// The bytes, and when they were read.
        chunk: Chunk,
    },
    /// Bytes that are left out of the middle of the log.
    Gap {
        /// The place of the first one, or of the first that was asked for.
        offset: u64,
        /// How many they are.
        size: u64,
        /// Why they are not kept, in words that name the key.
        reason: String,
    },
    /// There is no more at present.
    CaughtUp,
    /// The log is closed, and this is its end.
    End(LogInfo),
}
