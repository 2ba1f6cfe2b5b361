//! `octavius cancel`: asks that an execution end.

use crate::{
    complete,
    context::Context,
    exit::{Exit, Failure},
    output::Format,
    render::execution::state_and_reason,
};
use clap::Args;

/// Ask that an execution end
///
/// One that waits ends at once. One that runs is told to stop, and is `cancelled` when nothing runs any more.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  octavius cancel 06ac1q5gt9vk3e1b7m2n4p6r8s
  octavius cancel @last --force")]
pub(crate) struct Cancel {
    /// The execution's id, six or more characters of its end, or `@last`
    #[arg(value_name = "ID", add = complete::executions())]
    id: String,
    /// Do not wait until its executor says that nothing runs any more: it is `cancelled` at once, unconfirmed
    #[arg(long)]
    force: bool,
}

impl Cancel {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let client = context.client()?;
        let id = context.execution(&client, &self.id).await?;
        let execution = match self.force {
            true => client.force_cancel(&id).await?,
            false => client.cancel(&id).await?,
        };
        let output = &context.output;
        match output.format() {
            Format::Text => {
                let state = state_and_reason(output.style(), &execution);
                output.text(&format!("execution {id} is {state}"))?;
            }
            _ => output.show(&execution)?,
        }
        Ok(Exit::Done)
    }
}
