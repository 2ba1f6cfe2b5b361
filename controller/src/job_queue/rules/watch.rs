//! What time brings about: grants that nobody took, logs that do not arrive, holders that are silent.

use super::{
    super::{
        attempt::{Event, Outcome, State},
        record::{Change, Ending},
    },
    LeaseName, Moment, View,
    due::Phase,
};
use octavius_protocol::id::{ExecutionId, ExecutorId, Session};
use octavius_service::configuration::Setting as _;
use std::collections::BTreeSet;

/// A log that is to be closed as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutWanted {
    /// Whose.
    pub lease: LeaseName,
    /// What readers are told.
    pub why: String,
    /// Whether its holder may still have more of it.
    pub may_grow: bool,
}

/// What time brought about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ticked {
    /// What the store has to make of it.
    pub changes: Vec<Change>,
    /// Which logs are to be closed as they are; then the executions are over.
    pub cuts: Vec<CutWanted>,
    /// The sessions that have to hear of it.
    pub wake: BTreeSet<Session>,
}

impl View {
    /// Looks at everything that waits. To be called about once a second.
    pub fn tick(&mut self, now: Moment) -> Ticked {
        let mut ticked = Ticked::default();
        self.come_due(now, &mut ticked);
        ticked.changes.extend(self.write_words(now));
        let held = self.seats.values().flat_map(|seat| &seat.holds);
        for id in held.copied().collect::<Vec<ExecutionId>>() {
            if let Some(change) = self.release_untaken(id, now) {
                ticked.changes.push(change);
            }
            if let Some(change) = self.stop_waiting_for_silent(id, now) {
                ticked.changes.push(change);
            }
            ticked.cuts.extend(self.cut_wanted(id));
        }
        ticked
    }

    /// Gives up an executor that was silent for too long: what it prepared is lost, what it did not goes back.
    pub fn lose(&mut self, executor: &ExecutorId, session: Session, now: Moment) -> Vec<Change> {
        let Some(seat) = self.seats.get_mut(executor).filter(|seat| seat.session <= session) else {
            return Vec::new();
        };
        seat.ready = false;
        let holds: Vec<ExecutionId> = seat.holds.iter().copied().collect();
        let reason = format!(
            "executor {executor} was not heard for so long that it is given up: \
             whether the program ended, and how, is not known"
        );
        holds.into_iter().filter_map(|id| self.give_up(id, Event::Lose, &reason, now)).collect()
    }

    fn release_untaken(&mut self, id: ExecutionId, now: Moment) -> Option<Change> {
        let live = self.live.get(&id)?;
        let State::Leased(epoch) = live.record.attempt.state else { return None };
        let due = live.since + self.limits.acknowledge_within <= now.elapsed;
        let wanted = due && !live.named && live.record.attempt.ending.is_none();
        wanted.then(|| self.apply(id, Event::Release(epoch), now).ok()).flatten()
    }

    fn stop_waiting_for_silent(&mut self, id: ExecutionId, now: Moment) -> Option<Change> {
        let live = self.live.get(&id)?;
        let attempt = live.record.attempt;
        let executor = live.record.executor.as_ref()?;
        let silent = self.seats.get(executor).is_none_or(|seat| !seat.ready);
        let due = live.since + self.limits.cancel_within <= now.elapsed;
        if !(attempt.cancelling && attempt.ending.is_none() && silent && due) {
            return None;
        }
        let reason = self.unconfirmed(executor);
        self.give_up(id, Event::Unconfirmed, &reason, now)
    }

    /// Why a cancel is not waited for any longer: which place is silent, and since when.
    pub(super) fn unconfirmed(&self, executor: &ExecutorId) -> String {
        let silent = self.silence(executor);
        format!(
            "cancelled, unconfirmed: executor {executor} {silent}, and what runs there may go on"
        )
    }

    /// Since when nothing was heard of an executor, in words.
    pub(super) fn silence(&self, executor: &ExecutorId) -> String {
        match self.seats.get(executor).and_then(|seat| seat.heard) {
            Some(heard) => format!("silent since {heard:.0}"),
            None => "not heard since the controller started".to_owned(),
        }
    }

    pub(super) fn give_up(
        &mut self,
        id: ExecutionId,
        event: fn(octavius_protocol::id::Epoch) -> Event,
        reason: &str,
        now: Moment,
    ) -> Option<Change> {
        let epoch = self.live(id)?.attempt.held()?;
        let change = self.apply(id, event(epoch), now).ok()?;
        let Change::Live(record) = change else { return Some(change) };
        let Some(outcome) = record.attempt.ending else { return Some(Change::Live(record)) };
        let live = self.live.get_mut(&id)?;
        if live.record.ending.is_none() {
            let code = match outcome {
                Outcome::Lost => "executor_lost",
                Outcome::Cancelled => "cancelled_unconfirmed",
                Outcome::Succeeded | Outcome::Failed | Outcome::TimedOut => "ended",
            };
            live.record.ending = Some(Box::new(Ending {
                outcome,
                code: code.to_owned(),
                reason: reason.to_owned(),
                exit_code: None,
                log: None,
                log_cut: "the executor was lost: the log ends where it was last heard".to_owned(),
                note: String::new(),
            }));
        }
        Some(Change::Live(Box::new(live.record.clone())))
    }

    pub(super) fn cut_wanted(&self, id: ExecutionId) -> Option<CutWanted> {
        let live = self.live.get(&id)?;
        let ending = live.record.ending.as_ref()?;
        let epoch = live.record.attempt.held()?;
        let late = live.phase == Phase::Ending && live.due.is_none();
        let why = match (ending.log, late) {
            (None, _) => ending.log_cut.clone(),
            (Some(_), true) => {
                let within = self.limits.log_within.shown();
                format!("the rest of the log did not arrive within {within}")
            }
            (Some(_), false) => return None,
        };
        let lease = LeaseName { attempt: live.record.attempt_id(), epoch };
        Some(CutWanted { lease, why, may_grow: ending.log.is_some() })
    }
}
