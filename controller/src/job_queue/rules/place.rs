//! Executors: who joins, who gets work, and what each is told about what it holds.

use super::{
    super::{
        attempt::{Event, Late},
        record::{Change, Record},
        terms::ExecutorTerms,
    },
    LeaseName, Moment, RunnerKind, Seat, View,
    lines::{Demand, EXECUTOR, First},
    report::Right,
};
use jiff::Timestamp;
use octavius_protocol::id::{ExecutionId, ExecutorId, Session};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// An executor that has a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// Its id.
    pub executor: ExecutorId,
    /// Its session: a newer one takes over from an older one.
    pub session: Session,
    /// What it runs.
    pub runner: RunnerKind,
    /// How many attempts it takes at once.
    pub capacity: usize,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What it adds to the terms of what it runs.
    pub offer: ExecutorTerms,
    /// Whether it gets no new work because somebody said so.
    pub drained: bool,
}

/// The session is none of this controller's, or an older one: the executor has to register again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("session {0} is not open: register again")]
pub struct SessionUnknown(pub Session);

/// A grant, and what its holder prepared for it so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Which attempt, and by which grant.
    pub lease: LeaseName,
    /// What was prepared: if it is gone, the attempt is lost.
    pub identity: Option<String>,
    /// How long the program may run; none: without limit.
    pub timeout: Option<Duration>,
    /// How long it may take until the program runs.
    pub start_timeout: Option<Duration>,
    /// For how long it runs on while its holder hears nothing; none: without limit.
    pub stop_if_unheard: Option<Duration>,
}

/// What a poll came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Polled {
    /// What the executor holds and did not name, and what is new.
    pub grants: Vec<Grant>,
    /// What the store has to make of it.
    pub changes: Vec<Change>,
}

/// What an executor is to do with an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderKind {
    /// Terminate, grace, kill; then say how it ended.
    Stop,
    /// Forget it: it is somebody else's, or over.
    Release,
}

impl OrderKind {
    /// What becomes of an attempt that this executor names and does not hold any more. What was given up as lost is stopped
    /// there, and its last word is awaited.
    fn of(record: &Record, lease: LeaseName, executor: &ExecutorId) -> Self {
        if record.awaits_word_of(lease, executor) { Self::Stop } else { Self::Release }
    }
}

/// Why an executor is to stop what was given up as lost.
const GIVEN_UP: &str = "it was given up as lost while its executor was silent";

/// An order, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// About which attempt.
    pub lease: LeaseName,
    /// What to do.
    pub kind: OrderKind,
    /// In words.
    pub reason: &'static str,
}

/// What a sign of life is answered with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attended {
    /// All that is to be done.
    pub orders: Vec<Order>,
    /// What the executor holds and did not name.
    pub grants: Vec<Grant>,
    /// What it named and is not live: over, or never known.
    pub unknown: Vec<LeaseName>,
    /// Whether any of it is new to the executor: then it is not made to wait.
    pub news: bool,
}

impl Record {
    /// Whether a holder knows more of the attempt, or of a later one, than this record: it may have been restored from
    /// an older store.
    pub(super) fn is_behind(&self, lease: LeaseName) -> bool {
        let (ours, theirs) = (self.attempt_id(), lease.attempt);
        ours.attempt < theirs.attempt || ours == theirs && self.attempt.newest() < lease.epoch
    }
}

impl Seat {
    /// An executor that is known because it holds something, and has not joined.
    pub(super) fn absent() -> Self {
        Self {
            session: Session(0),
            runner: RunnerKind::Process,
            labels: BTreeMap::new(),
            offer: ExecutorTerms::default(),
            capacity: 0,
            heard: None,
            ready: false,
            drained: false,
            unseen: String::new(),
            holds: BTreeSet::new(),
            told: BTreeSet::new(),
        }
    }

    /// Its id; empty before it joined.
    pub(super) fn id(&self) -> &str {
        self.labels.get(EXECUTOR).map_or("", String::as_str)
    }

    /// Whether it takes new work.
    pub(super) fn takes_new(&self) -> bool {
        self.ready && !self.drained && self.unseen.is_empty()
    }

    /// Whether it could run what asks for this.
    pub(super) fn serves(&self, demand: &Demand) -> bool {
        serves(self.runner, &self.labels, demand)
    }
}

/// Whether an executor with these labels could run what asks for this.
pub(super) fn serves(
    runner: RunnerKind,
    labels: &BTreeMap<String, String>,
    demand: &Demand,
) -> bool {
    let has = |(name, value): (&String, &String)| labels.get(name) == Some(value);
    runner.serves(demand.needs) && demand.labels.iter().all(has)
}

impl View {
    /// Takes an executor in, or its newer session. What it holds stays its own; what it was told, it is told again.
    pub fn join(&mut self, join: Join, now: Moment) {
        let seat = self.seats.entry(join.executor.clone()).or_insert_with(Seat::absent);
        if join.session < seat.session {
            return;
        }
        self.sessions.remove(&seat.session);
        seat.labels = join.labels;
        // Its id is a label like any other, and nobody else can claim it.
        seat.labels.insert(EXECUTOR.to_owned(), join.executor.to_string());
        self.sessions.insert(join.session, join.executor);
        seat.session = join.session;
        seat.runner = join.runner;
        seat.capacity = join.capacity;
        seat.offer = join.offer;
        seat.drained = join.drained;
        seat.heard = Some(now.at);
        seat.ready = true;
        seat.unseen.clear();
        seat.told.clear();
        for id in &seat.holds {
            if let Some(live) = self.live.get_mut(id) {
                live.named = false;
                live.told_to_stop = false;
                live.since = now.elapsed;
            }
        }
    }

    /// Ends new work for an executor that is silent. What it holds is not touched.
    pub fn expire(&mut self, executor: &ExecutorId, session: Session) {
        if let Some(seat) = self.seats.get_mut(executor).filter(|seat| seat.session <= session) {
            seat.ready = false;
        }
    }

    /// Ends new work for an executor because somebody said so, or begins it again. What it holds is not touched.
    pub fn drain(&mut self, executor: &ExecutorId, drained: bool) {
        if let Some(seat) = self.seats.get_mut(executor) {
            seat.drained = drained;
        }
    }

    /// Notes what an executor says that it cannot see of its cluster, for people: it asks for no work then. Empty: it sees
    /// all.
    pub fn sees(&mut self, session: Session, unseen: String) {
        let executor = self.sessions.get(&session);
        if let Some(seat) = executor.and_then(|executor| self.seats.get_mut(executor)) {
            seat.unseen = unseen;
        }
    }

    /// Notes a sign of life, for people.
    pub fn heard(&mut self, session: Session, at: Timestamp) {
        let executor = self.sessions.get(&session);
        if let Some(seat) = executor.and_then(|executor| self.seats.get_mut(executor)) {
            seat.heard = Some(at);
        }
    }

    /// Whether the executor of this session gets work.
    pub fn is_ready(&self, session: Session) -> bool {
        let seat = self.executor_of(session).and_then(|executor| self.seats.get(executor));
        seat.is_some_and(|seat| seat.ready)
    }

    /// The session in which an executor is heard.
    pub fn session_of(&self, executor: &ExecutorId) -> Option<Session> {
        self.seats.get(executor).map(|seat| seat.session)
    }

    /// Grants work for up to `free` places, in its order, and repeats what was not taken notice of. Who
    /// only polls gives no sign of life: an executor that is held to be silent gets nothing new.
    pub fn poll(
        &mut self,
        session: Session,
        free: usize,
        held: &[LeaseName],
        now: Moment,
    ) -> Result<Polled, SessionUnknown> {
        let executor = self.named(session, held)?;
        let mut polled = Polled { grants: self.unnamed(&executor), changes: Vec::new() };
        let seat = &self.seats[&executor];
        let room = if seat.ready { self.room(seat) } else { 0 };
        let most = free.saturating_sub(polled.grants.len()).min(room);
        let (offer, runner) = (seat.offer.clone(), seat.runner);
        for _ in 0..most.min(self.limits.grants) {
            let Some(id) = self.take_next(&executor, now) else { break };
            if let Some(live) = self.live.get_mut(&id) {
                live.record.executor = Some(executor.clone());
                live.record.runner = Some(runner);
                live.record.identity = None;
                live.record.offer = offer.clone();
                live.record.retry_at = None;
                live.named = false;
                live.told_to_stop = false;
            }
            if let Ok(change) = self.apply(id, Event::Grant, now) {
                polled.changes.push(change);
                polled.grants.extend(self.grant(id));
            }
        }
        Ok(polled)
    }

    /// An executor is gone for good, and what it held is given up: what is not yet over of that is all that is known of it.
    pub fn forget_executor(&mut self, executor: &ExecutorId) {
        let Some(seat) = self.seats.remove(executor) else { return };
        self.sessions.remove(&seat.session);
        if !seat.holds.is_empty() {
            self.seats.insert(executor.clone(), Seat { holds: seat.holds, ..Seat::absent() });
        }
    }

    /// Takes a sign of life, and says what is to be done with what is named, and with what is not.
    pub fn attend(
        &mut self,
        session: Session,
        held: &[LeaseName],
    ) -> Result<Attended, SessionUnknown> {
        let executor = self.named(session, held)?;
        if let Some(seat) = self.seats.get_mut(&executor) {
            seat.ready = true;
            seat.told.retain(|lease| held.contains(lease));
        }
        let grants = self.unnamed(&executor);
        let mut attended = Attended { news: !grants.is_empty(), grants, ..Attended::default() };
        for lease in held {
            let Some(live) = self.live.get_mut(&lease.attempt.execution) else {
                attended.unknown.push(*lease);
                continue;
            };
            let record = &live.record;
            if record.is_behind(*lease) {
                // It knows more than this store, which may have been restored from an older one.
                attended.unknown.push(*lease);
                continue;
            }
            let theirs = record.attempt_id() == lease.attempt
                && record.attempt.held() == Some(lease.epoch)
                && record.executor.as_ref() == Some(&executor);
            if theirs && record.attempt.to_be_stopped() {
                attended.news |= !std::mem::replace(&mut live.told_to_stop, true);
                let reason = match record.attempt.late {
                    Some(Late::Start) => "its program did not run in time",
                    Some(Late::Run) => "its time limit is over",
                    None => "a cancel was asked for",
                };
                attended.orders.push(Order { lease: *lease, kind: OrderKind::Stop, reason });
                continue;
            }
            let kind = OrderKind::of(record, *lease, &executor);
            let reason = match kind {
                OrderKind::Stop => GIVEN_UP,
                OrderKind::Release if theirs => continue,
                OrderKind::Release => "this grant was taken back",
            };
            attended.news |= self.first_told(&executor, *lease);
            attended.orders.push(Order { lease: *lease, kind, reason });
        }
        Ok(attended)
    }

    /// The grants of those that this session holds, to be sent again because it lacks their secrets.
    pub fn granted_again(&self, session: Session, lacking: &[LeaseName]) -> Vec<Grant> {
        let held =
            lacking.iter().filter(|lease| self.holds(session, **lease) == Ok(Some(Right::Append)));
        held.filter_map(|lease| self.grant(lease.attempt.execution)).collect()
    }

    /// The order for an attempt of an execution that is over, as history has it, and whether it is given for the first time.
    /// None: the session is not open any more.
    pub fn over(
        &mut self,
        session: Session,
        lease: LeaseName,
        record: &Record,
    ) -> Option<(Order, bool)> {
        let executor = self.executor_of(session).cloned()?;
        let kind = OrderKind::of(record, lease, &executor);
        let reason = match kind {
            OrderKind::Stop => GIVEN_UP,
            OrderKind::Release => "this execution is over",
        };
        Some((Order { lease, kind, reason }, self.first_told(&executor, lease)))
    }

    /// Whether an executor was told in this session what to do with an attempt that it does not hold any more.
    pub fn was_told(&self, session: Session, lease: LeaseName) -> bool {
        let seat = self.executor_of(session).and_then(|executor| self.seats.get(executor));
        seat.is_some_and(|seat| seat.told.contains(&lease))
    }

    /// The executor whose session it is; what it named is noted.
    fn named(
        &mut self,
        session: Session,
        held: &[LeaseName],
    ) -> Result<ExecutorId, SessionUnknown> {
        let executor = self.executor_of(session).cloned().ok_or(SessionUnknown(session))?;
        for lease in held {
            if let Some(live) = self.live.get_mut(&lease.attempt.execution) {
                let theirs = live.record.attempt.held() == Some(lease.epoch)
                    && live.record.executor.as_ref() == Some(&executor);
                live.named |= theirs;
            }
        }
        // What it named before and names no more it does not hold: a grant is repeated.
        let named: BTreeSet<_> = held.iter().map(|lease| lease.attempt.execution).collect();
        for id in &self.seats[&executor].holds {
            if let Some(live) = self.live.get_mut(id) {
                live.named &= named.contains(id);
            }
        }
        Ok(executor)
    }

    /// The next for an executor. Of several teams that is of the one that has the fewest places; but each `ageing` since
    /// another team was first served before it counts as one place less, so that none waits for ever. For how long it
    /// waited while there was nobody else does not count. What a team waits for is what came first, each step of priority
    /// counted as one `ageing`.
    fn take_next(&mut self, executor: &ExecutorId, now: Moment) -> Option<ExecutionId> {
        let firsts = self.lines.firsts(self.seats.get(executor)?);
        let next = firsts.iter().min_by_key(|first| (self.standing(first, now), first.turn))?.id;
        for First { id, passed_over, .. } in firsts {
            let newly = id != next && passed_over.is_none();
            let since = newly.then_some(now.elapsed);
            if (newly || id == next && passed_over.is_some())
                && let Some(live) = self.live.get(&id)
            {
                self.lines.pass_over(&self.spot(&live.record), since);
            }
        }
        Some(next)
    }

    /// How far a team is behind the others: the lower is served first.
    fn standing(&self, first: &First, now: Moment) -> Duration {
        let places = u32::try_from(self.lines.places_of(&first.team)).unwrap_or(u32::MAX);
        let since = first.passed_over.unwrap_or(now.elapsed);
        self.limits.ageing.saturating_mul(places).saturating_add(since)
    }

    /// Whose session it is.
    pub fn executor_of(&self, session: Session) -> Option<&ExecutorId> {
        self.sessions.get(&session)
    }

    fn first_told(&mut self, executor: &ExecutorId, lease: LeaseName) -> bool {
        self.seats.get_mut(executor).is_some_and(|seat| seat.told.insert(lease))
    }

    pub(super) fn room(&self, seat: &Seat) -> usize {
        if seat.drained { 0 } else { seat.capacity.saturating_sub(self.occupied(seat)) }
    }

    /// How many of its places are taken.
    pub(super) fn occupied(&self, seat: &Seat) -> usize {
        let occupies = |id: &&ExecutionId| {
            self.live.get(id).is_some_and(|live| live.record.attempt.occupies())
        };
        seat.holds.iter().filter(occupies).count()
    }

    fn unnamed(&self, executor: &ExecutorId) -> Vec<Grant> {
        let holds = self.seats.get(executor).into_iter().flat_map(|seat| &seat.holds);
        let unnamed = holds.filter(|id| {
            let live = self.live.get(id);
            // What has ended is not handed out again: only its log is on its way.
            live.is_some_and(|live| !live.named && live.record.attempt.occupies())
        });
        unnamed.filter_map(|id| self.grant(*id)).collect()
    }

    fn grant(&self, id: ExecutionId) -> Option<Grant> {
        let record = self.live(id)?;
        let lease = LeaseName { attempt: record.attempt_id(), epoch: record.attempt.held()? };
        Some(Grant {
            lease,
            identity: record.identity.clone(),
            timeout: record.timeout().map(|limit| limit.time),
            start_timeout: Some(record.terms.start_timeout(&record.offer).time),
            stop_if_unheard: record.is_tried_again_if_lost().then_some(self.limits.unheard_within),
        })
    }
}
