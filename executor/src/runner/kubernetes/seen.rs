//! What is seen of one attempt in the cluster, as the watches last said.

#[cfg(test)]
pub(super) mod fixtures;

use super::names::{POD, STOP, WENT, annotation, text};
use k8s_openapi::{
    api::{
        batch::v1::Job,
        core::v1::{ContainerState, ContainerStatus, Pod},
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// All that is seen of one attempt.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Seen {
    /// Its Job; none: gone, or never seen.
    pub(super) job: Option<Arc<Job>>,
    /// The Job as it last was, where it is gone.
    pub(super) gone: Option<Arc<Job>>,
    /// Its pods that are there, by uid.
    pub(super) pods: BTreeMap<String, Arc<Pod>>,
    /// Its pods that are gone, as they last were.
    pub(super) gone_pods: BTreeMap<String, Arc<Pod>>,
    /// The last warning about each object, by the object's name.
    pub(super) warnings: BTreeMap<String, Warning>,
}

/// A warning event of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Warning {
    /// In one word.
    pub(super) reason: String,
    /// In words.
    pub(super) message: String,
}

/// That an attempt is to end, as its Job says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stop {
    /// Why.
    pub(super) why: StopWhy,
    /// When it was asked for, in seconds since 1970 by the clock of the API server.
    pub(super) at: i64,
    /// What it waited for then, where it is stopped because it did not start.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) waited_for: String,
}

/// Why an attempt is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StopWhy {
    /// Somebody asked.
    Asked,
    /// Its time is up.
    TimedOut,
    /// It did not start in time.
    NotStarted,
    /// Its pod is going, or is given up with its silent node, and no other one may take its place.
    PodDeleted,
}

impl Seen {
    /// The Job, also one that is gone.
    pub(super) fn any_job(&self) -> Option<&Job> {
        self.job.as_deref().or(self.gone.as_deref())
    }

    /// Whether it was let go.
    pub(super) fn went(&self) -> bool {
        self.any_job().is_some_and(|job| annotation(&job.metadata, WENT).is_some())
    }

    /// Whether and why it is to end.
    pub(super) fn stop(&self) -> Option<Stop> {
        serde_json::from_str(annotation(&self.any_job()?.metadata, STOP)?).ok()
    }

    /// The uid of the pod that is known to have run, as the Job says.
    pub(super) fn told_pod(&self) -> Option<&str> {
        Some(annotation(&self.any_job()?.metadata, POD)?.rsplit_once('/')?.1)
    }

    /// The name of the pod that is known to have run.
    pub(super) fn told_pod_name(&self) -> Option<&str> {
        Some(annotation(&self.any_job()?.metadata, POD)?.rsplit_once('/')?.0)
    }

    /// The pod that counts: the one that is known to have run; else the one that runs or ran first; else the oldest.
    /// It may be gone. None also where the one that is known to have run was never seen here.
    pub(super) fn main_pod(&self) -> Option<&Arc<Pod>> {
        if let Some(uid) = self.told_pod() {
            return self.pods.get(uid).or_else(|| self.gone_pods.get(uid));
        }
        let born = |pod: &Pod| pod.metadata.creation_timestamp.clone();
        let all = || self.pods.values().chain(self.gone_pods.values());
        let first_run = all()
            .filter(|pod| started_at(pod).is_some())
            .min_by_key(|pod| (started_at(pod).cloned(), born(pod), pod.metadata.name.clone()));
        first_run.or_else(|| all().min_by_key(|pod| (born(pod), pod.metadata.name.clone())))
    }

    /// Whether a pod is known to have run, and is gone now.
    pub(super) fn main_pod_is_gone(&self) -> bool {
        match (self.told_pod(), self.main_pod()) {
            (Some(uid), _) => !self.pods.contains_key(uid),
            (None, Some(pod)) => !self.pods.contains_key(text(&pod.metadata.uid)),
            (None, None) => false,
        }
    }

    /// The last warning about the Job.
    pub(super) fn warning_of_job(&self) -> Option<&Warning> {
        self.warnings.get(text(&self.any_job()?.metadata.name))
    }

    /// The last warning about a pod.
    pub(super) fn warning_of(&self, pod: &Pod) -> Option<&Warning> {
        self.warnings.get(text(&pod.metadata.name))
    }

    /// The names of all pods whose program ran: more than one only where the gate was shut too late.
    pub(super) fn ran(&self) -> Vec<&str> {
        let all = self.pods.values().chain(self.gone_pods.values());
        all.filter(|pod| started_at(pod).is_some()).map(|pod| text(&pod.metadata.name)).collect()
    }
}

/// The status of the job's own container.
pub(super) fn own_status(pod: &Pod) -> Option<&ContainerStatus> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    statuses.iter().find(|status| status.name == super::names::CONTAINER)
}

/// The state of the job's own container.
pub(super) fn own_state(pod: &Pod) -> Option<&ContainerState> {
    own_status(pod)?.state.as_ref()
}

/// When the job's program started, if it did.
pub(super) fn started_at(pod: &Pod) -> Option<&Time> {
    let state = own_state(pod)?;
    match (&state.running, &state.terminated) {
        (Some(running), _) => running.started_at.as_ref(),
        (None, Some(over)) if !super::ending::never_ran(over) => over.started_at.as_ref(),
        (None, _) => None,
    }
}

/// Whether the job's program has ended.
pub(super) fn has_ended(pod: &Pod) -> bool {
    own_state(pod).is_some_and(|state| state.terminated.is_some())
}

/// Whether no container of the pod will do anything any more.
pub(super) fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().map(|status| text(&status.phase)).unwrap_or_default();
    matches!(phase, "Succeeded" | "Failed")
}
