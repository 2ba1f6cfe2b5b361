//! `octavius describe`: one job, whole.

use crate::{
    complete,
    context::Context,
    exit::{Exit, Failure},
};
use clap::Args;

/// Show a job: what it takes, what it runs, and how to run it
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  octavius describe hello-friend
  octavius describe hello-friend --version 2")]
pub(crate) struct Describe {
    /// The job's name
    #[arg(value_name = "NAME", required_unless_present = "job_name", add = complete::jobs())]
    name: Option<String>,
    /// The job's name, in the old form
    #[arg(long, value_name = "NAME", hide = true, conflicts_with = "name", add = complete::jobs())]
    job_name: Option<String>,
    /// Which of its versions; else the newest
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    version: Option<u64>,
}

impl Describe {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let name = self.name.or(self.job_name).unwrap_or_default();
        let version = self.version.unwrap_or_default();
        let described = context.client()?.describe_job_version(&name, version).await?;
        context.output.show(&described)?;
        Ok(Exit::Done)
    }
}
