//! Every order of events, lost, late and repeated messages and crashes, over the real rules of the queue.
//!
//! The controller is [`View`] and a store, which confirms each decision when it likes: meanwhile others are made, and
//! a crash keeps those that had landed, which may be more than anybody heard of. An executor is the least that keeps the protocol: prepare, wait for
//! the acknowledgement, go. The network holds messages for as long as it likes and says them in any order or not at
//! all; what is not acknowledged is said again, so that each can come twice. What is bounded, so that all of it can be seen: executions, crashes, grants, messages on their way.

mod system;

use super::*;
use crate::job_queue::{
    attempt::{Outcome, State},
    record::{Change, Ending, Spec, Step},
    rules::{Grant, Heard, Join, OrderKind, Report, Reported, Submission, Verdict},
    terms::Terms,
};
use crate::registry::{OnLimit, RetryOn, RetryPolicy};
use stateright::{Checker, Model, Property};
use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};
use system::{Executor, Found, Message, Phase, System, Then, join, name, spec};

const NOW: Moment = Moment { at: Timestamp::UNIX_EPOCH, elapsed: Duration::ZERO };
/// Every wait is over at once: a tick may come at any time.
const LIMITS: QueueLimits = QueueLimits {
    pending: 10,
    pending_of_team: 10,
    ageing: Duration::from_secs(600),
    grants: 1,
    acknowledge_within: Duration::ZERO,
    log_within: Duration::ZERO,
    cancel_within: Duration::ZERO,
    stop_within: Duration::ZERO,
    unheard_within: Duration::ZERO,
};

#[derive(Clone, Copy, Debug)]
struct Bounds {
    executors: usize,
    executions: u8,
    controller_crashes: u8,
    executor_crashes: u8,
    epochs: u64,
    messages: usize,
    /// The most decisions on their way to the disk; 0: the store confirms at once.
    flying: usize,
    /// How often an execution is tried that fails or is lost.
    tries: u32,
    /// Whether an attempt may be late to start: else it takes any time.
    late: bool,
    /// Whether a log arrives later than its end, and may be cut, and its holder find more of it. Else it is there.
    cut_logs: bool,
    /// Whether people cancel executions.
    cancels: bool,
    /// What becomes of an execution that comes while another of the same key is there; none: there are no keys.
    on_limit: Option<OnLimit>,
    /// Whether all executions come before anything else happens, and programs that end by themselves succeed: which of
    /// two ways they end in, and in what order with all else they come, is looked at where there are fewer of them. And what
    /// is over for all is not told apart by how it ended.
    plain: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    Submit,
    Poll(usize),
    Attend(usize),
    Deliver(Message),
    Drop(Message),
    Repeat(usize),
    Exit(usize, AttemptId, Outcome, Found),
    /// Its holder finds more of a log that is not whole.
    Find(usize, AttemptId),
    /// What its holder has found of a log arrives.
    Append(usize, AttemptId),
    Cancel(ExecutionId),
    Tick,
    Lose(usize),
    /// The store confirms the oldest decision.
    Confirm,
    /// Of the decisions on their way, so many had landed.
    CrashController(usize),
    CrashExecutor(usize),
}

impl Model for Bounds {
    type State = System;
    type Action = Action;

    fn init_states(&self) -> Vec<System> {
        let mut view = View::load(LIMITS, Vec::new(), Vec::new(), NOW);
        let executors = (0..self.executors).map(|index| {
            let session = Session(index as u64 + 1);
            view.join(join(index, session), NOW);
            Executor { session, local: BTreeMap::new(), made: 0, crashes: 0 }
        });
        let executors = executors.collect();
        vec![System {
            view,
            disk: BTreeMap::new(),
            flying: VecDeque::new(),
            promised: BTreeSet::new(),
            sessions: self.executors as u64,
            executors,
            network: BTreeSet::new(),
            logs: BTreeMap::new(),
            closed: BTreeSet::new(),
            starts: BTreeMap::new(),
            finals: BTreeMap::new(),
            submitted: 0,
            crashes: 0,
            broken: None,
        }]
    }

    fn actions(&self, system: &System, actions: &mut Vec<Action>) {
        if system.submitted < self.executions {
            actions.push(Action::Submit);
            if self.plain {
                return;
            }
        }
        for executor in 0..self.executors {
            actions.extend([Action::Attend(executor), Action::Lose(executor)]);
            if system.executors[executor].local.is_empty() {
                actions.push(Action::Poll(executor));
            }
            if system.network.len() < self.messages {
                actions.push(Action::Repeat(executor));
            }
            for (attempt, local) in &system.executors[executor].local {
                if local.phase == Phase::Running {
                    let ends = [Outcome::Succeeded, Outcome::Failed, Outcome::Cancelled];
                    let possible = ends
                        .into_iter()
                        .filter(|outcome| *outcome != Outcome::Cancelled || local.stopped)
                        .filter(|outcome| *outcome != Outcome::Failed || !self.plain);
                    let exit = |outcome, found| Action::Exit(executor, *attempt, outcome, found);
                    for outcome in possible {
                        actions.push(exit(outcome, Found::Whole));
                        actions.extend(self.cut_logs.then(|| exit(outcome, Found::Some)));
                    }
                }
                if let Phase::Ended(_, found) = local.phase {
                    actions.push(Action::Append(executor, *attempt));
                    let more = matches!(found, Found::Some | Found::More);
                    actions.extend(more.then_some(Action::Find(executor, *attempt)));
                }
            }
            if system.executors[executor].crashes < self.executor_crashes {
                actions.push(Action::CrashExecutor(executor));
            }
        }
        for message in &system.network {
            actions.push(Action::Deliver(message.clone()));
            actions.push(Action::Drop(message.clone()));
        }
        let wishes =
            system.view.newest_first(Span::default()).filter(|record| !record.attempt.cancelling);
        let wishes = wishes.filter(|_| self.cancels);
        actions.extend(wishes.map(|record| Action::Cancel(record.id)));
        actions.push(Action::Tick);
        if !system.flying.is_empty() {
            actions.push(Action::Confirm);
        }
        if system.crashes < self.controller_crashes {
            actions.extend((0..=system.flying.len()).map(Action::CrashController));
        }
    }

    fn next_state(&self, last: &System, action: Action) -> Option<System> {
        let mut system = last.clone();
        match action {
            Action::Submit => {
                system.submitted += 1;
                let id = ExecutionId::from_bytes([system.submitted; 16]);
                let submission = Submission {
                    id,
                    spec: spec(),
                    terms: self.terms().into(),
                    concurrency_key: self.on_limit.map(|_| "`host=a`".into()),
                    require_executor: false,
                    request_id: None,
                };
                let submitted = system.view.submit(submission, NOW).ok()?;
                system.commit(submitted.changes, Then::Nothing);
                for replaced in submitted.replaced {
                    system.commit(vec![replaced], Then::Nothing);
                }
                let others =
                    || system.view.newest_first(Span::default()).filter(|record| record.id != id);
                let waits = |record: &Record| record.attempt.held().is_none();
                let is_there = |record: &Record| waits(record) || record.attempt.occupies();
                match self.on_limit {
                    Some(OnLimit::Replace) if others().any(waits) => {
                        system.broken = Some("one was left that another took the place of");
                    }
                    Some(OnLimit::Refuse) if others().any(is_there) => {
                        system.broken = Some("one was taken beyond a limit that refuses");
                    }
                    Some(_) | None => {}
                }
            }
            Action::Poll(executor) => {
                let held = system.held(executor);
                let session = system.executors[executor].session;
                let polled = system.view.poll(session, 1, &held, NOW).ok()?;
                let granted =
                    |Grant { lease, identity, .. }| Message::Granted(executor, lease, identity);
                let grants = polled.grants.into_iter().map(granted).collect();
                system.commit(polled.changes, Then::Send(grants));
            }
            Action::Attend(executor) => system.attend(executor),
            Action::Deliver(message) => {
                system.network.remove(&message);
                system.deliver(message);
            }
            Action::Drop(message) => {
                system.network.remove(&message);
            }
            Action::Repeat(executor) => {
                let reports = system.reports(executor);
                system.network.extend(reports);
            }
            Action::Exit(executor, attempt, outcome, found) => {
                let local = system.executors[executor].local.get_mut(&attempt)?;
                local.phase = Phase::Ended(outcome, found);
                if !self.cut_logs {
                    system.logs.insert(attempt, found.size());
                }
            }
            Action::Append(executor, attempt) => {
                let local = system.executors[executor].local.get_mut(&attempt)?;
                let Phase::Ended(outcome, found) = local.phase else { return None };
                if system.closed.contains(&attempt) {
                    // Nothing more of it is taken, and of what is cut nobody here knows more than that.
                    let found = if found == Found::Whole { found } else { Found::Nothing };
                    local.phase = Phase::Ended(outcome, found);
                } else {
                    system.logs.insert(attempt, found.size());
                }
            }
            Action::Find(executor, attempt) => {
                let local = system.executors[executor].local.get_mut(&attempt)?;
                let Phase::Ended(outcome, found) = local.phase else { return None };
                let more = if found == Found::Some { Found::More } else { Found::Whole };
                local.phase = Phase::Ended(outcome, more);
            }
            Action::Cancel(id) => {
                let cancelled = system.view.cancel(id, "ada", NOW)?;
                system.commit(cancelled.changes, Then::Promise(id));
            }
            Action::Tick => {
                let ticked = system.view.tick(NOW);
                for change in ticked.changes {
                    system.commit(vec![change], Then::Nothing);
                }
                for cut in ticked.cuts {
                    let done = system.view.sealed(cut.lease, 0, &cut.why, NOW);
                    system.commit(done.into_iter().collect(), Then::Nothing);
                }
            }
            Action::Lose(executor) => {
                let session = system.executors[executor].session;
                let changes = system.view.lose(&name(executor), session, NOW);
                for change in changes {
                    system.commit(vec![change], Then::Nothing);
                }
            }
            Action::Confirm => {
                let then = system.land()?;
                system.then(then);
            }
            Action::CrashController(landed) => {
                system.crashes += 1;
                for _ in 0..landed {
                    system.land();
                }
                system.flying.clear();
                let executors = system.executors.iter().enumerate();
                let joins = executors.map(|(index, executor)| join(index, executor.session));
                let joins = joins.collect();
                system.view = View::load(LIMITS, system.live_on_disk(), joins, NOW);
            }
            Action::CrashExecutor(executor) => {
                system.sessions += 1;
                let session = Session(system.sessions);
                system.executors[executor].crashes += 1;
                system.executors[executor].session = session;
                system.view.join(join(executor, session), NOW);
            }
        }
        while self.flying == 0 && !system.flying.is_empty() {
            let then = system.land()?;
            system.then(then);
        }
        if self.plain {
            system.forget_what_is_over();
        }
        (system != *last).then_some(system)
    }

    fn within_boundary(&self, system: &System) -> bool {
        let epochs = system.disk.values().all(|record| match record.attempt.state {
            State::Pending { last: epoch }
            | State::Leased(epoch)
            | State::Starting(epoch)
            | State::Running(epoch)
            | State::Ended { epoch, .. } => epoch.0 <= self.epochs,
        });
        epochs && system.network.len() <= self.messages && system.flying.len() <= self.flying
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::<Self>::always("P1: an end that was promised comes", |_, system| {
                system.promised.iter().all(|id| {
                    let record = &system.disk[id];
                    let attempt = record.attempt;
                    let last = record.number.0 >= record.max_attempts();
                    attempt.cancelling
                        || attempt.outcome().is_some()
                        || attempt.ending.is_some() && last
                })
            }),
            Property::<Self>::always("P2: no more attempts than asked for", |bounds, system| {
                let number = |record: &Record| record.number.0;
                system.disk.values().all(|record| number(record) <= bounds.tries)
                    && system.starts.keys().all(|attempt| attempt.attempt.0 <= bounds.tries)
            }),
            Property::<Self>::always("P2: no attempt is started twice", |_, system| {
                system.starts.values().all(|starts| *starts <= 1)
            }),
            Property::<Self>::always("of one key one takes a place", |bounds, system| {
                let places = |record: &&Record| record.attempt.occupies();
                bounds.on_limit.is_none()
                    || system.to_come().into_values().filter(places).count() <= 1
            }),
            Property::<Self>::always("P3: nothing that matters is only in memory", |_, system| {
                let to_come = system.to_come();
                let live =
                    to_come.into_values().filter(|record| record.attempt.outcome().is_none());
                system.view.newest_first(Span::default()).eq(live.rev())
            }),
            Property::<Self>::always(
                "P3: a final state never changes, and no rule breaks",
                |_, system| system.broken.is_none(),
            ),
            Property::<Self>::always("the view is in order", |_, system| {
                system.view.check().is_ok()
            }),
            Property::<Self>::always("nothing is stuck", |bounds, system| {
                !is_asked(system) || bounds.all_ends(system.clone())
            }),
            Property::<Self>::sometimes("one succeeds", |_, system| {
                system.finals.values().any(|outcome| *outcome == Outcome::Succeeded)
            }),
            Property::<Self>::sometimes("one is lost", |_, system| {
                system.finals.values().any(|outcome| *outcome == Outcome::Lost)
            }),
            Property::<Self>::sometimes("one that is lost is known later", |_, system| {
                let known = |record: &Record| {
                    let earlier = record.earlier.iter().any(|earlier| earlier.afterwards.is_some());
                    record.afterwards.is_some() || earlier
                };
                system.disk.values().any(known)
            }),
            Property::<Self>::sometimes("one is cancelled after it ran", |_, system| {
                let cancelled = |record: &Record| {
                    record.attempt.outcome() == Some(Outcome::Cancelled)
                        && record.history.iter().any(|(step, _)| *step == Step::Running)
                };
                system.disk.values().any(cancelled)
            }),
            Property::<Self>::sometimes("one succeeds by its second attempt", |_, system| {
                let second = |record: &Record| {
                    record.number.0 == 2 && record.attempt.outcome() == Some(Outcome::Succeeded)
                };
                system.disk.values().any(second)
            }),
            Property::<Self>::sometimes("one is replaced", |_, system| {
                let replaced = |record: &Record| {
                    record.ending.as_ref().is_some_and(|ending| ending.code == "replaced")
                };
                system.disk.values().any(replaced)
            }),
            Property::<Self>::sometimes(
                "one of a key succeeds behind another",
                |bounds, system| {
                    let succeeded = |outcome: &&Outcome| **outcome == Outcome::Succeeded;
                    bounds.on_limit.is_some()
                        && system.finals.values().filter(succeeded).count() > 1
                },
            ),
            Property::<Self>::sometimes("one fails because it is late", |_, system| {
                let late = |record: &Record| {
                    record.ending.as_ref().is_some_and(|ending| ending.code == "start_timeout")
                };
                system.disk.values().any(late)
            }),
            Property::<Self>::sometimes("one runs by its second grant", |_, system| {
                let again = State::Running(Epoch(2));
                system.disk.values().any(|record| record.attempt.state == again)
            }),
        ]
    }
}

/// Of how many states one is asked whether all ends from there: that takes as long as many others.
const ASKED: u64 = 16;
/// So many rounds of everybody doing what is theirs end what is there.
const ROUNDS: usize = 30;

fn is_asked(system: &System) -> bool {
    let mut hasher = DefaultHasher::new();
    system.hash(&mut hasher);
    hasher.finish().is_multiple_of(ASKED)
}

impl Bounds {
    /// Whether all that was submitted comes to its end, and leaves nothing, once nothing fails any more and everybody does
    /// what is theirs.
    fn all_ends(&self, mut system: System) -> bool {
        for _ in 0..ROUNDS {
            if system.is_at_rest() {
                return true;
            }
            self.settle(&mut system);
            for executor in 0..self.executors {
                for (attempt, local) in system.executors[executor].local.clone() {
                    let outcome =
                        if local.stopped { Outcome::Cancelled } else { Outcome::Succeeded };
                    let own: &[Action] = match local.phase {
                        Phase::Prepared => &[],
                        Phase::Running => &[Action::Exit(executor, attempt, outcome, Found::Whole)],
                        Phase::Ended(..) => {
                            &[Action::Find(executor, attempt), Action::Append(executor, attempt)]
                        }
                    };
                    own.iter().for_each(|action| self.take(&mut system, action.clone()));
                }
                for own in [Action::Repeat(executor), Action::Attend(executor)] {
                    self.take(&mut system, own);
                    self.settle(&mut system);
                }
                if !system.executors[executor].local.is_empty() {
                    continue;
                }
                // What it gets it takes notice of before its time for that is over.
                for own in
                    [Action::Poll(executor), Action::Repeat(executor), Action::Attend(executor)]
                {
                    self.take(&mut system, own);
                    self.settle(&mut system);
                }
            }
            self.take(&mut system, Action::Tick);
        }
        false
    }

    /// The store confirms, and messages arrive, until there are none.
    fn settle(&self, system: &mut System) {
        while !(system.flying.is_empty() && system.network.is_empty()) {
            match system.network.first().cloned() {
                Some(message) if system.flying.is_empty() => {
                    self.take(system, Action::Deliver(message));
                }
                Some(_) | None => self.take(system, Action::Confirm),
            }
        }
    }

    /// Does that, if it changes anything.
    fn take(&self, system: &mut System, action: Action) {
        if let Some(next) = self.next_state(system, action) {
            *system = next;
        }
    }

    fn terms(&self) -> Terms {
        let policy = RetryPolicy {
            pause_ms: 0,
            on: [RetryOn::Failed, RetryOn::Lost].into(),
            ..RetryPolicy::of(self.tries)
        };
        Terms {
            retry: Some(policy),
            start_timeout_ms: self.late.then_some(0),
            on_limit: self.on_limit.unwrap_or_default(),
            ..Terms::default()
        }
    }
}

/// How far to look.
#[derive(Clone, Copy)]
enum Look {
    /// At every state within the bounds: so many there are.
    AtAll(usize),
    /// At the nearest ones.
    AtNearest(usize),
}

/// Looks at states within the bounds. What is `reached` is, if all are looked at. Answers all that was.
fn check(bounds: Bounds, look: Look, reached: &[&'static str]) -> BTreeSet<&'static str> {
    let most = match look {
        Look::AtAll(_) => usize::MAX,
        Look::AtNearest(most) => most,
    };
    let builder = bounds.checker().threads(2).target_state_count(most);
    match look {
        // Whoever looks at the nearest ones first keeps all that are to be looked at: of very many that is too much.
        Look::AtNearest(usize::MAX) => judge(&bounds, look, reached, &builder.spawn_dfs().join()),
        Look::AtAll(_) | Look::AtNearest(_) => {
            judge(&bounds, look, reached, &builder.spawn_bfs().join())
        }
    }
}

/// What came of a look.
fn judge(
    bounds: &Bounds,
    look: Look,
    reached: &[&'static str],
    checker: &impl Checker<Bounds>,
) -> BTreeSet<&'static str> {
    let states = checker.unique_state_count();
    println!("{bounds:?}: {states} states, depth {}", checker.max_depth());
    for (name, path) in checker.discoveries() {
        assert!(name.starts_with("one "), "{name}:\n{path}");
    }
    let all = match look {
        Look::AtAll(_) => true,
        Look::AtNearest(most) => checker.state_count() < most,
    };
    for reached in reached {
        assert!(!all || checker.discovery(reached).is_some(), "in no order of events {reached}");
    }
    if let Look::AtAll(known) = look {
        assert_eq!(states, known, "the rules have changed: so has the number in docs/testing.md");
    }
    checker.discoveries().into_keys().collect()
}

/// What an order of events leads to in each system of one attempt that is searched to its end.
const USUAL: [&str; 4] = [
    "one succeeds",
    "one is lost",
    "one that is lost is known later",
    "one runs by its second grant",
];

/// How many states to look at where all are too many.
fn states(usual: usize) -> usize {
    match std::env::var("OCTAVIUS_MODEL_STATES").as_deref() {
        Ok("all") => usize::MAX,
        Ok(most) => most.parse().unwrap_or(usual),
        Err(_) => usual,
    }
}

const ONE: Bounds = Bounds {
    executors: 1,
    executions: 1,
    controller_crashes: 1,
    executor_crashes: 1,
    epochs: 2,
    messages: 1,
    flying: 1,
    tries: 1,
    late: false,
    cut_logs: false,
    cancels: true,
    on_limit: None,
    plain: false,
};

/// Several executions over several executors.
const PLAIN: Bounds = Bounds {
    executors: 2,
    controller_crashes: 0,
    executor_crashes: 0,
    epochs: 1,
    flying: 0,
    plain: true,
    ..ONE
};

#[test]
fn a_controller_that_crashes_before_and_after_each_commit_in_every_order() {
    check(Bounds { executor_crashes: 0, ..ONE }, Look::AtAll(30_351), &USUAL);
}

#[test]
fn an_executor_and_a_controller_that_crash_in_every_order() {
    check(Bounds { flying: 0, ..ONE }, Look::AtAll(50_388), &USUAL);
}

#[test]
fn a_log_that_is_cut_and_of_which_more_is_found_in_every_order() {
    let bounds = Bounds { executor_crashes: 0, epochs: 1, flying: 0, cut_logs: true, ..ONE };
    check(
        bounds,
        Look::AtAll(63_003),
        &["one succeeds", "one is lost", "one that is lost is known later"],
    );
}

#[test]
fn both_crash_and_commits_are_late_in_every_order_of_the_nearest_states() {
    check(ONE, Look::AtNearest(states(10_000)), &USUAL);
}

#[test]
fn a_second_attempt_in_every_order() {
    let calm = Bounds { controller_crashes: 0, executor_crashes: 0, flying: 0, ..ONE };
    let bounds = Bounds { epochs: 1, tries: 2, ..calm };
    check(
        bounds,
        Look::AtAll(21_825),
        &[
            "one succeeds",
            "one is lost",
            "one that is lost is known later",
            "one succeeds by its second attempt",
        ],
    );
}

#[test]
fn a_second_attempt_and_a_crash_around_each_commit_in_every_order_of_the_nearest_states() {
    let bounds = Bounds { executor_crashes: 0, epochs: 1, tries: 2, ..ONE };
    check(bounds, Look::AtNearest(states(30_000)), &["one succeeds by its second attempt"]);
}

#[test]
fn an_attempt_that_is_late_to_start_in_every_order() {
    let bounds = Bounds { executor_crashes: 0, epochs: 1, late: true, ..ONE };
    check(
        bounds,
        Look::AtAll(17_307),
        &["one succeeds", "one is lost", "one fails because it is late"],
    );
}

#[test]
fn two_messages_on_their_way_in_every_order() {
    let bounds =
        Bounds { controller_crashes: 0, executor_crashes: 0, messages: 2, flying: 0, ..ONE };
    check(bounds, Look::AtAll(34_871), &USUAL);
}

#[test]
fn two_executors_in_every_order() {
    let bounds =
        Bounds { executors: 2, controller_crashes: 0, executor_crashes: 0, flying: 0, ..ONE };
    check(bounds, Look::AtAll(52_268), &USUAL);
}

#[test]
fn two_of_one_key_over_two_executors_in_every_order_of_the_nearest_states() {
    let calm = Bounds { controller_crashes: 0, executor_crashes: 0, flying: 0, ..ONE };
    let bounds =
        Bounds { executors: 2, executions: 2, epochs: 1, on_limit: Some(OnLimit::Queue), ..calm };
    let reached =
        check(bounds, Look::AtNearest(states(15_000)), &["one of a key succeeds behind another"]);
    assert!(reached.contains("one succeeds"), "{reached:?}");
}

#[test]
fn one_that_takes_the_place_of_another_in_every_order_of_the_nearest_states() {
    let bounds = Bounds {
        executions: 2,
        executor_crashes: 0,
        epochs: 1,
        flying: 2, // the new one, and the end of the other
        on_limit: Some(OnLimit::Replace),
        ..ONE
    };
    let reached =
        check(bounds, Look::AtNearest(states(30_000)), &["one of a key succeeds behind another"]);
    assert!(reached.contains("one is replaced"), "{reached:?}");
}

#[test]
fn one_that_is_refused_while_another_is_there_in_every_order_of_the_nearest_states() {
    let calm = Bounds { controller_crashes: 0, executor_crashes: 0, flying: 0, ..ONE };
    let bounds =
        Bounds { executions: 2, epochs: 1, tries: 2, on_limit: Some(OnLimit::Refuse), ..calm };
    let reached =
        check(bounds, Look::AtNearest(states(30_000)), &["one of a key succeeds behind another"]);
    assert!(reached.contains("one succeeds"), "{reached:?}");
}

#[test]
fn two_executions_over_two_executors_that_come_at_once_in_every_order_of_the_nearest_states() {
    let bounds = Bounds { executions: 2, ..PLAIN };
    let reached = check(bounds, Look::AtNearest(states(10_000)), &["one succeeds"]);
    assert!(reached.contains("one succeeds"), "{reached:?}");
}

#[test]
fn three_executions_over_two_executors_that_come_at_once_in_every_order_of_the_nearest_states() {
    let bounds = Bounds { executions: 3, ..PLAIN };
    let reached = check(bounds, Look::AtNearest(states(150_000)), &["one succeeds"]);
    assert!(reached.contains("one succeeds"), "{reached:?}");
}

/// As before, but that nobody cancels one: that was looked at where there are fewer.
#[test]
fn three_executions_that_nobody_cancels_over_two_executors_in_every_order_of_the_nearest_states() {
    let bounds = Bounds { executions: 3, cancels: false, ..PLAIN };
    let reached = check(bounds, Look::AtNearest(states(150_000)), &["one succeeds"]);
    assert!(reached.contains("one succeeds"), "{reached:?}");
}

/// All of it is for a night: `OCTAVIUS_MODEL_STATES` says how far to go, and here it is the nearest states.
#[test]
fn two_executors_and_two_executions_in_every_order_of_the_nearest_states() {
    let bounds = Bounds { executors: 2, executions: 2, messages: 2, flying: 2, ..ONE };
    check(bounds, Look::AtNearest(states(10_000)), &USUAL);
}
