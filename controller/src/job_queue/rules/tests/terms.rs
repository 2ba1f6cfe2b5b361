//! Stories of what an execution runs under: tries, limits, labels and bounds.

use super::*;
use crate::{job_queue::show::shown, registry::RetryPolicy};

fn submit_under(view: &mut View, number: u8, terms: Terms) {
    view.submit(Submission { terms: terms.into(), ..submission(number, Needs::Any) }, at(0))
        .unwrap();
}

/// An attempt of execution 1 that runs.
fn running(view: &mut View, now: u64) -> LeaseName {
    let lease = poll(view, &[], at(now))[0];
    let report = |view: &mut View, report| view.report(Session(1), lease, report, at(now)).unwrap();
    assert!(recorded(&report(view, Report::Prepared(format!("thing-{}", lease.attempt.attempt)))));
    assert!(recorded(&report(view, Report::Running)));
    lease
}

fn end(view: &mut View, lease: LeaseName, outcome: Outcome, now: u64) -> Record {
    let ended = view.report(Session(1), lease, Report::Ended(ending(outcome)), at(now)).unwrap();
    assert!(matches!(ended, Reported::Seal(..)), "{ended:?}");
    match view.sealed(lease, 3, "", at(now)).unwrap() {
        Change::Live(record) | Change::Done(record) => *record,
        Change::Submitted(..) | Change::Afterwards(_) => panic!("it was live before"),
    }
}

fn retries(job_retries: u32) -> ExecutorTerms {
    ExecutorTerms { job_retries, ..ExecutorTerms::default() }
}

fn three_tries() -> Terms {
    Terms { retry: Some(RetryPolicy::of(3)), ..Terms::default() }
}

#[test]
fn a_failed_attempt_is_followed_by_another_with_an_epoch_of_its_own() {
    let mut view = queue();
    submit_under(&mut view, 1, three_tries());
    let first = running(&mut view, 0);
    let record = end(&mut view, first, Outcome::Failed, 1);
    assert_eq!((record.number.0, record.attempt), (2, Attempt::NEW));
    assert_eq!((record.earlier[0].outcome, record.earlier[0].log_size), (Outcome::Failed, 3));
    let pause = record.retry_at.unwrap().duration_since(at(1).at).as_secs_f64();
    assert!((8.0..=10.0).contains(&pause), "{pause}");
    assert!(view.why(&record).starts_with("attempt 2 of 3 is made at 1970-01-01T00:00:"));

    assert_eq!(poll(&mut view, &[], at(8)), [], "it waits");
    view.tick(at(8));
    assert_eq!(poll(&mut view, &[], at(8)), []);
    view.tick(at(11));
    let second = running(&mut view, 11);
    assert_eq!((second.attempt.attempt.0, second.epoch), (2, Epoch(1)));
    let late = view.report(Session(1), first, Report::Ended(ending(Outcome::Succeeded)), at(12));
    assert!(matches!(late, Ok(Reported::Verdict(_, Verdict::Superseded(_)))), "{late:?}");
    let done = end(&mut view, second, Outcome::Succeeded, 12);
    assert_eq!(done.attempt.outcome(), Some(Outcome::Succeeded));
    assert!(view.live(id(1)).is_none());
}

#[test]
fn what_became_of_a_pod_is_tried_again_where_its_word_is_asked_for() {
    for (word, code, again) in [
        ("image", "image", true),
        ("evicted", "evicted", true),
        ("preempted", "preempted", true),
        ("pod_deleted", "pod_deleted", true),
        ("evicted", "oom_killed", false),
        ("failed", "evicted", true),
    ] {
        let mut view = queue();
        let policy = RetryPolicy { on: [word.parse().unwrap()].into(), ..RetryPolicy::of(2) };
        submit_under(&mut view, 1, Terms { retry: Some(policy), ..Terms::default() });
        let lease = running(&mut view, 0);
        let ended = Ending { code: code.to_owned(), exit_code: None, ..ending(Outcome::Failed) };
        view.report(Session(1), lease, Report::Ended(ended), at(1)).unwrap();
        view.sealed(lease, 3, "", at(1)).unwrap();
        assert_eq!(view.pausing() == 1, again, "{code} where {word} is asked for");
    }
}

/// `on_lost: rerun` is of what is lost alone: of what failed `retry` says what becomes.
#[test]
fn what_is_lost_is_run_again_where_the_job_says_so_and_what_failed_is_not() {
    let terms = Terms { rerun_lost: true, ..Terms::default() };
    for (lost, again) in [(true, 1), (false, 0)] {
        let mut view = queue();
        submit_under(&mut view, 1, terms.clone());
        let lease = running(&mut view, 0);
        if lost {
            view.lose(&name(0), Session(1), at(700));
            let cut = view.tick(at(1_100)).cuts.remove(0);
            view.sealed(cut.lease, 0, &cut.why, at(1_100)).unwrap();
        } else {
            end(&mut view, lease, Outcome::Failed, 1);
        }
        assert_eq!(view.pausing(), again, "lost: {lost}");
        // Whoever comes back with the attempt that was given up is told to stop it, before anything else.
        let attended = view.attend(Session(1), &[lease]).unwrap();
        let orders: Vec<_> =
            attended.orders.iter().map(|order| (order.lease, order.kind)).collect();
        let stopped = vec![(lease, OrderKind::Stop); again];
        assert_eq!(orders, stopped, "lost: {lost}");
    }
}

/// What follows a lost attempt would run beside its program, if that ran on for ever where nobody hears of it.
#[test]
fn only_what_is_run_again_when_it_is_lost_may_not_run_on_unheard() {
    let limit = Some(super::LIMITS.unheard_within);
    let on = |on: &str| RetryPolicy { on: [on.parse().unwrap()].into(), ..RetryPolicy::of(3) };
    for (terms, last_try, expected) in [
        (Terms::default(), false, None),
        (Terms { rerun_lost: true, ..Terms::default() }, false, limit),
        (Terms { rerun_lost: true, ..Terms::default() }, true, None),
        (Terms { retry: Some(on("lost")), ..Terms::default() }, false, limit),
        (Terms { retry: Some(on("failed")), ..Terms::default() }, false, None),
    ] {
        let mut view = queue();
        submit_under(&mut view, 1, terms.clone());
        if last_try {
            let lease = running(&mut view, 0);
            let lost = Ending { code: "vanished".to_owned(), ..ending(Outcome::Lost) };
            view.report(Session(1), lease, Report::Ended(lost), at(1)).unwrap();
            view.sealed(lease, 3, "", at(1)).unwrap();
            view.tick(at(1_000));
        }
        let polled = view.poll(Session(1), 1, &[], at(1_000)).unwrap();
        let limits: Vec<_> = polled.grants.iter().map(|grant| grant.stop_if_unheard).collect();
        assert_eq!(limits, [expected], "{terms:?}, the last one: {last_try}");
    }
}

#[test]
fn a_restart_neither_forgets_a_pause_nor_begins_it_again() {
    let mut view = queue();
    submit_under(&mut view, 1, three_tries());
    let first = running(&mut view, 0);
    let record = end(&mut view, first, Outcome::Failed, 1);
    // The wall clock of the new process says 5 s; its own clock begins at zero.
    let now = Moment { at: at(5).at, elapsed: Duration::ZERO };
    let later = |seconds| Moment { elapsed: Duration::from_secs(seconds), ..at(5 + seconds) };
    let mut view = View::load(LIMITS, vec![record.clone()], vec![join(0, 1, 2)], now);
    view.attend(Session(1), &[]).unwrap();
    view.tick(later(3));
    assert_eq!(poll(&mut view, &[], later(3)), []);
    view.tick(later(6));
    assert_eq!(poll(&mut view, &[], later(6)).len(), 1);
    // A wall clock that was set back by a day makes nobody wait for longer than the pause.
    let back = Moment { at: at(0).at - Duration::from_secs(86_400), elapsed: Duration::ZERO };
    let mut view = View::load(LIMITS, vec![record], vec![join(0, 1, 2)], back);
    view.attend(Session(1), &[]).unwrap();
    view.tick(Moment { elapsed: Duration::from_secs(10), ..back });
    assert_eq!(poll(&mut view, &[], Moment { elapsed: Duration::from_secs(10), ..back }).len(), 1);
}

#[test]
fn what_was_granted_before_a_restart_and_comes_back_does_not_wait_anew() {
    let mut view = queue();
    submit_under(&mut view, 1, Terms { queue_timeout_ms: Some(60_000), ..Terms::default() });
    poll(&mut view, &[], at(40));
    let record = view.live(id(1)).unwrap().clone();
    let mut view = View::load(LIMITS, vec![record], vec![join(0, 1, 2)], at(45));
    view.lose(&name(0), Session(1), at(50));
    assert_eq!(view.tick(at(59)).changes, []);
    let changes = view.tick(at(60)).changes;
    assert!(matches!(&changes[..], [Change::Done(_)]), "{changes:?}");
}

#[test]
fn what_is_tried_again_does_not_wait_anew_with_each_restart_and_shows_no_time_that_is_past() {
    let mut view = queue();
    let terms = Terms { queue_timeout_ms: Some(60_000), ..three_tries() };
    submit_under(&mut view, 1, terms);
    let lease = running(&mut view, 0);
    let record = end(&mut view, lease, Outcome::Failed, 1);
    assert!((at(9).at..=at(11).at).contains(&record.retry_at.unwrap()));
    let mut view = View::load(LIMITS, vec![record], Vec::new(), at(50));
    assert_eq!(view.tick(at(50)).changes, []);
    let shown = shown(&view, view.live(id(1)).unwrap());
    assert_eq!((shown.reason_code.as_str(), shown.record.retry_at), ("no_executor", None));
    assert_eq!(view.tick(at(68)).changes, []);
    let changes = view.tick(at(71)).changes;
    assert!(matches!(&changes[..], [Change::Done(_)]), "{changes:?}");
}

#[test]
fn a_cancel_ends_the_wait_for_another_attempt_and_forbids_it_while_the_log_arrives() {
    let mut view = queue();
    submit_under(&mut view, 1, three_tries());
    let first = running(&mut view, 0);
    end(&mut view, first, Outcome::Failed, 1);
    let cancelled = view.cancel(id(1), "ada", at(2)).unwrap();
    assert!(matches!(&cancelled.changes[..], [Change::Done(_)]), "{cancelled:?}");
    assert_eq!(cancelled.record.why_ended().1, "cancelled before it was tried again");

    submit_under(&mut view, 2, three_tries());
    let second = running(&mut view, 2);
    view.report(Session(1), second, Report::Ended(ending(Outcome::Failed)), at(3)).unwrap();
    assert_eq!(view.cancel(id(2), "ada", at(3)).unwrap().changes.len(), 1);
    assert_eq!(view.cancel(id(2), "ada", at(3)).unwrap().changes, [], "it was said before");
    let done = view.sealed(second, 3, "", at(4)).unwrap();
    assert!(matches!(&done, Change::Done(record) if record.number.0 == 1), "{done:?}");
}

#[test]
fn the_executors_retries_count_for_failures_where_the_job_does_not_say() {
    let mut view = queue();
    view.join(Join { offer: retries(1), ..join(0, 1, 2) }, at(0));
    submit_under(&mut view, 1, Terms::default());
    let lease = running(&mut view, 0);
    assert_eq!(end(&mut view, lease, Outcome::Failed, 1).number.0, 2);
    submit_under(&mut view, 2, Terms::default());
    let lease = running(&mut view, 1);
    let done = end(&mut view, lease, Outcome::TimedOut, 1);
    assert_eq!(done.attempt.outcome(), Some(Outcome::TimedOut));
    submit_under(&mut view, 3, Terms { retry: Some(RetryPolicy::of(1)), ..Terms::default() });
    let lease = running(&mut view, 1);
    assert_eq!(end(&mut view, lease, Outcome::Failed, 1).number.0, 1, "the job says one");
}

#[test]
fn what_does_not_start_in_time_fails_and_what_may_run_is_stopped_first() {
    let mut view = queue();
    let terms = Terms { start_timeout_ms: Some(20_000), ..Terms::default() };
    submit_under(&mut view, 1, terms.clone());
    submit_under(&mut view, 2, terms);
    let held = poll(&mut view, &[], at(0));
    report(&mut view, held[1], Report::Prepared("thing".to_owned()));
    poll(&mut view, &held, at(1));
    assert_eq!(view.tick(at(19)).changes, []);
    let ticked = view.tick(at(20));
    assert_eq!((ticked.changes.len(), ticked.wake.len()), (2, 1));
    let never = view.live(id(1)).unwrap();
    assert_eq!(never.attempt.ending, Some(Outcome::Failed), "it was never prepared");
    assert_eq!(
        never.ending.as_ref().unwrap().reason,
        "its program did not run within 20s of the grant (the job's `start_timeout`)"
    );
    assert_eq!(view.live(id(2)).unwrap().attempt.ending, None, "it may run");
    let orders = view.attend(Session(1), &held).unwrap().orders;
    assert_eq!((orders[0].lease, orders[0].kind), (held[1], OrderKind::Stop));
    let done = end(&mut view, held[1], Outcome::Cancelled, 21);
    assert_eq!(done.attempt.outcome(), Some(Outcome::Failed), "nobody cancelled it");
    assert_eq!(done.why_ended().0, "start_timeout");
}

#[test]
fn a_holder_that_never_stops_what_is_late_does_not_hold_it_up() {
    let mut view = queue();
    let limits =
        Terms { start_timeout_ms: Some(20_000), timeout_ms: Some(30_000), ..Terms::default() };
    submit_under(&mut view, 1, limits.clone());
    submit_under(&mut view, 2, limits);
    let held = poll(&mut view, &[], at(0));
    for lease in &held {
        report(&mut view, *lease, Report::Prepared("thing".to_owned()));
    }
    report(&mut view, held[1], Report::Running);
    view.tick(at(20));
    view.tick(at(90));
    let starting = view.live(id(1)).unwrap();
    assert_eq!(starting.attempt.ending, Some(Outcome::Failed));
    // It runs since 1; its limit is 30, and its holder has 70 to end it and 70 more to obey.
    assert_eq!(view.live(id(2)).unwrap().attempt.late, None);
    view.tick(at(101));
    assert_eq!(view.live(id(2)).unwrap().attempt.late, Some(Late::Run));
    view.tick(at(171));
    let ran = view.live(id(2)).unwrap();
    let ending = ran.ending.as_ref().unwrap();
    assert_eq!((ending.outcome, &*ending.code), (Outcome::Lost, "not_stopped"), "it may go on");
    assert!(ending.reason.starts_with("stopped after its time limit of 30s (the job's `timeout`)"));
}

/// The end of a program that its executor stopped because it was left alone.
fn unheard() -> Ending {
    let (code, reason) = ("unheard".to_owned(), "no answer of the controller".to_owned());
    Ending { code, reason, exit_code: Some(143), ..ending(Outcome::Lost) }
}

#[test]
fn limits_of_what_a_silent_holder_has_wait_for_its_word_or_its_loss() {
    let limits =
        Terms { start_timeout_ms: Some(20_000), timeout_ms: Some(30_000), ..Terms::default() };
    for is_lost in [false, true] {
        let mut view = queue();
        submit_under(&mut view, 1, limits.clone());
        submit_under(&mut view, 2, limits.clone());
        let held = poll(&mut view, &[], at(0));
        for lease in &held {
            report(&mut view, *lease, Report::Prepared("thing".to_owned()));
        }
        report(&mut view, held[1], Report::Running);
        view.expire(&name(0), Session(1));
        for second in (20..900).step_by(10) {
            assert_eq!(view.tick(at(second)).changes, [], "at {second}");
        }
        if is_lost {
            assert_eq!(view.lose(&name(0), Session(1), at(900)).len(), 2);
            continue;
        }
        view.attend(Session(1), &held).unwrap();
        let done = end(&mut view, held[1], Outcome::Succeeded, 900);
        assert_eq!(done.attempt.outcome(), Some(Outcome::Succeeded), "it ended in time");
        view.tick(at(980));
        assert_eq!(
            view.live(id(1)).unwrap().attempt.late,
            Some(Late::Start),
            "it is counted again"
        );
    }
}

#[test]
fn what_began_at_the_last_moment_and_is_not_stopped_may_run_on() {
    let mut view = queue();
    submit_under(&mut view, 1, Terms { start_timeout_ms: Some(20_000), ..Terms::default() });
    let held = poll(&mut view, &[], at(0));
    report(&mut view, held[0], Report::Prepared("thing".to_owned()));
    view.tick(at(20));
    report(&mut view, held[0], Report::Running);
    view.tick(at(90));
    assert_eq!(view.live(id(1)).unwrap().attempt.ending, Some(Outcome::Lost));
}

/// It was told by nobody whom it could hear, so it says what it knows.
#[test]
fn what_was_to_be_stopped_and_was_stopped_for_silence_ends_as_it_was_to() {
    let terms = Terms { rerun_lost: true, timeout_ms: Some(30_000), ..Terms::default() };
    let ends_as = |change: &dyn Fn(&mut View)| {
        let mut view = queue();
        submit_under(&mut view, 1, terms.clone());
        let lease = running(&mut view, 0);
        change(&mut view);
        view.report(Session(1), lease, Report::Ended(unheard()), at(200)).unwrap();
        view.sealed(lease, 3, "", at(200)).unwrap();
        view.live(id(1)).map(|record| record.number.0)
    };
    assert_eq!(ends_as(&|_| ()), Some(2), "nobody wanted it stopped: it is run again");
    let cancelled = |view: &mut View| {
        view.cancel(id(1), "ada", at(2)).unwrap();
    };
    assert_eq!(ends_as(&cancelled), None, "it was cancelled");
    let late = |view: &mut View| {
        view.tick(at(150));
    };
    assert_eq!(ends_as(&late), None, "its time was over");
}

#[test]
fn a_time_limit_is_named_with_who_set_it() {
    let mut view = queue();
    let offer = ExecutorTerms { timeout_ms: Some(5_400_000), ..ExecutorTerms::default() };
    view.join(Join { offer, ..join(0, 1, 2) }, at(0));
    submit_under(&mut view, 1, Terms::default());
    let lease = running(&mut view, 0);
    let done = end(&mut view, lease, Outcome::TimedOut, 5400);
    assert_eq!(
        done.why_ended().1,
        "stopped after its time limit of 90m (`job_active_deadline_seconds` of executor executor-0)"
    );
}

#[test]
fn what_waits_for_too_long_fails_and_says_what_it_waited_for() {
    let mut view = View::load(LIMITS, Vec::new(), Vec::new(), at(0));
    let own = Own { start_within_ms: Some(10_000), ..Own::default() };
    let terms = Terms { queue_timeout_ms: Some(60_000), own, ..Terms::default() };
    submit_under(&mut view, 1, terms);
    assert_eq!(view.tick(at(9)).changes, []);
    let changes = view.tick(at(10)).changes;
    let [Change::Done(done)] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!(done.attempt.outcome(), Some(Outcome::Failed));
    let (code, reason) = done.why_ended();
    assert_eq!(code, "not_started");
    assert_eq!(
        reason,
        "no executor began it within 10s (`--start-within` of this execution): \
         no executor has registered: start one with `executor start`"
    );
}

#[test]
fn a_forced_cancel_waits_for_nobody_and_frees_the_place() {
    let mut view = queue();
    view.join(join(0, 1, 1), at(0));
    submit(&mut view, 1);
    submit(&mut view, 2);
    let lease = running(&mut view, 0);
    view.heard(Session(1), at(5).at);
    view.expire(&name(0), Session(1));
    let forced = view.force(id(1), "ada", at(30)).unwrap();
    let ending = forced.record.ending.clone().unwrap();
    assert_eq!(ending.outcome, Outcome::Cancelled);
    assert_eq!(
        ending.reason,
        "cancelled, unconfirmed: executor executor-0 silent since 1970-01-01T00:00:05Z, \
         and what runs there may go on"
    );
    let cut = forced.cut.unwrap();
    assert!(matches!(view.sealed(cut.lease, 0, &cut.why, at(30)), Some(Change::Done(_))));
    view.attend(Session(1), &[lease]).unwrap();
    assert_eq!(poll(&mut view, &[lease], at(31)).len(), 1, "its place is free");
    let late =
        view.report(Session(1), lease, Report::Ended(super::ending(Outcome::Succeeded)), at(32));
    assert_eq!(late, Ok(Reported::AskHistory));
    let refused = Verdict::from_history(&forced.record, lease, &Report::Running);
    assert!(matches!(refused, Verdict::Superseded(_)));
}

#[test]
fn pending_says_which_labels_nobody_has_and_whose_bound_it_waits_for() {
    let mut view = queue();
    let labels = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    view.join(Join { labels: labels(&[("zone", "eu")]), ..join(0, 1, 2) }, at(0));
    let why = |view: &View, number| view.why(view.live(id(number)).unwrap());
    let own = Own { on: labels(&[("gpu", "yes"), ("zone", "eu")]), ..Own::default() };
    submit_under(&mut view, 1, Terms { own, ..Terms::default() });
    let nobody = "no executor has the label `gpu=yes`: see `octavius executors -o wide`";
    assert_eq!(why(&view, 1), nobody);
    view.join(Join { labels: labels(&[("gpu", "yes")]), ..join(1, 2, 2) }, at(0));
    assert_eq!(why(&view, 1), "no executor has all of these labels: `gpu=yes`, `zone=eu`");

    for number in 2..=4 {
        submit_under(&mut view, number, Terms { concurrency: 1, ..Terms::default() });
    }
    assert_eq!(poll(&mut view, &[], at(0)).len(), 1, "two places, and a bound of one");
    let bound = "waits for a place of its job: `concurrency` of job `greet` is 1, and so many run";
    assert_eq!(why(&view, 3), format!("{bound}; it is the next"));
    assert_eq!(why(&view, 4), format!("{bound}; one execution is before it"));
    let on = Own { on: labels(&[("executor", "executor-0")]), ..Own::default() };
    submit_under(&mut view, 5, Terms { own: on, ..Terms::default() });
    assert_eq!(view.poll(Session(2), 2, &[], at(0)).unwrap().grants, [], "it asks for the other");
    assert_eq!(poll(&mut view, &[], at(0)).len(), 2);
}
