//! How programs end that a cluster runs, and ends.

use crate::place::{Cluster, end};
use octavius_executor::runner::{Exit, ExitCause, Phase, Runner as _, Work, suite};
use std::time::Duration;
use tokio::time::Instant;

/// Fills its memory, with 32 MiB to fill.
fn greedy(place: &Cluster, script: &str) -> Work {
    let mut work = place.work(script);
    work.resources.limits.insert("memory".to_owned(), "32Mi".to_owned());
    work
}

const FILL: &str = "awk 'BEGIN{s=\"x\"; while(1) s=s s}'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_is_killed_for_memory_says_so_with_its_limit() {
    let place = Cluster::new("memory").await;
    let runner = place.runner().await;
    let (exit, _) = suite::run(&runner, &greedy(&place, &format!("exec {FILL}"))).await;
    let ExitCause::Failed { code: "oom_killed", why } = &exit.cause else { panic!("{exit:?}") };
    assert_eq!(exit.code, Some(137));
    assert!(why.contains("OOMKilled") && why.contains("32Mi"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_outlives_a_child_killed_for_memory_succeeds_with_a_note() {
    let place = Cluster::new("child").await;
    let runner = place.runner().await;
    // The container runtime may lose what it has not read when a program ends, and hears of the kill by another way than
    // of that end.
    let work = greedy(&place, &format!("{FILL}; echo survived; sleep 5"));
    let (exit, log) = suite::run(&runner, &work).await;
    let Exit { cause, code, note, .. } = &exit;
    assert_eq!((cause, code), (&ExitCause::Exited, &Some(0)), "{exit:?}");
    // The shell's own word of the child is on its other stream, and a runtime reads the two in any order.
    let log = String::from_utf8_lossy(&log);
    assert!(log.lines().any(|line| line == "survived"), "{log:?}");
    assert!(
        note.starts_with("a process of the program was killed") && note.contains("32Mi"),
        "{note:?}"
    );
}

/// Evicted by the kubelet, for the disk that it uses; and its program ends as if all were well when it is told to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_whose_pod_is_evicted_has_failed_with_the_kubelets_words() {
    let place = Cluster::new("evicted").await;
    let runner = place.runner().await;
    let script = "trap 'exit 0' TERM; echo start; dd if=/dev/zero of=/tmp/f bs=1M count=50 2>&1; \
        while :; do sleep 0.1; done";
    let mut work = Work { timeout: Some(Duration::from_secs(200)), ..place.work(script) };
    work.resources.limits.insert("ephemeral-storage".to_owned(), "10Mi".to_owned());
    suite::start(&runner, &work).await;
    let (log, _) = suite::log_with(&runner, work.attempt, "start\n").await;
    assert!(log.starts_with("start\n"), "{log}");
    let phase = end(&runner, &work).await;
    let Phase::Ended(exit) = phase else { panic!("{phase:?}") };
    let ExitCause::Failed { code: "evicted", why } = &exit.cause else { panic!("{exit:?}") };
    assert!(why.starts_with("Evicted: ") && why.contains("10Mi"), "{why}");
    // A busy node may kill it before it has heard what it is told.
    assert!(matches!(exit.code, None | Some(0 | 137)), "{exit:?}");
    runner.remove(work.attempt).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codes_are_told_as_they_were() {
    let place = Cluster::new("codes").await;
    let runner = place.runner().await;
    for code in [0, 1, 2, 255] {
        let (exit, log) = suite::run(&runner, &place.work(&format!("exit {code}"))).await;
        suite::check_code(&exit, code);
        assert!(log.is_empty());
    }
    let work = Work { command: vec!["true".to_owned()], ..place.work("") };
    let (exit, _) = suite::run(&runner, &work).await;
    suite::check_code(&exit, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_beside_the_jobs_own_keeps_nothing_up() {
    let mut place = Cluster::new("sidecar").await;
    place.options.allowed_template_fields.push("containers".to_owned());
    let runner = place.runner().await;
    let template = r#"{"spec": {"containers": [{"name": "proxy", "image": "busybox:dev",
        "command": ["sh", "-c", "while :; do echo proxy; sleep 1; done"]}]}}"#;
    let work = Work { template: template.to_owned(), ..place.work("echo main; exit 4") };
    suite::start(&runner, &work).await;
    let (log, _) = suite::log_with(&runner, work.attempt, "main").await;
    let exit = suite::ended(&runner, work.attempt).await;
    suite::check_code(&exit, 4);
    assert_eq!(log, "main\n");
    assert_eq!(suite::whole_log(&runner, work.attempt, 1 << 20).await, b"main\n");
    runner.remove(work.attempt).await.unwrap();
    let pods = ["get", "pods", "--output=name"];
    assert_eq!(place.namespace.kubectl(&pods).await.unwrap(), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_time_limit_counts_from_the_start_and_the_last_words_are_kept() {
    let place = Cluster::new("limit").await;
    let runner = place.runner().await;
    let script =
        "trap 'echo bye; exit 0' TERM; i=0; while :; do i=$((i+1)); echo $i; sleep 1; done";
    // So much that it has counted to three by then, and so long a grace that its last word is said, also on a busy node.
    let (timeout, grace) = (Some(Duration::from_secs(10)), Duration::from_secs(30));
    let work = Work { timeout, grace, ..place.work(script) };
    let (exit, log) = suite::run(&runner, &work).await;
    suite::check_told_to_end(&place, &exit, &ExitCause::TimedOut, 0);
    let log = String::from_utf8(log).unwrap();
    assert!(log.starts_with("1\n2\n3\n") && log.ends_with("bye\n"), "{log}");
}

/// With an executor that sees it, and with one that comes later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_seen_to_end_stays_so_though_its_pod_is_deleted() {
    let place = Cluster::new("garbage").await;
    let runner = place.runner().await;
    let work = place.work("echo done; exit 7");
    let (exit, _) = suite::run(&runner, &work).await;
    place.namespace.kubectl(&["delete", "pods", "--all", "--wait=true"]).await.unwrap();
    let seen = Phase::Ended(exit);
    let asked = Instant::now();
    assert_eq!(runner.wait(work.attempt, &seen, Duration::from_secs(1)).await.unwrap(), seen);
    assert!(asked.elapsed() >= Duration::from_secs(1), "it changed");
    assert_eq!(runner.look(work.attempt).await.unwrap().phase, seen);
}
