//! Where an execution is begun, and what becomes of it where it cannot be.

use crate::{
    user::User,
    world::{World, eventually},
};
use octavius_client::v1::ExecutionState;
use rustix::process::Signal;
use serde_json::json;
use std::time::Duration;

/// Freezes the executor while it waits for work, and runs `job`, which it is given then, and does nothing with. Where it was
/// between two calls when it froze, it is given nothing: then it goes on, and is frozen again.
async fn granted_to_the_frozen(world: &World, user: &User, job: &str) -> String {
    let freeze = || async {
        // The next grant needs a call that waits for work: one that was frozen has none left.
        let works = world.execute("works", &[]).await;
        assert_eq!(world.over(&works).await.state(), ExecutionState::Succeeded);
        world.executor.signal(Signal::STOP);
        let id = user.execute(&[job]).await;
        let granted = world.reaches(&id, |now| now.state() != ExecutionState::Pending);
        if tokio::time::timeout(Duration::from_secs(5), granted).await.is_ok() {
            return Ok(id);
        }
        world.client.cancel(&id).await.unwrap();
        world.executor.signal(Signal::CONT);
        Err(format!("{id} was given to nobody"))
    };
    eventually(freeze).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_granted_and_does_not_start_in_time_fails_and_names_the_limit_and_its_key() {
    let mut world = World::new(8);
    // Silence is not what ends it.
    world.configure_controller("executor_ping_deadline", json!(60));
    world.configure_executor("wait_for_resource_poll_count", json!(3));
    world.configure_executor("job_active_deadline_seconds", json!(1));
    world.start_all();
    world.ready().await;
    let user = User::of(&world);
    let ran = world.path("ran");
    let script = format!("touch {}", ran.display());
    user.job("jobs", &script, json!({ "start_timeout": "2s" })).await;
    user.job("executors", &script, json!({})).await;
    user.job("works", "true", json!({})).await;

    for (job, limit) in [
        ("jobs", "2s of the grant (the job's `start_timeout`)"),
        (
            "executors",
            "3s of the grant (`wait_for_resource_poll_count` times `job_active_deadline_seconds` of executor test-executor)",
        ),
    ] {
        let id = granted_to_the_frozen(&world, &user, job).await;
        let over = world.over(&id).await;
        assert_eq!(
            (over.state(), over.reason_code.as_str()),
            (ExecutionState::Failed, "start_timeout"),
            "{over:?}"
        );
        let steps: Vec<_> = over.history.iter().map(|step| step.state()).collect();
        use ExecutionState::{Failed, Leased, Pending};
        assert_eq!(steps, [Pending, Leased, Failed], "{over:?}");
        assert_eq!(over.reason, format!("its program did not run within {limit}"));
        let status = user.says(&["status", &id]).await;
        assert!(status.contains(limit), "{status}");
        world.executor.signal(Signal::CONT);
    }
    let works = world.execute("works", &[]).await;
    assert_eq!(world.over(&works).await.state(), ExecutionState::Succeeded);
    assert!(!ran.exists(), "what was over was begun nevertheless");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_runs_only_where_its_selector_says_and_waits_with_the_reason_where_there_is_no_such_executor()
 {
    let mut world = World::new(8);
    world.configure_controller("executor_ping_deadline", json!(3));
    world.configure_executor("labels", json!({ "zone": "eu" }));
    world.start_all();
    world.ready().await;
    let user = User::of(&world);
    user.job("hello", "true", json!({ "executor_selector": { "zone": "us" } })).await;
    let reason = async |id: &str| world.client.execution(id).await.unwrap().reason;
    let first = user.execute(&["hello"]).await;
    let nobody = "no executor has the label `zone=us`: see `octavius executors -o wide`";
    assert_eq!(reason(&first).await, nobody);

    let mut there = world.other_executor("over-there", json!({ "zone": "us", "disk": "ssd" }));
    there.start();
    let mut all = vec![first];
    for _ in 0..5 {
        all.push(user.execute(&["hello"]).await);
    }
    for id in &all {
        let over = world.over(id).await;
        assert_eq!(
            (over.state(), over.executor.as_str()),
            (ExecutionState::Succeeded, "over-there"),
            "{over:?}"
        );
    }
    // What the job asks for, a request cannot take back, and no executor has both.
    let refused = user.run(&["execute", "hello", "--on", "zone=eu"]).await;
    assert_eq!(refused.status, Some(3), "{refused:?}");
    let moon = user.execute(&["hello", "--on", "disk=tape"]).await;
    let told = reason(&moon).await;
    assert!(told.contains("disk=tape"), "{told}");

    there.end().await;
    let waits = user.execute(&["hello"]).await;
    let silent = "every executor that could run it is silent: see `octavius executors`";
    let told = world.reaches(&waits, |now| now.reason == silent).await;
    assert_eq!(told.state(), ExecutionState::Pending, "the executor of another zone took it");
}
