//! What servers write of themselves: files that are set aside when they are full, of lines that machines read.

use crate::world::{PATIENCE, World};
use octavius_client::v1::ExecutionState;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};
use tokio::time::Instant;

/// How large a file may grow here.
const LARGEST: usize = 1 << 20;
/// How many are kept that are full.
const KEPT: usize = 5;

/// The file of a log that was set aside `age` files ago, compressed or still as it was.
fn aside(log: &Path, age: usize) -> Option<PathBuf> {
    let forms = ["", ".zst"].map(|ending| format!("{}.{age}{ending}", log.display()));
    forms.map(PathBuf::from).into_iter().find(|path| path.exists())
}

/// What a file holds, compressed or not; none where it is being set aside just now.
fn content(path: &Path) -> Option<String> {
    let bytes = fs::read(path).ok()?;
    let bytes = match path.extension().is_some_and(|ending| ending == "zst") {
        true => zstd::decode_all(&bytes[..]).ok()?,
        false => bytes,
    };
    String::from_utf8(bytes).ok()
}

/// The first line of a file that was set aside.
fn first_line(path: &Path) -> Option<String> {
    content(path)?.split_once('\n').map(|(first, _)| first.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_logs_of_both_servers_are_set_aside_when_they_are_full_and_each_line_is_an_object() {
    let mut world = World::traced();
    let logs = ["controller", "executor"].map(|name| world.path(&format!("{name}.log")));
    for (key, value) in [("log_format", json!("json")), ("log_file_max_size_in_mb", json!(1))] {
        world.configure_controller(key, value.clone());
        world.configure_executor(key, value);
    }
    world.start_all();
    world.ready().await;
    world.job("hello", "echo hello", &[]).await;

    // Until two have been the oldest that is kept, by what they begin with: the one before them is gone by then.
    let deadline = Instant::now() + PATIENCE;
    let mut oldest = [const { BTreeSet::new() }; 2];
    while oldest.iter().any(|seen| seen.len() < 2) {
        assert!(Instant::now() < deadline, "they do not grow: {oldest:?}");
        let run = (0..8).map(|_| async {
            let id = world.execute("hello", &[]).await;
            assert_eq!(world.over(&id).await.state(), ExecutionState::Succeeded);
        });
        futures::future::join_all(run).await;
        for (seen, log) in oldest.iter_mut().zip(&logs) {
            seen.extend(aside(log, KEPT).and_then(|path| first_line(&path)));
        }
    }
    assert_eq!(world.executor.end().await, Some(0));
    assert_eq!(world.controller.end().await, Some(0));

    for log in &logs {
        assert_eq!(aside(log, KEPT + 1), None);
        let aged = (1..=KEPT).rev().map(|age| aside(log, age).unwrap());
        let mut before = String::new();
        for file in aged.chain([log.clone()]) {
            let text = content(&file).unwrap();
            assert!(text.len() <= LARGEST, "{} has {} bytes", file.display(), text.len());
            assert!(file == *log || text.len() > LARGEST / 2, "{} is not full", file.display());
            let lines: Vec<Value> = text
                .lines()
                .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
                .collect();
            let word = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
            for line in &lines {
                assert!(line["fields"].is_object() && !word(line, "target").is_empty(), "{line}");
            }
            // The youngest of all: a thread may be held up between the time of its line and the file.
            let youngest = lines.iter().map(|line| word(line, "timestamp")).max().unwrap();
            assert!(before <= youngest, "{} is not younger than the one before", file.display());
            before = youngest;
        }
    }
}
