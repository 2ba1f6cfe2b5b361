//! `octavius status`: how one execution stands, and why.

use crate::{
    complete,
    context::Context,
    exit::{Exit, Failure},
};
use clap::Args;

/// Show how an execution stands, and why
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  octavius status 06ac1q5gt9vk3e1b7m2n4p6r8s
  octavius status @last -o json")]
pub(crate) struct Status {
    /// The execution's id, six or more characters of its end, or `@last`
    #[arg(value_name = "ID", add = complete::executions())]
    id: String,
}

impl Status {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let client = context.client()?;
        let id = context.execution(&client, &self.id).await?;
        context.output.show(&client.execution(&id).await?)?;
        Ok(Exit::Done)
    }
}
