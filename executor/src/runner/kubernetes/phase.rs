//! How far an attempt is, in the cluster's own words: a pure function of what is seen.

use super::{
    ending,
    names::text,
    node::{Silent, silent},
    seen::{Seen, Warning, has_ended, is_over, own_status, started_at},
};
use crate::runner::Phase;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use octavius_service::text::cut;

/// How long no pod may appear after a stop, until it is believed that none will.
const QUIET: i64 = 2;

/// The most bytes of what an attempt waits for.
pub(super) const MOST_WORDS: usize = 1000;

/// How far it is at `now`, by the clock of the API server. None: nothing is seen of it.
pub(super) fn phase(seen: &Seen, now: Timestamp) -> Option<Phase> {
    let job = seen.any_job()?;
    if let Some(over) = ending::ended(seen) {
        return Some(over);
    }
    if seen.job.is_none() {
        return seen.went().then(|| Phase::Vanished(ending::vanished(seen)));
    }
    if let Some(stop) = seen.stop() {
        let unstarted = seen.pods.values().all(|pod| is_over(pod));
        let active = job.status.as_ref().and_then(|status| status.active).unwrap_or_default();
        let quiet = active == 0 && now.as_second() >= stop.at.saturating_add(QUIET);
        if unstarted && (!seen.went() || quiet || !seen.gone_pods.is_empty()) {
            return Some(ending::never_started(seen, &stop));
        }
    }
    if !seen.went() {
        return Some(Phase::Prepared);
    }
    match seen.main_pod() {
        Some(pod) if started_at(pod).is_some() && !has_ended(pod) => Some(match silent(pod) {
            Some(silent) => Phase::Unseen(cut(unseen(&silent), MOST_WORDS)),
            None => Phase::Running,
        }),
        Some(_) | None => Some(Phase::Starting(cut(waits_for(seen), MOST_WORDS))),
    }
}

/// Why it is not known whether a program still runs.
fn unseen(silent: &Silent<'_>) -> String {
    format!("node {} not ready{}; result not known", silent.node, silent.since())
}

/// When the phase changes though nothing more is seen, in seconds since 1970.
pub(super) fn due(seen: &Seen) -> Option<i64> {
    seen.stop().map(|stop| stop.at.saturating_add(QUIET))
}

/// What an attempt that was let go waits for; empty where nothing is known.
pub(super) fn waits_for(seen: &Seen) -> String {
    let Some(pod) = seen.main_pod() else { return no_pod(seen) };
    let Some(status) = &pod.status else { return String::new() };
    let conditions = status.conditions.iter().flatten();
    let unscheduled = conditions
        .filter(|condition| condition.type_ == "PodScheduled" && condition.status == "False")
        .map(|condition| said(text(&condition.reason), text(&condition.message)))
        .next();
    if let Some(words) = unscheduled {
        return words;
    }
    let waiting = |statuses: &Option<Vec<ContainerStatus>>, kind: &str| {
        statuses.iter().flatten().find_map(|status| waiting(seen, pod, status, kind))
    };
    waiting(&status.init_container_statuses, "init container")
        .or_else(|| own_status(pod).and_then(|status| self::waiting(seen, pod, status, "")))
        .or_else(|| waiting(&status.container_statuses, "container"))
        .or_else(|| warning_of(seen, pod).map(|warning| said(&warning.reason, &warning.message)))
        .unwrap_or_default()
}

/// What one container waits for, if it does.
fn waiting(seen: &Seen, pod: &Pod, status: &ContainerStatus, kind: &str) -> Option<String> {
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    let reason = text(&waiting.reason);
    let own = text(&waiting.message);
    // The kubelet says in events what it was told by registry, runtime or volume; here often only that it tries again.
    let warned = warning_of(seen, pod).filter(|_| {
        matches!(reason, "ContainerCreating" | "ImagePullBackOff" | "PodInitializing" | "")
    });
    let words = match warned {
        Some(warning) if !is_back_off(&warning.message) => {
            said(if reason.is_empty() { &warning.reason } else { reason }, &warning.message)
        }
        Some(_) | None => said(reason, own),
    };
    match kind {
        "" => Some(words),
        kind => Some(format!("{kind} `{}`: {words}", status.name)),
    }
}

/// The last warning about a pod, unless what it is about is done with: a pod with a node waits for none.
fn warning_of<'a>(seen: &'a Seen, pod: &Pod) -> Option<&'a Warning> {
    let has_node = pod.spec.as_ref().is_some_and(|spec| !text(&spec.node_name).is_empty());
    seen.warning_of(pod).filter(|warning| !(has_node && warning.reason == "FailedScheduling"))
}

fn is_back_off(message: &str) -> bool {
    message.starts_with("Back-off") || message == "Error: ImagePullBackOff"
}

/// Why there is no pod, as the Job controller says.
fn no_pod(seen: &Seen) -> String {
    let Some(warning) = seen.warning_of_job() else { return String::new() };
    let namespace = seen.any_job().map(|job| text(&job.metadata.namespace)).unwrap_or_default();
    let words = said(&warning.reason, &warning.message);
    format!("{words} (namespace `{namespace}`{})", remedy(&warning.message))
}

/// What to change so that a pod is taken, where that can be told.
pub(super) fn remedy(message: &str) -> &'static str {
    if message.contains("serviceaccount") || message.contains("service account") {
        "; make the service account, or name another one under `service_account_name` in the executor's file"
    } else if message.contains("must specify") {
        "; say under the job's `resources` what it needs"
    } else if message.contains("exceeded quota") {
        "; wait until others have ended, ask for less under the job's `resources`, or have the quota raised"
    } else if message.contains("webhook") {
        "; have the webhook mended"
    } else {
        ""
    }
}

/// A reason and its message as one sentence.
pub(super) fn said(reason: &str, message: &str) -> String {
    match (reason, message) {
        ("", message) => message.to_owned(),
        (reason, "") => reason.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    }
}

#[cfg(test)]
mod tests;
