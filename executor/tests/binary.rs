//! The binary: what it prints, and how it ends.

#![allow(clippy::unwrap_used)]

mod script;

use script::Controller;
use std::{
    path::Path,
    process::{Output, Stdio},
};
use tempfile::TempDir;
use tokio::process::Command;

struct Place {
    folder: TempDir,
}

impl Place {
    fn new(address: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = serde_json::json!({
            "cp_host": address, "id": "tester", "runner": "process",
        });
        std::fs::write(folder.path().join("executor_config.json"), text.to_string()).unwrap();
        Self { folder }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_executor"));
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        command.env("RUST_BACKTRACE", "0").kill_on_drop(true);
        command
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output();
        tokio::time::timeout(script::PATIENCE, output).await.expect("it never ended").unwrap()
    }
}

#[track_caller]
fn ended(output: &Output, code: i32, text: &str) {
    let all = [&*output.stdout, &*output.stderr].concat();
    let all = String::from_utf8(all).unwrap();
    assert_eq!(output.status.code(), Some(code), "{all}");
    assert!(all.contains(text), "`{text}` is not in: {all}");
}

#[tokio::test]
async fn register_says_what_the_controller_answered() {
    let controller = Controller::start().await;
    let place = Place::new(&controller.address.to_string());
    let output = place.run(&["register"]).await;
    ended(&output, 0, "Executor tester is registered with the controller at 127.0.0.1");
    let asked = controller.with(|state| state.registrations[0].clone()).await;
    assert_eq!((&*asked.executor, &*asked.runner, asked.protocol_level), ("tester", "process", 1));

    controller.with(|state| state.installation = uuid::Uuid::new_v4().to_string()).await;
    let output = place.run(&["register"]).await;
    ended(&output, 3, "this executor belongs to the installation");

    let refusal = "executor `tester` is at another place";
    controller.with(|state| state.faults.refuse_registration = Some(refusal.to_owned())).await;
    ended(&place.run(&["register"]).await, 3, refusal);
    let asked = controller.with(|state| state.authorization.clone()).await;
    assert_eq!(asked, None, "there is no token in the file");
}

#[tokio::test]
async fn register_without_a_controller_is_unanswered() {
    // Nobody listens there, nor takes the port meanwhile.
    let taken = tokio::net::TcpSocket::new_v4().unwrap();
    taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    ended(&Place::new(&address).run(&["register"]).await, 4, "the executor is not registered");
}

#[tokio::test]
async fn wrong_usage_is_told_with_its_remedy() {
    let place = Place::new("localhost:1");
    ended(&place.run(&[]).await, 2, "Usage: executor");
    ended(
        &place.run(&["start", "--config", "none.json"]).await,
        2,
        "none.json: there is no such file",
    );
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../executor_config.json");
    let sample = sample.to_str().unwrap();
    let output = place.command(&["start", "--config", sample]);
    let mut output = output;
    output.env("OCTAVIUS_EXECUTOR_LOG_FILE_PATH", "").env("KUBECONFIG", "/nowhere/kubeconfig");
    let output = output.output().await.unwrap();
    ended(&output, 2, "the kubeconfig file cannot be used");
    ended(&output, 2, "`KUBECONFIG` names it");
    // Who only looks asks no cluster.
    for looks in [&["start", "--check-config"][..], &["config"], &["config", "-o", "json"]] {
        ended(&place.run(&[looks, &["--config", sample]].concat()).await, 0, "random-ID");
    }
    for looks in [&["start", "--check-config"][..], &["config"]] {
        let mut command = place.command(&[looks, &["--config", sample]].concat());
        command.env("OCTAVIUS_EXECUTOR_RUNNER", "process");
        ended(&command.output().await.unwrap(), 0, "random-ID");
    }
}

#[tokio::test]
async fn help_shows_an_example_of_every_command() {
    let place = Place::new("localhost:1");
    let help = String::from_utf8(place.run(&["--help"]).await.stdout).unwrap();
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let commands = commands.lines().take_while(|line| !line.is_empty());
    let commands = commands.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let commands: Vec<&str> = commands.filter(|name| !["", "help"].contains(name)).collect();
    assert_eq!(commands, ["start", "register", "config"], "{help}");
    for command in commands {
        let output = place.run(&[command, "--help"]).await;
        ended(&output, 0, "\nExit status: 0 ");
        let help = String::from_utf8(output.stdout).unwrap();
        let (_, example) = help.split_once("\nExample").unwrap_or_else(|| panic!("{help}"));
        assert!(example.contains(&format!("executor {command}")), "{help}");
    }
}

#[tokio::test]
async fn a_place_is_for_one_executor_and_a_signal_ends_it() {
    let controller = Controller::start().await;
    let place = Place::new(&controller.address.to_string());
    let first =
        place.command(&["start"]).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    controller.until("registered", |state| !state.registrations.is_empty()).await;
    for second in ["start", "register"] {
        ended(&place.run(&[second]).await, 2, "where another executor runs: stop that one");
    }
    let id = rustix::process::Pid::from_raw(first.id().unwrap().try_into().unwrap()).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    let output = tokio::time::timeout(script::PATIENCE, first.wait_with_output()).await;
    ended(&output.expect("it never ended").unwrap(), 0, "ended");
}

#[tokio::test]
async fn config_shows_what_is_in_force_and_never_a_token() {
    let sample = include_str!("../../executor_config.json");
    assert!(sample.contains("something"), "the token");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("executor_config.json");
    std::fs::write(&path, sample).unwrap();
    let planted = "hunter2-planted";
    let run = async |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_executor"));
        command.args(arguments).current_dir(folder.path()).stdin(Stdio::null());
        let output = command.envs(variables.iter().copied()).kill_on_drop(true).output();
        let output = tokio::time::timeout(script::PATIENCE, output).await.unwrap().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        for secret in [planted, "something"] {
            assert!(!out.contains(secret) && !err.contains(secret), "{arguments:?}: {out}{err}");
        }
        (output.status.code().unwrap(), out, err)
    };
    let labels = ("OCTAVIUS_EXECUTOR_LABELS", r#"{"zone": "eu", "gpu": "2"}"#);
    let process = ("OCTAVIUS_EXECUTOR_RUNNER", "process");
    let (code, out, err) = run(&["config"], &[labels, process]).await;
    assert_eq!(code, 0, "{err}");
    for (key, value, from) in [
        ("access_token", "(hidden)", "executor_config.json"),
        ("labels", "gpu=2, zone=eu", "OCTAVIUS_EXECUTOR_LABELS"),
        ("job_pod_annotations", "key.one=true", "executor_config.json"),
        ("conn_time_out", "10s", "executor_config.json"),
        ("state_dir", "octavius-executor", "default"),
    ] {
        let shows =
            |line: &str| line.starts_with(key) && line.contains(value) && line.ends_with(from);
        assert!(out.lines().any(shows), "no {key} {value} {from} in {out}");
    }
    assert!(out.contains("derived from the cores of this machine"), "{out}");
    assert!(err.contains("`log_process_wait_time` has no effect"), "{err}");

    let token = ("OCTAVIUS_EXECUTOR_ACCESS_TOKEN", planted);
    let (code, out, err) = run(&["config", "-o", "json"], &[token, labels, process]).await;
    assert_eq!((code, err.as_str()), (0, ""));
    let read: serde_json::Value = serde_json::from_str(&out).unwrap();
    let keys = &read["keys"];
    assert_eq!(keys["access_token"]["from"], "OCTAVIUS_EXECUTOR_ACCESS_TOKEN");
    assert_eq!(keys["labels"]["value"], serde_json::json!({"zone": "eu", "gpu": "2"}));
    assert_eq!(keys["job_pod_annotations"]["value"], serde_json::json!({"key.one": "true"}));
    let made = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(made, 1, "something was made");

    let mistyped = ("OCTAVIUS_EXECUTOR_ACCESS_TOKE", planted);
    for form in [&["config"][..], &["config", "-o", "json"], &["start", "--check-config"]] {
        let (code, out, err) = run(form, &[mistyped]).await;
        assert_eq!(code, 2);
        assert!(format!("{out}{err}").contains("OCTAVIUS_EXECUTOR_ACCESS_TOKEN"), "{out}{err}");
    }
    std::fs::remove_file(path).unwrap();
    let yaml = format!("id: e\naccess_token: {planted}\nlabels:\n  zone: eu\ncapacity: many\n");
    std::fs::write(folder.path().join("executor_config.yml"), yaml).unwrap();
    for command in [&["config"][..], &["config", "-o", "json"], &["start"], &["register"]] {
        let (code, out, err) = run(command, &[token]).await;
        assert_eq!(code, 2);
        assert!(
            format!("{out}{err}").contains("executor_config.yml: `capacity` is `many`"),
            "{err}"
        );
    }
    std::fs::write(folder.path().join("executor_config.yml"), "id: e\ncapacty: 2\n").unwrap();
    for command in [&["config"][..], &["start", "--check-config"], &["start"], &["register"]] {
        let (code, out, err) = run(command, &[process]).await;
        assert_eq!(code, 2, "{command:?}: {out}{err}");
        let told = "executor_config.yml: `capacty` is not a known key: did you mean `capacity`?";
        assert!(format!("{out}{err}").contains(told), "{command:?}: {out}{err}");
    }
}
