//! How often files are looked at: often enough that a line is soon seen, and seldom enough that thousands of attempts
//! cost little.

use super::clock::Pauses;
use std::{
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

/// When to look at files again. Not inotify: its instances are few (128 for a user, often), and it is silent on some
/// network folders; a look costs some microseconds.
pub(super) fn looks() -> Pauses {
    Pauses::new(Duration::from_millis(10), Duration::from_millis(200))
}

/// When to look at a log again while so many are followed: 20 ms for a few, and never more than some hundred looks a
/// second in all until the pauses are at their longest.
pub(super) fn looks_at_logs(followed: u32) -> Pauses {
    let (shortest, longest) = (Duration::from_millis(10), Duration::from_millis(200));
    let share = Duration::from_millis(20) * followed.div_ceil(16).max(1);
    Pauses::new(shortest, share.min(longest))
}

/// Counts a log that is followed until it is dropped.
pub(super) struct Followed<'a>(&'a AtomicU32);

impl<'a> Followed<'a> {
    pub(super) fn new(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl Drop for Followed<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_logs_are_looked_at_often_and_thousands_are_not() {
        let longest = |followed| looks_at_logs(followed).nth(20).unwrap().as_millis();
        assert_eq!([0, 1, 16, 17, 160, 5000].map(longest), [20, 20, 20, 40, 200, 200]);
    }

    #[test]
    fn who_leaves_is_not_counted() {
        let count = AtomicU32::new(0);
        let (first, second) = (Followed::new(&count), Followed::new(&count));
        drop(first);
        assert_eq!(count.load(Relaxed), 1);
        drop(second);
        assert_eq!(count.load(Relaxed), 0);
    }
}
