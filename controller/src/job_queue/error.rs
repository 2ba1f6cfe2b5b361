//! Why the queue did not do what it was asked. The texts are for the caller: what is wrong, where, and what to do.

use super::rules::{Reached, SubmitRefused};
use crate::{
    registry::{DeleteError, PinError, Violation},
    secrets::{SecretError, UnsetSecrets},
    store::ReadError,
};
use octavius_protocol::id::{ExecutionId, JobName, Session};
use octavius_service::{actor::Unanswered, configuration::Setting};
use std::{sync::Arc, time::Duration};

/// Why a request to run a job was not accepted.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SubmitError {
    /// The job or the arguments are not right.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// There is no execution to be run again.
    #[error(transparent)]
    NoFirst(QueueError),
    /// What was submitted once is not right as it is.
    #[error("execution {first} cannot be run again as it is: its arguments do not fit {job}")]
    NotAgain {
        /// The execution.
        first: ExecutionId,
        /// The job as it would be run.
        job: String,
        /// What is wrong.
        violations: Vec<Violation>,
    },
    /// The request itself is not right.
    #[error("the request is not right")]
    Invalid(Vec<Violation>),
    /// Secrets are missing.
    #[error(transparent)]
    UnsetSecrets(#[from] UnsetSecrets),
    /// The secrets could not be looked at; nothing is on disk.
    #[error("the job's secrets could not be looked at: {0}: try again in a moment")]
    Secrets(#[source] SecretError),
    /// No executor could ever run it, and the caller wants one.
    #[error("nothing was accepted: {0}")]
    NoExecutor(String),
    /// Too many executions wait.
    #[error(
        "{limit} executions wait for an executor, the most that the queue takes: try again later"
    )]
    Full {
        /// The bound.
        limit: usize,
    },
    /// Too many executions of a team wait.
    #[error(
        "{limit} executions of {} wait for an executor, the most of one team that the queue takes: try again later",
        team_in_words(team)
    )]
    TeamFull {
        /// The team; empty: of all jobs without one.
        team: Arc<str>,
        /// The bound.
        limit: usize,
    },
    /// The job says that nothing waits for its limits.
    #[error(
        "{0}, and so many run or wait to: `on_limit` of the job is `refuse`: try again when one has ended"
    )]
    AtLimit(Reached),
    /// Too many bytes of arguments are being accepted.
    #[error(
        "{limit} KiB of arguments are being accepted, the most at a time: try again in a moment"
    )]
    TooMuch {
        /// The bound, in KiB.
        limit: u32,
    },
    /// The request id was used for something else.
    #[error(
        "the request id `{request_id}` belongs to execution {first} of other content: use a new one"
    )]
    OtherContent {
        /// The id.
        request_id: String,
        /// What it was first used for.
        first: ExecutionId,
    },
    /// It may or may not be on disk. The request id makes asking again safe.
    #[error("the execution may or may not exist: send the same request id again to learn which")]
    Unconfirmed(#[source] Unanswered),
    /// It is certainly not on disk.
    #[error(transparent)]
    Unanswered(Unanswered),
    /// The store could not be used; with a request id asking again is safe.
    #[error("the request could not be stored for certain: {0}")]
    Store(String),
}

/// Why a job was not deleted.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DeleteJobError {
    /// The registry says no.
    #[error(transparent)]
    Registry(#[from] DeleteError),
    /// Executions of it are not over.
    #[error(
        "job `{job}` was not deleted: {waiting} of its executions wait and {held} are under way: wait for their end, or delete it with `--force`, which cancels those that wait and lets the others end"
    )]
    InUse {
        /// The job's name.
        job: JobName,
        /// How many wait for an executor.
        waiting: usize,
        /// How many an executor has.
        held: usize,
    },
    /// The queue did not answer, or the store not the queue.
    #[error("job `{job}` was not deleted: {why}")]
    Queue {
        /// The job's name.
        job: String,
        /// Why.
        why: QueueError,
    },
    /// It may or may not be deleted.
    #[error("job `{job}` may or may not be deleted: `octavius describe {job}` tells which")]
    Unconfirmed {
        /// The job's name.
        job: String,
        /// What became of the question.
        #[source]
        why: Unanswered,
    },
}

/// Why an execution could not be shown or changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum QueueError {
    /// There is none.
    #[error("there is no execution `{0}`: `octavius executions` shows the newest ones")]
    Unknown(ExecutionId),
    /// There is none any more.
    #[error(
        "there is no execution `{id}` any more, if there was one: final ones are removed {keep_for} after their end (`keep_executions_for` in the controller's configuration), and the oldest sooner where there are too many (`keep_executions`)",
        keep_for = keep_for.shown()
    )]
    NotKept {
        /// Which one.
        id: ExecutionId,
        /// How long final ones are kept.
        keep_for: Duration,
    },
    /// It cannot be cancelled any more.
    #[error(
        "execution `{id}` is over, it ended as {outcome} before: nothing was cancelled; `octavius status {id}` shows its end, `octavius rerun {id}` runs it again"
    )]
    Over {
        /// Which.
        id: ExecutionId,
        /// How it ended.
        outcome: &'static str,
    },
    /// An executor holds an attempt that this store does not know. Nothing is stopped or removed for that.
    #[error(
        "execution {0} is not known here, as after a restore from a backup: its executor keeps what it has of it, and if it runs, it goes on; who does not want that removes it there by hand"
    )]
    NotKnown(ExecutionId),
    /// More is being written of a final execution, or it is being removed.
    #[error("more is being written of execution {0} just now: say it again in a moment")]
    Busy(ExecutionId),
    /// The session is not open.
    #[error("session {0} is not open: register again")]
    Session(Session),
    /// A page token that nobody gave out.
    #[error("`{0}` is no page token: begin with an empty one")]
    PageToken(String),
    /// Too many calls are parked.
    #[error(
        "{limit} calls wait for work, orders or an end, the most of a kind that are parked: try again in a moment"
    )]
    Parked {
        /// The bound.
        limit: usize,
    },
    /// Too many calls of one executor are parked.
    #[error(
        "{limit} calls of this executor wait for work, the most of one that are parked: one is enough"
    )]
    ParkedOfOne {
        /// The bound.
        limit: usize,
    },
    /// The actor or the store did not answer.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
    /// The store could not be read, or did not confirm.
    #[error("the store did not confirm: {0}")]
    Store(String),
}

impl From<SubmitRefused> for SubmitError {
    fn from(refused: SubmitRefused) -> Self {
        match refused {
            SubmitRefused::Full { limit } => Self::Full { limit },
            SubmitRefused::TeamFull { team, limit } => Self::TeamFull { team, limit },
            SubmitRefused::NoExecutor(why) => Self::NoExecutor(why),
            SubmitRefused::AtLimit(reached) => Self::AtLimit(reached),
        }
    }
}

fn team_in_words(team: &str) -> String {
    if team.is_empty() { "jobs without a team".to_owned() } else { format!("team `{team}`") }
}

impl From<ReadError> for QueueError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Unanswered(unanswered) => Self::Unanswered(unanswered),
            ReadError::Backend(text) => Self::Store(text),
        }
    }
}

impl From<QueueError> for SubmitError {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::Unanswered(unanswered) => Self::from(unanswered),
            other => Self::Store(other.to_string()),
        }
    }
}

impl From<Unanswered> for SubmitError {
    fn from(unanswered: Unanswered) -> Self {
        if unanswered.certainly_nothing() {
            Self::Unanswered(unanswered)
        } else {
            Self::Unconfirmed(unanswered)
        }
    }
}
