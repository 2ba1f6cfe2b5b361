//! The numbers: when logs are stored, how much is held in memory, and for how long.

use std::time::Duration;

/// When logs are stored, and how much of them is held until then.
#[derive(Clone, Copy, Debug)]
pub struct LogLimits {
    /// So many bytes make a segment.
    pub segment: usize,
    /// A byte of a young log is stored after this time at the latest.
    pub flush_after: Duration,
    /// A byte of an old log is stored after this time at the latest.
    pub flush_after_when_old: Duration,
    /// A log is old when its last byte is so much younger than its first.
    pub old_after: Duration,
    /// The most of one log that is held until it is durable, in bytes. From half of it on, who writes waits for the disk
    /// after each append.
    pub waiting: usize,
    /// When all logs together hold more than this, who writes much waits for the disk after each append, in bytes.
    pub crowded: usize,
    /// For how long who writes waits for the disk at the most.
    pub disk_wait: Duration,
    /// The most of all logs that is held until it is durable, in bytes.
    pub waiting_in_all: usize,
    /// So many bytes of one log are kept on disk, in whole segments: the first half and the last half.
    pub kept: u64,
    /// A log is kept for so long after it was closed.
    pub keep_for: Duration,
    /// How often it is looked for logs that were kept long enough.
    pub expire_every: Duration,
    /// An open log that nobody asks for so long leaves memory.
    pub idle: Duration,
    /// A closed log that nobody asks for so long leaves memory.
    pub linger: Duration,
    /// How often it is looked for logs that must be stored or may leave memory.
    pub tick: Duration,
    /// For how long a seal waits until the log is durable.
    pub close_within: Duration,
    /// While the log store takes no segment for so long although one waits, the controller is not ready.
    pub behind_after: Duration,
    /// An object that the index does not know is deleted when it is older.
    pub orphan_age: Duration,
    /// How often such objects are looked for.
    pub sweep_every: Duration,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self {
            segment: 1 << 20,
            flush_after: Duration::from_secs(10),
            flush_after_when_old: Duration::from_secs(60),
            old_after: Duration::from_secs(10 * 60),
            waiting: 4 << 20,
            crowded: 4 << 20,
            disk_wait: Duration::from_secs(2),
            waiting_in_all: 256 << 20,
            kept: 64 << 20,
            keep_for: Duration::from_secs(30 * 24 * 60 * 60),
            expire_every: Duration::from_secs(10 * 60),
            idle: Duration::from_secs(15 * 60),
            linger: Duration::from_secs(5),
            tick: Duration::from_millis(500),
            close_within: Duration::from_secs(8),
            behind_after: Duration::from_secs(10),
            orphan_age: Duration::from_secs(24 * 60 * 60),
            sweep_every: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// The pause after so many failures in a row, before jitter.
pub(super) fn retry_pause(failures: u32) -> Duration {
    let factor = 2u32.saturating_pow(failures.saturating_sub(1).min(31));
    Duration::from_millis(200).saturating_mul(factor).min(Duration::from_secs(30))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_half_a_minute_and_never_overflow() {
        let pauses: Vec<_> = (1..=12).map(retry_pause).collect();
        assert_eq!(pauses[0], Duration::from_millis(200));
        assert!(pauses.windows(2).all(|two| two[1] == (two[0] * 2).min(Duration::from_secs(30))));
        assert_eq!(retry_pause(u32::MAX), Duration::from_secs(30));
    }
}
