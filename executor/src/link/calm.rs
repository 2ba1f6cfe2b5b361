//! What keeps executors that lost their controller in the same moment from coming back in the same moment.
//!
//! The controller says over what time that is to be spread. Whoever finds the connection lost first, or hears that the
//! controller which led does not any more, decides for all
//! calls of this executor: they wait for a random part of that time, and after each further failure about as long again,
//! so that the tries of many stay spread however long the controller is away.

use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, time::Instant};

/// When calls go on.
#[derive(Clone, Debug, Default)]
pub(super) struct Calm(Arc<watch::Sender<State>>);

#[derive(Clone, Copy, Debug, Default)]
struct State {
    spread: Duration,
    /// Whether the last call that came to anything found no controller.
    lost: bool,
    until: Option<Instant>,
}

impl Calm {
    /// Waits until a call may be made.
    pub(super) async fn wait(&self) {
        let until = self.0.borrow().until;
        if let Some(until) = until {
            tokio::time::sleep_until(until).await;
        }
    }

    /// The controller told how wide to spread.
    pub(super) fn spread(&self, spread: Duration) {
        self.0.send_modify(|state| state.spread = spread);
    }

    /// The controller answered something.
    pub(super) fn found(&self) {
        self.0.send_if_modified(|state| {
            (state.lost, state.until) = (false, None);
            false
        });
    }

    /// A call found no controller; `random` is from 0 to 1.
    pub(super) fn lost(&self, random: f64) {
        let now = Instant::now();
        self.0.send_if_modified(|state| {
            // Many calls fail together: the first one decides.
            if state.until.is_none_or(|until| until <= now) {
                state.until = Some(now + pause(state.spread, state.lost, random));
                state.lost = true;
            }
            false
        });
    }
}

/// The first pause is any part of the spread; with the later ones, each about as long as it, the tries of many stay
/// evenly spread.
fn pause(spread: Duration, again: bool, random: f64) -> Duration {
    spread.mul_f64(if again { 0.9 + 0.2 * random } else { random })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

    #[test]
    fn no_second_sees_more_than_a_fifth_however_long_the_controller_is_away() {
        let mut random = SmallRng::seed_from_u64(7);
        let spread = Duration::from_millis(6750);
        for away in [0.0, 0.5, 3.0, 30.0, 300.0] {
            let mut back: Vec<f64> = (0..3000)
                .map(|_| {
                    let mut at = pause(spread, false, random.random()).as_secs_f64();
                    while at < away {
                        at += pause(spread, true, random.random()).as_secs_f64();
                    }
                    at
                })
                .collect();
            back.sort_by(f64::total_cmp);
            let most = (0..back.len())
                .map(|first| back[first..].partition_point(|at| *at < back[first] + 1.0))
                .max();
            assert!(most.unwrap() < 3000 / 5, "{most:?} of 3000 in a second, away for {away}");
            assert!(back.last().unwrap() - away < 8.0, "somebody is silent for too long");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn all_calls_wait_for_the_one_pause_and_an_answer_ends_it() {
        let (calm, began) = (Calm::default(), Instant::now());
        calm.spread(Duration::from_secs(4));
        for random in [0.5, 1.0] {
            calm.lost(random);
        }
        calm.wait().await;
        assert_eq!(began.elapsed(), Duration::from_secs(2));
        calm.lost(0.5);
        calm.found();
        calm.wait().await;
        assert_eq!(began.elapsed(), Duration::from_secs(2));
    }
}
