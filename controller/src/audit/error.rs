//! Why the audit has no answer.

use crate::store::ReadError;
use octavius_service::actor::Unanswered;

/// Why nothing was recorded, or nothing is shown.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AuditError {
    /// The actor did not answer.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
    /// It is not on disk.
    #[error("nothing was done, for it could not be recorded: {0}")]
    NotStored(String),
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The token of a page is none.
    #[error("`{0}` is no page's token: give `next_page_token` of the page before as it was")]
    PageToken(String),
}
