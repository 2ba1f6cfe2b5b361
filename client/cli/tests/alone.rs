//! What the command line does without a controller: files, usage, and nobody who answers.

#![allow(clippy::unwrap_used)] // clippy knows the functions that are tests, not their helpers

use serde_json::Value;
use std::{
    io::Write,
    net::TcpListener,
    path::PathBuf,
    process::{Command, Output, Stdio},
};
use tempfile::TempDir;

/// A user with a home and a working folder, and nothing else in the environment.
struct User {
    folder: TempDir,
}

impl User {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::create_dir(folder.path().join("project")).unwrap();
        Self { folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("home/.config/octavius/octavius_client.yaml")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_octavius"));
        command.args(words).env_clear().env("HOME", self.folder.path().join("home"));
        command.current_dir(self.folder.path().join("project")).stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Ran {
        Ran::new(self.command(words).output().unwrap())
    }

    fn run_with_input(&self, words: &[&str], input: &str) -> Ran {
        let mut command = self.command(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        Ran::new(child.wait_with_output().unwrap())
    }
}

#[derive(Debug)]
struct Ran {
    status: i32,
    out: String,
    err: String,
}

impl Ran {
    fn new(output: Output) -> Self {
        Self {
            status: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The one document on standard output.
    fn document(&self) -> Value {
        assert_eq!(self.err, "");
        serde_json::from_str(&self.out).unwrap()
    }
}

/// An address where nobody listens.
fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn config_writes_a_file_for_the_user_alone_and_never_shows_the_token() {
    use std::os::unix::fs::PermissionsExt;
    let user = User::new();
    let config = ["config", "--cp-host", "h:1", "--email-id", "ada@example.com"];
    let first = user.run(&[&config[..], &["--token", "t0p-1"]].concat());
    assert_eq!(first.status, 0, "{first:?}");
    let mode = std::fs::metadata(user.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let refused = user.run(&config);
    assert_eq!(refused.status, 2, "{refused:?}");
    assert!(refused.err.contains("--yes"), "{refused:?}");
    let text = std::fs::read_to_string(user.file()).unwrap();
    assert!(text.contains("t0p-1"), "a refused overwrite changed the file");
    let second =
        user.run_with_input(&[&config[..], &["--token-stdin", "--yes"]].concat(), "t0p-2\n");
    assert_eq!(second.status, 0, "{second:?}");
    let text = std::fs::read_to_string(user.file()).unwrap();
    assert!(text.contains("t0p-2") && !text.contains("t0p-1"), "{text}");
    for ran in [first, refused, second] {
        assert!(!format!("{ran:?}").contains("t0p"), "{ran:?}");
    }
}

#[test]
fn where_nobody_answers_the_status_is_4_and_the_address_is_named() {
    let user = User::new();
    let address = nobody();
    user.run(&["config", "--cp-host", &address]);
    let commands: [&[&str]; 6] = [
        &["list"],
        &["describe", "greet"],
        &["status", "00000000000000000000000000"],
        &["getlogs", "00000000000000000000000000", "--follow"],
        &["cancel", "@last"],
        &["executors"],
    ];
    for words in commands {
        let ran = user.run(words);
        assert_eq!((ran.status, ran.out.as_str()), (4, ""), "{words:?}: {ran:?}");
        assert!(ran.err.contains(&address) && ran.err.contains("controller start"), "{ran:?}");
    }
    let document = user.run(&["list", "-o", "json"]).document();
    assert_eq!(document["error"]["kind"], "unanswered");
    let version = user.run(&["version"]);
    assert_eq!(version.status, 4, "{version:?}");
    assert!(version.out.contains(env!("CARGO_PKG_VERSION")), "{version:?}");
}

#[test]
fn execute_ends_within_its_time_where_nobody_answers() {
    let user = User::new();
    let mut command = user.command(&["execute", "greet", "name=Ada"]);
    command.env("CP_HOST", nobody()).env("CONNECTION_TIMEOUT_SECS", "1");
    let ran = Ran::new(command.output().unwrap());
    assert_eq!((ran.status, ran.out.as_str()), (4, ""), "{ran:?}");
}

#[test]
fn wrong_usage_has_status_2_in_words_and_as_a_document() {
    let user = User::new();
    std::fs::write(user.folder.path().join("project/bad.json"), r#"{"name": "A", "nmae": 1}"#)
        .unwrap();
    std::fs::write(user.folder.path().join("project/bad.yaml"), "CP_HOTS: h:1\n").unwrap();
    let commands: [(&[&str], &str); 6] = [
        (&["lst"], "list"),
        (&["list"], "octavius config"),
        (&["--config", "bad.yaml", "list"], "CP_HOST"),
        (&["--config", "none.yaml", "list"], "none.yaml"),
        (&["execute", "greet", "name"], "NAME=VALUE"),
        (&["getlogs", "x", "-o", "name"], "-o json"),
    ];
    for (words, told) in commands {
        let ran = user.run(words);
        assert_eq!((ran.status, ran.out.as_str()), (2, ""), "{words:?}: {ran:?}");
        assert!(ran.err.contains(told), "{words:?}: {ran:?}");
    }
    let document = user.run(&["lst", "--output=json"]).document();
    assert_eq!(document["error"]["kind"], "usage");
    // The controller is named, and not asked: the file is read first.
    let mut create = user.command(&["create", "-f", "bad.json", "-o", "json"]);
    let ran = Ran::new(create.env("CP_HOST", nobody()).output().unwrap());
    assert_eq!(ran.status, 2, "{ran:?}");
    let violations = ran.document()["error"]["violations"].clone();
    assert_eq!(violations.as_array().map(Vec::len), Some(3), "{violations}");
}

#[test]
fn help_is_a_result() {
    let ran = User::new().run(&["execute", "--help"]);
    assert_eq!((ran.status, ran.err.as_str()), (0, ""), "{ran:?}");
    assert!(ran.out.contains("octavius execute hello-friend name=Ada"), "{ran:?}");
}
