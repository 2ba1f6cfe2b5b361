//! The groups of jobs, as whoever lets callers in sees them: read for each call, without waiting for anybody.

use super::{Gone, Job, rules::nearest};
use octavius_protocol::id::JobName;
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::watch;

/// What is seen of a job.
#[derive(Debug)]
enum Seen {
    /// It is there.
    There(Arc<Job>),
    /// It was deleted: its executions may still be looked at.
    Gone(Option<Vec<String>>),
}

/// What the registry tells.
pub(super) type Told = watch::Sender<BTreeMap<JobName, Shown>>;

/// What is seen of a job.
#[derive(Debug)]
pub(super) struct Shown(Seen);

impl From<&Arc<Job>> for Shown {
    fn from(job: &Arc<Job>) -> Self {
        Self(Seen::There(job.clone()))
    }
}

impl From<&Gone> for Shown {
    fn from(gone: &Gone) -> Self {
        Self(Seen::Gone(gone.authorized_groups.clone()))
    }
}

/// The groups of jobs.
#[derive(Clone, Debug)]
pub struct JobsView(pub(super) watch::Receiver<BTreeMap<JobName, Shown>>);

impl JobsView {
    /// What `look` makes of the groups that may use a job; none: nobody knows, because it was never there, or is gone for
    /// too long.
    pub fn with_groups_of<T>(&self, job: &JobName, look: impl FnOnce(Option<&[String]>) -> T) -> T {
        match self.0.borrow().get(job) {
            Some(Shown(Seen::There(job))) => look(Some(&job.definition.authorized_groups)),
            Some(Shown(Seen::Gone(groups))) => look(groups.as_deref()),
            None => look(None),
        }
    }

    /// Whether a job is there.
    pub fn is_there(&self, job: &JobName) -> bool {
        matches!(self.0.borrow().get(job), Some(Shown(Seen::There(_))))
    }

    /// Of the jobs that are there, and of which `seen` holds, the one whose name is nearly this.
    pub fn nearest(&self, name: &str, seen: impl Fn(&JobName) -> bool) -> Option<JobName> {
        let there: Vec<JobName> = {
            let told = self.0.borrow();
            let is_there = |shown: &Shown| matches!(shown.0, Seen::There(_));
            told.iter().filter(|(_, shown)| is_there(shown)).map(|(job, _)| job.clone()).collect()
        };
        let names = there.iter().filter(|job| seen(job)).map(JobName::as_str);
        nearest(name, names).and_then(|name| name.parse().ok())
    }
}

#[cfg(test)]
impl JobsView {
    /// Jobs that are there, and their groups.
    pub(crate) fn for_tests(jobs: &[(&str, &[&str])]) -> Self {
        let job = |(name, groups): &(&str, &[&str])| {
            let name: JobName = name.parse().unwrap();
            let groups = groups.iter().map(|group| (*group).to_owned()).collect();
            let definition =
                super::JobDefinition { authorized_groups: groups, ..Default::default() };
            let job = Arc::new(Job {
                name: name.clone(),
                uid: String::new(),
                version: 1,
                first_version: 1,
                created_at: jiff::Timestamp::UNIX_EPOCH,
                created_by: String::new(),
                definition,
            });
            (name, Shown::from(&job))
        };
        Self(watch::channel(jobs.iter().map(job).collect()).1)
    }
}
