//! What a holder says of an attempt, and the log that ends it.

use super::{
    super::{
        attempt::{Event, State},
        record::{Change, Ending, Record},
    },
    LeaseName, Moment, SessionUnknown, View,
    due::in_our_words,
};
use octavius_protocol::id::{ExecutionId, ExecutorId, Session};

/// What a holder says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// What cannot run yet is made, and has this name for ever.
    Prepared(String),
    /// The program does not run yet: what it waits for; empty where nothing is known.
    Starting(String),
    /// The program runs.
    Running,
    /// The program ran when it was last seen, and why it is not known at present whether it still does.
    Unseen(String),
    /// It is over.
    Ended(Ending),
}

/// What a report came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reported {
    /// To be answered with this verdict after the changes are made.
    Verdict(Vec<Change>, Verdict),
    /// To be answered when the log is known to be here, after the changes are made.
    Seal(Vec<Change>, Ending),
    /// About what was given up as lost: to be answered when its log is known to be here, after the changes are made.
    Afterwards(Vec<Change>, Ending),
    /// Not live: history says what to answer.
    AskHistory,
    /// The holder knows of a grant that this store does not: it may have been restored from an older one. Nothing is
    /// to be stopped for that.
    NotKnown,
}

/// What a session may do with the log of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Append to it: it holds the attempt.
    Append,
    /// Add what is missing at its end: it held the attempt when that was given up as lost.
    Extend,
    /// Nothing.
    Nothing,
}

/// What the holder is to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: it is on disk.
    Recorded,
    /// Send the log from this offset on, and report again.
    LogIncomplete(u64),
    /// Stop and remove it, and report no more; with the reason.
    Superseded(String),
}

impl View {
    /// Takes a holder's word, if it is the holder.
    pub fn report(
        &mut self,
        session: Session,
        lease: LeaseName,
        report: Report,
        now: Moment,
    ) -> Result<Reported, SessionUnknown> {
        let executor = self.executor_of(session).cloned().ok_or(SessionUnknown(session))?;
        let id = lease.attempt.execution;
        let Some(record) = self.live(id) else { return Ok(Reported::AskHistory) };
        if record.is_behind(lease) {
            return Ok(Reported::NotKnown);
        }
        if let Some(reported) = self.afterwards(lease, &executor, &report, now) {
            return Ok(reported);
        }
        let Some(live) = self.live.get_mut(&id) else { return Ok(Reported::AskHistory) };
        let record = &live.record;
        if record.attempt_id() != lease.attempt
            || record.attempt.held() != Some(lease.epoch)
            || record.executor.as_ref() != Some(&executor)
        {
            return Ok(Reported::superseded("this grant was taken back"));
        }
        live.named = true;
        Ok(match report {
            Report::Prepared(identity) => self.prepared(lease, identity, now),
            Report::Starting(waits_for) => self.waits(id, waits_for, now),
            Report::Running => self.runs(lease, String::new(), now),
            Report::Unseen(why) => self.runs(lease, why, now),
            Report::Ended(ending) => self.ended(lease, ending, now),
        })
    }

    /// What this session may do with the log of what it was granted. None: it is not live, or the holder knows of a grant
    /// that this store does not.
    pub fn holds(
        &self,
        session: Session,
        lease: LeaseName,
    ) -> Result<Option<Right>, SessionUnknown> {
        let executor = self.executor_of(session).ok_or(SessionUnknown(session))?;
        let Some(record) = self.live(lease.attempt.execution) else { return Ok(None) };
        if record.is_behind(lease) {
            return Ok(None);
        }
        let same = record.attempt_id() == lease.attempt;
        let held = record.attempt.held() == Some(lease.epoch);
        Ok(Some(if same && held && record.executor.as_ref() == Some(executor) {
            Right::Append
        } else {
            Right::afterwards(record, lease, executor)
        }))
    }

    /// The log of what ended is whole, or cut: the execution is over.
    pub fn sealed(
        &mut self,
        lease: LeaseName,
        log_size: u64,
        log_cut: &str,
        now: Moment,
    ) -> Option<Change> {
        let id = lease.attempt.execution;
        let live = self.live.get_mut(&id)?;
        if live.record.attempt_id() != lease.attempt || live.record.attempt.ending.is_none() {
            return None;
        }
        live.record.log_size = log_size;
        live.record.log_cut = log_cut.to_owned();
        self.apply(id, Event::Seal(lease.epoch), now).ok()
    }

    fn prepared(&mut self, lease: LeaseName, identity: String, now: Moment) -> Reported {
        let id = lease.attempt.execution;
        let Some(live) = self.live.get_mut(&id) else { return Reported::AskHistory };
        match &live.record.identity {
            Some(known) if *known != identity => {
                return Reported::superseded("another was prepared for this attempt already");
            }
            Some(_) => return Reported::Verdict(Vec::new(), Verdict::Recorded),
            None => {}
        }
        if !matches!(live.record.attempt.state, State::Leased(_)) {
            return Reported::superseded("this attempt went on without being prepared here");
        }
        if let Err(refused) = self.apply(id, Event::Prepare(lease.epoch), now) {
            return Reported::superseded(&refused.to_string());
        }
        let Some(live) = self.live.get_mut(&id) else { return Reported::AskHistory };
        live.record.identity = Some(identity);
        let change = Change::Live(Box::new(live.record.clone()));
        Reported::Verdict(vec![change], Verdict::Recorded)
    }

    fn recorded(&mut self, lease: LeaseName, event: Event, now: Moment) -> Reported {
        let id = lease.attempt.execution;
        let was = self.live(id).map(|record| record.attempt.state);
        match self.apply(id, event, now) {
            Ok(Change::Live(record)) if was == Some(record.attempt.state) => {
                Reported::Verdict(Vec::new(), Verdict::Recorded)
            }
            Ok(change) => Reported::Verdict(vec![change], Verdict::Recorded),
            Err(refused) => Reported::superseded(&refused.to_string()),
        }
    }

    /// It runs, or ran when it was last seen: `unseen` says why nobody knows more; empty: it is seen.
    fn runs(&mut self, lease: LeaseName, unseen: String, now: Moment) -> Reported {
        match self.recorded(lease, Event::Start(lease.epoch), now) {
            Reported::Verdict(changes, Verdict::Recorded) => {
                let words = self.unseen(lease.attempt.execution, unseen, now);
                // What is written last has all of it.
                let changes = if words.is_empty() { changes } else { words };
                Reported::Verdict(changes, Verdict::Recorded)
            }
            refused => refused,
        }
    }

    fn ended(&mut self, lease: LeaseName, ending: Ending, now: Moment) -> Reported {
        let id = lease.attempt.execution;
        let Some(record) = self.live(id) else { return Reported::AskHistory };
        let ending = in_our_words(record, self.waits_for(record), ending);
        if let Some(known) = record.ending.clone() {
            return self.ended_again(id, *known, ending);
        }
        if let Err(refused) = self.apply(id, Event::End(lease.epoch, ending.outcome), now) {
            return Reported::superseded(&refused.to_string());
        }
        let Some(live) = self.live.get_mut(&id) else { return Reported::AskHistory };
        live.record.ending = Some(Box::new(ending.clone()));
        Reported::Seal(vec![Change::Live(Box::new(live.record.clone()))], ending)
    }
}

impl View {
    /// The first end stands. Said again it only brings the rest of the log, or says how much there is of one that is not
    /// whole, or was not: its holder may have found more of it meanwhile, or less.
    fn ended_again(&mut self, id: ExecutionId, known: Ending, ending: Ending) -> Reported {
        if known.outcome != ending.outcome {
            return Reported::superseded(&known.reason);
        }
        if known.log == ending.log {
            return Reported::Seal(Vec::new(), known);
        }
        match self.live.get_mut(&id) {
            Some(live)
                if known.log.is_some()
                    && !(known.log_cut.is_empty() && ending.log_cut.is_empty()) =>
            {
                let ending = Ending { log: ending.log, log_cut: ending.log_cut, ..known };
                live.record.ending = Some(Box::new(ending.clone()));
                Reported::Seal(vec![Change::Live(Box::new(live.record.clone()))], ending)
            }
            _ => Reported::superseded(&known.reason),
        }
    }
}

impl Reported {
    fn superseded(reason: &str) -> Self {
        Self::Verdict(Vec::new(), Verdict::Superseded(reason.to_owned()))
    }
}

impl Right {
    /// What an executor may do with the log of what it does not hold any more.
    pub fn afterwards(record: &Record, lease: LeaseName, executor: &ExecutorId) -> Self {
        if record.awaits_word_of(lease, executor) { Self::Extend } else { Self::Nothing }
    }
}

impl Verdict {
    /// What to answer to a report about an execution that is over: its holder's last word may be said again.
    pub fn from_history(record: &Record, lease: LeaseName, report: &Report) -> Self {
        let State::Ended { epoch, outcome } = record.attempt.state else {
            return Self::Superseded("this execution is not known".to_owned());
        };
        match report {
            Report::Ended(ending)
                if record.attempt_id() == lease.attempt
                    && epoch == lease.epoch
                    && outcome == ending.outcome =>
            {
                Self::Recorded
            }
            Report::Ended(_)
            | Report::Prepared(_)
            | Report::Starting(_)
            | Report::Running
            | Report::Unseen(_) => Self::Superseded("this execution is over".to_owned()),
        }
    }
}
