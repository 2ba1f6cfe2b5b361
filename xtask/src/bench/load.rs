//! Those who submit, a given number at a time, each waiting for what it submitted.

use super::{
    idle_executor::{Done, IdleExecutor},
    installation::{Installation, NOTHING, PATIENCE},
};
use anyhow::{Context as _, Result, ensure};
use octavius_client::{Client, v1::ExecutionState};
use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Instant, timeout},
};

/// How many connections those share who submit.
const CONNECTIONS: usize = 4;

/// Submits `in_flight` at a time until the time is over, each as soon as the one before has ended at `executor`, and
/// answers how many ended in which time. All of them are asked for at the end, and have to have succeeded.
pub(super) async fn run(
    installation: &Installation,
    in_flight: usize,
    time: Duration,
) -> Result<(u64, Duration)> {
    let (told, hears) = mpsc::unbounded_channel();
    let capacity = u32::try_from(2 * in_flight + 64)?;
    let executor = IdleExecutor::start(&installation.address, capacity, told).await?;
    let (asks, asked) = mpsc::unbounded_channel();
    let mut submitters = JoinSet::new();
    let began = Instant::now();
    let clients = clients(installation)?;
    for number in 0..in_flight {
        let (client, asks) = (clients[number % CONNECTIONS].clone(), asks.clone());
        submitters.spawn(submit(client, asks, began + time));
    }
    drop(asks);
    let (mut count, mut submitted) = (0, HashSet::new());
    let submitting = async {
        while let Some(ids) = submitters.join_next().await {
            submitted.extend(ids??);
        }
        count = u64::try_from(submitted.len())?;
        anyhow::Ok(began.elapsed())
    };
    let took = tokio::select! {
        took = submitting => took?,
        failed = tell(hears, asked) => return Err(failed),
    };
    drop(executor);
    succeeded(installation, &submitted).await?;
    Ok((count, took))
}

pub(super) fn clients(installation: &Installation) -> Result<Vec<Client>> {
    (0..CONNECTIONS).map(|_| installation.another_client()).collect()
}

type Ask = (String, oneshot::Sender<()>);

/// One who submits, and waits for the end of it, again and again.
async fn submit(
    client: Client,
    asks: mpsc::UnboundedSender<Ask>,
    until: Instant,
) -> Result<Vec<String>> {
    let mut submitted = Vec::new();
    while Instant::now() < until {
        let id = client.execute(NOTHING, [].into()).await?.id;
        submitted.push(id.clone());
        let (tell, told) = oneshot::channel();
        asks.send((id, tell)).ok().context("nobody listens")?;
        timeout(PATIENCE, told).await.context("an execution did not end")??;
    }
    Ok(submitted)
}

/// Tells those who wait what the executor has ended. Ends only with a failure.
async fn tell(
    mut hears: mpsc::UnboundedReceiver<Done>,
    mut asked: mpsc::UnboundedReceiver<Ask>,
) -> anyhow::Error {
    let (mut ended, mut waiting) = (HashSet::new(), HashMap::<String, oneshot::Sender<()>>::new());
    loop {
        tokio::select! {
            done = hears.recv() => match done {
                Some(Done::Ended(id)) => match waiting.remove(&id) {
                    Some(waiter) => {
                        let _ = waiter.send(()); // nobody leaves while it waits
                    }
                    None => {
                        ended.insert(id);
                    }
                },
                Some(Done::Leased(..)) => {}
                Some(Done::Failed(error)) => return error.context("the executor failed"),
                None => return anyhow::anyhow!("the executor is gone"),
            },
            Some((id, waiter)) = asked.recv() => {
                if ended.remove(&id) {
                    let _ = waiter.send(());
                } else {
                    waiting.insert(id, waiter);
                }
            }
        }
    }
}

/// Asks the controller for all executions, and checks that all of these are there and have succeeded.
async fn succeeded(installation: &Installation, submitted: &HashSet<String>) -> Result<()> {
    let found = installation.client.executions(Some(NOTHING), None).await?;
    let found = found.into_iter().filter(|found| submitted.contains(&found.id));
    let good = found.filter(|found| found.state() == ExecutionState::Succeeded).count();
    ensure!(good == submitted.len(), "{good} of {} executions succeeded", submitted.len());
    Ok(())
}
