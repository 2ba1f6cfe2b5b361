//! What an executor finds that was there before it, and what it leaves to others.

use crate::place::{Cluster, OURS, object};
use octavius_executor::runner::{
    Phase, Runner, RunnerError,
    kubernetes::{KubeRunner, Options},
    suite,
};
use std::time::Duration;
use tokio::time::Instant;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_was_deleted_is_told_by_who_saw_it_and_made_again_by_nobody() {
    let place = Cluster::new("vanished").await;
    let runner = place.runner().await;
    let file = place.path("ran");
    let work = place.work(&format!("echo ran >> {}; echo begun; sleep 300", file.display()));
    suite::start(&runner, &work).await;
    suite::log_with(&runner, work.attempt, "begun").await;
    place.namespace.kubectl(&["delete", "job", &object(&work)]).await.unwrap();
    let phase = runner.wait(work.attempt, &Phase::Running, suite::SOON).await.unwrap();
    let Phase::Vanished(words) = phase else { panic!("{phase:?}") };
    assert!(words.contains(&object(&work)) && words.contains("vanished"), "{words}");
    runner.go(work.attempt, &Default::default()).await.unwrap();
    runner.stop(work.attempt).await.unwrap();
    let fresh = place.runner().await;
    let unknown = fresh.look(work.attempt).await;
    assert!(matches!(unknown, Err(RunnerError::Unknown(_))), "{unknown:?}");
    assert_eq!(fresh.find().await.unwrap(), []);
    runner.remove(work.attempt).await.unwrap();
    assert_eq!(place.runs("ran"), 1);
    assert_eq!(place.namespace.kubectl(&["get", "pods", "--output=name"]).await.unwrap(), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_executors_in_one_namespace_see_only_their_own() {
    let place = Cluster::new("neighbours").await;
    let open = async |executor: &str, installation: &str| {
        let (executor, installation) = (executor.to_owned(), installation.to_owned());
        KubeRunner::open(Options { executor, installation, ..place.options.clone() }).await.unwrap()
    };
    let mut work = place.work("sleep 300");
    work.installation = "ours".to_owned();
    let a = open("a", "ours").await;
    suite::start(&a, &work).await;
    let others = [open("b", "ours").await, open("a", "theirs").await];
    for other in &others {
        assert_eq!(other.find().await.unwrap(), []);
        let refused = other.stop(work.attempt).await;
        assert!(matches!(refused, Err(RunnerError::Unknown(_))), "{refused:?}");
        other.remove(work.attempt).await.unwrap();
        assert!(matches!(other.prepare(&work).await, Err(RunnerError::Refused(_))));
    }
    assert_eq!(open("a", "").await.find().await.unwrap(), []);
    let found = open("a", "ours").await.find().await.unwrap();
    assert_eq!((found.len(), &found[0].work), (1, &work));
    // A kubelet may look at what it is starting only after a minute and a half: that is asked for again.
    let until = Instant::now() + 4 * suite::SOON;
    while let Err(error) = a.remove(work.attempt).await {
        assert!(matches!(error, RunnerError::Failed { .. }) && Instant::now() < until, "{error}");
    }
}

/// Its limits hold though nobody waits for it, and it was let go by another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_executor_keeps_the_limits_of_what_it_finds() {
    let place = Cluster::new("limits").await;
    let mut work = place.work("sleep 300");
    work.timeout = Some(Duration::from_secs(6));
    let first = place.runner().await;
    suite::start(&first, &work).await;
    drop(first);
    let fresh = place.runner().await;
    let stopped = "--output=jsonpath={.spec.parallelism}";
    place
        .namespace
        .until(&["get", "job", &object(&work), stopped], |said| said == "0")
        .await
        .unwrap();
    let exit = suite::ended(&fresh, work.attempt).await;
    assert_eq!(exit.cause, octavius_executor::runner::ExitCause::TimedOut, "{exit:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_over_is_left_for_as_long_as_the_file_says_and_taken_for_nothing_to_go_on_with() {
    let mut place = Cluster::new("finished").await;
    place.options.keep_finished_for = Duration::from_secs(12);
    let runner = place.runner().await;
    let work = place.work("echo done; exit 3");
    let (exit, _) = suite::run(&runner, &work).await;
    suite::check_code(&exit, 3);
    runner.remove(work.attempt).await.unwrap();
    let there = ["get", "jobs,pods,secrets", OURS, "--output=name"];
    let left = place.namespace.kubectl(&there).await.unwrap();
    assert!(left.contains("job.batch/") && left.contains("pod/"), "{left}");
    assert!(!left.contains("secret/"), "nothing of its can start any more: {left}");
    drop(runner);
    let next = place.runner().await;
    assert_eq!(next.find().await.unwrap(), []);
    place.namespace.until(&there, str::is_empty).await.unwrap();
}
