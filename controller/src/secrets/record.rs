//! How secrets lie in the store: what is known of each as JSON, and beside it its values, sealed.

use crate::{
    rotate::Failed,
    store::{Entry, Write, keys},
    vault::{Place, Vault},
};
use jiff::Timestamp;
use octavius_protocol::id::{JobName, VariableName};
use prost::Message as _;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A secret that is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SecretRecord {
    /// The job's name, to find its executions by.
    pub(super) job: JobName,
    /// Which of its values counts.
    pub(super) value: Uuid,
    /// Since when, by this controller's clock.
    pub(super) set_at: Timestamp,
    /// Who set it.
    pub(super) set_by: String,
}

/// Names one value of one secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ValueName {
    pub(super) job_uid: String,
    pub(super) name: VariableName,
    pub(super) value: Uuid,
}

impl ValueName {
    pub(super) fn key(&self) -> String {
        keys::secret_value(&self.job_uid, &self.name, self.value)
    }

    pub(super) fn place(&self) -> Place<'_> {
        Place::Secret { job_uid: &self.job_uid, name: &self.name, value: self.value }
    }
}

/// A sealed value, as the store keeps it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct StoredValue {
    /// The job's name.
    #[prost(string, tag = "1")]
    job: String,
    /// The value, sealed for its place.
    #[prost(bytes = "vec", tag = "2")]
    pub(super) sealed: Vec<u8>,
}

/// A stored value, sealed under the newer master key; none: it is already.
pub(crate) fn taken_over(entry: &Entry, vault: &Vault) -> Result<Option<Vec<u8>>, Failed> {
    let stored = StoredValue::decode(&entry.value[..]);
    let stored = stored.map_err(|error| Failed::Unreadable(error.to_string()))?;
    let sealed = vault.taken_over(&stored.sealed)?;
    Ok(sealed.map(|sealed| StoredValue { sealed, ..stored }.encode_to_vec()))
}

/// The write that stores a value.
pub(super) fn put_value(value: &ValueName, job: &JobName, sealed: Vec<u8>) -> Write {
    let stored = StoredValue { job: job.to_string(), sealed };
    Write::Put(value.key(), stored.encode_to_vec().into())
}

/// The job's uid and the secret's name in a key below `v1/secret/`.
pub(super) fn names_of(key: &str) -> Option<(String, VariableName)> {
    let (uid, name) = key.strip_prefix(keys::SECRETS)?.split_once('/')?;
    Some((uid.to_owned(), name.parse().ok()?))
}

/// Which value an entry below `v1/secret-value/` is, and whose job's.
pub(super) fn value_of(entry: &Entry) -> Option<(ValueName, JobName)> {
    let (job_uid, rest) = entry.key.strip_prefix(keys::SECRET_VALUES)?.split_once('/')?;
    let (name, value) = rest.split_once('/')?;
    let job = StoredValue::decode(&entry.value[..]).ok()?.job.parse().ok()?;
    let job_uid = job_uid.to_owned();
    Some((ValueName { job_uid, name: name.parse().ok()?, value: value.parse().ok()? }, job))
}
