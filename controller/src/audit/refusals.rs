//! How many refusals are recorded: nobody fills the store by being refused.

use std::time::Duration;
use tokio::time::Instant;

/// A bucket of entries that may be made: so many at once, and one more after each `every`.
#[derive(Debug)]
pub(super) struct Refusals {
    most: u32,
    every: Duration,
    left: u32,
    /// Since when `left` counts.
    since: Instant,
    /// How many were not recorded since the last one that was.
    left_out: u64,
}

impl Refusals {
    pub(super) fn new(most: u32, every: Duration) -> Self {
        Self { most, every, left: most, since: Instant::now(), left_out: 0 }
    }

    /// Whether one more is recorded; then how many were not since the last one that was.
    pub(super) fn take(&mut self, now: Instant) -> Option<u64> {
        let passed = now.duration_since(self.since);
        let more = u32::try_from(passed.as_nanos() / self.every.as_nanos()).unwrap_or(u32::MAX);
        if more >= self.most - self.left {
            (self.left, self.since) = (self.most, now);
        } else {
            self.left += more;
            self.since += self.every * more;
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Some(std::mem::take(&mut self.left_out))
            }
            None => {
                self.left_out += 1;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_counted_and_not_recorded_one_by_one() {
        let every = Duration::from_secs(10);
        let mut refusals = Refusals::new(3, every);
        let mut take = |after: Duration| refusals.take(Instant::now() + after);
        let at_once: Vec<_> = (0..5).map(|_| take(Duration::ZERO)).collect();
        assert_eq!(at_once, [Some(0), Some(0), Some(0), None, None]);
        assert_eq!(take(Duration::from_secs(9)), None);
        assert_eq!(take(every), Some(3));
        assert_eq!(take(every), None);
        // Calm fills the bucket again, and no further.
        let later: Vec<_> = (0..5).map(|_| take(every * 1_000)).collect();
        assert_eq!(later, [Some(1), Some(0), Some(0), None, None]);
    }
}
