//! What is shown of executions: live ones from the view, final ones from the store.

use super::{
    JobQueue, QueueError, Shown,
    record::{Record, Spec},
    rules::View,
    storage,
};
use crate::store::{StoreHandle, keys};
use actix::prelude::*;
use octavius_protocol::id::{ExecutionId, JobName};

/// A live execution, shown once what is shown is on disk. None: it is not live.
#[derive(Debug, Message)]
#[rtype(result = "Result<Option<Shown>, QueueError>")]
pub(super) struct Look(pub(super) ExecutionId);

impl Handler<Look> for JobQueue {
    type Result = ResponseActFuture<Self, Result<Option<Shown>, QueueError>>;

    fn handle(&mut self, Look(id): Look, _: &mut Self::Context) -> Self::Result {
        let seen = self.view.live(id).map(|record| shown(&self.view, record));
        Box::pin(self.commit(&[]).map(|stored, _, _| stored.map(|()| seen)))
    }
}

/// Live executions, the newest first, shown once what is shown is on disk.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<Shown>, QueueError>")]
pub(super) struct LookThrough {
    /// Only those before this one.
    pub(super) before: Option<ExecutionId>,
    /// Only those of this job.
    pub(super) job: Option<JobName>,
    /// How many at the most.
    pub(super) most: usize,
}

impl Handler<LookThrough> for JobQueue {
    type Result = ResponseActFuture<Self, Result<Vec<Shown>, QueueError>>;

    fn handle(&mut self, look: LookThrough, _: &mut Self::Context) -> Self::Result {
        let wanted = self.view.newest_first().filter(|record| {
            look.before.is_none_or(|before| record.id < before)
                && look.job.as_ref().is_none_or(|job| record.job == *job)
        });
        let wanted = wanted.take(look.most).map(|record| shown(&self.view, record));
        let seen: Vec<Shown> = wanted.collect();
        Box::pin(self.commit(&[]).map(|stored, _, _| stored.map(|()| seen)))
    }
}

/// A live execution as it is shown.
pub(super) fn shown(view: &View, record: &Record) -> Shown {
    let (reason_code, _) = record.why_ended();
    Shown { record: record.clone(), spec: None, reason_code, reason: view.why(record) }
}

/// A final execution as it is shown.
pub(super) fn shown_from_history(record: Record) -> Shown {
    let (reason_code, reason) = record.why_ended();
    Shown { record, spec: None, reason_code, reason }
}

/// A final execution, from the store.
pub(super) async fn stored(store: &StoreHandle, id: ExecutionId) -> Result<Shown, QueueError> {
    let record = stored_record(store, id).await?.ok_or(QueueError::Unknown(id))?;
    Ok(shown_from_history(record))
}

/// The record of a final execution.
pub(super) async fn stored_record(
    store: &StoreHandle,
    id: ExecutionId,
) -> Result<Option<Record>, QueueError> {
    read(store, &keys::done(id)).await
}

/// What was submitted.
pub(super) async fn stored_spec(
    store: &StoreHandle,
    id: ExecutionId,
) -> Result<Option<Spec>, QueueError> {
    read(store, &keys::spec(id)).await
}

async fn read<T: serde::de::DeserializeOwned>(
    store: &StoreHandle,
    key: &str,
) -> Result<Option<T>, QueueError> {
    let Some(value) = store.get(key).await? else { return Ok(None) };
    let decoded = storage::decode_value(key, &value);
    decoded.map(Some).map_err(|unreadable| QueueError::Store(unreadable.to_string()))
}
