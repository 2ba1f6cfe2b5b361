//! What is due, and when.

use super::{
    super::super::{
        names::{WENT, WORK},
        seen::fixtures::*,
    },
    *,
};

fn next(seen: &Seen, done: &Done, now: Timestamp) -> Duty {
    super::due(seen, done, now).swap_remove(0)
}

fn due(seen: &Seen, now: i64) -> Duty {
    next(seen, &Done::default(), at(now))
}

#[test]
fn the_gate_is_shut_once_when_the_program_runs_and_not_before() {
    let starting = went().with("p", 0, waits("ContainerCreating", ""));
    assert_eq!(due(&starting, 1), Duty::Rest(Some(MADE + 60)));
    let running = went().with("p", 0, running(2));
    let shut = due(&running, 3);
    assert_eq!(shut, Duty::ShutGate { pod: "p".to_owned(), uid: "p-uid".to_owned() });
    let mut done = Done::default();
    done.fulfilled(shut);
    assert_eq!(next(&running, &done, at(3)), Duty::Rest(Some(MADE + 32)));
    // Also of one that was over before anybody looked, and after a restart, though it was written down.
    let over = went().with("p", 0, over(0, "Completed", 1, 1)).told("p");
    assert!(matches!(due(&over, 3), Duty::ShutGate { .. }));
    assert_eq!(next(&over, &done, at(100)), Duty::Tell);
    done.fulfilled(Duty::Tell);
    assert_eq!(next(&over, &done, at(100)), Duty::Rest(None));
}

#[test]
fn an_end_is_written_down_once_also_where_only_the_job_tells_of_it() {
    let over = went().with("p", 0, over(3, "Error", 1, 2)).told("p");
    let mut done = Done::default();
    done.fulfilled(Duty::ShutGate { pod: String::new(), uid: String::new() });
    assert_eq!(next(&over, &done, at(5)), Duty::Tell);
    assert_eq!(next(&over.ended_as_told(), &done, at(5)), Duty::Rest(None));
    // Long past the time to start: it did, and nobody here saw it.
    for condition in ["Complete", "Failed"] {
        let seen = went().condition(condition, "x");
        assert_eq!(due(&seen, 1000), Duty::Tell);
        assert_eq!(due(&seen.told("p"), 1000), Duty::Tell);
    }
}

#[test]
fn a_limit_is_kept_though_the_gate_cannot_be_shut() {
    let running = went().with("p", 0, running(1));
    assert!(matches!(due(&running, 30), Duty::ShutGate { .. }));
    assert_eq!(limit(&running, &Done::default(), at(30)), Some(MADE + 31));
    assert!(matches!(due(&running, 31), Duty::Stop { why: StopWhy::TimedOut, .. }));
    let going = running.clone().deleting("p", 5, 30);
    assert!(matches!(due(&going, 5), Duty::Stop { why: StopWhy::PodDeleted, .. }));
    let stopped = running.stopped(StopWhy::TimedOut, 31);
    assert!(matches!(due(&stopped, 65), Duty::ShutGate { .. }));
    assert_eq!(limit(&stopped, &Done::default(), at(65)), Some(MADE + 66));
    assert!(matches!(due(&stopped, 66), Duty::Kill { .. }));
}

#[test]
fn limits_are_kept_by_the_clock_of_the_api_server() {
    let mut done = Done::default();
    done.fulfilled(Duty::ShutGate { pod: String::new(), uid: String::new() });
    let stopped = |seen: &Seen, now| match next(seen, &done, at(now)) {
        Duty::Stop { why, .. } => Some(why),
        _ => None,
    };
    let running = went().with("p", 0, running(10));
    assert_eq!((stopped(&running, 39), stopped(&running, 40)), (None, Some(StopWhy::TimedOut)));
    let waits = went().warned("job", "FailedCreate", "exceeded quota");
    assert_eq!((stopped(&waits, 59), stopped(&waits, 60)), (None, Some(StopWhy::NotStarted)));
    let Duty::Stop { waited_for, .. } = due(&waits, 60) else { panic!() };
    assert!(waited_for.contains("exceeded quota"), "{waited_for}");
    let prepared = Seen { job: Some(job().into()), ..Seen::default() };
    assert_eq!(stopped(&prepared, 600), None, "what was not let go has no limit here");
}

#[test]
fn a_node_whose_clock_is_wrong_cuts_no_program_short() {
    let mut done = Done::default();
    done.fulfilled(Duty::ShutGate { pod: String::new(), uid: String::new() });
    let mut seen = went().with("p", 0, running(-600)).told("p");
    let job = std::sync::Arc::make_mut(seen.job.as_mut().unwrap());
    job.metadata.annotations.as_mut().unwrap().insert(WENT.to_owned(), at(1).to_string());
    assert_eq!(next(&seen, &done, at(2)), Duty::Rest(Some(MADE + 31)));
    assert!(matches!(next(&seen, &done, at(31)), Duty::Stop { why: StopWhy::TimedOut, .. }));
    let ahead = went().with("p", 0, running(600)).told("p");
    assert_eq!(next(&ahead, &done, at(2)), Duty::Rest(Some(MADE + 32)), "it is looked at again");
}

#[test]
fn no_pod_takes_the_place_of_one_that_goes() {
    let mut done = Done::default();
    done.fulfilled(Duty::ShutGate { pod: String::new(), uid: String::new() });
    let stop = Duty::Stop { why: StopWhy::PodDeleted, waited_for: String::new() };
    let seen = went().with("p", 0, running(1)).told("p");
    assert_eq!(next(&seen.clone().deleting("p", 5, 30), &done, at(5)), stop);
    assert_eq!(next(&seen.without("p"), &done, at(5)), stop);
    assert_eq!(due(&went().told("p"), 5), stop, "also for who never saw it");
    let over = went().with("p", 0, over(0, "Completed", 1, 2)).told("p").without("p");
    assert_eq!(next(&over, &done, at(5)), Duty::Tell);
}

#[test]
fn a_pod_of_a_silent_node_is_given_up_when_it_tolerates_that_no_longer() {
    let mut done = Done::default();
    done.fulfilled(Duty::ShutGate { pod: String::new(), uid: String::new() });
    let mut seen = went().with("p", 0, running(1)).told("p");
    let job = std::sync::Arc::make_mut(seen.job.as_mut().unwrap());
    let kept = job.metadata.annotations.as_mut().unwrap().get_mut(WORK).unwrap();
    let mut work: serde_json::Value = serde_json::from_str(kept).unwrap();
    work["timeout_ms"].take();
    *kept = work.to_string();
    assert_eq!(next(&seen, &done, at(9_000)), Duty::Rest(None), "it has no limit of its own");
    let silent = seen.silent("p", 40);
    assert_eq!(next(&silent, &done, at(339)), Duty::Rest(Some(MADE + 340)));
    let stop = Duty::Stop { why: StopWhy::PodDeleted, waited_for: String::new() };
    assert_eq!(next(&silent, &done, at(340)), stop);
    let stopped = silent.clone().stopped(StopWhy::PodDeleted, 340);
    assert_eq!(
        next(&stopped, &done, at(341)),
        Duty::Rest(Some(MADE + 375)),
        "its grace comes first"
    );
    assert!(matches!(next(&stopped, &done, at(375)), Duty::Kill { .. }));
    // Its own limit may come first; and what tolerates it for ever is not given up.
    let limited = went().with("p", 0, running(1)).told("p").silent("p", 20);
    assert_eq!(next(&limited, &done, at(25)), Duty::Rest(Some(MADE + 31)));
    let mut patient = silent;
    let pod = std::sync::Arc::make_mut(patient.pods.get_mut("p-uid").unwrap());
    pod.spec.as_mut().unwrap().tolerations.as_mut().unwrap()[0].toleration_seconds = None;
    assert_eq!(next(&patient, &done, at(9_000)), Duty::Rest(None));
}

#[test]
fn what_was_asked_to_end_is_kept_out_beside_all_else_until_that_works() {
    let mut seen = went().with("p", 0, waits("ErrImagePull", ""));
    assert_eq!(due(&seen, 12), Duty::Rest(Some(MADE + 60)), "it may start");
    seen = seen.stopped(StopWhy::NotStarted, 60);
    let (mut done, kill) =
        (Done::default(), Duty::Kill { pod: "p".to_owned(), uid: "p-uid".to_owned() });
    let all = |done: &Done, now| super::due(&seen, done, at(now));
    assert_eq!(all(&done, 61), [Duty::KeepOut, Duty::Rest(Some(MADE + 65))]);
    assert_eq!(
        limit(&seen, &done, at(61)),
        Some(MADE + 65),
        "a gate that stays open is waited for"
    );
    // Neither is in the way of the other.
    assert_eq!(all(&done, 65), [kill.clone(), Duty::KeepOut, Duty::Rest(None)]);
    done.fulfilled(kill.clone());
    assert_eq!(all(&done, 66), [Duty::KeepOut, Duty::Rest(None)]);
    done.fulfilled(Duty::KeepOut);
    assert_eq!(all(&done, 66), [Duty::Rest(None)]);
    // Who stopped it has shut the gate.
    let mut done = Done::default();
    done.fulfilled(Duty::Stop { why: StopWhy::NotStarted, waited_for: String::new() });
    assert_eq!(all(&done, 65), [kill, Duty::Rest(None)]);
}

#[test]
fn an_end_is_written_down_though_the_gate_cannot_be_shut() {
    let over = went().with("p", 0, over(3, "Error", 1, 2));
    let due = super::due(&over, &Done::default(), at(5));
    assert!(matches!(&due[..], [Duty::ShutGate { .. }, Duty::Tell, Duty::Rest(None)]), "{due:?}");
}

#[test]
fn what_does_not_end_in_its_grace_is_killed_once() {
    let mut done = Done::default();
    done.fulfilled(Duty::ShutGate { pod: String::new(), uid: String::new() });
    let seen = went().with("p", 0, running(1)).stopped(StopWhy::Asked, 10);
    assert_eq!(next(&seen, &done, at(20)), Duty::Rest(Some(MADE + 45)));
    let kill = next(&seen, &done, at(45));
    assert_eq!(kill, Duty::Kill { pod: "p".to_owned(), uid: "p-uid".to_owned() });
    done.fulfilled(kill);
    assert_eq!(next(&seen, &done, at(46)), Duty::Rest(None));
    let pulling = went().with("p", 0, waits("ErrImagePull", "")).stopped(StopWhy::NotStarted, 10);
    let mut done = Done::default();
    done.fulfilled(Duty::KeepOut);
    assert_eq!(next(&pulling, &done, at(12)), Duty::Rest(Some(MADE + 15)));
    assert!(matches!(next(&pulling, &done, at(15)), Duty::Kill { .. }));
}
