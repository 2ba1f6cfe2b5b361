//! Logs that are closed as they are, because the rest of them does not come.
//!
//! Time alone does not say so. While the log store takes nothing, executors hold what they could not send; and where it
//! takes little, a long log comes as fast as it is taken.

use super::{
    JobQueue, QueueError, TICK,
    rules::{CutWanted, LeaseName},
};
use actix::{ActorFutureExt, AsyncContext, Context, ResponseActFuture, WrapFuture, fut};
use std::{collections::BTreeSet, time::Duration};
use tokio::time::Instant;

/// How many logs are closed as they are at a time.
const CUTS: usize = 64;

/// A log that is to be closed as it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    running: bool,
    failures: u32,
    due: Instant,
    /// How long the log was when it was looked at last, in bytes; none before.
    seen: Option<u64>,
}

impl Cut {
    fn due(now: Instant) -> Self {
        Self { running: false, failures: 0, due: now, seen: None }
    }

    /// Nothing can come at present: it is looked at again when what came then has had its time.
    fn wait_for_the_store(&mut self, within: Duration, now: Instant) {
        (self.seen, self.due) = (None, now + within);
    }

    /// Whether the log is longer than when it was looked at last; so is one that was not looked at.
    fn grows(&mut self, size: u64) -> bool {
        self.seen.replace(size) != Some(size)
    }

    /// It was tried, or more of the log may come.
    fn tried(&mut self, closed: &Result<Closing, QueueError>, within: Duration, now: Instant) {
        self.running = false;
        let pause = match closed {
            Ok(Closing::Grows) => within / 10,
            Ok(Closing::Closed) => TICK,
            Err(_) => {
                self.failures = self.failures.saturating_add(1);
                let pause = TICK * 2u32.saturating_pow(self.failures.min(6));
                pause.mul_f64(rand::random_range(0.8..1.2))
            }
        };
        self.due = now + pause;
    }
}

/// What came of a wish to close a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    Closed,
    /// It was left open, for it grows.
    Grows,
}

impl JobQueue {
    /// Closes logs as they are: a few at a time, and each that could not be after a growing pause.
    pub(super) fn cut_due(&mut self, wanted: Vec<CutWanted>, context: &mut Context<Self>) {
        let leases: BTreeSet<_> = wanted.iter().map(|cut| cut.lease).collect();
        self.cuts.retain(|lease, _| leases.contains(lease));
        let (now, within) = (Instant::now(), self.parts.limits.log_within);
        let mut room = CUTS.saturating_sub(self.cuts.values().filter(|cut| cut.running).count());
        for CutWanted { lease, why, may_grow } in wanted {
            let cut = self.cuts.entry(lease).or_insert(Cut::due(now));
            if room == 0 || cut.running || cut.due > now {
                continue;
            }
            if may_grow && self.parts.logs.behind().is_some() {
                cut.wait_for_the_store(within, now);
                continue;
            }
            cut.running = true;
            room -= 1;
            let logs = self.parts.logs.clone();
            let size = async move {
                let info = if may_grow { Some(logs.info(lease.attempt).await?) } else { None };
                Ok::<_, QueueError>(info.map(|info| info.size))
            };
            let closed = size
                .into_actor(self)
                .then(move |size, queue, _| queue.cut_unless_it_grows(lease, why, size));
            context.spawn(closed.map(move |closed, queue, _| {
                if let Some(cut) = queue.cuts.get_mut(&lease) {
                    cut.tried(&closed, within, Instant::now());
                }
            }));
        }
    }

    fn cut_unless_it_grows(
        &mut self,
        lease: LeaseName,
        why: String,
        size: Result<Option<u64>, QueueError>,
    ) -> ResponseActFuture<Self, Result<Closing, QueueError>> {
        match size {
            Err(error) => Box::pin(fut::err(error)),
            Ok(Some(size)) if self.cuts.get_mut(&lease).is_some_and(|cut| cut.grows(size)) => {
                Box::pin(fut::ok(Closing::Grows))
            }
            Ok(_) => Box::pin(self.cut(lease, why).map(|cut, _, _| cut.map(|_| Closing::Closed))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_log_is_cut_when_it_stands_still_and_the_store_takes_what_comes() {
        let now = Instant::now();
        let mut cut = Cut::due(now);
        assert!(cut.grows(5), "it is looked at for the first time");
        cut.tried(&Ok(Closing::Grows), MINUTE, now);
        assert_eq!(cut.due, now + MINUTE / 10);
        assert!(cut.grows(6));
        assert!(!cut.grows(6), "it stands still");
        cut.wait_for_the_store(MINUTE, now);
        assert_eq!(cut.due, now + MINUTE);
        assert!(cut.grows(6), "nothing could come: it has its time again");
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_cut_is_tried_again_after_growing_pauses() {
        let (now, mut last) = (Instant::now(), Duration::ZERO);
        let mut cut = Cut::due(now);
        for _ in 0..4 {
            cut.tried(&Err(QueueError::Store("away".to_owned())), MINUTE, now);
            assert!(cut.due - now > last, "{:?} after {last:?}", cut.due - now);
            last = cut.due - now;
        }
    }
}
