//! P6 for logs: what is held is bounded, is stored in time, and leaves when nobody needs it.

use super::world::{DEADLINE, World, attempt, chunks, cursor, eager, noise, patient};
use crate::log_store::{LogError, LogLimits, Piece, look::Describe};
use octavius_protocol::id::AttemptId;
use octavius_service::actor::Priority;
use std::time::Duration;
use tokio::time::Instant;

async fn in_memory(world: &World, attempt: AttemptId) -> bool {
    world.logs.actor.query(Priority::Read, Describe { attempt }).await.unwrap().is_some()
}

async fn leaves_memory(world: &World, attempt: AttemptId) {
    let began = Instant::now();
    while in_memory(world, attempt).await {
        assert!(began.elapsed() < DEADLINE, "{attempt} stays");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// From now on this one has no folder.
fn cannot_be_stored(world: &World, attempt: AttemptId) {
    let obstacle = world.logs_folder().join(attempt.execution.to_string());
    std::fs::write(obstacle, "a file where a folder must be").unwrap();
}

#[tokio::test]
async fn bytes_are_stored_when_their_time_has_come_without_being_asked() {
    let limits = LogLimits { flush_after: Duration::from_millis(100), ..patient() };
    let world = World::start(limits).await;
    let log = attempt(1);
    assert_eq!(world.append(log, 0, b"a line\n").await.durable, 0);
    let stored = world.durable(log, 7).await;
    assert_eq!(stored.next_cursor, cursor(7));
    assert!(world.objects().is_empty(), "a small one is in the index");
}

#[tokio::test]
async fn all_logs_together_are_bounded() {
    let limits = LogLimits { waiting_in_all: 300_000, ..patient() };
    let world = World::start(limits).await;
    for number in 0..8 {
        let taken = world.logs.append(attempt(number), 0, chunks(&noise(100_000)), cursor(1)).await;
        if number < 2 {
            taken.unwrap();
            continue;
        }
        // What was taken before is stored early, so that there is room again.
        let began = Instant::now();
        let mut taken = taken;
        while let Err(error) = taken {
            assert!(matches!(error, LogError::Full { waiting: 0 }), "{error}");
            assert!(began.elapsed() < DEADLINE);
            tokio::time::sleep(Duration::from_millis(5)).await;
            taken = world.logs.append(attempt(number), 0, chunks(&noise(100_000)), cursor(1)).await;
        }
    }
    let too_much = world.logs.append(attempt(9), 0, chunks(&noise(300_000)), cursor(1)).await;
    assert!(matches!(too_much, Err(LogError::Full { .. })), "{too_much:?}");
}

#[tokio::test]
async fn where_many_write_much_an_answer_waits_for_the_disk_and_no_longer_than_its_time() {
    let disk_wait = Duration::from_secs(3600);
    let limits = LogLimits { crowded: 900_000, disk_wait, ..patient() };
    let world = World::start(limits).await;
    let data = noise(600_000);
    assert_eq!(world.append(attempt(1), 0, &data).await.durable, 0, "it is alone");
    world.append(attempt(2), 0, &data).await;
    // Nothing but the crowd made it be stored: it is no whole segment, and has an hour.
    assert_eq!(world.append(attempt(2), 600_000, b"").await.durable, 600_000);
    cannot_be_stored(&world, attempt(3));
    let stuck = world.logs.append(attempt(3), 0, chunks(&data), cursor(1));
    let small = async {
        while !in_memory(&world, attempt(3)).await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.append(attempt(4), 0, b"a line\n").await
    };
    tokio::select! {
        taken = stuck => panic!("nothing of it could be stored: {taken:?}"),
        taken = tokio::time::timeout(DEADLINE, small) => {
            assert_eq!(taken.expect("who writes little does not wait").durable, 0);
        }
    }

    let disk_wait = Duration::from_millis(300);
    let world = World::start(LogLimits { crowded: 500_000, disk_wait, ..patient() }).await;
    cannot_be_stored(&world, attempt(1));
    let began = Instant::now();
    let taken = tokio::time::timeout(DEADLINE, world.append(attempt(1), 0, &data)).await;
    assert_eq!(taken.expect("it waits for longer than its time").durable, 0);
    assert!(began.elapsed() >= disk_wait, "nothing of it could be stored");
}

#[tokio::test]
async fn a_log_that_grows_faster_than_the_disk_is_answered_at_its_pace_and_never_refused() {
    let disk_wait = Duration::from_secs(3600);
    let limits = LogLimits { segment: 50_000, waiting: 200_000, disk_wait, ..patient() };
    let world = World::start(limits).await;
    let (log, data) = (attempt(1), noise(50_000));
    for number in 0..60 {
        let offset = number * 50_000;
        let taken = world.logs.append(log, offset, chunks(&data), cursor(offset + 50_000)).await;
        let next = taken.expect("it is never full").next;
        assert_eq!(next, offset + 50_000);
    }
    // Bytes that weigh little beside their chunks meet the bound, too, long before they are a segment.
    let (tiny, mut offset) = (attempt(2), 0);
    for _ in 0..20 {
        let lines = (0..500).flat_map(|_| chunks(b"x\n")).collect();
        let taken = world.logs.append(tiny, offset, lines, cursor(offset + 1000)).await;
        offset = taken.expect("it is never full").next;
    }
    assert_eq!(offset, 20_000);
}

#[tokio::test]
async fn closed_logs_leave_memory_and_are_read_without_it() {
    let world = World::start(LogLimits { linger: Duration::ZERO, ..patient() }).await;
    let log = attempt(1);
    world.append(log, 0, &noise(10_000)).await;
    let mut follower = world.logs.read(log, 0);
    assert!(matches!(follower.next().await.unwrap(), Piece::Bytes { durable: 0, .. }));
    world.logs.cut(log, "enough".to_owned()).await.unwrap();
    leaves_memory(&world, log).await;
    assert!(matches!(follower.next().await.unwrap(), Piece::End(_)));
    assert_eq!(world.read(log, 0).await.0, noise(10_000));
    assert_eq!(world.logs.info(log).await.unwrap().cut, "enough");
    assert!(!in_memory(&world, log).await, "reading loaded it");
}

#[tokio::test]
async fn idle_logs_leave_memory_unless_somebody_follows() {
    let world = World::start(LogLimits { idle: Duration::from_millis(50), ..eager() }).await;
    let log = attempt(1);
    world.append(log, 0, b"one").await;
    world.durable(log, 3).await;
    let mut follower = world.logs.read(log, 3);
    assert_eq!(follower.next().await.unwrap(), Piece::CaughtUp);
    tokio::time::sleep(Duration::from_millis(200)).await; // four times what would make it leave
    assert!(in_memory(&world, log).await, "it is followed");
    drop(follower);
    leaves_memory(&world, log).await;
    assert_eq!(world.logs.info(log).await.unwrap().size, 3);
    world.append(log, 3, b"two").await;
    world.durable(log, 6).await;
    world.logs.cut(log, String::new()).await.unwrap();
    assert_eq!(world.read(log, 0).await.0, b"onetwo");
}

#[tokio::test]
async fn before_the_end_everything_is_stored() {
    let world = World::start(patient()).await;
    for number in 0..30 {
        world.append(attempt(number), 0, &noise(5_000)).await;
    }
    world.logs.flush_all(DEADLINE).await.unwrap();
    let world = world.restart().await;
    for number in 0..30 {
        assert_eq!(world.logs.info(attempt(number)).await.unwrap().size, 5_000);
    }
    cannot_be_stored(&world, attempt(99));
    world.append(attempt(99), 0, &noise(5_000)).await;
    let left = world.logs.flush_all(Duration::from_millis(300)).await.unwrap_err();
    assert!(left.to_string().contains("5064 bytes were not stored"), "{left}");
}
