//! Executions a second, and how soon an executor has what was submitted: with an executor that does nothing.

use super::{
    Plan,
    figures::{Spans, per_second},
    idle_executor::{Done, IdleExecutor},
    installation::{Installation, NOTHING, PATIENCE},
    load,
    table::{Aim, Row},
};
use anyhow::{Context as _, Result, bail};
use std::{path::Path, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

/// How many are in flight, and how many a second are wanted then.
const RATES: [(usize, Aim); 3] = [(1, Aim::None), (64, Aim::AtLeast(2000.0)), (512, Aim::None)];
/// For how long nothing happens before something is measured on an idle system.
const PAUSE: Duration = Duration::from_millis(20);

pub(super) async fn rates(binaries: &Path, plan: Plan) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (in_flight, aim) in RATES {
        rows.push(rate(binaries, in_flight, aim, plan).await?);
    }
    Ok(rows)
}

/// One rate, on a controller of its own.
pub(super) async fn rate(binaries: &Path, in_flight: usize, aim: Aim, plan: Plan) -> Result<Row> {
    let installation = Installation::start(binaries).await?;
    let time = Duration::from_millis(plan.of(10_000, 1_000));
    load::run(&installation, in_flight, time / 10).await?; // so that it is warm
    let before = installation.controller.worked()?;
    let (count, took) = load::run(&installation, in_flight, time).await?;
    let worked = installation.controller.worked()?.saturating_sub(before);
    let each = worked.as_secs_f64() * 1e6 / per_second(count, Duration::from_secs(1));
    Ok(Row {
        name: format!("executions, {in_flight} in flight"),
        value: per_second(count, took),
        unit: "1/s",
        aim,
        note: format!("{count} succeeded, all durable; controller {each:.0} µs CPU each"),
    })
}

pub(super) async fn lease(binaries: &Path, plan: Plan) -> Result<Vec<Row>> {
    let installation = Installation::start(binaries).await?;
    let (told, mut hears) = mpsc::unbounded_channel();
    let _executor = IdleExecutor::start(&installation.address, 8, told).await?;
    let mut spans = Vec::new();
    for _ in 0..plan.of(500, 50) {
        sleep(PAUSE).await;
        let began = Instant::now();
        let submitted = installation.client.execute(NOTHING, [].into()).await?.id;
        let leased = timeout(PATIENCE, leased(&mut hears, &submitted)).await;
        spans.push(leased.context("nothing was leased")?? - began);
    }
    let spans = Spans::new(spans);
    let note = format!("{} on an idle system, one at a time", spans.count());
    Ok([("median", spans.median(), 2.0), ("p99", spans.percentile(99), 10.0)]
        .map(|(which, value, aim)| Row {
            name: format!("submit to lease, {which}"),
            value,
            unit: "ms",
            aim: Aim::AtMost(aim),
            note: note.clone(),
        })
        .into())
}

async fn leased(hears: &mut mpsc::UnboundedReceiver<Done>, wanted: &str) -> Result<Instant> {
    let mut when = None;
    loop {
        match hears.recv().await {
            Some(Done::Leased(id, at)) if id == wanted => when = Some(at),
            Some(Done::Leased(..)) => {}
            // Waits until it is over, so that the next one finds the system idle.
            Some(Done::Ended(id)) => {
                if let Some(when) = when.filter(|_| id == wanted) {
                    return Ok(when);
                }
            }
            Some(Done::Failed(error)) => return Err(error),
            None => bail!("the executor is gone"),
        }
    }
}
