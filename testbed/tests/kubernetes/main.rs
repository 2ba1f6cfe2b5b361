//! What tests are given of Kubernetes: the cluster that they share, namespaces, and clusters of their own.

#![allow(clippy::unwrap_used, clippy::panic)] // a test, and its helpers

mod own_cluster;

use octavius_testbed::cluster::{Failed, shared};
use std::time::Duration;
use tokio::time::Instant;

#[tokio::test]
async fn whoever_asks_at_the_same_time_gets_the_one_cluster_that_is_up() -> Result<(), Failed> {
    let (one, other) = tokio::join!(shared(), shared());
    let (one, other) = (one?, other?);
    assert_eq!(one.admin(), other.admin());
    let ready = "jsonpath={.items[0].status.conditions[?(@.type=='Ready')].status}";
    assert_eq!(other.kubectl(&["get", "nodes", "--output", ready]).await?, "True");
    Ok(())
}

#[tokio::test]
async fn an_executor_may_do_what_it_needs_in_its_own_namespace_and_nothing_else()
-> Result<(), Failed> {
    let namespace = shared().await?.namespace("rights").await?;
    let may = async |words: &[&str]| {
        let asked = [&["auth", "can-i"], words].concat();
        // The answer no is a failure of the command.
        namespace.kubectl_as_executor(&asked).await.is_ok_and(|answer| answer.trim() == "yes")
    };
    for words in [
        &["create", "jobs"][..],
        &["watch", "pods"],
        &["get", "pods", "--subresource=log"],
        &["create", "secrets"],
        &["list", "events"],
        &["get", "serviceaccounts"],
        &["create", "configmaps"],
        &["get", "configmaps/octavius-tester"],
        &["update", "configmaps/octavius-tester"],
    ] {
        // The API server takes a moment to know what was granted.
        let until = Instant::now() + Duration::from_secs(60);
        while !may(words).await {
            assert!(Instant::now() < until, "an executor may not {words:?}");
        }
    }
    for words in [
        &["create", "pods"][..],
        &["create", "pods", "--subresource=exec"],
        &["list", "secrets"],
        &["update", "secrets"],
        &["list", "configmaps"],
        &["get", "configmaps/executor-config"],
        &["update", "configmaps/kube-root-ca.crt"],
        &["delete", "configmaps/octavius-tester"],
        &["list", "serviceaccounts"],
        &["create", "serviceaccounts", "--subresource=token"],
        &["list", "nodes"],
        &["create", "jobs", "--namespace=default"],
        &["create", "rolebindings"],
        &["get", "secrets", "--namespace=kube-system"],
    ] {
        assert!(!may(words).await, "an executor may {words:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_namespace_goes_with_its_test_also_when_that_panics() -> Result<(), Failed> {
    let cluster = shared().await?;
    let namespace = cluster.namespace("panic").await?;
    let name = namespace.name().to_owned();
    let test = tokio::spawn(async move {
        assert_eq!(namespace.name(), "", "a test that fails");
    });
    assert!(test.await.unwrap_err().is_panic());
    is_going(&cluster, &name).await
}

#[tokio::test]
async fn what_a_killed_run_left_behind_is_deleted_by_the_next_one() -> Result<(), Failed> {
    let cluster = shared().await?;
    let name = format!("octavius-test-1000000-left-{:08x}", rand::random::<u32>());
    cluster.kubectl(&["create", "namespace", &name]).await?;
    let next = cluster.namespace("next").await?;
    is_going(&cluster, &name).await?;
    let phase = next.kubectl(&["get", "namespace", next.name(), PHASE]).await?;
    assert_eq!(phase, "Active", "the namespace of a test that runs");
    Ok(())
}

const PHASE: &str = "--output=jsonpath={.status.phase}";

/// Waits until a namespace is on its way to be deleted, or gone.
async fn is_going(cluster: &octavius_testbed::cluster::Cluster, name: &str) -> Result<(), Failed> {
    let phase = ["get", "namespace", name, "--ignore-not-found", PHASE];
    cluster.until(&phase, |phase| phase.is_empty() || phase == "Terminating").await.map(drop)
}
