//! What is shown of executions: live ones from the view, final ones from the store.

use super::{
    JobQueue, QueueError, Shown,
    record::{Record, Spec},
    rules::{Candidate, Looked, View},
    storage,
};
use crate::{
    store::{ReadError, StoreHandle, keys},
    vault::Vault,
};
use actix::prelude::*;
use octavius_protocol::{
    id::{ExecutionId, VariableName},
    secret::SecretValues,
};
use serde::Deserialize;
use std::collections::BTreeMap;
use uuid::Uuid;

/// The word for what waits and no executor that has registered could ever run.
const NO_EXECUTOR: &str = "no_executor";

/// A live execution, shown once what is shown is on disk. None: it is not live.
#[derive(Debug, Message)]
#[rtype(result = "Result<Option<Shown>, QueueError>")]
pub(super) struct Look(pub(super) ExecutionId);

/// What stands between each executor and a live execution, and how many are not told of. None: it is not live.
#[derive(Debug, Message)]
#[rtype(result = "Option<(Vec<Candidate>, usize)>")]
pub(super) struct Explain(pub(super) ExecutionId);

impl Handler<Explain> for JobQueue {
    type Result = MessageResult<Explain>;

    fn handle(&mut self, Explain(id): Explain, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.view.explain(id))
    }
}

impl Handler<Look> for JobQueue {
    type Result = ResponseActFuture<Self, Result<Option<Shown>, QueueError>>;

    fn handle(&mut self, Look(id): Look, _: &mut Self::Context) -> Self::Result {
        let seen = self.view.live(id).map(|record| shown(&self.view, record));
        Box::pin(self.commit(&[]).map(|stored, _, _| stored.map(|()| seen)))
    }
}

/// A live execution as it is shown.
pub(super) fn shown(view: &View, record: &Record) -> Shown {
    shown_among(view, record, &mut Looked::default())
}

/// The same, one of many.
pub(super) fn shown_among<'a>(view: &'a View, record: &Record, looked: &mut Looked<'a>) -> Shown {
    let (mut reason_code, _) = record.why_ended();
    let pauses = view.is_pausing(record);
    let waits = record.attempt.held().is_none() && !pauses;
    if waits && looked.nobody_could(view, record) {
        NO_EXECUTOR.clone_into(&mut reason_code);
    }
    let reason = view.why_among(record, looked);
    let record = Record {
        waits_for: view.waits_for(record).to_owned(),
        retry_at: record.retry_at.filter(|_| pauses),
        ..record.clone()
    };
    Shown { record, spec: None, reason_code, reason }
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

/// What was submitted, of an execution that is on disk.
pub(super) async fn stored_spec(
    store: &StoreHandle,
    vault: &Vault,
    id: ExecutionId,
) -> Result<Option<Spec>, QueueError> {
    let Some(stored) = store.get_landed(&keys::spec(id)).await? else { return Ok(None) };
    storage::spec(id, &stored, vault).map(Some).map_err(unreadable)
}

/// The values of arguments that nobody may see, for whoever was granted the execution; or why that will never be had.
pub(super) async fn stored_secret_arguments(
    store: &StoreHandle,
    vault: &Vault,
    id: ExecutionId,
) -> Result<Result<SecretValues, String>, QueueError> {
    let Some(stored) = store.get_landed(&keys::secret_arguments(id)).await? else {
        return Ok(Err(
            "the values of its secret arguments are not in the store any more".to_owned()
        ));
    };
    let values = storage::secret_arguments(id, &stored, vault);
    Ok(values.map_err(|unreadable| unreadable.to_string()))
}

/// The newest of all executions that were removed because they were kept long enough.
pub(super) async fn newest_removed(store: &StoreHandle) -> Result<Option<ExecutionId>, QueueError> {
    read(store, keys::NEWEST_REMOVED).await
}

/// Which values of which secrets an execution has pinned.
#[derive(Debug, Deserialize)]
pub(crate) struct Pins {
    /// Whose secrets.
    pub(crate) job_uid: String,
    #[serde(default)]
    hidden: HiddenPins,
}

#[derive(Debug, Default, Deserialize)]
struct HiddenPins {
    secrets: BTreeMap<VariableName, Uuid>,
}

impl Pins {
    /// Which values, by the secrets' names.
    pub(crate) fn into_secrets(self) -> BTreeMap<VariableName, Uuid> {
        self.hidden.secrets
    }
}

/// Which values of secrets an execution has pinned. None: nobody can say.
pub(crate) async fn pins(store: &StoreHandle, id: ExecutionId) -> Result<Option<Pins>, ReadError> {
    let key = keys::spec(id);
    let stored = store.get(&key).await?;
    Ok(stored.and_then(|stored| storage::decode_value(&key, &stored).ok()))
}

async fn read<T: serde::de::DeserializeOwned>(
    store: &StoreHandle,
    key: &str,
) -> Result<Option<T>, QueueError> {
    let Some(value) = store.get(key).await? else { return Ok(None) };
    let decoded = storage::decode_value(key, &value);
    decoded.map(Some).map_err(unreadable)
}

fn unreadable(unreadable: storage::Unreadable) -> QueueError {
    QueueError::Store(unreadable.to_string())
}
