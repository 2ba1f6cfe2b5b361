//! What the queue decides: plain functions over [`View`], without I/O, clocks or actors.
//!
//! A decision changes the view at once and returns the changes that the store has to make. The view can be made
//! from the store's records at any time, and then decides as before: nothing that matters is only here. What is only here
//! is begun anew: whom a holder named and was told, and since when a team waits while others are served before it.

mod afterwards;
#[cfg(feature = "bench")]
pub mod bench;
#[cfg(test)]
pub(super) mod check;
mod clock;
mod due;
mod explain;
mod lines;
mod of_job;
mod parked;
mod pausing;
mod place;
mod report;
pub mod retain;
mod retry;
mod submit;
mod waits;
mod wanted;
mod watch;
mod why;

#[cfg(test)]
mod model;
#[cfg(test)]
pub(super) mod tests;

pub use afterwards::{Heard, LogEnd};
pub use explain::{Candidate, Nearness};
pub use lines::Reached;
pub use parked::{Parked, Ticket};
pub use place::{Attended, Grant, Join, Order, OrderKind, Polled, SessionUnknown};
pub use report::{Report, Reported, Right, Verdict};
pub use submit::{Cancelled, Submission, SubmitRefused, Submitted};
pub use wanted::{Place, Search, Span, Wanted};
pub use watch::{CutWanted, Ticked};
pub use why::Looked;

use super::{
    attempt::{Attempt, Event, Refused},
    record::{Change, Needs, Record},
    terms::ExecutorTerms,
};
use clock::QueueClock;
use due::Phase;
use jiff::Timestamp;
use lines::{Lines, Spot};
use octavius_protocol::id::{AttemptId, Epoch, ExecutionId, ExecutorId, Session};
use pausing::Pausing;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use waits::Waits;

/// Now, twice: what people are shown, and what limits are measured with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Moment {
    /// By the wall clock.
    pub at: Timestamp,
    /// By a clock that never goes backwards, since some beginning.
    pub elapsed: Duration,
}

/// The queue's bounds and waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QueueLimits {
    /// The most executions that wait for an executor.
    pub pending: usize,
    /// The most of them of one team; those of jobs without a team are one, too. Those that wait until they are tried again
    /// count for both.
    pub pending_of_team: usize,
    /// In what time whoever waits gains a step of priority.
    pub ageing: Duration,
    /// The most grants in one answer.
    pub grants: usize,
    /// For how long a holder may take no notice of a grant before it goes to another.
    pub acknowledge_within: Duration,
    /// For how long an end waits for the rest of its log.
    pub log_within: Duration,
    /// For how long a cancel waits for the word of a holder that is silent.
    pub cancel_within: Duration,
    /// How long a holder may take beyond a limit that it enforces itself, and beyond the order to stop what is late.
    pub stop_within: Duration,
    /// For how long what is tried again when it is lost runs on while its holder hears nothing: less than the silence
    /// after which it is lost, so that its program is stopped when the next attempt begins.
    pub unheard_within: Duration,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            pending: 100_000,
            pending_of_team: 100_000,
            ageing: Duration::from_mins(10),
            grants: 64,
            acknowledge_within: Duration::from_secs(30),
            log_within: Duration::from_secs(300),
            cancel_within: Duration::from_secs(60),
            stop_within: Duration::from_secs(70), // terminate and kill take 10 s, an order less than a minute
            unheard_within: Duration::from_secs(450),
        }
    }
}

/// How many attempts an executor holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// In all.
    pub attempts: usize,
    /// Of these, such as are known to have ended: they take no place, and their log is on its way.
    pub ended: usize,
}

/// What an executor runs.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum RunnerKind {
    /// Commands, on its own machine.
    Process,
    /// Images, in its cluster.
    Kubernetes,
}

impl RunnerKind {
    /// The kind as configurations name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Kubernetes => "kubernetes",
        }
    }

    fn serves(self, needs: Needs) -> bool {
        match needs {
            Needs::Any => true,
            Needs::Images => self == Self::Kubernetes,
        }
    }
}

/// An attempt by one of its grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseName {
    /// Which attempt.
    pub attempt: AttemptId,
    /// Which grant of it.
    pub epoch: Epoch,
}

/// An executor as the queue sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Seat {
    session: Session,
    runner: RunnerKind,
    /// Its labels, its id among them.
    labels: BTreeMap<String, String>,
    /// What it adds to the terms of what it runs.
    offer: ExecutorTerms,
    capacity: usize,
    /// When it gave its last sign of life; none: not since the queue was loaded.
    heard: Option<Timestamp>,
    /// Whether it gets work: heard in its session, and not expired since.
    ready: bool,
    /// Whether it gets no new work because somebody said so.
    drained: bool,
    /// What it says that it cannot see of its cluster; empty: it sees all.
    unseen: String,
    /// What it holds, ended and not over included.
    holds: BTreeSet<ExecutionId>,
    /// What it was told to forget, so that it is told once at once and later only with other news.
    told: BTreeSet<LeaseName>,
}

/// A live execution: its record, and what is known of it only here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Live {
    record: Record,
    /// Whether its holder has named it in this session.
    named: bool,
    /// Whether its holder was told to stop it in this session.
    told_to_stop: bool,
    /// When what it waits for began to be waited for, by the monotonic clock.
    since: Duration,
    /// Which limit is counted at present.
    phase: Phase,
    /// When it passes that limit, by the monotonic clock; none: there is none.
    due: Option<Duration>,
    /// When this attempt has waited in the queue for too long.
    queue_due: Option<Duration>,
    /// What is known of what it waits for besides the record; none: nothing. Boxed, for most have none.
    waits: Option<Box<Waits>>,
}

/// Why an event changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum NotApplied {
    #[error("there is no live execution {0}")]
    Unknown(ExecutionId),
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// All that is not final, and who could run it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct View {
    limits: QueueLimits,
    /// Boxed: the map keeps room for nearly twice what it holds.
    live: BTreeMap<ExecutionId, Box<Live>>,
    /// What waits for an executor, and what holds it up.
    lines: Lines,
    /// What waits until it is tried again.
    pausing: Pausing,
    /// What passes a limit, and when.
    timers: BTreeSet<(Duration, ExecutionId)>,
    /// Of which executions it is known what they wait for, and not written yet.
    unwritten: BTreeSet<ExecutionId>,
    seats: BTreeMap<ExecutorId, Seat>,
    /// Whose each open session is.
    sessions: BTreeMap<Session, ExecutorId>,
    next_order: u64,
    clock: QueueClock,
}

impl View {
    /// The view of what the store holds. Executors get work only after they were heard.
    pub fn load(
        limits: QueueLimits,
        records: Vec<Record>,
        executors: Vec<Join>,
        now: Moment,
    ) -> Self {
        let mut view = Self {
            limits,
            live: BTreeMap::new(),
            lines: Lines::default(),
            pausing: Pausing::default(),
            timers: BTreeSet::new(),
            unwritten: BTreeSet::new(),
            seats: BTreeMap::new(),
            sessions: BTreeMap::new(),
            next_order: 1,
            clock: QueueClock::load(&limits, &records, now),
        };
        for record in records {
            view.next_order = view.next_order.max(record.order + 1);
            let id = record.id;
            view.keep(record, now);
            view.arm_loaded(id, now);
        }
        for executor in executors {
            view.join(executor, now);
        }
        for seat in view.seats.values_mut() {
            seat.ready = false;
            seat.heard = None;
        }
        view
    }

    /// A live execution as it stands.
    pub fn live(&self, id: ExecutionId) -> Option<&Record> {
        self.live.get(&id).map(|live| &live.record)
    }

    /// The live executions of a stretch that is not empty, the newest first.
    pub fn newest_first(&self, span: Span) -> impl Iterator<Item = &Record> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let from = span.from.map_or(Unbounded, Included);
        let before = span.before.map_or(Unbounded, Excluded);
        self.live.range((from, before)).rev().map(|(_, live)| &live.record)
    }

    /// How many executions wait until they are tried again.
    pub fn pausing(&self) -> usize {
        self.pausing.len()
    }

    /// How many executions wait for an executor.
    pub fn waiting(&self) -> usize {
        self.lines.len()
    }

    /// Since when the first of the queue has waited, by the wall clock.
    pub fn oldest_waiting(&self) -> Option<Timestamp> {
        let first = self.lines.oldest().and_then(|id| self.live(id));
        first.and_then(|record| record.history.last().map(|(_, at)| *at))
    }

    /// How many attempts are held by somebody.
    pub fn leases(&self) -> usize {
        self.seats.values().map(|seat| seat.holds.len()).sum()
    }

    /// What an executor holds.
    pub fn held_by(&self, executor: &ExecutorId) -> Holding {
        let Some(seat) = self.seats.get(executor) else { return Holding::default() };
        Holding { attempts: seat.holds.len(), ended: seat.holds.len() - self.occupied(seat) }
    }

    /// Puts a record where it belongs in the view.
    fn keep(&mut self, record: Record, now: Moment) {
        let id = record.id;
        if record.attempt.held().is_some() {
            if let Some(executor) = &record.executor {
                // Until it joins, its holder is known by name alone, and gets nothing.
                let seat = self.seats.entry(executor.clone()).or_insert_with(Seat::absent);
                seat.holds.insert(id);
            }
        } else if record.retry_at.is_some() {
            self.pausing.insert(&record);
        } else {
            self.enter_queue(&record);
        }
        self.lines.count(&record, false, record.attempt.occupies());
        let since = now.elapsed;
        let live = Live {
            record,
            named: false,
            told_to_stop: false,
            since,
            phase: Phase::Free,
            due: None,
            queue_due: None,
            waits: None,
        };
        self.live.insert(id, Box::new(live));
        self.arm(id, now);
    }

    /// Applies `event` to an execution's attempt, and moves the execution to where it belongs then.
    fn apply(&mut self, id: ExecutionId, event: Event, now: Moment) -> Result<Change, NotApplied> {
        let live = self.live.get_mut(&id).ok_or(NotApplied::Unknown(id))?;
        let was = live.record.attempt;
        let attempt = was.after(event)?;
        if attempt != was
            && let Some(newer) = live.waits.take().and_then(|waits| waits.newer)
        {
            live.record.waits_for = newer; // written with the rest
            self.unwritten.remove(&id);
        }
        live.record.move_to(attempt, now.at);
        let waited_for = |attempt: Attempt| (attempt.held(), attempt.ending, attempt.cancelling);
        if waited_for(was) != waited_for(attempt) {
            live.since = now.elapsed;
        }
        let record = live.record.clone();
        match (was.held(), attempt.held()) {
            (Some(_), None) => self.leave_seat(&record),
            (None, Some(_)) => self.take_seat(&record),
            (Some(_), Some(_)) | (None, None) => {}
        }
        self.lines.count(&record, was.occupies(), attempt.occupies());
        if let Some(outcome) = attempt.outcome() {
            self.leave_queue(&record);
            self.pausing.remove(&record);
            self.set_due(id, None);
            self.live.remove(&id);
            if !record.is_tried_again(was) {
                return Ok(Change::Done(Box::new(record)));
            }
            let mut next = record;
            next.try_again(outcome, now.at);
            self.keep(next.clone(), now);
            return Ok(Change::Live(Box::new(next)));
        }
        if attempt.held().is_none() {
            self.enter_queue(&record);
        }
        self.arm(id, now);
        Ok(Change::Live(Box::new(record)))
    }

    /// Where an execution stands, or would.
    fn spot(&self, record: &Record) -> Spot {
        Spot::of(record, self.limits.ageing)
    }

    /// Whether an execution waits until it is tried again. Its record tells when until it is granted, also where that is over.
    pub fn is_pausing(&self, record: &Record) -> bool {
        self.pausing.has(record)
    }

    fn enter_queue(&mut self, record: &Record) {
        self.lines.enter(self.spot(record), record.id);
    }

    fn leave_queue(&mut self, record: &Record) {
        self.lines.leave(&self.spot(record));
    }

    fn take_seat(&mut self, record: &Record) {
        self.leave_queue(record);
        if let Some(seat) = record.executor.as_ref().and_then(|name| self.seats.get_mut(name)) {
            seat.holds.insert(record.id);
        }
    }

    fn leave_seat(&mut self, record: &Record) {
        if let Some(seat) = record.executor.as_ref().and_then(|name| self.seats.get_mut(name)) {
            seat.holds.remove(&record.id);
        }
    }
}
