//! Limits of time: what of an execution is limited at present, and what comes when the limit is passed.
//!
//! Counted by a clock that never goes backwards. Over a restart the time that has passed is what the wall clock says,
//! but never less than nothing and never more than the limit.

use super::{
    super::{
        attempt::{Event, Late, Outcome, State},
        record::{Change, Ending, Record, Step},
        terms::{Limit, queue_timeout_key, start_timeout_key, timeout_key},
    },
    Moment, QueueLimits, RunnerKind, Ticked, View,
    retry::START_TIMEOUT,
};
use jiff::Timestamp;
use octavius_protocol::id::{Epoch, ExecutionId, ExecutorId};
use octavius_service::configuration::Setting as _;
use std::time::Duration;

/// The most executions that come due in one tick: the others come due in the next.
const MOST_DUE: usize = 1_000;
/// For how long the rest of a log is waited for at the least after the queue was loaded: its holder could not bring it
/// while nobody served, and comes back within its own pauses.
const BACK_WITHIN: Duration = Duration::from_secs(60);

/// The code of a program that its executor stopped because it was left alone.
const UNHEARD: &str = "unheard";

/// What of an execution is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    /// Nothing is.
    Free,
    /// The pause before it is tried again.
    Pausing,
    /// Its wait for an executor.
    Queued,
    /// The time that its holder takes until the program runs.
    Starting(Epoch),
    /// The time that its program runs.
    Running,
    /// The time that its holder takes to stop what is late.
    Stopping,
    /// The time until the rest of its log is here.
    Ending,
}

impl Phase {
    pub(super) fn of(record: &Record) -> Self {
        let attempt = record.attempt;
        if attempt.outcome().is_some() {
            return Self::Free;
        }
        if attempt.ending.is_some() {
            return Self::Ending;
        }
        if attempt.late.is_some() {
            return Self::Stopping;
        }
        match attempt.state {
            State::Pending { .. } if record.retry_at.is_some() => Self::Pausing,
            State::Pending { .. } => Self::Queued,
            State::Leased(_) | State::Starting(_) | State::Running(_) if attempt.cancelling => {
                Self::Free
            }
            State::Leased(epoch) | State::Starting(epoch) => Self::Starting(epoch),
            State::Running(_) => Self::Running,
            State::Ended { .. } => Self::Free,
        }
    }

    /// How long it may take.
    fn limit(self, record: &Record, limits: &QueueLimits) -> Option<Duration> {
        match self {
            Self::Free => None,
            Self::Pausing => {
                let from = record.history.last().map_or(Timestamp::UNIX_EPOCH, |(_, at)| *at);
                Some(between(from, record.retry_at?))
            }
            Self::Queued => record.terms.queue_timeout().map(|limit| limit.time),
            Self::Starting(_) => Some(net_of_start(record, limits)),
            // Its holder enforces the limit itself. Whoever does not is reminded.
            Self::Running => {
                record.timeout().map(|limit| limit.time.saturating_add(limits.stop_within))
            }
            Self::Stopping => Some(limits.stop_within),
            Self::Ending => Some(limits.log_within),
        }
    }

    /// Whether it is its holder that keeps within the limit.
    fn is_with_its_holder(self) -> bool {
        match self {
            Self::Starting(_) | Self::Running | Self::Stopping => true,
            Self::Free | Self::Pausing | Self::Queued | Self::Ending => false,
        }
    }

    /// Since when it lasts, by the wall clock.
    fn since(self, record: &Record) -> Option<Timestamp> {
        let last = |wanted: Step| record.history.iter().rfind(|(step, _)| *step == wanted);
        match self {
            // When its holder was told is not kept: after a restart it is told again, and waited for again.
            Self::Free | Self::Stopping => None,
            Self::Pausing => record.history.last().map(|(_, at)| *at),
            Self::Queued => record.retry_at.or_else(|| waits_since(record)),
            Self::Starting(_) => last(Step::Leased).map(|(_, at)| *at),
            Self::Running => last(Step::Running).map(|(_, at)| *at),
            Self::Ending => record.ending_heard,
        }
    }
}

/// Since when what is not in its pause waits. With the first grant the end of a pause is forgotten: who comes back from
/// that is known to have waited from there on.
fn waits_since(record: &Record) -> Option<Timestamp> {
    let granted = record.history.iter().find(|(step, _)| *step == Step::Leased);
    let after_a_pause = granted.filter(|_| record.number.0 > 1);
    after_a_pause.or(record.history.first()).map(|(_, at)| *at)
}

/// How long it may take until its program runs. Executors that run images end what is late themselves, for they know what
/// it waits for. Whoever does not is reminded.
fn net_of_start(record: &Record, limits: &QueueLimits) -> Duration {
    let limit = record.terms.start_timeout(&record.offer).time;
    match record.runner {
        Some(RunnerKind::Kubernetes) => limit.saturating_add(limits.stop_within),
        Some(RunnerKind::Process) | None => limit,
    }
}

/// The time from one to the other; none where it would be below zero.
pub(super) fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

impl Record {
    /// How long the program may run at the executor of the newest grant.
    pub fn timeout(&self) -> Option<Limit> {
        self.terms.timeout(&self.offer)
    }
}

impl View {
    /// Begins to count what is limited now, if that is something else than before.
    pub(super) fn arm(&mut self, id: ExecutionId, now: Moment) {
        let limits = self.limits;
        let Some(live) = self.live.get_mut(&id) else { return };
        let phase = Phase::of(&live.record);
        if phase == live.phase {
            return;
        }
        live.phase = phase;
        let due = match (phase, live.queue_due) {
            // Who comes back into the queue has waited before.
            (Phase::Queued, Some(due)) => Some(due),
            // Also if that was before the queue was loaded. Never more than the limit: it may come due at once.
            (Phase::Queued, None) => phase.limit(&live.record, &limits).map(|limit| {
                let waited = phase.since(&live.record).map(|since| between(since, now.at));
                now.elapsed.saturating_add(limit.saturating_sub(waited.unwrap_or_default()))
            }),
            _ => phase.limit(&live.record, &limits).map(|limit| now.elapsed.saturating_add(limit)),
        };
        if phase == Phase::Queued {
            live.queue_due = due;
        }
        self.set_due(id, due);
    }

    /// Begins to count what was limited already when it was read from the store.
    pub(super) fn arm_loaded(&mut self, id: ExecutionId, now: Moment) {
        self.arm(id, now);
        let Some(live) = self.live.get_mut(&id) else { return };
        if live.phase == Phase::Queued {
            return; // what it has waited before counts already
        }
        // It waits since its pause was over, also if that was before the queue was loaded.
        if live.phase == Phase::Pausing
            && let Some(over) = live.record.retry_at.filter(|over| *over <= now.at)
        {
            let limit = live.record.terms.queue_timeout();
            let left = limit.map(|limit| limit.time.saturating_sub(between(over, now.at)));
            live.queue_due = left.map(|left| now.elapsed.saturating_add(left));
        }
        let (Some(due), Some(since)) = (live.due, live.phase.since(&live.record)) else { return };
        // A log that is cut is cut for good, and whether its holder was away or this controller is not known here.
        let least = if live.phase == Phase::Ending { BACK_WITHIN } else { Duration::ZERO };
        // Never more than the limit: it may come due at once, and nothing earlier.
        let earliest = now.elapsed.saturating_add(least).min(due);
        let due = due.saturating_sub(between(since, now.at)).max(earliest);
        self.set_due(id, Some(due));
    }

    pub(super) fn set_due(&mut self, id: ExecutionId, due: Option<Duration>) {
        let Some(live) = self.live.get_mut(&id) else { return };
        let was = std::mem::replace(&mut live.due, due);
        if let Some(was) = was {
            self.timers.remove(&(was, id));
        }
        if let Some(due) = due {
            self.timers.insert((due, id));
        }
    }

    /// Takes what passed its limit further.
    pub(super) fn come_due(&mut self, now: Moment, ticked: &mut Ticked) {
        let due = self.timers.iter().take_while(|(due, _)| *due <= now.elapsed);
        let due: Vec<ExecutionId> = due.take(MOST_DUE).map(|(_, id)| *id).collect();
        for id in due {
            self.set_due(id, None);
            let Some(live) = self.live.get(&id) else { continue };
            // Whoever is silent cannot be told to stop, nor say that it ended in time: its silence has a limit of its own.
            if live.phase.is_with_its_holder() && !self.is_heard(live.record.executor.as_ref()) {
                self.set_due(id, Some(now.elapsed.saturating_add(self.limits.stop_within)));
                continue;
            }
            let change = match (live.phase, live.record.attempt.held()) {
                (Phase::Pausing, _) => {
                    self.try_now(id, now);
                    None
                }
                (Phase::Queued, _) => self.not_started(id, now),
                (Phase::Starting(epoch), _) => self.pass(id, epoch, Late::Start, now),
                (Phase::Running, Some(epoch)) => self.pass(id, epoch, Late::Run, now),
                (Phase::Stopping, Some(epoch)) => self.give_late_up(id, epoch, now),
                // Its log is cut with the others that wait for that: see `cut_wanted`.
                (Phase::Ending, _) => None,
                (Phase::Running | Phase::Stopping, None) | (Phase::Free, _) => None,
            };
            let stopping = self.live(id).filter(|record| record.attempt.late.is_some());
            let holder = stopping.and_then(|record| record.executor.as_ref());
            ticked.wake.extend(holder.and_then(|executor| self.session_of(executor)));
            ticked.changes.extend(change);
        }
    }

    fn is_heard(&self, executor: Option<&ExecutorId>) -> bool {
        executor.and_then(|executor| self.seats.get(executor)).is_some_and(|seat| seat.ready)
    }

    /// Its pause is over: it waits for an executor, where its age puts it.
    fn try_now(&mut self, id: ExecutionId, now: Moment) {
        let Some(live) = self.live.get_mut(&id) else { return };
        self.pausing.remove(&live.record);
        live.phase = Phase::Queued;
        let limit = live.record.terms.queue_timeout();
        let due = limit.map(|limit| now.elapsed.saturating_add(limit.time));
        live.queue_due = live.queue_due.or(due);
        let (record, due) = (live.record.clone(), live.queue_due);
        self.enter_queue(&record);
        self.set_due(id, due);
    }

    fn not_started(&mut self, id: ExecutionId, now: Moment) -> Option<Change> {
        let limit = self.live(id)?.terms.queue_timeout()?;
        let why = self.why(self.live(id)?);
        let reason = format!(
            "no executor began it within {} ({}): {why}",
            limit.time.shown(),
            queue_timeout_key(limit.from)
        );
        let live = self.live.get_mut(&id)?;
        live.record.ending = Some(Box::new(Ending {
            outcome: Outcome::Failed,
            code: "not_started".to_owned(),
            reason,
            exit_code: None,
            log: None,
            log_cut: String::new(),
            note: String::new(),
        }));
        self.apply(id, Event::NotStarted, now).ok()
    }

    /// It is late. What was never prepared has failed with that; what may run is to be stopped.
    fn pass(&mut self, id: ExecutionId, epoch: Epoch, late: Late, now: Moment) -> Option<Change> {
        let change = self.apply(id, Event::Late(epoch, late), now).ok()?;
        let live = self.live.get_mut(&id)?;
        let Some(outcome) = live.record.attempt.ending else { return Some(change) };
        live.record.ending = Some(Box::new(late_ending(&live.record, outcome, late, "")));
        Some(Change::Live(Box::new(live.record.clone())))
    }

    fn give_late_up(&mut self, id: ExecutionId, epoch: Epoch, now: Moment) -> Option<Change> {
        let late = self.live(id)?.attempt.late?;
        self.apply(id, Event::GiveUp(epoch), now).ok()?;
        let live = self.live.get_mut(&id)?;
        let outcome = live.record.attempt.ending?;
        let unconfirmed = "; the executor was told to stop it, and did not say what came of that";
        live.record.ending = Some(Box::new(late_ending(&live.record, outcome, late, unconfirmed)));
        Some(Change::Live(Box::new(live.record.clone())))
    }
}

/// How what was late ended, where its holder does not say.
fn late_ending(record: &Record, outcome: Outcome, late: Late, unconfirmed: &str) -> Ending {
    let (code, reason) = late_words(record, &record.waits_for, late);
    let code = if outcome == Outcome::Lost { "not_stopped" } else { code };
    let log_cut = match unconfirmed {
        "" => String::new(),
        _ => {
            "the executor did not say how it ended: the log ends where it was last heard".to_owned()
        }
    };
    let reason = format!("{reason}{unconfirmed}");
    let (code, note) = (code.to_owned(), String::new());
    Ending { outcome, code, reason, exit_code: None, log: None, log_cut, note }
}

/// Which limit was passed, with its value and who says it: a word for programs, and words for people. `waited_for` is what
/// was last heard of what it waits for; empty: nothing.
fn late_words(record: &Record, waited_for: &str, late: Late) -> (&'static str, String) {
    let executor = record.executor.as_ref();
    match late {
        Late::Start => {
            let Limit { time, from } = record.terms.start_timeout(&record.offer);
            let (time, key) = (time.shown(), start_timeout_key(from, executor));
            let reason = format!("its program did not run within {time} of the grant ({key})");
            let reason = match waited_for {
                "" => reason,
                waited_for => format!("{reason}; it waited for: {waited_for}"),
            };
            (START_TIMEOUT, reason)
        }
        Late::Run => ("timeout", timed_out(record)),
    }
}

/// How long it was allowed to run, and who says so.
fn timed_out(record: &Record) -> String {
    record.timeout().map_or_else(
        || "stopped after its time limit".to_owned(),
        |Limit { time, from }| {
            let (time, key) = (time.shown(), timeout_key(from, record.executor.as_ref()));
            format!("stopped after its time limit of {time} ({key})")
        },
    )
}

/// What a holder says of an end, as the controller knows it: whoever stopped for being late did not cancel, and a limit
/// is named with who set it. `waits_for` is the newest that was heard of what it waits for.
pub(super) fn in_our_words(record: &Record, waits_for: &str, ending: Ending) -> Ending {
    // Who was cut off does not know that it was told to stop: it stopped for its own reason what was to be stopped anyway.
    let unheard = ending.outcome == Outcome::Lost && ending.code == UNHEARD;
    match (record.attempt.late, ending.outcome) {
        (None, Outcome::Lost) if unheard && record.attempt.cancelling => {
            let reason = format!("a cancel was asked for; {}", ending.reason);
            Ending { outcome: Outcome::Cancelled, code: "cancelled".to_owned(), reason, ..ending }
        }
        (Some(late), Outcome::Cancelled | Outcome::Lost)
            if unheard || ending.outcome == Outcome::Cancelled =>
        {
            let (code, reason) = late_words(record, waits_for, late);
            let outcome = match late {
                Late::Start => Outcome::Failed,
                Late::Run => Outcome::TimedOut,
            };
            Ending { outcome, code: code.to_owned(), reason, ..ending }
        }
        (_, Outcome::TimedOut) => Ending { reason: timed_out(record), ..ending },
        (_, Outcome::Failed) if ending.code == START_TIMEOUT => {
            let (_, ours) = late_words(record, waits_for, Late::Start);
            let reason = match ending.reason.as_str() {
                theirs if waits_for.is_empty() && !theirs.is_empty() => {
                    format!("{ours}; its executor says: {theirs}")
                }
                _ => ours,
            };
            Ending { reason, ..ending }
        }
        (_, Outcome::Succeeded | Outcome::Failed | Outcome::Cancelled | Outcome::Lost) => ending,
    }
}
