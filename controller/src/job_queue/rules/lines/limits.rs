//! The limits of a job: how many of it run at once, and one at a time of each value of its key.

use super::{Bound, Key, Lines, OfKey, Spot, Turn};
use crate::job_queue::record::Record;
use octavius_protocol::id::{ExecutionId, JobName};
use std::{
    collections::BTreeSet,
    fmt,
    ops::Bound::{Included, Unbounded},
    sync::Arc,
};

/// A limit of a job that is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Whose limit.
    pub job: JobName,
    /// What is one at a time; none: the limit is of all executions of the job.
    pub key: Option<Arc<str>>,
    /// How many run at once.
    pub most: usize,
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            None => write!(f, "`concurrency` of job `{}` is {}", self.job, self.most),
            Some(key) => write!(
                f,
                "`concurrency_key` of job `{}` lets one at a time run with {key}",
                self.job
            ),
        }
    }
}

impl Spot {
    fn one_at_a_time(&self) -> Reached {
        Reached { job: self.bound.job.clone(), key: self.key.clone(), most: 1 }
    }
}

impl Lines {
    /// The limit of its job that holds this one up, whatever executors there are.
    pub(in super::super) fn held_up(&self, spot: &Spot) -> Option<Reached> {
        let Spot { bound: Bound { job, most }, key, .. } = spot;
        let of_job = !self.running.has_room(job, *most);
        let job = of_job.then(|| Reached { job: job.clone(), key: None, most: *most });
        job.or_else(|| self.running.is_taken(&spot.bound.job, key).then(|| spot.one_at_a_time()))
    }

    /// The limit of its job that those that run and those that wait, here or `pausing`, reach together.
    pub(in super::super) fn reached(&self, spot: &Spot, pausing: &[&Record]) -> Option<Reached> {
        let Spot { bound: Bound { job, most }, key, .. } = spot;
        let waiting = || self.waiting_of(job, None).count() + pausing.len();
        if *most > 0 && self.running.of_job(job) + waiting() >= *most {
            return Some(Reached { job: job.clone(), key: None, most: *most });
        }
        let of_key = || {
            self.running.is_taken(job, key)
                || self.waiting_of(job, Some(key)).next().is_some()
                || pausing.iter().any(|record| record.concurrency_key == *key)
        };
        (key.is_some() && of_key()).then(|| spot.one_at_a_time())
    }

    /// Those that wait, here or `pausing`, and are beyond the limits of their job with this one: the oldest, by their
    /// orders.
    pub(in super::super) fn beyond(
        &self,
        spot: &Spot,
        pausing: &[&Record],
    ) -> BTreeSet<(u64, ExecutionId)> {
        let Spot { bound: Bound { job, most }, key, .. } = spot;
        let oldest = |of: Option<&Key>, running: usize, most: usize| {
            let waiting = self.waiting_of(job, of).map(|(_, turn, id)| (turn.order, id));
            let pausing =
                pausing.iter().filter(|record| of.is_none_or(|key| record.concurrency_key == *key));
            let pausing = pausing.map(|record| (record.order, record.id));
            let waiting: BTreeSet<_> = waiting.chain(pausing).collect();
            let more = (running + waiting.len() + 1).saturating_sub(most);
            waiting.into_iter().take(more).collect::<Vec<_>>()
        };
        let of_job = (*most > 0).then(|| oldest(None, self.running.of_job(job), *most));
        let taken = usize::from(self.running.is_taken(job, key));
        let of_key = key.is_some().then(|| oldest(Some(key), taken, 1));
        of_job.into_iter().chain(of_key).flatten().collect()
    }

    /// What waits of a job, with how many of it may run at once: all of it, or what has this key.
    fn waiting_of(
        &self,
        job: &JobName,
        key: Option<&Key>,
    ) -> impl Iterator<Item = (usize, Turn, ExecutionId)> {
        self.keys_of(job, key).flat_map(|(most, of_key)| {
            of_key.waiting.iter().map(move |(turn, id)| (most, *turn, *id))
        })
    }

    /// The same by the values of the job's key.
    fn keys_of(&self, job: &JobName, key: Option<&Key>) -> impl Iterator<Item = (usize, &OfKey)> {
        let wanted = match key {
            Some(key) => (Included(key), Included(key)),
            None => (Unbounded, Unbounded),
        };
        self.places.range(Bound::all(job)).flat_map(move |(bound, keys)| {
            let places = keys.range(wanted);
            let places = places.flat_map(|(key, places)| places.iter().map(move |at| (key, at)));
            places.filter_map(move |(key, (demand, team))| {
                let of_job = self.line(demand, team)?.jobs.get(bound)?;
                Some((bound.most, of_job.keys.get(key)?))
            })
        })
    }

    /// How many wait before this one for the same limit of its job, counted up to `most`.
    pub(in super::super) fn before_of(&self, spot: &Spot, limit: &Reached, most: usize) -> usize {
        let key = limit.key.is_some().then_some(&spot.key);
        let limited = |(bound, _): &(usize, &OfKey)| key.is_some() || *bound > 0;
        let keys = self.keys_of(&limit.job, key).filter(limited);
        keys.flat_map(|(_, of_key)| of_key.waiting.range(..spot.turn)).take(most).count()
    }
}
