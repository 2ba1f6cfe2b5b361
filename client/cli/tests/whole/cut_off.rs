//! Executors that cannot be reached for a while, and that run what they hold nevertheless.

use crate::{
    attempts::{gone, lines, run_job, shell, with_mark},
    world::{World, eventually},
};
use octavius_client::v1::{Execution, ExecutionState, JobDefinition};
use octavius_testbed::proxy::Proxy;
use serde_json::json;
use std::{fs, time::Duration};
use tokio::time::Instant;

/// For how long it cannot be reached.
const AWAY: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_reaches_an_executor_that_was_cut_off_soon_after_it_is_back() {
    let mut world = World::new(8);
    let way = Proxy::to(world.address.clone()).await;
    world.configure_executor("cp_host", way.address.clone().into());
    world.start_all();
    world.ready().await;
    let mark = format!("9{}", std::process::id());
    let script = format!("echo x >> {}; sleep {mark}", world.path("ran").display());
    let id = run_job(&world, shell("hit", &script)).await;
    world
        .reaches(&id, |now| now.state() == ExecutionState::Running && lines(&world, "ran") == 1)
        .await;

    way.cut();
    let wished = world.client.cancel(&id).await.unwrap();
    assert!(wished.cancelling && wished.state() == ExecutionState::Running, "{wished:?}");
    tokio::time::sleep(AWAY).await;
    let waits = world.client.execution(&id).await.unwrap();
    assert!(waits.cancelling && waits.state() == ExecutionState::Running, "{waits:?}");
    assert!(!with_mark(&mark).is_empty(), "it was stopped, and nobody could have told that");
    way.mend();
    let back = Instant::now();
    gone(&mark).await;
    let took = back.elapsed();
    println!("gone {took:?} after the executor could be reached again");
    assert!(took < Duration::from_secs(15), "gone only after {took:?}");
    let over = world.over(&id).await;
    assert_eq!((over.state(), over.attempt), (ExecutionState::Cancelled, 1), "{over:?}");
    assert_eq!(over.reason_code, "cancelled", "it was told by who had stopped it: {over:?}");
    assert_eq!(lines(&world, "ran"), 1);
}

/// Nobody but the executor itself can stop what it runs while nobody reaches it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_what_is_run_again_when_it_is_lost_only_one_runs_at_a_time_though_its_executor_is_cut_off()
 {
    let mut world = World::new(1);
    world.configure_controller("executor_ping_deadline", json!(3));
    world.configure_controller("executor_lost_after", json!(16));
    let mut near = world.other_executor("near", json!({}));
    let way = Proxy::to(world.address.clone()).await;
    world.configure_executor("cp_host", way.address.clone().into());
    world.start_all();
    world.ready().await;
    let (ran, gate) = (world.path("ran"), world.path("gate"));
    let (ran, gate) = (ran.display(), gate.display());
    let script = format!(
        "trap 'echo stopped >> {ran}; exit 1' TERM; echo begun >> {ran}; \
         while [ ! -e {gate} ]; do sleep 0.1; done; echo done >> {ran}"
    );
    let definition =
        JobDefinition { on_lost: "rerun".to_owned(), ..shell("once-at-a-time", &script) };
    let id = run_job(&world, definition).await;
    world
        .reaches(&id, |now| now.state() == ExecutionState::Running && lines(&world, "ran") == 1)
        .await;

    way.cut();
    near.start();
    let again = |now: &Execution| {
        (now.attempt, now.state()) == (2, ExecutionState::Running) && lines(&world, "ran") == 3
    };
    world.reaches(&id, again).await;
    fs::write(world.path("gate"), "").unwrap();
    let over = world.over(&id).await;
    assert_eq!((over.state(), &*over.executor), (ExecutionState::Succeeded, "near"), "{over:?}");
    assert_eq!(fs::read_to_string(world.path("ran")).unwrap(), "begun\nstopped\nbegun\ndone\n");
    // What comes late changes nothing, and nothing of it is left.
    way.mend();
    let left = || async {
        let entries = fs::read_dir(world.path("state").join("attempts"));
        let left = entries.map_err(|error| error.to_string())?.count();
        if left == 0 { Ok(()) } else { Err(format!("{left} attempts are left")) }
    };
    eventually(left).await.unwrap();
    let over = world.over(&id).await;
    assert_eq!((over.state(), over.attempt), (ExecutionState::Succeeded, 2), "{over:?}");
    // But it is kept where it belongs.
    let first = &over.attempts[0];
    assert_eq!((first.state(), first.log_cut.as_str()), (ExecutionState::Lost, ""), "{over:?}");
    assert!(first.known_later.as_ref().is_some_and(|known| !known.log_is_coming), "{over:?}");
}
