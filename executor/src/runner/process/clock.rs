//! The clocks and the pause of code that runs without tokio: the supervisor, and what runs on the blocking pool.

use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time since the machine booted, in suspend too. Never runs backwards; means nothing after the next boot.
pub(super) fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::try_from(time).unwrap_or_default()
}

/// Wall clock in milliseconds since 1970: to be shown, never to be compared.
pub(super) fn wall() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Blocks this thread. Not for a thread that actors or tasks share.
pub(super) fn pause(time: Duration) {
    let end = since_boot() + time;
    while let Some(left) = end.checked_sub(since_boot()).filter(|left| !left.is_zero()) {
        let left = rustix::time::Timespec::try_from(left).ok();
        // A signal ends the poll early: the loop looks at the clock again.
        let _ = rustix::event::poll(&mut [], left.as_ref());
    }
}

/// Pauses that double from a first to a longest.
#[derive(Debug)]
pub(super) struct Pauses {
    next: Duration,
    longest: Duration,
}

impl Pauses {
    /// `first`, its double, and so on up to `longest`.
    pub(super) fn new(first: Duration, longest: Duration) -> Self {
        Self { next: first, longest }
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    /// Never ends.
    fn next(&mut self) -> Option<Duration> {
        let now = self.next;
        self.next = (now * 2).min(self.longest);
        Some(now)
    }
}
