//! Servers of ours as processes: started, killed, frozen, and asked what they said.

use rustix::process::{Pid, Signal, kill_process};
use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// For how long it is waited that one ends.
const PATIENCE: Duration = Duration::from_secs(60);

/// One of our servers, which is started again and again.
#[derive(Debug)]
pub struct Server {
    command: Command,
    output: PathBuf,
    running: Option<Child>,
}

impl Server {
    /// The `controller` or `executor` at this path, which reads `config` in `folder`, and is not started yet.
    pub fn new(binary: &Path, folder: &Path, config: &serde_json::Value) -> Self {
        let name = binary.file_name().unwrap().to_string_lossy();
        let file = folder.join(format!("{name}_config.json"));
        std::fs::write(&file, config.to_string()).unwrap();
        let mut command = Command::new(binary);
        command.args(["start".as_ref(), "--config".as_ref(), file.as_os_str()]);
        command.current_dir(folder).env("RUST_BACKTRACE", "0");
        Self::of(command, folder.join(format!("{name}.out")))
    }

    /// One that `command` starts. What it says goes to the file `output`.
    pub fn of(mut command: Command, output: PathBuf) -> Self {
        let file = std::fs::File::options().append(true).create(true).open(&output).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        Self { command, output, running: None }
    }

    /// The same with one variable more in its environment.
    #[must_use]
    pub fn with(mut self, name: &str, value: &Path) -> Self {
        self.command.env(name, value);
        self
    }

    /// Starts it.
    ///
    /// # Panics
    ///
    /// If it runs already.
    pub fn start(&mut self) {
        let child = self.command.spawn().unwrap();
        assert!(self.running.replace(child).is_none(), "it runs already");
    }

    /// Whether it was started, and neither killed nor ended from here.
    pub fn runs(&self) -> bool {
        self.running.is_some()
    }

    /// SIGKILL to the process that was started: no goodbye.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.running.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// A signal, and nothing is waited for.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.running.as_ref().unwrap()), signal).unwrap();
    }

    /// SIGTERM, and its exit status.
    pub async fn end(&mut self) -> Option<i32> {
        self.end_by(Signal::TERM).await
    }

    /// A signal that asks it to end, and its exit status.
    pub async fn end_by(&mut self, signal: Signal) -> Option<i32> {
        let mut child = self.running.take().unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
        let ended = async {
            loop {
                if let Some(status) = child.try_wait().unwrap() {
                    return status.code();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ended).await.expect("it did not end")
    }

    /// The id of its process, which runs.
    pub fn id(&self) -> u32 {
        self.running.as_ref().unwrap().id()
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.output).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Where a binary of ours was built beside `octavius`; it is built where it is missing.
///
/// # Panics
///
/// If it cannot be built.
pub fn built_beside(octavius: &Path, name: &str) -> PathBuf {
    let path = octavius.with_file_name(name);
    if !path.exists() {
        let package = format!("octavius-{name}");
        let built = Command::new(env!("CARGO")).args(["build", "--package", &package]).status();
        assert!(built.unwrap().success(), "{name} could not be built");
    }
    path
}
