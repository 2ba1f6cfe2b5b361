//! Who gets no new work because somebody said so.

use super::{DrainError, LivenessWatcher, Seen, record::Drained};
use crate::{audit::About, caller::Caller, store::Commit};
use actix::{
    ActorContext, ActorFutureExt, Context, Handler, Message, ResponseActFuture, WrapFuture, fut,
};
use futures::{FutureExt, future};
use jiff::Timestamp;
use octavius_protocol::id::ExecutorId;

/// Ends new work for an executor, or begins it again. The answer comes after it is on disk and the queue knows it.
#[derive(Debug, Message)]
#[rtype(result = "Result<Seen, DrainError>")]
pub(super) struct Drain {
    pub(super) executor: ExecutorId,
    /// Whether it gets no new work from now on.
    pub(super) drained: bool,
    pub(super) by: Caller,
}

impl Handler<Drain> for LivenessWatcher {
    type Result = ResponseActFuture<Self, Result<Seen, DrainError>>;

    fn handle(&mut self, drain: Drain, _: &mut Context<Self>) -> Self::Result {
        let Drain { executor, drained: is_drained, by } = drain;
        let drained = || Drained { by: by.name().to_owned(), at: Timestamp::now() };
        let drained = is_drained.then(drained);
        let Some(record) = self.executors.drain(&executor, drained) else {
            return Box::pin(fut::err(DrainError::NotFound(executor)));
        };
        let commit = match record.write() {
            Ok(write) => {
                let about = About::executor(&executor).and(if is_drained {
                    "drained"
                } else {
                    "undrained"
                });
                let writes = std::iter::once(write).chain(by.did(about)).collect();
                self.writer.commit(writes).left_future()
            }
            Err(error) => future::ready(Commit::Refused(error.to_string())).right_future(),
        };
        let queue = self.queue.clone();
        Box::pin(commit.into_actor(self).then(move |outcome, watcher, context| match outcome {
            Commit::Done => {
                tracing::info!(%executor, is_drained, "who gets new work was changed");
                let told =
                    async move { (queue.drain(executor.clone(), is_drained).await, executor) };
                Box::pin(told.into_actor(watcher).map(|(told, executor), watcher, _| {
                    match told {
                        Ok(()) => watcher
                            .executors
                            .one(&executor, watcher.now())
                            .ok_or(DrainError::NotFound(executor)),
                        Err(error) => Err(DrainError::Queue { executor, why: error.to_string() }),
                    }
                })) as ResponseActFuture<Self, _>
            }
            // What is known here is not what is there: the next incarnation reads it again.
            Commit::Refused(why) | Commit::Unknown(why) => {
                context.stop();
                Box::pin(fut::err(DrainError::Store { executor, why }))
            }
        }))
    }
}
