//! Why each executor could take an execution or not, for people.

use super::{
    super::record::Record,
    RunnerKind, Seat, View,
    lines::{Demand, EXECUTOR},
};
use octavius_protocol::id::{ExecutionId, ExecutorId};
use octavius_service::text::cut;

/// The most executors that are told of, those that are nearest to it first.
const MOST_TOLD: usize = 1_000;
/// The most bytes of a label in a text.
const MOST_LABEL: usize = 64;

/// What stands between an executor and an execution: the nearer, the less is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Nearness {
    /// It has it.
    Holds,
    /// It would take it at once.
    Free,
    /// It has no free place.
    Full,
    /// It is not heard of, or takes nothing new.
    Away,
    /// It is another than what is asked for.
    Unfit,
}

/// One executor, and what is between it and an execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub executor: ExecutorId,
    /// How near it is.
    pub nearness: Nearness,
    /// In words.
    pub words: String,
}

impl View {
    /// What stands between each executor and a live execution, the nearest first, and how many are not told of. None: it
    /// is not live.
    pub fn explain(&self, id: ExecutionId) -> Option<(Vec<Candidate>, usize)> {
        let record = self.live(id)?;
        let demand = Demand::of(record);
        let joined = self.seats.iter().filter(|(_, seat)| seat.capacity > 0);
        let candidate = |(executor, seat): (&ExecutorId, &Seat)| {
            let (nearness, words) = self.between(record, &demand, executor, seat);
            Candidate { executor: executor.clone(), nearness, words }
        };
        let mut all: Vec<Candidate> = joined.map(candidate).collect();
        all.sort_by_key(|candidate| candidate.nearness); // those that are as near stay by their ids
        let more = all.len().saturating_sub(MOST_TOLD);
        all.truncate(MOST_TOLD);
        Some((all, more))
    }

    fn between(
        &self,
        record: &Record,
        demand: &Demand,
        executor: &ExecutorId,
        seat: &Seat,
    ) -> (Nearness, String) {
        if record.attempt.held().is_some() && record.executor.as_ref() == Some(executor) {
            return (Nearness::Holds, "has it".to_owned());
        }
        if let Some(why) = misfit(demand, seat) {
            return (Nearness::Unfit, why);
        }
        if !seat.ready {
            let silence = self.silence(executor);
            return (Nearness::Away, format!("{silence}, and gets nothing new"));
        }
        if seat.drained {
            let words = "is drained: it gets nothing new until `octavius executors undrain`";
            return (Nearness::Away, words.to_owned());
        }
        if !seat.unseen.is_empty() {
            return (Nearness::Away, format!("takes no new work: {}", seat.unseen));
        }
        match (self.room(seat), seat.capacity) {
            (0, 1) => (Nearness::Full, "its one place is taken".to_owned()),
            (0, places) => (Nearness::Full, format!("all of its {places} places are taken")),
            (free, places) => (Nearness::Free, format!("has {free} free of {places} places")),
        }
    }

    /// Why no executor that has registered could ever run it; none: one could.
    pub fn nobody_could(&self, record: &Record) -> Option<String> {
        if self.seats.values().all(|seat| seat.capacity == 0) {
            return Some("no executor has registered: start one with `executor start`".to_owned());
        }
        if !self.seats.values().any(|seat| seat.runner.serves(record.needs)) {
            return Some(format!(
                "no executor runs images: the job has no `command`, so that it needs one with `runner` `{}`",
                RunnerKind::Kubernetes.as_str()
            ));
        }
        let demand = Demand::of(record);
        let anybody = self.seats.values().any(|seat| seat.serves(&demand));
        (!anybody).then(|| self.labels_missing(&demand))
    }

    /// Which labels nobody has; or that nobody has all of them.
    fn labels_missing(&self, demand: &Demand) -> String {
        let runs = || self.seats.values().filter(|seat| seat.runner.serves(demand.needs));
        let nobody = demand
            .labels
            .iter()
            .filter(|(name, value)| !runs().any(|seat| seat.labels.get(*name) == Some(*value)));
        let text = |(name, value): (&String, &String)| format!("`{name}={value}`");
        let nobody: Vec<String> = nobody.map(text).collect();
        if nobody.is_empty() {
            let all: Vec<String> = demand.labels.iter().map(text).collect();
            return format!("no executor has all of these labels: {}", all.join(", "));
        }
        let labels = if nobody.len() == 1 { "label" } else { "labels" };
        format!(
            "no executor has the {labels} {}: see `octavius executors -o wide`",
            nobody.join(", ")
        )
    }
}

/// Why an executor is not what is asked for; none: it is.
fn misfit(demand: &Demand, seat: &Seat) -> Option<String> {
    if !seat.runner.serves(demand.needs) {
        return Some("runs commands, and the job has none: it needs images".to_owned());
    }
    let short = |text: &str| cut(text.to_owned(), MOST_LABEL);
    let others = demand.labels.iter().filter_map(|(name, value)| match seat.labels.get(name) {
        Some(has) if has == value => None,
        Some(_) if name == EXECUTOR => Some(format!("executor {} is asked for", short(value))),
        Some(has) => Some(format!("has {}={}, not {}", short(name), short(has), short(value))),
        None => Some(format!("has no label {}, not {}", short(name), short(value))),
    });
    let others: Vec<String> = others.collect();
    (!others.is_empty()).then(|| others.join("; "))
}
