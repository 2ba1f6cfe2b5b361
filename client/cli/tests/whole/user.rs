//! A user at the command line: each command is a process of its own, with a home and nothing else in its environment.

use crate::{
    pty::Terminal,
    world::{PATIENCE, World},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdout, Command},
};

/// Somebody with a home and a working folder.
#[derive(Debug)]
pub(crate) struct User {
    home: TempDir,
    environment: Vec<(&'static str, String)>,
}

impl User {
    /// Somebody who knows no controller.
    pub(crate) fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap(), environment: Vec::new() }
    }

    /// Ada, who asks the controller of `world`.
    pub(crate) fn of(world: &World) -> Self {
        Self::new().with("CP_HOST", &world.address).with("EMAIL_ID", "ada@example.com")
    }

    /// The same with one variable more in the environment.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }

    /// A path in the working folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Writes a file to the working folder.
    pub(crate) fn file(&self, name: &str, content: &Value) {
        std::fs::write(self.path(name), content.to_string()).unwrap();
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_octavius"));
        command.args(words).env_clear().env("HOME", self.home.path());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.home.path()).kill_on_drop(true).stdin(Stdio::null());
        command
    }

    /// Gives `command` this user's home, environment and programs.
    pub(crate) fn dress(&self, command: &mut std::process::Command) {
        let programs = Path::new(env!("CARGO_BIN_EXE_octavius")).parent().unwrap();
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
        command.env_clear().env("HOME", self.home.path()).env("PATH", path);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.home.path());
    }

    /// Begins a command at a terminal of this many columns.
    pub(crate) fn at_terminal(&self, words: &[&str], columns: u16) -> Terminal {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_octavius"));
        self.dress(&mut command);
        Terminal::start(command.args(words), columns)
    }

    /// Runs a command to its end.
    pub(crate) async fn run(&self, words: &[&str]) -> Ran {
        let ran = tokio::time::timeout(PATIENCE, self.command(words).output()).await;
        Ran::new(ran.unwrap_or_else(|_| panic!("it did not end: {words:?}")).unwrap())
    }

    /// Runs a command that reads `input`.
    pub(crate) async fn run_with_input(&self, words: &[&str], input: &str) -> Ran {
        let mut command = self.command(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
        let ran = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
        Ran::new(ran.unwrap_or_else(|_| panic!("it did not end: {words:?}")).unwrap())
    }

    /// Runs a command whose standard output is a file.
    pub(crate) async fn run_into(&self, words: &[&str], file: &Path) -> Ran {
        let mut command = self.command(words);
        command.stdout(std::fs::File::create(file).unwrap()).stderr(Stdio::piped());
        let ran = tokio::time::timeout(PATIENCE, command.spawn().unwrap().wait_with_output()).await;
        Ran::new(ran.unwrap_or_else(|_| panic!("it did not end: {words:?}")).unwrap())
    }

    /// What a command that works says; it has nothing to tell besides.
    pub(crate) async fn says(&self, words: &[&str]) -> String {
        let ran = self.run(words).await;
        assert_eq!((ran.status, ran.err.as_str()), (Some(0), ""), "{words:?}: {ran:?}");
        ran.text()
    }

    /// The one document that a command writes with `-o json`, and its exit status.
    pub(crate) async fn document(&self, words: &[&str]) -> (Value, i32) {
        let ran = self.run(&[words, &["-o", "json"]].concat()).await;
        assert_eq!(ran.err, "", "{words:?}: {ran:?}");
        let document = serde_json::from_slice(&ran.out);
        (
            document.unwrap_or_else(|error| panic!("{words:?}: {error}: {ran:?}")),
            ran.status.unwrap(),
        )
    }

    /// Registers a job that runs `script` in a shell; `more` is what else its file says.
    pub(crate) async fn job(&self, name: &str, script: &str, more: Value) {
        let mut definition = json!({ "name": name, "command": ["sh", "-c", script] });
        for (key, value) in more.as_object().unwrap() {
            definition[key] = value.clone();
        }
        let created = self.run_with_input(&["create", "-f", "-"], &definition.to_string()).await;
        assert_eq!((created.status, created.err.as_str()), (Some(0), ""), "{created:?}");
    }

    /// Asks to run a job, and answers the execution's id.
    pub(crate) async fn execute(&self, words: &[&str]) -> String {
        let id = self.says(&[&["execute"], words].concat()).await;
        id.strip_suffix('\n').unwrap().to_owned()
    }

    /// Begins a command, and reads along.
    pub(crate) fn begin(&self, words: &[&str]) -> Begun {
        let mut command = self.command(words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = Some(BufReader::new(child.stdout.take().unwrap()));
        Begun { child, out, read: Vec::new() }
    }
}

/// What `env_vars` of a job's file says: arguments, of which those with a `!` are required.
pub(crate) fn arguments(names: &[&str]) -> Value {
    let argument = |name: &&str| {
        let required = name.ends_with('!');
        json!({ "name": name.trim_end_matches('!'), "required": required })
    };
    json!({ "env_vars": { "args": names.iter().map(argument).collect::<Vec<_>>() } })
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Ran {
    /// None where a signal ended it.
    pub(crate) status: Option<i32>,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Ran {
    fn new(output: Output) -> Self {
        let err = String::from_utf8(output.stderr).unwrap();
        Self { status: output.status.code(), out: output.stdout, err }
    }

    /// Standard output, where it is text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.out.clone()).unwrap()
    }
}

/// A command that runs.
#[derive(Debug)]
pub(crate) struct Begun {
    child: Child,
    out: Option<BufReader<ChildStdout>>,
    read: Vec<u8>,
}

impl Begun {
    /// The next line of its standard output.
    pub(crate) async fn line(&mut self) -> String {
        let before = self.read.len();
        let line = self.out.as_mut().unwrap().read_until(b'\n', &mut self.read);
        let read = tokio::time::timeout(PATIENCE, line).await;
        read.unwrap_or_else(|_| panic!("no line after {:?}", self.read)).unwrap();
        String::from_utf8_lossy(&self.read[before..]).into_owned()
    }

    /// What is sent by Ctrl-C.
    pub(crate) fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(self.child.id().unwrap().try_into().unwrap()).unwrap();
        kill_process(id, signal).unwrap();
    }

    /// Closes its standard output: who read it has left.
    pub(crate) fn leave(&mut self) {
        self.out = None;
    }

    /// Its end, with all that it has written.
    pub(crate) async fn end(mut self) -> Ran {
        let ending = async {
            if let Some(mut out) = self.out.take() {
                out.read_to_end(&mut self.read).await.unwrap();
            }
            self.child.wait_with_output().await.unwrap()
        };
        let output = tokio::time::timeout(PATIENCE, ending).await;
        let mut ran = Ran::new(output.expect("it did not end"));
        ran.out = self.read;
        ran
    }
}
