//! `octavius executors`: who could run something, and who is to get no more of it.

use crate::{
    complete,
    context::Context,
    exit::{Exit, Failure},
    render::{access::MadeToken, executor::Forgotten},
    span::{label, span},
    terminal,
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
  octavius executors invite --label zone=eu
  octavius executors drain berlin-1 --wait")]
pub(crate) struct Executors {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Invite(Invite),
    Drain(Drain),
    Undrain(Undrain),
    Forget(Forget),
}

/// Make a token with which executors join
///
/// Standard output is the token alone. It goes into `access_token` of `executor_config.json`: with its first registration the
/// executor trades it for a credential of its own, which it keeps in its `state_dir`, and by which alone it is known then.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  octavius executors invite
  octavius executors invite --uses 20 --expires 1d --label env=prod --label zone=eu > token")]
struct Invite {
    /// How many executors may join with it, at most 1000
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    uses: u32,
    /// For how long they may join with it, at most 30d
    #[arg(long, value_name = "TIME", value_parser = span, default_value = "1h")]
    expires: Duration,
    /// A label that they have to have, with this value; labels of other names are theirs to choose
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
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

/// Forget an executor that is gone for good
///
/// What it holds ends as lost, as if it had been silent for `executor_lost_after`, and its id may be used at another place. One
/// that is heard is not forgotten; one that comes back registers as a new one, and has nothing.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  octavius executors forget berlin-1")]
struct Forget {
    /// The executor's id
    #[arg(value_name = "ID", add = complete::executors())]
    id: String,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

impl Executors {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self.command {
            None => list(context).await,
            Some(Command::Invite(invite)) => invite.run(context).await,
            Some(Command::Drain(drain)) => drain.run(context).await,
            Some(Command::Forget(forget)) => forget.run(context).await,
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

impl Invite {
    async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let Self { uses, expires, labels } = self;
        let expires_in = expires.try_into().ok();
        let labels = labels.into_iter().collect();
        let request = v1::InviteExecutorsRequest { uses, expires_in, labels };
        let made = context.client()?.invite_executors(request).await?;
        context.output.show(&MadeToken::new(made.token, made.about))?;
        context.output.hint(
            "This is the only time that it is shown. Give it as `access_token` in `executor_config.json`.",
        );
        Ok(Exit::Done)
    }
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

impl Forget {
    async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let Self { id, yes } = self;
        let (client, output) = (context.client()?, &context.output);
        let question = format!("Forget the executor `{id}`, and end as lost what it holds?");
        if !yes && context.may_ask() && !terminal::agrees(&question)? {
            output.note("nothing was forgotten");
            return Ok(Exit::Usage);
        }
        let lost = client.forget_executor(&id).await?;
        output.show(&Forgotten { id, lost })?;
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
