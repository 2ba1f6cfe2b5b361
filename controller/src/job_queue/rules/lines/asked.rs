//! What is asked for that somebody could serve, and how much of it waits.

use super::{Bound, Demand, Lines, Spot, Teams};
use crate::job_queue::rules::{RunnerKind, Seat};
use octavius_protocol::id::ExecutorId;
use std::collections::BTreeMap;

/// What is asked for, and by whom.
pub(in crate::job_queue::rules) type Asked<'a> = BTreeMap<&'a Demand, &'a Teams>;

impl Lines {
    /// What an executor could be asked for now.
    pub(in super::super) fn of_seat<'a>(
        &'a self,
        seat: &Seat,
    ) -> impl Iterator<Item = (&'a Demand, &'a Teams)> {
        self.of_kind(seat.runner, &seat.labels).chain(self.of_one(seat))
    }

    /// What names no executor, and those could serve that run this and have these labels.
    pub(in super::super) fn of_kind<'a>(
        &'a self,
        runner: RunnerKind,
        labels: &BTreeMap<String, String>,
    ) -> impl Iterator<Item = (&'a Demand, &'a Teams)> {
        self.served(None, runner, labels)
    }

    /// What names this executor, and it could serve.
    pub(in super::super) fn of_one<'a>(
        &'a self,
        seat: &Seat,
    ) -> impl Iterator<Item = (&'a Demand, &'a Teams)> {
        self.served(Some(seat.id().to_owned()), seat.runner, &seat.labels)
    }

    fn served<'a>(
        &'a self,
        named: Option<String>,
        runner: RunnerKind,
        labels: &BTreeMap<String, String>,
    ) -> impl Iterator<Item = (&'a Demand, &'a Teams)> {
        let within = self.lines.get(&named).map(|tree| tree.within(labels));
        within.into_iter().flatten().filter(move |(demand, _)| runner.serves(demand.needs))
    }

    /// Which of these executors are named by something that waits: no more is looked at than there are of the fewer.
    pub(in super::super) fn named_of<'a, T>(
        &self,
        executors: &'a BTreeMap<ExecutorId, T>,
    ) -> Vec<&'a ExecutorId> {
        if executors.len() < self.lines.len() {
            let named = |id: &&ExecutorId| self.lines.contains_key(&Some(id.to_string()));
            return executors.keys().filter(named).collect();
        }
        let named = self.lines.keys().flatten().filter_map(|id| id.parse().ok());
        named.filter_map(|id: ExecutorId| Some(executors.get_key_value(&id)?.0)).collect()
    }

    /// How many of those that ask for the same could be served at once, counted up to `most`: nothing holds them up.
    pub(in super::super) fn open(&self, teams: &Teams, most: usize) -> usize {
        let mut open = 0;
        for (bound, _) in teams.values().flat_map(|line| line.heads.values()) {
            open += self.open_of(teams, bound, most);
            if open >= most {
                return most;
            }
        }
        open
    }

    /// How many of a job could be served at once.
    fn open_of(&self, teams: &Teams, bound: &Bound, most: usize) -> usize {
        let room = match bound.most {
            0 => usize::MAX,
            limit => limit - self.running.of_job(&bound.job).min(limit),
        };
        let of_job = teams.values().filter_map(|line| line.jobs.get(bound));
        let free = of_job.flat_map(|of_job| {
            of_job.heads.values().take(most).map(|(key, _)| match key {
                None => of_job.keys.get(key).map_or(0, |of_key| of_key.waiting.len()),
                Some(_) => 1,
            })
        });
        free.sum::<usize>().min(room)
    }

    /// Those that are before this one: of its team in the order of turns, and how many of the others wait, of what is asked
    /// for by these. Counted up to `most` each.
    pub(in super::super) fn before(spot: &Spot, asked: &Asked<'_>, most: usize) -> (usize, usize) {
        let (mut own, mut others) = (0, 0);
        for teams in asked.values() {
            if own >= most && others >= most {
                break;
            }
            for (team, line) in *teams {
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
}
