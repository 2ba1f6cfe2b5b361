//! What the queue promises over any story.

use super::*;
use crate::{
    job_queue::{
        record::{Afterwards, Step},
        rules::lines::Demand,
    },
    registry::{RetryOn, RetryPolicy},
};
use octavius_protocol::id::JobName;
use proptest::prelude::*;

#[derive(Clone, Debug, proptest_derive::Arbitrary)]
enum Happening {
    #[proptest(weight = 8)]
    Submit(bool, Asked),
    #[proptest(weight = 12)]
    Poll(#[proptest(strategy = "0..2u8")] u8, #[proptest(strategy = "1..4usize")] usize),
    #[proptest(weight = 8)]
    Attend(#[proptest(strategy = "0..2u8")] u8),
    #[proptest(weight = 9)]
    Prepared(#[proptest(strategy = "0..4usize")] usize),
    #[proptest(weight = 6)]
    Starting(#[proptest(strategy = "0..4usize")] usize, #[proptest(strategy = "0..3usize")] usize),
    #[proptest(weight = 9)]
    Running(#[proptest(strategy = "0..4usize")] usize),
    #[proptest(weight = 3)]
    Unseen(#[proptest(strategy = "0..4usize")] usize, #[proptest(strategy = "0..3usize")] usize),
    #[proptest(weight = 9)]
    Ended(#[proptest(strategy = "0..4usize")] usize, Outcome),
    /// Who held what was given up as lost says how it ended, and its log comes to its end or not.
    #[proptest(weight = 4)]
    Afterwards(#[proptest(strategy = "0..3usize")] usize, Outcome, bool),
    #[proptest(weight = 8)]
    Sealed(#[proptest(strategy = "0..4usize")] usize),
    #[proptest(weight = 4)]
    Cancel(#[proptest(strategy = "0..4usize")] usize),
    Force(#[proptest(strategy = "0..4usize")] usize),
    Expire(#[proptest(strategy = "0..2u8")] u8),
    Lose(#[proptest(strategy = "0..2u8")] u8),
    Rejoin(#[proptest(strategy = "0..2u8")] u8),
    #[proptest(weight = 5)]
    Pass(#[proptest(strategy = "seconds()")] u64),
    #[proptest(weight = 3)]
    Reload,
}

/// Often less than a limit, now and then more than any.
fn seconds() -> impl Strategy<Value = u64> {
    prop_oneof![3 => 0..40u64, 1 => 100..200u64]
}

/// What an execution asks for besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, proptest_derive::Arbitrary)]
enum Asked {
    #[proptest(weight = 3)]
    Nothing,
    /// Three attempts, after pauses of up to ten seconds.
    #[proptest(weight = 5)]
    Tries,
    /// Half a minute to start, a minute in the queue and to run.
    #[proptest(weight = 3)]
    Limits,
    /// At most one at once.
    Alone,
    /// The executor of this number.
    On(#[proptest(strategy = "0..3u8")] u8),
}

const START: Duration = Duration::from_secs(20);
const QUEUE: Duration = Duration::from_secs(60);
const TRIES: u32 = 3;
/// What attempts wait for.
const WORDS: [&str; 3] = ["", "a node", "an image"];

fn asking(number: u8, needs: Needs, asked: Asked) -> Submission {
    let ms = |time: Duration| Some(time.as_millis() as u64);
    let plain = submission(number, needs);
    let terms = match asked {
        Asked::Nothing => Terms::default(),
        Asked::Tries => {
            let on = [RetryOn::Failed, RetryOn::Lost, RetryOn::StartTimeout].into();
            Terms { retry: Some(RetryPolicy { on, ..RetryPolicy::of(TRIES) }), ..Terms::default() }
        }
        Asked::Limits => Terms {
            start_timeout_ms: ms(START),
            queue_timeout_ms: ms(QUEUE),
            timeout_ms: ms(QUEUE),
            ..Terms::default()
        },
        Asked::Alone => Terms { concurrency: 1, ..Terms::default() },
        Asked::On(executor) => {
            let selector = [("executor".to_owned(), name(executor).to_string())].into();
            Terms { selector, ..Terms::default() }
        }
    };
    let job = if asked == Asked::Alone { "alone".parse().unwrap() } else { plain.spec.job.clone() };
    Submission { spec: Spec { job, ..plain.spec }, terms: terms.into(), ..plain }
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
    first_grants: Vec<((Demand, JobName), ExecutionId)>,
    /// Whose end somebody was promised.
    promised: BTreeSet<ExecutionId>,
    /// How often each attempt began to run.
    ran: BTreeMap<AttemptId, u32>,
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
            promised: BTreeSet::new(),
            ran: BTreeMap::new(),
        }
    }

    fn keep(&mut self, changes: Vec<Change>) {
        for change in changes {
            let (Change::Live(record) | Change::Done(record)) = change else { continue };
            let was = &self.disk[&record.id];
            let first = record.attempt.state == State::Leased(Epoch(1)) && record.number.0 == 1;
            if first && was.attempt.held().is_none() {
                self.first_grants.push(((Demand::of(&record), record.job.clone()), record.id));
            }
            let runs = |record: &Record| matches!(record.attempt.state, State::Running(_));
            if runs(&record) && !(runs(was) && was.number == record.number) {
                *self.ran.entry(record.attempt_id()).or_default() += 1;
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
            Ok(
                Reported::Verdict(changes, _)
                | Reported::Seal(changes, _)
                | Reported::Afterwards(changes, _),
            ) => self.keep(changes),
            Ok(Reported::AskHistory | Reported::NotKnown) | Err(_) => {}
        }
    }

    /// The leases of what was given up as lost, and who held it.
    fn given_up(&self) -> Vec<(ExecutorId, LeaseName)> {
        let of = |record: &Record| {
            let execution = record.id;
            let earlier = record.earlier.clone().into_iter().filter_map(move |earlier| {
                let attempt = AttemptId { execution, attempt: earlier.number };
                Some((earlier.executor?, LeaseName { attempt, epoch: earlier.given_up? }))
            });
            let lost = record.attempt.ending == Some(Outcome::Lost);
            let newest = lost.then(|| {
                let lease =
                    LeaseName { attempt: record.attempt_id(), epoch: record.attempt.newest() };
                Some((record.executor.clone()?, lease))
            });
            earlier.chain(newest.flatten()).collect::<Vec<_>>()
        };
        self.view.newest_first(Span::default()).flat_map(of).collect()
    }

    fn afterwards(&mut self, index: usize, outcome: Outcome, log_is_over: bool) {
        let Some((executor, lease)) = self.given_up().into_iter().nth(index) else { return };
        let Some(session) = self.view.session_of(&executor) else { return };
        let report = Report::Ended(ending(outcome));
        let reported = self.view.report(session, lease, report, at(self.seconds));
        match reported {
            Ok(Reported::Afterwards(changes, _)) => self.keep(changes),
            Ok(Reported::Verdict(..) | Reported::Seal(..)) => {}
            other => panic!("{other:?}"),
        }
        let newest = self.view.live(lease.attempt.execution).map(Record::attempt_id);
        if log_is_over && newest != Some(lease.attempt) {
            let over = self.view.log_over_afterwards(lease, &executor, Some((3, "")));
            self.keep(over.unwrap_or_default());
        }
    }

    fn step(&mut self, step: Happening) {
        let now = at(self.seconds);
        match step {
            Happening::Submit(images, asked) => {
                let needs = if images { Needs::Images } else { Needs::Any };
                let submission = asking(self.submitted, needs, asked);
                if let Ok(submitted) = self.view.submit(submission, now) {
                    self.disk.insert(submitted.record.id, submitted.record);
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
            Happening::Starting(index, words) => {
                self.report(index, Report::Starting(WORDS[words].to_owned()));
            }
            Happening::Running(index) => self.report(index, Report::Running),
            Happening::Unseen(index, words) => {
                self.report(index, Report::Unseen(WORDS[words].to_owned()));
            }
            Happening::Ended(index, outcome) => self.report(index, Report::Ended(ending(outcome))),
            Happening::Afterwards(index, outcome, log_is_over) => {
                self.afterwards(index, outcome, log_is_over);
            }
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
                    self.promised.insert(cancelled.record.id);
                    self.keep(cancelled.changes);
                }
            }
            Happening::Force(index) => {
                let live =
                    self.view.newest_first(Span::default()).nth(index).map(|record| record.id);
                if let Some(forced) = live.and_then(|id| self.view.force(id, "ada", now)) {
                    self.promised.insert(forced.record.id);
                    self.keep(forced.changes);
                    if let Some(cut) = forced.cut {
                        let done = self.view.sealed(cut.lease, 0, &cut.why, now);
                        self.keep(done.into_iter().collect());
                    }
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

    /// What an attempt is said to wait for moves nothing, and is of those alone that somebody holds.
    #[test]
    fn words_move_nothing(steps in prop::collection::vec(any::<Happening>(), 0..100)) {
        let mut story = Story::begin();
        for step in steps {
            let says = matches!(step, Happening::Starting(..));
            let was = story.view.clone();
            story.step(step);
            for record in story.disk.values() {
                let held = record.attempt.held().is_some();
                prop_assert!(held || record.waits_for.is_empty(), "{record:?}");
                if let Some(was) = was.live(record.id).filter(|_| says) {
                    let same = Record { waits_for: was.waits_for.clone(), ..record.clone() };
                    prop_assert_eq!(was, &same);
                }
            }
        }
    }

    /// P3: what becomes known of a lost attempt later moves nothing, and the first word stands.
    #[test]
    fn what_becomes_known_later_moves_nothing(steps in prop::collection::vec(any::<Happening>(), 0..150)) {
        let known = |record: &Record| {
            let earlier = record.earlier.iter().map(|earlier| earlier.afterwards.clone());
            earlier.chain([record.afterwards.clone()]).collect::<Vec<_>>()
        };
        let without = |record: &Record| {
            let mut record = record.clone();
            record.afterwards = None;
            for earlier in &mut record.earlier {
                (earlier.afterwards, earlier.log_size, earlier.log_cut) = (None, 0, String::new());
            }
            record
        };
        let mut story = Story::begin();
        for step in steps {
            let says = matches!(step, Happening::Afterwards(..));
            let was = story.view.clone();
            story.step(step);
            for record in was.newest_first(Span::default()).filter(|_| says) {
                let now = story.view.live(record.id).expect("it is live as before");
                prop_assert_eq!(without(record), without(now));
                for (was, now) in known(record).into_iter().zip(known(now)) {
                    let word = |known: Option<Box<Afterwards>>| known.map(|known| known.ending);
                    prop_assert!(was.is_none() || word(was) == word(now));
                }
            }
            prop_assert_eq!(was.waiting(), if says { story.view.waiting() } else { was.waiting() });
        }
    }

    /// P6: nobody holds more than it has places, and no more wait than the bound says.
    #[test]
    fn places_and_the_queue_are_bounded(steps in prop::collection::vec(any::<Happening>(), 0..60)) {
        let mut story = Story::begin();
        for step in steps {
            let submits = matches!(step, Happening::Submit(..));
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
        let wants: BTreeSet<_> = story.first_grants.iter().map(|(wants, _)| wants).collect();
        for wants in wants {
            let of = story.first_grants.iter().filter(|(what, _)| what == wants);
            let granted: Vec<_> = of.map(|(_, id)| *id).collect();
            prop_assert!(granted.is_sorted(), "{wants:?} were granted in the order {granted:?}");
        }
    }

    /// P2: there are as many attempts as were asked for, each runs once, and what somebody wants to end gets no other.
    #[test]
    fn there_are_no_more_attempts_than_asked_for(steps in prop::collection::vec(any::<Happening>(), 100..400)) {
        let mut story = Story::begin();
        for step in steps {
            let promised: Vec<Record> =
                story.promised.iter().map(|id| story.disk[id].clone()).collect();
            story.step(step);
            for was in promised {
                let now = &story.disk[&was.id];
                prop_assert!(now.number == was.number, "{was:?} was to end, and became {now:?}");
            }
            for record in story.disk.values() {
                let most = record.terms.retry.as_ref().map_or(1, |policy| policy.attempts);
                prop_assert!(record.number.0 <= most);
                prop_assert_eq!(record.earlier.len() as u32 + 1, record.number.0);
            }
            prop_assert!(story.ran.values().all(|times| *times == 1), "{:?}", story.ran);
        }
    }

    /// An execution is where it may be: nobody is granted what asks for other labels, or beyond its job's bound.
    #[test]
    fn what_is_asked_of_an_executor_is_kept(steps in prop::collection::vec(any::<Happening>(), 0..100)) {
        let mut story = Story::begin();
        for step in steps {
            story.step(step);
            let occupied = || story.view.newest_first(Span::default()).filter(|record| record.attempt.occupies());
            prop_assert!(occupied().filter(|record| record.terms.concurrency == 1).count() <= 1);
            for record in occupied() {
                let wanted = record.terms.selector.get("executor");
                let holder = record.executor.as_ref().map(ToString::to_string);
                prop_assert!(wanted.is_none_or(|wanted| Some(wanted) == holder.as_ref()));
            }
        }
    }

    /// Nothing waits beyond its limit once somebody has looked at the clock, but what is with somebody who was silent
    /// meanwhile: that has the time of silence.
    #[test]
    fn no_limit_is_passed_in_silence(steps in prop::collection::vec(any::<Happening>(), 100..400)) {
        let mut story = Story::begin();
        let mut silent = BTreeSet::new();
        for step in steps {
            let looked = matches!(step, Happening::Pass(_));
            story.step(step);
            let deaf = story.view.newest_first(Span::default()).filter(|record| {
                let seat = record.executor.as_ref().and_then(|holder| story.view.seats.get(holder));
                record.attempt.held().is_some() && !seat.is_some_and(|seat| seat.ready)
            });
            silent.extend(deaf.map(Record::attempt_id));
            if !looked {
                continue;
            }
            let now = at(story.seconds).at;
            for record in story.view.newest_first(Span::default()).filter(|record| record.terms.queue_timeout_ms.is_some()) {
                let of = |wanted: Step| record.history.iter().rfind(|(step, _)| *step == wanted);
                let lasts = |since: Option<&(Step, Timestamp)>| {
                    since.map_or(Duration::ZERO, |(_, at)| now.duration_since(*at).unsigned_abs())
                };
                match record.attempt.state {
                    // Whose grant was taken back with this very look comes due with the next.
                    State::Pending { .. } if lasts(record.history.last()).is_zero() => {}
                    State::Pending { .. } => prop_assert!(lasts(record.history.first()) < QUEUE, "{record:?}"),
                    _ if silent.contains(&record.attempt_id()) => {}
                    State::Leased(_) | State::Starting(_) if !record.attempt.cancelling => {
                        let known = record.attempt.late.is_some() || record.attempt.ending.is_some();
                        let most = match record.runner {
                            Some(RunnerKind::Kubernetes) => START + LIMITS.stop_within,
                            _ => START,
                        };
                        prop_assert!(known || lasts(of(Step::Leased)) < most, "{record:?}");
                    }
                    State::Running(_) if !record.attempt.cancelling => {
                        let known = record.attempt.late.is_some() || record.attempt.ending.is_some();
                        prop_assert!(known || lasts(of(Step::Running)) < QUEUE + LIMITS.stop_within, "{record:?}");
                    }
                    _ => {}
                }
            }
        }
    }
}

/// A property that seldom leaves the start proves little: this says how often it gets there.
#[test]
fn the_stories_get_to_their_ends() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut ran, mut ended, mut granted, mut again, mut late) = (0, 0, 0, 0, 0);
    let (mut waited, mut later) = (0, 0);
    for _ in 0..200 {
        let steps = prop::collection::vec(any::<Happening>(), 80..100);
        let mut story = Story::begin();
        let mut waits = false;
        for step in steps.new_tree(&mut runner).unwrap().current() {
            story.step(step);
            waits |= story.disk.values().any(|record| !record.waits_for.is_empty());
        }
        waited += u32::from(waits);
        let any = |wanted: fn(&Record) -> bool| u32::from(story.disk.values().any(wanted));
        ran += any(|record| record.history.iter().any(|(step, _)| *step == Step::Running));
        ended += any(|record| record.attempt.outcome().is_some());
        again += any(|record| record.number.0 > 1);
        late += any(|record| {
            let codes = ["start_timeout", "not_started", "timeout"];
            record.ending.as_ref().is_some_and(|ending| codes.contains(&&*ending.code))
        });
        later += any(|record| {
            let earlier = record.earlier.iter().any(|earlier| earlier.afterwards.is_some());
            earlier || record.afterwards.is_some()
        });
        granted += u32::from(story.first_grants.len() > 2);
    }
    assert!(
        ran > 70
            && ended > 60
            && granted > 100
            && again > 10
            && late > 20
            && waited > 60
            && later > 0,
        "of 200: {ran} ran, {ended} ended, {granted} granted three, {again} tried again, {late} were late, \
         {waited} waited for something, {later} had more that was known later"
    );
}
