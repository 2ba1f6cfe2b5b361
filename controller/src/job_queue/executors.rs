//! Executors: who joins, expires and is lost, who polls, and who waits for orders.

use super::{
    JobQueue, Leased, Orders, QueueError,
    rules::{Grant, Join, LeaseName, SessionUnknown, Verdict},
    show::{stored_record, stored_spec},
};
use crate::store::StoreHandle;
use actix::prelude::*;
use octavius_protocol::id::{ExecutorId, Session};
use tokio::sync::oneshot;

/// The most attempts of one beat that are looked up in history; the next beat brings the others.
const LOOKED_UP: usize = 64;

impl From<SessionUnknown> for QueueError {
    fn from(SessionUnknown(session): SessionUnknown) -> Self {
        Self::Session(session)
    }
}

/// Takes an executor in.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct TakeIn(pub(super) Join);

impl Handler<TakeIn> for JobQueue {
    type Result = ();

    fn handle(&mut self, TakeIn(join): TakeIn, _: &mut Self::Context) {
        let older = self.view.session_of(&join.executor);
        self.view.join(join, self.now());
        self.wake_attend(older); // whoever waits in the older session learns that it is over
        self.wake_polls();
    }
}

/// Ends new work for a silent executor.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Expire(pub(super) ExecutorId, pub(super) Session);

impl Handler<Expire> for JobQueue {
    type Result = ();

    fn handle(&mut self, Expire(executor, session): Expire, _: &mut Self::Context) {
        self.view.expire(&executor, session);
    }
}

/// Gives up an executor that was silent for too long.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), QueueError>")]
pub(super) struct Lose(pub(super) ExecutorId, pub(super) Session);

impl Handler<Lose> for JobQueue {
    type Result = ResponseActFuture<Self, Result<(), QueueError>>;

    fn handle(&mut self, Lose(executor, session): Lose, _: &mut Self::Context) -> Self::Result {
        let changes = self.view.lose(&executor, session, self.now());
        // Each attempt is a decision of its own: an executor may hold more than one transaction takes.
        let commits: Vec<_> =
            changes.iter().map(|change| self.commit(std::slice::from_ref(change))).collect();
        let all = commits.into_iter().fold(
            Box::pin(fut::ok(())) as ResponseActFuture<Self, Result<(), QueueError>>,
            |before, commit| {
                Box::pin(before.then(|was: Result<(), QueueError>, _, _| {
                    commit.map(move |now, _, _| was.and(now))
                }))
            },
        );
        Box::pin(all.map(|committed, queue, _| {
            queue.wake_polls();
            committed
        }))
    }
}

/// How many attempts each of these executors holds.
#[derive(Debug, Message)]
#[rtype(result = "Vec<usize>")]
pub(super) struct HeldBy(pub(super) Vec<ExecutorId>);

impl Handler<HeldBy> for JobQueue {
    type Result = MessageResult<HeldBy>;

    fn handle(&mut self, HeldBy(executors): HeldBy, _: &mut Self::Context) -> Self::Result {
        MessageResult(executors.iter().map(|executor| self.view.held_by(executor)).collect())
    }
}

/// What a parked call gets: something, or a wait for it.
#[derive(Debug)]
pub(super) enum Parked<T> {
    Now(T),
    Later(oneshot::Receiver<()>),
}

/// Work for up to `free` places.
#[derive(Debug, Message)]
#[rtype(result = "Result<Parked<Vec<Leased>>, QueueError>")]
pub(super) struct Poll {
    pub(super) session: Session,
    pub(super) free: usize,
    pub(super) held: Vec<LeaseName>,
}

impl Handler<Poll> for JobQueue {
    type Result = ResponseActFuture<Self, Result<Parked<Vec<Leased>>, QueueError>>;

    fn handle(&mut self, poll: Poll, _: &mut Self::Context) -> Self::Result {
        let polled = match self.view.poll(poll.session, poll.free, &poll.held, self.now()) {
            Ok(polled) => polled,
            Err(unknown) => return Box::pin(fut::err(unknown.into())),
        };
        if polled.grants.is_empty() {
            let (waiter, wait) = oneshot::channel();
            self.polls.push_back((poll.session, waiter));
            return Box::pin(fut::ok(Parked::Later(wait)));
        }
        let commit = self.commit(&polled.changes);
        Box::pin(commit.then(move |committed, queue, _| {
            let store = queue.parts.store.clone();
            let leased = async move {
                committed?;
                leased(&store, polled.grants).await.map(Parked::Now)
            };
            leased.into_actor(queue)
        }))
    }
}

/// Grants with what was submitted.
async fn leased(store: &StoreHandle, grants: Vec<Grant>) -> Result<Vec<Leased>, QueueError> {
    let mut leased = Vec::with_capacity(grants.len());
    for grant in grants {
        let execution = grant.lease.attempt.execution;
        let spec = stored_spec(store, execution).await?;
        let missing = || QueueError::Store(format!("what was submitted as {execution} is gone"));
        leased.push(Leased { grant, spec: spec.ok_or_else(missing)? });
    }
    Ok(leased)
}

/// A sign of life, and a wish for orders.
#[derive(Debug, Message)]
#[rtype(result = "Result<Parked<Orders>, QueueError>")]
pub(super) struct Attend {
    pub(super) session: Session,
    pub(super) held: Vec<LeaseName>,
    /// Whether the wait is over: then all orders are said again, also those that are not new.
    pub(super) last: bool,
}

impl Handler<Attend> for JobQueue {
    type Result = ResponseActFuture<Self, Result<Parked<Orders>, QueueError>>;

    fn handle(&mut self, attend: Attend, _: &mut Self::Context) -> Self::Result {
        let Attend { session, held, last } = attend;
        let mut attended = match self.view.attend(session, &held) {
            Ok(attended) => attended,
            Err(unknown) => return Box::pin(fut::err(unknown.into())),
        };
        self.wake_polls(); // an executor that was silent gets work again
        let store = self.parts.store.clone();
        let unknown = std::mem::take(&mut attended.unknown);
        let looked_up = async move { (over(&store, unknown).await, store) };
        Box::pin(looked_up.into_actor(self).then(move |(over, store), queue, _| {
            for lease in over {
                let (order, news) = queue.view.forget(session, lease);
                attended.orders.push(order);
                attended.news |= news;
            }
            let wait = (!attended.news && !last).then(|| queue.wait_for_orders(session));
            let answer = async move {
                match wait {
                    Some(wait) => Ok(Parked::Later(wait)),
                    None => {
                        let grants = leased(&store, attended.grants).await?;
                        Ok(Parked::Now(Orders { orders: attended.orders, grants }))
                    }
                }
            };
            answer.into_actor(queue)
        }))
    }
}

impl JobQueue {
    fn wait_for_orders(&mut self, session: Session) -> oneshot::Receiver<()> {
        let (waiter, wait) = oneshot::channel();
        self.attends.retain(|_, waiter| !waiter.is_closed());
        self.attends.insert(session, waiter);
        wait
    }
}

/// Which of these history knows to be over. What it does not know is left alone: a store that was restored from a
/// backup must not end what it has forgotten.
async fn over(store: &StoreHandle, unknown: Vec<LeaseName>) -> Vec<LeaseName> {
    let mut over = Vec::new();
    for lease in unknown.into_iter().take(LOOKED_UP) {
        match stored_record(store, lease.attempt.execution).await {
            Ok(Some(_)) => over.push(lease),
            Ok(None) => {
                tracing::warn!(attempt = %lease.attempt, "an executor holds what is not known here");
            }
            Err(error) => tracing::debug!(%error, "history could not be asked"),
        }
    }
    over
}

/// Whether this session holds this grant.
#[derive(Debug, Message)]
#[rtype(result = "Result<bool, QueueError>")]
pub(super) struct Holds(pub(super) Session, pub(super) LeaseName);

impl Handler<Holds> for JobQueue {
    type Result = Result<bool, QueueError>;

    fn handle(&mut self, Holds(session, lease): Holds, _: &mut Self::Context) -> Self::Result {
        Ok(self.view.holds(session, lease)?)
    }
}

/// What a holder says of an attempt.
#[derive(Debug, Message)]
#[rtype(result = "Result<Verdict, QueueError>")]
pub(super) struct TakeReport {
    pub(super) session: Session,
    pub(super) lease: LeaseName,
    pub(super) report: super::rules::Report,
}
