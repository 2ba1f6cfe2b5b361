//! The answer to "why is it there?", in words (P8).

use super::{
    super::{
        attempt::{Outcome, State},
        record::{Needs, Record},
    },
    RunnerKind, View,
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
        let what = match record.attempt.state {
            State::Pending { .. } => return self.why_pending(record),
            State::Leased(_) => format!("granted to {executor}, which has not prepared it yet"),
            State::Starting(_) => format!("prepared at {executor}; its program does not run yet"),
            State::Running(_) => format!("runs at {executor}"),
            State::Ended { outcome, .. } => return ended(outcome).to_owned(),
        };
        match (record.attempt.cancelling, silent) {
            (true, false) => format!("{what}; a cancel was asked for"),
            (true, true) => format!("{what}; a cancel was asked for, and {executor} is silent"),
            (false, true) => format!("{what}, which is silent: its work is not touched"),
            (false, false) => what,
        }
    }

    fn why_pending(&self, record: &Record) -> String {
        if self.seats.values().all(|seat| seat.capacity == 0) {
            return "no executor has registered: start one with `executor start`".to_owned();
        }
        let fit = || self.seats.values().filter(|seat| seat.runner.serves(record.needs));
        if record.needs == Needs::Images && fit().next().is_none() {
            return format!(
                "no executor runs images: the job has no `command`, so that it needs one with `runner` `{}`",
                RunnerKind::Kubernetes.as_str()
            );
        }
        if fit().all(|seat| !seat.ready) {
            return "every executor that could run it is silent: see `octavius executors`"
                .to_owned();
        }
        // Who waits for executors of another kind is not in the way.
        let rivals =
            self.pending.iter().filter(|(needs, _)| fit().any(|seat| seat.runner.serves(**needs)));
        let before = rivals.flat_map(|(_, queue)| queue.range(..record.order));
        let before = match before.take(COUNTED + 1).count() {
            0 => "it is the next".to_owned(),
            1 => "one execution is before it".to_owned(),
            few @ ..=COUNTED => format!("{few} executions are before it"),
            _ => format!("more than {COUNTED} executions are before it"),
        };
        let places: usize = fit().filter(|seat| seat.ready).map(|seat| seat.capacity).sum();
        format!("waits for a free place of {places}; {before}")
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
            (None, Some(outcome)) => ("cancelled".to_owned(), ended(outcome).to_owned()),
            (None, None) => (String::new(), String::new()),
        }
    }
}
