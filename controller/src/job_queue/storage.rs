//! How the queue's changes and records lie in the store: as JSON, under the keys of [`keys`]; packed, where they stay for
//! long. Values of arguments are sealed in it.

mod sealed;

pub(crate) use sealed::arguments_taken_over;
pub(super) use sealed::{secret_arguments, spec};

use super::{
    SubmitRequest,
    attempt::State,
    record::{Change, Record, Spec},
};
use crate::{
    store::{Entry, Write, keys, packed},
    vault::{DataKey, Unopened},
};
use bytes::Bytes;
use octavius_protocol::id::ExecutionId;
use serde::{
    Serialize,
    de::{DeserializeOwned, Error as _},
};

/// The writes that make these changes, all together.
pub(super) fn writes(changes: &[Change], key: &DataKey) -> serde_json::Result<Vec<Write>> {
    let mut writes = Vec::new();
    for change in changes {
        match change {
            Change::Submitted(id, spec, request_id) => {
                let spec_value = packed::pack(sealed::encode(*id, spec, key)?);
                writes.push(Write::Put(keys::spec(*id), spec_value));
                if !spec.hidden.arguments.is_empty() {
                    let values = sealed::encode_secret_arguments(*id, spec, key);
                    writes.push(Write::Put(keys::secret_arguments(*id), values.into()));
                }
                if let Some(request_id) = request_id {
                    writes.push(put(keys::request(&spec.user, request_id), id)?);
                }
            }
            Change::Live(record) => writes.push(put(keys::live(record.id), &**record)?),
            Change::Done(record) => {
                debug_assert!(matches!(record.attempt.state, State::Ended { .. }));
                let id = record.id;
                writes.push(Write::Delete(keys::live(id)));
                if record.has_secret_arguments {
                    writes.push(Write::Delete(keys::secret_arguments(id)));
                }
                let value = packed::pack(serde_json::to_vec(&**record)?);
                writes.push(Write::Put(keys::done(id), value));
                writes.push(Write::Put(keys::by_job(&record.job, id), Bytes::new()));
                writes.push(Write::Put(keys::by_user(&record.user, id), Bytes::new()));
                writes.push(Write::Put(keys::by_ending(id), Bytes::new()));
            }
            Change::Afterwards(record) => {
                debug_assert!(matches!(record.attempt.state, State::Ended { .. }));
                let value = packed::pack(serde_json::to_vec(&**record)?);
                writes.push(Write::Put(keys::done(record.id), value));
            }
        }
    }
    Ok(writes)
}

/// The writes that remove all that there is of a final execution, but for its logs.
pub(super) fn removal(record: &Record) -> Vec<Write> {
    debug_assert!(matches!(record.attempt.state, State::Ended { .. }));
    let id = record.id;
    let request = record.request_id.as_ref().map(|name| keys::request(&record.user, name));
    let all = [
        keys::done(id),
        keys::by_job(&record.job, id),
        keys::by_user(&record.user, id),
        keys::by_ending(id),
        keys::spec(id),
        keys::secret_arguments(id),
    ];
    all.into_iter().chain(request).map(Write::Delete).collect()
}

/// The write that says up to which execution those were removed that were kept long enough.
pub(super) fn newest_removed(id: ExecutionId) -> Write {
    Write::Put(keys::NEWEST_REMOVED.to_owned(), format!("\"{id}\"").into())
}

fn put(key: String, value: &impl Serialize) -> serde_json::Result<Write> {
    Ok(Write::Put(key, serde_json::to_vec(value)?.into()))
}

/// What an entry holds.
pub(super) fn decode<T: DeserializeOwned>(entry: &Entry) -> Result<T, Unreadable> {
    decode_value(&entry.key, &entry.value)
}

/// What a key holds.
pub(super) fn decode_value<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, Unreadable> {
    let json = packed::unpack(value).map_err(serde_json::Error::custom);
    json.and_then(|json| serde_json::from_slice(&json))
        .map_err(|source| Unreadable::Record { key: key.to_owned(), source })
}

/// A record that this version cannot read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    /// It is no JSON, or of another form.
    #[error("the record at `{key}` cannot be read: {source}")]
    Record { key: String, source: serde_json::Error },
    /// What is sealed in it does not open.
    #[error("what is sealed at `{key}` cannot be opened: {why}")]
    Sealed { key: String, why: Unopened },
}

/// What a request id stands for.
pub(super) type RequestRecord = ExecutionId;

/// Whether a request of this content is the one that was submitted. Of values that nobody may see only the names are
/// compared: the values may be gone.
pub(super) fn same_content(spec: &Spec, request: &SubmitRequest) -> bool {
    if let Some(rerun) = &request.rerun {
        let stored = |name: &str| {
            let found = spec.arguments.iter().find(|(stored, _)| stored.as_str() == name);
            found.map(|(_, value)| value)
        };
        let same = |(name, value): (&String, &String)| stored(name).is_none_or(|one| one == value);
        return spec.again.as_ref() == Some(&rerun.again) && rerun.anew.iter().all(same);
    }
    let secret = |name: &str| spec.hidden.arguments.iter().any(|one| one.as_str() == name);
    let secrets = request.arguments.keys().filter(|name| secret(name)).count();
    let hidden = spec.hidden.arguments.difference(&spec.defaulted).count();
    let given = request.arguments.iter().filter(|(name, _)| !secret(name));
    let given = given.map(|(name, value)| (name.as_str(), value.as_str()));
    let stored = spec.given().map(|(name, value)| (name.as_str(), value.as_str()));
    spec.again.is_none()
        && spec.job.as_str() == request.job
        && secrets == hidden
        && stored.eq(given)
        && spec.own == request.own
}

/// The newest execution that a store's records tell of.
pub(super) fn newest(live: &[Record], done: &[Entry]) -> Option<ExecutionId> {
    let live = live.iter().map(|record| record.id).max();
    live.max(done.first().and_then(|entry| keys::id_in_history(&entry.key)))
}
