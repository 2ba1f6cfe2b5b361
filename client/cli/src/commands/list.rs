//! `octavius list`: the jobs that the caller may see.

use crate::{
    context::Context,
    exit::{Exit, Failure},
};
use clap::Args;

/// List the jobs that you may see
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  octavius list
  octavius list -o wide")]
pub(crate) struct List {}

impl List {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let jobs = context.client()?.jobs().await?;
        context.output.show(&jobs)?;
        if jobs.is_empty() {
            context.output.hint("There are no jobs yet: `octavius create -f FILE` registers one.");
        }
        Ok(Exit::Done)
    }
}
