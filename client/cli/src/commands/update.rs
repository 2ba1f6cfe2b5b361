//! `octavius update`: gives jobs new content.

use super::create::{Way, store};
use crate::{
    complete,
    context::Context,
    exit::{Exit, Failure},
    files::Files,
};
use clap::Args;
use octavius_client::Update as Wish;

/// Give jobs the content of files: a new version of each that is not equal to it
///
/// What was submitted before runs as the version that it was submitted with.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  octavius update -f metadata.json
  octavius update greet -f greet.yaml --expected-version 3
  octavius update -f jobs/ --dry-run")]
pub(crate) struct Update {
    /// The job that the file has to be of
    #[arg(value_name = "NAME", add = complete::jobs())]
    name: Option<String>,
    #[command(flatten)]
    files: Files,
    /// Change it only where this is its newest version
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    expected_version: Option<u64>,
    /// Also create jobs that are not there yet
    #[arg(long)]
    create: bool,
    /// Store nothing: say what would happen
    #[arg(long)]
    dry_run: bool,
}

impl Update {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let client = context.client()?;
        let written = self.files.read()?;
        let one_is_meant = self.name.is_some() || self.expected_version.is_some();
        if one_is_meant && written.len() > 1 {
            let count = written.len();
            return Err(Failure::Usage(format!(
                "a name and --expected-version are of one job, and the files have {count}: give one file"
            )));
        }
        let other = written
            .iter()
            .find(|one| self.name.as_ref().is_some_and(|name| *name != one.definition.name));
        if let (Some(name), Some(one)) = (&self.name, other) {
            return Err(Failure::Usage(format!(
                "{} has the job `{}`, and `{name}` was to be changed: give the file of `{name}`",
                one.place, one.definition.name
            )));
        }
        let expected_version = self.expected_version.unwrap_or_default();
        let wish = Wish { create: self.create, expected_version, ..Wish::default() };
        store(context, &client, written, Way::Update(wish), self.dry_run).await
    }
}
