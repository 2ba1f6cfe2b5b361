//! What an execution asks of an executor, and the queue of those that ask for the same.
//!
//! There is one queue for each wish, so that what a decision looks at grows with the kinds of wishes, not with how
//! many wait.

use super::{
    super::record::{Needs, Record},
    Seat, View,
};
use octavius_protocol::id::{ExecutionId, JobName};
use std::collections::BTreeMap;

/// The label that each executor has without being told: its id.
pub(super) const EXECUTOR: &str = "executor";

/// What an executor must be, and whose bound it counts against.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Wants {
    pub(super) needs: Needs,
    pub(super) labels: BTreeMap<String, String>,
    /// The job, and how many of its executions run at once; none: any number.
    pub(super) bound: Option<(JobName, usize)>,
}

impl Wants {
    pub(super) fn of(record: &Record) -> Self {
        let most = record.terms.concurrency as usize;
        Self {
            needs: record.needs,
            labels: record.terms.labels(),
            bound: (most > 0).then(|| (record.job.clone(), most)),
        }
    }
}

impl Seat {
    /// Whether it could run what asks for this.
    pub(super) fn serves(&self, wants: &Wants) -> bool {
        let has = |(name, value): (&String, &String)| self.labels.get(name) == Some(value);
        self.runner.serves(wants.needs) && wants.labels.iter().all(has)
    }
}

impl View {
    pub(super) fn enter_queue(&mut self, record: &Record) {
        let queue = self.pending.entry(Wants::of(record)).or_default();
        queue.insert(record.order, record.id);
    }

    pub(super) fn leave_queue(&mut self, record: &Record) {
        let wants = Wants::of(record);
        if let Some(queue) = self.pending.get_mut(&wants) {
            queue.remove(&record.order);
            if queue.is_empty() {
                self.pending.remove(&wants);
            }
        }
    }

    /// How many more of a job may run now.
    pub(super) fn bound_room(&self, wants: &Wants) -> usize {
        wants.bound.as_ref().map_or(usize::MAX, |(job, most)| {
            most.saturating_sub(self.running.get(job).copied().unwrap_or(0))
        })
    }

    /// Counts an attempt that takes a place, or no longer does.
    pub(super) fn count(&mut self, job: &JobName, was: bool, is: bool) {
        match (was, is) {
            (false, true) => *self.running.entry(job.clone()).or_default() += 1,
            (true, false) => {
                if let Some(running) = self.running.get_mut(job) {
                    *running -= 1;
                    if *running == 0 {
                        self.running.remove(job);
                    }
                }
            }
            (true, true) | (false, false) => {}
        }
    }

    /// The first `most` that an executor could run, first come first served, none beyond its job's bound.
    pub(super) fn first_for(&self, seat: &Seat, most: usize) -> Vec<ExecutionId> {
        let mut first = Vec::new();
        for (wants, queue) in self.pending.iter().filter(|(wants, _)| seat.serves(wants)) {
            let room = most.min(self.bound_room(wants));
            first.extend(queue.iter().take(room).map(|(order, id)| (*order, *id, &wants.bound)));
        }
        first.sort_unstable_by_key(|(order, ..)| *order);
        let mut taken: BTreeMap<&JobName, usize> = BTreeMap::new();
        let mut chosen = Vec::new();
        for (_, id, bound) in first {
            if chosen.len() == most {
                break;
            }
            if let Some((job, limit)) = bound {
                let taken = taken.entry(job).or_default();
                if self.running.get(job).copied().unwrap_or(0) + *taken >= *limit {
                    continue;
                }
                *taken += 1;
            }
            chosen.push(id);
        }
        chosen
    }
}
