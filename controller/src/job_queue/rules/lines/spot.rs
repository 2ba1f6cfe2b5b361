//! Where an execution stands: in which line, and at which place of it.

use crate::job_queue::record::{Needs, Record};
use octavius_protocol::id::JobName;
use std::{collections::BTreeMap, ops::RangeInclusive, sync::Arc, time::Duration};

/// The label that each executor has without being told: its id.
pub(in crate::job_queue::rules) const EXECUTOR: &str = "executor";

/// What an executor must be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::job_queue::rules) struct Demand {
    pub(in crate::job_queue::rules) needs: Needs,
    /// Shared by all that are kept of the same.
    pub(in crate::job_queue::rules) labels: Arc<BTreeMap<String, String>>,
}

impl Demand {
    pub(in crate::job_queue::rules) fn of(record: &Record) -> Self {
        Self { needs: record.needs, labels: record.terms.labels().into() }
    }

    /// The one executor that can serve it, if it names one.
    pub(in crate::job_queue::rules) fn pinned(&self) -> Option<&str> {
        self.labels.get(EXECUTOR).map(String::as_str)
    }
}

/// Whose places are counted together when they are shared out; empty: those of all jobs without a team.
pub(in crate::job_queue::rules) type Team = Arc<str>;

/// What is one at a time, of one job: a value; none: nothing is.
pub(super) type Key = Option<Arc<str>>;

/// A job, and how many of its executions run at once; 0: any number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Bound {
    pub(super) job: JobName,
    pub(super) most: usize,
}

impl Bound {
    /// All of a job: its versions may have other limits.
    pub(super) fn all(job: &JobName) -> RangeInclusive<Self> {
        Self { job: job.clone(), most: 0 }..=Self { job: job.clone(), most: usize::MAX }
    }
}

/// A place in the order of a team: the lower is served first.
///
/// Whoever waits gains a step of priority in each `ageing`. All gain at the same rate, so that the order of two never
/// changes while they wait: it is that of the times at which they came, each less what its priority is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::job_queue::rules) struct Turn {
    /// In milliseconds by the queue's clock.
    worth: i64,
    pub(super) order: u64,
}

impl Turn {
    fn of(record: &Record, ageing: Duration) -> Self {
        let step = i64::try_from(ageing.as_millis()).unwrap_or(i64::MAX);
        let lead = step.saturating_mul(i64::from(record.terms.priority()));
        Self { worth: came_at(record).saturating_sub(lead), order: record.order }
    }
}

/// When an execution came, in milliseconds by the queue's clock: an older one never after a newer one. Where an earlier
/// version did not store it, the id tells.
pub(in crate::job_queue::rules) fn came_at(record: &Record) -> i64 {
    record.came_ms.unwrap_or_else(|| i64::try_from(record.id.made_at()).unwrap_or(i64::MAX))
}

/// Where an execution stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::job_queue::rules) struct Spot {
    pub(in crate::job_queue::rules) demand: Demand,
    pub(in crate::job_queue::rules) team: Team,
    pub(super) bound: Bound,
    pub(super) key: Key,
    pub(in crate::job_queue::rules) turn: Turn,
}

impl Spot {
    pub(in crate::job_queue::rules) fn of(record: &Record, ageing: Duration) -> Self {
        Self {
            demand: Demand::of(record),
            team: record.terms.team.clone(),
            bound: Bound { job: record.job.clone(), most: record.terms.concurrency as usize },
            key: record.concurrency_key.clone(),
            turn: Turn::of(record, ageing),
        }
    }
}
