//! Tasks of a runner that panic are begun again, after a growing pause: without them it would see and do nothing, and
//! nobody would know.

use crate::{link::backoff::growing, metrics};
use futures::FutureExt as _;
use std::{panic::AssertUnwindSafe, time::Duration};
use tokio::time::Instant;

/// The first pause after a panic, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Who has run so long without a panic begins with the first pause again.
const CALM: Duration = Duration::from_secs(300);

/// Does something until it is done, however often it panics. `begin` begins it anew; `fallen` is called after each panic.
pub(super) async fn until_done<F: Future<Output = ()>>(
    faults: &Faults,
    task: &str,
    mut begin: impl FnMut() -> F,
    fallen: impl Fn(),
) {
    let mut panics = 0u32;
    loop {
        let began = Instant::now();
        // What tasks share changes under locks that a panic lets go, and each change is whole or none.
        if AssertUnwindSafe(faults.or(task, begin())).catch_unwind().await.is_ok() {
            return;
        }
        if began.elapsed() >= CALM {
            panics = 0;
        }
        panics = panics.saturating_add(1);
        let pause = growing(PAUSES, panics, rand::random());
        tracing::error!(%task, panics, ?pause, "a task of the runner panicked and is begun again");
        metrics::task_panicked();
        fallen();
        tokio::time::sleep(pause).await;
    }
}

/// Panics that tests ask for.
#[derive(Debug)]
pub(super) struct Faults {
    #[cfg(feature = "fault-injection")]
    told: tokio::sync::broadcast::Sender<String>,
}

impl Faults {
    /// None.
    pub(super) fn new() -> Self {
        Self {
            #[cfg(feature = "fault-injection")]
            told: tokio::sync::broadcast::Sender::new(16),
        }
    }

    /// Has the task of that name panic, if it runs.
    #[cfg(feature = "fault-injection")]
    pub(super) fn panic_in(&self, task: &str) {
        let _ = self.told.send(task.to_owned()); // nobody runs, then
    }

    #[cfg(feature = "fault-injection")]
    async fn or<F: Future<Output = ()>>(&self, task: &str, work: F) {
        let mut told = self.told.subscribe();
        let asked = async { while told.recv().await.as_deref() != Ok(task) {} };
        tokio::select! {
            () = work => {}
            () = asked => panic!("told to"),
        }
    }

    #[cfg(not(feature = "fault-injection"))]
    async fn or<F: Future<Output = ()>>(&self, _task: &str, work: F) {
        work.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[tokio::test(start_paused = true)]
    async fn what_panics_is_begun_again_after_growing_pauses_until_it_is_done() {
        let (begun, fallen, began) = (Cell::new(0), Cell::new(0), Instant::now());
        let begin = || {
            begun.set(begun.get() + 1);
            let last = begun.get() == 4;
            async move { assert!(last, "a panic") }
        };
        until_done(&Faults::new(), "t", begin, || fallen.set(fallen.get() + 1)).await;
        assert_eq!((begun.get(), fallen.get()), (4, 3));
        let (least, most) = (PAUSES.0.mul_f64(0.75 * 7.0), PAUSES.0 * 8);
        assert!((least..most).contains(&began.elapsed()), "{:?}", began.elapsed());
        assert!(growing(PAUSES, u32::MAX, 1.0) <= PAUSES.1);
    }
}
