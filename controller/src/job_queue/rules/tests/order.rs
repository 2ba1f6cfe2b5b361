//! In which order executions are served, and what their jobs' limits do to them.

mod by_the_book;
mod clocks;

use super::*;
use crate::registry::{OnLimit, RetryPolicy};
use octavius_protocol::id::JobName;
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner},
};
use std::sync::Arc;

const AGEING: Duration = Duration::from_secs(600);
const LIMITS: QueueLimits =
    QueueLimits { pending: 200, pending_of_team: 100, grants: 1, ageing: AGEING, ..super::LIMITS };

/// What an execution of these stories is: which job, of which team, and how urgent.
#[derive(Clone, Debug)]
struct Kind {
    job: &'static str,
    team: &'static str,
    priority: u8,
    concurrency: u32,
    key: Option<&'static str>,
    on_limit: OnLimit,
    tries: u32,
    on: Option<(&'static str, &'static str)>,
}

const PLAIN: Kind = Kind {
    job: "plain",
    team: "",
    priority: 5,
    concurrency: 0,
    key: None,
    on_limit: OnLimit::Queue,
    tries: 1,
    on: None,
};

/// A queue and its clocks. Executors have places of their own, and labels.
struct Fleet {
    view: View,
    seconds: u64,
    /// How far the wall clock is ahead.
    ahead: Duration,
    last_id: ExecutionId,
}

impl Fleet {
    fn of(executors: &[(u8, usize, &'static str)]) -> Self {
        let mut view = View::load(LIMITS, Vec::new(), Vec::new(), at(0));
        for (number, capacity, zone) in executors {
            let labels = [("zone".to_owned(), (*zone).to_owned())].into();
            let session = u64::from(*number) + 1;
            view.join(Join { labels, ..join(*number, session, *capacity) }, at(0));
        }
        Self { view, seconds: 0, ahead: Duration::ZERO, last_id: ExecutionId::first_at(0) }
    }

    fn now(&self) -> Moment {
        let steady = at(self.seconds);
        Moment { at: steady.at + self.ahead, ..steady }
    }

    fn submit(&mut self, kind: &Kind) -> Result<Submitted, SubmitRefused> {
        let milliseconds = self.now().at.as_millisecond().unsigned_abs();
        self.last_id = self.last_id.successor().unwrap().max(ExecutionId::first_at(milliseconds));
        let terms = Terms {
            concurrency: kind.concurrency,
            on_limit: kind.on_limit,
            retry: Some(RetryPolicy::of(kind.tries)),
            team: kind.team.into(),
            priority: Some(kind.priority),
            selector: kind.on.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect(),
            ..Terms::default()
        };
        let plain = submission(0, Needs::Any);
        let job: JobName = kind.job.parse().unwrap();
        let submission = Submission {
            id: self.last_id,
            spec: Spec { job, ..plain.spec },
            terms: terms.into(),
            concurrency_key: kind.key.map(Arc::from),
            ..plain
        };
        self.view.submit(submission, self.now())
    }

    fn add(&mut self, kind: &Kind) -> ExecutionId {
        self.submit(kind).unwrap().record.id
    }

    /// What an executor gets, if it gets anything.
    fn next(&mut self, executor: u8) -> Option<LeaseName> {
        let session = Session(u64::from(executor) + 1);
        let held = self.view.seats[&name(executor)].holds.iter();
        let held = held.map(|id| {
            let record = self.view.live(*id).unwrap();
            LeaseName { attempt: record.attempt_id(), epoch: record.attempt.held().unwrap() }
        });
        let held: Vec<_> = held.collect();
        let polled = self.view.poll(session, 1, &held, self.now()).unwrap();
        assert!(polled.grants.len() <= 1);
        polled.grants.first().map(|grant| grant.lease)
    }

    fn ends(&mut self, executor: u8, lease: LeaseName) {
        self.ends_as(Outcome::Succeeded, executor, lease);
    }

    fn ends_as(&mut self, outcome: Outcome, executor: u8, lease: LeaseName) {
        let session = Session(u64::from(executor) + 1);
        let now = self.now();
        let prepared = Report::Prepared("made".to_owned());
        let ended = Report::Ended(ending(outcome));
        for report in [prepared, Report::Running, ended] {
            self.view.report(session, lease, report, now).unwrap();
        }
        self.view.sealed(lease, 3, "", now).unwrap();
    }
}

#[test]
fn who_has_the_higher_priority_is_served_first_and_who_waits_gains_some() {
    let mut fleet = Fleet::of(&[(0, 9, "a")]);
    let usual = fleet.add(&PLAIN);
    let low = fleet.add(&Kind { priority: 4, ..PLAIN });
    let high = fleet.add(&Kind { priority: 6, ..PLAIN });
    let order = |fleet: &mut Fleet, count| -> Vec<_> {
        (0..count).map(|_| fleet.next(0).unwrap().attempt.execution).collect()
    };
    assert_eq!(order(&mut fleet, 2), [high, usual]);
    // A little before its time is up the newer one is served first, and after that the older.
    fleet.seconds = AGEING.as_secs() - 1;
    let next = fleet.add(&PLAIN);
    assert_eq!(order(&mut fleet, 1), [next]);
    fleet.seconds = AGEING.as_secs() + 1;
    let later = fleet.add(&PLAIN);
    assert_eq!(order(&mut fleet, 2), [low, later]);
}

#[test]
fn teams_that_want_more_than_there_is_get_the_same() {
    let mut fleet = Fleet::of(&[(0, 8, "a")]);
    let (first, second) = (Kind { team: "a", ..PLAIN }, Kind { team: "b", ..PLAIN });
    for _ in 0..20 {
        fleet.add(&first);
    }
    let leases: Vec<_> = (0..8).map(|_| fleet.next(0).unwrap()).collect();
    fleet.seconds = 60;
    for _ in 0..20 {
        fleet.add(&second);
    }
    let places = |fleet: &Fleet, team: &str| fleet.view.lines.places_of(&team.into());
    assert_eq!((places(&fleet, "a"), places(&fleet, "b")), (8, 0), "there was nobody else");
    // What ends makes room for those that have less, until they have as much.
    for (lease, shares) in leases.iter().zip([(7, 1), (6, 2), (5, 3), (4, 4), (4, 4)]) {
        fleet.ends(0, *lease);
        fleet.next(0).unwrap();
        assert_eq!((places(&fleet, "a"), places(&fleet, "b")), shares);
    }
    // Of a third one that is alone with its wish nobody takes a place.
    let third = fleet.add(&Kind { team: "c", priority: 0, ..PLAIN });
    fleet.ends(0, leases[5]);
    assert_eq!(fleet.next(0).unwrap().attempt.execution, third);
}

/// A team whose work elsewhere takes many places gets its turn here, too.
#[test]
fn no_team_waits_for_ever_because_it_has_much_elsewhere() {
    let mut fleet = Fleet::of(&[(0, 5, "a"), (1, 1, "b")]);
    let busy = Kind { team: "busy", on: Some(("zone", "a")), ..PLAIN };
    for _ in 0..5 {
        fleet.add(&busy);
        fleet.next(0).unwrap();
    }
    let waiting = fleet.add(&Kind { on: Some(("zone", "b")), ..busy });
    let small = Kind { team: "small", on: Some(("zone", "b")), ..PLAIN };
    for _ in 0..50 {
        fleet.add(&small);
    }
    let mut served = 0;
    loop {
        let lease = fleet.next(1).unwrap();
        if lease.attempt.execution == waiting {
            break;
        }
        fleet.seconds += 120;
        fleet.ends(1, lease);
        served += 1;
    }
    // It has five places more, each of which is worth ten minutes: others come at once, and every two minutes until then.
    assert_eq!(served, 5 * 10 / 2, "others came before it");
}

/// What a team waited for alone, or behind itself, nobody took from it.
#[test]
fn a_team_that_comes_to_old_wishes_of_another_gets_as_much_at_once() {
    let executors: Vec<_> = (0..20).map(|number| (number, 1, "a")).collect();
    let mut fleet = Fleet::of(&executors);
    let (old, new) = (Kind { team: "old", ..PLAIN }, Kind { team: "new", ..PLAIN });
    for _ in 0..90 {
        fleet.add(&old);
    }
    let mut leases: Vec<_> = (0..20).map(|executor| fleet.next(executor).unwrap()).collect();
    fleet.seconds = 24 * 3_600;
    for _ in 0..60 {
        fleet.add(&new);
    }
    let places = |fleet: &Fleet, team: &str| fleet.view.lines.places_of(&team.into());
    for round in 0..3 {
        for executor in 0..20 {
            fleet.seconds += 10;
            fleet.ends(executor, leases[usize::from(executor)]);
            leases[usize::from(executor)] = fleet.next(executor).unwrap();
            let (had, gets) = (places(&fleet, "old"), places(&fleet, "new"));
            match round {
                0 => assert_eq!(gets, (usize::from(executor) + 1).min(10), "{had} are old"),
                _ => assert!(gets.abs_diff(had) <= 2, "{gets} to {had}"),
            }
        }
    }
}

/// Of two of the first kind one waits for the other, in these words; one of the other kind passes.
fn one_waits_and_others_pass(limited: &Kind, unlimited: &Kind, words: &str) {
    let mut fleet = Fleet::of(&[(0, 9, "a")]);
    let (first, second) = (fleet.add(limited), fleet.add(limited));
    let other = fleet.add(unlimited);
    let lease = fleet.next(0).unwrap();
    assert_eq!(lease.attempt.execution, first);
    assert_eq!(fleet.next(0).unwrap().attempt.execution, other);
    assert_eq!(fleet.next(0), None);
    assert_eq!(fleet.view.why(fleet.view.live(second).unwrap()), words);
    fleet.ends(0, lease);
    assert_eq!(fleet.next(0).unwrap().attempt.execution, second);
}

#[test]
fn what_a_job_limits_waits_and_lets_others_pass() {
    let one = Kind { job: "one", concurrency: 1, ..PLAIN };
    let words = "waits for a place of its job: `concurrency` of job `one` is 1, and so many run; it is the next";
    one_waits_and_others_pass(&one, &PLAIN, words);
}

#[test]
fn of_one_key_one_runs_at_a_time_and_of_others_others() {
    let on = |key| Kind { job: "deploy", key: Some(key), ..PLAIN };
    let words = "waits for a place of its job: `concurrency_key` of job `deploy` lets one at a time run with `host=a`, and one does; it is the next";
    one_waits_and_others_pass(&on("`host=a`"), &on("`host=b`"), words);
}

#[test]
fn beyond_a_limit_a_job_may_refuse() {
    let mut fleet = Fleet::of(&[(0, 9, "a")]);
    let refusing = Kind { job: "one", concurrency: 1, on_limit: OnLimit::Refuse, ..PLAIN };
    fleet.add(&refusing);
    let refused = fleet.submit(&refusing).unwrap_err();
    let SubmitRefused::AtLimit(limit) = refused else { panic!("{refused:?}") };
    assert_eq!(limit.to_string(), "`concurrency` of job `one` is 1");
    let lease = fleet.next(0).unwrap();
    assert!(fleet.submit(&refusing).is_err());
    fleet.ends(0, lease);
    fleet.add(&refusing);
    let keyed = Kind { job: "two", key: Some("`a=1`"), on_limit: OnLimit::Refuse, ..PLAIN };
    fleet.add(&keyed);
    assert!(fleet.submit(&keyed).is_err());
    fleet.add(&Kind { key: Some("`a=2`"), ..keyed });
}

#[test]
fn beyond_a_limit_a_newer_one_may_take_the_place_of_those_that_wait() {
    let mut fleet = Fleet::of(&[(0, 9, "a")]);
    let replacing = Kind { job: "one", concurrency: 1, on_limit: OnLimit::Replace, ..PLAIN };
    let runs = fleet.add(&replacing);
    fleet.next(0).unwrap();
    let waits = fleet.add(&replacing);
    let submitted = fleet.submit(&replacing).unwrap();
    let [Change::Done(replaced)] = &submitted.replaced[..] else { panic!("{submitted:?}") };
    assert_eq!((replaced.id, replaced.attempt.outcome()), (waits, Some(Outcome::Cancelled)));
    let (code, why) = replaced.why_ended();
    assert_eq!(code, "replaced");
    let by = submitted.record.id;
    assert_eq!(why, format!("execution {by} took its place: `on_limit` of job `one` is `replace`"));
    assert!(fleet.view.live(runs).is_some(), "what runs goes on");
    assert_eq!(fleet.view.waiting(), 1);
    assert_eq!(fleet.view.check(), Ok(()));
}

/// Who waits to be tried again is older than what comes now, and would run behind it.
#[test]
fn what_waits_to_be_tried_again_is_at_the_limit_too() {
    let mut fleet = Fleet::of(&[(0, 9, "a")]);
    let replacing = Kind { tries: 2, key: Some("`a=1`"), on_limit: OnLimit::Replace, ..PLAIN };
    let failed = fleet.add(&replacing);
    let lease = fleet.next(0).unwrap();
    fleet.ends_as(Outcome::Failed, 0, lease);
    assert_eq!((fleet.view.pausing(), fleet.view.waiting()), (1, 0));
    let refusing = Kind { on_limit: OnLimit::Refuse, ..replacing };
    assert!(matches!(fleet.submit(&refusing), Err(SubmitRefused::AtLimit(_))));
    let submitted = fleet.submit(&replacing).unwrap();
    let [Change::Done(replaced)] = &submitted.replaced[..] else { panic!("{submitted:?}") };
    assert_eq!((replaced.id, replaced.why_ended().0.as_str()), (failed, "replaced"));
    assert_eq!((fleet.view.pausing(), fleet.view.waiting()), (0, 1));
    assert_eq!(fleet.view.check(), Ok(()));
}

#[test]
fn a_team_fills_no_more_of_the_queue_than_its_part() {
    let mut fleet = Fleet::of(&[(0, 1, "a")]);
    let team = Kind { team: "a", ..PLAIN };
    for _ in 0..LIMITS.pending_of_team {
        fleet.add(&team);
    }
    let refused = fleet.submit(&team).unwrap_err();
    assert_eq!(refused, SubmitRefused::TeamFull { team: "a".into(), limit: 100 });
    fleet.add(&Kind { team: "b", ..PLAIN });
}

/// A job that always fails is tried again a day later: the queue is not filled with what waits for that.
#[test]
fn what_waits_to_be_tried_again_is_of_its_teams_part() {
    let mut fleet = Fleet::of(&[(0, 1, "a")]);
    let failing = Kind { team: "a", tries: 2, ..PLAIN };
    for _ in 0..LIMITS.pending_of_team {
        fleet.add(&failing);
        let lease = fleet.next(0).unwrap();
        fleet.ends_as(Outcome::Failed, 0, lease);
    }
    assert_eq!((fleet.view.pausing(), fleet.view.waiting()), (LIMITS.pending_of_team, 0));
    let refused = fleet.submit(&failing).unwrap_err();
    assert_eq!(refused, SubmitRefused::TeamFull { team: "a".into(), limit: 100 });
    fleet.add(&Kind { team: "b", ..PLAIN });
    let ids = fleet.view.newest_first(Span::default()).map(|record| record.id);
    for id in ids.collect::<Vec<_>>() {
        fleet.view.cancel(id, "ada", at(fleet.seconds)).unwrap();
    }
    fleet.add(&failing);
    assert_eq!(fleet.view.check(), Ok(()));
}
