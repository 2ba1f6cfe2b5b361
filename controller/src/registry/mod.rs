//! The registry: which jobs exist, and their versions. SKELETON: signatures stand, bodies do not.

use octavius_protocol::id::{JobName, VariableName};
use octavius_service::actor::Unanswered;
use std::{collections::BTreeMap, time::Duration};

/// A job's version with the arguments of one execution, all found to be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// The job's name.
    pub job: JobName,
    /// The job's uid.
    pub uid: String,
    /// The job's newest version.
    pub version: u64,
    /// The container image.
    pub image_name: String,
    /// The program and its arguments; empty: the image's own.
    pub command: Vec<String>,
    /// How long the program may run; none: no limit.
    pub timeout: Option<Duration>,
    /// The secrets that the job wants; none of them is set in this version.
    pub secrets: Vec<VariableName>,
    /// Values by argument name, as given.
    pub arguments: BTreeMap<VariableName, String>,
}

/// One fault of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which field.
    pub field: String,
    /// What is wrong with which value, and what to do.
    pub description: String,
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

/// The way in to the registry.
#[derive(Clone, Debug)]
pub struct RegistryHandle {}

impl RegistryHandle {
    /// The job's newest version, with these arguments checked against it.
    pub async fn pin(
        &self,
        _job: String,
        _arguments: BTreeMap<String, String>,
    ) -> Result<Pinned, PinError> {
        todo!()
    }
}
