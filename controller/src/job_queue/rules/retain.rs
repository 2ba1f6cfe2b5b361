//! Which final executions were kept long enough.

use super::{
    super::record::{Record, Step},
    Report, Verdict,
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

/// Whether an execution of which there is no record may have been removed because it was kept long enough: only where one
/// that is not older was.
pub fn may_be_removed(id: ExecutionId, newest_removed: Option<ExecutionId>) -> bool {
    newest_removed.is_some_and(|newest| id <= newest)
}

impl Verdict {
    /// What is said to the holder of an execution of which there is no record; none: nothing, it is not known.
    ///
    /// What is not newer than the newest that was removed was most likely final, and removed, too: its holder may forget it.
    /// But it may also be what a store that was restored from a backup has forgotten, once that has removed something
    /// younger. So nothing that may run is let go of, however old it is; of what does not run, what became of it is lost.
    pub fn without_record(
        id: ExecutionId,
        report: &Report,
        newest_removed: Option<ExecutionId>,
    ) -> Option<Self> {
        let may_run = match report {
            Report::Starting(_) | Report::Running | Report::Unseen(_) => true,
            Report::Prepared(_) | Report::Ended(_) => false,
        };
        let over = || {
            Self::Superseded("it is not known any more, and younger ones were removed".to_owned())
        };
        (may_be_removed(id, newest_removed) && !may_run).then(over)
    }
}
