//! A log that grows beyond its limit: what is kept, what is said of the rest, and who saw all of it.

use super::world::{DEADLINE, World, attempt, chunks, crc, cursor, eager, noise};
use crate::log_store::{LogError, LogLimits, LogReader, Piece, Sealed, sweep::sweep};
use bytes::Bytes;
use std::time::Duration;
use tokio::time::Instant;

/// Small, so that a megabyte is far beyond.
fn small() -> LogLimits {
    LogLimits { segment: 10_000, kept: 100_000, ..eager() }
}

/// What a reader got: bytes by their place, and what it was told is left out.
#[derive(Debug, Default)]
struct Read {
    parts: Vec<(u64, Vec<u8>)>,
    gaps: Vec<(u64, u64)>,
    cut: String,
}

impl Read {
    /// Reads to the end; each byte once and in order.
    async fn all(reader: &mut LogReader) -> Result<Self, LogError> {
        let (mut read, mut at) = (Self::default(), None);
        loop {
            match reader.next().await? {
                Piece::Bytes { offset, chunk, .. } => {
                    match read.parts.last_mut() {
                        Some((_, bytes)) if at == Some(offset) => bytes.extend(&chunk.data),
                        _ => {
                            assert!(at.is_none(), "a hole at {offset}");
                            read.parts.push((offset, chunk.data.to_vec()));
                        }
                    }
                    at = Some(offset + chunk.data.len() as u64);
                }
                Piece::Gap { offset, size, reason } => {
                    assert!(at.is_none_or(|at| at == offset) && reason.contains("`log_limit`"));
                    read.gaps.push((offset, size));
                    read.parts.push((offset + size, Vec::new()));
                    at = Some(offset + size);
                }
                Piece::End(info) => {
                    read.cut = info.cut;
                    return Ok(read);
                }
                Piece::CaughtUp => return Ok(read),
            }
        }
    }

    fn is_of(&self, data: &[u8]) -> bool {
        self.parts.iter().all(|(offset, bytes)| {
            let from = *offset as usize;
            data.get(from..from + bytes.len()).is_some_and(|same| same == bytes)
        })
    }

    fn kept(&self) -> usize {
        self.parts.iter().map(|(_, bytes)| bytes.len()).sum()
    }
}

async fn write(world: &World, data: &[u8], from: usize, to: usize) {
    for at in (from..to).step_by(7_000) {
        let end = (at + 7_000).min(to);
        world.append(attempt(1), at as u64, &data[at..end]).await;
        world.durable(attempt(1), end as u64).await;
    }
}

#[tokio::test]
async fn a_log_beyond_its_limit_keeps_its_beginning_and_its_end_and_says_what_is_left_out() {
    let world = World::start(small()).await;
    let (log, data) = (attempt(1), noise(600_000));
    let mut follower = world.logs.read(log, 0);
    let mut seen = Vec::new();
    for at in (0..400_000).step_by(8_000) {
        write(&world, &data, at, at + 8_000).await;
        let read = Read::all(&mut follower).await.unwrap();
        assert!(read.gaps.is_empty(), "who keeps up sees all of it");
        seen.extend(read.parts.into_iter().flat_map(|(_, bytes)| bytes));
        let on_disk = world.on_disk();
        assert!(on_disk < 100_000 + 3 * 10_000, "{on_disk} bytes are on disk at {at}");
    }
    assert!(seen == data[..400_000]);
    let so_far = world.logs.info(log).await.unwrap();
    assert!(so_far.size == 400_000 && so_far.cut.contains("`log_limit`"), "{so_far:?}");

    // The next controller goes on with what is left of it.
    let world = world.restart().await;
    assert_eq!(world.logs.info(log).await.unwrap(), so_far);
    write(&world, &data, 400_000, 600_000).await;
    let sealed = world.logs.seal(log, 600_000, crc(&data), "and its end".to_owned()).await;
    assert_eq!(sealed.unwrap(), Sealed::Whole, "size and checksum are of the whole stream");
    let world = world.restart().await;

    let read = Read::all(&mut world.logs.read(log, 0)).await.unwrap();
    assert!(read.is_of(&data) && read.gaps.len() == 1, "{:?}", read.gaps);
    let (from, size) = read.gaps[0];
    assert_eq!(read.kept() as u64 + size, 600_000);
    assert!((50_000..60_000).contains(&from), "the beginning is {from}");
    assert!((50_000..65_000).contains(&(600_000 - from - size)), "the end is from {}", from + size);
    let words = format!("{size} bytes are left out, from byte {from} on");
    assert!(read.cut.starts_with(&words) && read.cut.ends_with("; and its end"), "{}", read.cut);
    assert_eq!(world.logs.info(log).await.unwrap().cut, read.cut);

    // Whoever begins in the middle is told of the rest of the gap.
    for begin in [from, from + 1, from + size - 1] {
        let read = Read::all(&mut world.logs.read(log, begin)).await.unwrap();
        assert!(read.is_of(&data) && read.gaps == [(begin, from + size - begin)], "{begin}");
    }
    let read = Read::all(&mut world.logs.read(log, from + size)).await.unwrap();
    assert!(
        read.is_of(&data) && read.gaps.is_empty() && read.kept() as u64 == 600_000 - from - size
    );
}

#[tokio::test]
async fn a_log_of_its_limit_is_whole() {
    let world = World::start(small()).await;
    let (log, data) = (attempt(1), noise(100_000));
    write(&world, &data, 0, 100_000).await;
    world.logs.seal(log, 100_000, crc(&data), String::new()).await.unwrap();
    let (bytes, cut) = world.read(log, 0).await;
    assert!(bytes == data && cut.is_empty(), "{cut}");
}

#[tokio::test]
async fn who_is_overtaken_by_the_gap_is_told_of_it() {
    let world = World::start(small()).await;
    let (log, data) = (attempt(1), noise(500_000));
    write(&world, &data, 0, 90_000).await;
    // One has segments ahead of it, one stands at a seam, and one in the middle of a segment.
    let mut readers = Vec::new();
    for (begin, pieces) in [(0, 8), (70_000, 1), (71_234, 1)] {
        let mut reader = world.logs.read(log, begin);
        let mut at = begin;
        for _ in 0..pieces {
            match reader.next().await.unwrap() {
                Piece::Bytes { offset, chunk, .. } => at = offset + chunk.data.len() as u64,
                other => panic!("{other:?}"),
            }
        }
        readers.push((at, reader));
    }
    write(&world, &data, 90_000, 500_000).await;
    for (at, mut reader) in readers {
        let read = Read::all(&mut reader).await.unwrap();
        assert!(read.is_of(&data), "other bytes behind {at}");
        assert_eq!(read.gaps.len(), 1, "behind {at}");
        assert_eq!(read.kept() as u64 + read.gaps[0].1, 500_000 - at);
    }
}

#[tokio::test]
async fn many_small_segments_make_room_for_a_few_large_ones() {
    let world = World::start(LogLimits { kept: 20_000, ..small() }).await;
    let (log, data) = (attempt(1), noise(60_000));
    // More than go with one commit.
    let mut at = 0;
    while at < 20_000 {
        let end = at + if at < 10_000 { 5_000 } else { 30 };
        world.append(log, at as u64, &data[at..end]).await;
        world.durable(log, end as u64).await;
        at = end;
    }
    write(&world, &data, at, 60_000).await;
    world.logs.seal(log, 60_000, crc(&data), String::new()).await.unwrap();
    let read = Read::all(&mut world.logs.read(log, 0)).await.unwrap();
    assert!(read.is_of(&data) && read.gaps.len() == 1 && read.kept() < 40_000, "{:?}", read.gaps);
}

#[tokio::test]
async fn bytes_that_a_crash_left_behind_the_index_are_swept() {
    let world = World::start(small()).await;
    let data = noise(300_000);
    write(&world, &data, 0, 90_000).await;
    let objects = world.objects();
    let bytes = |name: &String| std::fs::read(world.logs_folder().join(name)).unwrap();
    let before: Vec<_> = objects.iter().map(|name| (name.clone(), bytes(name))).collect();
    write(&world, &data, 90_000, 300_000).await;
    let after = world.objects();
    // As if it had died between the index and the objects.
    let gone = before.into_iter().filter(|(name, _)| !after.contains(name));
    let mut again = 0;
    for (name, bytes) in gone {
        world.folder.put(&name, Bytes::from(bytes)).await.unwrap();
        again += 1;
    }
    assert!(again > 1);
    let world = world.restart().await;
    let swept = sweep(&world.store, &world.folder, world.term, Duration::ZERO).await.unwrap();
    assert_eq!((swept, world.objects()), (again, after));
}

#[tokio::test]
async fn an_end_that_is_not_known_to_have_come_costs_no_byte_that_is_kept() {
    let world = World::start(small()).await;
    let (log, data) = (attempt(1), noise(400_000));
    let (mut next, mut died) = (0, 0);
    let began = Instant::now();
    while next < data.len() {
        assert!(began.elapsed() < DEADLINE, "it is at {next}");
        if next / 80_000 > died {
            died += 1;
            let _ = world.logs.actor.inject_panic().await;
            world.logs.up(DEADLINE).await.unwrap();
        }
        let end = (next + 7_000).min(data.len());
        match world
            .logs
            .append(log, next as u64, chunks(&data[next..end]), cursor(end as u64))
            .await
        {
            Ok(appended) => next = usize::try_from(appended.next).unwrap(),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
    let began = Instant::now();
    loop {
        match world.logs.seal(log, 400_000, crc(&data), String::new()).await {
            Ok(Sealed::Whole) => break,
            other => assert!(began.elapsed() < DEADLINE, "{other:?}"),
        }
    }
    let read = Read::all(&mut world.logs.read(log, 0)).await.unwrap();
    assert!(read.is_of(&data) && read.gaps.len() == 1, "{:?}", read.gaps);
    assert_eq!(read.kept() as u64 + read.gaps[0].1, 400_000);
    assert!(died > 3);
}
