//! How long a read may be silent before it is opened again.
//!
//! Before Kubernetes 1.29 a read that follows does not notice that the log was rotated, and is silent for ever. So it is
//! opened again after the time in which the recent rate writes a quarter of what is rotated at: a rotation costs
//! that much time, and no log. Who writes nothing is looked at less and less often.

use std::time::Duration;
use tokio::time::Instant;

/// A quarter of the size at which the kubelet rotates, which is 10 MiB by default.
const ROOM: f64 = 2.5 * 1024.0 * 1024.0;

/// The shortest silence.
const SHORTEST: Duration = Duration::from_secs(1);

/// The longest silence. Also finds a connection that died without a word.
const LONGEST: Duration = Duration::from_secs(30);

/// What counts as recent, in seconds.
const RECENT: f64 = 5.0;

/// How much came recently, and how often nothing came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Silence {
    /// Bytes, each counting less the longer ago it came.
    bytes: f64,
    last: Option<Instant>,
    fruitless: u32,
}

impl Default for Silence {
    fn default() -> Self {
        Self { bytes: 0.0, last: None, fruitless: 0 }
    }
}

impl Silence {
    /// New bytes came.
    pub(super) fn came(&mut self, bytes: usize, now: Instant) {
        if let Some(last) = self.last {
            self.bytes *= (-now.saturating_duration_since(last).as_secs_f64() / RECENT).exp();
        }
        self.bytes += bytes as f64;
        self.last = Some(now);
        self.fruitless = 0;
    }

    /// Opening it again brought nothing.
    pub(super) fn nothing_came(&mut self) {
        self.fruitless = self.fruitless.saturating_add(1);
    }

    /// How long to wait for the next byte.
    pub(super) fn limit(&self) -> Duration {
        let rate = (self.bytes / RECENT).max(1.0);
        let limit = Duration::from_secs_f64(ROOM / rate).clamp(SHORTEST, LONGEST);
        limit.saturating_mul(2u32.saturating_pow(self.fruitless.min(16))).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The limit after `seconds` of so many bytes a second.
    fn after(rate: usize, seconds: u64) -> Silence {
        let mut silence = Silence::default();
        let start = Instant::now();
        for tenth in 0..seconds * 10 {
            silence.came(rate / 10, start + Duration::from_millis(100 * tenth));
        }
        silence
    }

    #[test]
    fn the_faster_a_log_is_written_the_sooner_silence_is_noticed() {
        assert_eq!(Silence::default().limit(), LONGEST);
        assert_eq!(after(100, 60).limit(), LONGEST);
        assert_eq!(after(13_000_000, 60).limit(), SHORTEST);
        assert!(after(13_000_000, 1).limit() < SHORTEST * 2, "from the first second on");
        let limit = after(1_000_000, 60).limit().as_secs_f64();
        assert!((2.0..3.5).contains(&limit), "{limit}");
    }

    #[test]
    fn who_writes_nothing_is_looked_at_less_and_less_often_until_he_writes_again() {
        let mut silence = after(13_000_000, 10);
        let limits: Vec<u64> = std::iter::repeat_with(|| {
            silence.nothing_came();
            silence.limit().as_secs()
        })
        .take(7)
        .collect();
        assert_eq!(limits, [2, 4, 8, 16, 30, 30, 30]);
        silence.came(10_000_000, Instant::now());
        assert_eq!(silence.limit(), SHORTEST);
    }

    /// What is written into a silence, at the rate before it, is less than is rotated away by two rotations.
    #[test]
    fn a_silence_at_a_steady_rate_loses_nothing() {
        for rate in [100_000, 300_000, 1_000_000, 5_000_000] {
            let written = after(rate, 60).limit().as_secs_f64() * rate as f64;
            assert!(written < 10_000_000.0, "{rate}: {written}");
        }
    }
}
