//! Why the registry says no. The texts are for the caller: what is wrong, where, and what to do.

use super::Violation;
use crate::store::ReadError;
use octavius_protocol::id::JobName;
use octavius_service::actor::Unanswered;

/// Why a job was not stored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ChangeError {
    /// The definition is not right; all faults at once.
    #[error("the job was not stored: its definition is not right")]
    Invalid(Vec<Violation>),
    /// There is another job of that name.
    #[error(
        "there is a job `{name}` of other content (version {version}, by {created_by}): take another name, change it with `octavius update`, or see `octavius describe {name}`"
    )]
    AlreadyExists {
        /// The name.
        name: JobName,
        /// The version that is there.
        version: u64,
        /// Who stored it.
        created_by: String,
    },
    /// There is none to be changed.
    #[error(transparent)]
    LookUp(#[from] LookUpError),
    /// Somebody else was faster.
    #[error(
        "job `{name}` was not changed: version {expected} was to be followed, and {}: look at it, and decide again",
        newest_is(*.newest)
    )]
    OtherVersion {
        /// The job's name.
        name: JobName,
        /// What the caller knew.
        expected: u64,
        /// What is there; 0: nothing.
        newest: u64,
    },
    /// Somebody is deleting it.
    #[error("job `{0}` is about to be deleted: try again in a moment")]
    Doomed(JobName),
    /// There are so many that no more are taken.
    #[error("the job was not stored: there are {limit} jobs, the most that one controller keeps")]
    Full {
        /// The bound.
        limit: usize,
    },
    /// The store certainly did not take it.
    #[error("the job was not stored: {0}")]
    NotStored(String),
    /// It may or may not be on disk. Asking again is safe.
    #[error(
        "job `{0}` may or may not be stored: ask for the same again to learn which, it is safe"
    )]
    Unconfirmed(JobName),
    /// The actor did not answer.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
}

/// Why a job was not deleted.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DeleteError {
    /// There is none.
    #[error(transparent)]
    LookUp(#[from] LookUpError),
    /// Somebody else is at it.
    #[error("job `{0}` is about to be deleted by somebody else: try again in a moment")]
    UnderWay(JobName),
    /// The store certainly did not take it.
    #[error("the job was not deleted: {0}")]
    NotStored(String),
    /// It may or may not be deleted. Asking again is safe.
    #[error("job `{0}` may or may not be deleted: `octavius describe {0}` tells which")]
    Unconfirmed(JobName),
    /// The actor did not answer.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
}

/// Why no job can be shown.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LookUpError {
    /// There is none.
    #[error("there is no job `{name}`{near}: `octavius list` shows the jobs that you may run", near = did_you_mean(.nearest.as_ref()))]
    Unknown {
        /// What was asked for.
        name: String,
        /// A job whose name is nearly the same.
        nearest: Option<JobName>,
    },
    /// It has no such version.
    #[error("job `{name}` has no version {version}: its versions are {oldest} to {newest}")]
    NoVersion {
        /// The job's name.
        name: JobName,
        /// What was asked for.
        version: u64,
        /// The oldest one of it that is kept: others belonged to a job of its name that was deleted.
        oldest: u64,
        /// Its newest one.
        newest: u64,
    },
    /// The store could not be read.
    #[error("the store could not be read: {0}")]
    Store(String),
    /// A page token that nobody gave out.
    #[error("`{0}` is no page token: begin with an empty one")]
    PageToken(String),
    /// The actor did not answer.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
}

impl From<ReadError> for LookUpError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Unanswered(unanswered) => Self::Unanswered(unanswered),
            ReadError::Backend(text) => Self::Store(text),
        }
    }
}

/// Why no version was pinned.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PinError {
    /// There is no such job, or no such version of it.
    #[error(transparent)]
    LookUp(#[from] LookUpError),
    /// Somebody is deleting it.
    #[error("job `{0}` is about to be deleted: nothing of it is executed now")]
    Doomed(JobName),
    /// The arguments are not what the job wants; all faults at once.
    #[error("the arguments do not fit job `{job}`: `octavius describe {job}` shows what it wants")]
    BadArguments {
        /// The job's name.
        job: String,
        /// What is wrong.
        violations: Vec<Violation>,
    },
    /// The actor or the store did not answer.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
}

fn newest_is(version: u64) -> String {
    match version {
        0 => "there is no such job".to_owned(),
        version => format!("{version} is the newest"),
    }
}

fn did_you_mean(nearest: Option<&JobName>) -> String {
    nearest.map_or_else(String::new, |name| format!(", but there is `{name}`"))
}
