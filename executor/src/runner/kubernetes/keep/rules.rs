//! What is due for one attempt: a pure function of what is seen, what was done, and the API server's clock.

use super::super::{
    ending,
    names::{WENT, annotation, text},
    node::silent,
    object,
    phase::waits_for,
    seen::{Seen, StopWhy, has_ended, is_over, started_at},
};
use jiff::Timestamp;
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use std::{collections::BTreeSet, time::Duration};

/// What a kubelet may take beyond the grace, before a pod is deleted without it.
const PATIENCE: Duration = Duration::from_secs(30);

/// The same for a pod whose program never started.
const PATIENCE_UNSTARTED: Duration = Duration::from_secs(5);

/// What is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Duty {
    /// Write down which pod ran, and see to it that no other one can.
    ShutGate {
        /// The pod's name.
        pod: String,
        /// Its uid.
        uid: String,
    },
    /// See to it that no pod of what was asked to end starts after all.
    KeepOut,
    /// End it.
    Stop {
        /// Why.
        why: StopWhy,
        /// What it waited for.
        waited_for: String,
    },
    /// Write down how it ended, so that it stays so though its pod goes.
    Tell,
    /// Delete a pod that did not end in its grace.
    Kill {
        /// The pod's name.
        pod: String,
        /// Its uid.
        uid: String,
    },
    /// Nothing, until something changes, or until then: seconds since 1970 by the API server's clock.
    Rest(Option<i64>),
}

/// What was done already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Done {
    gate_shut: bool,
    kept_out: bool,
    stopped: bool,
    told: bool,
    killed: BTreeSet<String>,
}

impl Done {
    /// A duty was fulfilled.
    pub(in super::super) fn fulfilled(&mut self, duty: Duty) {
        match duty {
            Duty::ShutGate { .. } => self.gate_shut = true,
            Duty::KeepOut => self.kept_out = true,
            // Which comes with it.
            Duty::Stop { .. } => (self.stopped, self.kept_out) = (true, true),
            Duty::Tell => self.told = true,
            Duty::Kill { uid, .. } => {
                self.killed.insert(uid);
            }
            Duty::Rest(_) => {}
        }
    }
}

/// What is due now, the most urgent first: one that fails does not keep the others from being done. The last is to rest.
pub(in super::super) fn due(seen: &Seen, done: &Done, now: Timestamp) -> Vec<Duty> {
    let Some(job) = seen.job.as_deref().filter(|_| seen.went()) else {
        return vec![Duty::Rest(None)];
    };
    let (mut due, mut rest) = (Vec::new(), Duty::Rest(None));
    match in_time(seen, job, done, now) {
        until @ Duty::Rest(_) => rest = until,
        duty => due.push(duty),
    }
    due.extend(gate(seen, done));
    if !done.told && ending::to_tell(seen).is_some() {
        due.push(Duty::Tell);
    }
    due.push(rest);
    due
}

/// Of a program that runs or ran, and of what was asked to end: no other pod may start.
fn gate(seen: &Seen, done: &Done) -> Option<Duty> {
    if done.gate_shut {
        return None;
    }
    match seen.main_pod().filter(|pod| started_at(pod).is_some()) {
        Some(pod) => {
            let (pod, uid) = (text(&pod.metadata.name), text(&pod.metadata.uid));
            Some(Duty::ShutGate { pod: pod.to_owned(), uid: uid.to_owned() })
        }
        None => seen.stop().filter(|_| !done.kept_out).map(|_| Duty::KeepOut),
    }
}

/// When something is due because of the time, in seconds since 1970 by the API server's clock, whatever else is due now.
pub(in super::super) fn limit(seen: &Seen, done: &Done, now: Timestamp) -> Option<i64> {
    let job = seen.job.as_deref().filter(|_| seen.went())?;
    match in_time(seen, job, done, now) {
        Duty::Rest(at) => at,
        _ => None,
    }
}

/// What is due of what depends on the time, or lets no second pod run.
fn in_time(seen: &Seen, job: &Job, done: &Done, now: Timestamp) -> Duty {
    if let Some(stop) = seen.stop() {
        return kill(seen, job, stop.at, done, now);
    }
    if done.stopped { Duty::Rest(None) } else { to_stop(seen, job, now) }
}

/// Whether it is to be ended now, or when, as far as nobody asked for it yet: whoever is about to end it asks that of what
/// there is at that moment.
pub(in super::super) fn to_stop(seen: &Seen, job: &Job, now: Timestamp) -> Duty {
    let main = seen.main_pod();
    if ending::by_job(seen).is_some() {
        return Duty::Rest(None);
    }
    if ending::ended(seen).is_some_and(|_| main.is_some_and(|pod| has_ended(pod))) {
        return Duty::Rest(None);
    }
    let going = main.is_some_and(|pod| pod.metadata.deletion_timestamp.is_some());
    if going || seen.main_pod_is_gone() || ending::ended(seen).is_some() {
        return stop(StopWhy::PodDeleted, String::new());
    }
    let Ok(made) = object::kept::decode(job) else { return Duty::Rest(None) };
    let started = main.and_then(|pod| started_at(pod));
    let (from, limit, why) = match started {
        Some(started) => {
            (Some(runs_since(job, started.0, now)), made.work.timeout, StopWhy::TimedOut)
        }
        None => {
            let limit = made.work.start_timeout.unwrap_or(object::START_TIMEOUT);
            let created = job.metadata.creation_timestamp.as_ref().map(|time| time.0);
            (created, Some(limit), StopWhy::NotStarted)
        }
    };
    let limit = from
        .zip(limit)
        .map(|(from, limit)| (from.as_second().saturating_add(whole_seconds(limit)), why));
    let silent = main.filter(|_| started.is_some()).and_then(|pod| silent(pod));
    let given_up = silent.and_then(|silent| silent.given_up()).map(|at| (at, StopWhy::PodDeleted));
    let Some((due, why)) = limit.into_iter().chain(given_up).min_by_key(|(at, _)| *at) else {
        return Duty::Rest(None);
    };
    if now.as_second() < due {
        return Duty::Rest(Some(due));
    }
    let waited_for = if started.is_none() { waits_for(seen) } else { String::new() };
    stop(why, waited_for)
}

/// Since when a program has run, by the API server's clock: its start is told by its node's, which may be wrong, and nothing
/// runs before it is let go, nor later than now.
fn runs_since(job: &Job, started: Timestamp, now: Timestamp) -> Timestamp {
    let went = annotation(&job.metadata, WENT).and_then(|text| text.parse().ok());
    went.map_or(started, |went| started.max(went)).min(now)
}

fn stop(why: StopWhy, waited_for: String) -> Duty {
    Duty::Stop { why, waited_for }
}

/// Of what was asked to end at `asked`: the pod that did not, once it has had its time.
fn kill(seen: &Seen, job: &Job, asked: i64, done: &Done, now: Timestamp) -> Duty {
    let grace = object::kept::decode(job).map(|made| made.work.grace).unwrap_or_default();
    let left = |pod: &&std::sync::Arc<Pod>| {
        !is_over(pod) && !has_ended(pod) && !done.killed.contains(text(&pod.metadata.uid))
    };
    let Some(pod) = seen.pods.values().find(left) else { return Duty::Rest(None) };
    let patience = match started_at(pod) {
        Some(_) => grace.saturating_add(PATIENCE),
        // With the gate shut nothing in it can start any more, and a kubelet that pulls an image takes a minute to let go.
        None => PATIENCE_UNSTARTED,
    };
    let due = asked.saturating_add(whole_seconds(patience));
    if now.as_second() < due {
        return Duty::Rest(Some(due));
    }
    let (pod, uid) = (text(&pod.metadata.name).to_owned(), text(&pod.metadata.uid).to_owned());
    Duty::Kill { pod, uid }
}

/// Whole seconds, no less than the time, and one at the least: clocks of clusters tell no more.
fn whole_seconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis().div_ceil(1000)).unwrap_or(i64::MAX).max(1)
}

#[cfg(test)]
mod tests;
