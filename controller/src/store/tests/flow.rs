//! Group commit, order, limits and what a read sees.

use super::*;
use crate::store::{Range, begin_term, installation, keys};

#[tokio::test]
async fn what_is_done_is_there_when_the_store_is_opened_again() {
    let world = World::start().await;
    let writer = world.enlist("a").await;
    assert_eq!(writer.commit(vec![put("a", "1"), put("b", "2")]).await, Commit::Done);
    assert_eq!(writer.commit(vec![delete("a"), put("c", "3")]).await, Commit::Done);
    world.system.stop().await;
    let mut system = ActorSystem::start("again").unwrap();
    let opener = Arc::new(EmbeddedOpener::new(world.folder.path()));
    let store = StoreHandle::start(&mut system, opener, Lead::sole(), PATIENCE).await.unwrap();
    store.handle().up(SOON).await.unwrap();
    let all = store.all(Range::prefix("t/", 1)).await.unwrap();
    let all: Vec<_> = all.into_iter().map(|entry| (entry.key, entry.value)).collect();
    let wanted = [("t/b", "2"), ("t/c", "3")];
    assert_eq!(all, wanted.map(|(key, value)| (key.to_owned(), Bytes::from(value))));
    assert_eq!(store.get("t/c").await.unwrap(), Some(Bytes::from("3")));
    assert_eq!(store.get("t/a").await.unwrap(), None);
    system.stop().await;
}

#[tokio::test]
async fn what_waits_while_a_batch_flies_goes_in_few_transactions() {
    let world = World::start().await;
    let writer = world.enlist("a").await;
    world.faults.shut();
    let first = queue(&writer, vec![put("first", "1")]);
    until("the first flies", || world.faults.commits() == 1).await;
    let decisions = (0..200).map(|n| queue(&writer, vec![put(&format!("{n:03}"), "x")]));
    let decisions: Vec<_> = decisions.collect();
    until_waiting(&world, 201).await;
    world.faults.open();
    assert_eq!(answer(first).await, Commit::Done);
    for decision in decisions {
        assert_eq!(answer(decision).await, Commit::Done);
    }
    assert_eq!(world.faults.commits(), 3, "200 decisions of one write fill two batches of 120");
    assert_eq!(world.written().await.len(), 201);
    world.stop().await;
}

#[tokio::test]
async fn decisions_are_never_split_and_land_in_the_order_of_the_calls() {
    let world = World::start().await;
    let writer = world.enlist("a").await;
    let decision = |n: usize| (0..50).map(move |key| put(&format!("{key:02}"), format!("{n}")));
    let answers: Vec<_> = (0..40).map(|n| queue(&writer, decision(n).collect())).collect();
    let mut seen = 0;
    while !answers.iter().all(JoinHandle::is_finished) {
        let page = world.store.range(Range::prefix("t/", 100)).await.unwrap();
        let Some(first) = page.entries.first() else { continue };
        assert!(page.entries.iter().all(|entry| entry.value == first.value), "{page:?}");
        let number: usize = std::str::from_utf8(&first.value).unwrap().parse().unwrap();
        assert!(number >= seen, "{number} came after {seen}");
        seen = number;
    }
    for decision in answers {
        assert_eq!(answer(decision).await, Commit::Done);
    }
    assert!(world.written().await.values().all(|value| value == "39"));
    world.stop().await;
}

#[tokio::test]
async fn of_two_writes_to_one_key_the_last_counts_in_a_decision_and_in_a_batch() {
    let world = World::start().await;
    let writer = world.enlist("a").await;
    world.faults.shut();
    let first = queue(&writer, vec![put("a", "1"), put("a", "2"), put("b", "1"), delete("b")]);
    until("the first flies", || world.faults.commits() == 1).await;
    let next = [vec![put("c", "1")], vec![delete("c"), put("d", "1")], vec![put("d", "2")]];
    let next: Vec<_> = next.into_iter().map(|decision| queue(&writer, decision)).collect();
    until_waiting(&world, 4).await;
    world.faults.open();
    assert_eq!(answer(first).await, Commit::Done);
    for decision in next {
        assert_eq!(answer(decision).await, Commit::Done);
    }
    assert_eq!(world.faults.commits(), 2);
    let written = world.written().await;
    let wanted = [("t/a", "2"), ("t/d", "2")];
    assert_eq!(written, wanted.map(|(key, value)| (key.to_owned(), Bytes::from(value))).into());
    world.stop().await;
}

#[tokio::test]
async fn a_read_sees_what_was_queued_before_it_and_holds_up_no_commit() {
    let world = World::start().await;
    let writer = world.enlist("a").await;
    world.faults.shut();
    let first = queue(&writer, vec![put("a", "1")]);
    until("the first flies", || world.faults.commits() == 1).await;
    let second = queue(&writer, vec![put("b", "1")]);
    until_waiting(&world, 2).await;
    let store = world.store.clone();
    let read = tokio::spawn(async move { store.all(Range::prefix("t/", 10)).await });
    until_waiting(&world, 3).await;
    assert!(!read.is_finished());
    world.faults.open();
    assert_eq!(answer(read).await.unwrap().len(), 2);
    assert_eq!(answer(first).await, Commit::Done);
    assert_eq!(answer(second).await, Commit::Done);
    world.stop().await;
}

#[tokio::test]
async fn what_has_landed_is_read_while_a_batch_flies_and_what_flies_is_not() {
    let world = World::start().await;
    let writer = world.enlist("a").await;
    assert_eq!(writer.commit(vec![put("a", "1")]).await, Commit::Done);
    world.faults.shut();
    let second = queue(&writer, vec![put("a", "2"), put("b", "2")]);
    until("the second flies", || world.faults.commits() == 2).await;
    let read = tokio::time::timeout(SOON, world.store.get_landed("t/a")).await;
    assert_eq!(read.expect("it waited for the batch").unwrap(), Some(Bytes::from("1")));
    assert_eq!(world.store.get_landed("t/b").await.unwrap(), None);
    world.faults.open();
    assert_eq!(answer(second).await, Commit::Done);
    assert_eq!(world.store.get_landed("t/a").await.unwrap(), Some(Bytes::from("2")));
    world.stop().await;
}

#[tokio::test]
async fn a_decision_without_a_write_is_done_when_those_before_it_are() {
    let world = World::start().await;
    let writer = world.enlist("a").await;
    assert_eq!(writer.commit(vec![]).await, Commit::Done);
    assert_eq!(world.faults.commits(), 0);
    world.faults.shut();
    let first = queue(&writer, vec![put("a", "1")]);
    let empty = queue(&writer, vec![]);
    until_waiting(&world, 2).await;
    until("the first flies", || world.faults.commits() == 1).await;
    assert!(!empty.is_finished());
    world.faults.open();
    assert_eq!(answer(first).await, Commit::Done);
    assert_eq!(answer(empty).await, Commit::Done);
    assert_eq!(world.faults.commits(), 1);
    world.stop().await;
}

#[tokio::test]
async fn a_decision_over_a_limit_is_refused_with_the_number_and_none_follows_it() {
    let world = World::start().await;
    let many = |count| (0..count).map(|n| put(&format!("{n}"), "x")).collect::<Vec<_>>();
    let heavy = |size| vec![put("heavy", vec![0; size - "t/heavy".len()])];
    let writer = world.enlist("a").await;
    assert_eq!(writer.commit(many(120)).await, Commit::Done);
    assert_eq!(writer.commit(heavy(1024 * 1024)).await, Commit::Done);
    let reserved = vec![Write::Put(keys::SEQUENCE.to_owned(), Bytes::new())];
    for (decision, text) in [
        (many(121), "121 writes is over the limit of 120"),
        (heavy(1024 * 1024 + 1), "1048577 bytes"),
        (reserved, "`v1/seq` is written by the store alone"),
        (vec![Write::Delete(String::new())], "empty key"),
    ] {
        let writer = world.enlist("a").await;
        let over = queue(&writer, decision);
        let behind = queue(&writer, vec![put("behind", "1")]);
        let why = refused(answer(over).await);
        assert!(why.contains(text), "{why}");
        assert!(refused(answer(behind).await).contains("fenced"));
    }
    assert!(!world.written().await.contains_key("t/behind"));
    world.stop().await;
}

#[tokio::test]
async fn the_installation_stays_and_the_revision_grows() {
    let world = World::start().await;
    assert_eq!(installation(&world.store).await.unwrap(), None);
    let writer = world.enlist("leadership").await;
    let first = begin_term(&world.store, &writer).await.unwrap();
    assert_eq!((first.generation, first.revision), (1, 1));
    let writer = world.enlist("leadership").await;
    let second = begin_term(&world.store, &writer).await.unwrap();
    assert_eq!((second.generation, second.revision), (1, 2));
    assert_eq!(first.installation, second.installation);
    assert_eq!(installation(&world.store).await.unwrap(), Some(first.installation));
    let term = world.store.get(keys::TERM).await.unwrap();
    assert_eq!(term, Some(Bytes::from("1 2")));
    world.stop().await;
}

#[tokio::test]
async fn after_a_stop_the_file_is_closed_and_needs_no_check() {
    let world = World::start().await;
    let writer = world.enlist("a").await;
    assert_eq!(writer.commit(vec![put("a", "1")]).await, Commit::Done);
    world.system.stop().await;
    let mut builder = redb::Builder::new();
    builder.set_repair_callback(redb::RepairSession::abort);
    builder.open(world.folder.path().join("octavius.redb")).unwrap();
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_is_an_error_of_the_start() {
    let world = World::start().await;
    let mut system = ActorSystem::start("second").unwrap();
    let opener = Arc::new(EmbeddedOpener::new(world.folder.path()));
    let refused = StoreHandle::start(&mut system, opener, Lead::sole(), PATIENCE).await.map(|_| ());
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("in use by another controller"), "{text}");
    system.stop().await;
    world.stop().await;
}
