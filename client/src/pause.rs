//! Growing pauses between tries.

pub(crate) use octavius_protocol::pause::hinted;
use std::time::Duration;
use tonic::Status;
use tonic_types::StatusExt as _;

/// The pause that a refusal asks for; none: it says nothing of it.
pub(crate) fn hint(status: &Status) -> Option<Duration> {
    status.get_details_retry_info()?.retry_delay
}

/// How pauses grow: each is up to twice the one before, with jitter, so that callers who failed together do not come
/// back together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pauses {
    first: Duration,
    most: Duration,
    done: u32,
}

impl Pauses {
    pub(crate) fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, done: 0 }
    }

    /// The next pause.
    pub(crate) fn next(&mut self) -> Duration {
        self.next_with(rand::random_range(0.5..1.0))
    }

    fn next_with(&mut self, share: f64) -> Duration {
        let whole = self.first.saturating_mul(2_u32.saturating_pow(self.done)).min(self.most);
        self.done = self.done.saturating_add(1);
        whole.mul_f64(share)
    }

    /// Starts again with the first.
    pub(crate) fn reset(&mut self) {
        self.done = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit_and_start_again() {
        let mut pauses = Pauses::new(Duration::from_millis(100), Duration::from_secs(2));
        let grown: Vec<_> = (0..7).map(|_| pauses.next_with(0.5).as_millis()).collect();
        assert_eq!(grown, [50, 100, 200, 400, 800, 1000, 1000]);
        pauses.reset();
        assert_eq!(pauses.next_with(1.0), Duration::from_millis(100));
        let far = Pauses { done: u32::MAX, ..pauses }.next_with(1.0);
        assert_eq!(far, Duration::from_secs(2));
    }
}
