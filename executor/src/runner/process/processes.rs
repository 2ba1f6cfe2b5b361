//! Finding processes and sending them signals, without ever hitting a stranger.
//!
//! A number alone names nobody: it may be given to another process between a look and a signal. So a process is held
//! by a file descriptor, and looked at again once it is held.

use super::rules::tree::{self, Process};
use octavius_protocol::id::AttemptId;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::{fs, io};

/// All processes that can be seen.
fn all() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(look).collect()
}

/// One process, if there is one of this number now.
pub(super) fn look(pid: i32) -> Option<Process> {
    // A name that is not UTF-8 stands in this file as it is.
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    tree::parse(&String::from_utf8_lossy(&stat))
}

/// What descends from the process `root` and is not dead, parents first.
pub(super) fn descendants(root: Pid) -> Vec<Process> {
    let mut found = tree::descendants(root.as_raw_nonzero().get(), &all());
    found.retain(|process| !process.dead);
    found
}

/// What carries the attempt's name in its environment and is not dead, parents first as far as that is known.
///
/// This finds what a supervisor that was killed has left. What has cleared its environment is not found.
pub(super) fn of_attempt(attempt: AttemptId) -> Vec<Process> {
    let wanted = [
        format!("OCTAVIUS_EXECUTION_ID={}", attempt.execution),
        format!("OCTAVIUS_ATTEMPT={}", attempt.attempt),
    ];
    let mut found = all();
    found.retain(|process| {
        let environment = fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
        let has = |wanted: &String| environment.split(|&b| b == 0).any(|e| e == wanted.as_bytes());
        !process.dead && wanted.iter().all(has)
    });
    found.sort_unstable_by_key(|process| process.started);
    found
}

/// Sends a signal to just this process. That it is gone is no error.
pub(super) fn signal(process: Process, signal: Signal) -> io::Result<()> {
    let Some(pid) = Pid::from_raw(process.pid) else { return Ok(()) };
    let held = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(held) => held,
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if look(process.pid).is_none_or(|now| now.started != process.started) {
        return Ok(());
    }
    match pidfd_send_signal(&held, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
