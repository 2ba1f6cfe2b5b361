//! `octavius delete`: takes jobs away.

use crate::{
    complete,
    context::Context,
    exit::{Exit, Failure},
    render::stored::Deleted,
    terminal,
};
use clap::Args;
use octavius_client::Kind;

/// Delete jobs
///
/// Refused while executions of a job wait or run. What became of its executions can still be looked at.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  octavius delete hello-friend
  octavius delete old-backup older-backup --yes
  octavius delete greet --force")]
pub(crate) struct Delete {
    /// The jobs' names
    #[arg(value_name = "NAME", required_unless_present = "job_name", add = complete::jobs())]
    names: Vec<String>,
    /// A job's name, in the form of the other commands
    #[arg(long, value_name = "NAME", hide = true, add = complete::jobs())]
    job_name: Option<String>,
    /// Also while executions wait or run: those that wait are cancelled, those that run come to their end
    #[arg(long)]
    force: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

impl Delete {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let client = context.client()?;
        let mut names = self.names;
        names.extend(self.job_name);
        let output = &context.output;
        if !self.yes && context.may_ask() {
            let all = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let cancels = if self.force { ", and cancel what waits of it" } else { "" };
            if !terminal::agrees(&format!("Delete {all}{cancels}?"))? {
                output.note("nothing was deleted");
                return Ok(Exit::Usage);
            }
        }
        let only = names.len() == 1;
        let mut results = Vec::new();
        for name in names {
            match client.delete_job(&name, self.force).await {
                Ok(cancelled) => results.push((name, Ok(cancelled))),
                Err(error) if !only && error.kind() == Kind::Refused => {
                    results.push((name, Err(error.into())));
                }
                Err(error) => {
                    if !output.format().is_document() {
                        output.show(&Deleted(results))?;
                    }
                    return Err(error.into());
                }
            }
        }
        let deleted = Deleted(results);
        output.show(&deleted)?;
        let mut exit = Exit::Done;
        for failure in deleted.0.iter().filter_map(|(_, result)| result.as_ref().err()) {
            exit = Exit::Refused;
            if let Some(text) = failure.text().filter(|_| !output.format().is_document()) {
                output.note(&text);
            }
        }
        Ok(exit)
    }
}
