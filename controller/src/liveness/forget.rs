//! Who is forgotten, because it is gone for good.

use super::{ForgetError, LivenessWatcher, rules::NotForgotten};
use crate::{
    audit::About,
    caller::Caller,
    job_queue::QueueHandle,
    store::{Commit, Write, Writer, keys},
};
use actix::{
    ActorContext, ActorFutureExt, Context, Handler, Message, ResponseActFuture, WrapFuture, fut,
};
use octavius_protocol::id::{ExecutorId, Session};

/// Forgets an executor that is not heard: first what it holds ends as lost. The answer, how much that was, comes after all
/// of it is on disk.
#[derive(Debug, Message)]
#[rtype(result = "Result<usize, ForgetError>")]
pub(super) struct Forget(pub(super) ExecutorId, pub(super) Caller);

impl Handler<Forget> for LivenessWatcher {
    type Result = ResponseActFuture<Self, Result<usize, ForgetError>>;

    fn handle(&mut self, Forget(executor, by): Forget, _: &mut Context<Self>) -> Self::Result {
        let session = match self.forgettable(&executor) {
            Ok(session) => session,
            Err(refused) => return Box::pin(fut::err(refused)),
        };
        let given_up = give_up(self.queue.clone(), executor.clone(), session);
        Box::pin(given_up.into_actor(self).then(move |given_up, watcher, _| {
            // It may have come back meanwhile.
            let ready = given_up.and_then(|lost| Ok((lost, watcher.forgettable(&executor)?)));
            let (writer, queue) = (watcher.writer.clone(), watcher.queue.clone());
            let stored = async move {
                let (lost, session) = ready?;
                store(&writer, &queue, &executor, &by).await.map(|()| (lost, executor, session))
            };
            stored.into_actor(watcher).map(|stored, watcher, context| {
                let (lost, executor, session) = stored.inspect_err(|error| {
                    if let ForgetError::Store { .. } = error {
                        context.stop(); // the next incarnation reads what is there
                    }
                })?;
                watcher.executors.forget(&executor, session);
                watcher.sessions.send_modify(|open| {
                    if open.get(&executor) == Some(&session) {
                        open.remove(&executor);
                    }
                });
                tracing::info!(%executor, lost, "an executor was forgotten");
                Ok(lost)
            })
        }))
    }
}

impl LivenessWatcher {
    fn forgettable(&self, executor: &ExecutorId) -> Result<Session, ForgetError> {
        self.executors.forgettable(executor, self.now()).map_err(|refused| match refused {
            NotForgotten::Unknown => ForgetError::NotFound(executor.clone()),
            NotForgotten::Heard => ForgetError::Heard(executor.clone()),
        })
    }
}

/// Ends what it holds. How much that was.
async fn give_up(
    queue: QueueHandle,
    executor: ExecutorId,
    session: Session,
) -> Result<usize, ForgetError> {
    let failed = |error: crate::job_queue::QueueError| ForgetError::Queue {
        executor: executor.clone(),
        why: error.to_string(),
    };
    let held = queue.held_by(vec![executor.clone()]).await.map_err(failed)?;
    queue.lose(executor.clone(), session).await.map_err(failed)?;
    Ok(held.first().map_or(0, |held| held.attempts - held.ended))
}

async fn store(
    writer: &Writer,
    queue: &QueueHandle,
    executor: &ExecutorId,
    by: &Caller,
) -> Result<(), ForgetError> {
    let deleted = Write::Delete(keys::executor(executor));
    let did = by.did(About::executor(executor).and("forgotten"));
    match writer.commit(std::iter::once(deleted).chain(did).collect()).await {
        Commit::Done => queue.forget(executor.clone()).await.map_err(|error| ForgetError::Queue {
            executor: executor.clone(),
            why: error.to_string(),
        }),
        Commit::Refused(why) | Commit::Unknown(why) => {
            Err(ForgetError::Store { executor: executor.clone(), why })
        }
    }
}
