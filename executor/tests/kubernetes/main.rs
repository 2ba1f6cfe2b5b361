//! The runner `kubernetes` on a real cluster: the conformance suite, and what is special of this kind.

#![cfg(feature = "kubernetes")]
#![allow(clippy::unwrap_used)] // all of this file is tests, also what no `#[test]` stands above

mod adoption;
mod api_server;
mod away;
mod ends;
mod gate;
mod labels;
mod login;
mod logs;
mod nodes;
mod place;
#[path = "../script/mod.rs"]
mod script;
mod service;
mod starts;

use octavius_executor::runner::{ExitCause, ExitLog, Runner as _, suite};
use place::{Cluster, OURS};

mod conformance {
    use super::place::Cluster;

    octavius_executor::runner_conformance!(Cluster::new("suite").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_goes_writes_and_ends() {
    let place = Cluster::new("goes").await;
    let runner = place.runner().await;
    let work = place.work("echo hello; exit 3");
    let (exit, log) = suite::run(&runner, &work).await;
    assert_eq!(
        (&exit.cause, exit.code, &exit.log),
        (&ExitCause::Exited, Some(3), &ExitLog::Followed)
    );
    assert_eq!(String::from_utf8_lossy(&log), "hello\n");
    runner.remove(work.attempt).await.unwrap();
    let left = place.namespace.kubectl(&["get", "jobs,pods,secrets", OURS, "--output=name"]).await;
    assert_eq!(left.unwrap(), "");
    assert_eq!(runner.find().await.unwrap(), []);
}
