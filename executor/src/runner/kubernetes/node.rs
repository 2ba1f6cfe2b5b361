//! What a pod says of its node: that nobody there says any more how the pod is.
//!
//! An executor may not read nodes, which belong to the whole cluster. It need not: of a node that is silent the cluster
//! says at each of its pods that it is not ready, while nobody is left who would say the same of its containers.
//!
//! A pod says for how long it tolerates that. Then the cluster deletes it, but not where all of its nodes are silent: it
//! takes itself to be cut off then. So the executor counts, too.

use super::names::text;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition};

/// The taint of a silent node.
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

/// A node that is silent, as one of its pods says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Silent<'a> {
    /// Its name.
    pub(super) node: &'a str,
    /// Since when; none: the pod does not say.
    since: Option<Timestamp>,
    /// For how many seconds the pod tolerates it; none: for ever.
    tolerated: Option<i64>,
}

impl Silent<'_> {
    /// Since when it is silent, in words behind others; empty where that is not said.
    pub(super) fn since(&self) -> String {
        self.since.map_or_else(String::new, |at| format!(" since {at}"))
    }

    /// When the pod is given up, in seconds since 1970; none: never.
    pub(super) fn given_up(&self) -> Option<i64> {
        Some(self.since?.as_second().saturating_add(self.tolerated?))
    }
}

/// The node of a pod whose containers were started, if it is silent.
pub(super) fn silent(pod: &Pod) -> Option<Silent<'_>> {
    let (spec, status) = (pod.spec.as_ref()?, pod.status.as_ref()?);
    let conditions = || status.conditions.iter().flatten();
    let of = |name: &str| conditions().find(|condition| condition.type_ == name);
    let is = |name: &str, status: &str| of(name).is_some_and(|told| told.status == status);
    // Others, too, may say that such a pod is not ready.
    let gated = spec.readiness_gates.as_ref().is_some_and(|gates| !gates.is_empty());
    let unready = is("Ready", "False") && is("ContainersReady", "True") && !gated;
    let lost = text(&status.reason) == "NodeLost";
    (unready || lost).then(|| {
        let turned = |ready: &PodCondition| ready.last_transition_time.as_ref().map(|at| at.0);
        let since = of("Ready").and_then(turned);
        Silent { node: text(&spec.node_name), since, tolerated: tolerated(pod) }
    })
}

/// For how many seconds a pod tolerates a silent node; none: for ever.
fn tolerated(pod: &Pod) -> Option<i64> {
    let all = pod.spec.iter().flat_map(|spec| spec.tolerations.iter().flatten());
    let of_silence = all.filter(|toleration| {
        let key = text(&toleration.key);
        let every = key.is_empty() && text(&toleration.operator) == "Exists";
        (every || key == UNREACHABLE) && matches!(text(&toleration.effect), "" | "NoExecute")
    });
    let seconds: Vec<_> = of_silence.map(|toleration| toleration.toleration_seconds).collect();
    match seconds.is_empty() {
        true => Some(0),
        false => seconds.into_iter().flatten().map(|seconds| seconds.max(0)).min(),
    }
}
