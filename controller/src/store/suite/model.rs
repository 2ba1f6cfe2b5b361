//! A backend beside a sorted map: the same steps, the same answers.

use super::super::{
    Entry, Page, Range, Write,
    backend::{Backend, Compare, Opener, Outcome, Transaction},
    keys,
};
use bytes::Bytes;
use proptest::{
    collection::{btree_map, btree_set, vec},
    prelude::*,
    strategy::ValueTree,
    test_runner::TestRunner,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

const CASES: usize = 48;
const STEPS: usize = 24;

/// What is done to both.
#[derive(Clone, Debug)]
enum Step {
    /// Compares these keys, each as it is or as it is not, and makes these writes.
    Commit { compares: BTreeMap<String, bool>, writes: BTreeMap<String, Option<Vec<u8>>> },
    /// Reads a range to its end, in pages.
    Read { ends: BTreeSet<String>, limit: usize },
    /// Opens the backend anew.
    Reopen,
}

/// How often something happened that the steps are there for.
#[derive(Debug, Default)]
struct Happened {
    done: usize,
    failed: usize,
    pages: usize,
}

type Model = BTreeMap<String, Bytes>;

fn key() -> impl Strategy<Value = String> {
    let few = proptest::sample::select(vec!["a", "a\0", "b/", "b/1", "b/2", "é", "\u{10ffff}"]);
    prop_oneof![4 => few.prop_map(|key| format!("t/{key}")), 1 => "t/\\PC{0,4}"]
}

fn step() -> impl Strategy<Value = Step> {
    let value = proptest::option::weighted(0.7, vec(any::<u8>(), 0..40));
    let commit =
        (btree_map(key(), proptest::bool::weighted(0.85), 0..3), btree_map(key(), value, 0..6));
    let read = (btree_set(key(), 2), 1..3usize);
    prop_oneof![
        6 => commit.prop_map(|(compares, writes)| Step::Commit { compares, writes }),
        4 => read.prop_map(|(ends, limit)| Step::Read { ends, limit }),
        1 => Just(Step::Reopen),
    ]
}

/// Runs random steps; of those that fail it looks for the fewest, and panics with them.
pub(super) async fn check(fresh: &impl Fn() -> Arc<dyn Opener>) {
    let mut runner = TestRunner::deterministic();
    let strategy = vec(step(), 1..STEPS);
    let mut happened = Happened::default();
    for _ in 0..CASES {
        let mut tree = strategy.new_tree(&mut runner).unwrap();
        let Err(mut wrong) = run(fresh(), &tree.current(), &mut happened).await else { continue };
        let mut steps = tree.current();
        // Simpler while it fails, back a little where it does not.
        let mut simpler = tree.simplify();
        while simpler {
            match run(fresh(), &tree.current(), &mut happened).await {
                Err(still) => {
                    (wrong, steps) = (still, tree.current());
                    simpler = tree.simplify();
                }
                Ok(()) => simpler = tree.complicate(),
            }
        }
        assert!(wrong.is_empty(), "{wrong}, after {steps:#?}");
    }
    let enough = happened.done > CASES && happened.failed > CASES / 4 && happened.pages > CASES / 2;
    assert!(enough, "the steps did too little: {happened:?}");
}

async fn run(
    opener: Arc<dyn Opener>,
    steps: &[Step],
    happened: &mut Happened,
) -> Result<(), String> {
    let mut model = Model::new();
    let mut backend = opener.open().await.map_err(|error| error.to_string())?;
    for step in steps {
        match step {
            Step::Commit { compares, writes } => {
                commit(backend.as_ref(), &mut model, compares, writes, happened).await?;
            }
            Step::Read { ends, limit } => {
                let mut ends = ends.iter();
                let (Some(start), Some(end)) = (ends.next(), ends.next()) else { continue };
                read(backend.as_ref(), &model, (start, end), *limit, happened).await?;
            }
            Step::Reopen => {
                drop(backend);
                backend = opener.open().await.map_err(|error| error.to_string())?;
            }
        }
        let end = keys::prefix_end("t/");
        read(backend.as_ref(), &model, ("t/", &end), 1000, happened).await?;
    }
    Ok(())
}

async fn commit(
    backend: &dyn Backend,
    model: &mut Model,
    compares: &BTreeMap<String, bool>,
    writes: &BTreeMap<String, Option<Vec<u8>>>,
    happened: &mut Happened,
) -> Result<(), String> {
    let compare = |(key, right): (&String, &bool)| match (model.get(key), right) {
        (Some(value), true) => Compare::Holds(key.clone(), value.clone()),
        (None, false) => Compare::Holds(key.clone(), Bytes::new()),
        (None, true) | (Some(_), false) => Compare::Absent(key.clone()),
    };
    let compares: Vec<_> = compares.iter().map(compare).collect();
    let all_hold =
        compares.iter().all(|compare| compare.holds(model.get(compare.key()).map(Bytes::as_ref)));
    let writes: Vec<_> = writes
        .iter()
        .map(|(key, value)| match value {
            Some(value) => Write::Put(key.clone(), Bytes::from(value.clone())),
            None => Write::Delete(key.clone()),
        })
        .collect();
    let transaction =
        Transaction::new(compares, writes.clone()).map_err(|error| error.to_string())?;
    let outcome = backend.commit(transaction).await.map_err(|error| error.to_string())?;
    let wanted = if all_hold { Outcome::Done } else { Outcome::CompareFailed };
    if outcome != wanted {
        return Err(format!("a commit ended as {outcome:?}, not as {wanted:?}"));
    }
    if !all_hold {
        happened.failed += 1;
        return Ok(());
    }
    happened.done += 1;
    for write in writes {
        match write {
            Write::Put(key, value) => model.insert(key, value),
            Write::Delete(key) => model.remove(&key),
        };
    }
    Ok(())
}

async fn read(
    backend: &dyn Backend,
    model: &Model,
    (start, end): (&str, &str),
    limit: usize,
    happened: &mut Happened,
) -> Result<(), String> {
    let mut rest = Range { start: start.to_owned(), end: end.to_owned(), limit };
    loop {
        let page = backend.range(rest.clone()).await.map_err(|error| error.to_string())?;
        let mut wanted = model.range(rest.start.clone()..rest.end.clone());
        let entries = wanted.by_ref().take(limit);
        let entries =
            entries.map(|(key, value)| Entry { key: key.clone(), value: value.clone() }).collect();
        let wanted = Page { entries, more: wanted.next().is_some() };
        if page != wanted {
            return Err(format!("{rest:?} gave {page:?}, not {wanted:?}"));
        }
        match page.entries.last() {
            Some(last) if page.more => rest = rest.after(&last.key),
            Some(_) | None => return Ok(()),
        }
        happened.pages += 1;
    }
}
