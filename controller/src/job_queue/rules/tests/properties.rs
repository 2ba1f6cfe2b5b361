//! What the queue promises over any story.

use super::*;
use crate::job_queue::record::Step;
use proptest::prelude::*;

#[derive(Clone, Debug, proptest_derive::Arbitrary)]
enum Happening {
    #[proptest(weight = 8)]
    Submit(bool),
    #[proptest(weight = 12)]
    Poll(#[proptest(strategy = "0..2u8")] u8, #[proptest(strategy = "1..4usize")] usize),
    #[proptest(weight = 8)]
    Attend(#[proptest(strategy = "0..2u8")] u8),
    #[proptest(weight = 9)]
    Prepared(#[proptest(strategy = "0..4usize")] usize),
    #[proptest(weight = 9)]
    Running(#[proptest(strategy = "0..4usize")] usize),
    #[proptest(weight = 6)]
    Ended(#[proptest(strategy = "0..4usize")] usize, Outcome),
    #[proptest(weight = 2)]
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
        let held: Vec<_> = self
            .view
            .newest_first(Span::default())
            .filter(|r| r.attempt.held().is_some())
            .collect();
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
                let live =
                    self.view.newest_first(Span::default()).nth(index).map(|record| record.id);
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
            let seen: Vec<&Record> = story.view.newest_first(Span::default()).collect();
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
                let occupied = story.view.newest_first(Span::default()).filter(|record| {
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
        ran > 70 && ended > 60 && granted > 100,
        "of 200: {ran} ran, {ended} ended, {granted} granted three"
    );
}
