//! What others hold of the queue: bounds, deadlines, and the calls that are parked.

use super::{
    DeleteJobError, JobQueue, Parts, QueueError, SubmitError, Wake,
    attempt::Outcome,
    delete::DeleteJob,
    executors::{Attend, Drain, Expire, Forget, HeldBy, Holds, Lose, Parked, Poll, TakeIn},
    record::{Record, Spec},
    report::TakeReport,
    rerun::Rerun,
    retention::Retention,
    rules::{
        Candidate, Grant, Holding, Join, LeaseName, Order, Report, Right, Verdict,
        retain::may_be_removed,
    },
    show::{Explain, Look, newest_removed, stored, stored_spec},
    submit::{Cancel, Submit, Submitted},
    terms::Own,
    waiting::AwaitEnd,
};
use crate::{caller::Caller, store::StoreHandle, vault::Vault};
use octavius_protocol::{
    id::{ExecutionId, ExecutorId, Session},
    secret::SecretValues,
};
use octavius_service::actor::{ActorSystem, Handle, Limits, Priority, RestartPolicy, Unanswered};
use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};
use tokio::{sync::Semaphore, time::Instant};

/// One request to run a job, as it came in. Its `Debug` shows no values.
#[derive(Clone, PartialEq, Eq)]
pub struct SubmitRequest {
    /// The job's name.
    pub job: String,
    /// Values by argument name.
    pub arguments: BTreeMap<String, String>,
    /// The caller's name for this wish; empty: none.
    pub request_id: String,
    /// Who asks.
    pub by: Caller,
    /// What is asked besides.
    pub own: Own,
    /// Whether it is refused where no executor that has registered could ever run it.
    pub require_executor: bool,
    /// What it knows of the execution that it runs again, if it does.
    pub rerun: Option<Rerun>,
}

impl fmt::Debug for SubmitRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubmitRequest")
            .field("job", &self.job)
            .field("arguments", &self.arguments.keys())
            .field("request_id", &self.request_id)
            .field("user", &self.by.name())
            .finish_non_exhaustive()
    }
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
    /// What the job's program finds in its environment, and nobody else may see.
    pub secrets: SecretValues,
}

/// What an executor is answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// What to do with what it holds.
    pub orders: Vec<Order>,
    /// What it holds and did not name.
    pub grants: Vec<Leased>,
}

/// The most calls that are parked at a time, for work, for orders and for ends each.
pub(crate) const PARKED: usize = 20_000;
/// The most KiB of arguments that are being accepted at a time.
pub(crate) const SUBMITTED_KIB: u32 = 64 << 10;

/// The way in to the queue. Its bounds and deadlines are settled here.
#[derive(Clone, Debug)]
pub struct QueueHandle {
    pub(super) actor: Handle<JobQueue>,
    pub(super) store: StoreHandle,
    pub(super) vault: Vault,
    polls: Arc<Semaphore>,
    attends: Arc<Semaphore>,
    pub(super) waits: Arc<Semaphore>,
    /// Room for what is being accepted, in KiB.
    submitted: Arc<Semaphore>,
    retention: Retention,
}

impl QueueHandle {
    /// Starts the queue, and keeps it alive.
    pub(crate) fn start(system: &mut ActorSystem, parts: Parts) -> std::io::Result<Self> {
        let (store, vault) = (parts.store.clone(), parts.secrets.vault().clone());
        let (gate, retention) = (store.gate(), parts.retention);
        let build = move || JobQueue::load(parts.clone());
        let actor =
            system.supervise("JobQueue", Limits::default(), RestartPolicy::default(), build)?;
        let actor = actor.behind(gate);
        let parked = || Arc::new(Semaphore::new(PARKED));
        let submitted = Arc::new(Semaphore::new(SUBMITTED_KIB as usize));
        let (polls, attends, waits) = (parked(), parked(), parked());
        Ok(Self { actor, store, vault, polls, attends, waits, submitted, retention })
    }

    /// The actor itself, for tests of supervision and for readiness.
    #[allow(private_interfaces)] // the actor's type says nothing to others
    pub(crate) fn actor(&self) -> &Handle<JobQueue> {
        &self.actor
    }

    /// Accepts a request to run a job. The answer comes after the execution is on disk.
    pub async fn submit(&self, request: SubmitRequest) -> Result<Accepted, SubmitError> {
        let bytes: usize = request.arguments.values().map(|value| value.len() + 64).sum();
        let weight = u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX).min(SUBMITTED_KIB);
        let full = |_| SubmitError::TooMuch { limit: SUBMITTED_KIB };
        let _room = self.submitted.try_acquire_many(weight.max(1)).map_err(full)?;
        loop {
            match self.actor.mutate(Priority::Submit, Submit(request.clone())).await?? {
                Submitted::Accepted(accepted) => return Ok(*accepted),
                // Closes when the first is answered, or its actor is gone. Nothing is ever sent.
                Submitted::InFlight(mut first) => {
                    let answered = async { while first.changed().await.is_ok() {} };
                    let after = Limits::default().answer;
                    let late = |_| Unanswered::Late { actor: "JobQueue", after };
                    tokio::time::timeout(after, answered).await.map_err(late)?;
                }
            }
        }
    }

    /// One execution.
    pub async fn get(&self, id: ExecutionId) -> Result<Shown, QueueError> {
        let live = self.actor.query(Priority::Read, Look(id)).await??;
        let spec = stored_spec(&self.store, &self.vault, id).await?;
        let shown = match live {
            Some(shown) => shown,
            None => match stored(&self.store, id).await {
                Ok(found) => found,
                Err(error) => return Err(self.why_unknown(error).await),
            },
        };
        Ok(Shown { spec, ..shown })
    }

    /// What stands between each executor and an execution, the nearest first, and how many are not told of; nothing where
    /// it is final.
    pub async fn explain(&self, id: ExecutionId) -> Result<(Vec<Candidate>, usize), QueueError> {
        Ok(self.actor.query(Priority::Read, Explain(id)).await?.unwrap_or_default())
    }

    /// Says of an execution that is not known that it may have been removed, where that is so.
    pub(crate) async fn why_unknown(&self, error: QueueError) -> QueueError {
        let QueueError::Unknown(id) = error else { return error };
        let Retention { keep_for, .. } = self.retention;
        match newest_removed(&self.store).await {
            Ok(newest) if may_be_removed(id, newest) => QueueError::NotKept { id, keep_for },
            Ok(_) => error,
            Err(unread) => unread,
        }
    }

    /// One execution when it is final, or as it stands after `wait`. Ends with its caller.
    pub async fn wait(&self, id: ExecutionId, wait: Duration) -> Result<Shown, QueueError> {
        let _parked = self.waits.try_acquire().map_err(|_| QueueError::Parked { limit: PARKED })?;
        let until = Instant::now() + wait;
        while let Some(mut end) = self.actor.query(Priority::Read, AwaitEnd(id)).await?? {
            // Nothing is ever sent: it closes with the end, or with the actor, and asking tells which.
            let ended = async { while end.changed().await.is_ok() {} };
            if tokio::time::timeout_at(until, ended).await.is_err() {
                break;
            }
        }
        self.get(id).await
    }

    /// Takes the wish that an execution end; the execution as it stands then.
    pub async fn cancel(&self, id: ExecutionId, by: Caller) -> Result<Shown, QueueError> {
        self.end(Cancel { id, by, force: false }).await
    }

    /// The same, without waiting for the word of its executor.
    pub async fn force(&self, id: ExecutionId, by: Caller) -> Result<Shown, QueueError> {
        self.end(Cancel { id, by, force: true }).await
    }

    async fn end(&self, cancel: Cancel) -> Result<Shown, QueueError> {
        let id = cancel.id;
        let live = self.actor.mutate(Priority::Report, cancel).await??;
        let shown = self.get(id).await?;
        match shown.record.attempt.outcome() {
            // Who asks twice, because the first answer was lost, hears that it is as was wished.
            Some(outcome) if live.is_none() && outcome != Outcome::Cancelled => {
                Err(QueueError::Over { id, outcome: outcome.as_str() })
            }
            _ => Ok(shown),
        }
    }

    /// Deletes a job of which nothing waits or runs; with `force` what waits is cancelled, and what runs comes to its
    /// end. How many were cancelled; the answer comes after all of it is on disk.
    pub async fn delete_job(
        &self,
        job: String,
        force: bool,
        caller: Caller,
    ) -> Result<usize, DeleteJobError> {
        let delete = DeleteJob { job: job.clone(), force, caller };
        match self.actor.mutate(Priority::Submit, delete).await {
            Ok(answer) => answer,
            Err(why) if why.certainly_nothing() => {
                Err(DeleteJobError::Queue { job, why: why.into() })
            }
            Err(why) => Err(DeleteJobError::Unconfirmed { job, why }),
        }
    }

    /// Takes an executor in.
    pub async fn join(&self, join: Join) -> Result<(), QueueError> {
        Ok(self.actor.mutate(Priority::Report, TakeIn(join)).await?)
    }

    /// Ends new work for a silent executor.
    pub async fn expire(&self, executor: ExecutorId, session: Session) -> Result<(), QueueError> {
        Ok(self.actor.mutate(Priority::Report, Expire(executor, session)).await?)
    }

    /// Ends new work for an executor because somebody said so, or begins it again.
    pub async fn drain(&self, executor: ExecutorId, drained: bool) -> Result<(), QueueError> {
        Ok(self.actor.mutate(Priority::Report, Drain { executor, drained }).await?)
    }

    /// Gives up an executor that was silent for too long.
    pub async fn lose(&self, executor: ExecutorId, session: Session) -> Result<(), QueueError> {
        self.actor.mutate(Priority::Report, Lose(executor, session)).await?
    }

    /// Forgets an executor that is gone for good, and was given up.
    pub async fn forget(&self, executor: ExecutorId) -> Result<(), QueueError> {
        Ok(self.actor.mutate(Priority::Report, Forget(executor)).await?)
    }

    /// How many attempts each of these executors holds.
    pub async fn held_by(&self, executors: Vec<ExecutorId>) -> Result<Vec<Holding>, QueueError> {
        Ok(self.actor.query(Priority::Read, HeldBy(executors)).await?)
    }

    /// Work for up to `free` places; waits for it, `wait` at the most. Ends with its caller.
    pub async fn poll(
        &self,
        session: Session,
        free: usize,
        held: Vec<LeaseName>,
        wait: Duration,
    ) -> Result<Vec<Leased>, QueueError> {
        let _parked = self.polls.try_acquire().map_err(|_| QueueError::Parked { limit: PARKED })?;
        let until = Instant::now() + wait;
        loop {
            let poll = Poll { session, free, held: held.clone() };
            match self.actor.mutate(Priority::Poll, poll).await?? {
                Parked::Now(leased) => return Ok(leased),
                Parked::Later(work) => match tokio::time::timeout_at(until, work).await {
                    Ok(_) => {} // there is some, or the actor is gone: asking tells
                    Err(_) => return Ok(Vec::new()),
                },
            }
        }
    }

    /// Orders for an executor, which says of what it lacks the secrets and what it cannot see; waits for one, `wait` at the
    /// most. Ends with its caller.
    pub async fn attend(
        &self,
        session: Session,
        held: Vec<LeaseName>,
        lacking: Vec<LeaseName>,
        unseen: String,
        wait: Duration,
    ) -> Result<Orders, QueueError> {
        let limit = QueueError::Parked { limit: PARKED };
        let _parked = self.attends.try_acquire().map_err(|_| limit)?;
        let until = Instant::now() + wait;
        let mut last = false;
        loop {
            let unseen = (!last).then(|| unseen.clone());
            let (held, lacking) = (held.clone(), lacking.clone());
            let attend = Attend { session, held, lacking, unseen, last };
            // A sign of life changes nothing that is written.
            match self.actor.mutate_always(Priority::Report, attend).await?? {
                Parked::Now(orders) => return Ok(orders),
                Parked::Later(news) => match tokio::time::timeout_at(until, news).await {
                    Ok(Ok(Wake::Displaced)) => return Ok(Orders::default()),
                    // There is some, or the actor is gone: asking tells.
                    Ok(Ok(Wake::News) | Err(_)) => {}
                    Err(_) => last = true,
                },
            }
        }
    }

    /// Takes a holder's word. The answer comes after it is on disk.
    pub async fn report(
        &self,
        session: Session,
        lease: LeaseName,
        report: Report,
    ) -> Result<Verdict, QueueError> {
        self.actor.mutate(Priority::Report, TakeReport { session, lease, report }).await?
    }

    /// What this session may do with the log of what it was granted.
    pub async fn holds(&self, session: Session, lease: LeaseName) -> Result<Right, QueueError> {
        // Appends come in floods, and must leave room for the reports that end them.
        self.actor.query(Priority::Poll, Holds(session, lease)).await?
    }
}
