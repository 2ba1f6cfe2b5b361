//! The answer to "why is it there?", in words (P8).

use super::{
    super::{
        attempt::{Outcome, State},
        record::Record,
    },
    RunnerKind, Seat, View,
    wants::Wants,
};

/// The most executions that are counted before one: who waits behind so many does not want the number.
const COUNTED: usize = 100;

impl View {
    /// Why a live execution is where it is, for people.
    pub fn why(&self, record: &Record) -> String {
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
            State::Pending { .. } => return self.why_pending(record),
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

    fn why_pending(&self, record: &Record) -> String {
        if let Some(at) = record.retry_at.filter(|_| self.pausing.contains(&record.id)) {
            let last = record.earlier.last().map_or("", |earlier| earlier.reason.as_str());
            let (number, most) = (record.number, record.max_attempts());
            return format!(
                "attempt {number} of {most} is made at {at:.0}; the one before: {last}"
            );
        }
        if self.seats.values().all(|seat| seat.capacity == 0) {
            return "no executor has registered: start one with `executor start`".to_owned();
        }
        let wants = Wants::of(record);
        let runs = |seat: &&Seat| seat.runner.serves(record.needs);
        if !self.seats.values().any(|seat| runs(&seat)) {
            return format!(
                "no executor runs images: the job has no `command`, so that it needs one with `runner` `{}`",
                RunnerKind::Kubernetes.as_str()
            );
        }
        let fit = || self.seats.values().filter(|seat| seat.serves(&wants));
        if fit().next().is_none() {
            return self.labels_missing(&wants);
        }
        if fit().all(|seat| !seat.ready) {
            return "every executor that could run it is silent: see `octavius executors`"
                .to_owned();
        }
        if let Some((job, most)) = wants.bound.as_ref().filter(|_| self.bound_room(&wants) == 0) {
            let mine = |other: &&Wants| other.bound.as_ref().is_some_and(|(of, _)| of == job);
            let before = self.before(record, |other| mine(&other));
            return format!(
                "waits for a place of its job: `concurrency` of `{job}` is {most}, and so many run; {before}"
            );
        }
        // Who waits for executors of another kind is not in the way.
        let before = self.before(record, |other| fit().any(|seat| seat.serves(other)));
        let places: usize = fit().filter(|seat| seat.ready).map(|seat| seat.capacity).sum();
        format!("waits for a free place of {places}; {before}")
    }

    /// How many wait before it, of those that are in its way.
    fn before(&self, record: &Record, in_its_way: impl Fn(&Wants) -> bool) -> String {
        let rivals = self.pending.iter().filter(|(wants, _)| in_its_way(wants));
        let before = rivals.flat_map(|(_, queue)| queue.range(..record.order));
        match before.take(COUNTED + 1).count() {
            0 => "it is the next".to_owned(),
            1 => "one execution is before it".to_owned(),
            few @ ..=COUNTED => format!("{few} executions are before it"),
            _ => format!("more than {COUNTED} executions are before it"),
        }
    }

    /// Which labels nobody has; or that nobody has all of them.
    fn labels_missing(&self, wants: &Wants) -> String {
        let runs = || self.seats.values().filter(|seat| seat.runner.serves(wants.needs));
        let nobody = wants
            .labels
            .iter()
            .filter(|(name, value)| !runs().any(|seat| seat.labels.get(*name) == Some(*value)));
        let text = |(name, value): (&String, &String)| format!("`{name}={value}`");
        let nobody: Vec<String> = nobody.map(text).collect();
        if nobody.is_empty() {
            let all: Vec<String> = wants.labels.iter().map(text).collect();
            return format!("no executor has all of these labels: {}", all.join(", "));
        }
        let labels = if nobody.len() == 1 { "label" } else { "labels" };
        format!(
            "no executor has the {labels} {}: see `octavius executors -o wide`",
            nobody.join(", ")
        )
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
