//! A `data_dir` that is not what it should be: the controller says so by name, and touches nothing.

#![allow(clippy::unwrap_used, clippy::panic)] // a test, and its helpers

use redb::{Database, TableDefinition};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

const ENTRIES: TableDefinition<&str, &[u8]> = TableDefinition::new("entries");

/// All that is in a folder: bytes, and when they were written.
fn content(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    if folder.is_file() {
        let modified = fs::metadata(folder).unwrap().modified().unwrap();
        return BTreeMap::from([(folder.to_owned(), (fs::read(folder).unwrap(), modified))]);
    }
    let entries = fs::read_dir(folder).unwrap();
    entries.flat_map(|entry| content(&entry.unwrap().path())).collect()
}

/// What a controller says that does not start on what `make` made, and leaves as it was.
fn refusal(make: impl FnOnce(&Path)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    make(&data);
    let before = content(&data);
    assert!(!before.is_empty());
    let config = r#"{"app_port": 0, "metrics_address": "127.0.0.1:0", "store": "embedded", "data_dir": "data"}"#;
    fs::write(folder.path().join("controller_config.json"), config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_controller"));
    command.arg("start").current_dir(folder.path()).env("RUST_BACKTRACE", "0");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(content(&data) == before, "something was written: {said}");
    said
}

fn file(data: &Path, bytes: &[u8]) {
    fs::create_dir(data).unwrap();
    fs::write(data.join("octavius.redb"), bytes).unwrap();
}

fn store(data: &Path, schema: &[u8]) {
    fs::create_dir(data).unwrap();
    let database = Database::create(data.join("octavius.redb")).unwrap();
    let write = database.begin_write().unwrap();
    write.open_table(ENTRIES).unwrap().insert("v1/schema", schema).unwrap();
    write.commit().unwrap();
}

#[test]
fn a_file_that_is_no_store_is_refused_by_name_and_not_touched() {
    let noise: Vec<u8> =
        (0..200_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for bytes in [&b""[..], b"x", &noise] {
        let said = refusal(|data| file(data, bytes));
        assert!(said.contains("data/octavius.redb` is not a usable store of Octavius"), "{said}");
        assert!(said.contains("move it away to start empty, or put back a backup"), "{said}");
    }
}

#[test]
fn a_store_that_was_cut_is_refused_by_name_and_not_touched() {
    for part in [2, 10, 1000] {
        let said = refusal(|data| {
            store(data, b"1");
            let file = fs::File::options().write(true).open(data.join("octavius.redb")).unwrap();
            let whole = file.metadata().unwrap().len();
            file.set_len(whole - whole / part).unwrap();
        });
        assert!(said.contains("data/octavius.redb` is not a usable store"), "{said}");
    }
}

#[test]
fn a_data_folder_that_is_a_file_is_named_and_not_touched() {
    let said = refusal(|data| fs::write(data, "somebody's").unwrap());
    assert!(said.contains("`data`"), "{said}");
}

/// A store of a newer version; one that was killed while it had it open left `killed` behind.
fn newer(data: &Path, killed: bool) {
    store(data, b"2");
    if killed {
        let file = data.join("octavius.redb");
        let database = Database::open(&file).unwrap();
        let write = database.begin_write().unwrap();
        write.open_table(ENTRIES).unwrap().insert("v1/a", &b"1"[..]).unwrap();
        write.commit().unwrap();
        let left = fs::read(&file).unwrap();
        drop(database);
        fs::write(&file, left).unwrap();
    }
}

#[test]
fn a_store_of_a_newer_version_is_refused_by_name_and_not_touched() {
    for killed in [false, true] {
        let said = refusal(|data| newer(data, killed));
        assert!(said.contains("has schema version 2"), "{said}");
        assert!(said.contains("knows versions up to 1"), "{said}");
    }
}

#[test]
fn a_database_of_another_program_is_refused_by_name_and_not_touched() {
    let said = refusal(|data| {
        fs::create_dir(data).unwrap();
        let database = Database::create(data.join("octavius.redb")).unwrap();
        let write = database.begin_write().unwrap();
        let theirs = TableDefinition::<u64, u64>::new("theirs");
        write.open_table(theirs).unwrap().insert(1, 1).unwrap();
        write.commit().unwrap();
    });
    assert!(said.contains("data/octavius.redb` is not a usable store"), "{said}");
    assert!(said.contains("another program made it"), "{said}");
}
