//! The end of a job, as far as its executions are concerned.
//!
//! Two actors know one half each: the registry the job, the queue what waits and runs. In turn: the registry dooms the
//! job, from then on nobody pins it; the queue waits for the requests that may have pinned it before, which are in its
//! view then or refused; it counts, cancels, and has the registry delete. Whoever fails on the way lets the job live.

use super::{DeleteJobError, JobQueue, QueueError, record::Change};
use crate::{
    caller::Caller,
    registry::{Doomed, RegistryHandle},
};
use actix::prelude::*;
use std::collections::BTreeMap;
use tokio::sync::watch;

/// Deletes a job. How many executions were cancelled; the answer comes after all of it is on disk.
#[derive(Debug, Message)]
#[rtype(result = "Result<usize, DeleteJobError>")]
pub(super) struct DeleteJob {
    pub(super) job: String,
    pub(super) force: bool,
    pub(super) caller: Caller,
}

type Answer = ResponseActFuture<JobQueue, Result<usize, DeleteJobError>>;

impl Handler<DeleteJob> for JobQueue {
    type Result = Answer;

    fn handle(&mut self, delete: DeleteJob, _: &mut Self::Context) -> Self::Result {
        let DeleteJob { job, force, caller } = delete;
        let registry = self.parts.registry.clone();
        let doomed = async move { registry.doom(job).await };
        Box::pin(doomed.into_actor(self).then(move |doomed, queue, _| -> Answer {
            let doomed = match doomed {
                Ok(doomed) => doomed,
                Err(error) => return Box::pin(fut::err(error.into())),
            };
            let settled = queue.preparing.settled(doomed.job.name.as_str());
            let settled = settled.into_actor(queue);
            Box::pin(settled.then(move |(), queue, _| queue.delete(doomed, force, caller)))
        }))
    }
}

impl JobQueue {
    fn delete(&mut self, doomed: Doomed, force: bool, caller: Caller) -> Answer {
        let job = doomed.job.name.clone();
        let (waiting, held) = self.view.of_job(&job, doomed.job.first_version);
        if !force && waiting.len() + held > 0 {
            let waiting = waiting.len();
            return Box::pin(fut::err(DeleteJobError::InUse { job, waiting, held }));
        }
        let now = self.now();
        let cancelled: Vec<_> =
            waiting.iter().filter_map(|id| self.view.cancel(*id, caller.name(), now)).collect();
        let changes: Vec<Change> =
            cancelled.iter().flat_map(|cancelled| cancelled.changes.clone()).collect();
        let count = cancelled.len();
        let registry = self.parts.registry.clone();
        let ended: Vec<_> =
            cancelled.iter().map(|cancelled| cancelled.record.attempt_id()).collect();
        Box::pin(self.commit_each(&changes).then(move |committed, queue, context| -> Answer {
            if let Err(why) = committed {
                return Box::pin(fut::err(not_deleted(job.to_string(), why)));
            }
            // None of them ever ran: their logs are empty and closed, and who follows them is told.
            let logs = queue.parts.logs.clone();
            let closed = async move {
                for attempt in ended {
                    let _ = logs.cut(attempt, String::new()).await; // its end says the same
                }
            };
            context.spawn(closed.into_actor(queue));
            Box::pin(
                deleted(registry, doomed, caller)
                    .into_actor(queue)
                    .map(move |deleted, _, _| deleted.map(|()| count)),
            )
        }))
    }
}

async fn deleted(
    registry: RegistryHandle,
    doomed: Doomed,
    caller: Caller,
) -> Result<(), DeleteJobError> {
    Ok(registry.delete(doomed, caller).await?)
}

fn not_deleted(job: String, why: QueueError) -> DeleteJobError {
    DeleteJobError::Queue { job, why }
}

/// Requests whose job may be pinned already, and that are not in the view yet.
#[derive(Debug, Default)]
pub(super) struct Preparing {
    next: u64,
    under_way: BTreeMap<u64, (String, watch::Sender<()>)>,
}

impl Preparing {
    /// Notes a request for `job`, before the job is pinned.
    pub(super) fn begin(&mut self, job: &str) -> u64 {
        self.next += 1;
        self.under_way.insert(self.next, (job.to_owned(), watch::Sender::new(())));
        self.next
    }

    /// The request is in the view, or refused.
    pub(super) fn end(&mut self, request: u64) {
        self.under_way.remove(&request);
    }

    /// Waits until the requests for `job` that are under way now have come to their end; not for later ones.
    fn settled(&self, job: &str) -> impl Future<Output = ()> + use<> {
        let of_job = self.under_way.values().filter(|(other, _)| other == job);
        let under_way: Vec<_> = of_job.map(|(_, end)| end.subscribe()).collect();
        async move {
            for mut request in under_way {
                // Nothing is ever sent: it closes at the end.
                while request.changed().await.is_ok() {}
            }
        }
    }
}
