//! When executions came, by a clock of the queue's own.
//!
//! It goes on with the monotonic clock, and no wall clock that jumps moves it. Where a queue is loaded it goes on from what
//! the records say: not before any of them came, and after each by what passed since then. How much that is nobody has
//! counted: the wall clock says it, from nothing up to what all steps of priority are worth. More would change nothing, for
//! whatever waits then is served before what comes.

use super::{super::record::Record, Moment, QueueLimits, due::between, lines::came_at};
use crate::registry::HIGHEST_PRIORITY;

/// The queue's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct QueueClock {
    /// What it showed when the monotonic clock began, in milliseconds.
    began: i64,
}

impl QueueClock {
    /// The clock of a queue that goes on with these records. Where there are none it begins anywhere.
    pub(super) fn load(limits: &QueueLimits, records: &[Record], now: Moment) -> Self {
        let most = limits.ageing.saturating_mul(u32::from(HIGHEST_PRIORITY));
        let shown = |record: &Record| {
            let submitted = record.submitted_at().unwrap_or(now.at);
            let passed = between(submitted, now.at).min(most).as_millis();
            came_at(record).saturating_add(i64::try_from(passed).unwrap_or(i64::MAX))
        };
        let shown = records.iter().map(shown).max();
        let elapsed = i64::try_from(now.elapsed.as_millis()).unwrap_or(i64::MAX);
        let began = shown.unwrap_or_else(|| now.at.as_millisecond()).saturating_sub(elapsed);
        Self { began }
    }

    /// What it shows, in milliseconds.
    pub(super) fn shows(self, now: Moment) -> i64 {
        let elapsed = i64::try_from(now.elapsed.as_millis()).unwrap_or(i64::MAX);
        self.began.saturating_add(elapsed)
    }
}
