//! What each test of the executor starts from.

use crate::script::{Controller, PATIENCE, lease};
use octavius_executor::{
    attempts::LOG_WAIT,
    configuration::Configuration,
    runner::process::SupervisorCommand,
    server::{Executor, Running},
};
use octavius_protocol::v1::{self, ExecutionState};
use octavius_service::configuration::from_values;
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use tempfile::TempDir;

/// A controller, a place, and the executor that runs there.
pub(super) struct World {
    pub(super) controller: Controller,
    pub(super) folder: TempDir,
    pub(super) running: Option<Running>,
    /// What the executor is told when it is started.
    pub(super) log_wait: Duration,
    /// Whether its token is in the file `token` of the folder.
    pub(super) has_token_file: bool,
}

impl World {
    /// A world whose executor runs.
    pub(super) async fn start() -> Self {
        let mut world = Self::without_executor().await;
        world.start_executor().await;
        world
    }

    pub(super) async fn without_executor() -> Self {
        let controller = Controller::start().await;
        let folder = tempfile::tempdir().unwrap();
        Self { controller, folder, running: None, log_wait: LOG_WAIT, has_token_file: false }
    }

    pub(super) async fn start_executor(&mut self) {
        let mut text = serde_json::json!({
            "cp_host": self.controller.address.to_string(),
            "id": "tester",
            "access_token": "planted-token",
            "runner": "process",
            "state_dir": self.state_dir(),
            "conn_time_out": "2s",
            "ping_interval": "500ms",
            "capacity": 2,
        });
        if self.has_token_file {
            text["access_token"] = serde_json::Value::Null;
            text["access_token_file"] = self.path("token").display().to_string().into();
        }
        let configuration = from_values::<Configuration>(&text.to_string()).unwrap().section;
        let program = PathBuf::from(env!("CARGO_BIN_EXE_executor"));
        let supervisor = SupervisorCommand { program, arguments: vec!["supervise".into()] };
        let running = Executor::start_with(&configuration, supervisor, self.log_wait).await;
        self.running = Some(running.unwrap());
    }

    pub(super) async fn stop_executor(&mut self) {
        self.running.take().unwrap().stop(Duration::from_millis(100)).await;
    }

    pub(super) fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    pub(super) fn state_dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A shell job that finds `MARK`, where it counts its runs, and `GATE`, which it may wait for.
    pub(super) fn shell(&self, script: &str) -> v1::Lease {
        let mut lease = lease(&["sh", "-c", &format!("echo run >> \"$MARK\"; {script}")]);
        for (name, file) in [("MARK", "mark"), ("GATE", "gate")] {
            lease.arguments.insert(name.to_owned(), self.path(file).display().to_string());
        }
        lease
    }

    /// Lets the jobs go that wait for it.
    pub(super) fn open_gate(&self) {
        fs::write(self.path("gate"), "").unwrap();
    }

    pub(super) fn runs(&self) -> usize {
        fs::read_to_string(self.path("mark")).unwrap_or_default().lines().count()
    }

    /// Waits until nothing is kept here of any attempt.
    pub(super) async fn nothing_left(&self) {
        let left = self.running().attempts().wait_until_none(|_| true, PATIENCE).await;
        assert_eq!(left, 0, "attempts are still held");
        let attempts = entries(&self.state_dir().join("attempts"));
        assert_eq!(attempts, Vec::<String>::new(), "folders are left");
    }

    pub(super) async fn ends_with_success(&self, id: &str, log: &str) {
        let ended = self.controller.over(id).await;
        assert_eq!(ended.state(), ExecutionState::Succeeded, "{ended:?}");
        assert_eq!(self.controller.log(id).await, log);
        self.nothing_left().await;
    }
}

pub(super) fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.len() > 20).collect()
}

/// Waits for the gate, as a shell does.
pub(super) const WAIT: &str = "while [ ! -e \"$GATE\" ]; do sleep 0.05; done";
