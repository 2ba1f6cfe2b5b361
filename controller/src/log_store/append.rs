//! Appends: answered with what is durable so far, at once unless much of many logs waits for the disk.
//!
//! An executor sends no more of a log before it has its answer. So where many write much, answers wait until the bytes
//! are stored, and what is held in memory does not grow with the speed of the writers.

use super::{Appended, Chunk, Live, LogError, LogStore, Progress, rules::Full};
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
}

/// An append that was taken.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) appended: Appended,
    /// Tells when it is durable, where that is to be waited for.
    pub(super) stored: Option<watch::Receiver<Progress>>,
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
        let Append { attempt, offset, chunks, cursor } = append;
        let (now, limits) = (self.now(), self.limits);
        let room = limits.waiting_in_all.saturating_sub(*self.waiting.borrow());
        let (taken, bytes, much) = self.change(attempt, |log| {
            let before = log.next().offset;
            let taken = log.append(offset, chunks, cursor, now, room, &limits);
            (taken, log.next().offset - before, log.weight() >= limits.segment / 2)
        })?;
        metrics::counter!("octavius_log_bytes_total").increment(bytes);
        let crowded = much && *self.waiting.borrow() > limits.crowded;
        self.flush_if_due(attempt, crowded || taken.is_err(), ctx);
        taken.map_err(|Full { waiting }| LogError::Full { waiting })?;
        let Live { log, progress, .. } = self.touch(attempt)?;
        let durable = log.durable();
        let appended = Appended {
            next: log.next().offset,
            durable: durable.offset,
            durable_crc: durable.crc,
            durable_cursor: durable.cursor.clone(),
            closed: log.is_closed(),
        };
        let stored = (crowded && bytes > 0).then(|| progress.subscribe());
        Ok(Taken { appended, stored })
    }
}
