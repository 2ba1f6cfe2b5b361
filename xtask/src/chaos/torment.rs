//! The faults: one hand at the processes, another at the disk.

use super::{
    Faults,
    disk::Disk,
    oracle::Oracle,
    processes::{Processes, Server},
};
use anyhow::Result;
use rand::{RngExt as _, rngs::SmallRng};
use rustix::process::Signal;
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// A server that is told to end has ended after this.
const END_WITHIN: Duration = Duration::from_secs(10);
/// So long after a fault of the disk a controller may still give up because of it.
const AFTERMATH: Duration = Duration::from_secs(30);

fn millis(random: &mut SmallRng, from: u64, to: u64) -> Duration {
    Duration::from_millis(random.random_range(from..to))
}

/// Kills, stops and ends servers, and starts what has ended.
pub(super) async fn processes(
    processes: &mut Processes,
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
        let which = random.random_range(0..processes.servers.len());
        let server = &mut processes.servers[which];
        let kind = one(server, disk, oracle, &mut random).await?;
        *faults.entry(kind).or_default() += 1;
    }
    Ok(faults)
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
