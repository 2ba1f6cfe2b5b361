//! P3 for logs: disks that refuse, commits that fail, and actors that die cost time, and no bytes.

use super::world::{DEADLINE, World, attempt, chunks, crc, cursor, eager, noise, patient};
use crate::{
    log_store::{LogError, LogLimits, Sealed, sweep::sweep},
    store::faulty::Fault,
};
use bytes::Bytes;
use octavius_service::actor::Unanswered;
use std::time::Duration;
use tokio::time::Instant;

#[tokio::test]
async fn a_disk_that_refuses_fills_the_log_and_loses_nothing() {
    let limits = LogLimits { close_within: Duration::from_millis(300), ..eager() };
    let world = World::start(limits).await;
    let (log, data) = (attempt(1), noise(5_000_000));
    let obstacle = world.logs_folder().join(log.execution.to_string());
    std::fs::write(&obstacle, "a file where the folder must be").unwrap();

    let mut next = 0;
    let full = loop {
        let end = next + 500_000;
        match world.logs.append(log, next as u64, chunks(&data[next..end]), cursor(1)).await {
            Ok(appended) => assert_eq!(appended.durable, 0),
            Err(full) => break full,
        }
        next = end;
    };
    assert!(matches!(full, LogError::Full { waiting } if waiting > 3_500_000), "{full}");
    let kept = world.logs.append(log, 0, Vec::new(), Bytes::new()).await.unwrap();
    assert_eq!(kept.next, next as u64);
    let began = Instant::now();
    let why = loop {
        let why = world.logs.seal(log, next as u64, crc(&data[..next]), String::new()).await;
        let why = why.unwrap_err().to_string();
        // On a slow disk it is not known so soon that it refuses.
        if why.contains("written") || began.elapsed() > DEADLINE {
            break why;
        }
    };
    assert!(why.contains("not stored within 300ms") && why.contains("written"), "{why}");

    std::fs::remove_file(&obstacle).unwrap();
    world.durable(log, next as u64).await;
    let began = Instant::now();
    while world.logs.seal(log, next as u64, crc(&data[..next]), String::new()).await.is_err() {
        assert!(began.elapsed() < DEADLINE);
    }
    assert!(world.read(log, 0).await.0 == data[..next]);
}

#[tokio::test]
async fn an_index_in_doubt_is_read_again() {
    let world = World::start(patient()).await;
    let log = attempt(1);
    world.append(log, 0, b"twice sent").await;
    world.faults.next([Fault::Refused]);
    let ended = world.logs.cut(log, String::new()).await.unwrap_err();
    assert!(matches!(ended, LogError::Unanswered(_)), "{ended}");
    world.logs.up(DEADLINE).await.unwrap();
    let again = world.durable(log, 0).await;
    assert_eq!((again.next, again.closed), (0, false), "nothing of it was stored");
    world.append(log, 0, b"twice sent").await;
    let sealed = world.logs.seal(log, 10, crc(b"twice sent"), String::new()).await.unwrap();
    assert_eq!(sealed, Sealed::Whole);
}

#[tokio::test]
async fn logs_are_whole_although_their_actor_dies_again_and_again() {
    let world = World::start(LogLimits { segment: 20_000, ..eager() }).await;
    let data = noise(150_000);
    let mut executors = tokio::task::JoinSet::new();
    for number in 0..12 {
        let (logs, data) = (world.logs.clone(), data[number * 1000..].to_vec());
        executors.spawn(async move {
            let (log, mut next, mut durable) = (attempt(number as u8), 0, 0);
            let began = Instant::now();
            loop {
                assert!(began.elapsed() < 3 * DEADLINE, "{log} is at {next}");
                let end = (next + 7_000).min(data.len());
                let part = chunks(&data[next..end]);
                match logs.append(log, next as u64, part, cursor(end as u64)).await {
                    Ok(appended) => {
                        next = usize::try_from(appended.next).unwrap();
                        assert!(appended.durable >= durable, "acknowledged, and gone");
                        durable = appended.durable;
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
                if next == data.len() {
                    let size = data.len() as u64;
                    let sealed = logs.seal(log, size, crc(&data), String::new()).await;
                    match sealed {
                        Ok(Sealed::Whole) => return (log, data),
                        Ok(Sealed::Missing { next: wanted }) => {
                            next = usize::try_from(wanted).unwrap();
                        }
                        Ok(Sealed::Different { .. }) => panic!("{log} is not what was sent"),
                        Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                    }
                }
            }
        });
    }
    let mut died = 0;
    while died < 4 {
        tokio::time::sleep(Duration::from_millis(30)).await;
        world.logs.up(DEADLINE).await.unwrap();
        let panicked = world.logs.actor.inject_panic().await;
        died += u32::from(matches!(panicked, Err(Unanswered::Restarted { .. })));
    }
    while let Some(executor) = executors.join_next().await {
        let (log, data) = executor.unwrap();
        assert!(world.read(log, 0).await.0 == data, "{log}");
    }
}

#[tokio::test]
async fn segments_that_no_log_knows_are_swept_once_they_are_old() {
    let world = World::start(eager()).await;
    let log = attempt(1);
    world.append(log, 0, &noise(50_000)).await;
    world.durable(log, 50_000).await;
    let known = world.objects().pop().unwrap();
    let put = async |name: &str| world.folder.put(name, Bytes::from_static(b"x")).await.unwrap();
    let beside = |offset: u64, term| format!("{}/1/{offset:016x}-{term}-{:016x}", log.execution, 5);
    let (orphan, rival, ours) = (beside(50_000, 1), beside(0, 1), beside(50_000, 2));
    for name in [&orphan, &rival, &ours, "somebody's"] {
        put(name).await;
    }
    let world = world.restart().await;
    let day = Duration::from_secs(24 * 60 * 60);
    assert_eq!(sweep(&world.store, &world.folder, world.term, day).await.unwrap(), 0);
    assert_eq!(sweep(&world.store, &world.folder, world.term, Duration::ZERO).await.unwrap(), 2);
    let mut left = vec![known, ours, "somebody's".to_owned()];
    left.sort();
    assert_eq!(world.objects(), left);
    world.logs.cut(log, String::new()).await.unwrap();
    assert_eq!(world.read(log, 0).await.0, noise(50_000));
}
