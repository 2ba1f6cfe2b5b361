//! Sessions: who asks for one, and what has to be known and stored before it is given.

use super::{
    LivenessWatcher, RegisterError, Registration,
    record::ExecutorRecord,
    rules::{Registered, Silent},
};
use crate::{
    job_queue::{QueueHandle, rules::Join},
    store::{Commit, Write, keys},
};
use actix::{
    ActorContext, ActorFutureExt, Context, Handler, Message, ResponseActFuture, WrapFuture, fut,
};
use futures::{FutureExt, future};
use jiff::Timestamp;
use octavius_protocol::id::{ExecutorId, Session};

/// Gives an executor a session. The answer comes after it is on disk and the queue knows it.
#[derive(Debug, Message)]
#[rtype(result = "Result<Session, RegisterError>")]
pub(super) struct Register(pub(super) Registration);

impl Handler<Register> for LivenessWatcher {
    type Result = ResponseActFuture<Self, Result<Session, RegisterError>>;

    fn handle(&mut self, Register(registration): Register, _: &mut Context<Self>) -> Self::Result {
        let held = self.held(&registration);
        Box::pin(held.into_actor(self).then(move |held, watcher, _| match held {
            Ok(held) => watcher.open(registration, held),
            Err(error) => Box::pin(fut::err(error)),
        }))
    }
}

/// Whether an executor would be given a session now.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), RegisterError>")]
pub(super) struct Admit(pub(super) Registration);

impl Handler<Admit> for LivenessWatcher {
    type Result = ResponseActFuture<Self, Result<(), RegisterError>>;

    fn handle(&mut self, Admit(registration): Admit, _: &mut Context<Self>) -> Self::Result {
        let held = self.held(&registration);
        Box::pin(held.into_actor(self).map(move |held, watcher, _| {
            let admitted = watcher.executors.admit(&registration, held?, watcher.now());
            Ok(admitted
                .inspect_err(|refused| tracing::warn!(%refused, "an executor was refused"))?)
        }))
    }
}

/// What an executor holds, as far as it matters. A loss that the queue was not told of yet comes first: of an older
/// session it would not hear any more.
async fn held(
    queue: QueueHandle,
    executor: ExecutorId,
    owed: Option<Silent>,
    asks: bool,
) -> Result<usize, RegisterError> {
    let failed = |error: crate::job_queue::QueueError| RegisterError::Queue {
        executor: executor.clone(),
        why: error.to_string(),
    };
    if let Some(Silent { executor, session, .. }) = owed {
        queue.lose(executor, session).await.map_err(failed)?;
    }
    if !asks {
        return Ok(0);
    }
    let held = queue.held_by(vec![executor.clone()]).await.map_err(failed)?;
    Ok(held.first().map_or(0, |held| held.attempts))
}

impl LivenessWatcher {
    /// What an executor holds that wants a session, as far as it matters.
    fn held(
        &self,
        registration: &Registration,
    ) -> impl Future<Output = Result<usize, RegisterError>> + use<> {
        let owed = self.executors.owed_loss(&registration.executor, self.now());
        let asks = self.executors.asks_what_it_holds(registration);
        held(self.queue.clone(), registration.executor.clone(), owed, asks)
    }

    fn open(
        &mut self,
        registration: Registration,
        held: usize,
    ) -> ResponseActFuture<Self, Result<Session, RegisterError>> {
        let now = self.now();
        let registered = self.executors.register(registration, held, Timestamp::now(), now);
        let Registered { record, opened } = match registered {
            Ok(registered) => registered,
            Err(refused) => {
                tracing::warn!(%refused, "an executor was refused");
                return Box::pin(fut::err(refused.into()));
            }
        };
        let (executor, session) = (record.id.clone(), record.session);
        let commit = match writes(&record, self.executors.last_session()) {
            Ok(decision) => self.writer.commit(decision).left_future(),
            Err(error) => future::ready(Commit::Refused(error.to_string())).right_future(),
        };
        let join = Join::from(&record);
        let queue = self.queue.clone();
        Box::pin(commit.into_actor(self).then(move |outcome, watcher, context| match outcome {
            Commit::Done => {
                watcher.sessions.send_modify(|open| {
                    // A later registration may have overtaken this one.
                    let newest = open.entry(executor.clone()).or_insert(session);
                    *newest = session.max(*newest);
                });
                tracing::info!(%executor, %session, opened, "an executor registered");
                let join = async move { queue.join(join).await };
                Box::pin(join.into_actor(watcher).map(move |joined, _, _| match joined {
                    Ok(()) => Ok(session),
                    Err(error) => Err(RegisterError::Queue { executor, why: error.to_string() }),
                })) as ResponseActFuture<Self, _>
            }
            // What is known here is not what is there: the next incarnation reads it again.
            Commit::Refused(why) | Commit::Unknown(why) => {
                context.stop();
                Box::pin(fut::err(RegisterError::Store { executor, why }))
            }
        }))
    }
}

/// The record, and the number that no later session may have. Also for a session that was given before: its first
/// answer may be on the way still.
fn writes(record: &ExecutorRecord, last: Session) -> serde_json::Result<Vec<Write>> {
    Ok(vec![record.write()?, Write::Put(keys::LAST_SESSION.to_owned(), last.to_string().into())])
}
