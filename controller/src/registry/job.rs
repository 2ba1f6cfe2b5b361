//! What a job is, as its author wrote it and as the store keeps it.

use jiff::{SignedDuration, Timestamp};
use octavius_protocol::id::JobName;
use serde::{Deserialize, Serialize};

/// What a job is, as its author wrote it: nothing is checked yet (see `rules::check_definition`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobDefinition {
    /// Unique among all jobs.
    pub name: String,
    /// For people.
    pub description: String,
    /// The container image; may be empty where there is a command.
    pub image_name: String,
    /// The program and its arguments; empty: the image's own.
    pub command: Vec<String>,
    /// The values that whoever executes the job gives.
    pub arguments: Vec<Argument>,
    /// The secrets that the job wants, by name.
    pub secrets: Vec<SecretName>,
    /// Who may run it; empty: everybody who may run jobs at all.
    pub authorized_groups: Vec<String>,
    /// Who wrote the job.
    pub author: String,
    /// Who else worked on it.
    pub contributors: String,
    /// Which organization it belongs to.
    pub organization: String,
    /// How long the job's program may run; none: no limit.
    pub timeout: Option<SignedDuration>,
}

/// One value that an execution takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Argument {
    /// The environment variable that holds it.
    pub name: String,
    /// For people.
    pub description: String,
    /// Whether an execution without it is refused.
    pub required: bool,
}

/// One secret that a job wants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretName {
    /// The environment variable that will hold it.
    pub name: String,
    /// For people.
    pub description: String,
}

/// One version of a job, as the store keeps it. Its definition was found to be right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The job's name.
    pub name: JobName,
    /// Names this job even if another of the same name follows it: a UUID.
    pub uid: String,
    /// Which version of the job this is: from 1.
    pub version: u64,
    /// When this version was stored, by the controller's clock.
    pub created_at: Timestamp,
    /// Who stored this version.
    pub created_by: String,
    /// What its author wrote.
    pub definition: JobDefinition,
}
