//! One entry: how it is made from a caller, and how it lies in the store.

use crate::{
    caller::Caller,
    store::{Entry, Write, keys},
};
use jiff::Timestamp;
use octavius_protocol::{
    id::{ExecutionId, ExecutorId, JobName},
    v1,
};
use octavius_service::text::cut;
use prost::Message as _;
use std::time::SystemTime;
use uuid::Uuid;

/// The most bytes of what an entry says in words.
const MOST_WORDS: usize = 512;

/// What a call is about, by names alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    job: String,
    execution: String,
    executor: String,
    words: String,
}

impl About {
    /// This job.
    pub(crate) fn job(name: &JobName) -> Self {
        Self { job: name.to_string(), ..Self::default() }
    }

    /// This job, if one is meant.
    pub(crate) fn maybe_job(name: Option<&JobName>) -> Self {
        name.map_or_else(Self::default, Self::job)
    }

    /// This executor.
    pub(crate) fn executor(id: &ExecutorId) -> Self {
        Self { executor: id.to_string(), ..Self::default() }
    }

    /// And this execution.
    pub(crate) fn execution(self, id: ExecutionId) -> Self {
        Self { execution: id.to_string(), ..self }
    }

    /// And what these words say.
    pub(crate) fn and(self, words: impl Into<String>) -> Self {
        Self { words: words.into(), ..self }
    }
}

impl Caller {
    /// The entry for what this caller does, to be committed with it; none where nothing proves who it is.
    pub(crate) fn did(&self, about: About) -> Option<Write> {
        self.token()?;
        Some(written(&self.entry(about)))
    }

    /// The entry for what this caller was refused, also where nothing right proved who it is.
    pub(super) fn was_refused(&self, about: About, why: &str) -> Write {
        let refused = cut(why.to_owned(), MOST_WORDS);
        written(&v1::AuditEntry { refused, ..self.entry(about) })
    }

    fn entry(&self, about: About) -> v1::AuditEntry {
        let About { job, execution, executor, words } = about;
        v1::AuditEntry {
            at: Some(SystemTime::now().into()),
            by: self.name().to_owned(),
            token: self.token().unwrap_or_default(),
            from: self.from().map(|from| from.to_canonical().to_string()).unwrap_or_default(),
            call: self.call().to_owned(),
            job,
            execution,
            executor,
            about: cut(words, MOST_WORDS),
            refused: String::new(),
        }
    }
}

fn written(entry: &v1::AuditEntry) -> Write {
    Write::Put(key(Uuid::now_v7().as_u128()), entry.encode_to_vec().into())
}

/// Where the entry of this id lies: the newest come first.
fn key(id: u128) -> String {
    format!("{}{:032x}", keys::AUDIT, !id)
}

/// Where the newest lies of those that were made before this time.
pub(super) fn newest_before(at: Timestamp) -> String {
    let milliseconds = u128::try_from(at.as_millisecond()).unwrap_or_default();
    key((milliseconds << 80).saturating_sub(1))
}

/// Where the oldest lies of those that were made at this time or later.
pub(super) fn oldest_since(at: Timestamp) -> String {
    let milliseconds = u128::try_from(at.as_millisecond()).unwrap_or_default();
    key(milliseconds << 80)
}

/// What lies in the store; none: it cannot be read.
pub(super) fn read(entry: &Entry) -> Option<v1::AuditEntry> {
    v1::AuditEntry::decode(entry.value.as_ref()).ok()
}
