//! Executions a second, and how soon an executor has what was submitted: with an executor that does nothing.

use super::{
    Plan,
    figures::{Spans, per_second},
    idle_executor::{Done, IdleExecutor},
    installation::{Installation, NOTHING, PATIENCE},
    load::{CONNECTIONS, Load},
    place::{Looked, Place, size_of_record},
    table::{Aim, Row},
};
use anyhow::{Context as _, Error, Result, bail};
use octavius_controller::store::etcd::raw;
use octavius_testbed::etcd::Etcd;
use std::{path::Path, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

/// How many are in flight, and how many a second are wanted then.
const RATES: [(usize, Aim); 3] = [(1, Aim::None), (64, Aim::AtLeast(2000.0)), (512, Aim::None)];
/// For how long nothing happens before something is measured on an idle system.
const PAUSE: Duration = Duration::from_millis(20);

/// With the state in an etcd, this part of the puts of 64 clients is wanted of 64 in flight.
const PART_OF_PUTS: f64 = 0.25;
const PUTTING: usize = 64;

pub(super) async fn rates(binaries: &Path, plan: Plan, place: &Place) -> Result<Vec<Row>> {
    let (mut rows, mut wanted) = (Vec::new(), RATES);
    if let Some(etcd) = place.etcd() {
        let installation = Installation::start(binaries, place).await?;
        installation.submit(NOTHING).await?;
        let size = size_of_record(etcd).await?;
        drop(installation);
        rows.push(puts(etcd, 1, size, plan).await?);
        let puts = puts(etcd, PUTTING, size, plan).await?;
        let aim = Aim::AtLeast(puts.value * PART_OF_PUTS);
        rows.push(puts);
        wanted =
            wanted.map(|(flying, _)| (flying, if flying == PUTTING { aim } else { Aim::None }));
    }
    for (in_flight, aim) in wanted {
        rows.push(rate(binaries, in_flight, aim, plan, place).await?);
    }
    Ok(rows)
}

/// For how long one rate is measured.
fn time(plan: Plan) -> Duration {
    Duration::from_millis(plan.of(10_000, 1_000))
}

/// What the etcd takes without a controller.
async fn puts(etcd: &Etcd, clients: usize, size: usize, plan: Plan) -> Result<Row> {
    let endpoint = etcd.endpoints().into_iter().next().context("etcd has no member")?;
    let prefix = format!("raw/{clients}/");
    let put = async |time| raw::puts(&endpoint, &prefix, clients, size, time).await;
    put(time(plan) / 10).await.map_err(Error::msg)?; // so that it is warm
    let before = Looked::at(etcd).await;
    let (count, took) = put(time(plan)).await.map_err(Error::msg)?;
    Ok(Row {
        name: format!("puts without a controller, {clients} at a time"),
        value: per_second(count, took),
        unit: "1/s",
        aim: Aim::None,
        note: format!(
            "{count} of one key each, {size} bytes as the record of an execution that waits, each client on a connection of its own; {}",
            before.since(etcd).await
        ),
    })
}

/// One rate, on a controller of its own.
pub(super) async fn rate(
    binaries: &Path,
    in_flight: usize,
    aim: Aim,
    plan: Plan,
    place: &Place,
) -> Result<Row> {
    let installation = Installation::start(binaries, place).await?;
    let mut load = Load::start(&installation, in_flight, CONNECTIONS).await?;
    load.run(&installation, time(plan) / 10).await?; // so that it is warm
    let looked = match place.etcd() {
        Some(etcd) => Some((Looked::at(etcd).await, etcd)),
        None => None,
    };
    let ran = load.run(&installation, time(plan)).await?;
    let count = ran.count();
    let each = ran.worked.as_secs_f64() * 1e6 / per_second(count, Duration::from_secs(1));
    let done = match looked {
        Some((before, etcd)) => format!("; {}", before.since(etcd).await),
        None => String::new(),
    };
    Ok(Row {
        name: format!("executions, {in_flight} in flight"),
        value: per_second(count, ran.took),
        unit: "1/s",
        aim,
        note: format!("{count} succeeded, all durable; controller {each:.0} µs CPU each{done}"),
    })
}

pub(super) async fn lease(binaries: &Path, plan: Plan, place: &Place) -> Result<Vec<Row>> {
    let installation = Installation::start(binaries, place).await?;
    let (told, mut hears) = mpsc::unbounded_channel();
    let _executor = IdleExecutor::start(&installation.address, None, 8, told).await?;
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
            aim: place.aim(Aim::AtMost(aim)),
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
