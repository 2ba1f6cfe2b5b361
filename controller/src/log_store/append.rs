//! Appends: answered with how far the log is, here and on disk, at once unless much of this log or of all waits for the disk.
//!
//! An executor sends no more of a log before it has its answer. So a log that grows faster than it is stored is
//! answered at the pace of the disk; and where many write much, what is held in memory does not grow with the speed of
//! the writers. Nobody waits longer than `disk_wait`: a disk that takes longer for a segment lets a log run into its
//! bound, and what is beyond that is refused ([`LogError::Full`]), and comes again.

use super::{
    Appended, Chunk, Live, LogError, LogStore, Progress,
    rules::{Full, Point},
};
use actix::{Context, Handler, Message, ResponseActFuture, fut};
use bytes::Bytes;
use octavius_protocol::id::AttemptId;
use tokio::sync::watch;

/// Adds bytes at an offset; without chunks it only asks.
#[derive(Debug, Message)]
#[rtype(result = "Result<Taken, LogError>")]
pub(super) struct Append {
    pub(super) attempt: AttemptId,
    pub(super) offset: u64,
    pub(super) chunks: Vec<Chunk>,
    pub(super) cursor: Bytes,
    /// Whether the log was closed before it was whole, and this is what was missing.
    pub(super) behind_the_end: bool,
}

/// An append that was taken.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) appended: Appended,
    /// What is to be waited for before it is answered.
    pub(super) first: Option<Awaited>,
}

/// A log's becoming durable up to an offset.
#[derive(Debug)]
pub(super) struct Awaited {
    progress: watch::Receiver<Progress>,
    until: u64,
}

impl Awaited {
    /// Returns when it is durable, or nobody can make it so any more.
    pub(super) async fn stored(mut self) {
        let _ = self.progress.wait_for(|progress| progress.durable >= self.until).await;
    }
}

impl Handler<Append> for LogStore {
    type Result = ResponseActFuture<Self, Result<Taken, LogError>>;

    fn handle(&mut self, append: Append, ctx: &mut Context<Self>) -> Self::Result {
        self.with_log(append.attempt, ctx, |store, ctx| {
            Box::pin(fut::ready(store.append(append, ctx)))
        })
    }
}

impl LogStore {
    fn append(&mut self, append: Append, ctx: &mut Context<Self>) -> Result<Taken, LogError> {
        let Append { attempt, offset, chunks, cursor, behind_the_end } = append;
        let (now, limits) = (self.now(), self.limits);
        let room = limits.waiting_in_all.saturating_sub(*self.waiting.borrow());
        let (taken, bytes, weight) = self.change(attempt, |log| {
            let before = log.next().offset;
            let taken = match behind_the_end {
                false => log.append(offset, chunks, cursor, now, room, &limits),
                true => log.extend(offset, chunks, cursor, now, room, &limits),
            };
            (taken, log.next().offset - before, log.weight())
        })?;
        metrics::counter!("octavius_log_bytes_total").increment(bytes);
        let crowded = weight >= limits.segment / 2 && *self.waiting.borrow() > limits.crowded;
        let ahead = weight > limits.waiting / 2;
        self.flush_if_due(attempt, crowded || ahead || taken.is_err(), ctx);
        taken.map_err(|Full { waiting }| LogError::Full { waiting })?;
        let Live { log, progress, .. } = self.touch(attempt)?;
        let Point { offset, crc, cursor } = log.next().clone();
        let appended = Appended {
            next: offset,
            next_crc: crc,
            next_cursor: cursor,
            durable: log.durable().offset,
            closed: if behind_the_end { !log.may_be_extended() } else { log.is_closed() },
        };
        // Who is ahead of the disk waits for one segment, so that the next one is on its way meanwhile.
        let until = if crowded { appended.next } else { log.next_durable() };
        let waits = bytes > 0 && (crowded || ahead);
        let first = waits.then(|| Awaited { progress: progress.subscribe(), until });
        Ok(Taken { appended, first })
    }
}
