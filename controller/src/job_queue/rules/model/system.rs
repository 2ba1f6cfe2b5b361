//! The world of the model: a controller that is [`View`] and its disk, executors that keep the protocol, a network.

use super::*;

/// What an executor has on its disk of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Local {
    pub(super) epoch: Epoch,
    pub(super) identity: String,
    pub(super) phase: Phase,
    pub(super) stopped: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Prepared,
    Running,
    Ended(Outcome),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Executor {
    pub(super) session: Session,
    pub(super) local: BTreeMap<AttemptId, Local>,
    pub(super) made: u8,
    pub(super) crashes: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Message {
    /// To an executor: a grant in an answer.
    Granted(usize, LeaseName, Option<String>),
    /// To the controller.
    Prepared(usize, Session, LeaseName, String),
    Running(usize, Session, LeaseName),
    Ended(usize, Session, LeaseName, Outcome),
    /// To an executor: what its report came to.
    PreparedRecorded(usize, LeaseName, String),
    EndRecorded(usize, LeaseName),
    Superseded(usize, LeaseName),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct System {
    pub(super) view: View,
    pub(super) disk: BTreeMap<ExecutionId, Record>,
    pub(super) sessions: u64,
    pub(super) executors: Vec<Executor>,
    pub(super) network: BTreeSet<Message>,
    /// How often each attempt's program was started.
    pub(super) starts: BTreeMap<AttemptId, u8>,
    /// What each execution was first said to have ended as.
    pub(super) finals: BTreeMap<ExecutionId, Outcome>,
    pub(super) submitted: u8,
    pub(super) crashes: u8,
    /// What must never happen, and did.
    pub(super) broken: Option<&'static str>,
}

pub(super) fn name(executor: usize) -> ExecutorId {
    format!("executor-{executor}").parse().unwrap()
}

pub(super) fn join(executor: usize, session: Session) -> Join {
    Join { executor: name(executor), session, runner: RunnerKind::Process, capacity: 1 }
}

pub(super) fn spec() -> Spec {
    Spec {
        job: "greet".parse().unwrap(),
        job_uid: String::new(),
        job_version: 1,
        user: String::new(),
        image_name: String::new(),
        command: vec!["true".to_owned()],
        arguments: BTreeMap::new(),
        timeout_ms: None,
    }
}

impl System {
    /// Writes what a decision asks for, and looks whether it contradicts what was written before.
    pub(super) fn commit(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Submitted(..) => {}
                Change::Live(record) => self.write(*record),
                Change::Done(record) => {
                    let outcome = record.attempt.outcome().unwrap();
                    let first = *self.finals.entry(record.id).or_insert(outcome);
                    if first != outcome {
                        self.broken = Some("a final state changed");
                    }
                    let starts = self.starts.get(&record.attempt_id()).copied().unwrap_or(0);
                    if outcome == Outcome::Succeeded && starts != 1 {
                        self.broken = Some("an attempt that did not run once succeeded");
                    }
                    self.write(*record);
                }
            }
        }
    }

    pub(super) fn write(&mut self, record: Record) {
        let was = self.disk.get(&record.id).map(|was| was.attempt);
        if was.is_some_and(|was| was.outcome().is_some() && was != record.attempt) {
            self.broken = Some("a final execution was written again");
        }
        self.disk.insert(record.id, record);
    }

    pub(super) fn live_on_disk(&self) -> Vec<Record> {
        let live = self.disk.values().filter(|record| record.attempt.outcome().is_none());
        live.cloned().collect()
    }

    pub(super) fn held(&self, executor: usize) -> Vec<LeaseName> {
        let local = self.executors[executor].local.iter();
        local.map(|(attempt, local)| LeaseName { attempt: *attempt, epoch: local.epoch }).collect()
    }

    /// What an executor says of what it has, and says again until it is acknowledged.
    pub(super) fn reports(&self, executor: usize) -> Vec<Message> {
        let Executor { session, local, .. } = &self.executors[executor];
        let reports = local.iter().map(|(attempt, local)| {
            let lease = LeaseName { attempt: *attempt, epoch: local.epoch };
            match local.phase {
                Phase::Prepared if local.stopped => {
                    Message::Ended(executor, *session, lease, Outcome::Cancelled)
                }
                Phase::Prepared => {
                    Message::Prepared(executor, *session, lease, local.identity.clone())
                }
                Phase::Running => Message::Running(executor, *session, lease),
                Phase::Ended(outcome) => Message::Ended(executor, *session, lease, outcome),
            }
        });
        reports.collect()
    }

    pub(super) fn granted(&mut self, executor: usize, lease: LeaseName, identity: Option<String>) {
        let Executor { local, made, session, .. } = &mut self.executors[executor];
        if let Some(known) = local.get_mut(&lease.attempt) {
            // A newer grant of what cannot run yet is the same thing under a newer name.
            if known.phase == Phase::Prepared && known.epoch < lease.epoch {
                known.epoch = lease.epoch;
            }
            return;
        }
        if identity.is_some() {
            let lost = Message::Ended(executor, *session, lease, Outcome::Lost);
            self.network.insert(lost);
            return;
        }
        *made = 1 - *made; // another thing than the one before: that is all that its name says
        let identity = format!("{executor}-{made}");
        let fresh = Local { epoch: lease.epoch, identity, phase: Phase::Prepared, stopped: false };
        local.insert(lease.attempt, fresh);
    }

    /// The controller takes a report, and answers.
    pub(super) fn take(
        &mut self,
        executor: usize,
        session: Session,
        lease: LeaseName,
        report: Report,
    ) {
        let Ok(reported) = self.view.report(session, lease, report.clone(), NOW) else { return };
        let verdict = match reported {
            Reported::Verdict(changes, verdict) => {
                self.commit(changes);
                verdict
            }
            Reported::Seal(changes, _) => {
                self.commit(changes);
                let done = self.view.sealed(lease, 0, "", NOW);
                self.commit(done.into_iter().collect());
                Verdict::Recorded
            }
            Reported::NotKnown => {
                self.broken = Some("a holder knows of a grant that the store does not");
                return;
            }
            Reported::AskHistory => {
                let record = self.disk.get(&lease.attempt.execution);
                record.map_or(Verdict::Superseded(String::new()), |record| {
                    Verdict::from_history(record, lease, &report)
                })
            }
        };
        let answer = match (verdict, report) {
            (Verdict::Superseded(_), _) => Message::Superseded(executor, lease),
            (_, Report::Prepared(identity)) => Message::PreparedRecorded(executor, lease, identity),
            (_, Report::Ended(_)) => Message::EndRecorded(executor, lease),
            (_, Report::Running) => return,
        };
        self.network.insert(answer);
    }

    pub(super) fn deliver(&mut self, message: Message) {
        match message {
            Message::Granted(executor, lease, identity) => self.granted(executor, lease, identity),
            Message::Prepared(executor, session, lease, identity) => {
                self.take(executor, session, lease, Report::Prepared(identity));
            }
            Message::Running(executor, session, lease) => {
                self.take(executor, session, lease, Report::Running);
            }
            Message::Ended(executor, session, lease, outcome) => {
                let ending = Ending {
                    outcome,
                    code: String::new(),
                    reason: String::new(),
                    exit_code: None,
                    log: Some((0, 0)),
                    log_cut: String::new(),
                };
                self.take(executor, session, lease, Report::Ended(ending));
            }
            Message::PreparedRecorded(executor, lease, identity) => {
                let local = self.executors[executor].local.get_mut(&lease.attempt);
                if let Some(local) = local
                    && local.phase == Phase::Prepared
                    && local.epoch == lease.epoch
                    && local.identity == identity
                    && !local.stopped
                {
                    local.phase = Phase::Running;
                    let starts = self.starts.entry(lease.attempt).or_default();
                    *starts += 1;
                }
            }
            Message::EndRecorded(executor, lease) => {
                let local = &mut self.executors[executor].local;
                if local.get(&lease.attempt).is_some_and(|known| known.epoch == lease.epoch) {
                    local.remove(&lease.attempt);
                }
            }
            Message::Superseded(executor, lease) => self.forget(executor, lease),
        }
    }

    pub(super) fn forget(&mut self, executor: usize, lease: LeaseName) {
        let local = &mut self.executors[executor].local;
        if local.get(&lease.attempt).is_some_and(|known| known.epoch == lease.epoch) {
            local.remove(&lease.attempt);
        }
    }

    pub(super) fn attend(&mut self, executor: usize) {
        let session = self.executors[executor].session;
        let held = self.held(executor);
        let Ok(attended) = self.view.attend(session, &held) else { return };
        for Grant { lease, identity } in attended.grants {
            self.network.insert(Message::Granted(executor, lease, identity));
        }
        for order in attended.orders {
            match order.kind {
                OrderKind::Release => self.forget(executor, order.lease),
                OrderKind::Stop => {
                    let local = self.executors[executor].local.get_mut(&order.lease.attempt);
                    if let Some(local) = local.filter(|local| local.epoch == order.lease.epoch) {
                        local.stopped = true;
                    }
                }
            }
        }
        for lease in attended.unknown {
            if self
                .disk
                .get(&lease.attempt.execution)
                .is_some_and(|record| record.attempt.outcome().is_some())
            {
                self.forget(executor, lease);
            }
        }
    }
}
