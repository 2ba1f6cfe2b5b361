//! `octavius executors`: who could run something.

use crate::{
    context::Context,
    exit::{Exit, Failure},
};
use clap::Args;

/// List the executors that the controller knows
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  octavius executors
  octavius executors -o wide")]
pub(crate) struct Executors {}

impl Executors {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let executors = context.client()?.executors().await?;
        context.output.show(&executors)?;
        if executors.is_empty() {
            context.output.hint("No executor has registered yet: `executor start` runs one.");
        }
        Ok(Exit::Done)
    }
}
