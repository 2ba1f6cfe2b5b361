//! What waits for an executor, in the order in which it is served.
//!
//! Those that ask for the same executor, belong to the same team and count against the same bounds stand in one line. What
//! a decision for an executor looks at grows with what is asked for that this one could serve and with the teams, and with
//! the logarithm of how many wait: who asks for others is not passed, and a bound that is reached takes all that it holds
//! up out of the way at once.

mod asked;
mod limits;
mod spot;
mod tree;

pub(super) use asked::Asked;
pub use limits::Reached;
use spot::{Bound, Key, Turn};
pub(super) use spot::{Demand, EXECUTOR, Spot, Team, came_at};
#[cfg(test)]
pub(super) use tree::LOOKS;
pub(super) use tree::Teams;
use tree::Tree;

use super::{super::record::Record, Seat};
use octavius_protocol::id::{ExecutionId, JobName};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// The first of each of several in their order, with what it is the first of.
type Heads<T> = BTreeMap<Turn, (T, ExecutionId)>;

/// Those that wait for one value of a job's key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct OfKey {
    waiting: BTreeMap<Turn, ExecutionId>,
    /// Its first, where that is among the heads of its job.
    shown: Option<Turn>,
}

/// Those of one job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct OfJob {
    keys: BTreeMap<Key, OfKey>,
    /// The first of each key that is free.
    heads: Heads<Key>,
    /// Its first, where that is among the heads of its line.
    shown: Option<Turn>,
}

/// Those of one team that ask for the same executor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Line {
    jobs: BTreeMap<Bound, OfJob>,
    /// The first of each job whose bound is not reached.
    heads: Heads<Bound>,
    /// When another team was first served before its first, since one of it was served; none: none was. By the monotonic
    /// clock.
    passed_over: Option<Duration>,
}

/// What takes places now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Running {
    jobs: BTreeMap<JobName, usize>,
    keys: BTreeMap<(JobName, Arc<str>), usize>,
    teams: BTreeMap<Team, usize>,
}

/// A line by what is asked for, and the team.
type Place = (Demand, Team);

/// The first of a team for an executor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct First {
    pub(super) team: Team,
    pub(super) turn: Turn,
    pub(super) id: ExecutionId,
    /// When another team was first served before it.
    pub(super) passed_over: Option<Duration>,
}

/// All that wait, and what holds them up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Lines {
    /// By the one executor that is wanted, if only one is.
    lines: BTreeMap<Option<String>, Tree>,
    /// In which lines the executions of each job and value of its key stand.
    places: BTreeMap<Bound, BTreeMap<Key, BTreeSet<Place>>>,
    /// All of them as they came.
    came: BTreeMap<u64, ExecutionId>,
    /// How many of each team wait.
    teams: BTreeMap<Team, usize>,
    running: Running,
}

impl Lines {
    pub(super) fn enter(&mut self, spot: Spot, id: ExecutionId) {
        let Spot { demand, team, bound, key, turn } = spot;
        if self.came.insert(turn.order, id).is_none() {
            *self.teams.entry(team.clone()).or_default() += 1;
        }
        let pinned = demand.pinned().map(str::to_owned);
        let (demand, teams) = self.lines.entry(pinned).or_default().entry(demand);
        let keys = self.places.entry(bound.clone()).or_default();
        keys.entry(key.clone()).or_default().insert((demand, team.clone()));
        let line = teams.entry(team).or_default();
        let of_job = line.jobs.entry(bound.clone()).or_default();
        of_job.keys.entry(key.clone()).or_default().waiting.insert(turn, id);
        self.running.show(line, &bound, Some(&key));
    }

    pub(super) fn leave(&mut self, spot: &Spot) {
        let Spot { demand, team, bound, key, turn } = spot;
        if self.came.remove(&turn.order).is_some() {
            less(&mut self.teams, team);
        }
        let pinned = demand.pinned().map(str::to_owned);
        let Some(tree) = self.lines.get_mut(&pinned) else { return };
        let Some(teams) = tree.get_mut(demand) else { return };
        let Some(line) = teams.get_mut(team) else { return };
        let Some(of_job) = line.jobs.get_mut(bound) else { return };
        if let Some(of_key) = of_job.keys.get_mut(key) {
            of_key.waiting.remove(turn);
        }
        self.running.show(line, bound, Some(key));
        // Nothing is kept for those who have left.
        let Some(of_job) = line.jobs.get_mut(bound) else { return };
        if of_job.keys.get(key).is_some_and(|of_key| of_key.waiting.is_empty()) {
            of_job.keys.remove(key);
            leave(&mut self.places, bound, key, &(demand.clone(), team.clone()));
        }
        if !of_job.keys.is_empty() {
            return;
        }
        line.jobs.remove(bound);
        if line.jobs.is_empty() {
            teams.remove(team);
        }
        if teams.is_empty() {
            tree.remove(demand);
        }
        if tree.is_empty() {
            self.lines.remove(&pinned);
        }
    }

    /// Counts an attempt that takes a place, or no longer does.
    pub(super) fn count(&mut self, record: &Record, was: bool, is: bool) {
        let (job, key) = (&record.job, &record.concurrency_key);
        let (before, was_taken) = (self.running.of_job(job), self.running.is_taken(job, key));
        match (was, is) {
            (false, true) => self.running.more(job, key, &record.terms.team),
            (true, false) => self.running.less(job, key, &record.terms.team),
            (true, true) | (false, false) => return,
        }
        if was_taken != self.running.is_taken(job, key) {
            for (bound, keys) in self.places.range(Bound::all(job)) {
                for (demand, team) in keys.get(key).into_iter().flatten() {
                    if let Some(line) = line_mut(&mut self.lines, demand, team) {
                        self.running.show(line, bound, Some(key));
                    }
                }
            }
        }
        // No other limit is reached now that was not before, or was before and is not now.
        let limit = Bound { job: job.clone(), most: before.max(self.running.of_job(job)) };
        for (demand, team) in
            self.places.get(&limit).into_iter().flat_map(BTreeMap::values).flatten()
        {
            if let Some(line) = line_mut(&mut self.lines, demand, team) {
                self.running.show(line, &limit, None);
            }
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.came.len()
    }

    /// How many of a team wait.
    pub(super) fn len_of(&self, team: &Team) -> usize {
        self.teams.get(team).copied().unwrap_or(0)
    }

    /// How many places a team takes.
    pub(super) fn places_of(&self, team: &Team) -> usize {
        self.running.teams.get(team).copied().unwrap_or(0)
    }

    /// The one that came first, whatever its turn.
    pub(super) fn oldest(&self) -> Option<ExecutionId> {
        self.came.values().next().copied()
    }

    /// The first of each team that this executor could run and nothing holds up.
    pub(super) fn firsts(&self, seat: &Seat) -> Vec<First> {
        let lines = self.of_seat(seat).flat_map(|(_, teams)| teams);
        let first = |(team, line): (&Team, &Line)| {
            let (turn, id) = line.first()?;
            Some(First { team: team.clone(), turn, id, passed_over: line.passed_over })
        };
        let mut firsts: Vec<_> = lines.filter_map(first).collect();
        firsts.sort_by(|one, other| (&one.team, one.turn).cmp(&(&other.team, other.turn)));
        firsts.dedup_by(|later, first| later.team == first.team);
        firsts
    }

    /// Since when others are served before the line of this one.
    pub(super) fn passed_over(&self, spot: &Spot) -> Option<Duration> {
        self.line(&spot.demand, &spot.team)?.passed_over
    }

    /// Notes since when others are served before the line of this one; none: one of it is served now.
    pub(super) fn pass_over(&mut self, spot: &Spot, since: Option<Duration>) {
        if let Some(line) = line_mut(&mut self.lines, &spot.demand, &spot.team) {
            line.passed_over = since;
        }
    }

    /// The same, as if no team had been served before another.
    #[cfg(test)]
    pub(super) fn unpassed(&self) -> Self {
        let mut lines = self.clone();
        let all = lines.lines.values_mut().flat_map(Tree::all_mut);
        all.flat_map(BTreeMap::values_mut).for_each(|line| line.passed_over = None);
        lines
    }

    /// All of them as they came.
    #[cfg(test)]
    pub(super) fn all(&self) -> impl Iterator<Item = ExecutionId> {
        self.came.values().copied()
    }

    /// Whether this one waits at its place.
    #[cfg(test)]
    pub(super) fn has(&self, spot: &Spot, id: ExecutionId) -> bool {
        let of_job = self
            .line(&spot.demand, &spot.team)
            .and_then(|line| line.jobs.get(&spot.bound)?.keys.get(&spot.key));
        of_job.and_then(|of_key| of_key.waiting.get(&spot.turn)) == Some(&id)
    }

    fn line(&self, demand: &Demand, team: &Team) -> Option<&Line> {
        self.lines.get(&demand.pinned().map(str::to_owned))?.get(demand)?.get(team)
    }
}

impl Line {
    fn first(&self) -> Option<(Turn, ExecutionId)> {
        self.heads.first_key_value().map(|(turn, (_, id))| (*turn, *id))
    }
}

impl Running {
    fn of_job(&self, job: &JobName) -> usize {
        self.jobs.get(job).copied().unwrap_or(0)
    }

    fn has_room(&self, job: &JobName, most: usize) -> bool {
        most == 0 || self.of_job(job) < most
    }

    fn is_taken(&self, job: &JobName, key: &Key) -> bool {
        key.as_ref().is_some_and(|key| self.keys.contains_key(&(job.clone(), key.clone())))
    }

    fn more(&mut self, job: &JobName, key: &Key, team: &Team) {
        *self.jobs.entry(job.clone()).or_default() += 1;
        *self.teams.entry(team.clone()).or_default() += 1;
        if let Some(key) = key {
            *self.keys.entry((job.clone(), key.clone())).or_default() += 1;
        }
    }

    fn less(&mut self, job: &JobName, key: &Key, team: &Team) {
        less(&mut self.jobs, job);
        less(&mut self.teams, team);
        if let Some(key) = key {
            less(&mut self.keys, &(job.clone(), key.clone()));
        }
    }

    /// Has a job's first executions among the heads if they are free, and not if they are held up.
    fn show(&self, line: &mut Line, bound: &Bound, key: Option<&Key>) {
        let Some(of_job) = line.jobs.get_mut(bound) else { return };
        if let Some(key) = key
            && let Some(of_key) = of_job.keys.get_mut(key)
        {
            let first = of_key.waiting.first_key_value().map(|(turn, id)| (*turn, *id));
            let first = first.filter(|_| !self.is_taken(&bound.job, key));
            put(&mut of_job.heads, &mut of_key.shown, key, first);
        }
        let first = of_job.heads.first_key_value().map(|(turn, (_, id))| (*turn, *id));
        let first = first.filter(|_| self.has_room(&bound.job, bound.most));
        put(&mut line.heads, &mut of_job.shown, bound, first);
    }
}

/// Has the first of these among the heads, in place of the one that was.
fn put<T: Clone>(
    heads: &mut Heads<T>,
    shown: &mut Option<Turn>,
    of: &T,
    first: Option<(Turn, ExecutionId)>,
) {
    let turn = first.map(|(turn, _)| turn);
    if *shown == turn {
        return;
    }
    if let Some(was) = std::mem::replace(shown, turn) {
        heads.remove(&was);
    }
    heads.extend(first.map(|(turn, id)| (turn, (of.clone(), id))));
}

/// Counts one less, and keeps no zeros.
pub(super) fn less<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

fn line_mut<'a>(
    lines: &'a mut BTreeMap<Option<String>, Tree>,
    demand: &Demand,
    team: &Team,
) -> Option<&'a mut Line> {
    lines.get_mut(&demand.pinned().map(str::to_owned))?.get_mut(demand)?.get_mut(team)
}

/// Nothing of a job and this value of its key is in the line any more.
fn leave(
    places: &mut BTreeMap<Bound, BTreeMap<Key, BTreeSet<Place>>>,
    bound: &Bound,
    key: &Key,
    place: &Place,
) {
    let Some(keys) = places.get_mut(bound) else { return };
    let Some(of_key) = keys.get_mut(key) else { return };
    of_key.remove(place);
    if of_key.is_empty() {
        keys.remove(key);
    }
    if keys.is_empty() {
        places.remove(bound);
    }
}
