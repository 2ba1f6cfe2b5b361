//! What is shown of executions: live ones from the view, final ones from the store.

use super::{
    JobQueue, QueueError, Shown,
    record::{Record, Spec},
    rules::View,
    storage,
};
use crate::store::{StoreHandle, keys};
use actix::prelude::*;
use octavius_protocol::id::ExecutionId;

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
