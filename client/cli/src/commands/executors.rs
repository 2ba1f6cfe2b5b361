//! `octavius executors`: who could run something, and who is to get no more of it.

use crate::{
    complete,
    context::Context,
    exit::{Exit, Failure},
};
use clap::{Args, Subcommand};
use octavius_client::{Client, v1};
use std::time::Duration;

/// How often it is looked whether a drained executor still holds something.
const LOOK: Duration = Duration::from_secs(1);

/// List the executors that the controller knows, or end new work for one
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  octavius executors
  octavius executors -o wide
  octavius executors drain berlin-1 --wait")]
pub(crate) struct Executors {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Drain(Drain),
    Undrain(Undrain),
}

/// End new work for an executor
///
/// What it runs goes on, and it stays so over restarts of executor and controller until `undrain`. Stop the executor once it
/// holds nothing, or at once: what it runs goes on, and is taken over by its next start.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  octavius executors drain berlin-1 --wait")]
struct Drain {
    /// The executor's id
    #[arg(value_name = "ID", add = complete::executors())]
    id: String,
    /// Wait until it holds nothing any more; ends with 1 if somebody undrains it meanwhile
    #[arg(long)]
    wait: bool,
}

/// Begin new work again for an executor that was drained
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  octavius executors undrain berlin-1")]
struct Undrain {
    /// The executor's id
    #[arg(value_name = "ID", add = complete::executors())]
    id: String,
}

impl Executors {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self.command {
            None => list(context).await,
            Some(Command::Drain(drain)) => drain.run(context).await,
            Some(Command::Undrain(Undrain { id })) => {
                let executor = context.client()?.drain_executor(&id, true).await?;
                context.output.show(&vec![executor])?;
                Ok(Exit::Done)
            }
        }
    }
}

async fn list(context: &Context) -> Result<Exit, Failure> {
    let executors = context.client()?.executors().await?;
    context.output.show(&executors)?;
    if executors.is_empty() {
        context.output.hint("No executor has registered yet: `executor start` runs one.");
    }
    Ok(Exit::Done)
}

impl Drain {
    async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let client = context.client()?;
        let mut executor = client.drain_executor(&self.id, false).await?;
        if self.wait {
            executor = until_idle(&client, executor).await?;
        }
        let (held, is_drained) = (executor.held, executor.drained_at.is_some());
        context.output.show(&vec![executor])?;
        if !is_drained {
            context.output.note("Somebody has undrained it meanwhile: it gets new work.");
            return Ok(Exit::NotSucceeded);
        }
        if held > 0 {
            context.output.hint("What it holds goes on: `--wait` waits for that.");
        }
        Ok(Exit::Done)
    }
}

/// The executor, once it holds nothing, or is not drained any more. A grant that was on its way when it was drained is
/// waited for, too.
async fn until_idle(client: &Client, mut executor: v1::Executor) -> Result<v1::Executor, Failure> {
    while executor.held > 0 && executor.drained_at.is_some() {
        tokio::time::sleep(LOOK).await;
        let mut all = client.executors().await?.into_iter();
        let Some(found) = all.find(|found| found.id == executor.id) else { break };
        executor = found;
    }
    Ok(executor)
}
