//! The last lines, and what is younger than a time, on disk and in memory.

use super::world::{World, attempt, cursor, drain, patient};
use crate::log_store::{Chunk, LogLimits, Piece, Wanted};
use bytes::Bytes;
use jiff::Timestamp;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn line(second: i64) -> String {
    // Long enough that a hundred of them are several segments, one of which is an object.
    format!("line {second} {}\n", "x".repeat(second as usize % 97))
}

/// A log of a line a second; all but the last lines are durable.
async fn written(lines: i64) -> (World, String) {
    let world = World::start(LogLimits { segment: 500, ..patient() }).await;
    let mut all = String::new();
    for second in 0..lines {
        let chunk = Chunk { observed_at: at(second), data: Bytes::from(line(second)) };
        let (offset, end) = (all.len() as u64, (all.len() + chunk.data.len()) as u64);
        world.logs.append(attempt(1), offset, vec![chunk], cursor(end)).await.unwrap();
        all += &line(second);
    }
    let mut durable = 0;
    while durable + 1000 < all.len() as u64 {
        durable = world.durable(attempt(1), durable + 1).await.durable;
    }
    (world, all)
}

async fn read(world: &World, wanted: Wanted) -> (u64, String, Piece) {
    let mut reader = world.logs.open(attempt(1), wanted, 0).await.unwrap();
    let begins = reader.offset();
    let mut pieces = String::new();
    loop {
        match reader.next().await.unwrap() {
            Piece::Bytes { chunk, .. } => pieces += std::str::from_utf8(&chunk.data).unwrap(),
            last => return (begins, pieces, last),
        }
    }
}

fn last_lines(all: &str, lines: usize) -> String {
    let each: Vec<_> = all.split_inclusive('\n').collect();
    each[each.len().saturating_sub(lines)..].concat()
}

#[tokio::test]
async fn the_last_lines_are_found_in_memory_and_on_disk() {
    let (world, all) = written(300).await;
    for lines in [0, 1, 2, 10, 30, 150, 299, 300, 301, 100_000] {
        let wanted = Wanted { tail_lines: Some(lines), ..Wanted::default() };
        let (begins, text, last) = read(&world, wanted).await;
        assert_eq!(text, last_lines(&all, lines as usize), "{lines} lines");
        assert_eq!((begins, last), ((all.len() - text.len()) as u64, Piece::CaughtUp));
    }
    // Also of what nobody holds in memory, and with an end that is no end of a line.
    world.append(attempt(1), all.len() as u64, b"and no end").await;
    world.logs.cut(attempt(1), String::new()).await.unwrap();
    let world = world.restart().await;
    let wanted = Wanted { tail_lines: Some(2), ..Wanted::default() };
    let (_, text, last) = read(&world, wanted).await;
    assert_eq!(text, format!("{}and no end", line(299)));
    assert!(matches!(last, Piece::End(_)));
}

#[tokio::test]
async fn what_is_younger_than_a_time_is_found_wherever_it_lies() {
    let (world, all) = written(300).await;
    for second in [-5, 0, 1, 100, 222, 290, 299, 300] {
        let wanted = Wanted { since: Some(at(second)), ..Wanted::default() };
        let (_, text, _) = read(&world, wanted).await;
        assert_eq!(text, last_lines(&all, 300 - second.clamp(0, 300) as usize), "since {second}");
    }
    // The wish that begins last counts.
    let since = Some(at(290));
    let wanted = Wanted { since, tail_lines: Some(3), ..Wanted::default() };
    assert_eq!(read(&world, wanted).await.1, last_lines(&all, 3));
    let wanted = Wanted { since, tail_lines: Some(30), ..Wanted::default() };
    assert_eq!(read(&world, wanted).await.1, last_lines(&all, 10));
    let wanted = Wanted { since, offset: all.len() as u64 - 4, ..Wanted::default() };
    assert_eq!(read(&world, wanted).await.1, all[all.len() - 4..]);
}

#[tokio::test]
async fn nothing_at_all_has_no_lines_and_no_times() {
    let world = World::start(patient()).await;
    for wanted in [
        Wanted { tail_lines: Some(5), ..Wanted::default() },
        Wanted { since: Some(at(0)), ..Wanted::default() },
    ] {
        assert_eq!(read(&world, wanted).await, (0, String::new(), Piece::CaughtUp));
    }
}

#[tokio::test]
async fn a_time_to_come_is_waited_for() {
    let (world, all) = written(10).await;
    let wanted = Wanted { since: Some(at(1000)), ..Wanted::default() };
    let mut reader = world.logs.open(attempt(1), wanted, 0).await.unwrap();
    assert_eq!(reader.next().await.unwrap(), Piece::CaughtUp);
    for second in [999, 1000] {
        let chunk = Chunk { observed_at: at(second), data: Bytes::from(format!("{second}\n")) };
        let offset = reader.offset();
        let end = offset + chunk.data.len() as u64;
        assert!(offset >= all.len() as u64);
        world.logs.append(attempt(1), offset, vec![chunk], cursor(end)).await.unwrap();
        let (bytes, _) = drain(&mut reader, offset).await.unwrap();
        assert_eq!(
            bytes,
            if second < 1000 {
                &b""[..]
            } else {
                &b"1000
"[..]
            }
        );
    }
}

#[tokio::test]
async fn the_last_lines_end_at_what_is_left_out() {
    let world = World::start(LogLimits { segment: 500, kept: 4_000, ..patient() }).await;
    let mut all = String::new();
    for second in 0..500 {
        world.append(attempt(1), all.len() as u64, line(second).as_bytes()).await;
        all += &line(second);
    }
    world.logs.cut(attempt(1), String::new()).await.unwrap();
    let wanted = Wanted { tail_lines: Some(400), ..Wanted::default() };
    let mut reader = world.logs.open(attempt(1), wanted, 0).await.unwrap();
    let Piece::Gap { offset, size, .. } = reader.next().await.unwrap() else { panic!("no gap") };
    assert!((2_000..4_000).contains(&offset), "{offset}");
    let from = offset + size;
    let (bytes, _) = drain(&mut reader, from).await.unwrap();
    assert_eq!(bytes, all.as_bytes()[from as usize..]);
}
