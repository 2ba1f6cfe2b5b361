//! What is done again and again: growing pauses between tries, with jitter, and when it is told that they fail.

use std::time::Duration;
use tokio::time::Instant;

/// How often it is told that something still is as it was told before.
const REMIND_EVERY: Duration = Duration::from_secs(60);

/// The pauses of one row of tries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pauses {
    next: Duration,
    longest: Duration,
}

impl Pauses {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self { next: first, longest }
    }

    /// The next one: twice as long as the one before, up to the longest, a fifth more or less.
    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = (self.next * 2).min(self.longest);
        pause.mul_f64(rand::random_range(0.8..1.2))
    }
}

/// Says when a row of failures is told of: at the first one, and then once a minute.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reminder(Option<Instant>);

impl Reminder {
    /// It failed once more: whether that is told.
    pub(crate) fn is_due(&mut self) -> bool {
        let due = self.0.is_none_or(|told| told.elapsed() >= REMIND_EVERY);
        if due {
            self.0 = Some(Instant::now());
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_row_of_failures_is_told_of_at_once_and_then_once_a_minute() {
        let mut reminder = Reminder::default();
        let mut told = Vec::new();
        for second in 0..150 {
            if reminder.is_due() {
                told.push(second);
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(told, [0, 60, 120]);
    }
}
