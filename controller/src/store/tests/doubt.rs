//! Commits that fail, and commits that nobody knows of.

use super::*;
use crate::store::{Range, ReadError, faulty::Fault, keys};

/// A counter that grows by one with each commit that landed.
async fn sequence(world: &World) -> u64 {
    let text = world.store.get(keys::SEQUENCE).await.unwrap().unwrap();
    std::str::from_utf8(&text).unwrap().split(' ').next().unwrap().parse().unwrap()
}

/// Commits once under these faults, and once more after them.
async fn commit_under(faults: impl IntoIterator<Item = Fault>) -> (World, Commit) {
    let world = World::start().await;
    let writer = world.enlist("a").await;
    assert_eq!(writer.commit(vec![put("a", "1")]).await, Commit::Done);
    world.faults.next(faults);
    let commit = writer.commit(vec![put("a", "2"), put("b", "2")]).await;
    (world, commit)
}

#[tokio::test]
async fn an_unknown_commit_that_landed_is_done_once() {
    let (world, commit) = commit_under([Fault::UnknownAfter]).await;
    assert_eq!(commit, Commit::Done);
    assert_eq!(world.faults.commits(), 2, "it was sent again although it had landed");
    assert_eq!(sequence(&world).await, 2);
    assert_eq!(world.written().await.len(), 2);
    world.stop().await;
}

#[tokio::test]
async fn an_unknown_commit_that_did_not_land_is_sent_again() {
    let faults = [Fault::UnknownBefore, Fault::UnknownBefore, Fault::UnknownAfter];
    let (world, commit) = commit_under(faults).await;
    assert_eq!(commit, Commit::Done);
    assert_eq!(world.faults.commits(), 4);
    assert_eq!(world.faults.opens(), 4, "a connection that failed was asked again");
    assert_eq!(sequence(&world).await, 2);
    assert_eq!(world.written().await.len(), 2);
    world.stop().await;
}

#[tokio::test]
async fn an_unknown_commit_that_lands_while_it_is_sent_again_is_done_once() {
    let (world, commit) = commit_under([Fault::UnknownLate]).await;
    assert_eq!(commit, Commit::Done);
    assert_eq!(sequence(&world).await, 2);
    assert_eq!(world.written().await.len(), 2);
    world.stop().await;
}

#[tokio::test]
async fn a_store_that_is_away_for_a_while_costs_time_and_nothing_else() {
    let world = World::start().await;
    let writer = world.enlist("a").await;
    world.faults.next([Fault::UnknownBefore]);
    world.faults.fail_opens(4);
    let behind = [put("a", "1"), put("b", "1"), put("c", "1")];
    let commits = behind.map(|write| queue(&writer, vec![write]));
    for commit in commits {
        assert_eq!(answer(commit).await, Commit::Done);
    }
    assert_eq!(world.written().await.len(), 3);
    world.stop().await;
}

#[tokio::test]
async fn a_commit_that_hangs_is_given_up_and_sent_again() {
    let patience = Patience { call: Duration::from_millis(500), ..PATIENCE };
    let world = World::start_with(patience).await;
    let writer = world.enlist("a").await;
    assert_eq!(writer.commit(vec![put("a", "1")]).await, Commit::Done);
    world.faults.next([Fault::Slow(Duration::from_secs(3600))]);
    assert_eq!(writer.commit(vec![put("a", "2")]).await, Commit::Done);
    assert_eq!(sequence(&world).await, 2);
    world.stop().await;
}

#[tokio::test]
async fn a_backend_that_panics_takes_the_store_with_it_and_both_come_back() {
    let world = World::start().await;
    let writer = world.enlist("a").await;
    assert_eq!(writer.commit(vec![put("a", "1")]).await, Commit::Done);
    world.faults.next([Fault::Panic]);
    let lost = writer.commit(vec![put("b", "1")]).await;
    assert!(matches!(lost, Commit::Unknown(_)), "{lost:?}");
    let writer = world.enlist("a").await;
    assert_eq!(writer.commit(vec![put("c", "1")]).await, Commit::Done);
    let keys: Vec<_> = world.written().await.into_keys().collect();
    assert_eq!(keys, ["t/a", "t/c"]);
    world.stop().await;
}

#[tokio::test]
async fn after_the_last_try_all_are_told_and_the_store_begins_again() {
    let patience = Patience { doubt: Duration::from_millis(1500), ..PATIENCE };
    let world = World::start_with(patience).await;
    let writer = world.enlist("a").await;
    world.faults.shut();
    world.faults.next([Fault::UnknownBefore]);
    let flown = queue(&writer, vec![put("a", "1")]);
    until("the first flies", || world.faults.commits() == 1).await;
    let behind = queue(&writer, vec![put("b", "1")]);
    until_waiting(&world, 2).await;
    world.faults.fail_opens(usize::MAX);
    world.faults.open();
    let unknown = answer(flown).await;
    assert!(matches!(unknown, Commit::Unknown(_)), "{unknown:?}");
    refused(answer(behind).await); // it certainly did not happen, and is told so
    world.faults.fail_opens(0);
    refused(writer.commit(vec![put("c", "1")]).await);
    let writer = world.enlist("a").await;
    assert_eq!(writer.commit(vec![put("d", "1")]).await, Commit::Done);
    assert_eq!(world.written().await.into_keys().collect::<Vec<_>>(), ["t/d"]);
    world.stop().await;
}

#[tokio::test]
async fn after_a_refused_commit_nothing_that_rests_on_it_lands() {
    let world = World::start().await;
    let [mut first, second] = [world.enlist("a").await, world.enlist("b").await];
    world.faults.shut();
    world.faults.next([Fault::Refused]);
    let flown = queue(&first, vec![put("a1", "1")]);
    until("the first flies", || world.faults.commits() == 1).await;
    let behind = queue(&first, vec![put("a2", "1")]);
    let other = queue(&second, vec![put("b1", "1")]);
    until_waiting(&world, 3).await;
    world.faults.open();
    assert!(refused(answer(flown).await).contains("told it to refuse"));
    assert!(refused(answer(behind).await).contains("an earlier write failed"));
    assert_eq!(answer(other).await, Commit::Done, "it does not rest on the refused one");
    refused(first.commit(vec![put("a3", "1")]).await);
    first = world.enlist("a").await;
    assert_eq!(first.commit(vec![put("a4", "1")]).await, Commit::Done);
    assert_eq!(world.written().await.into_keys().collect::<Vec<_>>(), ["t/a4", "t/b1"]);
    world.stop().await;
}

#[tokio::test]
async fn a_controller_that_finds_another_one_writing_stops() {
    let intruder = || Write::Put(keys::SEQUENCE.to_owned(), Bytes::from("2 somebody"));
    for faults in [
        vec![Fault::Intruder(intruder())],
        // Not known, not landed, and then another one has the very number that this one would have had.
        vec![Fault::UnknownBefore, Fault::Intruder(intruder())],
    ] {
        let (world, commit) = commit_under(faults).await;
        let why = refused(commit);
        assert!(why.contains("no longer leads"), "{why}");
        assert_eq!(world.written().await.len(), 1);
        world.stop().await;
    }
}

#[tokio::test]
async fn after_a_failed_read_the_connection_is_made_anew() {
    let world = World::start().await;
    let writer = world.enlist("a").await;
    assert_eq!(writer.commit(vec![put("a", "1")]).await, Commit::Done);
    world.faults.fail_reads(1);
    // A range: one key is answered from what was written lately.
    let failed = world.store.range(Range::prefix("t/", 10)).await;
    assert!(matches!(failed, Err(ReadError::Backend(_))), "{failed:?}");
    until("it is opened anew", || world.faults.opens() == 2).await;
    assert_eq!(world.store.get("t/a").await.unwrap(), Some(Bytes::from("1")));
    assert_eq!(writer.commit(vec![put("b", "1")]).await, Commit::Done);
    world.stop().await;
}

#[tokio::test]
async fn a_store_that_takes_long_to_open_is_opened_once() {
    let within = Duration::from_secs(4);
    let world = World::start_with(Patience { call: within, doubt: within, ..PATIENCE }).await;
    let writer = world.enlist("a").await;
    // A large file that was not closed is checked while it is opened: longer than a call, and longer than the doubt.
    world.faults.slow_opens(within * 2);
    world.faults.next([Fault::UnknownBefore]);
    assert_eq!(writer.commit(vec![put("a", "1")]).await, Commit::Done);
    assert_eq!(world.faults.begun_opens(), 2, "it was given up, and began from nothing");
    // Also where the actor begins anew.
    let _ = world.store.handle().inject_panic().await;
    let writer = world.enlist("a").await;
    assert_eq!(writer.commit(vec![put("b", "1")]).await, Commit::Done);
    assert_eq!(world.faults.begun_opens(), 3, "it was given up, and began from nothing");
    assert_eq!(world.written().await.len(), 2);
    world.stop().await;
}
