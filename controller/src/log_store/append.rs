//! Appends: answered at once, with what is durable so far.

use super::{Appended, Chunk, LogError, LogStore, rules::Full};
use actix::{Context, Handler, Message, ResponseActFuture, fut};
use bytes::Bytes;
use octavius_protocol::id::AttemptId;

/// Adds bytes at an offset; without chunks it only asks.
#[derive(Debug, Message)]
#[rtype(result = "Result<Appended, LogError>")]
pub(super) struct Append {
    pub(super) attempt: AttemptId,
    pub(super) offset: u64,
    pub(super) chunks: Vec<Chunk>,
    pub(super) cursor: Bytes,
}

impl Handler<Append> for LogStore {
    type Result = ResponseActFuture<Self, Result<Appended, LogError>>;

    fn handle(&mut self, append: Append, ctx: &mut Context<Self>) -> Self::Result {
        self.with_log(append.attempt, ctx, |store, ctx| {
            Box::pin(fut::ready(store.append(append, ctx)))
        })
    }
}

impl LogStore {
    fn append(&mut self, append: Append, ctx: &mut Context<Self>) -> Result<Appended, LogError> {
        let Append { attempt, offset, chunks, cursor } = append;
        let (now, limits) = (self.now(), self.limits);
        let room = limits.waiting_in_all.saturating_sub(*self.waiting.borrow());
        let (taken, bytes) = self.change(attempt, |log| {
            let before = log.next().offset;
            let taken = log.append(offset, chunks, cursor, now, room, &limits);
            (taken, log.next().offset - before)
        })?;
        metrics::counter!("octavius_log_bytes_total").increment(bytes);
        let full = taken.is_err();
        self.flush_if_due(attempt, full, ctx);
        taken.map_err(|Full { waiting }| LogError::Full { waiting })?;
        let log = &self.touch(attempt)?.log;
        let durable = log.durable();
        Ok(Appended {
            next: log.next().offset,
            durable: durable.offset,
            durable_crc: durable.crc,
            durable_cursor: durable.cursor.clone(),
            closed: log.is_closed(),
        })
    }
}
