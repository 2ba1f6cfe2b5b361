//! Lists of executions, while nothing and while everything happens.

use super::*;
use crate::job_queue::rules::Wanted;
use futures::{StreamExt, stream};
use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

/// Everything that a list has, page by page, and how many pages it took.
async fn listed(queue: &QueueHandle, wanted: &Wanted, page_size: usize) -> (Vec<Shown>, usize) {
    let mut all = Vec::new();
    let mut page_token = String::new();
    for pages in 1.. {
        let request = ListRequest { page_size, page_token, wanted: wanted.clone() };
        let page = queue.list(request).await.unwrap();
        assert!(page.executions.len() <= page_size);
        assert!(page.looked_at <= 2 * LOOKED_AT + 2 && page.looked_at >= page.executions.len());
        all.extend(page.executions);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return (all, pages);
        }
    }
    unreachable!("a list ends")
}

fn ids(shown: &[Shown]) -> Vec<ExecutionId> {
    shown.iter().map(|shown| shown.record.id).collect()
}

impl World {
    async fn submit(&self, job: &str, user: &str) -> ExecutionId {
        let wish = SubmitRequest { by: Caller::new(user, Vec::new()), ..wish(job, "") };
        self.queue.submit(wish).await.unwrap().execution.record.id
    }

    /// An execution of ada's that is final.
    async fn cancelled_one(&self) -> Record {
        self.job("greet").await;
        let id = self.submit("greet", "ada").await;
        self.queue.cancel(id, ada()).await.unwrap();
        self.queue.get(id).await.unwrap().record
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_has_what_was_asked_for_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    for job in ["greet", "other"] {
        world.job(job).await;
    }
    let mut all = Vec::new();
    for number in 0..24 {
        let (job, user) =
            (["greet", "other"][number % 2], ["ada", "bob/ada", "ada/bob"][number % 3]);
        let id = world.submit(job, user).await;
        if number % 4 < 2 {
            world.queue.cancel(id, Caller::new(user, Vec::new())).await.unwrap();
        }
        all.push(world.queue.get(id).await.unwrap());
    }
    all.reverse();
    let job = |job: &str| Some(job.parse().unwrap());
    let user = |user: &str| Some(user.to_owned());
    let none = Wanted::default;
    let middle = all[12].record.id;
    let span = |before, from| rules::Span { before, from };
    let text = middle.to_string();
    let wishes = [
        none(),
        Wanted { job: job("greet"), ..none() },
        Wanted { job: job("nothing"), ..none() },
        Wanted { user: user("ada"), ..none() },
        Wanted { user: user("ada/bob"), job: job("other"), ..none() },
        Wanted { states: vec![Step::Pending], ..none() },
        Wanted { states: vec![Step::Ended(Outcome::Cancelled)], user: user("bob/ada"), ..none() },
        Wanted { states: vec![Step::Running, Step::Ended(Outcome::Lost)], ..none() },
        Wanted { executor: Some("here".parse().unwrap()), ..none() },
        Wanted { span: span(Some(middle), None), ..none() },
        Wanted { span: span(None, Some(middle)), job: job("greet"), ..none() },
        Wanted { span: span(Some(all[3].record.id), Some(middle)), user: user("ada"), ..none() },
        Wanted { span: span(Some(middle), Some(middle)), ..none() },
        Wanted { part: Some(text[20..].to_owned()), ..none() },
        Wanted { part: Some(text.clone()), ..none() },
        Wanted { part: Some("vvvvvv".to_owned()), ..none() },
    ];
    for wanted in wishes {
        let right = all.iter().filter(|shown| {
            let (id, record) = (shown.record.id, &shown.record);
            let text = id.to_string();
            wanted.takes(record)
                && wanted.span.before.is_none_or(|before| id < before)
                && wanted.span.from.is_none_or(|from| id >= from)
                && wanted.part.as_ref().is_none_or(|part| {
                    text.starts_with(part.as_str()) || text.ends_with(part.as_str())
                })
        });
        let right: Vec<_> = right.map(|shown| shown.record.id).collect();
        for page_size in [1, 3, 100] {
            let (found, _) = listed(&world.queue, &wanted, page_size).await;
            assert_eq!(ids(&found), right, "{wanted:?} by {page_size}");
            assert!(found.iter().all(|shown| all.iter().any(|known| known.record == shown.record)));
        }
    }
    // All of a moment begin alike: those are the first, and each comes once over the pages.
    let beginning = Wanted { part: Some(text[..6].to_owned()), ..none() };
    for page_size in [1, 5, 100] {
        let (found, _) = listed(&world.queue, &beginning, page_size).await;
        let alike = all.iter().filter(|shown| shown.record.id.to_string().starts_with(&text[..6]));
        assert_eq!(ids(&found), alike.map(|shown| shown.record.id).collect::<Vec<_>>());
    }
    world.system.stop().await;
}

/// Whatever ends while pages are read: each execution that was there before is in the list once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_has_no_holes_and_no_repeats_while_executions_end() {
    const MANY: usize = 150;
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    world.job("greet").await;
    let mut known = Vec::new();
    for _ in 0..MANY {
        known.push(world.submit("greet", "ada").await);
    }
    // How many lists saw live and final ones.
    let mixed = Arc::new(AtomicUsize::new(0));
    let ending = {
        let (queue, mut known, mixed) = (world.queue.clone(), known.clone(), mixed.clone());
        tokio::spawn(async move {
            while !known.is_empty() {
                // Some of them live until there were enough lists.
                while known.len() < MANY / 3 && mixed.load(Relaxed) <= 2 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                let id = known.swap_remove(rand::random_range(0..known.len()));
                queue.cancel(id, ada()).await.unwrap();
                if known.len() % 3 == 0 {
                    queue.submit(wish("greet", "")).await.unwrap();
                }
            }
        })
    };
    let wishes = [
        Wanted::default(),
        Wanted { job: Some("greet".parse().unwrap()), ..Wanted::default() },
        Wanted { user: Some("ada".to_owned()), ..Wanted::default() },
    ];
    let mut rounds = 0;
    let until = Instant::now() + 4 * SOON;
    while !ending.is_finished() {
        assert!(Instant::now() < until, "{mixed:?} of {rounds} lists saw live and final ones");
        let wanted = &wishes[rounds % wishes.len()];
        let (found, _) = listed(&world.queue, wanted, rand::random_range(1..40)).await;
        let found_ids = ids(&found);
        let distinct: BTreeSet<_> = found_ids.iter().copied().collect();
        assert_eq!(distinct.len(), found_ids.len(), "a repeat in {wanted:?}");
        assert!(found_ids.is_sorted_by(|newer, older| newer > older));
        let missing: Vec<_> = known.iter().filter(|id| !distinct.contains(id)).collect();
        assert!(missing.is_empty(), "{missing:?} are missing in {wanted:?}");
        let over = found.iter().filter(|shown| shown.record.attempt.outcome().is_some()).count();
        mixed.fetch_add(usize::from(over > 0 && over < found.len()), Relaxed);
        rounds += 1;
    }
    ending.await.unwrap();
    world.system.stop().await;
}

/// A call is bounded by what it looks at, not only by what it finds; the token says that there is more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_looks_at_so_many_and_says_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    world.job("greet").await;
    let oldest = world.submit("greet", "bob").await;
    let wishes = (0..LOOKED_AT + 500).map(|_| world.submit("greet", "ada"));
    stream::iter(wishes).buffer_unordered(256).collect::<Vec<_>>().await;
    let wanted = Wanted { user: Some("bob".to_owned()), ..Wanted::default() };
    let began = Instant::now();
    let page = world
        .queue
        .list(ListRequest { page_size: 10, wanted: wanted.clone(), ..Default::default() })
        .await
        .unwrap();
    let took = began.elapsed();
    assert_eq!((page.executions.len(), page.looked_at), (0, LOOKED_AT));
    assert!(!page.next_page_token.is_empty());
    assert!(took < SOON, "{took:?}");
    let (found, pages) = listed(&world.queue, &wanted, 10).await;
    assert_eq!((ids(&found), pages), (vec![oldest], 2));
    world.system.stop().await;
}

/// An index says where it ends: what is looked at does not grow with history.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ending_is_found_at_once_however_much_history_there_is() {
    const MANY: u8 = 250;
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    let record = world.cancelled_one().await;
    let first = record.id;
    let writer = world.store.enlist("test").await.unwrap();
    // The same ending of 12 characters: the last 58 bits are alike.
    let alike: Vec<_> = (0..MANY)
        .map(|number| {
            let mut bytes = *first.as_bytes();
            bytes[5] = bytes[5].wrapping_add(number % 3 + 1);
            bytes[7] = number;
            ExecutionId::from_bytes(bytes)
        })
        .collect();
    for ids in alike.chunks(50) {
        let writes = ids.iter().flat_map(|id| {
            let old = Record { id: *id, ..record.clone() };
            let stored = serde_json::to_vec(&old).unwrap();
            let entries = [(keys::done(*id), stored.into()), (keys::by_ending(*id), Bytes::new())];
            entries.map(|(key, value)| crate::store::Write::Put(key, value))
        });
        assert_eq!(writer.commit(writes.collect()).await, Commit::Done);
    }
    let all: BTreeSet<_> = alike.iter().copied().chain([first]).collect();
    // The next life knows that there are ids beyond those that it gave out.
    world.system.stop().await;
    let world = World::start(folder.path()).await;
    let by = |ending: &str| Wanted { part: Some(ending.to_owned()), ..Wanted::default() };
    let text = first.to_string();
    let request =
        |part: &str| ListRequest { page_size: 10, wanted: by(part), ..Default::default() };
    let found = world.queue.list(request(&text[6..])).await.unwrap();
    assert_eq!((ids(&found.executions), found.looked_at), (vec![first], 1));
    assert_eq!(found.next_page_token, "");
    for page_size in [7, 1_000] {
        let (found, _) = listed(&world.queue, &by(&text[14..]), page_size).await;
        assert_eq!(ids(&found), all.iter().rev().copied().collect::<Vec<_>>());
    }
    let none = Wanted { user: Some("bob".to_owned()), ..by(&text[14..]) };
    assert_eq!(ids(&listed(&world.queue, &none, 7).await.0), []);
    world.system.stop().await;
}

/// It is read in stretches that reach further and further back, so that its newest page costs no more with the years.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_of_years_is_listed_whole_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    let record = world.cancelled_one().await;
    let first = record.id;
    let writer = world.store.enlist("test").await.unwrap();
    // From a second to some thirty years, the gaps each twice as long; and the oldest that there can be.
    let ages = (10..40).map(|doublings| 1_u64 << doublings);
    let mut old: Vec<_> =
        ages.map(|age| ExecutionId::first_at(first.made_at().saturating_sub(age))).collect();
    old.push(ExecutionId::first_at(0));
    let writes = old.iter().flat_map(|id| {
        let stored = serde_json::to_vec(&Record { id: *id, ..record.clone() }).unwrap();
        let by_user = (keys::by_user("ada", *id), Bytes::new());
        [(keys::done(*id), stored.into()), by_user]
            .map(|(key, value)| crate::store::Write::Put(key, value))
    });
    assert_eq!(writer.commit(writes.collect()).await, Commit::Done);
    let all: Vec<_> = [first].into_iter().chain(old).collect();
    let ada = Wanted { user: Some("ada".to_owned()), ..Wanted::default() };
    for wanted in [Wanted::default(), ada] {
        for page_size in [1, 7, 1_000] {
            let (found, _) = listed(&world.queue, &wanted, page_size).await;
            assert_eq!(ids(&found), all, "{page_size} at a time");
        }
    }
    let (from, before) = (all[20], all[4]);
    let span = Wanted {
        span: rules::Span { before: Some(before), from: Some(from) },
        ..Wanted::default()
    };
    assert_eq!(ids(&listed(&world.queue, &span, 3).await.0), all[5..=20]);
    world.system.stop().await;
}
