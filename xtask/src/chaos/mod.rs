//! A whole installation of real binaries under random faults, watched from outside.
//!
//! One controller on the embedded store and two executors, or two controllers on three members of etcd and three
//! executors; clients that submit, cancel and follow. The executors run processes, or Kubernetes Jobs on a cluster of the
//! run's own. Meanwhile everybody is killed and stopped, what keeps watch over a program and the parts of the cluster, too; and the disk is slow, full or forgetful, or the network between any two is cut or slow. Who was told
//! that an execution exists must see it end right: the state and exit code that its program gives, its whole log, started once for each
//! attempt that its job's `retry` gives it, and never a step back. One wrong one fails the run, which prints its seed and keeps its folder.
//! The seed decides what is done, not when the machine gets to it: a second run with it is alike, not the same.

mod binaries;
mod cluster;
mod disk;
mod etcd;
mod leaders;
mod load;
mod network;
mod oracle;
mod processes;
mod torment;
mod witness;
mod world;

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};
use cluster::Cluster;
use oracle::Oracle;
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tokio_util::task::AbortOnDropHandle;
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
    /// Where the controllers keep their state.
    #[arg(long, value_enum, default_value_t = Store::Embedded)]
    store: Store,
    /// Runs executions as Kubernetes Jobs, on a cluster of its own whose parts are killed, too. Needs root.
    #[arg(long)]
    kubernetes: bool,
    /// Uses the binaries that are there, if the controller's can be told to fail.
    #[arg(long)]
    no_build: bool,
}

/// Where the state is, and with that how many controllers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Store {
    /// One controller, on a disk that is slow, full and forgetful.
    Embedded,
    /// Two controllers, on three members of etcd, over a network that is cut and slow.
    Etcd,
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
    let mut world = runtime.block_on(World::new(&binaries, chaos.store, chaos.kubernetes))?;
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
    if let Some(why) = world.disk.as_ref().and_then(|disk| disk.why_not_full.as_ref()) {
        println!("no disk is really full in this run: {why}");
    }
    world.start().await?;
    let (over, is_over) = watch::channel(false);
    let on_cluster = world.cluster.is_some();
    let kept = world.folder().join("written");
    let witness = world.cluster.as_ref().map(|cluster| cluster.witness(&kept)).transpose()?;
    let witnessing =
        witness.clone().map(|witness| AbortOnDropHandle::new(tokio::spawn(witness.go_on())));
    let load = load::Load::new(world, witness, oracle.clone(), is_over);
    load.create_jobs().await?;
    let clients = if on_cluster { load::CLIENTS_OF_PODS } else { load::CLIENTS };
    let loads: Vec<_> = (0..clients)
        .map(|_| tokio::spawn(load.clone().go_on(SmallRng::seed_from_u64(random.random()))))
        .collect();
    let until = began + time;
    let mut another = || SmallRng::seed_from_u64(random.random());
    let World { processes, disk, etcd, cluster, record, links, states, .. } = &mut *world;
    let disk = disk.as_ref();
    let (of_disk, of_etcd, of_cluster, of_network, of_processes) = tokio::join!(
        torment::disk(disk, another(), until),
        etcd::torment(etcd.as_mut(), record, another(), until),
        Cluster::torment(cluster.as_ref(), another(), until),
        network::torment(links, another(), until),
        torment::processes(processes, states, disk, oracle, another(), until),
    );
    let mut faults = of_disk?;
    for more in [of_etcd, of_cluster?, of_network, of_processes?] {
        faults.extend(more);
    }
    let unbroken = match on_cluster {
        true => Cluster::unbroken(&faults, time),
        false => torment::unbroken(&faults, time),
    };
    if let Some(unbroken) = unbroken {
        oracle.is_wrong(unbroken);
    }
    println!("nothing is broken any more after {:?}", began.elapsed());
    let _ = over.send(true); // they may be gone already
    if let Some(etcd) = etcd {
        etcd.healthy().await.map_err(anyhow::Error::msg)?;
    }
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
    if let Some(cluster) = &world.cluster {
        let until = Instant::now() + HEALED_WITHIN;
        while !cluster.is_empty().await? {
            if Instant::now() >= until {
                oracle.is_wrong("Jobs, pods or Secrets are left in the cluster".to_owned());
                break;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    if let Some(witnessing) = witnessing.filter(AbortOnDropHandle::is_finished) {
        witnessing.await.context("the witness broke")??;
    }
    let memory = world.processes.peak_memory();
    for server in &mut world.processes.servers {
        if let Some(status) = server.end(Duration::from_secs(20)).await?.filter(|code| *code != 0) {
            oracle.is_wrong(format!("{} ended with {status}", server.name));
        }
    }
    if let Some(etcd) = &world.etcd {
        leaders::look(etcd, &mut world.record, oracle, time).await?;
    }
    if let Some(few) = oracle::too_few(oracle.acknowledged(), time, on_cluster) {
        oracle.is_wrong(few);
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
        println!("a controller took {memory} KiB at the most, in its last life");
    }
    println!("wrong: {}", oracle.wrong().len());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(store: Store, kubernetes: bool) {
        let target = std::env::current_exe().unwrap();
        let target = target.ancestors().nth(3).unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let chaos = Chaos { minutes: 0.25, seed: None, store, kubernetes, no_build: false };
        run(root, target, &chaos).unwrap();
    }

    #[test]
    fn a_short_chaos_leaves_nothing_wrong() {
        short(Store::Embedded, false);
    }

    #[test]
    fn a_short_chaos_of_several_controllers_leaves_nothing_wrong() {
        short(Store::Etcd, false);
    }
}
