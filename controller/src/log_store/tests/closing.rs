//! Seals and cuts: a log closes when it is whole and durable, or when it is given up.

use super::world::{World, attempt, chunks, crc, cursor, eager, patient};
use crate::log_store::{LogError, LogInfo, Piece, Sealed};

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

/// Whoever brings it, and whatever happens on the way: readers are told what there is, and that it is not whole.
#[tokio::test]
async fn the_rest_of_a_log_that_was_cut_is_taken_behind_its_end_and_makes_it_whole() {
    let world = World::start(eager()).await;
    let log = attempt(1);
    let extend = async |world: &World, offset, data: &[u8]| {
        world.logs.extend(log, offset, chunks(data), cursor(offset + data.len() as u64)).await
    };
    world.append(log, 0, b"half of it").await;
    let why = "its executor was lost".to_owned();
    world.logs.cut(log, why.clone()).await.unwrap();
    let refused = world.logs.append(log, 10, chunks(b", and more"), cursor(20)).await.unwrap();
    assert_eq!((refused.next, refused.closed), (10, true), "nobody holds it any more");

    let taken = extend(&world, 10, b", and more").await.unwrap();
    assert_eq!((taken.next, taken.closed, taken.next_cursor), (20, false, cursor(20)));
    let until = tokio::time::Instant::now() + super::world::DEADLINE;
    while extend(&world, 20, b"").await.unwrap().durable < 20 {
        assert!(tokio::time::Instant::now() < until, "it is never stored");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(world.read(log, 0).await, (b"half of it, and more".to_vec(), why.clone()));
    // A controller that crashes now leaves a log that is closed, and says that it is not whole.
    let world = world.restart().await;
    assert_eq!(world.read(log, 15).await, (b" more".to_vec(), why.clone()));
    let told = world.logs.info(log).await.unwrap();
    assert_eq!(told, LogInfo { size: 20, closed: true, cut: why.clone() });
    let all = b"half of it, and more, to the end";
    let complete = async |size, all: &[u8], cut: &str| {
        world.logs.complete(log, size, crc(all), cut.to_owned()).await.unwrap()
    };
    assert_eq!(complete(32, all, "").await, Sealed::Missing { next: 20 });
    assert_eq!(extend(&world, 20, b", to the end").await.unwrap().next, 32);
    assert_eq!(complete(32, b"something else", "").await, Sealed::Different { crc: crc(all) });
    assert_eq!(complete(32, all, "").await, Sealed::Whole);
    assert_eq!(complete(32, all, "").await, Sealed::Whole, "said again");
    assert!(extend(&world, 32, b"!").await.unwrap().closed, "it is whole now");
    let world = world.restart().await;
    assert_eq!(world.read(log, 0).await, (all.to_vec(), String::new()));
}

#[tokio::test]
async fn a_log_that_is_not_kept_any_more_takes_no_rest() {
    let world = World::start(eager()).await;
    let log = attempt(1);
    world.append(log, 0, b"half").await;
    world.logs.cut(log, "its executor was lost".to_owned()).await.unwrap();
    world.logs.remove_all(log.execution).await.unwrap();
    let taken = world.logs.extend(log, 4, chunks(b"more"), cursor(8)).await.unwrap();
    assert!(taken.closed, "{taken:?}");
    let taken = world.logs.extend(log, 0, chunks(b"half"), cursor(4)).await.unwrap();
    assert!(taken.closed && taken.next == 0, "{taken:?}");
    let complete = world.logs.complete(log, 8, crc(b"halfmore"), String::new()).await;
    assert!(matches!(complete, Err(LogError::Expired { .. })), "{complete:?}");
}
