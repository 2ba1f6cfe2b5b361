//! What a fleet costs: a decision where very much waits, memory where very many executors wait, and how soon a cancel has
//! ended a program.

use super::{
    Plan,
    figures::{Spans, per_second},
    idle_executor::{Done, IdleExecutor},
    installation::{Installation, NOTHING, PATIENCE},
    place::Place,
    table::{Aim, Row},
};
use anyhow::{Context as _, Result, bail, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use octavius_controller::job_queue::rules::bench::{EXECUTORS, Fleet, JOBS};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

/// How many wait while decisions are measured, and how many besides that each ask for an executor of their own.
const PENDING: [(usize, usize); 4] = [(100, 0), (10_000, 0), (100_000, 0), (100_000, 100_000)];
/// By how much a decision may be slower behind more.
const FLAT: f64 = 2.0;
/// The most memory of a controller for whom so many executors wait, in MB.
const MEMORY: f64 = 300.0;
/// How soon a cancel has ended a program, in milliseconds.
const CANCEL: f64 = 1_000.0;
/// Each executor has two connections. A controller gives 1,024 files to none of them, and some are the bench's own.
const FILES_OF_ONE: u64 = 2;
const FILES_BESIDE: u64 = 1_280;

pub(super) async fn fleet(binaries: &Path, plan: Plan, place: &Place) -> Result<Vec<Row>> {
    let mut rows = tokio::task::spawn_blocking(move || decisions(plan)).await?;
    rows.extend(parked(binaries, plan, place).await?);
    rows.push(cancelled(binaries, plan, place).await?);
    Ok(rows)
}

/// The rules alone: an attempt ends, its executor gets the next, a new execution comes.
fn decisions(plan: Plan) -> Vec<Row> {
    let (mut rows, mut first) = (Vec::new(), None);
    for (pending, others) in PENDING {
        let mut fleet = Fleet::new(pending).with_others(others);
        let (mut spans, mut granted) = (Vec::new(), 0);
        let rounds = plan.of(50_000, 5_000);
        for _ in 0..rounds / 10 {
            fleet.round(); // so that it is warm
        }
        let began = Instant::now();
        for _ in 0..rounds {
            let round = Instant::now();
            granted += fleet.round();
            spans.push(round.elapsed());
        }
        let took = began.elapsed();
        let spans = Spans::new(spans);
        let rate = per_second(rounds, took);
        let p99 = spans.percentile(99) * 1e3;
        let (rate_at_first, p99_at_first) = *first.get_or_insert((rate, p99));
        let least = Aim::AtLeast(rate_at_first / FLAT);
        let most = Aim::AtMost(p99_at_first * FLAT);
        let is_first = (pending, others) == PENDING[0];
        let pending = match others {
            0 => format!("{pending} pending"),
            _ => format!("{pending} pending and {others} that each ask for another executor"),
        };
        let note = format!(
            "{JOBS} jobs over {EXECUTORS} executors, the rules alone; {granted} granted in {rounds} rounds, {} wait then",
            fleet.waiting()
        );
        rows.push(Row {
            name: format!("decisions with {pending}"),
            value: rate,
            unit: "1/s",
            aim: if is_first { Aim::None } else { least },
            note: note.clone(),
        });
        rows.push(Row {
            name: format!("a decision with {pending}, p99"),
            value: p99,
            unit: "µs",
            aim: if is_first { Aim::None } else { most },
            note,
        });
    }
    rows
}

/// Very many executors wait for work at one controller, and one of them gets what is submitted.
async fn parked(binaries: &Path, plan: Plan, place: &Place) -> Result<Vec<Row>> {
    let limit = getrlimit(Resource::Nofile);
    // Where not so many files may be open, as many as those are enough for: the row says how many.
    let enough_for = |files: u64| files.saturating_sub(FILES_BESIDE) / FILES_OF_ONE;
    let most = limit.maximum.map_or(u64::MAX, enough_for);
    let count = plan.of(10_000, 200).min(most);
    let files = FILES_OF_ONE * count + FILES_BESIDE;
    if limit.current.is_some_and(|current| current < files) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(files), ..limit })
            .with_context(|| format!("{files} files cannot be open: raise `ulimit -n`"))?;
    }
    let installation = Installation::start(binaries, place).await?;
    let idle = installation.controller.memory()?;
    let (told, mut hears) = mpsc::unbounded_channel();
    let began = Instant::now();
    let starting = stream::iter(0..count).map(|number| {
        let (address, told) = (&installation.address, told.clone());
        async move { IdleExecutor::one_of_many(address, &format!("parked-{number}"), told).await }
    });
    let executors: Vec<_> = starting.buffer_unordered(64).try_collect().await?;
    let joined = began.elapsed();
    // As long as the longest parked call and more: each has come again at least once.
    sleep(Duration::from_secs(plan.of(45, 2))).await;
    let memory = installation.controller.memory()?;
    let (before, began) = (installation.controller.worked()?, Instant::now());
    sleep(Duration::from_secs(plan.of(20, 2))).await;
    let busy = (installation.controller.worked()? - before).as_secs_f64()
        / began.elapsed().as_secs_f64()
        * 100.0;
    let mut spans = Vec::new();
    for _ in 0..plan.of(200, 20) {
        let began = Instant::now();
        let submitted = installation.submit(NOTHING).await?;
        let leased = timeout(PATIENCE, until_over(&mut hears, &submitted)).await;
        spans.push(leased.context("nothing was leased")?? - began);
    }
    let spans = Spans::new(spans);
    ensure!(executors.len() as u64 == count, "{} have joined", executors.len());
    Ok(vec![
        Row {
            name: format!("memory with {count} executors parked"),
            value: memory,
            unit: "MB",
            aim: place.aim(Aim::AtMost(MEMORY)),
            note: format!(
                "controller, resident; {idle:.0} MB before; each with two connections, a call for work and one for orders; they joined in {:.1} s; it works {busy:.0} % of a core",
                joined.as_secs_f64()
            ),
        },
        Row {
            name: format!("submit to lease with {count} parked, p99"),
            value: spans.percentile(99),
            unit: "ms",
            aim: Aim::None,
            note: format!("{} one at a time, median {:.2} ms", spans.count(), spans.median()),
        },
    ])
}

/// When this execution was leased; answered when it is over, so that the next one finds all idle.
async fn until_over(hears: &mut mpsc::UnboundedReceiver<Done>, wanted: &str) -> Result<Instant> {
    let mut leased = None;
    loop {
        match hears.recv().await {
            Some(Done::Leased(id, at)) if id == wanted => {
                ensure!(leased.replace(at).is_none(), "{id} was leased twice");
            }
            Some(Done::Leased(..)) => {}
            Some(Done::Ended(id)) if id == wanted => return leased.context("it was not leased"),
            Some(Done::Ended(_)) => {}
            Some(Done::Failed(error)) => return Err(error),
            None => bail!("the executors are gone"),
        }
    }
}

/// From a cancel until the program that runs is gone.
async fn cancelled(binaries: &Path, plan: Plan, place: &Place) -> Result<Row> {
    let installation = Installation::start(binaries, place).await?;
    let _executor = installation.executor(2).await?;
    let file = installation.folder().join("pid");
    let program = format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 600", file.display());
    installation.job("long", &["sh", "-c", &program]).await?;
    let mut spans = Vec::new();
    for _ in 0..plan.of(100, 5) {
        let id = installation.submit("long").await?;
        let process = timeout(PATIENCE, written(&file)).await.context("it does not run")??;
        let began = Instant::now();
        installation.client.cancel(&id).await?;
        while process.exists() {
            ensure!(began.elapsed() < PATIENCE, "a cancelled program runs on");
            sleep(Duration::from_millis(1)).await;
        }
        spans.push(began.elapsed());
        std::fs::remove_file(&file)?;
    }
    let spans = Spans::new(spans);
    Ok(Row {
        name: "cancel to the program's end, p99".to_owned(),
        value: spans.percentile(99),
        unit: "ms",
        aim: Aim::AtMost(CANCEL),
        note: format!(
            "{} of `sleep`, at a real executor, one at a time; median {:.1} ms",
            spans.count(),
            spans.median()
        ),
    })
}

/// Where the kernel shows the process that has written its number there.
async fn written(file: &Path) -> Result<PathBuf> {
    while !file.exists() {
        sleep(Duration::from_millis(1)).await;
    }
    let number: u32 = std::fs::read_to_string(file)?.trim().parse()?;
    Ok(Path::new("/proc").join(number.to_string()))
}
