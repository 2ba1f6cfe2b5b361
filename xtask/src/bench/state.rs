//! What state costs: memory, and time at the start.

use super::{
    Plan,
    commands::{all_succeeded, fill},
    figures::per_second,
    idle_executor::{Done, IdleExecutor},
    installation::{Installation, PATIENCE},
    place::Place,
    table::{Aim, Row},
};
use anyhow::{Context as _, Result, bail};
use std::{path::Path, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

pub(super) async fn idle(binaries: &Path, plan: Plan, place: &Place) -> Result<Vec<Row>> {
    let installation = Installation::start(binaries, place).await?;
    let executor = installation.executor(2).await?;
    let seconds = plan.of(10, 2);
    sleep(Duration::from_secs(seconds)).await;
    let note = format!("resident, {seconds} s after the start");
    let servers = [("controller", &installation.controller, 25.0), ("executor", &executor, 15.0)];
    let rows = servers.map(|(name, server, aim)| {
        Ok(Row {
            name: format!("memory of an idle {name}"),
            value: server.memory()?,
            unit: "MB",
            aim: place.aim(Aim::AtMost(aim)),
            note: note.clone(),
        })
    });
    rows.into_iter().collect()
}

/// So many wait; then they are ended by an executor that does nothing, and the controller is started again.
pub(super) async fn history(binaries: &Path, plan: Plan, place: &Place) -> Result<Vec<Row>> {
    let count: usize = plan.of(100_000, 2_000);
    let installation = Installation::start(binaries, place).await?;
    let began = Instant::now();
    fill(&installation, count).await?;
    let submitted = began.elapsed();
    let memory = installation.controller.memory()?;
    let began = Instant::now();
    end(&installation, count).await?;
    let ended = began.elapsed();
    all_succeeded(&installation, count).await?;
    let (installation, start) = installation.restart().await?;
    let after = installation.controller.memory()?;
    let count_of = u64::try_from(count)?;
    Ok(vec![
        Row {
            name: format!("memory with {count} pending"),
            value: memory,
            unit: "MB",
            aim: place.aim(Aim::AtMost(150.0)),
            note: "controller, resident, after the last was submitted".to_owned(),
        },
        Row {
            name: format!("start with {count} finished"),
            value: start.as_secs_f64(),
            unit: "s",
            aim: place.aim(Aim::AtMost(0.5)),
            note: format!("from exec to the first answer of the queue; {after:.0} MB then"),
        },
        Row {
            name: "submits alone".to_owned(),
            value: per_second(count_of, submitted),
            unit: "1/s",
            aim: Aim::None,
            note: format!("{count} without an executor, 128 in flight"),
        },
        Row {
            name: "ends alone".to_owned(),
            value: per_second(count_of, ended),
            unit: "1/s",
            aim: Aim::None,
            note: "lease to end of what waited, 512 at once".to_owned(),
        },
    ])
}

/// Ends all that waits.
async fn end(installation: &Installation, count: usize) -> Result<()> {
    let (told, mut hears) = mpsc::unbounded_channel();
    let _executor = IdleExecutor::start(&installation.address, None, 512, told).await?;
    let mut ended = 0;
    while ended < count {
        match timeout(PATIENCE, hears.recv()).await.context("nothing ends")? {
            Some(Done::Ended(_)) => ended += 1,
            Some(Done::Leased(..)) => {}
            Some(Done::Failed(error)) => return Err(error),
            None => bail!("the executor is gone"),
        }
    }
    Ok(())
}
