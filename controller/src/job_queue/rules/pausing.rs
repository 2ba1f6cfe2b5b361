//! What waits until it is tried again, by job, and how many of each team.

use super::{
    super::record::Record,
    lines::{Team, less},
};
use octavius_protocol::id::{ExecutionId, JobName};
use std::collections::{BTreeMap, BTreeSet};

/// All that wait until they are tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Pausing {
    all: BTreeSet<(JobName, ExecutionId)>,
    teams: BTreeMap<Team, usize>,
}

impl Pausing {
    pub(super) fn insert(&mut self, record: &Record) {
        if self.all.insert((record.job.clone(), record.id)) {
            *self.teams.entry(record.terms.team.clone()).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, record: &Record) {
        if self.all.remove(&(record.job.clone(), record.id)) {
            less(&mut self.teams, &record.terms.team);
        }
    }

    pub(super) fn has(&self, record: &Record) -> bool {
        self.all.contains(&(record.job.clone(), record.id))
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// How many of a team wait so.
    pub(super) fn len_of(&self, team: &Team) -> usize {
        self.teams.get(team).copied().unwrap_or(0)
    }

    /// Those of one job.
    pub(super) fn of_job(&self, job: &JobName) -> impl Iterator<Item = ExecutionId> {
        let first = (job.clone(), ExecutionId::from_bytes([0; 16]));
        let same = self.all.range(first..).take_while(move |(other, _)| other == job);
        same.map(|(_, id)| *id)
    }
}
