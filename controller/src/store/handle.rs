//! What others hold of the store. SKELETON: signatures stand, bodies do not.

use super::{Page, Range, Write};
use octavius_service::actor::Unanswered;

/// What can come of a write. `Unknown` is not a kind of failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Commit {
    /// It is on disk.
    Done,
    /// It certainly did not happen; the text says why.
    Refused(String),
    /// It may or may not have happened; the text says why.
    Unknown(String),
}

/// Why a read has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// The store's actor did not answer.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
    /// The backend could not read.
    #[error("the store could not be read: {0}")]
    Backend(String),
}

/// The way in to the store.
#[derive(Clone, Debug)]
pub struct StoreHandle {}

impl StoreHandle {
    /// Makes a writer for the actor `owner`, and ends all that it had before: what they have queued is dropped, and
    /// the batch in flight is waited for, so that a read after this sees all that they ever wrote.
    pub async fn enlist(&self, _owner: &'static str) -> Result<Writer, Unanswered> {
        todo!()
    }

    /// Reads a page. Sees every write that was queued before it.
    pub async fn range(&self, _range: Range) -> Result<Page, ReadError> {
        todo!()
    }

    /// Reads a whole range, a page of `range.limit` at a time.
    pub async fn all(&self, _range: Range) -> Result<Vec<super::Entry>, ReadError> {
        todo!()
    }

    /// Reads one key.
    pub async fn get(&self, _key: &str) -> Result<Option<bytes::Bytes>, ReadError> {
        todo!()
    }
}

/// Writes for one incarnation of one actor.
#[derive(Clone, Debug)]
pub struct Writer {}

impl Writer {
    /// Commits the writes of one decision: all or none, in the order of the calls (it is queued when this returns).
    /// At most 120 writes and 1 MiB; of two writes to one key in a batch the last one counts.
    pub fn commit(
        &self,
        _decision: Vec<Write>,
    ) -> impl Future<Output = Commit> + Send + 'static + use<> {
        async { todo!() }
    }
}
