//! `octavius describe`: one job, whole.

use crate::{
    complete,
    context::Context,
    exit::{Exit, Failure},
    render::job::Described,
};
use clap::Args;

/// Show a job: what it takes, what it runs, and how to run it
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  octavius describe hello-friend")]
pub(crate) struct Describe {
    /// The job's name
    #[arg(value_name = "NAME", required_unless_present = "job_name", add = complete::jobs())]
    name: Option<String>,
    /// The job's name, in the old form
    #[arg(long, value_name = "NAME", hide = true, conflicts_with = "name", add = complete::jobs())]
    job_name: Option<String>,
}

impl Describe {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let name = self.name.or(self.job_name).unwrap_or_default();
        let client = context.client()?;
        let job = client.describe_job(&name).await?;
        let secrets = client.secrets(&name).await?;
        context.output.show(&Described { job, secrets })?;
        Ok(Exit::Done)
    }
}
