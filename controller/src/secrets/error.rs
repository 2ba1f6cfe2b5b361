//! Why there is no answer about secrets. The texts are for the caller; none holds anything of a value.

use crate::{registry::Violation, store::ReadError, vault::Unopened};
use octavius_protocol::id::{JobName, VariableName};
use octavius_service::actor::Unanswered;
use std::collections::BTreeSet;

/// Why a secret was not set, shown or taken away.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SecretError {
    /// Name or value are not right; all faults at once.
    #[error("the secret was not set: the request is not right")]
    Invalid(Vec<Violation>),
    /// There is none to take away.
    #[error(
        "job `{job}` has no secret {name} that is set: `octavius secret list {job}` shows them"
    )]
    NotSet {
        /// The job.
        job: JobName,
        /// What was asked for, as errors quote it.
        name: String,
    },
    /// So many are set.
    #[error(
        "job `{job}` has {limit} secrets that are set, the most that are kept: `octavius secret unset` those that it does not declare any more"
    )]
    Full {
        /// The job.
        job: JobName,
        /// The bound.
        limit: usize,
    },
    /// So many former values are kept.
    #[error(
        "{limit} former values of secrets of job `{job}` are kept for its executions: set one again when those have ended, or in some minutes"
    )]
    Replaced {
        /// The job.
        job: JobName,
        /// The bound.
        limit: usize,
    },
    /// The store certainly did not take it.
    #[error("nothing was changed: {0}")]
    NotStored(String),
    /// It may or may not be on disk. Asking again is safe.
    #[error("this may or may not have been done: do it again, it is safe ({0})")]
    Unconfirmed(String),
    /// The actor did not answer.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
}

/// Secrets that an execution would need and that are not set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("job `{job}` needs secrets that are not set: {}", remedy(.job, .names))]
pub struct UnsetSecrets {
    /// The job.
    pub job: JobName,
    /// Which.
    pub names: BTreeSet<VariableName>,
}

/// How many commands are written out: a status has room for some.
const WRITTEN_OUT: usize = 5;

fn remedy(job: &JobName, names: &BTreeSet<VariableName>) -> String {
    let some: Vec<_> = names
        .iter()
        .take(WRITTEN_OUT)
        .map(|name| format!("{name} (`octavius secret set {job} {name}`)"))
        .collect();
    let rest = names.len().saturating_sub(WRITTEN_OUT);
    let more = if rest > 0 {
        format!(", and {rest} more: `octavius secret list {job}` shows them")
    } else {
        String::new()
    };
    some.join(", ") + &more
}

/// Why a value cannot be handed on.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RevealError {
    /// It is not there.
    #[error("the value of {0} is not in the store any more")]
    Gone(VariableName),
    /// It does not open.
    #[error("the value of {0} cannot be opened: {1}")]
    Unopened(VariableName, Unopened),
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}
