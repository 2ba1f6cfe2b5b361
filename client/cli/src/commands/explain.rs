//! `octavius explain`: why an execution is where it is, with every executor.

use crate::{
    complete,
    context::Context,
    exit::{Exit, Failure},
};
use clap::Args;

/// Show why an execution waits, or where it is: its place in the order, and each executor with why not
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  octavius explain 06ac1q5gt9vk3e1b7m2n4p6r8s
  octavius explain @last -o json")]
pub(crate) struct Explain {
    /// The execution's id, six or more characters of its end, or `@last`
    #[arg(value_name = "ID", add = complete::executions())]
    id: String,
}

impl Explain {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let client = context.client()?;
        let id = context.execution(&client, &self.id).await?;
        context.output.show(&client.explain(&id).await?)?;
        Ok(Exit::Done)
    }
}
