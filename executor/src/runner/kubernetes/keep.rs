//! Keepers: one task for each attempt that is seen, which does what has to be done in time whoever waits or does not.
//!
//! It shuts the gate once the program runs, ends what runs or starts for too long, lets no second pod take the place of one
//! that was deleted, and kills what does not end. What is due is decided by [`rules`]; a keeper that dies with its executor
//! is missed by nobody but the limits, and the next one goes on from what is seen.

pub(super) mod rules;

use super::{
    Tools,
    actions::{self, Outcome},
    supervise,
};
use crate::link::backoff::growing;
use jiff::Timestamp;
use octavius_protocol::id::AttemptId;
use rules::{Done, Duty};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinSet,
};

/// The longest pause of a keeper, so that a limit is kept though clocks are set.
const LONGEST: Duration = Duration::from_secs(30);
/// The pauses after a failure: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(20));

/// What the task that begins keepers is called.
pub(super) const KEEPERS: &str = "keepers";

/// Keeps each attempt that appears. Ends by being dropped, and all keepers with it.
pub(super) async fn keep_all(tools: Arc<Tools>, appearing: mpsc::UnboundedReceiver<AttemptId>) {
    let appearing = Mutex::new(appearing);
    let begin = || keep_those(&tools, &appearing);
    supervise::until_done(&tools.faults, KEEPERS, begin, || {}).await;
}

/// Keeps all that is seen, and each that appears.
async fn keep_those(tools: &Arc<Tools>, appearing: &Mutex<mpsc::UnboundedReceiver<AttemptId>>) {
    let mut appearing = appearing.lock().await;
    let (mut keepers, mut kept) = (JoinSet::new(), BTreeSet::new());
    let mut begin = tools.table.all();
    loop {
        for attempt in begin.drain(..) {
            if kept.insert(attempt) {
                keepers.spawn(keep_well(tools.clone(), attempt));
            }
        }
        tokio::select! {
            attempt = appearing.recv() => match attempt {
                Some(attempt) => begin.push(attempt),
                None => return,
            },
            Some(ended) = keepers.join_next() => match ended {
                Ok(attempt) => {
                    kept.remove(&attempt);
                    // It may have appeared again before this was told.
                    begin.extend(tools.table.of(attempt).map(|_| attempt));
                }
                Err(error) => tracing::error!(%error, "the keeper of an attempt failed"),
            },
        }
    }
}

/// Keeps one attempt, however often that panics.
async fn keep_well(tools: Arc<Tools>, attempt: AttemptId) -> AttemptId {
    let task = format!("keeper of {attempt}");
    let begin = || keep(tools.clone(), attempt);
    supervise::until_done(&tools.faults, &task, begin, || {}).await;
    attempt
}

/// Keeps one attempt until nothing is seen of it any more.
async fn keep(tools: Arc<Tools>, attempt: AttemptId) {
    let (mut done, mut failures) = (Done::default(), 0u32);
    while let Some(mut seen) = tools.table.of(attempt) {
        let now = tools.cluster.now();
        let due = rules::due(&seen.borrow_and_update(), &done, now);
        let (fulfilled, failed) = first_that_works(&tools, attempt, due, failures).await;
        let pause = match fulfilled {
            Some(Duty::Rest(until)) if !failed => left(until, now).min(LONGEST),
            Some(Duty::Rest(_)) => {
                failures = failures.saturating_add(1);
                let pause = growing(PAUSES, failures, rand::random());
                // What fails now does not make a limit late.
                let limit = rules::limit(&seen.borrow(), &done, now);
                tokio::time::sleep(pause.min(left(limit, now))).await;
                continue;
            }
            // What is due by now is another thing.
            fulfilled => {
                if !failed {
                    failures = 0;
                }
                fulfilled.into_iter().for_each(|duty| done.fulfilled(duty));
                continue;
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            changed = seen.changed() => if changed.is_err() { return },
        }
    }
}

/// Does the first of what is due that can be done, the rest last of all: that one, or none where it was not due any more;
/// and whether others failed before it.
async fn first_that_works(
    tools: &Tools,
    attempt: AttemptId,
    due: Vec<Duty>,
    failures: u32,
) -> (Option<Duty>, bool) {
    let mut failed = false;
    for duty in due {
        match actions::fulfil(tools, attempt, &duty).await {
            Ok(outcome) => return (Some(duty).filter(|_| outcome == Outcome::Done), failed),
            Err(error) => {
                if failures == 0 {
                    tracing::warn!(%attempt, ?duty, %error, "tried again until it works");
                }
                failed = true;
            }
        }
    }
    (None, failed)
}

/// How long it is until then, by the API server's clock; at least a second.
fn left(until: Option<i64>, now: Timestamp) -> Duration {
    until.map_or(LONGEST, |at| {
        Duration::from_secs(at.saturating_sub(now.as_second()).max(1).unsigned_abs())
    })
}
