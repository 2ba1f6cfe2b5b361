//! Which final executions were kept long enough.

use super::{
    super::retain::{is_over, newest_that_may_be_over},
    *,
};

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
    let pending = view.submit(submission(1, Needs::Any), moment(0)).unwrap().record;
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
    for longer_than_time in [Duration::MAX, Duration::from_secs(2_000_000_000)] {
        assert_eq!(newest_that_may_be_over(longer_than_time, time(0)), None);
    }
}
