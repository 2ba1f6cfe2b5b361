//! Executors: who joins, expires and is lost, who polls, and who waits for orders.

use super::{
    JobQueue, Leased, Orders, QueueError, Wake,
    hand_out::handed_out,
    record::Record,
    rules::{Holding, Join, LeaseName, Right, SessionUnknown},
    show::stored_record,
};
use crate::store::StoreHandle;
use actix::prelude::*;
use jiff::Timestamp;
use octavius_protocol::id::{ExecutorId, Session};
use tokio::sync::oneshot;

/// The most attempts of one beat that are looked up in history; the next beat brings the others.
const LOOKED_UP: usize = 64;
/// The most calls for work that are parked of one session, those counted that were given up within the last second. An
/// executor needs one; who takes all would leave none to others.
pub(crate) const POLLS_OF_ONE: usize = 64;
/// The most attempts that are remembered as not known.
const STRANGERS: usize = 10_000;

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

/// Ends new work for an executor because somebody said so, or begins it again.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Drain {
    pub(super) executor: ExecutorId,
    pub(super) drained: bool,
}

impl Handler<Drain> for JobQueue {
    type Result = ();

    fn handle(&mut self, Drain { executor, drained }: Drain, _: &mut Self::Context) {
        self.view.drain(&executor, drained);
        self.wake_polls();
    }
}

/// An executor is gone for good.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Forget(pub(super) ExecutorId);

impl Handler<Forget> for JobQueue {
    type Result = ();

    fn handle(&mut self, Forget(executor): Forget, _: &mut Self::Context) {
        self.view.forget_executor(&executor);
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
        Box::pin(self.commit_each(&changes).map(|committed, queue, _| {
            queue.wake_polls();
            committed
        }))
    }
}

/// How many attempts each of these executors holds.
#[derive(Debug, Message)]
#[rtype(result = "Vec<Holding>")]
pub(super) struct HeldBy(pub(super) Vec<ExecutorId>);

impl Handler<HeldBy> for JobQueue {
    type Result = MessageResult<HeldBy>;

    fn handle(&mut self, HeldBy(executors): HeldBy, _: &mut Self::Context) -> Self::Result {
        MessageResult(executors.iter().map(|executor| self.view.held_by(executor)).collect())
    }
}

/// What a parked call gets: something, or a wait for it.
#[derive(Debug)]
pub(super) enum Parked<T, W = ()> {
    Now(T),
    Later(oneshot::Receiver<W>),
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
        self.parked.came(&self.view, poll.session);
        let polled = match self.view.poll(poll.session, poll.free, &poll.held, self.now()) {
            Ok(polled) => polled,
            Err(unknown) => return Box::pin(fut::err(unknown.into())),
        };
        if polled.grants.is_empty() {
            let limit = POLLS_OF_ONE;
            if self.parked.of(&self.view, poll.session) >= limit {
                return Box::pin(fut::err(QueueError::ParkedOfOne { limit }));
            }
            let unknown = QueueError::Session(poll.session);
            let wait = self.park(poll.session).ok_or(unknown);
            self.wake_polls(); // what it was called for may be others'
            return Box::pin(fut::ready(wait.map(Parked::Later)));
        }
        self.wake_polls(); // what it leaves is others'
        let commit = self.commit(&polled.changes);
        Box::pin(commit.then(move |committed, queue, _| {
            let (store, secrets) = (queue.parts.store.clone(), queue.parts.secrets.clone());
            let leased = async move {
                committed?;
                handed_out(&store, &secrets, polled.grants).await
            };
            leased.into_actor(queue).map(move |handed, _, context| {
                Ok(Parked::Now(handed?.without_broken(poll.session, context)))
            })
        }))
    }
}

/// A sign of life, and a wish for orders.
#[derive(Debug, Message)]
#[rtype(result = "Result<Parked<Orders, Wake>, QueueError>")]
pub(super) struct Attend {
    pub(super) session: Session,
    pub(super) held: Vec<LeaseName>,
    /// Those of which it lacks the secrets.
    pub(super) lacking: Vec<LeaseName>,
    /// What it cannot see; none: it was said before.
    pub(super) unseen: Option<String>,
    /// Whether the wait is over: then all orders are said again, also those that are not new.
    pub(super) last: bool,
}

impl Handler<Attend> for JobQueue {
    type Result = ResponseActFuture<Self, Result<Parked<Orders, Wake>, QueueError>>;

    fn handle(&mut self, attend: Attend, _: &mut Self::Context) -> Self::Result {
        let Attend { session, held, lacking, unseen, last } = attend;
        if let Some(unseen) = unseen {
            self.view.sees(session, unseen);
        }
        if !last {
            self.view.heard(session, Timestamp::now());
        }
        let was_ready = self.view.is_ready(session);
        let mut attended = match self.view.attend(session, &held) {
            Ok(attended) => attended,
            Err(unknown) => return Box::pin(fut::err(unknown.into())),
        };
        if !was_ready {
            self.wake_polls(); // an executor that was silent gets work again
        }
        let again = self.view.granted_again(session, &lacking);
        attended.news |= !again.is_empty();
        let (store, secrets) = (self.parts.store.clone(), self.parts.secrets.clone());
        // What was named when the call began may have ended since: it is looked up at the beginning only. In the end those
        // orders are said again of which it is not seen yet that they were obeyed.
        let mut unknown = std::mem::take(&mut attended.unknown);
        unknown.retain(|lease| {
            let told = self.view.was_told(session, *lease);
            told == last && !self.strangers.contains(&lease.attempt)
        });
        let looked_up = async move { (looked_up(&store, unknown).await, store) };
        Box::pin(looked_up.into_actor(self).then(move |((over, strangers), store), queue, _| {
            queue.keep_strangers(strangers);
            for (lease, record) in over {
                if let Some((order, news)) = queue.view.over(session, lease, &record) {
                    attended.orders.push(order);
                    attended.news |= news;
                }
            }
            if !attended.news && !last {
                let wait = queue.wait_for_orders(session);
                return Box::pin(fut::ok(Parked::Later(wait))) as Self::Result;
            }
            if attended.orders.is_empty() && attended.grants.is_empty() && again.is_empty() {
                return Box::pin(fut::ok(Parked::Now(Orders::default())));
            }
            // What is told may have been decided only just now: nobody hears of it before it is on disk.
            Box::pin(queue.commit(&[]).then(move |stored, queue, _| {
                let orders = attended.orders;
                let handed = async move {
                    stored?;
                    let again = handed_out(&store, &secrets, again).await?;
                    Ok::<_, QueueError>((
                        handed_out(&store, &secrets, attended.grants).await?,
                        again,
                    ))
                };
                handed.into_actor(queue).map(move |handed, _, context| {
                    let (handed, again) = handed?;
                    let mut grants = handed.without_broken(session, context);
                    grants.extend(again.that_opened());
                    Ok(Parked::Now(Orders { orders, grants }))
                })
            }))
        }))
    }
}

impl JobQueue {
    fn wait_for_orders(&mut self, session: Session) -> oneshot::Receiver<Wake> {
        let (waiter, wait) = oneshot::channel();
        if let Some(older) = self.attends.insert(session, waiter) {
            let _ = older.send(Wake::Displaced); // one call of a session is its sign of life, not two
        }
        wait
    }

    fn keep_strangers(&mut self, strangers: Vec<LeaseName>) {
        for LeaseName { attempt, .. } in strangers {
            if self.strangers.len() < STRANGERS && self.strangers.insert(attempt) {
                tracing::warn!(%attempt, "an executor holds what is not known here: it is left alone");
            }
        }
    }
}

/// Which of these are known to be over, with their records, and which are not known. Those are left alone, however old they are: their
/// programs may run, and a store that was restored from a backup must not end what it has forgotten. What was kept long
/// enough and removed is not known any more, either; its executor is told when it says that nothing of it runs.
async fn looked_up(
    store: &StoreHandle,
    unknown: Vec<LeaseName>,
) -> (Vec<(LeaseName, Record)>, Vec<LeaseName>) {
    let (mut over, mut strangers) = (Vec::new(), Vec::new());
    for lease in unknown.into_iter().take(LOOKED_UP) {
        match stored_record(store, lease.attempt.execution).await {
            Ok(Some(record)) => over.push((lease, record)),
            Ok(None) => strangers.push(lease),
            Err(error) => tracing::debug!(%error, "history could not be asked"),
        }
    }
    (over, strangers)
}

/// What this session may do with the log of what it was granted.
#[derive(Debug, Message)]
#[rtype(result = "Result<Right, QueueError>")]
pub(super) struct Holds(pub(super) Session, pub(super) LeaseName);

impl Handler<Holds> for JobQueue {
    type Result = ResponseActFuture<Self, Result<Right, QueueError>>;

    fn handle(&mut self, Holds(session, lease): Holds, _: &mut Self::Context) -> Self::Result {
        match self.view.holds(session, lease) {
            Ok(Some(right)) => Box::pin(fut::ok(right)),
            Err(unknown) => Box::pin(fut::err(unknown.into())),
            Ok(None) => {
                let (store, execution) = (self.parts.store.clone(), lease.attempt.execution);
                let executor = self.view.executor_of(session).cloned();
                let over = async move {
                    let executor = executor.ok_or(QueueError::Session(session))?;
                    let record = stored_record(&store, execution).await?;
                    let right = record.map(|record| Right::afterwards(&record, lease, &executor));
                    right.ok_or(QueueError::NotKnown(execution))
                };
                Box::pin(over.into_actor(self))
            }
        }
    }
}
