//! P4 for readers: what they get is what was written, wherever they begin and whoever was killed meanwhile.

use super::world::{DEADLINE, World, attempt, chunks, crc, cursor, drain, eager, noise, patient};
use crate::log_store::{LogError, LogInfo, LogLimits, Piece, Sealed, index::containing};
use bytes::Bytes;
use octavius_service::actor::Unanswered;
use std::time::Duration;
use tokio::time::Instant;

#[tokio::test]
async fn a_log_is_read_while_it_is_written() {
    let world = World::start(patient()).await;
    let log = attempt(1);
    let mut reader = world.logs.read(log, 0);
    assert_eq!(reader.next().await.unwrap(), Piece::CaughtUp, "no log yet is an open one");

    world.append(log, 0, b"hello ").await;
    reader.more().await.unwrap();
    match reader.next().await.unwrap() {
        Piece::Bytes { offset: 0, durable: 0, chunk } => {
            assert_eq!(chunk, chunks(b"hello ")[0]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(reader.next().await.unwrap(), Piece::CaughtUp);

    // The reader is parked before there is more.
    let mut parked = tokio::spawn(async move {
        reader.more().await.unwrap();
        (reader.next().await.unwrap(), reader)
    });
    let early = tokio::time::timeout(Duration::from_millis(50), &mut parked).await;
    assert!(early.is_err(), "woken without a reason");
    world.append(log, 6, b"world").await;
    let (piece, mut reader) = parked.await.unwrap();
    assert!(matches!(piece, Piece::Bytes { offset: 6, durable: 0, .. }), "{piece:?}");

    let sealed = world.logs.seal(log, 11, crc(b"hello world"), String::new()).await;
    assert_eq!(sealed.unwrap(), Sealed::Whole);
    reader.more().await.unwrap();
    let whole = LogInfo { size: 11, closed: true, cut: String::new() };
    assert_eq!(reader.next().await.unwrap(), Piece::End(whole.clone()));
    assert_eq!(world.logs.info(log).await.unwrap(), whole);
    assert_eq!(world.read(log, 0).await.0, b"hello world");
    assert_eq!(world.read(log, 8).await.0, b"rld", "from the middle of a segment");
}

#[tokio::test]
async fn what_was_acknowledged_outlives_the_controller_and_the_rest_is_sent_again() {
    let world = World::start(patient()).await;
    let (log, data) = (attempt(1), noise(2_500_000));
    for (index, part) in data[..2_200_000].chunks(550_000).enumerate() {
        world.append(log, index as u64 * 550_000, part).await;
    }
    // Two appends do not fit in one segment of 1 MiB, so that the first three are stored.
    let before = world.durable(log, 1_650_000).await;
    assert_eq!((before.durable, before.next), (1_650_000, 2_200_000));
    assert_eq!(before.next_crc, crc(&data[..2_200_000]));
    assert_eq!(before.next_cursor, cursor(2_200_000), "of what is not durable yet");
    assert_eq!(world.objects().len(), 3);

    let world = world.restart().await;
    let after = world.logs.append(log, 2_200_000, chunks(b"a gap"), cursor(1)).await.unwrap();
    assert_eq!(after.next, 1_650_000, "the rest is wanted again");
    assert_eq!(after.durable, before.durable);
    assert_eq!(after.next_crc, crc(&data[..1_650_000]));
    assert_eq!(after.next_cursor, cursor(1_650_000));

    // Sent again from too early: what is here is passed over.
    world.append(log, 1_600_000, &data[1_600_000..]).await;
    let sealed = world.logs.seal(log, 2_500_000, crc(&data), String::new()).await;
    assert_eq!(sealed.unwrap(), Sealed::Whole);
    assert!(world.read(log, 0).await.0 == data, "the log is the log");
    let world = world.restart().await;
    assert!(world.read(log, 1_234_567).await.0 == data[1_234_567..], "also after another");
}

#[tokio::test]
async fn a_reader_begins_anywhere_among_segments_of_all_sizes() {
    let world = World::start(eager()).await;
    let (log, data) = (attempt(1), noise(300_000));
    let sizes = [1, 1, 3, 5000, 70_000, 1, 2, 3, 4, 100, 90_000, 20_000, 7, 1];
    let (mut at, mut seams) = (0, Vec::new());
    for size in sizes {
        world.append(log, at as u64, &data[at..at + size]).await;
        at += size;
        world.durable(log, at as u64).await;
        seams.push(at);
    }
    let mut starts: Vec<_> = seams.iter().flat_map(|seam| [seam - 1, *seam, seam + 1]).collect();
    starts.extend((0..at).step_by(3733));
    for start in starts.into_iter().filter(|start| *start <= at) {
        let mut reader = world.logs.read(log, start as u64);
        let (bytes, last) = drain(&mut reader, start as u64).await.unwrap();
        assert!(bytes == data[start..at], "from {start}");
        assert_eq!(last, Piece::CaughtUp, "from {start}");
    }
    let beyond = world.logs.read(log, at as u64 + 1).next().await.unwrap_err();
    assert!(matches!(beyond, LogError::OutOfRange { size, .. } if size == at as u64), "{beyond}");
    world.logs.cut(log, String::new()).await.unwrap();
    let world = world.restart().await;
    let beyond = world.logs.read(log, at as u64 + 1).next().await.unwrap_err();
    assert!(beyond.to_string().contains(&format!("give one of {at} at the most")), "{beyond}");
}

#[tokio::test]
async fn a_reader_passes_from_disk_to_memory_and_back() {
    let world = World::start(LogLimits { segment: 1000, ..patient() }).await;
    let (log, data) = (attempt(1), noise(5000));
    world.append(log, 0, &data[..1500]).await;
    world.durable(log, 1500).await;
    world.append(log, 1500, &data[1500..1600]).await;
    let mut reader = world.logs.read(log, 10);
    let (first, _) = drain(&mut reader, 10).await.unwrap();
    assert_eq!(first, data[10..1600]);
    // It stands in the middle of what will be one segment, and lags.
    world.append(log, 1600, &data[1600..2400]).await;
    world.append(log, 2400, &data[2400..]).await;
    world.durable(log, 5000).await;
    assert!(
        matches!(containing(&world.store, log, 1600).await, Ok(Some(one)) if one.offset == 1500)
    );
    let (second, last) = drain(&mut reader, 1600).await.unwrap();
    assert!(second == data[1600..]);
    assert_eq!(last, Piece::CaughtUp);
}

#[tokio::test]
async fn a_follower_hears_up_to_where_the_log_is_durable_while_it_grows() {
    let world = World::start(LogLimits { segment: 1000, ..patient() }).await;
    let (log, data) = (attempt(1), noise(6000));
    let mut follower = world.logs.read(log, 0);
    assert_eq!(follower.next().await.unwrap(), Piece::CaughtUp);
    let mut heard = Vec::new();
    // 600 bytes at a time: each second append closes the segment of the one before.
    for (index, part) in data.chunks(600).enumerate() {
        let offset = index as u64 * 600;
        world.append(log, offset, part).await;
        world.durable(log, offset).await;
        follower.more().await.unwrap();
        match follower.next().await.unwrap() {
            Piece::Bytes { offset: at, durable, chunk } => {
                assert_eq!((at, chunk.data.len()), (offset, 600));
                heard.push(durable);
            }
            other => panic!("{other:?} at {offset}"),
        }
        assert_eq!(follower.next().await.unwrap(), Piece::CaughtUp);
    }
    assert_eq!(heard, (0..10).map(|index| index * 600).collect::<Vec<_>>());

    // Who begins behind segments hears of all that it knows to be durable, and never of more.
    let mut late = world.logs.read(log, 0);
    let mut behind = 0;
    loop {
        match late.next().await.unwrap() {
            Piece::Bytes { offset, durable, chunk } => {
                assert!((behind..=5400).contains(&durable), "{durable} after {behind}");
                assert!(offset >= 5400 || durable >= offset + chunk.data.len() as u64, "{offset}");
                behind = durable;
            }
            last => break assert_eq!(last, Piece::CaughtUp),
        }
    }
    assert_eq!(behind, 5400);
}

#[tokio::test]
async fn a_reader_of_what_did_not_survive_is_told_where_to_go_on() {
    let world = World::start(patient()).await;
    let log = attempt(1);
    world.append(log, 0, b"never stored").await;
    let mut reader = world.logs.read(log, 0);
    let (seen, _) = drain(&mut reader, 0).await.unwrap();
    assert_eq!(seen, b"never stored");
    let parked = tokio::spawn(async move {
        reader.more().await.unwrap();
        reader
    });
    let panicked = world.logs.actor.inject_panic().await;
    assert!(matches!(panicked, Err(Unanswered::Restarted { .. })), "{panicked:?}");
    let mut reader = parked.await.unwrap();
    let began = Instant::now();
    let lost = loop {
        match reader.next().await.unwrap_err() {
            LogError::Unanswered(_) if began.elapsed() < DEADLINE => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            lost => break lost,
        }
    };
    assert!(matches!(lost, LogError::OutOfRange { offset: 12, size: 0 }), "{lost}");
    // The executor sends it again, and the reader finds what it looks for.
    world.append(log, 0, b"never stored, until now").await;
    let (rest, _) = drain(&mut reader, 12).await.unwrap();
    assert_eq!(rest, b", until now");
}

#[tokio::test]
async fn leaving_a_reader_in_the_middle_of_a_wait_loses_nothing() {
    let world = World::start(eager()).await;
    let (log, data) = (attempt(1), noise(900_000));
    world.append(log, 0, &data).await;
    world.durable(log, 900_000).await;
    world.logs.cut(log, String::new()).await.unwrap();
    let mut reader = world.logs.read(log, 0);
    let (mut bytes, mut left) = (Vec::new(), 0);
    loop {
        // Polled once and dropped, as `select!` does.
        let piece = match futures::FutureExt::now_or_never(reader.next()) {
            Some(piece) => piece,
            None => {
                left += 1;
                reader.next().await
            }
        };
        match piece.unwrap() {
            Piece::Bytes { offset, chunk, .. } => {
                assert_eq!(offset, bytes.len() as u64);
                bytes.extend_from_slice(&chunk.data);
            }
            Piece::End(_) => break,
            other => panic!("{other:?} of a log that is closed and whole"),
        }
    }
    assert!(bytes == data && left > 0, "left {left} times");
}

#[tokio::test]
async fn a_damaged_segment_is_an_error_and_never_other_bytes() {
    let world = World::start(eager()).await;
    let log = attempt(1);
    world.append(log, 0, &noise(50_000)).await;
    world.durable(log, 50_000).await;
    let name = world.objects().pop().unwrap();
    let file = world.logs_folder().join(&name);
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let damaged = world.logs.read(log, 0).next().await.unwrap_err();
    assert!(matches!(damaged, LogError::Damaged(_)), "{damaged:?}");
    let damaged = damaged.to_string();
    assert!(damaged.contains(&name) && damaged.contains("from byte 50000 on"), "{damaged}");
    std::fs::remove_file(&file).unwrap();
    let gone = world.logs.read(log, 0).next().await.unwrap_err().to_string();
    assert!(gone.contains(&name) && gone.contains("not there any more"), "{gone}");
}

#[tokio::test]
async fn an_append_without_chunks_only_asks() {
    let world = World::start(patient()).await;
    let log = attempt(1);
    world.append(log, 0, b"abc").await;
    let asked = world.logs.append(log, 0, Vec::new(), Bytes::from_static(b"odd")).await.unwrap();
    assert_eq!((asked.next, asked.durable, asked.closed), (3, 0, false));
    assert_eq!((asked.next_crc, asked.next_cursor), (crc(b"abc"), cursor(3)));
}

#[tokio::test]
async fn more_followers_than_are_let_in_at_once_all_hear_of_an_append() {
    const FOLLOWERS: usize = 2_000;
    let world = World::start(patient()).await;
    let log = attempt(1);
    world.append(log, 0, b"hello ").await;
    assert!(FOLLOWERS > world.logs.vitals().limit(), "one more would always have been let in");
    let (caught_up, mut behind) = tokio::sync::mpsc::channel(FOLLOWERS);
    let followers = (0..FOLLOWERS).map(|_| {
        let (mut reader, caught_up) = (world.logs.read(log, 0), caught_up.clone());
        tokio::spawn(async move {
            let (mut bytes, last) = drain(&mut reader, 0).await?;
            assert_eq!(last, Piece::CaughtUp);
            let _ = caught_up.send(()).await;
            while bytes.len() < 11 {
                reader.more().await?;
                bytes.extend(drain(&mut reader, bytes.len() as u64).await?.0);
            }
            Ok::<_, LogError>(bytes)
        })
    });
    let followers: Vec<_> = followers.collect();
    drop(caught_up);
    for _ in 0..FOLLOWERS {
        // None: one of them was cut off, and says below why.
        let _ = tokio::time::timeout(DEADLINE, behind.recv()).await.unwrap();
    }
    world.append(log, 6, b"world").await;
    let mut cut = Vec::new();
    for follower in followers {
        match tokio::time::timeout(DEADLINE, follower).await.unwrap().unwrap() {
            Ok(bytes) => assert_eq!(bytes, b"hello world"),
            Err(why) => cut.push(why),
        }
    }
    assert!(cut.is_empty(), "{} of {FOLLOWERS} were cut off: {}", cut.len(), cut[0]);
}
