//! What the command line does without a controller: files, usage, and nobody who answers.

#![allow(clippy::unwrap_used)] // clippy knows the functions that are tests, not their helpers

use serde_json::Value;
use std::{
    io::Write,
    net::TcpListener,
    path::PathBuf,
    process::{Command, Output, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use tokio::{net::TcpSocket, time::Instant};

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

    fn run_with_input(&self, words: &[&str], input: impl AsRef<[u8]>) -> Ran {
        let mut command = self.command(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_ref()).unwrap();
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

/// An address where nobody listens, and nobody can for as long as the socket is held.
fn nobody() -> (TcpSocket, String) {
    let held = TcpSocket::new_v4().unwrap();
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = held.local_addr().unwrap().to_string();
    (held, address)
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
fn contexts_are_made_chosen_and_shown_and_no_token_is() {
    let user = User::new();
    user.run(&["config", "--cp-host", "h:1", "--email-id", "ada@example.com", "--token", "t0p-1"]);
    let made = user.run_with_input(
        &["config", "--context", "staging", "--cp-host", "s:1", "--token-stdin"],
        "t0p-2\n",
    );
    assert_eq!(made.status, 0, "{made:?}");
    let used = user.run(&["config", "use", "staging"]);
    assert_eq!(
        (used.status, used.out.as_str(), used.err.as_str()),
        (0, "the context `staging` is in use\n", "")
    );
    let list = user.run(&["config", "list", "-o", "json"]).document();
    let listed: Vec<_> = list["contexts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["name"].as_str(), one["in_use"].as_bool(), one["cp_host"].as_str()))
        .collect();
    assert_eq!(
        listed,
        [(Some("default"), Some(false), Some("h:1")), (Some("staging"), Some(true), Some("s:1"))]
    );
    assert_eq!(user.run(&["config", "list", "-o", "name"]).out, "default\nstaging\n");
    let shown = user.run(&["config", "show"]);
    let home = user.folder.path().join("home").display().to_string();
    insta::assert_snapshot!(shown.out.replace(&home, "HOME"), @r"
    context     staging
    file        HOME/.config/octavius/contexts/staging.yaml
    controller  s:1
    user        none
    token       ********
    time-out    10s
    ");
    let default = user.run(&["config", "show", "--context", "default", "-o", "json"]).document();
    assert_eq!(
        (&default["cp_host"]["value"], &default["access_token"]["value"]),
        (&Value::from("h:1"), &Value::from("********"))
    );
    // The context is the one that is asked, and its token goes nowhere else.
    let ran = user.run(&["list"]);
    assert!(ran.status == 4 && ran.err.contains("http://s:1"), "{ran:?}");
    let mut elsewhere = user.command(&["list"]);
    let refused = Ran::new(elsewhere.env("CP_HOST", "evil:1").output().unwrap());
    assert!(refused.status == 2 && refused.err.contains("own source"), "{refused:?}");
    let unknown = user.run(&["list", "--context", "stagin"]);
    assert!(unknown.status == 2 && unknown.err.contains("`staging`"), "{unknown:?}");
    for ran in [made, used, shown, ran, refused, user.run(&["config", "list"])] {
        assert!(!format!("{ran:?}").contains("t0p"), "{ran:?}");
    }
}

#[test]
fn a_mistyped_command_line_is_told_with_what_was_meant() {
    let told = |words: &[&str]| {
        let ran = User::new().run(words);
        assert_eq!((ran.status, ran.out.as_str()), (2, ""), "{ran:?}");
        ran.err
    };
    insta::assert_snapshot!(told(&["exeucte", "greet"]), @r"
    error: unrecognized subcommand 'exeucte'

      tip: some similar subcommands exist: 'delete', 'executions', 'executors', 'execute'

    Usage: octavius [OPTIONS] <COMMAND>

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(told(&["execute", "greet", "--folow"]), @r"
    error: unexpected argument '--folow' found

      tip: a similar argument exists: '--follow'

    Usage: octavius execute --follow <JOB> [NAME=VALUE]...

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(told(&["list", "-o", "xml"]), @r"
    error: invalid value 'xml' for '--output <FORMAT>'
      [possible values: text, wide, name, json, yaml]

      tip: a similar value exists: 'yaml'

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(told(&["execute", "greet", "--wait-timeout", "5m"]), @r"
    error: the following required arguments were not provided:
      <--follow|--wait|--exit-code>

    Usage: octavius execute --wait-timeout <TIME> <--follow|--wait|--exit-code> <JOB> [NAME=VALUE]...

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(told(&["execute", "greet", "--wait", "--wait-timeout", "soon"]), @r"
    error: invalid value 'soon' for '--wait-timeout <TIME>': write a time such as `90s`, `5m` or `1h 30m`, of at most 365 days

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(told(&["executions", "--limit", "many"]), @r"
    error: invalid value 'many' for '--limit <COUNT>': invalid digit found in string

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(told(&["config", "--cp-host", "localhost"]), @"octavius: --cp-host: `CP_HOST` is `localhost`, without a port: write `HOST:PORT`, for example `localhost:3000`");
    insta::assert_snapshot!(told(&["config", "use", "no/such"]), @r"
    error: invalid value 'no/such' for '<NAME>': a context's name has 1 to 63 letters, digits, `-`, `_` and `.`, and begins with a letter or a digit

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(told(&["wait"]), @r"
    error: the following required arguments were not provided:
      <ID>...

    Usage: octavius wait <ID>...

    For more information, try '--help'.
    ");
}

#[test]
fn the_manual_is_written_to_a_folder() {
    let user = User::new();
    let written = user.run(&["man", "pages", "-o", "json"]).document();
    let files: Vec<_> =
        written["files"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(
        files.contains(&"pages/octavius.1") && files.contains(&"pages/octavius-wait.1"),
        "{files:?}"
    );
    let page = std::fs::read_to_string(user.folder.path().join("project/pages/octavius-wait.1"));
    assert!(page.unwrap().contains("octavius wait @last"));
    assert!(user.run(&["man"]).out.contains(".TH octavius 1"));
}

#[test]
fn where_nobody_answers_the_status_is_4_and_the_address_is_named() {
    let user = User::new();
    let (_held, address) = nobody();
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
    let (_held, address) = nobody();
    let mut command = user.command(&["execute", "greet", "name=Ada"]);
    command.env("CP_HOST", address).env("CONNECTION_TIMEOUT_SECS", "1");
    let ran = Ran::new(command.output().unwrap());
    assert_eq!((ran.status, ran.out.as_str()), (4, ""), "{ran:?}");
}

#[test]
fn connection_timeout_secs_bounds_the_time_of_a_command_to_which_nobody_answers() {
    // It takes connections, and never says anything.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let user = User::new();
    for words in [&["list"][..], &["execute", "greet", "name=Ada"], &["executions", "--all"]] {
        let mut command = user.command(words);
        command.env("CP_HOST", silent.local_addr().unwrap().to_string());
        command.env("CONNECTION_TIMEOUT_SECS", "1");
        let begun = Instant::now();
        let ran = Ran::new(command.output().unwrap());
        let took = begun.elapsed();
        assert_eq!((ran.status, ran.out.as_str()), (4, ""), "{words:?}: {ran:?}");
        assert!(ran.err.contains("did not answer within 1s"), "{words:?}: {ran:?}");
        // Without the variable it would be 10 s.
        let bounds = Duration::from_millis(500)..Duration::from_secs(8);
        assert!(bounds.contains(&took), "{words:?}: {took:?}");
    }
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
    let (_held, address) = nobody();
    let mut create = user.command(&["create", "-f", "bad.json", "-o", "json"]);
    let ran = Ran::new(create.env("CP_HOST", address).output().unwrap());
    assert_eq!(ran.status, 2, "{ran:?}");
    let violations = ran.document()["error"]["violations"].clone();
    assert_eq!(violations.as_array().map(Vec::len), Some(3), "{violations}");
}

#[test]
fn standard_input_that_is_no_text_is_told_as_that() {
    let user = User::new();
    let (_held, address) = nobody();
    assert_eq!(user.run(&["config", "--cp-host", &address]).status, 0);
    for words in [&["create", "-f", "-"][..], &["execute", "greet", "-f", "-"]] {
        let ran = user.run_with_input(words, b"name: gr\xfc\xdfe\n");
        assert_eq!(ran.status, 2, "{ran:?}");
        assert!(ran.err.contains("standard input is no text in UTF-8 from byte 8 on"), "{ran:?}");
    }
}

#[test]
fn help_is_a_result() {
    let ran = User::new().run(&["execute", "--help"]);
    assert_eq!((ran.status, ran.err.as_str()), (0, ""), "{ran:?}");
    assert!(ran.out.contains("octavius execute hello-friend name=Ada"), "{ran:?}");
}
