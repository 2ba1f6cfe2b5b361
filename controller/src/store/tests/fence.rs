//! Actors that were built again, and what their former lives left behind.

use super::*;

#[tokio::test]
async fn what_waits_of_a_former_life_never_lands_and_what_flies_is_waited_for() {
    let world = World::start().await;
    let old = world.enlist("a").await;
    let other = world.enlist("b").await;
    world.faults.shut();
    let flown = queue(&old, vec![put("flown", "1")]);
    until("the first flies", || world.faults.commits() == 1).await;
    let waiting = queue(&old, vec![put("waiting", "1")]);
    let others = queue(&other, vec![put("other", "1")]);
    until_waiting(&world, 3).await;
    let store = world.store.clone();
    let enlisting = tokio::spawn(async move { store.enlist("a").await });
    assert!(refused(answer(waiting).await).contains("fenced"));
    assert!(!enlisting.is_finished(), "the batch in flight was not waited for");
    let late = queue(&old, vec![put("late", "1")]);
    assert!(refused(answer(late).await).contains("fenced"));
    world.faults.open();
    let new = answer(enlisting).await.unwrap();
    assert!(world.written().await.contains_key("t/flown"));
    assert_eq!(answer(flown).await, Commit::Done);
    assert_eq!(answer(others).await, Commit::Done);
    assert_eq!(new.commit(vec![put("new", "1")]).await, Commit::Done);
    let keys: Vec<_> = world.written().await.into_keys().collect();
    assert_eq!(keys, ["t/flown", "t/new", "t/other"]);
    world.stop().await;
}

#[tokio::test]
async fn when_the_store_is_built_again_no_writer_of_its_former_life_writes() {
    let world = World::start().await;
    let [first, second] = [world.enlist("a").await, world.enlist("b").await];
    assert_eq!(first.commit(vec![put("a", "1")]).await, Commit::Done);
    let _ = world.store.handle().inject_panic().await;
    // Both have new lives before the old ones try again, so that a number used twice would let them in.
    let [new, _other] = [world.enlist("a").await, world.enlist("b").await];
    for old in [first, second] {
        refused(old.commit(vec![put("old", "1")]).await);
    }
    assert_eq!(new.commit(vec![put("new", "1")]).await, Commit::Done);
    assert_eq!(world.written().await.into_keys().collect::<Vec<_>>(), ["t/a", "t/new"]);
    world.stop().await;
}

#[tokio::test]
async fn a_writer_whose_decision_was_not_let_in_writes_no_more() {
    let world = World::start().await;
    let writer = world.enlist("a").await;
    world.faults.shut();
    let limit = world.store.vitals().limit();
    let filling: Vec<_> = (0..limit).map(|_| queue(&writer, vec![put("a", "1")])).collect();
    let refused_full = writer.commit(vec![put("hole", "1")]);
    world.faults.open();
    // Called after the refused one, and before anybody has looked at its answer.
    until("there is room again", || world.store.vitals().waiting() < limit).await;
    let behind = writer.commit(vec![put("behind", "1")]);
    assert!(refused(refused_full.await).contains("16384 calls wait for Store"));
    assert!(refused(behind.await).contains("fenced"));
    for decision in filling {
        assert_eq!(answer(decision).await, Commit::Done);
    }
    assert_eq!(world.written().await.into_keys().collect::<Vec<_>>(), ["t/a"]);
    world.stop().await;
}
