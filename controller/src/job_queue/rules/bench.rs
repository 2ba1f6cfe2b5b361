//! A large fleet, for measuring what decisions cost: the rules alone, without a store, a network or a clock of its own.

use super::{
    super::{
        attempt::Outcome,
        record::{Ending, Spec},
        terms::{ExecutorTerms, Own, Terms},
    },
    Join, LeaseName, Moment, Parked, QueueLimits, Report, RunnerKind, Submission, View,
};
use jiff::Timestamp;
use octavius_protocol::id::{ExecutionId, ExecutorId, JobName, Session};
use std::{sync::Arc, time::Duration};

/// How many executors there are that are full, each with [`PLACES`].
pub const EXECUTORS: usize = 500;
/// How many wait besides in a zone that no job asks for: each new execution looks for one among them.
const PARKED: usize = 500;
/// How many attempts each takes at once.
pub const PLACES: usize = 2;
/// How many jobs there are: of 20 teams, in 10 zones, of all priorities; of ten one has a limit, and one a key.
pub const JOBS: usize = 1_000;
const TEAMS: usize = 20;
const ZONES: usize = 10;
/// How many values the keys have.
const TARGETS: usize = 50;

/// A job as its executions are submitted.
#[derive(Clone, Debug)]
struct Job {
    name: JobName,
    terms: Arc<Terms>,
    has_key: bool,
}

/// Executors that are full, and executions that wait.
#[derive(Debug)]
pub struct Fleet {
    view: View,
    parked: Parked,
    jobs: Vec<Job>,
    held: Vec<Vec<LeaseName>>,
    submitted: usize,
    rounds: usize,
}

impl Fleet {
    /// All executors have as much as they take, and so many executions wait.
    pub fn new(pending: usize) -> Self {
        let limits = QueueLimits {
            pending: usize::MAX,
            pending_of_team: usize::MAX,
            ..QueueLimits::default()
        };
        let now = Moment { at: Timestamp::UNIX_EPOCH, elapsed: Duration::ZERO };
        let executors = (0..EXECUTORS + PARKED).map(|number| Join {
            executor: id::<ExecutorId>("executor", number),
            session: session(number),
            runner: RunnerKind::Process,
            capacity: PLACES,
            labels: [("zone".to_owned(), zone_of(number))].into(),
            offer: ExecutorTerms::default(),
            drained: false,
        });
        let mut fleet = Self {
            view: View::load(limits, Vec::new(), Vec::new(), now),
            parked: Parked::default(),
            jobs: (0..JOBS).map(job).collect(),
            held: vec![Vec::new(); EXECUTORS],
            submitted: 0,
            rounds: 0,
        };
        for executor in executors {
            fleet.view.join(executor, now);
        }
        for number in EXECUTORS..EXECUTORS + PARKED {
            fleet.parked.park(&fleet.view, session(number));
        }
        let mut idle = EXECUTORS;
        while idle > 0 {
            for _ in 0..EXECUTORS * PLACES {
                fleet.submit();
            }
            for number in 0..EXECUTORS {
                fleet.poll(number);
            }
            idle = fleet.held.iter().filter(|held| held.len() < PLACES).count();
        }
        while fleet.view.waiting() < pending {
            fleet.submit();
        }
        while fleet.view.waiting() > pending {
            fleet.round_at((fleet.rounds * 7) % EXECUTORS, 0);
        }
        fleet
    }

    /// So many wait besides, each for an executor that nobody else asks for and that is none of these: half of them name
    /// it, and the others ask for a label that nobody has, and for a zone.
    pub fn with_others(mut self, others: usize) -> Self {
        let usual = job(0);
        for number in 0..others {
            let (name, value) = match number % 2 {
                0 => ("executor", format!("other-{number}")),
                _ => ("zone-and-rack", number.to_string()), // behind `zone`, which many have
            };
            let own = Own { on: [(name.to_owned(), value)].into(), ..Own::default() };
            let terms = Terms { own, ..Terms::clone(&usual.terms) }.into();
            self.submit_of(&Job { terms, ..usual.clone() }, 0);
        }
        self
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.view.waiting()
    }

    /// An attempt ends somewhere, its executor gets the next, and a new execution comes for whom executors are looked for.
    /// Answers how many were granted.
    pub fn round(&mut self) -> usize {
        self.round_at((self.rounds * 7) % EXECUTORS, 1)
    }

    /// The same at this executor, with so many new ones for each that was granted.
    fn round_at(&mut self, number: usize, new: usize) -> usize {
        self.rounds += 1;
        if !self.held[number].is_empty() {
            let lease = self.held[number].remove(0);
            self.end(number, lease);
        }
        let granted = self.poll(number);
        for _ in 0..granted * new {
            self.submit();
            self.parked.call(&self.view, self.now().elapsed);
        }
        granted
    }

    fn now(&self) -> Moment {
        let elapsed = Duration::from_millis(self.rounds as u64);
        Moment { at: Timestamp::UNIX_EPOCH + elapsed, elapsed }
    }

    fn submit(&mut self) {
        // Neighbours in the queue are of other jobs, teams and zones.
        let job = self.jobs[(self.submitted * 389) % JOBS].clone();
        self.submit_of(&job, (self.submitted / JOBS) % TARGETS);
    }

    fn submit_of(&mut self, job: &Job, target: usize) {
        self.submitted += 1;
        let came = self.rounds as u128; // a millisecond each
        let submission = Submission {
            id: ExecutionId::from_bytes((came << 80 | self.submitted as u128).to_be_bytes()),
            spec: Spec {
                job: job.name.clone(),
                job_uid: String::new(),
                job_version: 1,
                user: "bench".to_owned(),
                image_name: String::new(),
                command: vec!["true".to_owned()],
                arguments: Default::default(),
                hidden: Default::default(),
                defaulted: Default::default(),
                timeout_ms: None,
                namespace: None,
                resources: None,
                kubernetes: String::new(),
                own: Default::default(),
                again: None,
            },
            terms: job.terms.clone(),
            concurrency_key: job.has_key.then(|| target.to_string().into()),
            require_executor: false,
            request_id: None,
        };
        let now = self.now();
        let _ = self.view.submit(submission, now); // there is no bound that could be reached
    }

    fn poll(&mut self, number: usize) -> usize {
        let (free, now) = (PLACES - self.held[number].len(), self.now());
        let polled = self.view.poll(session(number), free, &self.held[number], now);
        let grants = polled.map(|polled| polled.grants).unwrap_or_default();
        self.held[number].extend(grants.iter().map(|grant| grant.lease));
        grants.len()
    }

    fn end(&mut self, number: usize, lease: LeaseName) {
        let now = self.now();
        let ending = Ending {
            outcome: Outcome::Succeeded,
            code: "exit_code".to_owned(),
            reason: "exited with 0".to_owned(),
            exit_code: Some(0),
            log: Some((0, 0)),
            log_cut: String::new(),
            note: String::new(),
        };
        for report in [Report::Prepared("made".to_owned()), Report::Running, Report::Ended(ending)]
        {
            let _ = self.view.report(session(number), lease, report, now); // its session is open
        }
        self.view.sealed(lease, 0, "", now);
    }
}

fn job(number: usize) -> Job {
    let terms = Terms {
        concurrency: if number % 10 == 3 { 4 } else { 0 },
        team: format!("team-{}", number % TEAMS).into(),
        priority: u8::try_from(number / TEAMS % 10).ok(),
        selector: [("zone".to_owned(), (number / 3 % ZONES).to_string())].into(),
        ..Terms::default()
    };
    Job { name: id("job", number), terms: terms.into(), has_key: number % 10 == 7 }
}

fn zone_of(executor: usize) -> String {
    if executor < EXECUTORS { (executor % ZONES).to_string() } else { "parked".to_owned() }
}

fn session(number: usize) -> Session {
    Session(number as u64 + 1)
}

fn id<Id: std::str::FromStr<Err: std::fmt::Debug>>(kind: &str, number: usize) -> Id {
    format!("{kind}-{number}").parse().expect("a word and a number are an id")
}
