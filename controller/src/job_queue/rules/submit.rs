//! New executions, and the wish that one end.

use super::{
    super::{
        attempt::{Attempt, Event},
        record::{Change, Needs, Record, Spec, Step},
        terms::{ExecutorTerms, Terms},
    },
    CutWanted, Moment, View,
};
use octavius_protocol::id::{AttemptNumber, ExecutionId, Session};
use std::sync::Arc;

/// One request to run a job, after it was found to be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// The id that it gets.
    pub id: ExecutionId,
    /// What is to be run.
    pub spec: Spec,
    /// What it runs under.
    pub terms: Arc<Terms>,
    /// The caller's name for this wish, if it has one.
    pub request_id: Option<String>,
}

/// Why nothing was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubmitRefused {
    /// So many executions wait already.
    Full {
        /// The bound.
        limit: usize,
    },
}

/// What a cancel came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancelled {
    /// The execution as it stands then.
    pub record: Record,
    /// What the store has to make of it; nothing where nothing changed.
    pub changes: Vec<Change>,
    /// The session that has to hear of it.
    pub wake: Option<Session>,
    /// The log that is not waited for, if it was forced.
    pub cut: Option<CutWanted>,
}

impl View {
    /// Accepts an execution, behind all that wait.
    pub fn submit(
        &mut self,
        submission: Submission,
        now: Moment,
    ) -> Result<(Record, Vec<Change>), SubmitRefused> {
        if self.waiting() + self.pausing() >= self.limits.pending {
            return Err(SubmitRefused::Full { limit: self.limits.pending });
        }
        let Submission { id, spec, terms, request_id } = submission;
        let record = Record {
            id,
            order: self.next_order,
            job: spec.job.clone(),
            job_version: spec.job_version,
            user: spec.user.clone(),
            needs: if spec.command.is_empty() { Needs::Images } else { Needs::Any },
            terms,
            offer: ExecutorTerms::default(),
            earlier: Vec::new(),
            retry_at: None,
            last_try: false,
            number: AttemptNumber(1),
            attempt: Attempt::NEW,
            executor: None,
            runner: None,
            identity: None,
            waits_for: String::new(),
            ending: None,
            ending_heard: None,
            log_size: 0,
            log_cut: String::new(),
            notes: Vec::new(),
            request_id: request_id.clone(),
            rerun_of: spec.again.as_ref().map(|again| again.of),
            has_secret_arguments: !spec.hidden.arguments.is_empty(),
            history: vec![(Step::Pending, now.at)],
        };
        self.next_order += 1;
        self.keep(record.clone(), now);
        let submitted = Change::Submitted(id, Box::new(spec), request_id);
        Ok((record.clone(), vec![submitted, Change::Live(Box::new(record))]))
    }

    /// Takes the wish of `user` that an execution end. None: it is not live.
    pub fn cancel(&mut self, id: ExecutionId, user: &str, now: Moment) -> Option<Cancelled> {
        let live = self.live.get_mut(&id)?;
        let was = live.record.attempt;
        if !was.cancelling && was.ending.is_none() {
            live.record.notes.push(format!("{user} asked that it end"));
        }
        // What has a result keeps it. That it is tried again is not wanted any more.
        let last_try = was.ending.is_some() && live.record.number.0 < live.record.max_attempts();
        if last_try {
            live.record.last_try = true;
            live.record.notes.push(format!("{user} asked that it not be tried again"));
        }
        // A cancel applies to every state; where it comes too late it changes nothing.
        let change = self.apply(id, Event::Cancel, now).ok()?;
        let record = match &change {
            Change::Live(record) | Change::Done(record) => (**record).clone(),
            Change::Submitted(..) => return None,
        };
        let unchanged = record.attempt == was && !last_try;
        let changes = if unchanged { Vec::new() } else { vec![change] };
        let wake = record.attempt.held().and_then(|_| self.session_of(record.executor.as_ref()?));
        Some(Cancelled { record, changes, wake, cut: None })
    }

    /// The same, without waiting for the word of its holder: whether anything runs on is not known then. What has a
    /// result keeps it.
    pub fn force(&mut self, id: ExecutionId, user: &str, now: Moment) -> Option<Cancelled> {
        let cancelled = self.cancel(id, user, now)?;
        let attempt = cancelled.record.attempt;
        let Some(executor) = cancelled.record.executor.clone().filter(|_| attempt.to_be_stopped())
        else {
            return Some(cancelled);
        };
        let reason = match self.seats.get(&executor) {
            Some(seat) if seat.ready => format!(
                "cancelled, unconfirmed: {user} did not wait until executor {executor} had stopped it"
            ),
            _ => self.unconfirmed(&executor),
        };
        let Some(Change::Live(record)) = self.give_up(id, Event::Unconfirmed, &reason, now) else {
            return Some(cancelled);
        };
        let cut = self.cut_wanted(id);
        let changes = vec![Change::Live(record.clone())];
        Some(Cancelled { record: *record, changes, cut, ..cancelled })
    }
}
