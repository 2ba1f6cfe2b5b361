//! What the queue promises over any story, and single stories that are worth telling.

use super::*;
use crate::job_queue::{
    attempt::{Outcome, State},
    record::{Ending, Spec, Step},
};
use proptest::prelude::*;

const LIMITS: QueueLimits = QueueLimits {
    pending: 6,
    grants: 3,
    acknowledge_within: Duration::from_secs(30),
    log_within: Duration::from_secs(300),
    cancel_within: Duration::from_secs(60),
};

fn at(seconds: u64) -> Moment {
    let elapsed = Duration::from_secs(seconds);
    Moment { at: Timestamp::UNIX_EPOCH + elapsed, elapsed }
}

fn name(executor: u8) -> ExecutorId {
    format!("executor-{executor}").parse().unwrap()
}

fn id(number: u8) -> ExecutionId {
    ExecutionId::from_bytes([number; 16])
}

fn submission(number: u8, needs: Needs) -> Submission {
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
        timeout_ms: None,
    };
    Submission { id: id(number), spec, request_id: None, notes: Vec::new() }
}

fn join(executor: u8, session: u64, capacity: usize) -> Join {
    let runner = if executor == 0 { RunnerKind::Process } else { RunnerKind::Kubernetes };
    Join { executor: name(executor), session: Session(session), runner, capacity }
}

fn ending(outcome: Outcome) -> Ending {
    Ending {
        outcome,
        code: "exit_code".to_owned(),
        reason: "the program exited".to_owned(),
        exit_code: Some(0),
        log: Some((3, 7)),
        log_cut: String::new(),
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

fn poll(view: &mut View, held: &[LeaseName], now: Moment) -> Vec<LeaseName> {
    let polled = view.poll(Session(1), 5, held, now).unwrap();
    polled.grants.into_iter().map(|grant| grant.lease).collect()
}

fn report(view: &mut View, lease: LeaseName, report: Report) -> Reported {
    view.report(Session(1), lease, report, at(1)).unwrap()
}

fn recorded(reported: &Reported) -> bool {
    matches!(reported, Reported::Verdict(_, Verdict::Recorded))
}

#[derive(Clone, Debug, proptest_derive::Arbitrary)]
enum Happening {
    #[proptest(weight = 4)]
    Submit(bool),
    #[proptest(weight = 6)]
    Poll(#[proptest(strategy = "0..2u8")] u8, #[proptest(strategy = "1..4usize")] usize),
    #[proptest(weight = 5)]
    Attend(#[proptest(strategy = "0..2u8")] u8),
    #[proptest(weight = 4)]
    Prepared(#[proptest(strategy = "0..4usize")] usize),
    #[proptest(weight = 4)]
    Running(#[proptest(strategy = "0..4usize")] usize),
    #[proptest(weight = 4)]
    Ended(#[proptest(strategy = "0..4usize")] usize, Outcome),
    Sealed(#[proptest(strategy = "0..4usize")] usize),
    Cancel(#[proptest(strategy = "0..4usize")] usize),
    Expire(#[proptest(strategy = "0..2u8")] u8),
    Lose(#[proptest(strategy = "0..2u8")] u8),
    Rejoin(#[proptest(strategy = "0..2u8")] u8),
    Pass(#[proptest(strategy = "0..100u64")] u64),
    Reload,
}

/// A queue, what its store holds, and a clock.
struct Story {
    view: View,
    disk: BTreeMap<ExecutionId, Record>,
    sessions: [u64; 2],
    last_session: u64,
    submitted: u8,
    seconds: u64,
    /// In the order in which they were granted for the first time.
    first_grants: Vec<(Needs, ExecutionId)>,
}

impl Story {
    fn begin() -> Self {
        let mut view = View::load(LIMITS, Vec::new(), Vec::new(), at(0));
        view.join(join(0, 1, 2), at(0));
        view.join(join(1, 2, 2), at(0));
        Self {
            view,
            disk: BTreeMap::new(),
            sessions: [1, 2],
            last_session: 2,
            submitted: 0,
            seconds: 0,
            first_grants: Vec::new(),
        }
    }

    fn keep(&mut self, changes: Vec<Change>) {
        for change in changes {
            let (Change::Live(record) | Change::Done(record)) = change else { continue };
            if record.attempt.state == State::Leased(Epoch(1))
                && self.disk[&record.id].attempt.held().is_none()
            {
                self.first_grants.push((record.needs, record.id));
            }
            self.disk.insert(record.id, *record);
        }
    }

    fn lease(&self, index: usize) -> Option<(Session, LeaseName)> {
        let held: Vec<_> =
            self.view.newest_first().filter(|r| r.attempt.held().is_some()).collect();
        let record = held.get(index)?;
        let lease = LeaseName { attempt: record.attempt_id(), epoch: record.attempt.held()? };
        Some((self.view.session_of(record.executor.as_ref()?)?, lease))
    }

    fn report(&mut self, index: usize, report: Report) {
        let now = at(self.seconds);
        let Some((session, lease)) = self.lease(index) else { return };
        match self.view.report(session, lease, report, now) {
            Ok(Reported::Verdict(changes, _) | Reported::Seal(changes, _)) => self.keep(changes),
            Ok(Reported::AskHistory | Reported::NotKnown) | Err(_) => {}
        }
    }

    fn step(&mut self, step: Happening) {
        let now = at(self.seconds);
        match step {
            Happening::Submit(images) => {
                let needs = if images { Needs::Images } else { Needs::Any };
                if let Ok((record, _)) = self.view.submit(submission(self.submitted, needs), now) {
                    self.disk.insert(record.id, record);
                    self.submitted += 1;
                }
            }
            Happening::Poll(executor, free) => {
                let session = Session(self.sessions[usize::from(executor)]);
                if let Ok(polled) = self.view.poll(session, free, &[], now) {
                    self.keep(polled.changes);
                }
            }
            Happening::Attend(executor) => {
                let session = Session(self.sessions[usize::from(executor)]);
                let _ = self.view.attend(session, &[]);
            }
            Happening::Prepared(index) => {
                self.report(index, Report::Prepared(format!("thing-{index}")));
            }
            Happening::Running(index) => self.report(index, Report::Running),
            Happening::Ended(index, outcome) => self.report(index, Report::Ended(ending(outcome))),
            Happening::Sealed(index) => {
                if let Some((_, lease)) = self.lease(index) {
                    let done = self.view.sealed(lease, 3, "", now);
                    self.keep(done.into_iter().collect());
                }
            }
            Happening::Cancel(index) => {
                let live = self.view.newest_first().nth(index).map(|record| record.id);
                if let Some(cancelled) = live.and_then(|id| self.view.cancel(id, "ada", now)) {
                    self.keep(cancelled.changes);
                }
            }
            Happening::Expire(executor) => {
                let session = Session(self.sessions[usize::from(executor)]);
                self.view.expire(&name(executor), session);
            }
            Happening::Lose(executor) => {
                let session = Session(self.sessions[usize::from(executor)]);
                let changes = self.view.lose(&name(executor), session, now);
                self.keep(changes);
            }
            Happening::Rejoin(executor) => {
                self.last_session += 1;
                self.sessions[usize::from(executor)] = self.last_session;
                self.view.join(join(executor, self.last_session, 2), now);
            }
            Happening::Pass(seconds) => {
                self.seconds += seconds;
                let ticked = self.view.tick(at(self.seconds));
                self.keep(ticked.changes);
                for cut in ticked.cuts {
                    let done = self.view.sealed(cut.lease, 0, &cut.why, at(self.seconds));
                    self.keep(done.into_iter().collect());
                }
            }
            Happening::Reload => {
                let live = self.disk.values().filter(|record| record.attempt.outcome().is_none());
                let joins = [0, 1].map(|n: u8| join(n, self.sessions[usize::from(n)], 2));
                self.view = View::load(LIMITS, live.cloned().collect(), joins.to_vec(), now);
            }
        }
    }
}

proptest! {
    /// P1, P3: what the store was told is all that there is, after every step.
    #[test]
    fn the_view_is_what_the_store_was_told(steps in prop::collection::vec(any::<Happening>(), 0..60)) {
        let mut story = Story::begin();
        for step in steps {
            story.step(step);
            let live = story.disk.values().filter(|record| record.attempt.outcome().is_none());
            let live: Vec<&Record> = live.rev().collect();
            let seen: Vec<&Record> = story.view.newest_first().collect();
            prop_assert_eq!(seen, live);
            prop_assert_eq!(story.view.check(), Ok(()));
        }
    }

    /// P6: nobody holds more than it has places, and no more wait than the bound says.
    #[test]
    fn places_and_the_queue_are_bounded(steps in prop::collection::vec(any::<Happening>(), 0..60)) {
        let mut story = Story::begin();
        for step in steps {
            let submits = matches!(step, Happening::Submit(_));
            let before = story.view.waiting();
            story.step(step);
            prop_assert!(!submits || story.view.waiting() <= LIMITS.pending.max(before));
            for executor in [0, 1] {
                let occupied = story.view.newest_first().filter(|record| {
                    record.attempt.occupies() && record.executor == Some(name(executor))
                });
                prop_assert!(occupied.count() <= 2);
            }
        }
    }

    /// First come, first served, among those that need the same.
    #[test]
    fn first_grants_are_in_the_order_of_submission(steps in prop::collection::vec(any::<Happening>(), 0..60)) {
        let mut story = Story::begin();
        for step in steps {
            story.step(step);
        }
        for needs in [Needs::Any, Needs::Images] {
            let of = story.first_grants.iter().filter(|(what, _)| *what == needs);
            let granted: Vec<_> = of.map(|(_, id)| *id).collect();
            prop_assert!(granted.is_sorted(), "{needs:?} were granted in the order {granted:?}");
        }
    }
}

/// A property that seldom leaves the start proves little: this says how often it gets there.
#[test]
fn the_stories_get_to_their_ends() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut ran, mut ended, mut granted) = (0, 0, 0);
    for _ in 0..200 {
        let steps = prop::collection::vec(any::<Happening>(), 40..60);
        let mut story = Story::begin();
        for step in steps.new_tree(&mut runner).unwrap().current() {
            story.step(step);
        }
        let any = |wanted: fn(&Record) -> bool| u32::from(story.disk.values().any(wanted));
        ran += any(|record| record.history.iter().any(|(step, _)| *step == Step::Running));
        ended += any(|record| record.attempt.outcome().is_some());
        granted += u32::from(story.first_grants.len() > 2);
    }
    assert!(
        ran > 80 && ended > 90 && granted > 80,
        "of 200: {ran} ran, {ended} ended, {granted} granted three"
    );
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
    assert!(!view.has_work_for(Session(1)));
    let sealing = report(&mut view, held[0], Report::Ended(ending(Outcome::Succeeded)));
    assert!(matches!(sealing, Reported::Seal(_, _)));
    assert!(view.has_work_for(Session(1)));
    assert_eq!(view.live(id(1)).unwrap().attempt.outcome(), None, "final only with its log");
    let done = view.sealed(held[0], 3, "", at(2));
    assert!(matches!(done, Some(Change::Done(record)) if record.log_size == 3));
}

#[test]
fn a_log_that_does_not_arrive_is_cut_with_the_reason() {
    let mut view = queue();
    submit(&mut view, 1);
    let lease = poll(&mut view, &[], at(0))[0];
    report(&mut view, lease, Report::Prepared("thing".to_owned()));
    report(&mut view, lease, Report::Running);
    report(&mut view, lease, Report::Ended(ending(Outcome::Succeeded)));
    assert_eq!(view.tick(at(300)).cuts, []);
    let cuts = view.tick(at(301)).cuts;
    assert_eq!(cuts[0].lease, lease);
    assert!(cuts[0].why.contains("300s"), "{}", cuts[0].why);
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
    assert!(!view.has_work_for(Session(1)));
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
    submit(&mut view, 2);
    submit(&mut view, 3);
    poll(&mut view, &[], at(0));
    assert_eq!(why(&view, 3), "waits for a free place of 1; 1 executions are before it");
    view.expire(&name(0), Session(1));
    assert!(why(&view, 3).contains("silent"));
}
