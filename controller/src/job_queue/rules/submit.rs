//! New executions, and the wish that one end.

use super::{
    super::{
        attempt::{Attempt, Event, Outcome},
        record::{Change, Ending, Needs, Record, Spec, Step},
        terms::{ExecutorTerms, Terms},
    },
    CutWanted, Moment, View,
    lines::Reached,
};
use crate::registry::OnLimit;
use octavius_protocol::id::{AttemptNumber, ExecutionId, Session};
use std::{collections::BTreeSet, sync::Arc};

/// One request to run a job, after it was found to be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// The id that it gets.
    pub id: ExecutionId,
    /// What is to be run.
    pub spec: Spec,
    /// What it runs under.
    pub terms: Arc<Terms>,
    /// What runs one at a time of its job.
    pub concurrency_key: Option<Arc<str>>,
    /// Whether it is refused where no executor that has registered could ever run it.
    pub require_executor: bool,
    /// The caller's name for this wish, if it has one.
    pub request_id: Option<String>,
}

/// Why nothing was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubmitRefused {
    /// No executor that has registered could ever run it, and that was asked for; in words.
    NoExecutor(String),
    /// So many executions wait already.
    Full {
        /// The bound.
        limit: usize,
    },
    /// So many executions of its team wait already.
    TeamFull {
        /// The team; empty: of all jobs without one.
        team: Arc<str>,
        /// The bound.
        limit: usize,
    },
    /// A limit of its job is reached, and it says that nothing waits for that.
    AtLimit(Reached),
}

/// What a request came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// The new execution.
    pub record: Record,
    /// What the store has to make of it.
    pub changes: Vec<Change>,
    /// What ends because the new one takes its place: to be stored behind it, each by itself.
    pub replaced: Vec<Change>,
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
    ) -> Result<Submitted, SubmitRefused> {
        let Submission { id, spec, terms, concurrency_key, require_executor, request_id } =
            submission;
        let record = Record {
            id,
            order: self.next_order,
            came_ms: Some(self.clock.shows(now)),
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
            afterwards: None,
            log_size: 0,
            log_cut: String::new(),
            notes: Vec::new(),
            concurrency_key,
            request_id: request_id.clone(),
            rerun_of: spec.again.as_ref().map(|again| again.of),
            has_secret_arguments: !spec.hidden.arguments.is_empty(),
            history: vec![(Step::Pending, now.at)],
        };
        if require_executor && let Some(why) = self.nobody_could(&record) {
            return Err(SubmitRefused::NoExecutor(why));
        }
        let spot = self.spot(&record);
        // Who replaces the last that waits goes on with its wait: a team that does so again and again gets its turn.
        let passed_over = self.lines.passed_over(&spot);
        let replaced = self.make_room(&record, now)?;
        self.next_order += 1;
        self.keep(record.clone(), now);
        self.lines.pass_over(&spot, passed_over);
        let submitted = Change::Submitted(id, Box::new(spec), request_id);
        let changes = vec![submitted, Change::Live(Box::new(record.clone()))];
        Ok(Submitted { record, changes, replaced })
    }

    /// Refuses what goes beyond a bound, and ends what a new execution takes the place of.
    fn make_room(&mut self, record: &Record, now: Moment) -> Result<Vec<Change>, SubmitRefused> {
        let spot = self.spot(record);
        let over: BTreeSet<(u64, ExecutionId)> = match record.terms.on_limit {
            OnLimit::Queue => BTreeSet::new(),
            OnLimit::Refuse => match self.lines.reached(&spot, &self.pausing_of(record)) {
                Some(limit) => return Err(SubmitRefused::AtLimit(limit)),
                None => BTreeSet::new(),
            },
            OnLimit::Replace => self.lines.beyond(&spot, &self.pausing_of(record)),
        };
        let waiting = self.waiting() + self.pausing();
        if waiting.saturating_sub(over.len()) >= self.limits.pending {
            return Err(SubmitRefused::Full { limit: self.limits.pending });
        }
        let of_team = self.lines.len_of(&spot.team) + self.pausing.len_of(&spot.team);
        if of_team.saturating_sub(over.len()) >= self.limits.pending_of_team {
            let limit = self.limits.pending_of_team;
            return Err(SubmitRefused::TeamFull { team: spot.team, limit });
        }
        let over = over.into_iter().filter_map(|(_, id)| self.replace(id, record.id, now));
        Ok(over.collect())
    }

    /// What waits until it is tried again, of the same job.
    fn pausing_of(&self, record: &Record) -> Vec<&Record> {
        self.pausing.of_job(&record.job).filter_map(|id| self.live(id)).collect()
    }

    /// Ends what waits, for a newer one takes its place.
    fn replace(&mut self, id: ExecutionId, by: ExecutionId, now: Moment) -> Option<Change> {
        let live = self.live.get_mut(&id)?;
        live.record.ending = Some(Box::new(Ending {
            outcome: Outcome::Cancelled,
            code: "replaced".to_owned(),
            reason: format!(
                "execution {by} took its place: `on_limit` of job `{}` is `replace`",
                live.record.job
            ),
            exit_code: None,
            log: None,
            log_cut: String::new(),
            note: String::new(),
        }));
        self.apply(id, Event::Cancel, now).ok()
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
            Change::Submitted(..) | Change::Afterwards(_) => return None,
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
