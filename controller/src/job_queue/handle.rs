//! What others hold of the queue. SKELETON: signatures stand, bodies do not.

use super::{
    record::{Record, Spec},
    rules::{Grant, Join, LeaseName, Order, Report, Verdict},
};
use crate::registry::{PinError, Violation};
use octavius_protocol::id::{ExecutionId, ExecutorId, JobName, Session};
use octavius_service::actor::Unanswered;
use std::{collections::BTreeMap, time::Duration};

/// One request to run a job, as it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubmitRequest {
    /// The job's name.
    pub job: String,
    /// Values by argument name.
    pub arguments: BTreeMap<String, String>,
    /// The caller's name for this wish; empty: none.
    pub request_id: String,
    /// Who asks.
    pub user: String,
}

/// Why a request to run a job was not accepted.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SubmitError {
    /// The job or the arguments are not right.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// The request itself is not right.
    #[error("the request is not right")]
    Invalid(Vec<Violation>),
    /// Too many executions wait.
    #[error(
        "{limit} executions wait for an executor, the most that the queue takes: try again later"
    )]
    Full {
        /// The bound.
        limit: usize,
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
}

/// Why an execution could not be shown or changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum QueueError {
    /// There is none.
    #[error("there is no execution `{0}`: `octavius executions` shows the newest ones")]
    Unknown(ExecutionId),
    /// The session is not open.
    #[error("session {0} is not open: register again")]
    Session(Session),
    /// A page token that nobody gave out.
    #[error("`{0}` is no page token: begin with an empty one")]
    PageToken(String),
    /// Too many calls are parked.
    #[error(
        "{limit} calls wait for work or orders, the most that are parked: try again in a moment"
    )]
    Parked {
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

/// An execution as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Where it stands.
    pub record: Record,
    /// What was submitted; none in lists.
    pub spec: Option<Spec>,
    /// For programs: a word; empty where there is none.
    pub reason_code: String,
    /// Why it is there, in words.
    pub reason: String,
}

/// What an accepted request came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The execution, on disk.
    pub execution: Shown,
    /// False where the request id found an earlier one.
    pub created: bool,
}

/// A grant with all that it takes to run it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leased {
    /// Which attempt, by which grant, and what was prepared for it so far.
    pub grant: Grant,
    /// What was submitted.
    pub spec: Spec,
}

/// What an executor is answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// What to do with what it holds.
    pub orders: Vec<Order>,
    /// What it holds and did not name.
    pub grants: Vec<Leased>,
}

/// Which executions a list wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListRequest {
    /// How many at the most.
    pub page_size: usize,
    /// Where the page before ended; empty for the first.
    pub page_token: String,
    /// Only those of this job.
    pub job: Option<JobName>,
}

/// A page of executions, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// The executions.
    pub executions: Vec<Shown>,
    /// Asks for the next page; empty where there is none.
    pub next_page_token: String,
}

/// The way in to the queue. Its bounds and deadlines are settled here.
#[derive(Clone, Debug)]
pub struct QueueHandle {}

impl QueueHandle {
    /// Accepts a request to run a job. The answer comes after the execution is on disk.
    pub async fn submit(&self, _request: SubmitRequest) -> Result<Accepted, SubmitError> {
        todo!()
    }
    /// One execution.
    pub async fn get(&self, _id: ExecutionId) -> Result<Shown, QueueError> {
        todo!()
    }
    /// Executions, the newest first.
    pub async fn list(&self, _request: ListRequest) -> Result<Listed, QueueError> {
        todo!()
    }
    /// Takes the wish that an execution end; the execution as it stands then.
    pub async fn cancel(&self, _id: ExecutionId) -> Result<Shown, QueueError> {
        todo!()
    }
    /// Takes an executor in.
    pub async fn join(&self, _join: Join) -> Result<(), QueueError> {
        todo!()
    }
    /// Ends new work for a silent executor.
    pub async fn expire(&self, _executor: ExecutorId, _session: Session) -> Result<(), QueueError> {
        todo!()
    }
    /// Gives up an executor that was silent for too long.
    pub async fn lose(&self, _executor: ExecutorId, _session: Session) -> Result<(), QueueError> {
        todo!()
    }
    /// How many attempts each of these executors holds.
    pub async fn held_by(&self, _executors: Vec<ExecutorId>) -> Result<Vec<usize>, QueueError> {
        todo!()
    }
    /// Work for up to `free` places; waits for it, `wait` at the most. Ends with its caller.
    pub async fn poll(
        &self,
        _session: Session,
        _free: usize,
        _held: Vec<LeaseName>,
        _wait: Duration,
    ) -> Result<Vec<Leased>, QueueError> {
        todo!()
    }
    /// Orders for an executor; waits for one, `wait` at the most. Ends with its caller.
    pub async fn attend(
        &self,
        _session: Session,
        _held: Vec<LeaseName>,
        _wait: Duration,
    ) -> Result<Orders, QueueError> {
        todo!()
    }
    /// Takes a holder's word. The answer comes after it is on disk.
    pub async fn report(
        &self,
        _session: Session,
        _lease: LeaseName,
        _report: Report,
    ) -> Result<Verdict, QueueError> {
        todo!()
    }
    /// Whether this session holds this grant.
    pub async fn holds(&self, _session: Session, _lease: LeaseName) -> Result<bool, QueueError> {
        todo!()
    }
}
