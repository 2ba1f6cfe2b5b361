//! A program that says nothing for long, followed by a user who waits.

use crate::world::World;
use octavius_testbed::cluster::Failed;
use serde_json::json;
use std::time::Duration;

/// How long it says nothing. Timers that close what is idle are longer than what each run has time for: all of it takes
/// what `OCTAVIUS_TEST_ROUNDS=all` says.
fn silence() -> Duration {
    let all = std::env::var("OCTAVIUS_TEST_ROUNDS").is_ok_and(|rounds| rounds == "all");
    Duration::from_secs(if all { 700 } else { 45 })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_of_a_program_that_is_silent_for_long_sees_what_it_says_then()
-> Result<(), Failed> {
    let world = World::start("quiet").await?;
    let mut executor = world.executor("kubernetes", "quiet");
    executor.start();
    world.user.creates(&json!({
        "name": "quiet",
        "image_name": "busybox:dev",
        "command": ["sh", "-c", format!("echo a; sleep {}; echo b", silence().as_secs())],
    }));
    let followed = ["execute", "quiet", "--follow", "--exit-code"];
    let followed = tokio::task::block_in_place(|| world.user.run(&followed));
    assert_eq!(followed.as_deref(), Ok("a\nb\n"));
    assert_eq!(world.user.run(&["getlogs", "@last"]).unwrap(), "a\nb\n");
    world.user.waits_for(&["status", "@last"], "succeeded").await;
    assert_eq!(executor.end().await, Some(0), "{}", executor.said());
    Ok(())
}
