//! Who polled and got nothing: called when there is work for them, as many of them as there is work for.

use super::{
    RunnerKind, View,
    lines::{Asked, Demand, EXECUTOR},
    place::serves,
};
use octavius_protocol::id::{ExecutorId, Session};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// The most calls that are answered at once for one kind of demand: when they have come, others are called.
const AT_ONCE: usize = 64;
/// How long somebody who was called may take to come, before others are called in his place.
const COMES_WITHIN: Duration = Duration::from_secs(1);

/// A parked call, by when it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// What executors have in common that differ in nothing but their ids.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    runner: RunnerKind,
    labels: BTreeMap<String, String>,
}

/// All parked calls.
#[derive(Debug, Default)]
pub struct Parked {
    last: u64,
    kinds: BTreeMap<Kind, BTreeMap<Ticket, ExecutorId>>,
    tickets: BTreeMap<Ticket, (ExecutorId, Kind)>,
    of: BTreeMap<ExecutorId, BTreeSet<Ticket>>,
    /// Who was called and has not come yet, and until when that is believed, by the monotonic clock.
    called: BTreeMap<ExecutorId, Duration>,
}

impl Parked {
    /// Parks a call. None: its session is not open.
    pub fn park(&mut self, view: &View, session: Session) -> Option<Ticket> {
        let executor = view.executor_of(session)?.clone();
        let seat = view.seats.get(&executor)?;
        let mut labels = seat.labels.clone();
        labels.remove(EXECUTOR);
        let kind = Kind { runner: seat.runner, labels };
        self.last += 1;
        let ticket = Ticket(self.last);
        self.kinds.entry(kind.clone()).or_default().insert(ticket, executor.clone());
        self.of.entry(executor.clone()).or_default().insert(ticket);
        self.tickets.insert(ticket, (executor, kind));
        Some(ticket)
    }

    /// How many calls of this session are parked.
    pub fn of(&self, view: &View, session: Session) -> usize {
        let tickets = view.executor_of(session).and_then(|executor| self.of.get(executor));
        tickets.map_or(0, BTreeSet::len)
    }

    /// A call that is not parked any more.
    pub fn leave(&mut self, ticket: Ticket) {
        let Some((executor, kind)) = self.tickets.remove(&ticket) else { return };
        if let Some(tickets) = self.kinds.get_mut(&kind) {
            tickets.remove(&ticket);
            if tickets.is_empty() {
                self.kinds.remove(&kind);
            }
        }
        if let Some(tickets) = self.of.get_mut(&executor) {
            tickets.remove(&ticket);
            if tickets.is_empty() {
                self.of.remove(&executor);
            }
        }
    }

    /// Somebody polls: if he was called, he has come.
    pub fn came(&mut self, view: &View, session: Session) {
        if let Some(executor) = view.executor_of(session) {
            self.called.remove(executor);
        }
    }

    /// Who was called is not there any more.
    pub fn has_left(&mut self, executor: &ExecutorId) {
        self.called.remove(executor);
    }

    /// Whom to call for what waits now: no more than there is work for, those counted that come already.
    pub fn call(&mut self, view: &View, now: Duration) -> Vec<(Ticket, ExecutorId)> {
        let mut tickets = Vec::new();
        if view.lines.len() == 0 || self.tickets.is_empty() {
            return tickets;
        }
        self.called.retain(|_, until| now < *until);
        let mut coming: Vec<ExecutorId> = self.called.keys().cloned().collect();
        for (demand, teams) in self.asked(view, &coming) {
            let mut work = view.lines.open(teams, AT_ONCE);
            coming.retain(|executor| {
                let takes = view.takes(executor, demand);
                work = work.saturating_sub(takes);
                takes == 0
            });
            while work > 0
                && let Some((ticket, executor)) = self.first_for(view, demand)
            {
                work = work.saturating_sub(view.takes(&executor, demand));
                self.leave(ticket);
                self.called.insert(executor.clone(), now.saturating_add(COMES_WITHIN));
                tickets.push((ticket, executor));
            }
        }
        tickets
    }

    /// What is asked for that somebody could run who is here or comes.
    fn asked<'a>(&self, view: &'a View, coming: &[ExecutorId]) -> Asked<'a> {
        let lines = &view.lines;
        let kinds = self.kinds.keys();
        let mut asked: Asked<'_> =
            kinds.flat_map(|kind| lines.of_kind(kind.runner, &kind.labels)).collect();
        let named = lines.named_of(&self.of).into_iter().filter_map(|id| view.seats.get(id));
        asked.extend(named.flat_map(|seat| lines.of_one(seat)));
        let coming = coming.iter().filter_map(|executor| view.seats.get(executor));
        asked.extend(coming.flat_map(|seat| lines.of_seat(seat)));
        asked
    }

    /// Who came first of those that could run what is asked for.
    fn first_for(&self, view: &View, demand: &Demand) -> Option<(Ticket, ExecutorId)> {
        if let Some(executor) = demand.pinned().and_then(|id| id.parse().ok()) {
            let ticket = self.of.get(&executor)?.first()?;
            return (view.takes(&executor, demand) > 0).then_some((*ticket, executor));
        }
        let kinds = self.kinds.iter().filter(|(kind, _)| serves(kind.runner, &kind.labels, demand));
        let firsts = kinds.filter_map(|(_, tickets)| {
            tickets.iter().find(|(_, executor)| view.takes(executor, demand) > 0)
        });
        firsts.min_by_key(|(ticket, _)| **ticket).map(|(ticket, name)| (*ticket, name.clone()))
    }
}

impl View {
    /// How many of what is asked for this executor could take now.
    fn takes(&self, executor: &ExecutorId, demand: &Demand) -> usize {
        let seat = self.seats.get(executor).filter(|seat| seat.ready && seat.serves(demand));
        seat.map_or(0, |seat| self.room(seat))
    }
}
