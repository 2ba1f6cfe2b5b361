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
    /// With the log that its holder has found of it so far.
    Ended(Outcome, Found),
}

/// How much of a log its holder says that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Found {
    /// None: it did not run here, or there is nothing more to say of it.
    Nothing,
    /// Not all, as far as it could read at first.
    Some,
    /// Not all, but more than that.
    More,
    /// All.
    Whole,
}

impl Found {
    pub(super) fn size(self) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::Some => 1,
            Self::More => 2,
            Self::Whole => 3,
        }
    }

    fn cut(self) -> &'static str {
        match self {
            Self::Nothing | Self::Whole => "",
            Self::Some | Self::More => "cut",
        }
    }
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
    Ended(usize, Session, LeaseName, Outcome, Found),
    /// To an executor: what its report came to.
    PreparedRecorded(usize, LeaseName, String),
    EndRecorded(usize, LeaseName),
    Superseded(usize, LeaseName),
}

impl Message {
    /// From or to which executor it is, and about which grant.
    fn about(&self) -> (usize, LeaseName) {
        match self {
            Self::Granted(executor, lease, _)
            | Self::Prepared(executor, _, lease, _)
            | Self::Running(executor, _, lease)
            | Self::Ended(executor, _, lease, ..)
            | Self::PreparedRecorded(executor, lease, _)
            | Self::EndRecorded(executor, lease)
            | Self::Superseded(executor, lease) => (*executor, *lease),
        }
    }
}

/// A decision on its way to the disk, and what follows once the store has confirmed it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Batch {
    pub(super) records: Vec<Record>,
    pub(super) then: Then,
}

/// What waits for the store's word: nobody hears of a decision before.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Then {
    Nothing,
    /// The user is told that the execution will end.
    Promise(ExecutionId),
    /// These answers leave.
    Send(Vec<Message>),
    /// So much of the log is asked for, and with it the execution is over; then the executor is answered.
    Seal(LeaseName, u64, Message),
    /// So much of the log of what was given up is asked for, and then the executor is answered.
    SealAfterwards(usize, LeaseName, u64, Message),
    /// An executor hears what it is to do, and what it holds, if its session is this one still.
    Attended(usize, Session, Vec<LeaseName>, Vec<LeaseName>, Vec<Message>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct System {
    pub(super) view: View,
    pub(super) disk: BTreeMap<ExecutionId, Record>,
    /// What was decided and is not on disk for all that anybody knows, in the order of the decisions.
    pub(super) flying: VecDeque<Batch>,
    /// Whose end was promised to a user.
    pub(super) promised: BTreeSet<ExecutionId>,
    pub(super) sessions: u64,
    pub(super) executors: Vec<Executor>,
    pub(super) network: BTreeSet<Message>,
    /// How much the controller has of the log of each attempt that is over.
    pub(super) logs: BTreeMap<AttemptId, u64>,
    /// Whose log is closed.
    pub(super) closed: BTreeSet<AttemptId>,
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
    let (labels, offer) = (BTreeMap::new(), ExecutorTerms::default());
    let runner = RunnerKind::Process;
    Join { executor: name(executor), session, runner, capacity: 1, labels, offer, drained: false }
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
        hidden: Default::default(),
        timeout_ms: None,
        defaulted: Default::default(),
        again: None,
        namespace: None,
        resources: None,
        kubernetes: String::new(),
        own: Default::default(),
    }
}

impl System {
    /// Whether all that was submitted is over, and nobody has anything left of it.
    pub(super) fn is_at_rest(&self) -> bool {
        let over = self.disk.values().all(|record| record.attempt.outcome().is_some());
        let left = self.executors.iter().any(|executor| !executor.local.is_empty());
        over && !left && self.flying.is_empty() && self.network.is_empty()
    }

    /// Takes away what is over and what nobody has anything of any more, neither on a disk nor on its way: whatever it was,
    /// nothing that follows can depend on it. Only how it ended would tell apart what is the same from here on.
    pub(super) fn forget_what_is_over(&mut self) {
        for (index, executor) in self.executors.iter_mut().enumerate() {
            let carried = self.network.iter().any(|message| message.about().0 == index);
            if executor.local.is_empty() && !carried {
                executor.made = 0;
            }
        }
        let local = self.executors.iter().flat_map(|executor| executor.local.keys().copied());
        let carried = self.network.iter().map(|message| message.about().1.attempt);
        let has: BTreeSet<_> = local.chain(carried).map(|attempt| attempt.execution).collect();
        let over = |record: &Record| record.attempt.outcome().is_some();
        if self.flying.is_empty() {
            self.disk.retain(|id, record| has.contains(id) || !over(record));
        }
        let Self { disk, promised, logs, closed, starts, finals, .. } = self;
        promised.retain(|id| disk.contains_key(id));
        finals.retain(|id, _| disk.contains_key(id));
        let is_there = |attempt: &AttemptId| disk.contains_key(&attempt.execution);
        logs.retain(|attempt, _| is_there(attempt));
        closed.retain(is_there);
        starts.retain(|attempt, _| is_there(attempt));
    }

    /// Hands a decision to the store. Without changes it only waits for those before it.
    pub(super) fn commit(&mut self, changes: Vec<Change>, then: Then) {
        let records = changes.into_iter().filter_map(|change| match change {
            Change::Submitted(..) => None,
            Change::Live(record) | Change::Done(record) | Change::Afterwards(record) => {
                Some(*record)
            }
        });
        let records: Vec<Record> = records.collect();
        if records.is_empty() && self.flying.is_empty() {
            self.then(then);
        } else if !(records.is_empty() && then == Then::Nothing) {
            self.flying.push_back(Batch { records, then });
        }
    }

    /// The oldest decision reaches the disk.
    pub(super) fn land(&mut self) -> Option<Then> {
        let Batch { records, then } = self.flying.pop_front()?;
        for record in records {
            self.write(record);
        }
        Some(then)
    }

    /// The store confirmed a decision: what waited for it happens.
    pub(super) fn then(&mut self, then: Then) {
        match then {
            Then::Nothing => {}
            Then::Promise(id) => {
                self.promised.insert(id);
            }
            Then::Send(messages) => self.network.extend(messages),
            // Its holder is told to send the rest, and says it again.
            Then::Seal(lease, size, _) if self.arrived(lease.attempt) < size => {}
            Then::Seal(lease, _, answer) => {
                self.closed.insert(lease.attempt);
                let done = self.view.sealed(lease, 0, "", NOW);
                self.commit(done.into_iter().collect(), Then::Send(vec![answer]));
            }
            // It is about to be cut, or its holder is to send the rest: it says it again.
            Then::SealAfterwards(_, lease, size, _)
                if self.is_newest(lease) || self.arrived(lease.attempt) < size => {}
            Then::SealAfterwards(executor, lease, _, answer) => {
                let over = self.view.log_over_afterwards(lease, &name(executor), Some((0, "")));
                if let Some(changes) = over {
                    self.commit(changes, Then::Send(vec![answer]));
                }
            }
            Then::Attended(executor, session, stop, forget, grants) => {
                if self.executors[executor].session != session {
                    return;
                }
                self.network.extend(grants);
                for lease in forget {
                    self.forget(executor, lease);
                }
                for lease in stop {
                    self.stop(executor, lease);
                }
            }
        }
    }

    /// What the disk will hold when all that was decided has landed.
    pub(super) fn to_come(&self) -> BTreeMap<ExecutionId, &Record> {
        let flying = self.flying.iter().flat_map(|batch| &batch.records);
        self.disk.values().chain(flying).map(|record| (record.id, record)).collect()
    }

    /// Writes a record, and looks whether it contradicts what was written before.
    fn write(&mut self, record: Record) {
        if let Some(outcome) = record.attempt.outcome() {
            let first = *self.finals.entry(record.id).or_insert(outcome);
            if first != outcome {
                self.broken = Some("a final state changed");
            }
            let starts = self.starts.get(&record.attempt_id()).copied().unwrap_or(0);
            if outcome == Outcome::Succeeded && starts != 1 {
                self.broken = Some("an attempt that did not run once succeeded");
            }
        }
        let was = self.disk.get(&record.id).filter(|was| was.attempt.outcome().is_some());
        // What becomes known later stands beside its end.
        let end = |record: &Record| {
            let Record { attempt, ending, history, number, .. } = record;
            (*attempt, ending.clone(), history.clone(), *number)
        };
        if was.is_some_and(|was| end(was) != end(&record)) {
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
                    Message::Ended(executor, *session, lease, Outcome::Cancelled, Found::Nothing)
                }
                Phase::Prepared => {
                    Message::Prepared(executor, *session, lease, local.identity.clone())
                }
                Phase::Running => Message::Running(executor, *session, lease),
                Phase::Ended(outcome, found) => {
                    Message::Ended(executor, *session, lease, outcome, found)
                }
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
            let lost = Message::Ended(executor, *session, lease, Outcome::Lost, Found::Nothing);
            self.network.insert(lost);
            return;
        }
        *made = 1 - *made; // another thing than the one before: that is all that its name says
        let identity = format!("{executor}-{made}");
        let fresh = Local { epoch: lease.epoch, identity, phase: Phase::Prepared, stopped: false };
        local.insert(lease.attempt, fresh);
    }

    fn is_newest(&self, lease: LeaseName) -> bool {
        let newest = self.view.live(lease.attempt.execution).map(Record::attempt_id);
        newest == Some(lease.attempt)
    }

    /// Takes the last word about what history has as lost, or answers otherwise. None: its holder is to say it again.
    fn ask_history(
        &mut self,
        executor: usize,
        lease: LeaseName,
        report: &Report,
    ) -> Option<(Vec<Change>, Verdict)> {
        let id = lease.attempt.execution;
        let Some(record) = self.disk.get(&id) else {
            self.broken = Some("a holder knows of an execution that the store does not");
            return None;
        };
        // Of an end that is still on its way history does not know; what is read is what is written again.
        let written =
            self.flying.iter().flat_map(|batch| &batch.records).any(|record| record.id == id);
        if record.attempt.outcome().is_none() || written {
            return None;
        }
        let mut record = record.clone();
        match record.hear_afterwards(lease, &name(executor), report, NOW) {
            None => Some((Vec::new(), Verdict::from_history(&record, lease, report))),
            Some(Heard::Verdict(verdict)) => Some((Vec::new(), verdict)),
            Some(Heard::Log { ending, .. }) => {
                let size = ending.log.map_or(0, |(size, _)| size);
                let is_here = self.arrived(lease.attempt) >= size;
                if is_here {
                    record.log_over_afterwards(lease, &name(executor), Some((0, "")));
                }
                let change = Change::Afterwards(Box::new(record));
                if !is_here {
                    self.commit(vec![change], Then::Nothing);
                    return None;
                }
                Some((vec![change], Verdict::Recorded))
            }
        }
    }

    fn arrived(&self, attempt: AttemptId) -> u64 {
        self.logs.get(&attempt).copied().unwrap_or(0)
    }

    /// Whether a report is of an end that stands, whose log only its holder can bring.
    fn waits_for_the_log_of(&self, lease: LeaseName, report: &Report) -> bool {
        let Report::Ended(ending) = report else { return false };
        let live = self.view.live(lease.attempt.execution);
        live.filter(|record| record.attempt_id() == lease.attempt)
            .filter(|record| record.attempt.held() == Some(lease.epoch))
            .and_then(|record| record.ending.as_ref())
            .is_some_and(|known| known.outcome == ending.outcome && known.log.is_some())
    }

    /// The controller takes a report, and answers.
    pub(super) fn take(
        &mut self,
        executor: usize,
        session: Session,
        lease: LeaseName,
        report: Report,
    ) {
        let waits = self.waits_for_the_log_of(lease, &report);
        let Ok(reported) = self.view.report(session, lease, report.clone(), NOW) else { return };
        if waits && matches!(reported, Reported::Verdict(_, Verdict::Superseded(_))) {
            self.broken = Some("who has the log that is waited for was sent away");
        }
        let (changes, verdict) = match reported {
            Reported::Verdict(changes, verdict) => (changes, verdict),
            Reported::Seal(changes, ending) => {
                let size = ending.log.map_or(0, |(size, _)| size);
                let answer = Message::EndRecorded(executor, lease);
                self.commit(changes, Then::Seal(lease, size, answer));
                return;
            }
            Reported::NotKnown => {
                self.broken = Some("a holder knows of a grant that the store does not");
                return;
            }
            Reported::Afterwards(changes, ending) => {
                let size = ending.log.map_or(0, |(size, _)| size);
                let answer = Message::EndRecorded(executor, lease);
                return self.commit(changes, Then::SealAfterwards(executor, lease, size, answer));
            }
            Reported::AskHistory => match self.ask_history(executor, lease, &report) {
                Some(answer) => answer,
                None => return,
            },
        };
        let answer = match (verdict, report) {
            (Verdict::Superseded(_), _) => Message::Superseded(executor, lease),
            (_, Report::Prepared(identity)) => Message::PreparedRecorded(executor, lease, identity),
            (_, Report::Ended(_)) => Message::EndRecorded(executor, lease),
            (_, Report::Starting(_) | Report::Running | Report::Unseen(_)) => {
                return self.commit(changes, Then::Nothing);
            }
        };
        self.commit(changes, Then::Send(vec![answer]));
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
            Message::Ended(executor, session, lease, outcome, found) => {
                let log = Some((found.size(), found.size()));
                let log_cut = found.cut().to_owned();
                let (code, reason, note) = (String::new(), String::new(), String::new());
                let ending = Ending { outcome, code, reason, exit_code: None, log, log_cut, note };
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

    fn stop(&mut self, executor: usize, lease: LeaseName) {
        let local = self.executors[executor].local.get_mut(&lease.attempt);
        if let Some(local) = local.filter(|local| local.epoch == lease.epoch) {
            local.stopped = true;
        }
    }

    pub(super) fn attend(&mut self, executor: usize) {
        let session = self.executors[executor].session;
        let held = self.held(executor);
        let Ok(attended) = self.view.attend(session, &held) else { return };
        for lease in attended.unknown {
            let over = |record: &&Record| record.attempt.outcome().is_some();
            let Some(record) = self.disk.get(&lease.attempt.execution).filter(over) else {
                continue;
            };
            if record.awaits_word_of(lease, &name(executor)) {
                self.stop(executor, lease);
            } else {
                self.forget(executor, lease);
            }
        }
        let granted = |Grant { lease, identity, .. }| Message::Granted(executor, lease, identity);
        let grants: Vec<_> = attended.grants.into_iter().map(granted).collect();
        let orders = |kind: OrderKind| {
            let of = attended.orders.iter().filter(|order| order.kind == kind);
            of.map(|order| order.lease).collect::<Vec<_>>()
        };
        let (stop, forget) = (orders(OrderKind::Stop), orders(OrderKind::Release));
        self.commit(Vec::new(), Then::Attended(executor, session, stop, forget, grants));
    }
}
