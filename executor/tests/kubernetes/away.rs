//! What happened while no executor was there, or one that could not see all of it.

use crate::place::{Cluster, object};
use octavius_executor::runner::{
    Exit, ExitCause, ExitLog, Phase, Runner as _, RunnerError, Work, suite,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_ended_well_while_nobody_was_there_succeeded_though_its_pod_is_gone() {
    let place = Cluster::new("away").await;
    let first = place.runner().await;
    let gate = place.path("gate");
    let script = format!("echo begun; until [ -e {} ]; do sleep 0.2; done", gate.display());
    let work = place.work(&script);
    suite::start(&first, &work).await;
    suite::log_with(&first, work.attempt, "begun").await;
    drop(first);
    std::fs::write(gate, "").unwrap();
    let succeeded = ["get", "job", &object(&work), "--output=jsonpath={.status.succeeded}"];
    place.namespace.until(&succeeded, |text| text == "1").await.unwrap();
    place.namespace.kubectl(&["delete", "pods", "--all", "--wait=true"]).await.unwrap();
    let fresh = place.runner().await;
    assert_eq!(fresh.find().await.unwrap().len(), 1);
    let Exit { cause, code, note, log, .. } = suite::ended(&fresh, work.attempt).await;
    assert_eq!((cause, code, log), (ExitCause::Exited, Some(0), ExitLog::Followed));
    assert!(note.contains("its pod was gone"), "{note}");
    fresh.remove(work.attempt).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_one_executor_saw_is_told_the_same_by_the_next_though_the_pod_is_gone() {
    let place = Cluster::new("seen").await;
    let first = place.runner().await;
    let work = place.work("echo done; exit 7");
    let (exit, _) = suite::run(&first, &work).await;
    let written = r"--output=jsonpath={.metadata.annotations.octavius\.dev/ended}";
    let written = ["get", "job", &object(&work), written];
    place.namespace.until(&written, |text| text.contains('7')).await.unwrap();
    drop(first);
    place.namespace.kubectl(&["delete", "pods", "--all", "--wait=true"]).await.unwrap();
    let fresh = place.runner().await;
    assert_eq!(fresh.look(work.attempt).await.unwrap().phase, Phase::Ended(exit));
    fresh.remove(work.attempt).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_may_not_be_looked_into_is_in_the_way_of_nothing_elsewhere() {
    let mut place = Cluster::new("rights").await;
    place.options.namespaces.insert(0, "kube-system".to_owned());
    let runner = place.runner().await;
    let work = place.work("echo begun; sleep 300");
    suite::start(&runner, &work).await;
    suite::log_with(&runner, work.attempt, "begun").await;
    runner.stop(work.attempt).await.unwrap();
    assert_eq!(suite::ended(&runner, work.attempt).await.cause, ExitCause::Stopped);
    let fresh = place.runner().await;
    assert_eq!(fresh.find().await.unwrap().len(), 1);
    fresh.remove(work.attempt).await.unwrap();
    let there = Work { namespace: Some("kube-system".to_owned()), ..place.work(":") };
    let refused = fresh.prepare(&there).await;
    let Err(RunnerError::NotYet(words)) = refused else { panic!("{refused:?}") };
    assert!(words.contains("kube-system") && words.contains("bind the role"), "{words}");
    place.options.namespaces = vec!["kube-system".to_owned()];
    let blind = octavius_executor::runner::kubernetes::KubeRunner::open(place.options.clone());
    assert!(matches!(blind.await, Err(RunnerError::Refused(_))));
}
