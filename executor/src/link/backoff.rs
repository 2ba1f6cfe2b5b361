//! How long to wait before something is tried again.

use std::time::Duration;

/// The first pause after a failure.
pub const FIRST: Duration = Duration::from_millis(100);

/// The longest pause between two tries.
pub const LONGEST: Duration = Duration::from_secs(5);

/// The pause after `failures` in a row, from 1; `jitter` is a random number from 0 to 1, so that a thousand executors
/// do not come back in the same instant.
pub fn pause(failures: u32, jitter: f64) -> Duration {
    growing((FIRST, LONGEST), failures, jitter)
}

/// The same with other pauses, the first and the longest.
pub fn growing(pauses: (Duration, Duration), failures: u32, jitter: f64) -> Duration {
    doubled(pauses, failures).mul_f64(0.75 + jitter.clamp(0.0, 1.0) / 4.0)
}

/// The same without jitter.
pub fn doubled((first, longest): (Duration, Duration), failures: u32) -> Duration {
    let times = 2u32.saturating_pow(failures.saturating_sub(1).min(31));
    first.saturating_mul(times).min(longest)
}

/// Counts failures in a row, and waits after each.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Something worked: the next pause is the first again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// The pause after one more failure.
    pub fn pause(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        pause(self.failures, rand::random())
    }

    /// How many failures there were in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pauses_grow_and_stay_within_their_bounds(failures in 1u32.., jitter in 0.0..=1.0) {
            let paused = pause(failures, jitter);
            prop_assert!(paused >= FIRST.mul_f64(0.75) && paused <= LONGEST);
            prop_assert!(pause(failures.saturating_add(1), jitter) >= paused);
        }
    }

    #[test]
    fn a_success_begins_again_with_the_first_pause() {
        let mut backoff = Backoff::default();
        let last = (0..10).map(|_| backoff.pause()).last().unwrap();
        assert!(last > LONGEST / 2);
        backoff.reset();
        assert!(backoff.pause() <= FIRST);
    }
}
