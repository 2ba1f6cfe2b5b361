//! The queue: which executions exist that are not final, which executor holds which attempt, and who waits for work.
//!
//! Owns nothing that the store does not: the view is rebuilt from it at each start. A decision shows in the view at
//! once, an answer leaves only after the store has confirmed it (P1). Of two holders the one with the older epoch is
//! refused (P2). Which executors live is not decided here: `LivenessWatcher` says who joins, expires and is lost.
//! Logs are `LogStore`'s; an execution is over only when its log is sealed there (P4).

mod afterwards;
pub mod attempt;
mod cuts;
mod delete;
mod error;
pub(crate) mod executors;
mod finals;
mod hand_out;
pub(crate) mod handle;
mod list;
pub mod record;
mod report;
mod rerun;
mod retention;
pub mod rules;
mod show;
mod storage;
pub(crate) mod submit;
pub mod terms;
#[cfg(test)]
mod tests;
mod waiting;

pub use error::{DeleteJobError, QueueError, SubmitError};
pub use handle::{Accepted, Leased, Orders, QueueHandle, Shown, SubmitRequest};
pub use list::{LOOKED_AT, ListRequest, Listed};
pub use rerun::{Rerun, RerunRequest};
pub(crate) use retention::Retention;
pub(crate) use show::pins;
pub use submit::MOST_REQUEST_ID_BYTES;

use crate::{
    liveness::record::ExecutorRecord,
    log_store::LogHandle,
    registry::RegistryHandle,
    secrets::SecretsHandle,
    store::{Commit, Range, StoreHandle, Write, Writer, keys},
    vault::DataKey,
};
use actix::prelude::*;
use anyhow::Context as _;
use cuts::Cut;
use finals::Finals;
use futures::{FutureExt, future};
use jiff::Timestamp;
use octavius_protocol::id::{AttemptId, ExecutionId, Session};
use record::{Change, Record};
use rules::{LeaseName, Moment, Parked, QueueLimits, Ticket, View};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};
pub(crate) use storage::arguments_taken_over;
use terms::SharedTerms;
use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};
use uuid::Uuid;
use waiting::Ends;

/// How often the queue looks at what waits.
const TICK: Duration = Duration::from_secs(1);
/// How many records a page has while the queue is loaded.
const LOAD_PAGE: usize = 1000;

/// What the queue is made with.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    pub(crate) store: StoreHandle,
    pub(crate) registry: RegistryHandle,
    pub(crate) secrets: SecretsHandle,
    pub(crate) logs: LogHandle,
    pub(crate) limits: QueueLimits,
    pub(crate) retention: Retention,
}

/// The actor.
#[derive(Debug)]
pub(crate) struct JobQueue {
    view: View,
    /// What the executions of the view run under.
    terms: SharedTerms,
    writer: Writer,
    /// Seals the arguments of all that are submitted in this life.
    key: DataKey,
    parts: Parts,
    last_id: ExecutionId,
    began: Instant,
    /// Who polls and got nothing, and what wakes them.
    parked: Parked,
    polls: BTreeMap<Ticket, oneshot::Sender<()>>,
    /// Who waits for orders: one call of each session.
    attends: BTreeMap<Session, oneshot::Sender<Wake>>,
    /// Logs that are being closed as they are, and those that could not be: how often, and when to try again.
    cuts: BTreeMap<LeaseName, Cut>,
    /// Final executions of which more is being written: nobody else writes or removes them meanwhile.
    rewritten: BTreeSet<ExecutionId>,
    /// Attempts that an executor holds and history does not know: said once, and left alone.
    strangers: BTreeSet<AttemptId>,
    /// Requests that are being accepted, by user and request id: a second one waits for the first.
    submitting: HashMap<(String, String), watch::Sender<()>>,
    /// Requests whose job may be pinned already, and that are not in the view yet.
    preparing: delete::Preparing,
    /// Who waits for the end of which execution.
    ends: Ends,
    /// The looks for what was kept long enough.
    looks: retention::Looks,
    /// How many executions are final.
    finals: Finals,
}

octavius_service::panics_when_told!(JobQueue);

impl Actor for JobQueue {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.run_interval(TICK, Self::tick);
        context.notify(retention::LookForOld::FIRST);
    }
}

impl JobQueue {
    /// The queue as the store knows it.
    pub(crate) async fn load(parts: Parts) -> anyhow::Result<Self> {
        let store = &parts.store;
        let writer = store.enlist("JobQueue").await.context("could not become the writer")?;
        let mut terms = SharedTerms::default();
        let mut records: Vec<Record> = Vec::new();
        let read = |entry| {
            let mut record: Record = storage::decode(&entry)?;
            record.terms = terms.share(Arc::unwrap_or_clone(record.terms));
            records.push(record);
            anyhow::Ok(())
        };
        store.each(Range::prefix(keys::LIVE, LOAD_PAGE), read).await?;
        let executors = store.all(Range::prefix(keys::EXECUTORS, LOAD_PAGE)).await?;
        let stored = executors.iter().map(storage::decode::<ExecutorRecord>);
        let executors = stored.map(|record| Ok(rules::Join::from(&record?)));
        let executors = executors.collect::<Result<_, storage::Unreadable>>()?;
        let newest_done = store.range(Range::prefix(keys::DONE, 1)).await?.entries;
        let live = records.len();
        let newest = storage::newest(&records, &newest_done);
        let looks = retention::Looks::load(store).await?;
        let finals = Finals::load(store, newest_done.is_empty()).await?;
        // All that are left may be older than one that was removed, and the clock was set back since.
        let newest = newest.max(looks.newest_removed());
        let last_id = newest.unwrap_or(ExecutionId::from_bytes([0; 16]));
        let began = Instant::now();
        let now = moment(began);
        let view = View::load(parts.limits, records, executors, now);
        tracing::info!(live, waiting = view.waiting(), "the queue is loaded");
        Ok(Self {
            view,
            terms,
            writer,
            key: parts.secrets.vault().data_key(),
            parts,
            last_id,
            began,
            parked: Parked::default(),
            polls: BTreeMap::new(),
            attends: BTreeMap::new(),
            cuts: BTreeMap::new(),
            rewritten: BTreeSet::new(),
            strangers: BTreeSet::new(),
            submitting: HashMap::new(),
            preparing: delete::Preparing::default(),
            ends: Ends::default(),
            looks,
            finals,
        })
    }

    fn now(&self) -> Moment {
        moment(self.began)
    }

    /// A new id: later than all before, also where the wall clock was set back.
    fn next_id(&mut self) -> ExecutionId {
        let now = ExecutionId::from(Uuid::now_v7());
        let after_last = u128::from_be_bytes(*self.last_id.as_bytes()) + 1;
        self.last_id = now.max(ExecutionId::from_bytes(after_last.to_be_bytes()));
        self.last_id
    }

    /// Has the store make these changes. What was decided on the view may not exist if it does not confirm: then the
    /// actor ends, and begins again from the store. Without changes it waits for those that were decided before, so
    /// that no answer rests on what is not on disk.
    fn commit(&self, changes: &[Change]) -> ResponseActFuture<Self, Result<(), QueueError>> {
        self.commit_with(changes, None)
    }

    /// The same, with the record of who asked for it.
    fn commit_with(
        &self,
        changes: &[Change],
        did: Option<Write>,
    ) -> ResponseActFuture<Self, Result<(), QueueError>> {
        let stored = self.stored(changes, did);
        let over = waiting::over(changes);
        Box::pin(stored.into_actor(self).map(move |outcome, queue, context| {
            trust(outcome, context)?;
            queue.ends.tell(&over);
            Ok(())
        }))
    }

    /// The same for changes that do not belong together: there may be more than one transaction takes.
    fn commit_each(&self, changes: &[Change]) -> ResponseActFuture<Self, Result<(), QueueError>> {
        let each = changes.iter().map(|change| self.stored(std::slice::from_ref(change), None));
        let all = future::join_all(each.collect::<Vec<_>>());
        let over = waiting::over(changes);
        Box::pin(all.into_actor(self).map(move |outcomes, queue, context| {
            let bad = outcomes.into_iter().find(|outcome| *outcome != Commit::Done);
            trust(bad.unwrap_or(Commit::Done), context)?;
            queue.ends.tell(&over);
            Ok(())
        }))
    }

    fn stored(
        &self,
        changes: &[Change],
        did: Option<Write>,
    ) -> impl Future<Output = Commit> + use<> {
        match storage::writes(changes, &self.key) {
            Ok(mut writes) => {
                let ended = changes.iter().filter(|change| matches!(change, Change::Done(_)));
                writes.extend(self.finals.ended(ended.count()));
                writes.extend(did);
                self.writer.commit(writes).left_future()
            }
            Err(error) => future::ready(Commit::Refused(error.to_string())).right_future(),
        }
    }

    /// Looks at what waits, and closes the logs that nobody completes.
    fn tick(&mut self, context: &mut Context<Self>) {
        if self.parts.store.full().is_some() {
            return self.measure(); // nothing is decided that could not be written
        }
        let ticked = self.view.tick(self.now());
        let woken = ticked.wake.clone();
        let over = waiting::over(&ticked.changes);
        if !ticked.changes.is_empty() {
            let commit = self.commit_each(&ticked.changes);
            context.spawn(commit.map(move |committed, queue, context| {
                queue.wake_polls();
                for session in woken {
                    queue.wake_attend(Some(session));
                }
                for attempt in over.into_iter().filter(|_| committed.is_ok()) {
                    queue.close_log(attempt, context);
                }
            }));
        }
        self.cut_due(ticked.cuts, context);
        self.forget_polls_that_left();
        self.attends.retain(|_, waiter| !waiter.is_closed());
        self.wake_polls();
        self.ends.forget_who_left();
        self.measure();
    }

    /// Closes the log of what never ran: it is empty, and who follows it is told.
    fn close_log(&self, attempt: AttemptId, context: &mut Context<Self>) {
        let logs = self.parts.logs.clone();
        let closed = async move { logs.cut(attempt, String::new()).await };
        context.spawn(closed.into_actor(self).map(|_, _, _| ()));
    }

    fn measure(&self) {
        let waited = self
            .view
            .oldest_waiting()
            .map_or(0.0, |since| Timestamp::now().duration_since(since).as_secs_f64().max(0.0));
        metrics::gauge!("octavius_queue_pending").set(count(self.view.waiting()));
        metrics::gauge!("octavius_queue_oldest_seconds").set(waited);
        metrics::gauge!("octavius_queue_leases").set(count(self.view.leases()));
        metrics::gauge!("octavius_queue_awaited").set(count(self.ends.awaited()));
    }

    /// Wakes those who polled for what there is now: not more of them than there is work.
    fn wake_polls(&mut self) {
        loop {
            let mut all_come = true;
            for (ticket, executor) in self.parked.call(&self.view, self.began.elapsed()) {
                let waiter = self.polls.remove(&ticket);
                if waiter.is_none_or(|waiter| waiter.send(()).is_err()) {
                    self.parked.has_left(&executor); // the next one gets the work
                    all_come = false;
                }
            }
            if all_come {
                return;
            }
        }
    }

    fn park(&mut self, session: Session) -> Option<oneshot::Receiver<()>> {
        let (waiter, wait) = oneshot::channel();
        self.polls.insert(self.parked.park(&self.view, session)?, waiter);
        Some(wait)
    }

    fn forget_polls_that_left(&mut self) {
        let parked = &mut self.parked;
        self.polls.retain(|ticket, waiter| {
            let left = waiter.is_closed();
            if left {
                parked.leave(*ticket);
            }
            !left
        });
    }

    /// Wakes an executor that waits for orders.
    fn wake_attend(&mut self, session: Option<Session>) {
        if let Some(waiter) = session.and_then(|session| self.attends.remove(&session)) {
            let _ = waiter.send(Wake::News); // it may have left; it asks again
        }
    }
}

/// Why a call that waits for orders is woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wake {
    /// There may be an order.
    News,
    /// A newer call of its session waits now.
    Displaced,
}

/// Ends the actor where the store did not confirm, because its view may hold what the store does not.
fn trust(outcome: Commit, context: &mut Context<JobQueue>) -> Result<(), QueueError> {
    match outcome {
        Commit::Done => Ok(()),
        Commit::Refused(why) | Commit::Unknown(why) => {
            tracing::warn!(%why, "the store did not confirm: the queue is loaded again");
            context.stop();
            Err(QueueError::Store(why))
        }
    }
}

fn moment(began: Instant) -> Moment {
    Moment { at: Timestamp::now(), elapsed: began.elapsed() }
}

/// A count as a metric's value.
#[allow(clippy::cast_precision_loss)] // counts stay far below 2^52
fn count(count: usize) -> f64 {
    count as f64
}
