//! Why the registry says no. The texts are for the caller: what is wrong, where, and what to do.

use super::Violation;
use octavius_protocol::id::JobName;
use octavius_service::actor::Unanswered;

/// Why a job was not stored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CreateError {
    /// The definition is not right; all faults at once.
    #[error("the job was not stored: its definition is not right")]
    Invalid(Vec<Violation>),
    /// There is another job of that name.
    #[error(
        "there is a job `{name}` of other content (version {version}, by {created_by}): take another name, or see `octavius describe {name}`"
    )]
    AlreadyExists {
        /// The name.
        name: JobName,
        /// The version that is there.
        version: u64,
        /// Who stored it.
        created_by: String,
    },
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
    #[error("job `{0}` may or may not be stored: create it again to learn which, it is safe")]
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
    /// A page token that nobody gave out.
    #[error("`{0}` is no page token: begin with an empty one")]
    PageToken(String),
    /// The actor did not answer.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
}

/// Why no version was pinned.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PinError {
    /// There is no such job.
    #[error("there is no job `{0}`: `octavius list` shows the jobs that you may run")]
    UnknownJob(String),
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

fn did_you_mean(nearest: Option<&JobName>) -> String {
    nearest.map_or_else(String::new, |name| format!(", but there is `{name}`"))
}
