//! What the store keeps of an execution: what was submitted, once, and where it stands, rewritten at each step.

use super::{
    attempt::{Attempt, Outcome, State},
    rules::RunnerKind,
    terms::{ExecutorTerms, Own, Terms},
};
use crate::registry::Resources;
use jiff::Timestamp;
use octavius_protocol::{
    id::{
        AttemptId, AttemptNumber, Epoch, ExecutionId, ExecutorId, JobName, Namespace, VariableName,
    },
    secret::SecretValues,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};
use uuid::Uuid;

/// What was submitted, with all of the job's version that it takes to run it. Its `Debug` shows no values.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The job's name.
    pub job: JobName,
    /// The job's uid: another job of the same name has another.
    pub job_uid: String,
    /// The job's version.
    pub job_version: u64,
    /// Who asked for it.
    pub user: String,
    /// The container image.
    pub image_name: String,
    /// The program and its arguments; empty: the image's own.
    pub command: Vec<String>,
    /// Values by argument name, but for those that nobody may see. Stored sealed, beside this; earlier versions stored
    /// them here.
    #[serde(default, skip_serializing)]
    pub arguments: BTreeMap<VariableName, String>,
    /// What nobody may see.
    #[serde(default)]
    pub hidden: Hidden,
    /// Which arguments were not given: their values are the job's defaults. Earlier versions did not store it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub defaulted: BTreeSet<VariableName>,
    /// How long the job lets the program run, in milliseconds; none: what the executor says.
    pub timeout_ms: Option<u64>,
    /// The namespace of what is made for it; none: what the executor says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Namespace>,
    /// What the program needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// A partial pod template as a JSON object; empty: none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kubernetes: String,
    /// What the request said besides.
    #[serde(default, skip_serializing_if = "Own::is_empty")]
    pub own: Own,
    /// Which execution it runs again, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<Again>,
}

/// Which execution is run again, and what was said of that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Again {
    /// The first one.
    pub of: ExecutionId,
    /// Whether in its version of the job, and not the current one.
    pub same_version: bool,
    /// The names of the arguments that were given anew.
    pub anew: BTreeSet<String>,
}

/// What an execution gets that nobody may see.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hidden {
    /// Which values of the job's secrets: those of when it was submitted.
    pub secrets: BTreeMap<VariableName, Uuid>,
    /// The names of the arguments whose values nobody may see.
    pub arguments: BTreeSet<VariableName>,
    /// Their values, on their way to the store, where they are sealed and apart.
    #[serde(skip)]
    pub values: SecretValues,
}

impl Hidden {
    /// These values of the job's secrets, and these arguments.
    pub fn new(
        secrets: BTreeMap<VariableName, Uuid>,
        arguments: BTreeMap<VariableName, String>,
    ) -> Self {
        let mut values = SecretValues::default();
        let mut names = BTreeSet::new();
        for (name, value) in arguments {
            values.insert(name.as_str(), value);
            names.insert(name);
        }
        Self { secrets, arguments: names, values }
    }
}

impl fmt::Debug for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spec")
            .field("job", &self.job)
            .field("job_version", &self.job_version)
            .field("user", &self.user)
            .field("command", &self.command)
            .field("arguments", &self.arguments.keys())
            .field("hidden", &self.hidden)
            .finish_non_exhaustive()
    }
}

impl Spec {
    /// The values that were given, of those that somebody may see.
    pub fn given(&self) -> impl Iterator<Item = (&VariableName, &String)> {
        self.arguments.iter().filter(|(name, _)| !self.defaulted.contains(*name))
    }

    /// About how many bytes it takes in an answer.
    pub fn size(&self) -> usize {
        let arguments =
            self.arguments.iter().map(|(name, value)| name.as_str().len() + value.len());
        let command = self.command.iter().map(String::len);
        let resources = self.resources.iter().flat_map(Resources::all);
        let resources = resources.map(|(name, quantity)| name.len() + quantity.len());
        arguments.chain(command).chain(resources).map(|bytes| bytes + 16).sum::<usize>()
            + self.image_name.len()
            + self.kubernetes.len()
            + 256
    }
}

/// Which executors can run an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Needs {
    /// The job has a command: any kind of executor.
    Any,
    /// Only the image says what to run: an executor of the kind `kubernetes`.
    Images,
}

/// How an attempt ended, as its holder or the controller says.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ending {
    /// The final state to come.
    pub outcome: Outcome,
    /// For programs: a word such as `exit_code`.
    pub code: String,
    /// In words.
    pub reason: String,
    /// The program's exit code, if it exited.
    pub exit_code: Option<i32>,
    /// The size of the whole log in bytes, and its CRC-64/XZ; none: the holder can't say, and the log is cut.
    pub log: Option<(u64, u64)>,
    /// What is known to be missing from the log; empty where nothing is.
    pub log_cut: String,
    /// What the user should know besides, and what changes nothing of how it ended; often empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// What became known of a lost attempt after it was given up: its holder's word. It changes nothing of how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Afterwards {
    /// How it ended, as its holder says.
    pub ending: Ending,
    /// When that was heard, by this controller's clock.
    pub at: Timestamp,
    /// Whether its log has come to its end, too: nothing more is taken of either.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub log_is_over: bool,
}

/// One step of an execution's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// It waits for an executor.
    Pending,
    /// It was granted.
    Leased,
    /// It was prepared.
    Starting,
    /// Its program ran.
    Running,
    /// It was over.
    Ended(Outcome),
}

impl From<State> for Step {
    fn from(state: State) -> Self {
        match state {
            State::Pending { .. } => Self::Pending,
            State::Leased(_) => Self::Leased,
            State::Starting(_) => Self::Starting,
            State::Running(_) => Self::Running,
            State::Ended { outcome, .. } => Self::Ended(outcome),
        }
    }
}

/// A try that is over, and was followed by another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Earlier {
    /// Which try it was.
    pub number: AttemptNumber,
    /// How it ended.
    pub outcome: Outcome,
    /// For programs: a word such as `exit_code`.
    pub code: String,
    /// In words, shortened.
    pub reason: String,
    /// The program's exit code, if it exited.
    pub exit_code: Option<i32>,
    /// Who held it last.
    pub executor: Option<ExecutorId>,
    /// Its log's size in bytes.
    pub log_size: u64,
    /// Why its log is not whole, shortened; empty where it is.
    pub log_cut: String,
    /// What the user should know of it besides, shortened; often empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// By which grant it was held when it was given up as lost: who held it may still say what became of it. None: its holder
    /// has said so. Earlier versions did not store it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_up: Option<Epoch>,
    /// What became known of it after it was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub afterwards: Option<Box<Afterwards>>,
    /// When each of its steps was taken, by this controller's clock.
    pub history: Vec<(Step, Timestamp)>,
}

/// Where an execution stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record {
    /// Which execution.
    pub id: ExecutionId,
    /// Its place in the order of submission.
    pub order: u64,
    /// When it came, in milliseconds by the queue's own clock, which no wall clock moves. Earlier versions did not store it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub came_ms: Option<i64>,
    /// The job's name.
    pub job: JobName,
    /// The job's version.
    pub job_version: u64,
    /// Who asked for it.
    pub user: String,
    /// Which executors can run it.
    pub needs: Needs,
    /// What it runs under.
    #[serde(default)]
    pub terms: Arc<Terms>,
    /// What the executor of the newest grant adds to that.
    #[serde(default)]
    pub offer: ExecutorTerms,
    /// The tries before this one, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Earlier>,
    /// When it is tried again, where it waits for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// Whether somebody wants it to end with this try, however that ends.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub last_try: bool,
    /// Which try this is: from 1.
    pub number: AttemptNumber,
    /// Where that try is.
    pub attempt: Attempt,
    /// Who holds it, or held it last.
    pub executor: Option<ExecutorId>,
    /// What that one runs. Earlier versions did not store it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner: Option<RunnerKind>,
    /// What its holder prepared, by the name that it has for ever.
    pub identity: Option<String>,
    /// What its holder says that it waits for, until its program runs; while that runs, why it is not known whether it still
    /// does. Empty: there is nothing of that to say. What was said within the last second is not here yet, but in the view.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub waits_for: String,
    /// How it ended, once that is known.
    pub ending: Option<Box<Ending>>,
    /// When this controller heard that it ended, by its clock: since then the rest of the log is waited for. Earlier
    /// versions did not store it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending_heard: Option<Timestamp>,
    /// What became known of this try after it was given up as lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub afterwards: Option<Box<Afterwards>>,
    /// The log's size in bytes, once it is over.
    pub log_size: u64,
    /// Why the log is not whole; empty where it is, or is not over.
    pub log_cut: String,
    /// What the user should know besides.
    pub notes: Vec<String>,
    /// What runs one at a time of its job: a value of the job's `concurrency_key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency_key: Option<Arc<str>>,
    /// By which name its caller called the wish, if by one. Earlier versions did not store it here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The execution that it runs again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerun_of: Option<ExecutionId>,
    /// Whether it has arguments that nobody may see: their values go with its end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_secret_arguments: bool,
    /// When each step was taken, by this controller's clock.
    pub history: Vec<(Step, Timestamp)>,
}

impl Record {
    /// When it was submitted, by the clock of the controller of then.
    pub fn submitted_at(&self) -> Option<Timestamp> {
        let first = self.earlier.first().map_or(&self.history, |earlier| &earlier.history);
        first.first().map(|(_, at)| *at)
    }

    /// Names the attempt.
    pub fn attempt_id(&self) -> AttemptId {
        AttemptId { execution: self.id, attempt: self.number }
    }

    /// The Kubernetes Job that its holder made for this attempt, as `namespace/name`: its identity is the namespace and the
    /// Job's uid, and its name follows from the attempt's.
    pub fn runs_as(&self) -> Option<String> {
        let (namespace, _) = self.identity.as_ref()?.split_once('/')?;
        let is_job = self.runner == Some(RunnerKind::Kubernetes);
        is_job.then(|| format!("{namespace}/octavius-{}", self.attempt_id()))
    }

    /// Takes the attempt's new state, and notes the step if it is one.
    pub(super) fn move_to(&mut self, attempt: Attempt, at: Timestamp) {
        let step = Step::from(attempt.state);
        if self.history.last().map(|(last, _)| *last) != Some(step) {
            // Wall clocks are set back now and then; what is shown never goes backwards.
            let at = self.history.last().map_or(at, |(_, last)| at.max(*last));
            self.history.push((step, at));
            self.waits_for.clear(); // that was said of the step before
        }
        if attempt.ending.is_some() && self.ending_heard.is_none() {
            self.ending_heard = Some(at);
        }
        self.attempt = attempt;
    }
}

/// One change that a decision asks of the store. All changes of a decision are made together, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// What was submitted, and by which request id.
    Submitted(ExecutionId, Box<Spec>, Option<String>),
    /// Where a live execution stands now.
    Live(Box<Record>),
    /// An execution is over: it moves from the live ones to history.
    Done(Box<Record>),
    /// More is known of an execution in history.
    Afterwards(Box<Record>),
}
