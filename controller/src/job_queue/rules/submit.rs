//! New executions, and the wish that one end.

use super::{
    super::{
        attempt::{Attempt, Event},
        record::{Change, Needs, Record, Spec, Step},
    },
    Moment, View,
};
use octavius_protocol::id::{AttemptNumber, ExecutionId, Session};

/// One request to run a job, after it was found to be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// The id that it gets.
    pub id: ExecutionId,
    /// What is to be run.
    pub spec: Spec,
    /// The caller's name for this wish, if it has one.
    pub request_id: Option<String>,
    /// What the user should know besides.
    pub notes: Vec<String>,
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
}

impl View {
    /// Accepts an execution, behind all that wait.
    pub fn submit(
        &mut self,
        submission: Submission,
        now: Moment,
    ) -> Result<(Record, Vec<Change>), SubmitRefused> {
        if self.waiting() >= self.limits.pending {
            return Err(SubmitRefused::Full { limit: self.limits.pending });
        }
        let Submission { id, spec, request_id, notes } = submission;
        let record = Record {
            id,
            order: self.next_order,
            job: spec.job.clone(),
            job_version: spec.job_version,
            user: spec.user.clone(),
            needs: if spec.command.is_empty() { Needs::Images } else { Needs::Any },
            number: AttemptNumber(1),
            attempt: Attempt::NEW,
            executor: None,
            identity: None,
            ending: None,
            log_size: 0,
            log_cut: String::new(),
            notes,
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
        // A cancel applies to every state; where it comes too late it changes nothing.
        let change = self.apply(id, Event::Cancel, now).ok()?;
        let record = match &change {
            Change::Live(record) | Change::Done(record) => (**record).clone(),
            Change::Submitted(..) => return None,
        };
        let changes = if record.attempt == was { Vec::new() } else { vec![change] };
        let wake = record.attempt.held().and_then(|_| self.session_of(record.executor.as_ref()?));
        Some(Cancelled { record, changes, wake })
    }
}
