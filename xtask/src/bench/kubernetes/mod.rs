//! Executions on a real cluster, beside the same work done with the API itself.
//!
//! Both ways take turns in one run on one cluster, so that what the machine does meanwhile hits both. The cluster is the
//! bench's own, because its kubelet must not rotate the log of 100 MB away: Kubernetes 1.20 then serves only the rest of
//! it to whoever follows.

mod direct;

use super::{
    Plan,
    commands::all_succeeded,
    figures::{Spans, per_second},
    installation::{Installation, PATIENCE, Server},
    logs,
    place::Place,
    table::{Aim, Row},
};
use anyhow::{Context as _, Result, ensure};
use direct::{Direct, Extent, IMAGE};
use futures::{AsyncBufReadExt as _, pin_mut};
use octavius_client::v1;
use octavius_testbed::cluster::{self, Namespace, Own};
use std::{
    collections::BTreeMap,
    path::Path,
    process::Stdio,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    io::AsyncBufReadExt as _,
    time::{Instant, sleep, timeout},
};

const MB: usize = 1_000_000;
/// As many as Jobs run at once in the last row.
const MANY: usize = 200;
/// Prints a line.
const HELLO: [&str; 3] = ["sh", "-c", "echo hello"];
/// What is wanted of ours.
const NO_MORE: &str = "at most 50 ms and 5 % above the direct way";

/// Everything that the rows need.
struct World {
    direct: Direct,
    installation: Installation,
    executor: Server,
    namespace: Namespace,
    _cluster: Own,
}

impl World {
    async fn start(binaries: &Path, place: &Place) -> Result<Self> {
        let cluster = cluster::own_with_logs_of("2Gi").await?;
        let namespace = cluster.namespace("bench").await?;
        let direct = Direct::new(cluster.admin(), namespace.name()).await?;
        let installation = Installation::start(binaries, place).await?;
        let executor = installation
            .kubernetes_executor(namespace.kubeconfig(), namespace.name(), MANY)
            .await?;
        Ok(Self { direct, installation, executor, namespace, _cluster: cluster })
    }

    async fn job(&self, name: &str, command: &[&str]) -> Result<()> {
        let definition = v1::JobDefinition {
            name: name.to_owned(),
            image_name: IMAGE.to_owned(),
            command: command.iter().map(|&word| word.to_owned()).collect(),
            ..v1::JobDefinition::default()
        };
        self.installation.client.create_job(definition).await?;
        Ok(())
    }
}

pub(super) async fn kubernetes(binaries: &Path, plan: Plan, place: &Place) -> Result<Vec<Row>> {
    let world = World::start(binaries, place).await?;
    let mut rows = Vec::new();
    rows.extend(first_line(&world, plan).await?);
    rows.extend(delay(&world, plan).await?);
    rows.extend(many_short(&world, plan).await?);
    rows.extend(log(&world, plan).await?);
    rows.extend(executor(&world, plan).await?);
    Ok(rows)
}

/// So much longer may ours take.
fn aim(direct: f64) -> Aim {
    Aim::AtMost(direct * 1.05 + 50.0)
}

/// Two rows of times, ours beside the direct way's.
fn beside(name: &str, direct: &Spans, ours: &Spans, note: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    for (which, percent) in [("median", 50), ("p99", 99)] {
        let (direct, ours) = (direct.percentile(percent), ours.percentile(percent));
        for (whose, value, aim) in
            [("the API alone", direct, Aim::None), ("Octavius", ours, aim(direct))]
        {
            rows.push(Row {
                name: format!("{name}, {whose}, {which}"),
                value,
                unit: "ms",
                aim,
                note: note.to_owned(),
            });
        }
    }
    rows
}

/// From the order to the first line.
async fn first_line(world: &World, plan: Plan) -> Result<Vec<Row>> {
    world.job("hello", &HELLO).await?;
    let (mut direct, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..plan.of(40, 3) {
        direct.push(world.direct.first_line(&HELLO).await?);
        world.direct.none_left().await?;
        ours.push(at_the_cli(world).await?);
        world.direct.none_left().await?;
    }
    let (direct, ours) = (Spans::new(direct), Spans::new(ours));
    let note = format!(
        "{} each, in turns, `echo hello`; ours with the start of `octavius execute --follow`; {NO_MORE}",
        ours.count()
    );
    Ok(beside("execute to first line", &direct, &ours, &note))
}

/// From the start of the CLI until it prints the first line.
async fn at_the_cli(world: &World) -> Result<Duration> {
    let mut command = world.installation.command("octavius");
    command.args(["execute", "hello", "--follow"]).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let began = Instant::now();
    let mut command = tokio::process::Command::from(command).kill_on_drop(true).spawn()?;
    let said = command.stdout.take().context("there is no standard output")?;
    let mut said = tokio::io::BufReader::new(said).lines();
    let line = timeout(PATIENCE, said.next_line()).await.context("no line comes")??;
    let took = began.elapsed();
    ensure!(line.as_deref() == Some("hello"), "the CLI printed {line:?}");
    timeout(PATIENCE, command.wait()).await.context("the CLI does not end")??;
    Ok(took)
}

/// From a line's writing to its reading: of one program, whose log both ways follow. When a line was written is what
/// the container's runtime says in front of it, to whoever asks the API for it.
async fn delay(world: &World, plan: Plan) -> Result<Vec<Row>> {
    let count = plan.of(400, 40);
    let program = format!(
        "sleep 3; i=0; while [ $i -lt {count} ]; do i=$((i+1)); echo $i; usleep 30000; done"
    );
    world.job("clock", &["sh", "-c", &program]).await?;
    let id = world.installation.submit("clock").await?;
    let client = world.installation.another_client()?;
    let ours = tokio::spawn(async move { logs::lines(&client, &id).await });
    let pod = running_pod(world).await?;
    let log = world.direct.follow(&pod, true).await?;
    pin_mut!(log);
    let mut written = BTreeMap::new();
    let mut direct = Vec::new();
    let mut line = String::new();
    while timeout(PATIENCE, log.read_line(&mut line)).await.context("the log stands")?? > 0 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let (stamp, number) = line.trim().split_once(' ').context("a line without a stamp")?;
        let stamp: jiff::Timestamp = stamp.parse()?;
        let stamp = Duration::try_from(stamp.as_duration())?;
        direct.push(now.saturating_sub(stamp));
        written.insert(number.parse::<usize>()?, stamp);
        line.clear();
    }
    ensure!(direct.len() == count, "{} of {count} lines came from the API", direct.len());
    let ours: Vec<_> = ours
        .await??
        .into_iter()
        .filter_map(|(line, read)| Some(read.saturating_sub(*written.get(&line.parse().ok()?)?)))
        .collect();
    ensure!(ours.len() == count, "{} of {count} lines came from the controller", ours.len());
    let note = format!("{count} lines of one pod, one each 30 ms, read by both at once; {NO_MORE}");
    Ok(beside("line written to line read", &Spans::new(direct), &Spans::new(ours), &note))
}

/// The pod of the only execution that runs.
async fn running_pod(world: &World) -> Result<String> {
    let until = Instant::now() + PATIENCE;
    loop {
        if let [pod] = &world.direct.running().await?[..] {
            return Ok(pod.clone());
        }
        ensure!(Instant::now() < until, "no pod runs in {}", world.namespace.name());
        sleep(Duration::from_millis(20)).await;
    }
}

/// Many programs that do nothing, all at once.
async fn many_short(world: &World, plan: Plan) -> Result<Vec<Row>> {
    let count = plan.of(MANY, 10);
    let mut rows = Vec::new();
    // What it costs the API alone to do, one by one, what an attempt needs for its promises.
    for (extent, what) in [
        (Extent::Complete, "made and complete"),
        (Extent::Secret, "with a Secret each"),
        (Extent::LetGo, "let go by a change"),
        (Extent::Deleted, "deleted when complete"),
    ] {
        let took = world.direct.all_complete(&["true"], count, extent).await?;
        rows.push(milliseconds(format!("{count} × `true`, the API alone, {what}"), took));
    }
    let direct = world.direct.all_complete(&["true"], count, Extent::Followed).await?;
    world.job("short", &["true"]).await?;
    let before = world.installation.client.executions(None, None).await?.len();
    let began = Instant::now();
    for _ in 0..count {
        world.installation.submit("short").await?;
    }
    all_succeeded(&world.installation, before + count).await?;
    let ours = began.elapsed();
    world.direct.none_left().await?;
    let alone =
        format!("{count} × `true`, the API alone, complete, and the log followed to its end");
    rows.push(milliseconds(alone, direct));
    rows.push(Row {
        aim: aim(direct.as_secs_f64() * 1e3),
        note: format!("from the first order until all have succeeded; {NO_MORE}"),
        ..milliseconds(format!("{count} × `true`, Octavius"), ours)
    });
    Ok(rows)
}

fn milliseconds(name: String, took: Duration) -> Row {
    let note = String::new();
    Row { name, value: took.as_secs_f64() * 1e3, unit: "ms", aim: Aim::None, note }
}

/// A large log, followed while it is written.
async fn log(world: &World, plan: Plan) -> Result<Vec<Row>> {
    let megabytes = plan.of(100, 10);
    let size = megabytes * MB;
    let program = format!(
        "yes '2026-01-01T00:00:00.123456Z INFO request id=9e3779b97f4a7c15 took 12 ms, 34567 bytes' | head -c {size}"
    );
    let command = ["sh", "-c", &program];
    let direct = world.direct.whole_log(&command, size).await?;
    world.direct.none_left().await?;
    world.job("writer", &command).await?;
    let id = world.installation.submit("writer").await?;
    let (first, last) = logs::read(world.installation.another_client()?, id, size).await?;
    let ours = last - first;
    world.direct.none_left().await?;
    let rate = |took| per_second(size as u64, took) / 1e6;
    let note =
        format!("{megabytes} MB from one pod, followed while it was written; first byte to end");
    let row = |whose: &str, took, aim| Row {
        name: format!("log of a pod, {whose}"),
        value: rate(took),
        unit: "MB/s",
        aim,
        note: note.clone(),
    };
    Ok(vec![
        row("the API alone", direct, Aim::None),
        row("Octavius", ours, Aim::AtLeast(rate(direct) * 0.9)),
    ])
}

/// What many pods that write a line a second each cost the executor.
async fn executor(world: &World, plan: Plan) -> Result<Vec<Row>> {
    let (count, seconds) = (plan.of(MANY, 10), plan.of(60, 5));
    world.job("ticks", &["sh", "-c", "while :; do echo tick; sleep 1; done"]).await?;
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(world.installation.submit("ticks").await?);
    }
    let until = Instant::now() + PATIENCE * 3;
    while world.direct.running().await?.len() < count {
        ensure!(Instant::now() < until, "not all pods run");
        sleep(Duration::from_secs(1)).await;
    }
    sleep(Duration::from_secs(plan.of(20, 2))).await;
    let (before, began) = (world.executor.worked()?, Instant::now());
    sleep(Duration::from_secs(seconds)).await;
    let worked = world.executor.worked()?.saturating_sub(before);
    let share = worked.as_secs_f64() / began.elapsed().as_secs_f64() * 100.0;
    let memory = world.executor.memory()?;
    for id in ids {
        world.installation.client.cancel(&id).await?;
    }
    world.direct.none_left().await?;
    let note = format!("{count} pods that write a line a second each, over {seconds} s");
    let row = |what: &str, value, unit, most| Row {
        name: format!("executor with {count} pods, {what}"),
        value,
        unit,
        aim: plan.of(Aim::AtMost(most), Aim::None),
        note: note.clone(),
    };
    Ok(vec![row("of a core", share, "%", 5.0), row("memory", memory, "MB", 60.0)])
}
