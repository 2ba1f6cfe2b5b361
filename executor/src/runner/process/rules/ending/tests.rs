use super::*;
use proptest::prelude::*;

const CODE_3: Status = Status { code: Some(3), signal: None };
const START: Duration = Duration::from_secs(100);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// One moment of a made-up run: how much later it is, and what happened since.
#[derive(Clone, Debug)]
struct Moment {
    later: Duration,
    program_ends: bool,
    others_end: bool,
    wish: Option<Wish>,
}

fn moments() -> impl Strategy<Value = Vec<Moment>> {
    let wish = prop_oneof![
        20 => Just(None),
        2 => Just(Some(Wish::Terminate)),
        1 => Just(Some(Wish::Kill)),
    ];
    let moment = (0u64..3_000, prop::bool::weighted(0.1), prop::bool::weighted(0.15), wish);
    let moment = moment.prop_map(|(later, program_ends, others_end, wish)| Moment {
        later: Duration::from_millis(later),
        program_ends,
        others_end,
        wish,
    });
    prop::collection::vec(moment, 1..60)
}

/// What was seen and ordered at each moment, up to the end.
fn run(
    timeout: Option<Duration>,
    grace: Duration,
    moments: &[Moment],
) -> Vec<(Duration, Seen, Order)> {
    let mut ending = Ending::new(START, timeout, grace);
    let (mut now, mut seen) = (START, Seen { program: None, left: true, wish: None });
    let (mut others_left, mut steps) = (true, Vec::new());
    for moment in moments {
        now += moment.later;
        if moment.program_ends {
            seen.program = Some(CODE_3);
        }
        others_left &= !moment.others_end;
        seen.left = seen.program.is_none() || others_left;
        seen.wish = seen.wish.max(moment.wish);
        let order = ending.step(now, seen);
        let over = matches!(order, Order::End { .. });
        steps.push((now, seen, order));
        if over {
            break;
        }
    }
    steps
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// "An exit that was seen before the stop was sent wins", and a stop that was sent is the cause.
    #[test]
    fn the_cause_is_what_came_first(
        timeout in prop::option::of(0u64..30),
        grace in 0u64..10,
        moments in moments(),
    ) {
        let steps = run(timeout.map(seconds), seconds(grace), &moments);
        let Some((_, _, Order::End { cause, status, .. })) = steps.last() else { return Ok(()) };
        prop_assert_eq!(*status, CODE_3);
        let sent = steps.iter().find(|(_, seen, order)| {
            seen.program.is_none() && matches!(order, Order::Terminate | Order::Kill)
        });
        let expected = match sent {
            None => ExitCause::Exited,
            Some((_, Seen { wish: Some(_), .. }, _)) => ExitCause::Stopped,
            Some((_, Seen { wish: None, .. }, _)) => ExitCause::TimedOut,
        };
        prop_assert_eq!(cause, &expected, "{:?}", steps);
    }

    /// No program is killed before its grace is over, unless somebody wants just that.
    #[test]
    fn a_program_has_its_grace(
        timeout in prop::option::of(0u64..30),
        grace in 1u64..10,
        moments in moments(),
    ) {
        let steps = run(timeout.map(seconds), seconds(grace), &moments);
        let terminated = steps.iter().find(|step| step.2 == Order::Terminate).map(|step| step.0);
        let killed = steps.iter().find(|step| step.2 == Order::Kill);
        if let Some((at, Seen { program: None, wish: None | Some(Wish::Terminate), .. }, _)) = killed {
            prop_assert!(terminated.is_some_and(|first| *at - first >= seconds(grace)), "{:?}", steps);
        }
    }

    /// A stop, a time limit or the program's end leads to a kill of what is left, at the first moment after the
    /// grace, and at each one after it.
    #[test]
    fn what_is_left_is_killed(
        timeout in prop::option::of(0u64..30),
        grace in 0u64..10,
        moments in moments(),
    ) {
        let (timeout, grace) = (timeout.map(seconds), seconds(grace));
        let steps = run(timeout, grace, &moments);
        let late = |now: Duration| timeout.is_some_and(|timeout| now >= START + timeout);
        let begun = steps.iter()
            .find(|(now, seen, _)| seen.wish.is_some() || seen.program.is_some() || late(*now))
            .map(|step| step.0);
        for (now, seen, order) in &steps {
            if begun.is_some_and(|begun| *now >= begun + grace.max(LEFTOVER_GRACE)) && seen.left {
                let killed_or_given_up = matches!(order, Order::Kill | Order::End { .. });
                prop_assert!(killed_or_given_up, "{:?} at {:?} of {:?}", order, now, steps);
            }
        }
    }

    /// The first that anything hears is a terminate, unless somebody wants it killed or it has no grace.
    #[test]
    fn a_terminate_comes_first(
        timeout in prop::option::of(0u64..30),
        grace in 1u64..10,
        moments in moments(),
    ) {
        let steps = run(timeout.map(seconds), seconds(grace), &moments);
        let first = steps.iter().find(|step| step.2 != Order::Wait);
        if let Some((_, Seen { left: true, wish: None | Some(Wish::Terminate), .. }, order)) = first {
            prop_assert_eq!(order, &Order::Terminate, "{:?}", steps);
        }
    }

    /// It ends when the program has ended and nothing is left, not before; but what cannot be killed does not
    /// keep it for ever.
    #[test]
    fn it_ends_when_nothing_is_left(moments in moments(), grace in 0u64..10) {
        let mut killed_at = None;
        for (now, seen, order) in run(None, seconds(grace), &moments) {
            let over = seen.program.is_some() && !seen.left;
            match order {
                Order::End { survivors, .. } => {
                    prop_assert_eq!(survivors, !over);
                    let patient = killed_at.is_some_and(|at| now - at >= PATIENCE);
                    prop_assert!(over || patient, "given up too soon");
                }
                Order::Kill => killed_at = killed_at.or(Some(now)),
                Order::Wait | Order::Terminate => prop_assert!(!over),
            }
            let ends = matches!(order, Order::End { .. });
            prop_assert!(ends || !over, "{order:?} though nothing is left");
        }
    }
}

#[test]
fn what_cannot_be_killed_is_left_after_a_while_but_never_the_program() {
    let mut ending = Ending::new(START, None, seconds(1));
    let alive = Seen { program: None, left: true, wish: Some(Wish::Kill) };
    assert_eq!(ending.step(START, alive), Order::Kill);
    assert_eq!(ending.step(START + PATIENCE * 10, alive), Order::Kill);
    let ended = Seen { program: Some(CODE_3), ..alive };
    let expected = Order::End { cause: ExitCause::Stopped, status: CODE_3, survivors: true };
    assert_eq!(ending.step(START + PATIENCE * 10, ended), expected);
}

/// Measures the generator: properties over runs in which nothing happens would prove nothing.
#[test]
fn the_made_up_runs_reach_every_end() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let (mut exited, mut stopped, mut timed_out, mut killed) = (0, 0, 0, 0);
    for _ in 0..1_000 {
        let moments = moments().new_tree(&mut runner).unwrap().current();
        let steps = run(Some(seconds(8)), seconds(3), &moments);
        killed += i32::from(steps.iter().any(|step| step.2 == Order::Kill));
        match &steps.last().unwrap().2 {
            Order::End { cause: ExitCause::Exited, .. } => exited += 1,
            Order::End { cause: ExitCause::Stopped, .. } => stopped += 1,
            Order::End { cause: ExitCause::TimedOut, .. } => timed_out += 1,
            Order::End {
                cause: ExitCause::NotStarted { .. } | ExitCause::Failed { .. }, ..
            } => {
                unreachable!()
            }
            Order::Wait | Order::Terminate | Order::Kill => {}
        }
    }
    let counts = [exited, stopped, timed_out, killed];
    assert!(counts.iter().all(|&count| count >= 100), "{counts:?}");
}
