//! The ends of logs: a seal, for a log that is whole, and a cut, for one that stays as it is.

use super::{LogError, LogInfo, LogStore, Sealed, rules::Log};
use actix::{ActorFutureExt, Context, Handler, Message, ResponseActFuture, WrapFuture, fut};
use octavius_protocol::id::AttemptId;
use tokio::time::{Instant, timeout_at};

/// Closes a log if all of it is here.
#[derive(Debug, Message)]
#[rtype(result = "Result<Sealed, LogError>")]
pub(super) struct Seal {
    pub(super) attempt: AttemptId,
    pub(super) size: u64,
    pub(super) crc: u64,
    pub(super) cut: String,
}

impl Handler<Seal> for LogStore {
    type Result = ResponseActFuture<Self, Result<Sealed, LogError>>;

    fn handle(&mut self, seal: Seal, ctx: &mut Context<Self>) -> Self::Result {
        let Seal { attempt, size, crc, cut } = seal;
        self.close(attempt, ctx, move |log| log.seal(size, crc, &cut))
    }
}

/// Closes a log again that was closed before it was whole, if all of it is here now. None: it is not kept any more.
#[derive(Debug, Message)]
#[rtype(result = "Result<Option<Sealed>, LogError>")]
pub(super) struct Complete {
    pub(super) attempt: AttemptId,
    pub(super) size: u64,
    pub(super) crc: u64,
    pub(super) cut: String,
}

impl Handler<Complete> for LogStore {
    type Result = ResponseActFuture<Self, Result<Option<Sealed>, LogError>>;

    fn handle(&mut self, complete: Complete, ctx: &mut Context<Self>) -> Self::Result {
        let Complete { attempt, size, crc, cut } = complete;
        self.close(attempt, ctx, move |log| log.complete(size, crc, &cut))
    }
}

/// Closes a log as it is.
#[derive(Debug, Message)]
#[rtype(result = "Result<LogInfo, LogError>")]
pub(super) struct Cut {
    pub(super) attempt: AttemptId,
    pub(super) why: String,
}

impl Handler<Cut> for LogStore {
    type Result = ResponseActFuture<Self, Result<LogInfo, LogError>>;

    fn handle(&mut self, cut: Cut, ctx: &mut Context<Self>) -> Self::Result {
        let Cut { attempt, why } = cut;
        self.close(attempt, ctx, move |log| log.cut(&why))
    }
}

impl LogStore {
    /// Asks a log to close until it has an answer, which it has at the latest when the end is on disk.
    fn close<T: 'static>(
        &mut self,
        attempt: AttemptId,
        ctx: &mut Context<Self>,
        ask: impl Fn(&mut Log) -> Option<T> + 'static,
    ) -> ResponseActFuture<Self, Result<T, LogError>> {
        let until = Instant::now() + self.limits.close_within;
        self.with_log(attempt, ctx, move |store, ctx| match store.change(attempt, &ask) {
            Ok(None) => store.closing(attempt, until, ctx, ask),
            Ok(Some(answer)) => Box::pin(fut::ok(answer)),
            Err(error) => Box::pin(fut::err(error)),
        })
    }

    fn closing<T: 'static>(
        &mut self,
        attempt: AttemptId,
        until: Instant,
        ctx: &mut Context<Self>,
        ask: impl Fn(&mut Log) -> Option<T> + 'static,
    ) -> ResponseActFuture<Self, Result<T, LogError>> {
        let mut progress = match self.touch(attempt) {
            Ok(live) => live.progress.subscribe(),
            Err(error) => return Box::pin(fut::err(error)),
        };
        self.flush_if_due(attempt, false, ctx);
        let closed = async move {
            let closed = progress.wait_for(|progress| progress.closed);
            timeout_at(until, closed).await.is_ok_and(|closed| closed.is_ok())
        };
        Box::pin(closed.into_actor(self).map(move |closed, store, _| {
            let answer = if closed { store.change(attempt, ask)? } else { None };
            answer.ok_or_else(|| store.not_yet(attempt))
        }))
    }

    fn not_yet(&self, attempt: AttemptId) -> LogError {
        let trouble = self.logs.get(&attempt).and_then(|live| live.trouble.as_deref());
        let trouble = trouble.unwrap_or("the disk or the store is slow");
        let within = self.limits.close_within;
        LogError::Away(format!("the rest of it was not stored within {within:?}: {trouble}"))
    }
}
