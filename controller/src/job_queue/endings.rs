//! The index of history by the ends of ids, for what a version without it stored: made once, a few at a time, before
//! anything of history is removed.

use super::{JobQueue, QueueError, TICK, retention::LookForOld, storage, trust};
use crate::store::{Range, Write, keys};
use actix::prelude::*;
use bytes::Bytes;
use std::time::Duration;

/// How many executions are indexed in one transaction.
const AT_ONCE: usize = 100;
/// What is waited between two steps, so that this is never what the store is busy with.
const PAUSE: Duration = Duration::from_millis(2);

/// Indexes the next executions of history; the actor sends it to itself until all are.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub(super) struct IndexEndings {
    /// The key behind which it goes on; none: at the newest.
    behind: Option<String>,
}

impl IndexEndings {
    pub(super) const FIRST: Self = Self { behind: None };
}

impl Handler<IndexEndings> for JobQueue {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, index: IndexEndings, _: &mut Self::Context) -> Self::Result {
        let store = self.parts.store.clone();
        let all = Range::prefix(keys::DONE, AT_ONCE);
        let range = match &index.behind {
            Some(behind) => all.after(behind),
            None => all,
        };
        let reading = async move {
            if index.behind.is_some() {
                tokio::time::sleep(PAUSE).await;
            }
            match store.full() {
                Some(why) => Err((index, why.to_string())),
                None => store.range(range).await.map_err(|error| (index, error.to_string())),
            }
        };
        let indexed = reading.into_actor(self).then(|page, queue, context| {
            let page = match page {
                Ok(page) => page,
                Err((index, why)) => {
                    tracing::debug!(why, "the index of endings is made later");
                    context.notify_later(index, TICK);
                    return Box::pin(fut::ready(())) as Self::Result;
                }
            };
            let ids = page.entries.iter().filter_map(|entry| keys::id_in_history(&entry.key));
            let mut writes: Vec<_> = ids.map(storage::by_ending).collect();
            let next = page.entries.last().map(|entry| entry.key.clone()).filter(|_| page.more);
            if next.is_none() {
                writes.push(Write::Put(keys::ENDINGS_INDEXED.to_owned(), Bytes::new()));
            }
            let stored = queue.writer.commit(writes).into_actor(queue);
            Box::pin(stored.map(|outcome, queue, context| match (trust(outcome, context), next) {
                (Err(_), _) => {}
                (Ok(()), Some(behind)) => context.notify(IndexEndings { behind: Some(behind) }),
                (Ok(()), None) => queue.history_is_indexed(context),
            }))
        });
        Box::pin(indexed)
    }
}

impl JobQueue {
    /// From now on whatever is final is found by the end of its id, and may be removed when it is old.
    pub(super) fn history_is_indexed(&mut self, context: &mut Context<Self>) {
        self.endings_indexed = true;
        context.notify(LookForOld::FIRST);
    }

    /// Refuses to look for an ending in an index that is not whole.
    pub(super) fn has_endings(&self) -> Result<(), QueueError> {
        match self.endings_indexed {
            true => Ok(()),
            false => Err(QueueError::EndingsNotIndexed),
        }
    }
}
