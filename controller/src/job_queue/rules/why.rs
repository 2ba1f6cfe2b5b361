//! The answer to "why is it there?", in words (P8).

use super::{
    super::{
        attempt::{Outcome, State},
        record::Record,
    },
    Seat, View,
    lines::{Asked, Demand, EXECUTOR, Lines},
};
use std::collections::{BTreeMap, BTreeSet};

/// The most executions that are counted before one: who waits behind so many does not want the number.
const COUNTED: usize = 100;

/// What stands between executors and those that ask for the same, looked up once for all rows of a list: what an answer
/// looks at grows with the executors and with what is asked for.
#[derive(Debug, Default)]
pub struct Looked<'a>(BTreeMap<Demand, Outlook<'a>>);

/// What those that ask for the same can expect.
#[derive(Debug)]
enum Outlook<'a> {
    /// No executor that has registered could ever run them; in words.
    Nobody(String),
    /// None of those that could takes new work; in words.
    Away(&'static str),
    /// So many places, and who else asks for one of them.
    Places(usize, Asked<'a>),
}

impl<'a> Looked<'a> {
    fn at(&mut self, view: &'a View, record: &Record) -> &Outlook<'a> {
        let demand = Demand::of(record);
        self.0.entry(demand).or_insert_with_key(|demand| view.outlook(record, demand))
    }

    /// Whether no executor that has registered could ever run an execution that waits.
    pub fn nobody_could(&mut self, view: &'a View, record: &Record) -> bool {
        matches!(self.at(view, record), Outlook::Nobody(_))
    }
}

impl View {
    /// Why a live execution is where it is, for people.
    pub fn why(&self, record: &Record) -> String {
        self.why_among(record, &mut Looked::default())
    }

    /// The same for one of many.
    pub fn why_among<'a>(&'a self, record: &Record, looked: &mut Looked<'a>) -> String {
        let executor = record.executor.as_ref().map_or("an executor", |executor| executor.as_str());
        if let Some(ending) = &record.ending {
            return format!("{}; its log is on its way", ending.reason);
        }
        let silent = match &record.executor {
            Some(name) if record.attempt.held().is_some() => {
                self.seats.get(name).is_none_or(|seat| !seat.ready)
            }
            Some(_) | None => false,
        };
        let waits_for = match self.waits_for(record) {
            "" => String::new(),
            waits_for => format!(": {waits_for}"),
        };
        let what = match record.attempt.state {
            State::Pending { .. } => return self.why_pending(record, looked),
            State::Leased(_) => {
                format!("granted to {executor}, which has not prepared it yet{waits_for}")
            }
            State::Starting(_) => {
                format!("prepared at {executor}; its program does not run yet{waits_for}")
            }
            State::Running(_) if waits_for.is_empty() => format!("runs at {executor}"),
            State::Running(_) => format!("ran at {executor} when it was last seen{waits_for}"),
            State::Ended { outcome, .. } => return ended(outcome).to_owned(),
        };
        match (record.attempt.cancelling, silent) {
            (true, false) => format!("{what}; a cancel was asked for"),
            (true, true) => format!("{what}; a cancel was asked for, and {executor} is silent"),
            (false, true) => format!("{what}, which is silent: its work is not touched"),
            (false, false) if record.attempt.late.is_some() => {
                format!("{what}; it is late, and {executor} was told to stop it")
            }
            (false, false) => what,
        }
    }

    fn why_pending<'a>(&'a self, record: &Record, looked: &mut Looked<'a>) -> String {
        if let Some(at) = record.retry_at.filter(|_| self.is_pausing(record)) {
            let last = record.earlier.last().map_or("", |earlier| earlier.reason.as_str());
            let (number, most) = (record.number, record.max_attempts());
            return format!(
                "attempt {number} of {most} is made at {at:.0}; the one before: {last}"
            );
        }
        let (places, asked) = match looked.at(self, record) {
            Outlook::Nobody(why) => return why.clone(),
            Outlook::Away(why) => return (*why).to_owned(),
            Outlook::Places(places, asked) => (*places, asked),
        };
        let spot = self.spot(record);
        if let Some(limit) = self.lines.held_up(&spot) {
            let before = before(self.lines.before_of(&spot, &limit, COUNTED + 1), "");
            let taken = if limit.key.is_some() { "one does" } else { "so many run" };
            return format!("waits for a place of its job: {limit}, and {taken}; {before}");
        }
        let (own, others) = Lines::before(&spot, asked, COUNTED + 1);
        let of_team = if spot.team.is_empty() { "" } else { " of its team" };
        let before = before(own, of_team);
        let shared = match others {
            0 => String::new(),
            1..=COUNTED => format!("; it shares the places with {others} of other teams"),
            _ => format!("; it shares the places with more than {COUNTED} of other teams"),
        };
        format!("waits for a free place of {places}; {before}{shared}")
    }

    fn outlook(&self, record: &Record, demand: &Demand) -> Outlook<'_> {
        if let Some(why) = self.nobody_could(record) {
            return Outlook::Nobody(why);
        }
        let fit: Vec<&Seat> = self.seats.values().filter(|seat| seat.serves(demand)).collect();
        if fit.iter().all(|seat| !seat.ready) {
            return Outlook::Away(
                "every executor that could run it is silent: see `octavius executors`",
            );
        }
        if fit.iter().all(|seat| !seat.ready || seat.drained) {
            return Outlook::Away(
                "every executor that could run it is silent or drained: see `octavius executors`",
            );
        }
        if !fit.iter().any(|seat| seat.takes_new()) {
            return Outlook::Away(
                "every executor that could run it is silent, drained or cannot see its cluster: see `octavius executors`",
            );
        }
        let places = fit.iter().filter(|seat| seat.takes_new()).map(|seat| seat.capacity).sum();
        // Who waits for executors of another kind is not in the way.
        let (mut rivals, mut kinds) = (Asked::new(), BTreeSet::new());
        for seat in fit {
            let labels = seat.labels.iter().filter(|(name, _)| *name != EXECUTOR);
            // Most differ in nothing but their ids.
            if kinds.insert((seat.runner, labels.collect::<Vec<_>>())) {
                rivals.extend(self.lines.of_kind(seat.runner, &seat.labels));
            }
            rivals.extend(self.lines.of_one(seat));
        }
        Outlook::Places(places, rivals)
    }
}

/// How many are before one, in words.
fn before(count: usize, of: &str) -> String {
    match count {
        0 => "it is the next".to_owned() + of,
        1 => format!("one execution{of} is before it"),
        few @ ..=COUNTED => format!("{few} executions{of} are before it"),
        _ => format!("more than {COUNTED} executions{of} are before it"),
    }
}

/// A final state in words, where nobody gave better ones.
fn ended(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "the program exited with 0",
        Outcome::Failed => "the program failed",
        Outcome::Cancelled => "cancelled before it was given to an executor",
        Outcome::TimedOut => "stopped by its time limit",
        Outcome::Lost => "nobody can say how it ended",
    }
}

impl Record {
    /// Why an execution that is over ended as it did: a word for programs, and words for people.
    pub fn why_ended(&self) -> (String, String) {
        match (&self.ending, self.attempt.outcome()) {
            (Some(ending), _) => (ending.code.clone(), ending.reason.clone()),
            (None, Some(outcome)) => {
                let reason = match (outcome, self.earlier.last()) {
                    (Outcome::Cancelled, Some(_)) => "cancelled before it was tried again",
                    (outcome, _) => ended(outcome),
                };
                ("cancelled".to_owned(), reason.to_owned())
            }
            (None, None) => (String::new(), String::new()),
        }
    }
}
