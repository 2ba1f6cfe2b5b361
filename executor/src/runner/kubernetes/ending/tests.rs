//! Ends, as clusters tell of them.

use super::{
    super::seen::fixtures::{self, *},
    *,
};
use ExitCause::{Exited, Failed, NotStarted, Stopped, TimedOut};
use serde_json::json;

#[track_caller]
fn exit(seen: &Seen) -> Exit {
    match ended(seen) {
        Some(Phase::Ended(exit)) => exit,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn lost(seen: &Seen) -> String {
    match ended(seen) {
        Some(Phase::Vanished(words)) => words,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn failed(seen: &Seen, expected: &str) -> (String, Option<i32>) {
    let exit = exit(seen);
    match exit.cause {
        Failed { code, why } | NotStarted { code, why } if code == expected => (why, exit.code),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_exit_code_of_the_jobs_own_container_is_the_truth() {
    for code in [0, 1, 4, 137, 143] {
        let exit = exit(&went().with("p", 0, fixtures::over(code, "Error", 1, 2)));
        assert_eq!((exit.cause, exit.code, exit.log), (Exited, Some(code), ExitLog::Followed));
    }
    // Also beside one that still runs, whatever the pod's phase says.
    let mut status = fixtures::over(4, "Error", 1, 2);
    status["phase"] = "Running".into();
    let proxy = json!({"name": "proxy", "image": "proxy", "imageID": "", "ready": true, "restartCount": 0,
        "state": {"running": {"startedAt": at(1).to_string()}}});
    status["containerStatuses"].as_array_mut().unwrap().insert(0, proxy);
    assert_eq!(exit(&went().with("p", 0, status)).code, Some(4));
    assert_eq!(ended(&went().with("p", 0, running(1))), None);
}

#[test]
fn what_was_sent_a_stop_ended_by_that_with_its_code_beside_it() {
    let cause = |why, code| {
        let seen = went().with("p", 0, fixtures::over(code, "Error", 1, 9)).stopped(why, 5);
        let exit = exit(&seen);
        assert_eq!(exit.code, Some(code));
        exit.cause
    };
    assert_eq!(cause(StopWhy::Asked, 143), Stopped);
    assert_eq!(cause(StopWhy::TimedOut, 0), TimedOut);
    assert!(matches!(cause(StopWhy::NotStarted, 143), NotStarted { code: "start_timeout", .. }));
}

/// As a kubelet tells that was away when the keeper ended what it took for running.
#[test]
fn what_had_ended_before_its_stop_ended_by_itself_unless_its_nodes_clock_is_behind() {
    let told = |why, to, stop, taken_up: i64| {
        let mut status = fixtures::over(0, "Completed", 1, to);
        status["startTime"] = at(taken_up).to_string().into();
        exit(&went().with("p", 0, status).stopped(why, stop)).cause
    };
    for why in [StopWhy::TimedOut, StopWhy::Asked] {
        assert_eq!(told(why, 10, 31, 0), Exited);
        assert_eq!(told(why, 10, 13, 0), Exited);
    }
    assert_eq!(told(StopWhy::Asked, 10, 12, 0), Stopped);
    assert_eq!(told(StopWhy::TimedOut, 29, 31, 0), TimedOut);
    // It ran for too long before an executor came and saw that.
    assert_eq!(told(StopWhy::TimedOut, 30, 100, 0), Exited);
    assert_eq!(told(StopWhy::TimedOut, 31, 100, 0), TimedOut);
    // What was cut short looks the same where the node's clock is behind.
    assert_eq!(told(StopWhy::TimedOut, 10, 31, -1), TimedOut);
}

#[test]
fn a_program_killed_for_memory_is_told_with_its_limit_and_one_that_lost_a_child_only_noted() {
    let (why, code) =
        failed(&went().with("p", 0, fixtures::over(137, "OOMKilled", 1, 2)), "oom_killed");
    assert_eq!(code, Some(137));
    assert!(
        why.contains("OOMKilled") && why.contains("32Mi") && why.contains("`limits.memory`"),
        "{why}"
    );
    let exit = exit(&went().with("p", 0, fixtures::over(0, "OOMKilled", 1, 2)));
    assert_eq!((exit.cause, exit.code), (Exited, Some(0)));
    assert!(exit.note.starts_with("a process of the program was killed"), "{}", exit.note);
}

#[test]
fn what_the_kubelet_evicted_says_so_also_without_any_container() {
    let words = "Pod ephemeral local storage usage exceeds the total limit of containers 10Mi.";
    let bare =
        json!({"phase": "Failed", "reason": "Evicted", "message": words, "containerStatuses": []});
    let (why, code) = failed(&went().with("p", 0, bare), "evicted");
    assert_eq!((why, code), (format!("Evicted: {words}"), None));
    let mut told = fixtures::over(137, "Error", 1, 2);
    told["reason"] = "Evicted".into();
    told["message"] = words.into();
    assert_eq!(failed(&went().with("p", 0, told.clone()), "evicted").1, Some(137));
    // It ended as if all were well when it was told to.
    told["containerStatuses"] = fixtures::over(0, "Completed", 1, 2)["containerStatuses"].take();
    let (why, code) = failed(&went().with("p", 0, told), "evicted");
    assert_eq!((why, code), (format!("Evicted: {words}"), Some(0)));
    let refused = json!({"phase": "Failed", "reason": "OutOfcpu", "message": "Node didn't have enough resource"});
    failed(&went().with("p", 0, refused), "not_admitted");
}

#[test]
fn a_pod_that_is_deleted_from_outside_is_a_failure_unless_its_program_had_ended() {
    let killed = went().with("p", 0, fixtures::over(143, "Error", 1, 20)).deleting("p", 15, 30);
    let (why, code) = failed(&killed, "pod_deleted");
    assert_eq!(code, Some(143));
    assert!(why.contains("jobs/p") && why.contains("kubectl drain"), "{why}");
    // It said that all went well, though after it was told to go.
    let handled = went().with("p", 0, fixtures::over(0, "Completed", 1, 20)).deleting("p", 15, 30);
    failed(&handled, "pod_deleted");
    let before = went().with("p", 0, fixtures::over(3, "Error", 1, 10)).deleting("p", 15, 30);
    assert_eq!(exit(&before).cause, Exited);
    // Nobody saw how it ended.
    let gone = went().with("p", 0, running(1)).told("p").without("p");
    for gone in [&gone, &went().told("p"), &gone.clone().stopped(StopWhy::PodDeleted, 9)] {
        assert!(lost(gone).contains("is not known"), "{gone:?}");
    }
    assert_eq!(exit(&gone.clone().stopped(StopWhy::Asked, 9)).cause, Stopped);
    // And what was seen before it went stays.
    let seen = went().with("p", 0, fixtures::over(0, "Completed", 1, 2)).told("p").without("p");
    assert_eq!((exit(&seen).cause, exit(&seen).code), (Exited, Some(0)));
}

#[test]
fn a_pod_that_made_room_for_another_was_preempted_whether_its_program_ran_or_not() {
    let words = "default-scheduler: preempting to accommodate a higher priority pod";
    let condition = json!([{"type": "DisruptionTarget", "status": "True",
        "reason": "PreemptionByKubeScheduler", "message": words}]);
    let mut ran = fixtures::over(143, "Error", 1, 20);
    ran["conditions"] = condition.clone();
    let (why, code) = failed(&went().with("p", 0, ran).deleting("p", 15, 30), "preempted");
    assert_eq!((why, code), (format!("PreemptionByKubeScheduler: {words}"), Some(143)));
    let mut waits = json!({"phase": "Failed"});
    waits["conditions"] = condition;
    let seen = went().with("p", 0, waits).stopped(StopWhy::PodDeleted, 9);
    let Phase::Ended(exit) = never_started(&seen, &seen.stop().unwrap()) else { panic!() };
    assert!(matches!(exit.cause, NotStarted { code: "preempted", .. }), "{exit:?}");
}

#[test]
fn how_a_program_ended_on_a_node_that_did_not_come_back_is_not_known() {
    let silent = went().with("p", 0, running(1)).told("p").silent("p", 40);
    assert_eq!(ended(&silent.clone().deleting("p", 340, 5)), None, "it may come back");
    let gone = silent.deleting("p", 340, 0).without("p");
    let words = lost(&gone.clone().stopped(StopWhy::PodDeleted, 340));
    assert!(words.starts_with(&format!("the node n1 was not ready since {}", at(40))), "{words}");
    let cancelled = exit(&gone.stopped(StopWhy::Asked, 60));
    assert_eq!((&cancelled.cause, cancelled.code), (&Stopped, None));
    assert!(cancelled.note.contains("n1") && cancelled.note.contains("not known"), "{cancelled:?}");
}

#[test]
fn a_job_that_is_complete_is_a_success_though_nobody_saw_its_pod() {
    for seen in [went(), went().told("p")] {
        let seen = seen.condition("Complete", "");
        assert_eq!(ended(&seen), None, "its pods are asked for first");
        let told = exit(&seen.ended_as_told());
        assert_eq!((told.cause, told.code, told.log), (Exited, Some(0), ExitLog::Followed));
        assert!(told.note.contains("its pod was gone"), "{}", told.note);
        assert_eq!(exit(&seen.clone().without_job()), exit(&seen.ended_as_told()));
        // What was asked for later changes nothing.
        let later = seen.ended_as_told().stopped(StopWhy::NotStarted, 700);
        assert_eq!(exit(&later).cause, Exited);
    }
    let cut = went().with("p", 0, running(1)).told("p").condition("Complete", "").without("p");
    assert_eq!((exit(&cut).cause, exit(&cut).code), (Exited, Some(0)));
}

#[test]
fn of_a_job_that_failed_with_an_unseen_pod_nobody_knows_how_it_ended() {
    for seen in [went(), went().told("p")] {
        let seen = seen.condition("Failed", "BackoffLimitExceeded");
        assert_eq!(ended(&seen), None, "its pods are asked for first");
        let Some(Phase::Vanished(words)) = ended(&seen.ended_as_told()) else { panic!("{seen:?}") };
        assert!(words.contains("BackoffLimitExceeded") && words.contains("not known"), "{words}");
    }
    let deadline = went().told("p").condition("Failed", "DeadlineExceeded");
    assert_eq!(exit(&deadline).cause, TimedOut);
}

#[test]
fn what_the_cluster_gave_up_before_it_was_let_go_never_ran() {
    let prepared = Seen { job: Some(job().into()), ..Seen::default() };
    assert_eq!(ended(&prepared), None);
    let seen = prepared.condition("Failed", "DeadlineExceeded");
    let (why, code) = failed(&seen, "start_timeout");
    assert!(why.contains("DeadlineExceeded") && why.contains("before it was let go"), "{why}");
    assert_eq!((code, exit(&seen).log), (None, ExitLog::Followed));
    assert_eq!(ended(&seen.stopped(StopWhy::Asked, 9)), None, "it ends by that");
}

#[test]
fn an_end_that_was_seen_once_is_told_the_same_by_who_comes_when_the_pod_is_gone() {
    let ran =
        |code, reason: &str| went().with("p", 0, fixtures::over(code, reason, 1, 20)).told("p");
    let mut refused = fixtures::over(128, "StartError", 0, 2);
    refused["containerStatuses"][0]["state"]["terminated"]["message"] = "not found".into();
    for seen in [
        ran(0, "Completed"),
        ran(7, "Error"),
        ran(0, "OOMKilled"),
        ran(137, "OOMKilled"),
        ran(255, "Unknown"),
        ran(143, "Error").deleting("p", 15, 30),
        ran(143, "Error").stopped(StopWhy::Asked, 9),
        ran(143, "Error").stopped(StopWhy::TimedOut, 9),
        went().with("p", 0, refused),
        went().with("p", 0, json!({"phase": "Failed", "reason": "Evicted", "message": "full"})),
    ] {
        let end = ended(&seen);
        assert!(end.is_some(), "{seen:?}");
        assert_eq!(ended(&seen.ended_as_told().unseen("p")), end);
        assert_eq!(to_tell(&seen.ended_as_told()), None);
    }
}

#[test]
fn a_second_pod_changes_nothing_and_is_told_if_it_ran() {
    let seen =
        went().with("p", 0, fixtures::over(143, "Error", 1, 20)).deleting("p", 15, 30).told("p");
    let kept_out =
        seen.clone().with("q", 16, waits("CreateContainerConfigError", "secret not found"));
    assert_eq!(exit(&kept_out), exit(&seen));
    let both = seen.with("q", 16, running(17));
    let told = exit(&both);
    assert!(told.note.contains("2 pods") && told.note.contains("p, q"), "{}", told.note);
}

#[test]
fn the_last_deadline_of_the_cluster_is_a_time_limit() {
    let seen = went().with("p", 0, fixtures::over(137, "Error", 1, 200)).deleting("p", 190, 5);
    let seen = seen.condition("Failed", "DeadlineExceeded");
    assert_eq!(exit(&seen).cause, TimedOut);
    assert_eq!(exit(&seen.told("p").without("p")).cause, TimedOut);
}

/// As a kubelet of 1.20 says that was killed before it started what it had made.
#[test]
fn what_was_made_and_not_started_did_not_end_with_0() {
    let mut status = fixtures::over(0, "", 0, 0);
    let never = json!({
        "exitCode": 0, "startedAt": "1970-01-01T00:00:00Z", "finishedAt": "1970-01-01T00:00:00Z",
        "containerID": "containerd://5f0e",
    });
    status["containerStatuses"][0]["state"]["terminated"] = never;
    let seen = went().with("p", 0, status);
    let (why, code) = failed(&seen, "start_failed");
    assert_eq!((code, exit(&seen).log), (None, ExitLog::Followed));
    assert!(why.starts_with("`sh` was not started: ") && why.contains("kubelet"), "{why}");
    let cancelled = exit(&seen.stopped(StopWhy::Asked, 9));
    assert_eq!((cancelled.cause, cancelled.code), (Stopped, None));
}

/// A runtime that was killed gives no exit code, and the program may have ended well.
#[test]
fn what_ran_and_failed_without_a_word_of_its_program_is_not_known() {
    let failed = json!({"phase": "Failed"});
    let ran = went().with("p", 0, failed.clone()).told("p");
    assert!(matches!(ended(&ran), Some(Phase::Vanished(why)) if why.contains("does not say how")));
    let never = went().with("p", 0, failed);
    assert_eq!(exit(&never).log, ExitLog::NOTHING);
}

#[test]
fn what_could_not_be_started_says_what_and_why() {
    let mut status = fixtures::over(128, "StartError", 0, 2);
    status["containerStatuses"][0]["state"]["terminated"]["message"] =
        "failed to create containerd task: exec: \"sh\": executable file not found in $PATH: unknown".into();
    let seen = went().with("p", 0, status);
    let (why, code) = failed(&seen, "start_failed");
    assert_eq!((code, exit(&seen).log), (None, ExitLog::Followed));
    assert!(why.starts_with("`sh` could not be started: ") && why.contains("install it"), "{why}");
    let invalid = waits("InvalidImageName", "Failed to apply default image tag \"A:B:C\"");
    let (why, _) = failed(&went().with("p", 0, invalid), "image");
    assert!(
        why.contains("InvalidImageName: Failed to apply") && why.contains("`image_name`"),
        "{why}"
    );
    let init = json!({"phase": "Failed", "initContainerStatuses": [{"name": "fetch", "image": "x", "imageID": "",
        "ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": 2, "reason": "Error"}}}]});
    let (why, _) = failed(&went().with("p", 0, init), "init_failed");
    assert_eq!(why, "the init container `fetch` ended with 2 (Error)");
}

#[test]
fn what_did_not_start_in_time_says_what_it_waited_for() {
    let stop = Stop { why: StopWhy::NotStarted, at: MADE + 60, waited_for: "no node".to_owned() };
    let Phase::Ended(exit) = never_started(&went(), &stop) else { panic!() };
    let NotStarted { code: "start_timeout", why } = exit.cause else { panic!("{exit:?}") };
    assert_eq!(why, "the program did not start within 1m (`start_timeout`): no node");
    assert_eq!(exit.log, ExitLog::Followed);
    let waited_for = "ImagePullBackOff: no such host".to_owned();
    let Phase::Ended(exit) = never_started(&went(), &Stop { waited_for, ..stop }) else { panic!() };
    let NotStarted { code: "image", why } = exit.cause else { panic!("{exit:?}") };
    assert!(why.ends_with("(`start_timeout`): ImagePullBackOff: no such host"), "{why}");
}

#[test]
fn a_node_that_lost_sight_of_the_program_knows_no_end_of_it() {
    let Some(Phase::Vanished(words)) =
        ended(&went().with("p", 0, fixtures::over(255, "Unknown", 1, 2)))
    else {
        panic!()
    };
    assert!(words.contains("lost sight"), "{words}");
}

#[test]
fn a_long_reason_of_the_runtime_keeps_its_beginning_and_its_end() {
    let text = format!("exec: {}: file name too long", "x".repeat(100_000));
    let short = without_middle(&text);
    assert!(short.len() < 450 && short.starts_with("exec: xx") && short.ends_with("name too long"));
    assert_eq!(without_middle("short"), "short");
}

#[test]
fn a_pod_that_failed_without_a_word_after_a_stop_ended_by_that() {
    for (why, cause) in [(StopWhy::TimedOut, TimedOut), (StopWhy::Asked, Stopped)] {
        let seen = went().with("p", 0, json!({"phase": "Failed"})).stopped(why, 2);
        assert_eq!(exit(&seen).cause, cause);
    }
    failed(&went().with("p", 0, json!({"phase": "Failed"})), "pod_failed");
}

/// Newer kubelets say of a container that they had not started yet when its pod was ended that they lost sight of it.
#[test]
fn what_was_stopped_before_it_started_never_started_whatever_the_kubelet_calls_it() {
    let mut unknown = fixtures::over(137, "ContainerStatusUnknown", 1, 2);
    unknown["containerStatuses"][0]["state"]["terminated"]["startedAt"].take();
    let mut waits = fixtures::waits("ContainerCreating", "");
    waits["phase"] = "Failed".into();
    for status in [unknown, waits] {
        let stopped = |why| exit(&went().with("p", 0, status.clone()).stopped(why, 2));
        assert_eq!(stopped(StopWhy::Asked).cause, Stopped);
        assert_eq!(stopped(StopWhy::Asked).log, ExitLog::NOTHING);
        let deleted = stopped(StopWhy::PodDeleted).cause;
        assert!(matches!(deleted, NotStarted { code: "pod_deleted", .. }), "{deleted:?}");
    }
}

/// A runtime that was killed may forget of a container that it ran: what it wrote is not nothing.
#[test]
fn what_ran_before_it_was_stopped_has_a_log_though_the_kubelet_forgets_it() {
    let mut unknown = fixtures::over(137, "ContainerStatusUnknown", 1, 2);
    unknown["containerStatuses"][0]["state"]["terminated"]["startedAt"].take();
    let mut waits = fixtures::waits("ContainerCreating", "");
    waits["phase"] = "Failed".into();
    for status in [unknown, waits] {
        let late = exit(&went().with("p", 0, status.clone()).stopped(StopWhy::TimedOut, 2));
        assert_eq!((late.cause, late.log), (TimedOut, ExitLog::Followed));
        let told = went().with("p", 0, status).told("p").stopped(StopWhy::Asked, 2);
        let told = exit(&told);
        assert_eq!((told.cause, told.log), (Stopped, ExitLog::Followed));
    }
}
