//! What an executor finds that was there before it, and what it leaves to others.

use crate::place::{Cluster, object};
use octavius_executor::runner::{
    Phase, Runner, RunnerError,
    kubernetes::{KubeRunner, Options},
    suite,
};
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
    work.timeout = Some(std::time::Duration::from_secs(6));
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
