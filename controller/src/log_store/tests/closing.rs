//! Seals and cuts: a log closes when it is whole and durable, or when it is given up.

use super::world::{World, attempt, chunks, crc, cursor, patient};
use crate::log_store::{LogInfo, Piece, Sealed};

#[tokio::test]
async fn a_log_closes_when_all_of_it_is_here_and_only_once() {
    let world = World::start(patient()).await;
    let log = attempt(1);
    let seal = async |size, data: &[u8]| {
        world.logs.seal(log, size, crc(data), "the middle".to_owned()).await.unwrap()
    };
    assert_eq!(seal(5, b"hello").await, Sealed::Missing { next: 0 });
    world.append(log, 0, b"hell").await;
    assert_eq!(seal(5, b"hello").await, Sealed::Missing { next: 4 });
    world.append(log, 4, b"o").await;
    assert_eq!(seal(5, b"jello").await, Sealed::Different { crc: crc(b"hello") });
    assert_eq!(seal(4, b"hell").await, Sealed::Different { crc: crc(b"hello") });
    assert!(!world.logs.info(log).await.unwrap().closed);

    assert_eq!(seal(5, b"hello").await, Sealed::Whole);
    assert_eq!(seal(5, b"hello").await, Sealed::Whole);
    assert_eq!(seal(6, b"hello!").await, Sealed::Different { crc: crc(b"hello") });
    let late = world.logs.append(log, 5, chunks(b"!"), cursor(6)).await.unwrap();
    assert_eq!((late.next, late.durable, late.closed), (5, 5, true));

    let world = world.restart().await;
    let late = world.logs.append(log, 5, chunks(b"!"), cursor(6)).await.unwrap();
    assert_eq!((late.next, late.durable, late.closed), (5, 5, true));
    assert_eq!((late.next_crc, late.next_cursor), (crc(b"hello"), cursor(5)));
    let sealed = world.logs.seal(log, 5, crc(b"hello"), String::new()).await.unwrap();
    assert_eq!(sealed, Sealed::Whole, "also when nobody remembers");
    assert_eq!(world.read(log, 0).await, (b"hello".to_vec(), "the middle".to_owned()));
}

#[tokio::test]
async fn an_empty_log_closes_too() {
    let world = World::start(patient()).await;
    let sealed = world.logs.seal(attempt(1), 0, 0, String::new()).await.unwrap();
    assert_eq!(sealed, Sealed::Whole);
    let world = world.restart().await;
    assert_eq!(world.read(attempt(1), 0).await, (Vec::new(), String::new()));
}

#[tokio::test]
async fn a_cut_ends_what_is_there_and_wakes_who_follows() {
    let world = World::start(patient()).await;
    let (written, never) = (attempt(1), attempt(2));
    world.append(written, 0, b"half of i").await;
    let mut followers = Vec::new();
    for (log, offset) in [(written, 9), (never, 0)] {
        let mut reader = world.logs.read(log, offset);
        assert_eq!(reader.next().await.unwrap(), Piece::CaughtUp);
        followers.push(tokio::spawn(async move {
            reader.more().await.unwrap();
            reader.next().await.unwrap()
        }));
    }
    let why = "the executor was not heard for 10 minutes".to_owned();
    let cut = |size| LogInfo { size, closed: true, cut: why.clone() };
    assert_eq!(world.logs.cut(written, why.clone()).await.unwrap(), cut(9));
    assert_eq!(world.logs.cut(never, why.clone()).await.unwrap(), cut(0));
    assert_eq!(followers.remove(0).await.unwrap(), Piece::End(cut(9)));
    assert_eq!(followers.remove(0).await.unwrap(), Piece::End(cut(0)));

    let again = world.logs.cut(written, "another reason".to_owned()).await.unwrap();
    assert_eq!(again, cut(9), "it stays as it was");
    let late = world.logs.seal(written, 11, crc(b"half of it."), String::new()).await.unwrap();
    assert_eq!(late, Sealed::Different { crc: crc(b"half of i") });
    let world = world.restart().await;
    assert_eq!(world.read(written, 0).await, (b"half of i".to_vec(), why));
}
