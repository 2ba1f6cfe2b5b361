//! Which final executions were kept long enough.

use super::{
    super::retain::{Belief, Clock, is_over, may_be_gone, newest_that_may_be_over},
    *,
};
use proptest::prelude::*;

const HOUR: Duration = Duration::from_hours(1);

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn first_at_0() -> ExecutionId {
    ExecutionId::first_at(u64::try_from(time(0).as_millisecond()).unwrap())
}

#[test]
fn only_what_is_final_for_so_long_is_over() {
    let mut view = queue();
    let moment = |seconds| Moment { at: time(seconds), elapsed: Duration::ZERO };
    let (pending, _) = view.submit(submission(1, Needs::Any), moment(0)).unwrap();
    assert!(!is_over(&pending, Duration::ZERO, time(1_000_000)), "it is not final");
    let ended = view.cancel(id(1), "ada", moment(100)).unwrap().record;
    assert!(ended.attempt.outcome().is_some());
    assert!(!is_over(&ended, HOUR, time(3_699)) && is_over(&ended, HOUR, time(3_700)));
    assert!(!is_over(&ended, HOUR, time(50)), "a clock that was set back removes nothing");
}

#[test]
fn it_is_looked_at_as_soon_as_it_may_be_over_and_not_before() {
    let id = first_at_0();
    let is_looked_at = |now| newest_that_may_be_over(HOUR, time(now)).is_some_and(|end| id < end);
    assert!(!is_looked_at(3_599) && is_looked_at(3_600));
    assert!(!may_be_gone(id, HOUR, time(3_599)) && may_be_gone(id, HOUR, time(3_600)));
    for longer_than_time in [Duration::MAX, Duration::from_secs(2_000_000_000)] {
        assert_eq!(newest_that_may_be_over(longer_than_time, time(0)), None);
    }
}

/// The moment at which so many hours have passed, and the wall clock shows so many.
fn passed(passed: u64, shown: i64) -> Moment {
    Moment { at: time(shown * 3_600), elapsed: HOUR * u32::try_from(passed).unwrap() }
}

fn went_ahead(hours: u32) -> Belief {
    Belief::WentAhead(HOUR * hours)
}

#[test]
fn a_clock_that_went_ahead_is_believed_after_a_day_and_not_before() {
    let mut clock = Clock::new(None, HOUR, passed(0, 0));
    assert_eq!(clock.look(passed(1, 2)), Belief::Right, "within an hour");
    assert_eq!(clock.look(passed(2, 103)), went_ahead(100));
    assert_eq!(clock.look(passed(25, 126)), Belief::Ahead);
    assert_eq!(clock.look(passed(26, 127)), Belief::Right);
    assert_eq!(clock.look(passed(27, 128)), Belief::Right);
}

#[test]
fn a_clock_that_goes_ahead_once_more_begins_its_day_anew_and_one_that_is_set_right_is_believed() {
    let mut clock = Clock::new(None, HOUR, passed(0, 0));
    assert_eq!(clock.look(passed(0, 100)), went_ahead(100));
    assert_eq!(clock.look(passed(23, 1_023)), went_ahead(1_000));
    assert_eq!(clock.look(passed(24, 1_024)), Belief::Ahead);
    let mut set_right = clock;
    assert_eq!(set_right.look(passed(25, 25)), Belief::Right);
    assert_eq!(set_right.look(passed(26, 20)), Belief::Right, "set back, nothing is old");
    assert_eq!(clock.look(passed(47, 1_047)), Belief::Right);
}

#[test]
fn at_the_beginning_of_a_life_a_clock_is_believed_that_fits_what_was_submitted_last() {
    let begins = |keep_for, shown| Clock::new(Some(first_at_0()), keep_for, passed(0, shown));
    assert_eq!(begins(3 * HOUR, 3).look(passed(0, 3)), Belief::Right);
    assert_eq!(begins(3 * HOUR, -5).look(passed(0, -5)), Belief::Right);
    let mut ahead = begins(3 * HOUR, 4);
    assert_eq!(ahead.look(passed(0, 4)), went_ahead(4));
    assert_eq!(ahead.look(passed(24, 28)), Belief::Right);
    assert_eq!(begins(Duration::ZERO, 1).look(passed(0, 1)), Belief::Right, "an hour is no jump");
}

proptest! {
    #[test]
    fn no_clock_is_believed_that_is_more_than_an_hour_ahead_of_one_that_was_for_less_than_a_day(
        steps in prop::collection::vec((0_u64..12, -200_i64..200), 1..20),
    ) {
        let mut clock = Clock::new(None, HOUR, passed(0, 0));
        // What was shown, as far as it is ahead of what passed; and since when nothing further ahead was seen.
        let (mut believed, mut elapsed, mut ahead) = (0, 0, 0);
        let mut seen: Vec<(u64, i64)> = Vec::new();
        for (pause, jump) in steps {
            elapsed += pause;
            ahead += jump;
            let shown = i64::try_from(elapsed).unwrap() + ahead;
            seen.push((elapsed, ahead));
            if clock.look(passed(elapsed, shown)) == Belief::Right {
                let stayed = seen.iter().any(|(at, far)| elapsed - at >= 24 && ahead - far <= 1);
                prop_assert!(ahead - believed <= 1 || stayed, "{seen:?}");
                believed = ahead;
            }
        }
    }
}
