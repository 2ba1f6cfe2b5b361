//! Over what time those come back who lose the controller in one moment: who is almost alone is back at once, and of
//! some hundreds each second sees 40 executors, or 25 where readers wait, too. That time has an end, so that nobody is
//! away for too long, and above it a second sees more: with a ping deadline of 9 s it is reached by 270 executors, and
//! 10,000 come back at some 1,500 a second; readers reach theirs at 375 executors and readers.

use std::time::Duration;

/// What one executor takes of the time.
const EACH_EXECUTOR: Duration = Duration::from_millis(25);
/// What each takes of the time of readers: executors go first.
const EACH: Duration = Duration::from_millis(40);
/// The longest that a reader of a log stays away on purpose.
const LONGEST: Duration = Duration::from_secs(15);

/// For so many executors. None is away for as long as an executor may be silent.
pub(super) fn of_executors(executors: usize, ping_deadline: Duration) -> Duration {
    of(executors, EACH_EXECUTOR).min(ping_deadline * 3 / 4)
}

/// For who reads a log where there are so many executors and readers.
pub(super) fn of_readers(executors: usize, readers: usize) -> Duration {
    of(executors.saturating_add(readers), EACH).min(LONGEST)
}

fn of(peers: usize, each: Duration) -> Duration {
    each.saturating_mul(u32::try_from(peers).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_alone_comes_back_at_once_and_many_within_their_deadline() {
        let deadline = Duration::from_secs(9);
        assert_eq!(of_executors(1, deadline), Duration::from_millis(25));
        assert_eq!(of_executors(10_000, deadline), Duration::from_millis(6750));
        assert_eq!(of_executors(usize::MAX, deadline), Duration::from_millis(6750));
        assert_eq!(of_readers(1, 1), Duration::from_millis(80));
        assert_eq!(of_readers(usize::MAX, usize::MAX), LONGEST);
    }
}
