//! The binary `controller`, started and ended as people do it.

#![allow(clippy::unwrap_used)] // clippy knows the functions that are tests, not their helpers

use octavius_controller::store::{
    Commit, Lead, Patience, StoreHandle, Write, embedded::EmbeddedOpener, keys,
};
use octavius_service::actor::ActorSystem;
use octavius_testbed::{
    etcd::{Etcd, EtcdOptions},
    proxy::{Proxy, Way},
};
use std::{path::Path, process::Stdio, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, Command},
};

const SOON: Duration = Duration::from_secs(30);

fn controller(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_controller"));
    command.args(arguments).current_dir(folder).env_clear();
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// The exit status, and what was said on standard output and standard error.
async fn ended(child: Child) -> (i32, String, String) {
    let output = tokio::time::timeout(SOON, child.wait_with_output()).await;
    let output = output.expect("it did not end").unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().expect("an exit status"), text(output.stdout), text(output.stderr))
}

async fn run(command: &mut Command) -> (i32, String, String) {
    ended(command.spawn().unwrap()).await
}

fn folder_with(configuration: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("controller_config.json"), configuration).unwrap();
    folder
}

const SAMPLE: &str = include_str!("../../controller_config.json");
const FREE: &str = r#"{"app_port": 0, "metrics_address": "127.0.0.1:0", "log_file_path": "c.log"}"#;

#[tokio::test]
async fn the_old_file_is_right_on_both_stores() {
    let folder = folder_with(SAMPLE);
    let check = || controller(folder.path(), &["start", "--check-config"]);
    let (code, _, err) = run(&mut check()).await;
    assert_eq!((code, err.as_str()), (0, "the configuration is right\n"));
    let (code, _, err) = run(check().env("OCTAVIUS_CONTROLLER_STORE", "embedded")).await;
    assert_eq!((code, err.as_str()), (0, "the configuration is right\n"));
    assert!(!folder.path().join("octavius-data").exists(), "a check made something");
}

#[tokio::test]
async fn help_shows_an_example_of_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let (code, help, _) = run(&mut controller(folder.path(), &["--help"])).await;
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let commands = commands.lines().take_while(|line| !line.is_empty());
    let commands = commands.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let commands: Vec<&str> = commands.filter(|name| !["", "help"].contains(name)).collect();
    assert_eq!(
        (code, &commands[..]),
        (0, &["start", "init", "config", "backup", "restore", "rotate-key"][..]),
        "{help}"
    );
    for command in commands {
        let (code, help, _) = run(&mut controller(folder.path(), &[command, "--help"])).await;
        assert_eq!(code, 0, "{help}");
        let (_, example) = help.split_once("\nExample").unwrap_or_else(|| panic!("{help}"));
        assert!(example.contains(&format!("controller {command}")), "{help}");
        assert!(example.contains("\nExit status: 0 "), "{help}");
    }
}

#[tokio::test]
async fn a_wrong_configuration_ends_with_2_and_all_its_faults() {
    let folder = folder_with(r#"{"app_prot": 3000, "executor_lost_after": "1s"}"#);
    let (code, out, err) = run(&mut controller(folder.path(), &["start"])).await;
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("did you mean `app_port`?"), "{err}");
    assert!(err.contains("`executor_lost_after` is `1s`"), "{err}");
    let (code, _, err) = run(&mut controller(folder.path(), &["start", "--config", "none"])).await;
    assert_eq!(code, 2);
    assert!(err.contains("none: there is no such file"), "{err}");
    assert_eq!(run(&mut controller(folder.path(), &["begin"])).await.0, 2);
}

#[tokio::test]
async fn it_says_where_it_serves_and_ends_in_order_when_told() {
    let folder = folder_with(FREE);
    let mut child = controller(folder.path(), &["start"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let first = tokio::time::timeout(SOON, lines.next_line()).await.unwrap().unwrap().unwrap();
    assert!(first.starts_with("the controller serves at 127.0.0.1:"), "{first}");
    assert!(first.contains("only this machine reaches it"), "{first}");
    assert!(first.contains("OCTAVIUS_CONTROLLER_LISTEN_ADDRESS"), "{first}");

    let mut second = controller(folder.path(), &["start"]);
    let (code, _, err) = run(&mut second).await;
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("in use by another controller"), "{err}");

    let id = child.id().unwrap().to_string();
    let killed = std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap();
    assert!(killed.success());
    let status = tokio::time::timeout(SOON, child.wait()).await.expect("it did not end").unwrap();
    assert_eq!(status.code(), Some(0));
    let mut rest = String::new();
    lines.into_inner().read_to_string(&mut rest).await.unwrap();
    assert!(!rest.contains("cut off"), "{rest}");
    let log = std::fs::read_to_string(folder.path().join("c.log")).unwrap();
    let steps = [
        "takes no more calls",
        "all calls are answered",
        "all logs are durable",
        "the actors have ended",
        "the controller has ended",
    ];
    let found: Vec<_> = steps.map(|step| log.find(step)).into_iter().collect();
    assert!(found.iter().all(Option::is_some) && found.is_sorted(), "{found:?} in {log}");
}

#[tokio::test]
async fn config_shows_what_is_in_force_and_starts_nothing() {
    let folder = folder_with(SAMPLE);
    let mut command = controller(folder.path(), &["config"]);
    let (code, out, err) = run(command.env("OCTAVIUS_CONTROLLER_APP_PORT", "4000")).await;
    assert_eq!((code, err.as_str()), (0, ""));
    let row = |key: &str| {
        let line = out.lines().find(|line| line.split(' ').next() == Some(key)).unwrap();
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).skip(1).collect::<Vec<_>>()
    };
    assert_eq!(row("app_port"), ["4000", "OCTAVIUS_CONTROLLER_APP_PORT"]);
    assert_eq!(row("etcd_host"), ["localhost", "controller_config.json"]);
    assert_eq!(row("listen_address"), ["127.0.0.1", "default"]);
    assert_eq!(row("store"), ["etcd", "derived from the `etcd_` keys that are given"]);

    let mut command = controller(folder.path(), &["config", "-o", "json"]);
    let (code, out, err) = run(command.env("OCTAVIUS_CONTROLLER_STORE", "embedded")).await;
    assert_eq!((code, err.as_str()), (0, ""));
    let read: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        read["keys"]["app_port"],
        serde_json::json!({"value": 3000, "from": "controller_config.json"})
    );
    assert_eq!(read["keys"]["store"]["from"], "OCTAVIUS_CONTROLLER_STORE");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "something was made");
}

#[tokio::test]
async fn a_configuration_in_yaml_is_found_and_two_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("controller_config.yaml"), "app_prot: 4000\n").unwrap();
    for arguments in [&["config"][..], &["start"], &["start", "--check-config"]] {
        let (code, _, err) = run(&mut controller(folder.path(), arguments)).await;
        assert_eq!(code, 2);
        let wanted =
            "controller_config.yaml: `app_prot` is not a known key: did you mean `app_port`?";
        assert!(err.contains(wanted), "{err}");
    }
    let yaml = "# ours\napp_port: 4000\ndata_dir: state\n";
    std::fs::write(folder.path().join("controller_config.yaml"), yaml).unwrap();
    let (code, _, err) = run(&mut controller(folder.path(), &["start", "--check-config"])).await;
    assert_eq!((code, err.as_str()), (0, "the configuration is right\n"));
    std::fs::write(folder.path().join("controller_config.json"), "{}").unwrap();
    let (code, _, err) = run(&mut controller(folder.path(), &["config"])).await;
    assert_eq!(code, 2);
    assert!(
        err.contains("controller_config.json") && err.contains("controller_config.yaml"),
        "{err}"
    );
    let named = ["config", "--config", "controller_config.yaml", "-o", "json"];
    let (code, out, _) = run(&mut controller(folder.path(), &named)).await;
    assert!(code == 0 && out.contains("\"value\": 4000"), "{out}");
}

/// Enough that a restore takes a while.
async fn filled(folder: &Path) {
    let mut system = ActorSystem::start("test").unwrap();
    let opener = Arc::new(EmbeddedOpener::new(folder));
    let store = StoreHandle::start(&mut system, opener, Lead::sole(), Patience::default());
    let store = store.await.unwrap();
    store.handle().up(SOON).await.unwrap();
    let writer = store.enlist("test").await.unwrap();
    for batch in 0..400 {
        let key = |each| format!("{}{batch:03}-{each:03}", keys::JOBS_GONE);
        let write = |each| Write::Put(key(each), vec![b'x'; 200].into());
        assert_eq!(writer.commit((0..100).map(write).collect()).await, Commit::Done);
    }
    system.stop().await;
}

#[tokio::test]
async fn a_restore_that_was_killed_is_known_as_such_and_begun_anew() {
    let etcd = Etcd::start(EtcdOptions::default()).await;
    let folder = folder_with(FREE);
    let mut child = controller(folder.path(), &["start"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    tokio::time::timeout(SOON, lines.next_line()).await.unwrap().unwrap();
    child.kill().await.unwrap();
    filled(&folder.path().join("octavius-data")).await;
    let (code, out, err) = run(&mut controller(folder.path(), &["backup", "b"])).await;
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("4000") && out.contains("`master.key` is not in it"), "{out}");

    let endpoints = etcd.endpoints().join(",");
    let far = |arguments: &[&str]| {
        let mut command = controller(folder.path(), arguments);
        command.env("OCTAVIUS_CONTROLLER_ETCD_ENDPOINTS", &endpoints);
        command
    };
    // So far away that it takes a minute: it is killed in the middle, whenever that is seen.
    let way = Proxy::to(etcd.endpoints()[0].trim_start_matches("http://")).await;
    way.set(Way::Open(Duration::from_millis(100)));
    let through = format!("http://{}", way.address);
    let mut slow = far(&["restore", "b"]);
    let mut child = slow.env("OCTAVIUS_CONTROLLER_ETCD_ENDPOINTS", through).spawn().unwrap();
    let restoring = async || {
        let schema = etcd.get("octavius/v1/schema").await.unwrap_or_default();
        schema.starts_with(b"restoring ")
    };
    let begun = async { while !restoring().await {} };
    tokio::time::timeout(SOON, begun).await.expect("it has not begun");
    child.kill().await.unwrap();
    drop(way);
    assert!(restoring().await, "it was over before it was killed");

    for command in [&["start"][..], &["backup", "other"]] {
        let (code, _, err) = run(&mut far(command)).await;
        assert_eq!(code, 2, "{command:?}: {err}");
        assert!(err.contains("a restore which has not ended"), "{command:?}: {err}");
    }
    let (code, out, err) = run(&mut far(&["restore", "b"])).await;
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("an unfinished restore had left was removed first"), "{out}");
    assert!(out.contains("the master key fits"), "{out}");
    assert_eq!(etcd.keys("octavius/v1/job-gone/").await.len(), 40_000);
    assert_eq!(etcd.get("octavius/v1/schema").await.unwrap(), b"1");
    let (code, _, err) = run(&mut far(&["restore", "b"])).await;
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("is not empty"), "{err}");
}
