//! Which final executions were kept long enough.

use super::{
    super::record::{Record, Step},
    Moment,
};
use jiff::Timestamp;
use octavius_protocol::id::ExecutionId;
use std::time::Duration;

/// Whether an execution is final, and has been for `keep_for`.
pub fn is_over(record: &Record, keep_for: Duration, now: Timestamp) -> bool {
    match record.history.last() {
        Some((Step::Ended(_), ended)) if record.attempt.outcome().is_some() => {
            Duration::try_from(now.duration_since(*ended)).is_ok_and(|age| age >= keep_for)
        }
        Some(_) | None => false,
    }
}

/// The first id behind all executions that may have ended `keep_for` before `now`: an execution does not end before it is
/// submitted. None: there can be none.
pub fn newest_that_may_be_over(keep_for: Duration, now: Timestamp) -> Option<ExecutionId> {
    let oldest = now.checked_sub(keep_for).ok()?;
    let milliseconds = u64::try_from(oldest.as_millisecond()).ok()?;
    Some(ExecutionId::first_at(milliseconds.saturating_add(1)))
}

/// Whether an execution of this id may have been kept long enough and be gone: it was submitted so long ago.
pub fn may_be_gone(id: ExecutionId, keep_for: Duration, now: Timestamp) -> bool {
    newest_that_may_be_over(keep_for, now).is_some_and(|newest| id < newest)
}

/// How far the wall clock may run ahead of the time that passed, and be believed at once.
const JUMP: Duration = Duration::from_hours(1);
/// For how long it has to stay where it went ahead to, until it is believed.
const HELD: Duration = Duration::from_hours(24);

/// Whether the wall clock is believed where it says that history is old: what is removed never comes back, and a clock
/// that went ahead by mistake would make all of it old at once. Time that this machine slept does not pass on the other
/// clock, and looks the same: nothing is lost by waiting.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// The last moment at which it was believed.
    right: Moment,
    /// How far it may be ahead of what passed since then.
    leeway: Duration,
    /// Where it went ahead to.
    ahead: Option<Moment>,
}

/// Whether the wall clock is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belief {
    /// It is.
    Right,
    /// It is not; it was, or went ahead once more: by so much.
    WentAhead(Duration),
    /// It still is not.
    Ahead,
}

impl Clock {
    /// The clock at the beginning of a life. What was submitted last shows how late it is at least: who was away for
    /// `keep_for` since then finds all of history old, which is right, or a wrong clock.
    pub fn new(newest: Option<ExecutionId>, keep_for: Duration, now: Moment) -> Self {
        let at = newest.and_then(submitted_at).unwrap_or(now.at);
        Self { right: Moment { at, ..now }, leeway: keep_for.max(JUMP), ahead: None }
    }

    /// Whether it is believed now.
    pub fn look(&mut self, now: Moment) -> Belief {
        let ahead_by = ahead(self.right, now);
        let stays = self.ahead.filter(|there| ahead(*there, now) <= JUMP);
        let held = stays.is_some_and(|there| now.elapsed.saturating_sub(there.elapsed) >= HELD);
        if ahead_by <= self.leeway || held {
            *self = Self { right: now, leeway: JUMP, ahead: None };
            return Belief::Right;
        }
        if stays.is_some() {
            return Belief::Ahead;
        }
        self.ahead = Some(now);
        Belief::WentAhead(ahead_by)
    }
}

/// How far the wall clock ran ahead of the other one between two moments.
fn ahead(from: Moment, to: Moment) -> Duration {
    let shown = Duration::try_from(to.at.duration_since(from.at)).unwrap_or_default();
    shown.saturating_sub(to.elapsed.saturating_sub(from.elapsed))
}

/// When an execution was submitted, as its id says.
fn submitted_at(id: ExecutionId) -> Option<Timestamp> {
    Timestamp::from_millisecond(id.made_at().cast_signed()).ok()
}
