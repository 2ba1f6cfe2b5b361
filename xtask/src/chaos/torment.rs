//! The faults: one hand at the processes, another at the disk.

use super::{
    Faults,
    disk::Disk,
    oracle::Oracle,
    processes::{Processes, Server},
};
use anyhow::Result;
use rand::{RngExt as _, rngs::SmallRng};
use rustix::process::{Pid, Signal, kill_process};
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

fn millis(random: &mut SmallRng, from: u64, to: u64) -> Duration {
    Duration::from_millis(random.random_range(from..to))
}

/// Kills, stops and ends servers, and starts what has ended; and kills what keeps watch over a program.
pub(super) async fn processes(
    processes: &mut Processes,
    states: &[PathBuf],
    disk: &Disk,
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
                    let excused = server.name == "controller" && !disk.is_well_for(AFTERMATH);
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
            None if kill_supervisor(states, oracle, &mut random) => "supervisor killed",
            None => continue,
        };
        *faults.entry(kind).or_default() += 1;
    }
    Ok(faults)
}

/// Kills the supervisor of an attempt that runs, if there is one. Nobody can say then how that one ended.
fn kill_supervisor(states: &[PathBuf], oracle: &Oracle, random: &mut SmallRng) -> bool {
    let attempts = states.iter().flat_map(|state| fs::read_dir(state.join("attempts")));
    let mut folders: Vec<_> = attempts.flatten().flatten().map(|entry| entry.path()).collect();
    while !folders.is_empty() {
        let folder = folders.swap_remove(random.random_range(0..folders.len()));
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some((execution, _)) = name.rsplit_once('-') else { continue };
        let Some(pid) = supervisor(&folder) else { continue };
        oracle.may_be_lost(execution); // before: its end may be seen at once
        if kill_process(pid, Signal::KILL).is_ok() {
            return true;
        }
    }
    false
}

/// The supervisor of an attempt, if it lives. By its number alone it could be anybody.
fn supervisor(folder: &Path) -> Option<Pid> {
    let started: Value = serde_json::from_slice(&fs::read(folder.join("started")).ok()?).ok()?;
    let pid = i32::try_from(started["pid"].as_i64()?).ok()?;
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let ours = String::from_utf8_lossy(&line).contains(folder.to_str()?);
    Pid::from_raw(pid).filter(|_| ours)
}

async fn one(
    server: &mut Server,
    disk: &Disk,
    oracle: &Oracle,
    random: &mut SmallRng,
) -> Result<&'static str> {
    let is_controller = server.name == "controller";
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
            if bad && disk.is_well_for(AFTERMATH) {
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
pub(super) async fn disk(disk: &Disk, mut random: SmallRng, until: Instant) -> Result<Faults> {
    let mut faults = Faults::new();
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
