//! Work that no node has room for.

use crate::world::World;
use octavius_testbed::cluster::Failed;
use serde_json::json;
use tokio::time::{Duration, Instant};

/// How soon users see the scheduler's words: three times what is said in the documentation, for a cluster that has other
/// work, and less than the time that the job has to start.
const TOLD: Duration = Duration::from_secs(45);
/// How soon nothing is left of what was cancelled.
const GONE: Duration = Duration::from_secs(30);

/// An executor of two places, in a namespace where whoever says nothing asks for 64 processors.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_node_can_take_does_not_run_says_so_and_holds_only_its_executors_places()
-> Result<(), Failed> {
    let world = World::start("no-room").await?;
    let much = json!({ "cpu": "64" });
    let range = json!({
        "apiVersion": "v1", "kind": "LimitRange", "metadata": { "name": "much" },
        "spec": { "limits": [{ "type": "Container", "default": &much, "defaultRequest": &much }] },
    });
    world.namespace.apply(&range.to_string()).await?;
    world.user.creates(&json!({
        "name": "hi",
        "image_name": "busybox:dev",
        "command": ["echo", "hi"],
        "start_timeout": "60s",
        "timeout": "5s",
    }));
    let mut executor = world.executor_with("one", "one", &json!({ "capacity": 2 }));
    executor.start();
    let begun = Instant::now();
    let execute = || world.user.run(&["execute", "hi", "--output", "name"]).unwrap();
    let all: Vec<_> = (0..3).map(|_| execute().trim().to_owned()).collect();
    let [late, cancelled, third] = &all[..] else { panic!("{all:?}") };
    for taken in [late, cancelled] {
        world.user.waits_for(&["status", taken], "Insufficient cpu").await;
    }
    assert!(begun.elapsed() < TOLD, "told after {:?}", begun.elapsed());
    let states = world.executions();
    assert!(!states.contains("running"), "{states}");
    world.user.waits_for(&["status", third], "pending").await;

    let asked = Instant::now();
    world.user.run(&["cancel", cancelled]).unwrap();
    world.user.waits_for(&["status", cancelled], "cancelled").await;
    let theirs = format!("--selector=octavius.dev/execution={cancelled}");
    let left = ["get", "jobs,pods", &theirs, "--output=name"];
    world.namespace.until(&left, str::is_empty).await?;
    assert!(asked.elapsed() < GONE, "gone after {:?}", asked.elapsed());

    // Its place is the third one's, which comes when there is room.
    world.user.waits_for(&["status", third], "Insufficient cpu").await;
    world.namespace.kubectl(&["delete", "limitrange", "much"]).await?;
    // Pods keep what they were made with.
    for never in [late, third] {
        world.user.waits_for(&["status", never], "failed").await;
        let status = world.user.run(&["status", never]).unwrap();
        assert!(status.contains("`start_timeout`"), "{status}");
        assert!(status.contains("Insufficient cpu"), "{status}");
    }
    // The time that the job has is for what runs, and nothing of it was used up.
    assert_eq!(
        world.user.run(&["execute", "hi", "--follow", "--exit-code"]).as_deref(),
        Ok("hi\n")
    );
    assert_eq!(executor.end().await, Some(0), "{}", executor.said());
    Ok(())
}
