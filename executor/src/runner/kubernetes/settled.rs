//! What has ended and is settled with the controller, and is left in the cluster for a while, where people can look at it.
//!
//! The Job itself says since when that is so: a new process neither takes it for something to go on with nor begins to
//! count anew.

use super::{
    Tools,
    actions::{TRIES, patch, refresh, shut_gate},
    client::Fault,
    names::{SETTLED, annotation},
    phase::phase,
    removal,
    seen::Seen,
};
use crate::runner::{Phase, RunnerError};
use jiff::Timestamp;
use octavius_protocol::id::AttemptId;
use serde_json::json;
use std::{sync::Arc, time::Duration};

/// How often it is looked for what is left no longer.
const LOOK: Duration = Duration::from_secs(5);

/// Leaves an attempt that has ended where it is, if that is wanted. Whether it does.
pub(super) async fn keep(tools: &Tools, attempt: AttemptId) -> Result<bool, RunnerError> {
    if tools.options.keep_finished_for.is_zero() {
        return Ok(false);
    }
    for _ in 0..TRIES {
        let Some(job) = refresh(tools, attempt).await? else { return Ok(false) };
        let seen = tools.table.seen(attempt).unwrap_or_default();
        if !matches!(phase(&seen, tools.cluster.now()), Some(Phase::Ended(_))) {
            return Ok(false);
        }
        shut_gate(tools, &job).await?;
        let now = tools.cluster.now().to_string();
        let change = json!({ "metadata": { "annotations": { SETTLED: now } } });
        if since(&seen).is_some() || patch(tools, &job, change).await? {
            return Ok(true);
        }
    }
    Err(Fault::Conflict.during(&format!("saying that attempt {attempt} is settled")))
}

/// Since when an attempt is settled.
pub(super) fn since(seen: &Seen) -> Option<Timestamp> {
    annotation(&seen.any_job()?.metadata, SETTLED)?.parse().ok()
}

/// Removes what is settled for long enough, for ever.
pub(super) async fn remove_all(tools: Arc<Tools>) {
    loop {
        tokio::time::sleep(LOOK).await;
        for attempt in tools.table.all() {
            let settled = tools.table.seen(attempt).and_then(|seen| since(&seen));
            if !settled
                .is_some_and(|at| is_due(at, tools.options.keep_finished_for, tools.cluster.now()))
            {
                continue;
            }
            if let Err(error) = removal::remove(&tools, attempt).await {
                tracing::warn!(%attempt, %error, "what is over could not be removed: tried again");
            }
        }
    }
}

/// Whether what is settled since then is left no longer.
fn is_due(since: Timestamp, keep: Duration, now: Timestamp) -> bool {
    since.checked_add(keep).is_ok_and(|until| until <= now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::kubernetes::seen::fixtures::went;

    #[test]
    fn what_is_settled_is_left_for_so_long_and_no_longer() {
        let settled: Timestamp = "2026-11-29T12:00:00Z".parse().unwrap();
        let hour = Duration::from_secs(3600);
        let at = |text: &str| text.parse().unwrap();
        assert!(!is_due(settled, hour, at("2026-11-29T12:59:59Z")));
        assert!(is_due(settled, hour, at("2026-11-29T13:00:00Z")));
        assert!(is_due(settled, Duration::ZERO, settled), "the file says so no more");
        assert_eq!(since(&went()), None);
    }
}
