use super::{super::suite, EmbeddedOpener};
use crate::store::{Backend, Compare, OpenError, Opener, Outcome, Range, Transaction, Write, keys};
use bytes::Bytes;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};
use tempfile::TempDir;

fn file(folder: &TempDir) -> PathBuf {
    folder.path().join("octavius.redb")
}

async fn open(folder: &Path) -> Result<Arc<dyn Backend>, OpenError> {
    EmbeddedOpener::new(folder).open().await
}

/// Why it is not opened; the file must be as it was.
async fn refusal(folder: &TempDir) -> OpenError {
    let before = fs::read(file(folder)).unwrap();
    let error = open(folder.path()).await.map(|_| ()).unwrap_err();
    assert!(fs::read(file(folder)).unwrap() == before, "the file was changed: {error}");
    error
}

async fn put(backend: &dyn Backend, key: &str, value: &str) {
    let write = Write::Put(key.to_owned(), Bytes::from(value.to_owned()));
    let outcome = backend.commit(Transaction::new(vec![], vec![write]).unwrap()).await;
    assert_eq!(outcome, Ok(Outcome::Done));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_passes_the_suite() {
    let parent = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    suite::passes(|| {
        count.set(count.get() + 1);
        Arc::new(EmbeddedOpener::new(parent.path().join(format!("{}", count.get()))))
    })
    .await;
}

#[tokio::test]
async fn a_new_store_is_for_its_owner_alone_and_has_its_schema_version() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("var/octavius");
    let backend = open(&folder).await.unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.join("octavius.redb")), 0o600);
    let schema = backend.range(Range::key(keys::SCHEMA)).await.unwrap();
    assert_eq!(schema.entries[0].value, Bytes::from("1"));
    let files = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name());
    let files: std::collections::BTreeSet<_> = files.collect();
    assert_eq!(files, ["octavius.redb", "octavius.schema"].map(Into::into).into());
}

#[tokio::test]
async fn a_store_that_was_killed_is_opened_with_its_mark_and_without() {
    let folder = tempfile::tempdir().unwrap();
    let _running = open(folder.path()).await.unwrap();
    for files in [&[STORE, MARK][..], &[STORE]] {
        let killed = killed(folder.path(), files);
        let counts = super::mark::counts_for(killed.path(), &file(&killed));
        assert_eq!(counts, files.len() == 2);
        let opened = open(killed.path()).await.unwrap();
        let schema = opened.range(Range::key(keys::SCHEMA)).await.unwrap();
        assert_eq!(schema.entries[0].value, Bytes::from("1"));
        assert!(super::mark::counts_for(killed.path(), &file(&killed)), "it is not marked");
    }
}

const STORE: &str = "octavius.redb";
const MARK: &str = "octavius.schema";

/// What is in a folder after its process was killed: the files as they are, never closed.
fn killed(folder: &Path, files: &[&str]) -> TempDir {
    let killed = tempfile::tempdir().unwrap();
    for name in files {
        fs::copy(folder.join(name), killed.path().join(name)).unwrap();
    }
    killed
}

/// A redb store of another program, in a folder of its own, that is open.
fn of_another_program() -> (TempDir, redb::Database) {
    let folder = tempfile::tempdir().unwrap();
    let other = redb::Database::create(file(&folder)).unwrap();
    let write = other.begin_write().unwrap();
    let table = redb::TableDefinition::<u64, u64>::new("theirs");
    write.open_table(table).unwrap().insert(1, 1).unwrap();
    write.commit().unwrap();
    (folder, other)
}

#[tokio::test]
async fn the_mark_of_one_store_does_not_count_for_another_which_is_left_alone() {
    let ours = tempfile::tempdir().unwrap();
    let _running = open(ours.path()).await.unwrap();
    let (theirs, _open) = of_another_program();
    let mark = fs::read_to_string(ours.path().join(MARK)).unwrap();
    // That of our own store, and those that name none.
    for mark in [mark.as_str(), "1", "1 ", ""] {
        let folder = killed(theirs.path(), &[STORE]);
        fs::write(folder.path().join(MARK), mark).unwrap();
        let error = refusal(&folder).await;
        assert!(error.to_string().contains("another program made it"), "`{mark}`: {error}");
    }
}

#[tokio::test]
async fn a_store_is_marked_with_its_id_again_and_one_without_an_id_is_not_marked() {
    let folder = tempfile::tempdir().unwrap();
    let mark = || fs::read_to_string(folder.path().join(MARK)).ok();
    let unmark = || fs::remove_file(folder.path().join(MARK)).unwrap();
    let running = open(folder.path()).await.unwrap();
    let id = running.range(Range::key(keys::STORE_ID)).await.unwrap().entries[0].value.clone();
    let named = String::from_utf8([b"1 ", &id[..]].concat()).unwrap();
    assert_eq!(mark().as_ref(), Some(&named));
    drop(running);
    unmark();
    let running = open(folder.path()).await.unwrap();
    assert_eq!(mark(), Some(named), "it is the same store");
    let gone = Write::Delete(keys::STORE_ID.to_owned());
    let deleted = running.commit(Transaction::new(vec![], vec![gone]).unwrap()).await;
    assert_eq!(deleted, Ok(Outcome::Done));
    drop(running);
    unmark();
    drop(open(folder.path()).await.unwrap());
    assert_eq!(mark(), None);
}

#[tokio::test]
async fn the_second_of_two_controllers_is_told_the_folder_and_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let _first = open(folder.path()).await.unwrap();
    let text = open(folder.path()).await.map(|_| ()).unwrap_err().to_string();
    assert!(text.contains(&folder.path().display().to_string()), "{text}");
    assert!(text.contains("in use by another controller: stop that one"), "{text}");
}

#[tokio::test]
async fn of_many_that_make_a_store_at_once_one_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let openings = (0..6).map(|_| open(folder.path()));
    let opened = futures::future::join_all(openings).await;
    assert_eq!(opened.iter().filter(|opened| opened.is_ok()).count(), 1);
    for refused in opened.into_iter().filter_map(|opened| opened.map(|_| ()).err()) {
        assert!(matches!(refused, OpenError::InUse { .. }), "{refused}");
    }
}

#[tokio::test]
async fn a_start_that_was_cut_off_while_it_made_the_file_is_made_good() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("octavius.redb.new"), vec![0; 100_000]).unwrap();
    let backend = open(folder.path()).await.unwrap();
    put(backend.as_ref(), "v1/a", "1").await;
}

#[tokio::test]
async fn a_kill_right_after_the_answer_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open(folder.path()).await.unwrap();
    for n in 0..20 {
        put(backend.as_ref(), &format!("v1/{n:02}"), "x").await;
        // What a kill at this moment leaves: the file as it is, never closed.
        let killed = tempfile::tempdir().unwrap();
        fs::copy(file(&folder), file(&killed)).unwrap();
        let after = open(killed.path()).await.unwrap();
        let found = after.range(Range::key(&format!("v1/{n:02}"))).await.unwrap();
        assert_eq!(found.entries.len(), 1, "write {n} was acknowledged and is lost");
    }
}

#[tokio::test]
async fn a_file_of_somebody_else_is_refused_by_name_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    for content in [&b"SQLite format 3\0 and so on"[..], b"", &[0; 9000]] {
        fs::write(file(&folder), content).unwrap();
        let error = refusal(&folder).await;
        assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(&file(&folder).display().to_string()), "{text}");
        assert!(text.contains("left as it is"), "{text}");
    }
}

#[tokio::test]
async fn a_store_that_is_gone_is_not_replaced_by_an_empty_one() {
    let folder = tempfile::tempdir().unwrap();
    let opener = EmbeddedOpener::new(folder.path());
    drop(opener.open().await.unwrap());
    fs::remove_file(file(&folder)).unwrap();
    let text = opener.open().await.map(|_| ()).unwrap_err().to_string();
    assert!(text.contains("its file was there and is gone: put it back"), "{text}");
    assert!(!file(&folder).exists());
}

#[tokio::test]
async fn a_redb_file_of_another_program_is_refused_by_name() {
    let (folder, other) = of_another_program();
    drop(other);
    let text = open(folder.path()).await.map(|_| ()).unwrap_err().to_string();
    assert!(text.contains("octavius.redb` is not a usable store of Octavius"), "{text}");
    assert!(text.contains("another program made it"), "{text}");
}

#[tokio::test]
async fn a_damaged_file_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open(folder.path()).await.unwrap();
    for n in 0..50 {
        put(backend.as_ref(), &format!("v1/{n}"), &"x".repeat(2000)).await;
    }
    drop(backend);
    drop(open(folder.path()).await.unwrap()); // waits until the first one is closed
    let lock = fs::File::open(file(&folder)).unwrap();
    lock.lock().unwrap(); // … and the second
    drop(lock);
    let whole = fs::read(file(&folder)).unwrap();
    for length in [10, 300, 5000, whole.len() / 2] {
        fs::write(file(&folder), &whole[..length]).unwrap();
        let error = open(folder.path()).await.map(|_| ()).unwrap_err();
        assert!(matches!(error, OpenError::Foreign { .. }), "cut to {length}: {error}");
    }
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_refused_and_both_versions_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open(folder.path()).await.unwrap();
    put(backend.as_ref(), keys::SCHEMA, "2").await;
    drop(backend);
    let text = open(folder.path()).await.map(|_| ()).unwrap_err().to_string();
    assert!(text.contains("has schema version 2") && text.contains("up to 1"), "{text}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let inside = folder.path().join("file/data");
    let text = open(&inside).await.map(|_| ()).unwrap_err().to_string();
    assert!(text.contains("file/data") && text.contains("could not be"), "{text}");
}

#[test]
fn limits_are_refused_with_the_number_in_the_text() {
    let put = |key: String, size| Write::Put(key, Bytes::from(vec![0; size]));
    let many = |count: usize| (0..count).map(|n| put(format!("k{n}"), 0)).collect::<Vec<_>>();
    let absent = || vec![Compare::Absent("k0".to_owned())];
    let text = |compares, writes| match Transaction::new(compares, writes) {
        Ok(_) => String::new(),
        Err(limit) => limit.to_string(),
    };
    assert_eq!(text(absent(), many(127)), "");
    assert!(text(absent(), many(128)).contains("129 compares and writes is over the limit of 128"));
    assert_eq!(text(vec![], vec![put("k".to_owned(), 1280 * 1024 - 1)]), "");
    let heavy = text(vec![], vec![put("k".to_owned(), 1280 * 1024)]);
    assert!(heavy.contains("1310721 bytes"), "{heavy}");
    let held = Compare::Holds("k".to_owned(), Bytes::from(vec![0; 1024 * 1024]));
    assert!(text(vec![held], vec![put("k".to_owned(), 600_000)]).contains("bytes"));
    let twice = vec![put("k".to_owned(), 1), Write::Delete("k".to_owned())];
    assert!(text(vec![], twice).contains("writes the key `k` twice"));
    assert!(text(vec![], vec![Write::Delete(String::new())]).contains("empty key"));
}
