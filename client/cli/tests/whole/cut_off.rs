//! Executors that cannot be reached for a while, and that run what they hold nevertheless.

use crate::{
    attempts::{gone, lines, run_job, shell, with_mark},
    world::World,
};
use octavius_client::v1::ExecutionState;
use octavius_testbed::proxy::Proxy;
use std::time::Duration;
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
