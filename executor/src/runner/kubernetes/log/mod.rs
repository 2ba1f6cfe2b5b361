//! The whole log of a pod's container, once, from the pod log API.
//!
//! That API promises little: a read may end at any time, it may be silent because the log was rotated, only the newest
//! file is to be had, and it begins with a whole second. So reads are opened one behind the other, and each is
//! joined to the one before by what was taken last. [`PodLog`] is the whole of it; the rules are beside it, without
//! network and clock: `decode` takes a read apart, `cursor` names a place, `seam` joins reads, `silence` says
//! when a read is opened again, `passed` whether one went into the next file by itself.
//!
//! What is not kept, because the API does not have it: the order between the two outputs, `\r` before a newline, and,
//! of a container that was not followed from its start, what was rotated away before the first read.

mod api;
mod buffer;
mod cursor;
mod decode;
mod passed;
mod reader;
#[cfg(test)]
mod recorded;
mod seam;
mod silence;
mod stamp;
#[cfg(test)]
mod tests;
mod words;

pub(super) use words::line;

pub use api::{KubeLogs, LogApi, LogBytes, LogRefusal, PodName};

use crate::runner::{LogPiece, RunnerError};
pub use buffer::Held;
use buffer::{Behind, Buffer};
use bytes::Bytes;
use cursor::Cursor;
use jiff::Timestamp;
use reader::{Ended, Reader, Source};
use stamp::Stamp;
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    sync::{Mutex, Notify, watch},
    time::{Instant, timeout_at},
};
use tokio_util::task::AbortOnDropHandle;

/// The log of one attempt's container, read ahead of whoever asks, at most 1 MiB, and less where many logs are read.
/// Nothing is read before the first [`Self::follow`]; reading ends with this.
pub struct PodLog {
    source: Source,
    reading: Mutex<Option<Reading>>,
    held: Held,
    is_over: AtomicBool,
}

/// What is read, and who does.
struct Reading {
    buffer: Arc<watch::Sender<Buffer>>,
    task: AbortOnDropHandle<()>,
}

impl PodLog {
    /// The log of `container` in `pod`, one of those that have `held` together.
    pub fn new(api: Arc<dyn LogApi>, pod: PodName, container: &'static str, held: Held) -> Self {
        let (ended, started) = (watch::Sender::new(None), Arc::new(Notify::new()));
        Self {
            source: Source { api, pod, container, ended, started, has_run: Arc::default() },
            reading: Mutex::new(None),
            held,
            is_over: AtomicBool::new(false),
        }
    }

    /// Up to `most` bytes behind `cursor` (empty: from the start), waiting `within` for the first. None: there is nothing
    /// yet, or the log is over, and then [`Self::is_over`] says so. Words of ours in the log come as a whole, also where
    /// they are more than `most`. For one who asks at a time: two at different places make it read again and again.
    ///
    /// # Errors
    /// Refused, if the cursor is not one of a pod's log.
    pub async fn follow(
        &self,
        cursor: &Bytes,
        most: usize,
        within: Duration,
    ) -> Result<Option<LogPiece>, RunnerError> {
        let cursor = Cursor::from_bytes(cursor)?;
        let deadline = Instant::now() + within;
        let mut buffer = self.buffer(cursor, false).await;
        let mut changes = buffer.subscribe();
        loop {
            changes.mark_unchanged();
            let mut behind = Behind::Nothing;
            buffer.send_if_modified(|buffer| {
                behind = buffer.behind(cursor, most);
                matches!(behind, Behind::Piece(_)) // there is room again
            });
            self.is_over.store(behind == Behind::Over, Relaxed);
            match behind {
                Behind::Piece(piece) => return Ok(Some(piece)),
                Behind::Over => return Ok(None),
                Behind::Elsewhere => {
                    buffer = self.buffer(cursor, true).await;
                    changes = buffer.subscribe();
                }
                Behind::Nothing => {
                    if timeout_at(deadline, changes.changed()).await.is_err() {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// The container runs, as far as is known: its log is asked for at once.
    pub fn container_started(&self) {
        self.source.started.notify_one();
    }

    /// The container is known to have run, whatever is said of it later.
    pub fn container_ran(&self) {
        self.source.has_run.store(true, Relaxed);
    }

    /// The container has ended, at that time of its node's clock, or its pod is gone: its log is read to its end, and
    /// then it is over. What cannot be read soon after this is given up, and the log says so.
    pub fn container_ended(&self, at: Option<Timestamp>) {
        let at = at.map(Stamp::of);
        self.source.ended.send_if_modified(|ended| match ended {
            Some(ended) if ended.at.is_some() || at.is_none() => false,
            Some(ended) => {
                ended.at = at;
                true
            }
            None => {
                *ended = Some(Ended { at, told: Instant::now() });
                true
            }
        });
    }

    /// Whether all of it was given to who last asked, and nothing more will come.
    pub fn is_over(&self) -> bool {
        self.is_over.load(Relaxed)
    }

    /// What is read; from `cursor` on, if nothing is yet, or if that is wished.
    async fn buffer(&self, cursor: Cursor, anew: bool) -> Arc<watch::Sender<Buffer>> {
        let mut reading = self.reading.lock().await;
        if let Some(reading) = &*reading
            && !anew
            && (!reading.task.is_finished() || reading.buffer.borrow().is_over())
        {
            return reading.buffer.clone();
        }
        let buffer = Arc::new(watch::Sender::new(Buffer::new(cursor, self.held.clone())));
        let reader = Reader::new(self.source.clone(), cursor, buffer.clone());
        let task = AbortOnDropHandle::new(tokio::spawn(reader.run()));
        *reading = Some(Reading { buffer: buffer.clone(), task });
        buffer
    }
}

impl fmt::Debug for PodLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, is_over, .. } = self;
        f.debug_struct("PodLog").field("pod", &source.pod).field("is_over", is_over).finish()
    }
}
