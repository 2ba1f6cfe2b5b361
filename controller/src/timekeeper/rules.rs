//! How late it is at the most: a wall clock that goes ahead of the time that passed is believed only after a day.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// For how long a clock that went ahead has to stay there until it is believed.
const HELD: Duration = Duration::from_hours(24);
/// The most that counts as one stay between two looks: where it was in between nobody knows.
const SEEN: Duration = Duration::from_hours(1);

/// What is believed of the time, when the clock is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Belief {
    /// How late it is: never later than the clock shows.
    believed: Timestamp,
    /// Where the clock is while it is ahead of that.
    ahead: Option<Ahead>,
}

/// A clock that went ahead of the time that passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Ahead {
    /// How late it would be if the least were right that it showed since then.
    at: Timestamp,
    /// For how long it was seen there.
    held: Duration,
}

impl Belief {
    /// The first one: what happened last is in the past. Where nothing happened, the clock is believed.
    pub(crate) fn first(last: Option<Timestamp>, shown: Timestamp) -> Self {
        Self { believed: last.map_or(shown, |last| last.min(shown)), ahead: None }
    }

    /// What is believed when the clock shows this, and so much time has passed for certain since the look before.
    #[must_use]
    pub(crate) fn after(self, passed: Duration, shown: Timestamp) -> Self {
        let believed = later(self.believed, passed);
        if shown <= believed {
            return Self { believed: shown, ahead: None };
        }
        let begins = Ahead { at: shown, held: Duration::ZERO };
        let ahead = self.ahead.map_or(begins, |ahead| Ahead {
            at: later(ahead.at, passed).min(shown),
            held: ahead.held.saturating_add(passed.min(SEEN)),
        });
        if ahead.held < HELD {
            return Self { believed, ahead: Some(ahead) };
        }
        // It may have gone on ahead meanwhile.
        Self { believed: ahead.at, ahead: (ahead.at < shown).then_some(begins) }
    }

    /// How late it is: what is younger by this time was not kept longer than that.
    pub(crate) fn time(self) -> Timestamp {
        self.believed
    }

    /// How far a clock that shows this is ahead of what is believed.
    pub(crate) fn behind(self, shown: Timestamp) -> Duration {
        Duration::try_from(shown.duration_since(self.believed)).unwrap_or_default()
    }
}

fn later(time: Timestamp, passed: Duration) -> Timestamp {
    time.checked_add(passed).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + hours * 3_600).unwrap()
    }

    /// What is believed, in hours, after these looks: how many hours passed before each, and which one the clock showed.
    fn believed(looks: &[(u64, i64)]) -> i64 {
        let first = Belief::first(None, at(0));
        let last = looks.iter().fold(first, |belief, (passed, shown)| {
            belief.after(Duration::from_hours(*passed), at(*shown))
        });
        (last.time().as_second() - at(0).as_second()) / 3_600
    }

    /// A look each hour, from one on, while the clock is so far ahead.
    fn hourly(from: u64, to: u64, ahead: i64) -> impl Iterator<Item = (u64, i64)> {
        (from..=to).map(move |hour| (1, i64::try_from(hour).unwrap() + ahead))
    }

    #[test]
    fn a_clock_that_went_ahead_is_believed_after_a_day_and_not_before() {
        let looks: Vec<_> = hourly(1, 25, 1_000).collect();
        assert_eq!(believed(&looks[..24]), 24, "23 hours after it was first seen there");
        assert_eq!(believed(&looks), 1_025);
        let mut set_right = looks[..20].to_vec();
        set_right.extend(hourly(21, 60, 0));
        assert_eq!(believed(&set_right), 60);
    }

    #[test]
    fn a_clock_that_goes_on_ahead_is_believed_as_far_as_it_was_for_a_day() {
        let looks: Vec<_> = hourly(1, 20, 100).chain(hourly(21, 43, 1_000)).collect();
        assert_eq!(believed(&looks[..25]), 125);
        assert_eq!(believed(&looks), 143);
        let looks: Vec<_> = hourly(1, 20, 1_000).chain(hourly(21, 25, 100)).collect();
        assert_eq!(believed(&looks), 125, "the least that it showed");
    }

    #[test]
    fn a_clock_that_is_set_back_is_believed_at_once_and_one_that_comes_back_is_not() {
        let looks: Vec<_> = hourly(1, 2, -100).chain(hourly(3, 27, 0)).collect();
        assert_eq!(believed(&looks[..2]), -98);
        assert_eq!(believed(&looks[..10]), -90);
        assert_eq!(believed(&looks), 27);
    }

    #[test]
    fn time_in_which_nobody_looked_is_no_stay() {
        assert_eq!(believed(&[(1, 1_001), (100, 1_101)]), 101);
        assert_eq!(believed(&[(1, 1), (100, 101)]), 101, "but it passes");
    }

    #[test]
    fn at_first_what_happened_last_is_believed_and_no_clock_that_is_before_it() {
        assert_eq!(Belief::first(Some(at(3)), at(9)).time(), at(3));
        assert_eq!(Belief::first(Some(at(9)), at(3)).time(), at(3));
        let belief = Belief::first(Some(at(3)), at(9));
        assert_eq!((belief.behind(at(9)), belief.behind(at(1))), (6 * SEEN, Duration::ZERO));
    }
}
