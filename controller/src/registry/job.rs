//! What a job is, as its author wrote it and as the store keeps it.
//!
//! Keys that came later are left out of the stored form where they are not given, so that jobs that were stored
//! before them are read, and equal content stays equal.

use super::rules::value::is_same;
use jiff::{SignedDuration, Timestamp};
use octavius_protocol::id::JobName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a job is, as its author wrote it: nothing is checked yet (see `rules::check_definition`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
    /// How long the job's program may run; none: what the executor says.
    pub timeout: Option<SignedDuration>,
    /// How long an attempt may take until its program runs; none: what the executor says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_timeout: Option<SignedDuration>,
    /// How long an execution may wait for an executor; none: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_timeout: Option<SignedDuration>,
    /// Which ends are tried again; none: what the executor says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// How many executions run at once; 0: no limit.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub concurrency: u32,
    /// The arguments whose values name what runs one at a time; empty: nothing does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub concurrency_key: Vec<String>,
    /// What becomes of an execution that is submitted while a limit is reached, in a word; empty: it waits.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub on_limit: String,
    /// With whom its executions share places; empty: with those of all jobs without a team.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub team: String,
    /// From 0 to 9: more is served sooner; none: the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// The most that a request may ask for; none: its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_priority: Option<u32>,
    /// What becomes of an execution whose attempt is lost, in a word; empty: what `retry` says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub on_lost: String,
    /// Labels that an executor must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub executor_selector: BTreeMap<String, String>,
    /// What the program needs, for executors of the kind `kubernetes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// A partial pod template as a JSON object, for executors of the kind `kubernetes`; empty: none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kubernetes: String,
    /// The namespace of what is made for it, for executors of the kind `kubernetes`; empty: what the executor says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

/// Which ends are tried again, as the author wrote it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    /// How many attempts there are in all; 0 and 1: one.
    pub attempts: u32,
    /// The pause before the second attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<SignedDuration>,
    /// By how much each pause is longer than the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    /// No pause is longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_pause: Option<SignedDuration>,
    /// Which ends, in words; empty: `failed`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<String>,
}

/// What a program needs, in Kubernetes' words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// What is set aside for it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub requests: BTreeMap<String, String>,
    /// What it gets at the most.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, String>,
}

impl Resources {
    /// All names with their quantities.
    pub fn all(&self) -> impl Iterator<Item = (&String, &String)> {
        self.requests.iter().chain(&self.limits)
    }
}

/// What an argument's values are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArgumentType {
    /// Any text.
    #[default]
    String,
    /// A whole number of 64 bits.
    Int,
    /// A finite decimal number.
    Float,
    /// `true` or `false`.
    Bool,
    /// One of the allowed values.
    Enum,
    /// Any text, which is not shown and not kept after the end.
    Secret,
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
    /// What its values are.
    #[serde(rename = "type", default, skip_serializing_if = "is_string")]
    pub kind: ArgumentType,
    /// What an execution that does not give it gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// The values that it may have; empty: all that the other rules allow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<String>,
    /// A regular expression for the whole value; empty: none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pattern: String,
    /// The least value, as it is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<String>,
    /// The greatest value, as it is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<String>,
    /// Values that are for some alone, by group.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub allowed_for: BTreeMap<String, Vec<String>>,
}

impl Argument {
    /// The groups that this value is for; none: it is for all.
    pub fn groups_for(&self, value: &str) -> Vec<&str> {
        // `05` is `5` where it is a number.
        let has = |values: &Vec<String>| values.iter().any(|one| is_same(self.kind, one, value));
        let groups = self.allowed_for.iter().filter(|(_, values)| has(values));
        groups.map(|(group, _)| group.as_str()).collect()
    }
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The job's name.
    pub name: JobName,
    /// Names this job even if another of the same name follows it: a UUID.
    pub uid: String,
    /// Which version of the job this is: from 1.
    pub version: u64,
    /// The first version of this uid: versions go on where another job had the name before.
    #[serde(default = "first")]
    pub first_version: u64,
    /// When this version was stored, by the controller's clock.
    pub created_at: Timestamp,
    /// Who stored this version.
    pub created_by: String,
    /// What its author wrote.
    pub definition: JobDefinition,
}

/// So many versions of a job are kept, the newest ones: each update removes the one that is too old then, so that there
/// are never others in the store. With a lower number those in between would stay, also when their job is deleted: it
/// takes a migration.
pub(crate) const MOST_VERSIONS: u64 = 100;

impl Job {
    /// The versions of it that are kept: from the oldest of them to this one, its newest.
    pub fn kept_versions(&self) -> std::ops::RangeInclusive<u64> {
        let oldest = (self.version + 1).saturating_sub(MOST_VERSIONS);
        oldest.max(self.first_version)..=self.version
    }
}

/// What the store keeps of a job that was deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// Its last version: a later job of the name goes on behind it.
    pub version: u64,
    /// Its uid.
    pub uid: String,
    /// When it was deleted, by the controller's clock.
    pub deleted_at: Timestamp,
    /// Who deleted it.
    pub deleted_by: String,
    /// Which groups might use it; none: nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorized_groups: Option<Vec<String>>,
}

fn first() -> u64 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes a reference
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes a reference
fn is_string(kind: &ArgumentType) -> bool {
    *kind == ArgumentType::String
}
