//! The servers: started, killed, stopped and continued by their process ids.

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};
use tokio::time::Instant;

/// How often it is looked whether a process has ended.
const LOOK: Duration = Duration::from_millis(10);

/// What a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Controller,
    Executor,
}

/// One of our servers.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) kind: Kind,
    pub(super) name: &'static str,
    command: Command,
    child: Option<Child>,
}

impl Server {
    /// One that `command` starts. What it says goes to the file `output`.
    pub(super) fn new(
        kind: Kind,
        name: &'static str,
        mut command: Command,
        output: &PathBuf,
    ) -> Result<Self> {
        let file = fs::File::options().append(true).create(true).open(output)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        Ok(Self { kind, name, command, child: None })
    }

    /// Starts it, if it does not run.
    pub(super) fn start(&mut self) -> Result<()> {
        if self.child.is_none() {
            self.child = Some(self.command.spawn().with_context(|| self.name)?);
        }
        Ok(())
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Any other signal; nothing where it does not run.
    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        if let Some(child) = &self.child {
            kill_process(Pid::from_child(child), signal).with_context(|| self.name)?;
        }
        Ok(())
    }

    /// How it ended, if it has ended by itself; it does not run then.
    pub(super) fn ended(&mut self) -> Result<Option<String>> {
        let Some(child) = &mut self.child else { return Ok(None) };
        let status = child.try_wait()?;
        if status.is_some() {
            self.child = None;
        }
        Ok(status.map(|status| status.to_string()))
    }

    /// SIGTERM, and the exit status; none if it did not run. It is killed if it takes longer.
    pub(super) async fn end(&mut self, within: Duration) -> Result<Option<i32>> {
        self.signal(Signal::TERM)?;
        let until = Instant::now() + within;
        while let Some(child) = &mut self.child {
            if let Some(status) = child.try_wait()? {
                self.child = None;
                return Ok(Some(status.code().unwrap_or(-1)));
            }
            if Instant::now() >= until {
                self.kill()?;
                return Ok(Some(-1));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(None)
    }

    /// Runs, whatever was done to it.
    pub(super) fn heal(&mut self) -> Result<()> {
        self.ended()?;
        self.start()?;
        self.signal(Signal::CONT)
    }

    fn peak_memory(&self) -> Option<u64> {
        let file = format!("/proc/{}/status", self.child.as_ref()?.id());
        let status = fs::read_to_string(file).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.split_whitespace().next()?.parse().ok()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.kill(); // nothing more can be done about it
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Processes {
    pub(super) servers: Vec<Server>,
}

impl Processes {
    /// The most memory that a controller had, in KiB.
    pub(super) fn peak_memory(&self) -> Option<u64> {
        let controllers = self.servers.iter().filter(|server| server.kind == Kind::Controller);
        controllers.filter_map(Server::peak_memory).max()
    }
}
