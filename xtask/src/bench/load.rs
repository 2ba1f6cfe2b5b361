//! Those who submit, a given number at a time, each waiting for what it submitted.

use super::{
    idle_executor::{Done, IdleExecutor},
    installation::{Installation, NOTHING, PATIENCE, worked_itself},
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
pub(super) const CONNECTIONS: usize = 4;

/// Those who submit to one controller, and the executor that ends what they submit.
#[derive(Debug)]
pub(super) struct Load {
    in_flight: usize,
    clients: Vec<Client>,
    hears: mpsc::UnboundedReceiver<Done>,
    _executor: IdleExecutor,
}

/// What ended.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) submitted: HashSet<String>,
    /// From before each submit until its end was acknowledged.
    pub(super) spans: Vec<Duration>,
    pub(super) took: Duration,
    /// How long the controller has had a core meanwhile.
    pub(super) worked: Duration,
    /// The same of those who submit and the executor, which are the bench.
    pub(super) worked_itself: Duration,
}

impl Ran {
    pub(super) fn count(&self) -> u64 {
        self.submitted.len() as u64
    }
}

impl Load {
    /// `in_flight` who share so many connections; where tokens are taken, each of these has one of its own.
    pub(super) async fn start(
        installation: &Installation,
        in_flight: usize,
        connections: usize,
    ) -> Result<Self> {
        let (told, hears) = mpsc::unbounded_channel();
        let capacity = u32::try_from(2 * in_flight + 64)?;
        let invitation = installation.invitation().await?;
        let address = &installation.address;
        let executor = IdleExecutor::start(address, invitation.as_ref(), capacity, told).await?;
        let mut clients = Vec::new();
        for number in 0..connections {
            clients.push(installation.client_of(&format!("bench-{number}@example.com")).await?);
        }
        Ok(Self { in_flight, clients, hears, _executor: executor })
    }

    /// Submits until the time is over, each as soon as the one before has ended at the executor. All of them are asked for
    /// at the end, and have to have succeeded.
    pub(super) async fn run(&mut self, installation: &Installation, time: Duration) -> Result<Ran> {
        let (asks, asked) = mpsc::unbounded_channel();
        let mut submitters = JoinSet::new();
        let (worked, itself) = (installation.controller.worked()?, worked_itself()?);
        let began = Instant::now();
        for client in self.clients.iter().cycle().take(self.in_flight) {
            submitters.spawn(submit(client.clone(), asks.clone(), began + time));
        }
        drop(asks);
        let (mut submitted, mut spans) = (HashSet::new(), Vec::new());
        let submitting = async {
            while let Some(ended) = submitters.join_next().await {
                for (id, span) in ended?? {
                    submitted.insert(id);
                    spans.push(span);
                }
            }
            anyhow::Ok(began.elapsed())
        };
        let took = tokio::select! {
            took = submitting => took?,
            failed = tell(&mut self.hears, asked) => return Err(failed),
        };
        let worked = installation.controller.worked()?.saturating_sub(worked);
        let worked_itself = worked_itself()?.saturating_sub(itself);
        succeeded(installation, &submitted).await?;
        Ok(Ran { submitted, spans, took, worked, worked_itself })
    }
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
) -> Result<Vec<(String, Duration)>> {
    let mut submitted = Vec::new();
    while Instant::now() < until {
        let began = Instant::now();
        let id = client.execute(NOTHING, [].into()).await?.id;
        let (tell, told) = oneshot::channel();
        asks.send((id.clone(), tell)).ok().context("nobody listens")?;
        timeout(PATIENCE, told).await.context("an execution did not end")??;
        submitted.push((id, began.elapsed()));
    }
    Ok(submitted)
}

/// Tells those who wait what the executor has ended. Ends only with a failure.
async fn tell(
    hears: &mut mpsc::UnboundedReceiver<Done>,
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

/// Asks the controller for as many executions as were submitted last, and checks that all of these are there and have
/// succeeded.
async fn succeeded(installation: &Installation, submitted: &HashSet<String>) -> Result<()> {
    let found = installation.client.executions(Some(NOTHING), Some(submitted.len())).await?;
    let found = found.into_iter().filter(|found| submitted.contains(&found.id));
    let good = found.filter(|found| found.state() == ExecutionState::Succeeded).count();
    ensure!(good == submitted.len(), "{good} of {} executions succeeded", submitted.len());
    Ok(())
}
