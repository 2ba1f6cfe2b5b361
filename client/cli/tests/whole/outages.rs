//! Commands that follow and wait over a `kill -9` of the controller.

use crate::{
    user::{User, arguments},
    world::{World, eventually},
};
use octavius_client::v1::ExecutionState;
use std::time::Duration;
use tokio::time::Instant;

/// Writes 20 lines of 10 kB a second until it is told to end: a segment fills in about five seconds.
const SCRIPT: &str = "line=$(head -c 10000 /dev/zero | tr '\\0' x); i=0
while [ ! -e \"$go\" ]; do i=$((i + 1)); echo \"$i $line\"; sleep 0.02; done; echo end";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_gets_each_byte_once_over_kills_of_the_controller() {
    let mut world = World::start().await;
    let user = User::of(&world);
    user.job("write", SCRIPT, arguments(&["go!"])).await;
    let go = world.path("go");
    let mut first = user.begin(&["execute", "write", &format!("go={}", go.display()), "--follow"]);
    first.line().await;
    let id = user.says(&["executions", "-o", "name"]).await.trim_end().to_owned();
    let mut second = user.begin(&["getlogs", &id, "--follow"]);
    let waits = user.begin(&["execute", "write", &format!("go={}", go.display()), "--wait"]);

    for _ in 0..3 {
        for _ in 0..60 {
            first.line().await;
            second.line().await;
        }
        world.controller.kill();
        world.controller.start();
        world.serves().await;
    }
    first.line().await;
    world.executor.kill();
    world.executor.start();
    first.line().await;
    std::fs::write(&go, "").unwrap();

    let execution = world.over(&id).await;
    assert_eq!((execution.state(), execution.attempt), (ExecutionState::Succeeded, 1));
    let log = world.log(&id).await;
    let numbers =
        log.split(|byte| *byte == b'\n').map(|line| line.split(|byte| *byte == b' ').next());
    let numbers: Vec<_> = numbers.map(|word| String::from_utf8_lossy(word.unwrap())).collect();
    let lines = numbers.len() - 2;
    assert!(lines > 180, "{lines}");
    assert!((1..=lines).map(|number| number.to_string()).eq(numbers[..lines].iter().cloned()));
    assert_eq!(numbers[lines..], ["end", ""]);
    for following in [first, second] {
        let ran = following.end().await;
        assert_eq!(ran.status, Some(0), "{}", ran.err);
        assert!(ran.out == log, "{} bytes shown of {}", ran.out.len(), log.len());
        assert!(ran.err.contains("the controller is away"), "{}", ran.err);
        assert!(!ran.err.contains("did not survive"), "{}", ran.err);
    }
    let waited = waits.end().await;
    assert_eq!(waited.status, Some(0), "{waited:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_small_installation_who_follows_is_back_as_soon_as_the_controller_is() {
    const FOLLOWERS: usize = 6;
    let mut world = World::start().await;
    let user = User::of(&world);
    world.job("wait", "while [ ! -e \"$go\" ]; do sleep 0.05; done", &["go"]).await;
    let go = world.path("go");
    let id = world.execute("wait", &[("go", go.to_str().unwrap())]).await;
    world.reaches(&id, |execution| execution.state() == ExecutionState::Running).await;
    let following: Vec<_> =
        (0..FOLLOWERS).map(|_| user.begin(&["getlogs", &id, "--follow"])).collect();
    followed_by(&world, FOLLOWERS).await;
    world.controller.kill();
    // Longer than what pauses would grow to, if they grew as they do for those whom a controller refuses.
    tokio::time::sleep(Duration::from_secs(14)).await;
    world.controller.start();
    world.serves().await;
    let began = Instant::now();
    followed_by(&world, FOLLOWERS).await;
    println!("all followers were back {:?} after their controller", began.elapsed());
    // Those pauses would be eight seconds long by now.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    std::fs::write(&go, "").unwrap();
    for follower in following {
        assert_eq!(follower.end().await.status, Some(0));
    }
}

/// Waits until the controller has so many who hear of more of a log.
pub(crate) async fn followed_by(world: &World, followers: usize) {
    let wanted = format!("octavius_log_followers {followers}");
    let all_follow = || async {
        let metrics = world.metrics().await;
        if metrics.lines().any(|line| line == wanted) { Ok(()) } else { Err(metrics) }
    };
    eventually(all_follow).await.unwrap();
}
