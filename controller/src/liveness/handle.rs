//! What others hold of liveness: its bounds and deadlines are settled here.

use super::{
    DrainError, ForgetError, HeardError, ListExecutorsError, LivenessLimits, LivenessWatcher, NAME,
    RegisterError, Registration, Seen,
    drain::Drain,
    forget::Forget,
    look::{Heard, List},
    register::{Admit, Register},
    rules::{SessionUnknown, Standing},
};
use crate::{
    caller::Caller,
    job_queue::QueueHandle,
    limits::LARGEST_PAGE,
    store::{Lead, StoreHandle},
};
use octavius_protocol::id::{ExecutorId, Session};
use octavius_service::actor::{
    ActorSystem, Handle, Limits, Priority, RestartPolicy, Unanswered, Vitals,
};
use std::{
    collections::HashMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};

/// Room for two signs of life of each executor at once, and for those who register.
pub(crate) const LIMITS: Limits = Limits { waiting: 20_480, answer: Duration::from_secs(10) };

/// How many register at once; further ones wait for their turn. An actor looks at all that it waits for whenever
/// anything happens: of 10,000 executors that come back together that would be a hundred million looks, on the thread
/// that hears who lives.
pub(crate) const REGISTERING: usize = 256;

/// What liveness is made with.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Where records and sessions are kept.
    pub store: StoreHandle,
    /// Who is told of silence.
    pub queue: QueueHandle,
    /// While that is not certain, signs of life are refused.
    pub lead: Lead,
    /// The installation's id: executors of another one are refused.
    pub installation: String,
    /// Bounds and waits.
    pub limits: LivenessLimits,
}

/// A page of executors, in the order of their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecutorPage {
    /// The executors.
    pub executors: Vec<Seen>,
    /// Asks for the next page; empty where there is none.
    pub next_page_token: String,
}

/// The way in to liveness.
#[derive(Clone, Debug)]
pub struct LivenessHandle {
    actor: Handle<LivenessWatcher>,
    registering: Arc<Semaphore>,
    /// How many executors there were at the last sign of life.
    known: Arc<AtomicUsize>,
    /// The session that each executor has.
    sessions: watch::Receiver<Sessions>,
}

/// The session that each executor has.
pub(super) type Sessions = HashMap<ExecutorId, Session>;

impl LivenessHandle {
    /// Starts the actor on a thread of its own.
    pub fn start(system: &mut ActorSystem, parts: Parts) -> io::Result<Self> {
        let gate = parts.store.gate();
        let (told, sessions) = watch::channel(Sessions::new());
        let build = move || LivenessWatcher::load(parts.clone(), told.clone());
        let actor = system.supervise(NAME, LIMITS, RestartPolicy::default(), build)?.behind(gate);
        let registering = Arc::new(Semaphore::new(REGISTERING));
        Ok(Self { actor, registering, known: Arc::default(), sessions })
    }

    /// Gives an executor a session. The answer comes after it is on disk and the queue knows it.
    pub async fn register(&self, registration: Registration) -> Result<Session, RegisterError> {
        let turn = timeout(LIMITS.answer, self.registering.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(Unanswered::Full { actor: NAME, limit: REGISTERING }.into());
        };
        let registered = self.actor.mutate(Priority::Report, Register(registration));
        // A task of its own: the turn is not over before the actor is done, also where the caller leaves.
        let registered = tokio::spawn(async move {
            let _turn = turn;
            registered.await
        });
        registered.await.unwrap_or(Err(Unanswered::Restarted { actor: NAME }))?
    }

    /// Whether an executor would be given a session now. The queue hears of a loss that it is yet to be told of.
    pub async fn admit(&self, registration: Registration) -> Result<(), RegisterError> {
        self.actor.query(Priority::Report, Admit(registration)).await?
    }

    /// Whether a session is the one of this executor. Does not wait for anybody.
    pub fn is_of(&self, session: Session, executor: &ExecutorId) -> Result<(), HeardError> {
        match self.sessions.borrow().get(executor) {
            Some(own) if *own == session => Ok(()),
            Some(_) | None => Err(SessionUnknown(session).into()),
        }
    }

    /// Takes a sign of life, which may say what its executor cannot see; empty: it sees all.
    pub async fn heard(
        &self,
        session: Session,
        unseen: Option<String>,
    ) -> Result<Standing, HeardError> {
        let standing = self.actor.query(Priority::Report, Heard { session, unseen }).await??;
        self.known.store(standing.executors, Relaxed);
        Ok(standing)
    }

    /// Ends new work for an executor, or begins it again. What it holds goes on. The answer comes after it is on disk and
    /// the queue knows it: the executor as it is then.
    pub async fn drain(
        &self,
        executor: ExecutorId,
        drained: bool,
        by: Caller,
    ) -> Result<Seen, DrainError> {
        self.actor.mutate(Priority::Submit, Drain { executor, drained, by }).await?
    }

    /// Forgets an executor that is not heard. The answer, how many attempts ended as lost with that, comes after all of it
    /// is on disk.
    pub async fn forget(&self, executor: ExecutorId, by: Caller) -> Result<usize, ForgetError> {
        self.actor.mutate(Priority::Submit, Forget(executor, by)).await?
    }

    /// How many executors were known at the last sign of life of one of them.
    pub fn known(&self) -> usize {
        self.known.load(Relaxed)
    }

    /// Executors by id, from 1 to 1,000 of them, behind the page that ended with `page_token`.
    pub async fn list(
        &self,
        most: usize,
        page_token: &str,
    ) -> Result<ExecutorPage, ListExecutorsError> {
        let after =
            match page_token {
                "" => None,
                token => Some(token.parse().map_err(|_| {
                    ListExecutorsError::PageToken(token.chars().take(80).collect())
                })?),
            };
        let list = List { most: most.clamp(1, LARGEST_PAGE), after };
        let (executors, more) = self.actor.query(Priority::Read, list).await?;
        let last = executors.last().filter(|_| more);
        let next_page_token = last.map_or_else(String::new, |seen| seen.record.id.to_string());
        Ok(ExecutorPage { executors, next_page_token })
    }

    /// Waits until the actor serves, `within` at the most.
    pub async fn up(&self, within: Duration) -> Result<(), Unanswered> {
        self.actor.up(within).await
    }

    /// What is seen of the actor from outside.
    pub fn vitals(&self) -> &Arc<Vitals> {
        self.actor.vitals()
    }

    /// Makes the actor panic; for tests of supervision.
    #[cfg(feature = "fault-injection")]
    pub async fn inject_panic(&self) -> Result<(), Unanswered> {
        self.actor.inject_panic().await
    }
}
