//! Single stories of the queue that are worth telling; what it promises over any story is in `properties`.

mod afterwards;
mod order;
mod properties;
mod retain;
mod terms;
mod waits;

use super::*;
use crate::job_queue::{
    attempt::{Late, Outcome, State},
    record::{Ending, Spec},
    terms::{Own, Terms},
};

pub(in crate::job_queue) const LIMITS: QueueLimits = QueueLimits {
    pending: 6,
    pending_of_team: 5,
    ageing: Duration::from_secs(600),
    grants: 3,
    acknowledge_within: Duration::from_secs(30),
    log_within: Duration::from_secs(300),
    cancel_within: Duration::from_secs(60),
    stop_within: Duration::from_secs(70),
    unheard_within: Duration::from_secs(450),
};

pub(in crate::job_queue) fn at(seconds: u64) -> Moment {
    let elapsed = Duration::from_secs(seconds);
    Moment { at: Timestamp::UNIX_EPOCH + elapsed, elapsed }
}

/// Whether a parked call of this session would be called.
pub(in crate::job_queue) fn is_called(view: &View, session: Session) -> bool {
    let mut parked = Parked::default();
    parked.park(view, session).unwrap();
    !parked.call(view, Duration::ZERO).is_empty()
}

fn name(executor: u8) -> ExecutorId {
    format!("executor-{executor}").parse().unwrap()
}

pub(in crate::job_queue) fn id(number: u8) -> ExecutionId {
    ExecutionId::from_bytes([number; 16])
}

pub(in crate::job_queue) fn submission(number: u8, needs: Needs) -> Submission {
    let command = match needs {
        Needs::Any => vec!["true".to_owned()],
        Needs::Images => Vec::new(),
    };
    let spec = Spec {
        job: "greet".parse().unwrap(),
        job_uid: String::new(),
        job_version: 1,
        user: "ada".to_owned(),
        image_name: "hello-world".to_owned(),
        command,
        arguments: BTreeMap::new(),
        hidden: Default::default(),
        timeout_ms: None,
        defaulted: Default::default(),
        again: None,
        namespace: None,
        resources: None,
        kubernetes: String::new(),
        own: Default::default(),
    };
    let terms = Default::default();
    Submission {
        id: id(number),
        spec,
        terms,
        concurrency_key: None,
        require_executor: false,
        request_id: None,
    }
}

pub(in crate::job_queue) fn join(executor: u8, session: u64, capacity: usize) -> Join {
    let runner = if executor == 0 { RunnerKind::Process } else { RunnerKind::Kubernetes };
    let (labels, offer) = (BTreeMap::new(), ExecutorTerms::default());
    Join {
        executor: name(executor),
        session: Session(session),
        runner,
        capacity,
        labels,
        offer,
        drained: false,
    }
}

fn ending(outcome: Outcome) -> Ending {
    Ending {
        outcome,
        code: "exit_code".to_owned(),
        reason: "the program exited".to_owned(),
        exit_code: Some(0),
        log: Some((3, 7)),
        log_cut: String::new(),
        note: String::new(),
    }
}

/// A queue with one process executor that was heard.
fn queue() -> View {
    let mut view = View::load(LIMITS, Vec::new(), Vec::new(), at(0));
    view.join(join(0, 1, 2), at(0));
    view
}

fn submit(view: &mut View, number: u8) {
    view.submit(submission(number, Needs::Any), at(0)).unwrap();
}

pub(in crate::job_queue) fn poll(
    view: &mut View,
    held: &[LeaseName],
    now: Moment,
) -> Vec<LeaseName> {
    let polled = view.poll(Session(1), 5, held, now).unwrap();
    polled.grants.into_iter().map(|grant| grant.lease).collect()
}

fn report(view: &mut View, lease: LeaseName, report: Report) -> Reported {
    view.report(Session(1), lease, report, at(1)).unwrap()
}

fn recorded(reported: &Reported) -> bool {
    matches!(reported, Reported::Verdict(_, Verdict::Recorded))
}

#[test]
fn a_grant_is_repeated_until_it_is_named() {
    let mut view = queue();
    submit(&mut view, 1);
    let granted = poll(&mut view, &[], at(0));
    assert_eq!(granted.len(), 1);
    assert_eq!(poll(&mut view, &[], at(1)), granted, "the answer was lost");
    assert_eq!(view.attend(Session(1), &[]).unwrap().grants.len(), 1);
    assert_eq!(poll(&mut view, &granted, at(2)), []);
    assert!(view.attend(Session(1), &granted).unwrap().grants.is_empty());
}

#[test]
fn a_grant_that_nobody_takes_goes_back_and_its_old_holder_is_refused() {
    let mut view = queue();
    submit(&mut view, 1);
    let old = poll(&mut view, &[], at(0))[0];
    assert_eq!(view.tick(at(29)).changes, []);
    assert_eq!(view.tick(at(30)).changes.len(), 1);
    let new = poll(&mut view, &[], at(31))[0];
    assert_eq!(new.epoch, Epoch(2));
    let refused = report(&mut view, old, Report::Prepared("thing".to_owned()));
    assert!(matches!(refused, Reported::Verdict(_, Verdict::Superseded(_))), "{refused:?}");
    let orders = view.attend(Session(1), &[old]).unwrap().orders;
    assert_eq!(orders[0].kind, OrderKind::Release);
    // Who lacks secrets gets those of what it holds.
    let again = |session, lease| view.granted_again(Session(session), &[lease]).len();
    assert_eq!((again(1, new), again(1, old), again(2, new)), (1, 0, 0));
}

#[test]
fn a_second_thing_for_the_same_attempt_is_refused() {
    let mut view = queue();
    submit(&mut view, 1);
    let lease = poll(&mut view, &[], at(0))[0];
    assert!(recorded(&report(&mut view, lease, Report::Prepared("first".to_owned()))));
    assert!(recorded(&report(&mut view, lease, Report::Prepared("first".to_owned()))));
    let second = report(&mut view, lease, Report::Prepared("second".to_owned()));
    assert!(matches!(second, Reported::Verdict(_, Verdict::Superseded(_))));
}

#[test]
fn an_end_frees_its_place_before_its_log_is_here() {
    let mut view = queue();
    for number in 1..=3 {
        submit(&mut view, number);
    }
    let held = poll(&mut view, &[], at(0));
    assert_eq!(held.len(), 2, "two places");
    report(&mut view, held[0], Report::Prepared("thing".to_owned()));
    report(&mut view, held[0], Report::Running);
    assert!(!is_called(&view, Session(1)));
    let sealing = report(&mut view, held[0], Report::Ended(ending(Outcome::Succeeded)));
    assert!(matches!(sealing, Reported::Seal(_, _)));
    assert!(is_called(&view, Session(1)));
    assert_eq!(view.live(id(1)).unwrap().attempt.outcome(), None, "final only with its log");
    let done = view.sealed(held[0], 3, "", at(2));
    assert!(matches!(done, Some(Change::Done(record)) if record.log_size == 3));
}

/// Its holder may find out only afterwards that it cannot read the rest of the log.
#[test]
fn an_end_may_be_said_again_with_a_log_that_is_cut_and_never_with_another_one() {
    let mut view = queue();
    submit(&mut view, 1);
    let lease = poll(&mut view, &[], at(0))[0];
    report(&mut view, lease, Report::Prepared("thing".to_owned()));
    report(&mut view, lease, Report::Running);
    let first = ending(Outcome::Succeeded);
    report(&mut view, lease, Report::Ended(first.clone()));
    let silent = Ending { log: Some((2, 5)), ..first.clone() };
    let refused = report(&mut view, lease, Report::Ended(silent.clone()));
    assert!(matches!(refused, Reported::Verdict(_, Verdict::Superseded(_))), "{refused:?}");
    let cut = Ending { log_cut: "the disk was taken away".to_owned(), ..silent };
    let sealing = report(&mut view, lease, Report::Ended(cut.clone()));
    assert!(
        matches!(sealing, Reported::Seal(changes, ending) if changes.len() == 1 && ending == cut)
    );
    let more = Ending { log: Some((3, 9)), ..cut.clone() };
    let sealing = report(&mut view, lease, Report::Ended(more.clone()));
    assert!(matches!(sealing, Reported::Seal(_, ending) if ending == more), "it found more of it");
    let all = Ending { log: Some((5, 1)), log_cut: String::new(), ..cut.clone() };
    let sealing = report(&mut view, lease, Report::Ended(all.clone()));
    assert!(matches!(sealing, Reported::Seal(_, ending) if ending == all), "and all of it");
    let failed = Ending { outcome: Outcome::Failed, ..cut };
    let refused = report(&mut view, lease, Report::Ended(failed));
    assert!(matches!(refused, Reported::Verdict(_, Verdict::Superseded(_))), "{refused:?}");
}

#[test]
fn a_log_that_does_not_arrive_is_cut_with_the_reason() {
    let (mut view, lease) = ended();
    assert_eq!(view.tick(at(300)).cuts, []);
    let cuts = view.tick(at(301)).cuts;
    assert_eq!(cuts[0].lease, lease);
    assert_eq!(cuts[0].why, "the rest of the log did not arrive within 5m");
    assert_eq!(view.tick(at(302)).cuts, cuts, "until it is cut");
}

/// An executor that is away for good must not keep an execution from ending by the controller's being restarted.
#[test]
fn the_wait_for_a_log_goes_on_over_restarts() {
    let (view, lease) = ended();
    let record = view.live(id(1)).unwrap().clone();
    let restarted = |wall: u64| {
        let now = Moment { elapsed: Duration::ZERO, ..at(wall) };
        View::load(LIMITS, vec![record.clone()], vec![join(0, 1, 2)], now)
    };
    let after = |seconds: u64| Moment { elapsed: Duration::from_secs(seconds), ..at(0) };
    let mut view = restarted(201);
    assert_eq!(view.tick(after(99)).cuts, []);
    assert_eq!(view.tick(after(100)).cuts[0].lease, lease);
    // It was over before, but nobody could bring the log while no controller was there.
    let mut view = restarted(5000);
    assert_eq!(view.tick(after(59)).cuts, []);
    assert_eq!(view.tick(after(60)).cuts.len(), 1);
    let mut view = restarted(0);
    assert_eq!(
        view.tick(after(299)).cuts,
        [],
        "a clock that was set back adds nothing to the limit"
    );
    assert_eq!(view.tick(after(300)).cuts.len(), 1);
}

/// A queue with one execution, whose end was reported at the first second and whose log is not here.
fn ended() -> (View, LeaseName) {
    let mut view = queue();
    submit(&mut view, 1);
    let lease = poll(&mut view, &[], at(0))[0];
    report(&mut view, lease, Report::Prepared("thing".to_owned()));
    report(&mut view, lease, Report::Running);
    report(&mut view, lease, Report::Ended(ending(Outcome::Succeeded)));
    (view, lease)
}

#[test]
fn silence_ends_new_work_at_once_and_attempts_only_when_the_executor_is_lost() {
    let mut view = queue();
    for number in 1..=3 {
        submit(&mut view, number);
    }
    let held = poll(&mut view, &[], at(0));
    report(&mut view, held[0], Report::Prepared("thing".to_owned()));
    view.expire(&name(0), Session(1));
    assert!(!is_called(&view, Session(1)));
    assert!(view.why(view.live(id(1)).unwrap()).contains("silent"));
    view.lose(&name(0), Session(1), at(900));
    let cuts = view.tick(at(900)).cuts;
    assert_eq!(cuts.len(), 1, "what was prepared");
    let done = view.sealed(cuts[0].lease, 0, &cuts[0].why, at(900)).unwrap();
    let Change::Done(record) = done else { panic!("{done:?}") };
    assert_eq!(record.attempt.outcome(), Some(Outcome::Lost));
    assert_eq!(view.live(id(2)).unwrap().attempt.state, State::Pending { last: Epoch(1) });
}

#[test]
fn a_cancel_is_confirmed_by_the_holder_or_after_its_silence() {
    let mut view = queue();
    submit(&mut view, 1);
    let lease = poll(&mut view, &[], at(0))[0];
    report(&mut view, lease, Report::Prepared("thing".to_owned()));
    report(&mut view, lease, Report::Running);
    let cancelled = view.cancel(id(1), "ada", at(10)).unwrap();
    assert_eq!((cancelled.changes.len(), cancelled.wake), (1, Some(Session(1))));
    assert_eq!(view.cancel(id(1), "ada", at(11)).unwrap().changes, [], "asked for already");
    let attended = view.attend(Session(1), &[lease]).unwrap();
    assert_eq!((attended.orders[0].kind, attended.news), (OrderKind::Stop, true));
    assert!(!view.attend(Session(1), &[lease]).unwrap().news, "it is told once at once");
    assert_eq!(view.tick(at(90)).cuts, [], "the executor is heard: nobody decides for it");
    view.expire(&name(0), Session(1));
    view.tick(at(90));
    let cuts = view.tick(at(90)).cuts;
    let Some(Change::Done(record)) = view.sealed(lease, 0, &cuts[0].why, at(90)) else { panic!() };
    assert_eq!(record.attempt.outcome(), Some(Outcome::Cancelled));
    assert!(record.why_ended().1.contains("unconfirmed"));
}

#[test]
fn who_only_polls_gets_nothing_new_after_it_expired() {
    let mut view = queue();
    submit(&mut view, 1);
    view.expire(&name(0), Session(1));
    assert_eq!(poll(&mut view, &[], at(0)), []);
    view.attend(Session(1), &[]).unwrap();
    assert_eq!(poll(&mut view, &[], at(0)).len(), 1);
}

#[test]
fn who_is_drained_keeps_what_it_holds_and_gets_nothing_new() {
    let mut view = queue();
    submit(&mut view, 1);
    let held = poll(&mut view, &[], at(0));
    submit(&mut view, 2);
    view.drain(&name(0), true);
    assert_eq!(poll(&mut view, &held, at(0)), []);
    assert!(!is_called(&view, Session(1)));
    let why = |view: &View| view.why(view.live(id(2)).unwrap());
    assert!(why(&view).contains("silent or drained"), "{}", why(&view));
    let candidates = view.explain(id(2)).unwrap().0;
    assert!(candidates[0].words.contains("undrain"), "{candidates:?}");
    report(&mut view, held[0], Report::Prepared("thing".to_owned()));
    assert!(recorded(&report(&mut view, held[0], Report::Running)));
    // A new session of it is drained as well.
    view.join(Join { drained: true, ..join(0, 2, 2) }, at(0));
    assert_eq!(view.poll(Session(2), 5, &held, at(0)).unwrap().grants, []);
    view.drain(&name(0), false);
    assert!(is_called(&view, Session(2)));
    assert_eq!(view.poll(Session(2), 5, &held, at(0)).unwrap().grants.len(), 1);
}

#[test]
fn who_cannot_see_its_cluster_is_not_called_free() {
    let mut view = queue();
    submit(&mut view, 1);
    view.sees(Session(1), "pods cannot be seen: forbidden".to_owned());
    let candidate = |view: &View| view.explain(id(1)).unwrap().0.remove(0);
    assert_eq!(candidate(&view).nearness, Nearness::Away);
    assert_eq!(candidate(&view).words, "takes no new work: pods cannot be seen: forbidden");
    let why = |view: &View| view.why(view.live(id(1)).unwrap());
    assert!(why(&view).contains("cannot see its cluster"), "{}", why(&view));
    view.sees(Session(1), String::new());
    assert_eq!(candidate(&view).nearness, Nearness::Free);
    // Another that sees takes it.
    view.sees(Session(1), "pods cannot be seen: forbidden".to_owned());
    view.join(join(1, 2, 3), at(0));
    assert_eq!(why(&view), "waits for a free place of 3; it is the next");
}

/// A store that was restored from a backup must not end what it has forgotten.
#[test]
fn who_knows_of_a_newer_grant_than_the_store_is_left_alone() {
    let mut view = queue();
    submit(&mut view, 1);
    let known = poll(&mut view, &[], at(0))[0];
    let newer = LeaseName { epoch: Epoch(2), ..known };
    assert_eq!(report(&mut view, newer, Report::Running), Reported::NotKnown);
    assert_eq!(view.holds(Session(1), newer), Ok(None));
    let attended = view.attend(Session(1), &[newer]).unwrap();
    assert_eq!((attended.orders.len(), attended.unknown), (0, vec![newer]));
}

#[test]
fn pending_says_what_it_waits_for() {
    let mut view = View::load(LIMITS, Vec::new(), Vec::new(), at(0));
    view.submit(submission(1, Needs::Images), at(0)).unwrap();
    let why = |view: &View, number| view.why(view.live(id(number)).unwrap());
    assert!(why(&view, 1).contains("no executor has registered"));
    view.join(join(0, 1, 1), at(0));
    assert!(why(&view, 1).contains("no executor runs images"));
    for number in 2..=5 {
        submit(&mut view, number);
    }
    poll(&mut view, &[], at(0));
    // The first one wants what nobody here has: it is in nobody's way.
    assert_eq!(why(&view, 3), "waits for a free place of 1; it is the next");
    assert_eq!(why(&view, 4), "waits for a free place of 1; one execution is before it");
    assert_eq!(why(&view, 5), "waits for a free place of 1; 2 executions are before it");
    view.expire(&name(0), Session(1));
    assert!(why(&view, 3).contains("silent"));
}
