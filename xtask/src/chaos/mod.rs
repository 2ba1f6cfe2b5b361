//! A whole installation of real binaries under random faults, watched from outside.
//!
//! One controller on the embedded store, two executors, clients that submit, cancel and follow; meanwhile everybody is
//! killed and stopped, what keeps watch over a program, too, and the disk is slow, full or forgetful. Who was told that an execution exists must see it end
//! right: the state and exit code that its program gives, its whole log, started no more often than it has attempts,
//! and never a step back. One wrong one fails the run, which prints its seed and keeps its folder.
//! The seed decides what is done, not when the machine gets to it: a second run with it is alike, not the same.

mod binaries;
mod disk;
mod load;
mod oracle;
mod processes;
mod torment;
mod world;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use oracle::Oracle;
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use world::World;

/// For how long what is under way may take once nothing is broken any more.
const HEALED_WITHIN: Duration = Duration::from_secs(180);

/// What `cargo xtask chaos` takes.
#[derive(Debug, Args)]
pub(crate) struct Chaos {
    /// For how long things are broken.
    #[arg(long, value_name = "N", default_value_t = 60.0)]
    minutes: f64,
    /// What decides about faults; else a new one.
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Uses the binaries that are there, if the controller's can be told to fail.
    #[arg(long)]
    no_build: bool,
}

/// Asks until there is an answer that says something, for as long as outages here may last.
async fn answered<T, F: Future<Output = Result<T, octavius_client::Error>>>(
    mut ask: impl FnMut() -> F,
) -> Result<T> {
    let until = Instant::now() + HEALED_WITHIN;
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) if Instant::now() >= until => anyhow::bail!("{error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

/// How often each kind of fault was made.
type Faults = BTreeMap<&'static str, u64>;

/// Runs it, and fails if anything was wrong.
pub(crate) fn run(root: &Path, target: &Path, chaos: &Chaos) -> Result<()> {
    let seed = chaos.seed.unwrap_or_else(rand::random);
    let minutes = Duration::try_from_secs_f64(chaos.minutes * 60.0).context("--minutes")?;
    println!("chaos for {minutes:?} with seed {seed}");
    let binaries = binaries::find(root, &target.join("debug"), chaos.no_build)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // A client wants to know its runtime when it is made.
    let entered = runtime.enter();
    let mut world = World::new(&binaries)?;
    drop(entered);
    let oracle = Arc::new(Oracle::default());
    let ran = runtime.block_on(torture(&mut world, &oracle, seed, minutes));
    runtime.shutdown_timeout(Duration::from_secs(1));
    let wrong = oracle.wrong();
    if ran.is_ok() && wrong.is_empty() {
        return Ok(());
    }
    let kept = world.keep()?;
    for wrong in &wrong {
        println!("WRONG: {wrong}");
    }
    println!("seed {seed}; everything is kept in {}", kept.display());
    ran?;
    ensure!(wrong.is_empty(), "{} wrong", wrong.len());
    Ok(())
}

async fn torture(world: &mut World, oracle: &Arc<Oracle>, seed: u64, time: Duration) -> Result<()> {
    let began = Instant::now();
    let mut random = SmallRng::seed_from_u64(seed);
    if let Some(why) = &world.disk.why_not_full {
        println!("no disk is really full in this run: {why}");
    }
    world.start().await?;
    let (over, is_over) = watch::channel(false);
    let load = load::Load::new(world, oracle.clone(), is_over);
    load.create_jobs().await?;
    let loads: Vec<_> = (0..load::CLIENTS)
        .map(|_| tokio::spawn(load.clone().go_on(SmallRng::seed_from_u64(random.random()))))
        .collect();
    let until = began + time;
    let (disk_seed, seed) = (random.random(), random.random());
    let World { processes, disk, states, .. } = &mut *world;
    let (of_disk, of_processes) = tokio::join!(
        torment::disk(disk, SmallRng::seed_from_u64(disk_seed), until),
        torment::processes(processes, states, disk, oracle, SmallRng::seed_from_u64(seed), until),
    );
    let mut faults = of_disk?;
    faults.extend(of_processes?);
    if let Some(unbroken) = torment::unbroken(&faults, time) {
        oracle.is_wrong(unbroken);
    }
    println!("nothing is broken any more after {:?}", began.elapsed());
    let _ = over.send(true); // they may be gone already
    for server in &mut processes.servers {
        server.heal()?;
    }
    let mut late = 0;
    let deadline = Instant::now() + HEALED_WITHIN;
    for load in loads {
        match tokio::time::timeout_at(deadline, load).await {
            Ok(ended) => ended.context("a client of ours broke")?,
            Err(_) => late += 1,
        }
    }
    if late > 0 {
        oracle.is_wrong(format!("{late} clients were not done within {HEALED_WITHIN:?}"));
    }
    let last = timeout(HEALED_WITHIN, oracle.look_at_all(&load.client, &world.ran));
    match last.await {
        Ok(looked) => looked?,
        Err(_) => oracle.is_wrong("the last look at all took too long".to_owned()),
    }
    let memory = world.processes.peak_memory();
    for server in &mut world.processes.servers {
        if let Some(status) = server.end(Duration::from_secs(20)).await?.filter(|code| *code != 0) {
            oracle.is_wrong(format!("{} ended with {status}", server.name));
        }
    }
    tell(oracle, &faults, memory, began.elapsed());
    Ok(())
}

fn tell(oracle: &Oracle, faults: &Faults, memory: Option<u64>, after: Duration) {
    println!("after {:.0} s", after.as_secs_f64());
    println!("executions: {}", oracle.summary());
    println!("faults: {}", faults.values().sum::<u64>());
    for (kind, count) in faults {
        println!("  {kind}: {count}");
    }
    if let Some(memory) = memory {
        println!("the last controller took {memory} KiB at the most");
    }
    println!("wrong: {}", oracle.wrong().len());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_chaos_leaves_nothing_wrong() {
        let target = std::env::current_exe().unwrap();
        let target = target.ancestors().nth(3).unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        run(root, target, &Chaos { minutes: 0.25, seed: None, no_build: false }).unwrap();
    }
}
