//! What every backend must do. A backend is done when [`passes`] returns.
//!
//! Each check gets places of its own from `fresh`, and says in its panic what was wrong. Only test builds have it.

#![allow(clippy::unwrap_used)]

mod model;

use super::backend::{
    Backend, Compare, MOST_BYTES, MOST_OPERATIONS, OpenError, Opener, Outcome, Transaction,
};
use super::{Entry, Page, Range, Write};
use bytes::Bytes;
use futures::StreamExt;
use std::sync::Arc;

/// Panics unless the backends that `fresh` opens keep the contract. Each call of `fresh` makes a new, empty place; its
/// opener opens the same place again and again. Takes some seconds.
pub async fn passes(fresh: impl Fn() -> Arc<dyn Opener>) {
    it_agrees_with_the_model(&fresh).await;
    a_compare_that_fails_changes_nothing(fresh()).await;
    of_concurrent_increments_none_is_lost(fresh()).await;
    a_reader_sees_a_transaction_whole_or_not_at_all(fresh()).await;
    the_largest_transaction_is_taken(fresh()).await;
    large_values_come_back_in_pages(fresh()).await;
    keys_are_any_text_in_the_order_of_their_bytes(fresh()).await;
    odd_ranges_are_empty_or_one(fresh()).await;
    what_is_done_is_there_after_opening_again(fresh()).await;
    a_second_connection_is_refused_or_agrees(fresh()).await;
    a_snapshot_is_of_one_moment_whatever_is_written_meanwhile(fresh()).await;
}

/// Random transactions, ranges and reopenings give what a sorted map gives.
pub async fn it_agrees_with_the_model(fresh: &impl Fn() -> Arc<dyn Opener>) {
    model::check(fresh).await;
}

fn put(key: impl Into<String>, value: impl Into<Bytes>) -> Write {
    Write::Put(key.into(), value.into())
}

async fn commit(backend: &dyn Backend, compares: Vec<Compare>, writes: Vec<Write>) -> Outcome {
    backend.commit(Transaction::new(compares, writes).unwrap()).await.unwrap()
}

/// All of a store, a page of `limit` at a time.
async fn everything(backend: &dyn Backend, limit: usize) -> Vec<Entry> {
    let mut rest = Range { start: "\0".to_owned(), end: char::MAX.to_string().repeat(2), limit };
    let mut entries = Vec::new();
    loop {
        let page = backend.range(rest.clone()).await.unwrap();
        assert!(page.entries.len() <= limit.max(1), "a page of {limit} has more");
        assert!(!page.entries.is_empty() || !page.more, "an empty page says that there is more");
        entries.extend(page.entries);
        if !page.more {
            return entries;
        }
        rest = rest.after(&entries.last().unwrap().key);
    }
}

/// What a new place holds on its own, such as its schema version, is not the check's.
async fn written(backend: &dyn Backend, prefix: &str) -> Vec<Entry> {
    let all = everything(backend, 100).await;
    all.into_iter().filter(|entry| entry.key.starts_with(prefix)).collect()
}

/// Two keys are always written together, the first and the last of all; what lies between takes several parts.
async fn a_snapshot_is_of_one_moment_whatever_is_written_meanwhile(opener: Arc<dyn Opener>) {
    let backend = opener.open().await.unwrap();
    let pair = |number: u32| ["v1/!", "v1/~"].map(|key| put(key, number.to_string())).to_vec();
    for batch in 0..24 {
        let between =
            (0..100).map(|each| put(format!("v1/t/{batch:02}/{each:02}"), vec![b'x'; 400]));
        assert_eq!(commit(backend.as_ref(), vec![], between.collect()).await, Outcome::Done);
    }
    commit(backend.as_ref(), vec![], pair(0)).await;
    let mut moments = Vec::new();
    for number in 1..=5 {
        let mut snapshot = backend.snapshot().await.unwrap();
        let mut entries = snapshot.next().await.unwrap().unwrap();
        let first = entries.len();
        commit(backend.as_ref(), vec![], pair(number)).await;
        while let Some(part) = snapshot.next().await {
            entries.extend(part.unwrap());
        }
        assert!(first < entries.len(), "all came at once: nothing was written meanwhile");
        assert!(entries.is_sorted_by(|one, next| one.key < next.key));
        let between = entries.iter().filter(|entry| entry.key.starts_with("v1/t/")).count();
        assert_eq!(between, 2_400);
        let value =
            |key: &str| entries.iter().find(|entry| entry.key == key).unwrap().value.clone();
        assert_eq!(value("v1/!"), value("v1/~"), "two moments in one snapshot");
        moments.push(value("v1/!"));
    }
    assert_eq!(moments, ["0", "1", "2", "3", "4"]);
    // Who does not read it to its end holds nothing up.
    drop(backend.snapshot().await.unwrap());
    commit(backend.as_ref(), vec![], pair(9)).await;
}

async fn a_compare_that_fails_changes_nothing(opener: Arc<dyn Opener>) {
    let backend = opener.open().await.unwrap();
    let backend = backend.as_ref();
    assert_eq!(
        commit(backend, vec![], vec![put("t/a", "1"), put("t/b", "1")]).await,
        Outcome::Done
    );
    let before = everything(backend, 10).await;
    let fail = [
        vec![Compare::Absent("t/a".to_owned())],
        vec![Compare::Holds("t/a".to_owned(), Bytes::from("2"))],
        vec![Compare::Holds("t/a".to_owned(), Bytes::from("11"))],
        vec![Compare::Holds("t/a".to_owned(), Bytes::new())],
        vec![Compare::Holds("t/none".to_owned(), Bytes::new())],
        vec![Compare::Holds("t/a".to_owned(), Bytes::from("1")), Compare::Absent("t/b".to_owned())],
    ];
    for compares in fail {
        let writes = vec![put("t/a", "9"), Write::Delete("t/b".to_owned()), put("t/c", "9")];
        let outcome = commit(backend, compares.clone(), writes).await;
        assert_eq!(outcome, Outcome::CompareFailed, "{compares:?}");
        assert_eq!(everything(backend, 10).await, before, "{compares:?} changed something");
    }
    let hold = vec![
        Compare::Holds("t/a".to_owned(), Bytes::from("1")),
        Compare::Absent("t/none".to_owned()),
    ];
    assert_eq!(commit(backend, hold, vec![Write::Delete("t/a".to_owned())]).await, Outcome::Done);
    assert_eq!(written(backend, "t/").await.len(), 1);
}

async fn of_concurrent_increments_none_is_lost(opener: Arc<dyn Opener>) {
    let backend = opener.open().await.unwrap();
    let increments = (0..8).map(|_| {
        let backend = backend.clone();
        async move {
            let mut done = 0;
            while done < 5 {
                let found = backend.range(Range::key("t/counter")).await.unwrap();
                let found = found.entries.into_iter().next().map(|entry| entry.value);
                let number: u64 = found
                    .as_ref()
                    .map_or(0, |value| std::str::from_utf8(value).unwrap().parse().unwrap());
                let key = "t/counter".to_owned();
                let compare = match found {
                    None => Compare::Absent(key),
                    Some(value) => Compare::Holds(key, value),
                };
                let write = put("t/counter", (number + 1).to_string());
                if commit(backend.as_ref(), vec![compare], vec![write]).await == Outcome::Done {
                    done += 1;
                }
            }
        }
    });
    futures::future::join_all(increments).await;
    let counter = written(backend.as_ref(), "t/counter").await;
    assert_eq!(counter[0].value, Bytes::from("40"));
}

async fn a_reader_sees_a_transaction_whole_or_not_at_all(opener: Arc<dyn Opener>) {
    let backend = opener.open().await.unwrap();
    let written_by = backend.clone();
    let writer = async move {
        for round in 0..50 {
            let writes = (0..20).map(|key| put(format!("t/{key:02}"), format!("{round}")));
            let writes = writes.chain([put("t/end", "")]).collect();
            assert_eq!(commit(written_by.as_ref(), vec![], writes).await, Outcome::Done);
        }
    };
    let reader = async {
        loop {
            let page = backend.range(Range::prefix("t/", 20)).await.unwrap();
            let Some(first) = page.entries.first() else { continue };
            assert_eq!(page.entries.len(), 20, "half of a transaction");
            assert!(page.more, "the rest of a transaction is missing");
            let same = page.entries.iter().all(|entry| entry.value == first.value);
            assert!(same, "two transactions in one page: {page:?}");
            if first.value == "49" {
                return;
            }
        }
    };
    futures::join!(reader, writer);
}

async fn the_largest_transaction_is_taken(opener: Arc<dyn Opener>) {
    let backend = opener.open().await.unwrap();
    let backend = backend.as_ref();
    let compares: Vec<_> = (0..8).map(|n| Compare::Absent(format!("t/absent/{n}"))).collect();
    let writes = (0..MOST_OPERATIONS - 8).map(|n| put(format!("t/many/{n:03}"), "x")).collect();
    assert_eq!(commit(backend, compares, writes).await, Outcome::Done);
    assert_eq!(written(backend, "t/many/").await.len(), MOST_OPERATIONS - 8);
    let heavy = vec![7; MOST_BYTES - "t/heavy".len()];
    assert_eq!(commit(backend, vec![], vec![put("t/heavy", heavy.clone())]).await, Outcome::Done);
    assert_eq!(written(backend, "t/heavy").await[0].value, heavy);
}

async fn large_values_come_back_in_pages(opener: Arc<dyn Opener>) {
    let backend = opener.open().await.unwrap();
    let backend = backend.as_ref();
    let value = |n: usize| Bytes::from(vec![n as u8; 700_000 + n]);
    for n in 0..12 {
        let writes = vec![put(format!("t/{n:02}"), value(n))];
        assert_eq!(commit(backend, vec![], writes).await, Outcome::Done);
    }
    for limit in [1, 5, 1000] {
        let mut found = everything(backend, limit).await;
        found.retain(|entry| entry.key.starts_with("t/"));
        assert_eq!(found.len(), 12);
        for (n, entry) in found.iter().enumerate() {
            assert_eq!(entry.key, format!("t/{n:02}"));
            assert!(entry.value == value(n), "value {n} came back different");
        }
    }
}

async fn keys_are_any_text_in_the_order_of_their_bytes(opener: Arc<dyn Opener>) {
    let backend = opener.open().await.unwrap();
    let backend = backend.as_ref();
    let mut keys: Vec<_> = ["\0", "\n", " ", "/", "//", "A", "a", "a\0", "a\0b", "a/", "ab", "é"]
        .into_iter()
        .chain(["\u{7f}", "\u{80}", "ß", "語", "\u{ffff}", "𝄞", "e\u{301}", "\u{10ffff}"])
        .map(|key| format!("t/{key}"))
        .collect();
    keys.push(format!("t/{}", "long/".repeat(200)));
    let writes = keys.iter().map(|key| put(key.clone(), key.clone())).collect();
    assert_eq!(commit(backend, vec![], writes).await, Outcome::Done);
    keys.sort_unstable(); // text sorts by its bytes
    for limit in [1, 3, 100] {
        let mut found = everything(backend, limit).await;
        found.retain(|entry| entry.key.starts_with("t/"));
        let found: Vec<_> = found.into_iter().map(|entry| (entry.key, entry.value)).collect();
        let wanted: Vec<_> =
            keys.iter().map(|key| (key.clone(), Bytes::from(key.clone()))).collect();
        assert_eq!(found, wanted);
    }
    for key in &keys {
        let page = backend.range(Range::key(key)).await.unwrap();
        assert_eq!(page.entries.len(), 1, "{key:?}");
        assert!(!page.more, "{key:?}");
    }
}

async fn odd_ranges_are_empty_or_one(opener: Arc<dyn Opener>) {
    let backend = opener.open().await.unwrap();
    let backend = backend.as_ref();
    let writes = vec![put("t/a", "1"), put("t/b", "2"), put("u/a", "3")];
    assert_eq!(commit(backend, vec![], writes).await, Outcome::Done);
    let range = |start: &str, end: &str, limit| {
        backend.range(Range { start: start.to_owned(), end: end.to_owned(), limit })
    };
    for (start, end) in [("t/b", "t/a"), ("t/a", "t/a"), ("t/aa", "t/b"), ("x", "y")] {
        assert_eq!(range(start, end, 10).await.unwrap(), Page::default(), "{start}..{end}");
    }
    let keys = |page: Page| {
        let keys = page.entries.into_iter().map(|entry| entry.key);
        (keys.collect::<Vec<_>>(), page.more)
    };
    assert_eq!(keys(range("t/", "t0", 0).await.unwrap()), (vec!["t/a".to_owned()], true));
    assert_eq!(keys(range("t/", "t0", 1).await.unwrap()), (vec!["t/a".to_owned()], true));
    let both = vec!["t/a".to_owned(), "t/b".to_owned()];
    assert_eq!(keys(range("t/", "t0", 2).await.unwrap()), (both.clone(), false));
    assert_eq!(keys(range("t/a", "t/b\0", 9).await.unwrap()), (both, false));
}

async fn what_is_done_is_there_after_opening_again(opener: Arc<dyn Opener>) {
    for round in 0..5 {
        let backend = opener.open().await.unwrap();
        let found = written(backend.as_ref(), "t/").await;
        assert_eq!(found.len(), round, "after opening {round} times");
        let writes = vec![put(format!("t/{round}"), vec![round as u8; 10_000])];
        assert_eq!(commit(backend.as_ref(), vec![], writes).await, Outcome::Done);
    }
}

async fn a_second_connection_is_refused_or_agrees(opener: Arc<dyn Opener>) {
    let first = opener.open().await.unwrap();
    let second = opener.open().await;
    if opener.is_exclusive() {
        let refused = second.map(|_| ()).unwrap_err();
        assert!(matches!(refused, OpenError::InUse { .. }), "{refused}");
    } else {
        let second = second.unwrap();
        let absent = || vec![Compare::Absent("t/lock".to_owned())];
        let by = |who: &'static str| vec![put("t/lock", who)];
        assert_eq!(commit(first.as_ref(), absent(), by("first")).await, Outcome::Done);
        let late = commit(second.as_ref(), absent(), by("second")).await;
        assert_eq!(late, Outcome::CompareFailed);
        assert_eq!(written(second.as_ref(), "t/").await[0].value, Bytes::from("first"));
    }
    drop(first);
    opener.open().await.unwrap();
}
