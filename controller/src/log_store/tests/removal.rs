//! Logs that go: when their time is over, or with their execution.

use super::world::{DEADLINE, World, attempt, crc, eager, noise};
use crate::{
    log_store::{LogError, LogLimits, Wanted, end::End, index},
    store::{Commit, Write, keys},
};
use jiff::Timestamp;
use octavius_protocol::id::{AttemptId, AttemptNumber};
use std::time::Duration;
use tokio::time::Instant;

async fn write(world: &World, log: AttemptId, bytes: usize) {
    world.append(log, 0, &noise(bytes)).await;
    world.durable(log, bytes as u64).await;
}

async fn close(world: &World, log: AttemptId) {
    world.logs.cut(log, String::new()).await.unwrap();
}

#[tokio::test]
async fn the_logs_of_an_execution_go_with_it_and_no_others() {
    let world = World::start(eager()).await;
    let (first, other) = (attempt(1), attempt(2));
    let second = AttemptId { attempt: AttemptNumber(2), ..first };
    for log in [first, second, other] {
        write(&world, log, 50_000).await;
        close(&world, log).await;
    }
    let mut reader = world.logs.read(first, 10);
    reader.next().await.unwrap();
    assert_eq!(world.logs.remove_all(first.execution).await.unwrap(), 2);
    assert_eq!(world.logs.remove_all(first.execution).await.unwrap(), 0, "asked again");
    assert_eq!(world.objects().len(), 1);
    assert!(!world.logs_folder().join(first.execution.to_string()).exists(), "and no folder stays");
    assert_eq!(world.read(other, 0).await.0, noise(50_000));
    let gone = world.logs.open(first, Wanted::default(), 50_000).await.unwrap_err();
    assert!(matches!(gone, LogError::Expired { .. }), "{gone}");
    assert!(gone.to_string().contains("`keep_logs_for`"), "{gone}");
}

#[tokio::test]
async fn who_reads_while_a_log_goes_is_told_and_gets_no_other_bytes() {
    let world = World::start(LogLimits { segment: 10_000, ..eager() }).await;
    let (log, data) = (attempt(1), noise(100_000));
    for at in (0..100_000).step_by(10_000) {
        world.append(log, at as u64, &data[at..at + 10_000]).await;
        world.durable(log, at as u64 + 10_000).await;
    }
    close(&world, log).await;
    let mut reader = world.logs.read(log, 0);
    reader.next().await.unwrap();
    world.logs.remove_all(log.execution).await.unwrap();
    let gone = reader.next().await.unwrap_err();
    assert!(matches!(gone, LogError::Expired { .. }), "{gone}");
}

#[tokio::test]
async fn a_log_that_is_written_is_not_removed() {
    let world = World::start(eager()).await;
    let log = attempt(1);
    write(&world, log, 50_000).await;
    let open = world.logs.remove_all(log.execution).await.unwrap_err();
    assert!(matches!(open, LogError::Open(_)), "{open}");
    close(&world, log).await;
    assert_eq!(world.read(log, 0).await.0, noise(50_000));
}

#[tokio::test]
async fn a_log_goes_when_it_was_kept_long_enough_and_an_open_one_stays() {
    // Longer than a busy machine takes to read a log that was closed.
    let keep_for = Duration::from_secs(6);
    let expire_every = Duration::from_millis(20);
    let world = World::start(LogLimits { keep_for, expire_every, ..eager() }).await;
    // Ids say that their executions were submitted long ago.
    let (closed, open) = (attempt(1), attempt(0));
    write(&world, closed, 50_000).await;
    write(&world, open, 50_000).await;
    let began = Instant::now();
    close(&world, closed).await;
    assert_eq!(world.read(closed, 0).await.0, noise(50_000), "not yet");
    while world.objects().len() > 1 {
        assert!(began.elapsed() < DEADLINE, "{:?}", world.objects());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(began.elapsed() > keep_for / 2, "after {:?}", began.elapsed());
    let gone = world.logs.open(closed, Wanted::default(), 50_000).await.unwrap_err();
    assert!(gone.to_string().contains("is 6s"), "{gone}");
    let world = world.restart().await;
    world.logs.open(closed, Wanted::default(), 50_000).await.unwrap_err();
    close(&world, open).await;
    assert_eq!(world.read(open, 0).await.0, noise(50_000));
}

#[tokio::test]
async fn while_the_clock_is_ahead_of_the_time_that_passed_no_log_goes_for_that() {
    let (keep_for, expire_every) = (Duration::ZERO, Duration::from_millis(20));
    let world = World::start(LogLimits { keep_for, expire_every, ..eager() }).await;
    let (young, old) = (attempt(0), attempt(1));
    for log in [young, old] {
        write(&world, log, 50_000).await;
    }
    let began = Instant::now();
    let stored = loop {
        if let Some(stored) = world.store.get(keys::TIME_FOR_LOGS).await.unwrap() {
            break stored;
        }
        assert!(began.elapsed() < DEADLINE, "it is not stored how late it is");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    // As if the clock had jumped ahead by a day since it was looked at.
    let mut stored: serde_json::Value = serde_json::from_slice(&stored).unwrap();
    let day_before = Timestamp::now() - Duration::from_hours(24);
    stored["believed"] = day_before.to_string().into();
    let put = async |world: &World, write| {
        let writer = world.store.enlist("test").await.unwrap();
        assert_eq!(writer.commit(vec![write]).await, Commit::Done);
    };
    let earlier = stored.to_string().into();
    put(&world, Write::Put(keys::TIME_FOR_LOGS.to_owned(), earlier)).await;
    let world = world.restart().await;
    close(&world, young).await;
    let (cut, left_out) = (String::new(), None);
    let end = End { size: 50_000, crc: crc(&noise(50_000)), cut, left_out };
    let two_days_before = day_before - Duration::from_hours(24);
    put(&world, index::closed(old, end, two_days_before)).await;
    // The young one is looked at before the old one, which goes.
    while world.objects().len() > 1 {
        assert!(began.elapsed() < DEADLINE, "{:?}", world.objects());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(world.read(young, 0).await.0, noise(50_000));
    world.logs.open(old, Wanted::default(), 50_000).await.unwrap_err();
}
