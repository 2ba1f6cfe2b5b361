//! Where and when it was measured.

use serde_json::{Value, json};
use std::{fmt, path::Path, process::Command};

#[derive(Clone, Debug)]
pub(super) struct Machine {
    cores: usize,
    kernel: String,
    load: String,
    build: String,
    began: String,
}

impl Machine {
    pub(super) fn look(root: &Path, binaries: &Path) -> Self {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let kernel = read("/proc/sys/kernel/osrelease");
        let commit = said(Command::new("git").args(["describe", "--always", "--dirty"]), root);
        let rustc = said(Command::new("rustc").arg("--version"), root);
        let began = said(Command::new("date").arg("+%Y-%m-%d %H:%M:%S %Z"), root);
        let build = format!("{}, checkout {commit}, {rustc}", binaries.display());
        Self { cores, kernel, load: load(), build, began }
    }

    pub(super) fn document(&self) -> Value {
        let Self { cores, kernel, load, build, began } = self;
        json!({ "cores": cores, "kernel": kernel, "load": load, "build": build, "began": began })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cores, kernel, load, build, began } = self;
        writeln!(f, "{began}: {cores} cores, Linux {kernel}, load {load}; build: {build}")
    }
}

/// How many ran or wanted to run, on average over 1, 5 and 15 minutes.
pub(super) fn load() -> String {
    read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn read(file: &str) -> String {
    std::fs::read_to_string(file)
        .map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

fn said(command: &mut Command, folder: &Path) -> String {
    let said = command.current_dir(folder).output();
    let said = said.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned());
    said.ok().filter(|said| !said.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}
