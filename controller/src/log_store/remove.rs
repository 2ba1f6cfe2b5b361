//! Removing a log: what the index says of it, from its beginning on, and then its bytes.

use super::{LogError, LogFolder, LogStore, index};
use crate::store::{Commit, StoreHandle, Writer};
use actix::{
    ActorContext, ActorFutureExt, Context, Handler, Message, ResponseActFuture, WrapFuture, fut,
};
use octavius_protocol::id::AttemptId;

/// So many entries go with one commit, which takes 120 writes.
const AT_ONCE: usize = 100;

/// Removes a log that is closed, or of which only a part is left; that there is none is as well.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), LogError>")]
pub(super) struct Remove {
    pub(super) attempt: AttemptId,
}

/// What came of it.
enum Removed {
    All,
    Failed(LogError),
    /// The index may or may not have some of it: nothing in memory is to be trusted.
    Doubtful(String),
}

impl Handler<Remove> for LogStore {
    type Result = ResponseActFuture<Self, Result<(), LogError>>;

    fn handle(&mut self, Remove { attempt }: Remove, _: &mut Context<Self>) -> Self::Result {
        let open = |live: &super::Live| !(live.log.is_closed() && live.log.is_at_rest());
        if self.logs.get(&attempt).is_some_and(open) || self.loading.contains_key(&attempt) {
            return Box::pin(fut::err(LogError::Open(attempt)));
        }
        self.logs.remove(&attempt);
        let work = removed(self.store.clone(), self.writer.clone(), self.folder.clone(), attempt);
        Box::pin(work.into_actor(self).map(move |removed, _, ctx| match removed {
            Removed::All => Ok(()),
            Removed::Failed(error) => Err(error),
            Removed::Doubtful(why) => {
                tracing::error!(%attempt, why, "the index of the logs is in doubt: read again");
                ctx.stop();
                Err(LogError::Away(why))
            }
        }))
    }
}

async fn removed(
    store: StoreHandle,
    writer: Writer,
    folder: LogFolder,
    attempt: AttemptId,
) -> Removed {
    loop {
        let (writes, objects) = match index::removal(&store, attempt, AT_ONCE).await {
            Ok((writes, _)) if writes.is_empty() => return Removed::All,
            Ok(found) => found,
            Err(error) => return Removed::Failed(error),
        };
        match writer.commit(writes).await {
            Commit::Done => folder.delete_all(objects).await,
            Commit::Refused(why) | Commit::Unknown(why) => return Removed::Doubtful(why),
        }
    }
}
