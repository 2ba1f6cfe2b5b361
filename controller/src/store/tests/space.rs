//! A store without room: known before anything is decided, and over by itself.

use super::*;
use crate::store::faulty::Fault;

#[tokio::test]
async fn a_commit_that_finds_no_room_shuts_the_gate_and_what_is_stored_is_read() {
    let world = World::start().await;
    let (one, other) = (world.enlist("one").await, world.enlist("other").await);
    assert_eq!(one.commit(vec![put("a", "1")]).await, Commit::Done);
    world.faults.full(true);
    world.faults.next([Fault::Full]);
    let why = refused(other.commit(vec![put("b", "1")]).await);
    assert!(why.contains("the store is full"), "{why}");
    let why = world.store.full().unwrap();
    assert!(why.contains("the store is full") && why.contains("goes on by itself"), "{why}");
    assert_eq!(world.written().await.len(), 1);

    world.faults.full(false);
    until("the gate opens by itself", || world.store.full().is_none()).await;
    let other = world.enlist("other").await;
    assert_eq!(other.commit(vec![put("b", "1")]).await, Commit::Done);
    // Whose write was not in that batch did not even notice.
    assert_eq!(one.commit(vec![put("c", "1")]).await, Commit::Done);
    world.stop().await;
}

#[tokio::test]
async fn want_of_room_is_seen_before_a_commit_fails() {
    let world = World::start().await;
    assert_eq!(world.store.full(), None);
    world.faults.full(true);
    until("the gate shuts", || world.store.full().is_some()).await;
    world.faults.full(false);
    until("the gate opens", || world.store.full().is_none()).await;
    assert_eq!(world.faults.commits(), 0);
    world.stop().await;
}

#[tokio::test]
async fn a_doubtful_commit_that_finds_no_room_at_its_second_try_certainly_did_not_happen() {
    let world = World::start().await;
    let writer = world.enlist("a").await;
    world.faults.next([Fault::UnknownBefore, Fault::Full]);
    let why = refused(writer.commit(vec![put("a", "1")]).await);
    assert!(why.contains("the store is full"), "{why}");
    assert!(world.written().await.is_empty());
    world.stop().await;
}
