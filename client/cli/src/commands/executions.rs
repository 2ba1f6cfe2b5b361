//! `octavius executions`: what was run, the newest first.

use crate::{
    complete,
    context::Context,
    exit::{Exit, Failure},
};
use clap::Args;

/// List executions, the newest first
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  octavius executions
  octavius executions --job hello-friend --limit 5 -o wide")]
pub(crate) struct Executions {
    /// Only those of this job
    #[arg(long, value_name = "NAME", add = complete::jobs())]
    job: Option<String>,
    /// How many at the most
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    limit: usize,
}

impl Executions {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let found = context.client()?.executions(self.job.as_deref(), Some(self.limit)).await?;
        context.output.show(&found)?;
        if found.is_empty() {
            context.output.hint("Nothing was run yet: `octavius execute JOB` runs a job.");
        } else if found.len() == self.limit {
            context.output.hint("There may be more: `--limit COUNT` shows them.");
        }
        Ok(Exit::Done)
    }
}
