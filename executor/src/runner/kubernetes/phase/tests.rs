//! What is said of an attempt that waits, runs, or cannot be told about.

use super::{
    super::seen::{StopWhy, fixtures::*},
    *,
};
use crate::runner::{Exit, ExitCause, ExitLog};
use serde_json::json;

#[track_caller]
fn starting(seen: &Seen) -> String {
    match phase(seen, at(1)) {
        Some(Phase::Starting(words)) => words,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_attempt_is_prepared_until_it_is_let_go_and_runs_when_its_container_does() {
    let prepared = Seen { job: Some(job().into()), ..Seen::default() };
    assert_eq!(phase(&prepared, at(0)), Some(Phase::Prepared));
    assert_eq!(phase(&went(), at(0)), Some(Phase::Starting(String::new())));
    assert_eq!(phase(&went().with("p", 1, running(2)), at(3)), Some(Phase::Running));
    assert_eq!(phase(&Seen::default(), at(0)), None);
}

#[test]
fn of_a_pod_on_a_silent_node_it_is_said_that_its_result_is_not_known() {
    let silent = went().with("p", 1, running(2)).silent("p", 40);
    let words = format!("node n1 not ready since {}; result not known", at(40));
    assert_eq!(phase(&silent, at(60)), Some(Phase::Unseen(words.clone())));
    let given_up = silent.clone().told("p").deleting("p", 340, 5);
    let stopped = given_up.stopped(StopWhy::PodDeleted, 340);
    assert_eq!(phase(&stopped, at(350)), Some(Phase::Unseen(words)));
    // Of what has ended, that is known.
    let over = went().with("p", 1, over(0, "Completed", 1, 2)).silent("p", 40);
    assert!(matches!(phase(&over, at(60)), Some(Phase::Ended(_))));
    // Somebody else may say when it is ready.
    let mut gated = silent;
    let pod = std::sync::Arc::make_mut(gated.pods.get_mut("p-uid").unwrap());
    let gate = k8s_openapi::api::core::v1::PodReadinessGate { condition_type: "x".to_owned() };
    pod.spec.as_mut().unwrap().readiness_gates = Some(vec![gate]);
    assert_eq!(phase(&gated, at(60)), Some(Phase::Running));
}

#[test]
fn what_an_attempt_waits_for_is_said_in_the_clusters_own_words() {
    let quota = "Error creating: pods \"octavius-x\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=0";
    let words = starting(&went().warned("job", "FailedCreate", quota));
    assert!(words.starts_with(&format!("FailedCreate: {quota} (namespace `jobs`; ")), "{words}");
    let account = "Error creating: pods \"octavius-x-\" is forbidden: error looking up service account jobs/nosuch";
    let words = starting(&went().warned("job", "FailedCreate", account));
    assert!(words.contains("`service_account_name`"), "{words}");

    let unschedulable = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
        "reason": "Unschedulable", "message": "0/1 nodes are available: 1 Insufficient cpu."}]});
    let words = starting(&went().with("p", 1, unschedulable));
    assert_eq!(words, "Unschedulable: 0/1 nodes are available: 1 Insufficient cpu.");

    let pulling = waits("ImagePullBackOff", "Back-off pulling image \"nosuch:1\"");
    let refused =
        "Failed to pull image \"nosuch:1\": pull access denied, repository does not exist";
    let seen = went().with("p", 1, pulling).warned("p", "Failed", refused);
    assert_eq!(starting(&seen), format!("ImagePullBackOff: {refused}"));
    let seen = seen.warned("p", "Failed", "Error: ImagePullBackOff");
    assert_eq!(starting(&seen), "ImagePullBackOff: Back-off pulling image \"nosuch:1\"");

    let config = waits("CreateContainerConfigError", "secret \"mine\" not found");
    let words = starting(&went().with("p", 1, config));
    assert_eq!(words, "CreateContainerConfigError: secret \"mine\" not found");
    let creating = went().with("p", 1, waits("ContainerCreating", ""));
    assert_eq!(starting(&creating), "ContainerCreating");
    let mount = "MountVolume.SetUp failed for volume \"v\"";
    assert_eq!(
        starting(&creating.warned("p", "FailedMount", mount)),
        format!("ContainerCreating: {mount}")
    );
}

#[test]
fn a_pod_that_has_its_node_is_not_said_to_wait_for_one() {
    let on = |mut seen: Seen, node: Option<&str>| {
        let pod = std::sync::Arc::make_mut(seen.pods.get_mut("p-uid").unwrap());
        pod.spec.as_mut().unwrap().node_name = node.map(str::to_owned);
        let few = "0/1 nodes are available: 1 Insufficient cpu.";
        starting(&seen.warned("p", "FailedScheduling", few))
    };
    let pending = went().with("p", 1, json!({"phase": "Pending"}));
    assert!(on(pending.clone(), None).starts_with("FailedScheduling: 0/1 nodes"));
    assert_eq!(on(pending, Some("n1")), "");
    let creating = went().with("p", 1, waits("ContainerCreating", ""));
    assert_eq!(on(creating, Some("n1")), "ContainerCreating");
}

#[test]
fn a_container_beside_the_jobs_own_does_not_make_it_run() {
    let mut status = waits("ContainerCreating", "");
    let proxy = json!({"name": "proxy", "image": "proxy", "imageID": "", "ready": true, "restartCount": 0,
        "state": {"running": {"startedAt": at(1).to_string()}}});
    status["containerStatuses"].as_array_mut().unwrap().insert(0, proxy);
    status["phase"] = "Running".into();
    assert_eq!(starting(&went().with("p", 1, status)), "ContainerCreating");
}

#[test]
fn what_was_stopped_before_it_went_ends_at_once_and_what_went_when_no_pod_can_come() {
    let stopped = |seen: Seen| seen.stopped(StopWhy::Asked, 0);
    let end = |cause| {
        let log = ExitLog::NOTHING;
        Some(Phase::Ended(Exit { cause, code: None, signal: None, log, note: String::new() }))
    };
    let prepared = Seen { job: Some(job().into()), ..Seen::default() };
    assert_eq!(phase(&stopped(prepared), at(0)), end(ExitCause::Stopped));
    let seen = stopped(went());
    assert!(matches!(phase(&seen, at(1)), Some(Phase::Starting(_))), "a pod may still come");
    assert_eq!(phase(&seen, at(2)), end(ExitCause::Stopped));
    assert_eq!(due(&seen), Some(MADE + 2));
    let pending = seen.with("p", 0, waits("ContainerCreating", ""));
    assert!(matches!(phase(&pending, at(9)), Some(Phase::Starting(_))), "its pod is still there");
    assert_eq!(phase(&pending.without("p"), at(9)), end(ExitCause::Stopped));
}

#[test]
fn a_job_that_is_gone_is_told_by_what_was_seen_of_it() {
    let prepared = Seen { job: Some(job().into()), ..Seen::default() };
    assert_eq!(phase(&prepared.without_job(), at(0)), None, "nobody let it go");
    let Some(Phase::Vanished(words)) = phase(&went().with("p", 0, running(1)).without_job(), at(5))
    else {
        panic!()
    };
    assert!(words.contains("vanished") && words.contains("its pod p ran"), "{words}");
    let ended = went().with("p", 0, over(0, "Completed", 1, 2)).without_job();
    assert!(matches!(phase(&ended, at(5)), Some(Phase::Ended(exit)) if exit.code == Some(0)));
}
