//! What waits for an executor, in the order in which it is served.
//!
//! Those that ask for the same executor, belong to the same team and count against the same bounds stand in one line. What
//! a decision looks at grows with the kinds of executors that are asked for and with the teams, and with the logarithm of
//! how many wait: a bound that is reached takes all that it holds up out of the way at once.

mod limits;

pub use limits::Reached;

use super::{
    super::record::{Needs, Record},
    Seat,
};
use octavius_protocol::id::{ExecutionId, JobName};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// The label that each executor has without being told: its id.
pub(super) const EXECUTOR: &str = "executor";

/// What an executor must be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Demand {
    pub(super) needs: Needs,
    pub(super) labels: BTreeMap<String, String>,
}

impl Demand {
    pub(super) fn of(record: &Record) -> Self {
        Self { needs: record.needs, labels: record.terms.labels() }
    }

    /// The one executor that can serve it, if it names one.
    pub(super) fn pinned(&self) -> Option<&str> {
        self.labels.get(EXECUTOR).map(String::as_str)
    }
}

/// Whose places are counted together when they are shared out; empty: those of all jobs without a team.
pub(super) type Team = Arc<str>;

/// What is one at a time, of one job: a value; none: nothing is.
type Key = Option<Arc<str>>;

/// A job, and how many of its executions run at once; 0: any number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Bound {
    job: JobName,
    most: usize,
}

/// A place in the order of a team: the lower is served first.
///
/// Whoever waits gains a step of priority in each `ageing`. All gain at the same rate, so that the order of two never
/// changes while they wait: it is that of the times at which they came, each less what its priority is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Turn {
    /// Milliseconds since 1970.
    worth: i64,
    order: u64,
}

impl Turn {
    fn of(record: &Record, ageing: Duration) -> Self {
        let step = i64::try_from(ageing.as_millis()).unwrap_or(i64::MAX);
        let lead = step.saturating_mul(i64::from(record.terms.priority()));
        Self { worth: came_at(record.id).saturating_sub(lead), order: record.order }
    }
}

/// When an execution came, in milliseconds since 1970: ids tell, which are in the order of submission whatever clocks do.
pub(super) fn came_at(id: ExecutionId) -> i64 {
    i64::try_from(id.made_at()).unwrap_or(i64::MAX)
}

/// Where an execution stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Spot {
    pub(super) demand: Demand,
    pub(super) team: Team,
    bound: Bound,
    key: Key,
    pub(super) turn: Turn,
}

impl Spot {
    pub(super) fn of(record: &Record, ageing: Duration) -> Self {
        Self {
            demand: Demand::of(record),
            team: record.terms.team.clone(),
            bound: Bound { job: record.job.clone(), most: record.terms.concurrency as usize },
            key: record.concurrency_key.clone(),
            turn: Turn::of(record, ageing),
        }
    }
}

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
    heads: BTreeSet<(Turn, Key)>,
    /// Its first, where that is among the heads of its line.
    shown: Option<Turn>,
}

/// Those of one team that ask for the same executor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Line {
    jobs: BTreeMap<Bound, OfJob>,
    /// The first of each job whose bound is not reached.
    heads: BTreeSet<(Turn, Bound)>,
}

/// What takes places now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Running {
    jobs: BTreeMap<JobName, usize>,
    keys: BTreeMap<(JobName, Arc<str>), usize>,
    teams: BTreeMap<Team, usize>,
}

/// The first of a team for an executor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct First {
    pub(super) team: Team,
    pub(super) turn: Turn,
    pub(super) id: ExecutionId,
}

/// All that wait, and what holds them up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Lines {
    /// By the one executor that is wanted, if only one is, and then by all that is wanted.
    lines: BTreeMap<Option<String>, BTreeMap<Demand, BTreeMap<Team, Line>>>,
    /// In which lines each job's executions stand.
    places: BTreeMap<JobName, BTreeSet<(Demand, Team, usize)>>,
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
        let place = (demand.clone(), team.clone(), bound.most);
        self.places.entry(bound.job.clone()).or_default().insert(place);
        let pinned = demand.pinned().map(str::to_owned);
        let of_demand = self.lines.entry(pinned).or_default().entry(demand).or_default();
        let line = of_demand.entry(team).or_default();
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
        let Some(demands) = self.lines.get_mut(&pinned) else { return };
        let Some(teams) = demands.get_mut(demand) else { return };
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
        }
        if !of_job.keys.is_empty() {
            return;
        }
        line.jobs.remove(bound);
        if let Some(places) = self.places.get_mut(&bound.job) {
            places.remove(&(demand.clone(), team.clone(), bound.most));
            if places.is_empty() {
                self.places.remove(&bound.job);
            }
        }
        if line.jobs.is_empty() {
            teams.remove(team);
        }
        if teams.is_empty() {
            demands.remove(demand);
        }
        if demands.is_empty() {
            self.lines.remove(&pinned);
        }
    }

    /// Counts an attempt that takes a place, or no longer does.
    pub(super) fn count(&mut self, record: &Record, was: bool, is: bool) {
        let (job, key) = (&record.job, &record.concurrency_key);
        match (was, is) {
            (false, true) => self.running.more(job, key, &record.terms.team),
            (true, false) => self.running.less(job, key, &record.terms.team),
            (true, true) | (false, false) => return,
        }
        let places = self.places.get(job).into_iter().flatten();
        // What has no limit is held up by nothing that runs.
        for (demand, team, most) in places.filter(|(_, _, most)| *most > 0 || key.is_some()) {
            let demands = self.lines.get_mut(&demand.pinned().map(str::to_owned));
            let teams = demands.and_then(|demands| demands.get_mut(demand));
            if let Some(line) = teams.and_then(|teams| teams.get_mut(team)) {
                self.running.show(line, &Bound { job: job.clone(), most: *most }, Some(key));
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
        let mut firsts: BTreeMap<&Team, (Turn, ExecutionId)> = BTreeMap::new();
        for (demand, teams) in self.demands(seat.id()) {
            if !seat.serves(demand) {
                continue;
            }
            for (team, line) in teams {
                let Some((turn, id)) = line.first() else { continue };
                let first = firsts.entry(team).or_insert((turn, id));
                *first = (turn, id).min(*first);
            }
        }
        let firsts = firsts.into_iter();
        firsts.map(|(team, (turn, id))| First { team: team.clone(), turn, id }).collect()
    }

    /// What is asked for that nothing holds up, and how many could be served at once, counted up to `most` of each.
    pub(super) fn open(&self, most: usize) -> impl Iterator<Item = (&Demand, usize)> {
        let all = self.lines.values().flatten();
        all.filter_map(move |(demand, teams)| {
            let mut open = 0;
            for (_, bound) in teams.values().flat_map(|line| &line.heads) {
                open += self.open_of(teams, bound, most);
                if open >= most {
                    break;
                }
            }
            (open > 0).then_some((demand, open.min(most)))
        })
    }

    /// How many of a job could be served at once.
    fn open_of(&self, teams: &BTreeMap<Team, Line>, bound: &Bound, most: usize) -> usize {
        let room = match bound.most {
            0 => usize::MAX,
            limit => limit - self.running.of_job(&bound.job).min(limit),
        };
        let of_job = teams.values().filter_map(|line| line.jobs.get(bound));
        let free = of_job.flat_map(|of_job| {
            of_job.heads.iter().take(most).map(|(_, key)| match key {
                None => of_job.keys.get(key).map_or(0, |of_key| of_key.waiting.len()),
                Some(_) => 1,
            })
        });
        free.sum::<usize>().min(room)
    }

    /// Those that are before this one: of its team in the order of turns, where they could be served by an executor that
    /// `serves`; and how many of the others wait there. Counted up to `most` each.
    pub(super) fn before(
        &self,
        spot: &Spot,
        serves: impl Fn(&Demand) -> bool,
        most: usize,
    ) -> (usize, usize) {
        let (mut own, mut others) = (0, 0);
        for (_, teams) in self.lines.values().flatten().filter(|(demand, _)| serves(demand)) {
            for (team, line) in teams {
                let counted = if *team == spot.team { &mut own } else { &mut others };
                for of_key in line.jobs.values().flat_map(|of_job| of_job.keys.values()) {
                    *counted += match *team == spot.team {
                        true => of_key.waiting.range(..spot.turn).take(most).count(),
                        false => of_key.waiting.len(),
                    };
                    if *counted >= most {
                        break;
                    }
                }
            }
        }
        (own.min(most), others.min(most))
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

    /// What an executor of this id could be asked for.
    fn demands(&self, id: &str) -> impl Iterator<Item = (&Demand, &BTreeMap<Team, Line>)> {
        let of_all = self.lines.get(&None).into_iter().flatten();
        of_all.chain(self.lines.get(&Some(id.to_owned())).into_iter().flatten())
    }
}

impl Line {
    fn first(&self) -> Option<(Turn, ExecutionId)> {
        let (turn, bound) = self.heads.first()?;
        let of_job = self.jobs.get(bound)?;
        let (_, key) = of_job.heads.first()?;
        Some((*turn, *of_job.keys.get(key)?.waiting.get(turn)?))
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
            let first = of_key.waiting.keys().next().copied();
            let first = first.filter(|_| !self.is_taken(&bound.job, key));
            if let Some(was) = std::mem::replace(&mut of_key.shown, first) {
                of_job.heads.remove(&(was, key.clone()));
            }
            of_job.heads.extend(first.map(|turn| (turn, key.clone())));
        }
        let first = of_job.heads.first().map(|(turn, _)| *turn);
        let first = first.filter(|_| self.has_room(&bound.job, bound.most));
        if let Some(was) = std::mem::replace(&mut of_job.shown, first) {
            line.heads.remove(&(was, bound.clone()));
        }
        line.heads.extend(first.map(|turn| (turn, bound.clone())));
    }
}

/// Counts one less, and keeps no zeros.
fn less<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}
