//! The faults: one hand at the processes, another at the disk.

use super::{
    Faults,
    disk::Disk,
    oracle::Oracle,
    processes::{Kind, Processes, Server},
};
use anyhow::Result;
use rand::{RngExt as _, rngs::SmallRng};
use rustix::{
    fd::OwnedFd,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::{Instant, sleep, sleep_until};

/// A server that is told to end has ended after this.
const END_WITHIN: Duration = Duration::from_secs(10);
/// So long after a fault of the disk a controller may still give up because of it.
const AFTERMATH: Duration = Duration::from_secs(30);

/// A run that is not shorter than this finds a supervisor to kill.
const SURELY_KILLS: Duration = Duration::from_secs(600);
const SUPERVISOR_KILLED: &str = "supervisor killed";

/// What a run of this time must have broken, and did not.
pub(super) fn unbroken(faults: &Faults, time: Duration) -> Option<String> {
    let bad = time >= SURELY_KILLS && !faults.contains_key(SUPERVISOR_KILLED);
    bad.then(|| format!("no supervisor was killed in {time:?}"))
}

/// A time between these, in milliseconds.
pub(super) fn millis(random: &mut SmallRng, from: u64, to: u64) -> Duration {
    Duration::from_millis(random.random_range(from..to))
}

/// Kills, stops and ends servers, and starts what has ended; and kills what keeps watch over a program.
pub(super) async fn processes(
    processes: &mut Processes,
    states: &[PathBuf],
    disk: Option<&Disk>,
    oracle: &Oracle,
    mut random: SmallRng,
    until: Instant,
) -> Result<Faults> {
    let mut faults = Faults::new();
    while Instant::now() < until {
        let pause = Instant::now() + millis(&mut random, 100, 2500);
        while Instant::now() < pause {
            sleep_until(pause.min(Instant::now() + Duration::from_millis(200))).await;
            for server in &mut processes.servers {
                if let Some(status) = server.ended()? {
                    let excused = server.kind == Kind::Controller && !is_well(disk);
                    match excused {
                        true => oracle.count("controllers that gave up on the disk"),
                        false => oracle.is_wrong(format!("{} ended: {status}", server.name)),
                    }
                    server.start()?;
                }
            }
        }
        let which = random.random_range(0..=processes.servers.len());
        let kind = match processes.servers.get_mut(which) {
            Some(server) => one(server, disk, oracle, &mut random).await?,
            None if kill_supervisor(states, oracle, &mut random) => SUPERVISOR_KILLED,
            None => {
                oracle.count("supervisors that nobody found to be killed");
                continue;
            }
        };
        *faults.entry(kind).or_default() += 1;
    }
    Ok(faults)
}

/// Whether nobody may give up because of the disk.
fn is_well(disk: Option<&Disk>) -> bool {
    disk.is_none_or(|disk| disk.is_well_for(AFTERMATH))
}

/// Kills the supervisor of an attempt that runs, if there is one. Nobody can say then how that one ended.
fn kill_supervisor(states: &[PathBuf], oracle: &Oracle, random: &mut SmallRng) -> bool {
    let attempts = states.iter().flat_map(|state| fs::read_dir(state.join("attempts")));
    let mut folders: Vec<_> = attempts.flatten().flatten().map(|entry| entry.path()).collect();
    while !folders.is_empty() {
        let folder = folders.swap_remove(random.random_range(0..folders.len()));
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some((execution, _)) = name.rsplit_once('-') else { continue };
        let Some(supervisor) = supervisor(&folder) else { continue };
        let news = oracle.may_be_lost(execution); // before: its end may be seen at once
        if pidfd_send_signal(&supervisor, Signal::KILL).is_ok() {
            return true;
        }
        if news {
            oracle.may_not_be_lost(execution);
        }
    }
    false
}

/// The supervisor of an attempt, if it lives. By its number alone it could be anybody: it is held before it is looked
/// at, so that nobody else gets the number in between.
fn supervisor(folder: &Path) -> Option<OwnedFd> {
    let started: Value = serde_json::from_slice(&fs::read(folder.join("started")).ok()?).ok()?;
    let pid = i32::try_from(started["pid"].as_i64()?).ok()?;
    let held = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let folder = fs::canonicalize(folder).ok()?; // an executor knows its folder so
    String::from_utf8_lossy(&line).contains(folder.to_str()?).then_some(held)
}

async fn one(
    server: &mut Server,
    disk: Option<&Disk>,
    oracle: &Oracle,
    random: &mut SmallRng,
) -> Result<&'static str> {
    let is_controller = server.kind == Kind::Controller;
    let kind = match random.random_range(0..10) {
        0..5 => {
            server.kill()?;
            sleep(millis(random, 0, 400)).await;
            if is_controller { "controller killed" } else { "executor killed" }
        }
        5 => {
            server.kill()?;
            sleep(millis(random, 2000, 6000)).await;
            if is_controller { "controller away for seconds" } else { "executor away for seconds" }
        }
        6..8 => {
            server.signal(Signal::STOP)?;
            sleep(millis(random, 50, 4000)).await;
            server.signal(Signal::CONT)?;
            if is_controller { "controller stopped" } else { "executor stopped" }
        }
        8 => {
            server.signal(Signal::STOP)?;
            // Longer than a sign of life may be away.
            sleep(millis(random, 10_000, 13_000)).await;
            server.signal(Signal::CONT)?;
            if is_controller { "controller stopped for long" } else { "executor stopped for long" }
        }
        _ => {
            let began = Instant::now();
            let status = server.end(END_WITHIN * 3).await?;
            let bad = status != Some(0) || began.elapsed() > END_WITHIN;
            if bad && is_well(disk) {
                let after = began.elapsed();
                oracle.is_wrong(format!("{} was told to end: {status:?} {after:?}", server.name));
            }
            if is_controller { "controller ended" } else { "executor ended" }
        }
    };
    server.start()?;
    Ok(kind)
}

/// Makes the disk slow, full and forgetful.
pub(super) async fn disk(
    disk: Option<&Disk>,
    mut random: SmallRng,
    until: Instant,
) -> Result<Faults> {
    let mut faults = Faults::new();
    let Some(disk) = disk else { return Ok(faults) };
    let mut count = |kind| *faults.entry(kind).or_default() += 1;
    while Instant::now() < until {
        sleep(millis(&mut random, 500, 8000)).await;
        let time = millis(&mut random, 500, 5000);
        match random.random_range(0..6) {
            0 => {
                disk.order(&json!({ "delay_millis": random.random_range(20..1500) }))?;
                count("disk slow");
            }
            1 => {
                // Longer than the store waits for one commit.
                disk.order(&json!({ "delay_millis": 5500 }))?;
                count("disk slower than the store waits");
            }
            2 => {
                disk.order(&json!({ "full": true }))?;
                count("store without space");
            }
            3 => {
                disk.order(&json!({ "forgotten_before": 100, "forgotten_after": 100 }))?;
                count("commits forgotten");
            }
            4 => {
                disk.order(&json!({ "refused": 100 }))?;
                count("commits refused");
            }
            _ if disk.fill()? => count("disk full"),
            _ => {}
        }
        sleep(time).await;
        disk.heal()?;
    }
    Ok(faults)
}

#[cfg(test)]
mod tests {
    use super::*;
    use octavius_client::v1;
    use rand::SeedableRng as _;
    use std::{
        io::Read as _,
        os::unix::{fs::symlink, process::ExitStatusExt as _},
        process::{Child, Command, Stdio},
    };

    /// A program with this folder on its command line, until its input ends.
    fn watches(folder: &Path) -> Child {
        let mut command = Command::new("sh");
        command.args(["-c", "echo; read line"]).arg(fs::canonicalize(folder).unwrap());
        let mut watching = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // A kernel shows no command line for a moment of what has just begun.
        watching.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        watching
    }

    fn is_excused(oracle: &Oracle, id: &str) -> bool {
        let mut execution = v1::Execution { id: id.to_owned(), ..Default::default() };
        execution.set_state(v1::ExecutionState::Lost);
        oracle.is_excused(&execution)
    }

    #[test]
    fn who_watches_an_attempt_is_killed_and_nobody_else_who_has_its_number() {
        let place = tempfile::tempdir().unwrap();
        let (real, state) = (place.path().join("real"), place.path().join("state"));
        symlink(&real, &state).unwrap();
        let folder = |id: &str| state.join("attempts").join(format!("{id}-1"));
        for id in ["watched", "other"] {
            fs::create_dir_all(real.join("attempts").join(format!("{id}-1"))).unwrap();
        }
        let mut watching = watches(&folder("watched"));
        let started = json!({ "pid": watching.id() }).to_string();
        // Another attempt of which only the number is left.
        fs::write(folder("other").join("started"), &started).unwrap();
        let (oracle, mut random) = (Oracle::default(), SmallRng::seed_from_u64(1));
        let states = [state.clone()];
        assert!(!kill_supervisor(&states, &oracle, &mut random));
        assert!(watching.try_wait().unwrap().is_none());
        fs::write(folder("watched").join("started"), &started).unwrap();
        assert!(kill_supervisor(&states, &oracle, &mut random));
        assert_eq!(watching.wait().unwrap().signal(), Some(9));
        assert!(is_excused(&oracle, "watched") && !is_excused(&oracle, "other"));
        assert!(!kill_supervisor(&states, &oracle, &mut random), "it is gone");
    }

    #[test]
    fn a_long_run_kills_a_supervisor() {
        let mut faults = Faults::new();
        assert!(unbroken(&faults, SURELY_KILLS).is_some());
        assert!(unbroken(&faults, SURELY_KILLS / 2).is_none());
        faults.insert(SUPERVISOR_KILLED, 1);
        assert!(unbroken(&faults, SURELY_KILLS).is_none());
    }
}
