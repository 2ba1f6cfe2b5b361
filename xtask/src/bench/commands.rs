//! With the real executor and real processes.

use super::{
    Plan,
    figures::{Spans, per_second},
    installation::{Installation, NOTHING, PATIENCE},
    load,
    place::Place,
    table::{Aim, Row},
};
use anyhow::{Context as _, Result, ensure};
use octavius_client::v1::{Execution, ExecutionState};
use std::{path::Path, process::Stdio, time::Duration};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

/// For how long nothing happens before a command is started.
const PAUSE: Duration = Duration::from_millis(50);
/// How many processes run at once.
const PROCESSES: usize = 64;

pub(super) async fn execute_and_wait(
    binaries: &Path,
    plan: Plan,
    place: &Place,
) -> Result<Vec<Row>> {
    let installation = Installation::start(binaries, place).await?;
    let _executor = installation.executor(2).await?;
    let mut spans = Vec::new();
    for _ in 0..plan.of(200, 20) {
        sleep(PAUSE).await;
        let mut command = installation.command("octavius");
        command.args(["execute", NOTHING, "--wait"]).stdin(Stdio::null());
        let mut command = tokio::process::Command::from(command);
        let began = Instant::now();
        let ended = command.output().await?;
        spans.push(began.elapsed());
        let said = String::from_utf8_lossy(&ended.stderr);
        ensure!(ended.status.success(), "`execute --wait` ended with {}: {said}", ended.status);
    }
    let spans = Spans::new(spans);
    let note = format!("{} whole processes, one at a time, `true`", spans.count());
    Ok([("median", spans.median(), Aim::AtMost(30.0)), ("p99", spans.percentile(99), Aim::None)]
        .map(|(which, value, aim)| Row {
            name: format!("execute --wait, {which}"),
            value,
            unit: "ms",
            aim: place.aim(aim),
            note: note.clone(),
        })
        .into())
}

/// The executions wait before the executor starts, so that only what it and the controller do is measured.
pub(super) async fn processes(binaries: &Path, plan: Plan, place: &Place) -> Result<Vec<Row>> {
    let installation = Installation::start(binaries, place).await?;
    let count = plan.of(5000, 300);
    fill(&installation, count).await?;
    let executor = installation.executor(PROCESSES).await?;
    let ended = all_succeeded(&installation, count).await?;
    let worked = [installation.controller.worked()?, executor.worked()?];
    let time = between(&ended)?;
    let each = worked.map(|worked| worked.as_secs_f64() * 1e6 / count as f64);
    Ok(vec![Row {
        name: "real processes".to_owned(),
        value: per_second(count as u64, time),
        unit: "1/s",
        aim: place.aim(Aim::AtLeast(1000.0)),
        note: format!(
            "{count} × `true`, {PROCESSES} at once, first lease to last end; CPU each: controller {:.0} µs, executor without its children {:.0} µs",
            each[0], each[1]
        ),
    }])
}

/// Submits so many, as fast as that goes.
pub(super) async fn fill(installation: &Installation, count: usize) -> Result<()> {
    const AT_ONCE: usize = 128;
    let clients = load::clients(installation)?;
    let mut submitters = JoinSet::new();
    for number in 0..AT_ONCE {
        let client = clients[number % clients.len()].clone();
        let share = count / AT_ONCE + usize::from(number < count % AT_ONCE);
        submitters.spawn(async move {
            for _ in 0..share {
                client.execute(NOTHING, [].into()).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(submitted) = submitters.join_next().await {
        submitted??;
    }
    Ok(())
}

/// Waits until all have succeeded, and answers them.
pub(super) async fn all_succeeded(
    installation: &Installation,
    count: usize,
) -> Result<Vec<Execution>> {
    let mut until = Instant::now() + PATIENCE;
    let mut last = String::new();
    loop {
        // The newest ends last, nearly; the whole list is asked for only then.
        let newest = installation.client.executions(None, Some(1)).await?;
        if newest.iter().all(is_final) {
            let all = installation.client.executions(None, None).await?;
            let good = |one: &&Execution| one.state() == ExecutionState::Succeeded;
            let succeeded = all.iter().filter(good).count();
            if succeeded == count {
                return Ok(all);
            }
            let seen = format!("{succeeded} of {count} executions succeeded");
            let bad = |one: &&Execution| is_final(one) && !good(one);
            ensure!(!all.iter().any(|one| bad(&one)), "{seen}, and others ended");
            if seen != last {
                (until, last) = (Instant::now() + PATIENCE, seen);
            }
        }
        ensure!(Instant::now() < until, "it does not go on: {last}");
        sleep(Duration::from_millis(100)).await;
    }
}

fn is_final(execution: &Execution) -> bool {
    octavius_client::is_final(execution.state())
}

/// From the first lease to the last end, by the controller's clock.
fn between(executions: &[Execution]) -> Result<Duration> {
    let at = |execution: &Execution, state: ExecutionState| {
        let step = execution.history.iter().find(|step| step.state() == state)?;
        Duration::try_from(prost_span(step.at?)).ok()
    };
    let first = executions.iter().filter_map(|one| at(one, ExecutionState::Leased)).min();
    let last = executions.iter().filter_map(|one| at(one, ExecutionState::Succeeded)).max();
    let took = first.zip(last).and_then(|(first, last)| last.checked_sub(first));
    took.context("the history says nothing of the times")
}

fn prost_span(at: prost_types::Timestamp) -> prost_types::Duration {
    prost_types::Duration { seconds: at.seconds, nanos: at.nanos }
}
