//! `octavius create`: registers jobs.

use crate::{
    context::Context,
    exit::{Exit, Failure},
    render::job::Created,
};
use clap::Args;
use octavius_client::{definition, v1::JobDefinition};
use std::{
    io::Read,
    path::{Path, PathBuf},
};

/// Register jobs, each from a file in JSON or YAML
///
/// All files are read before the first job is sent. Creating a job again with equal content changes nothing.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  octavius create -f metadata.json
  octavius create -f greet.yaml -f backup.yaml
  octavius describe greet -o json | jq .definition | octavius create -f -")]
pub(crate) struct Create {
    /// The job's file; `-` is standard input
    #[arg(short, long = "file", visible_alias = "job-path", value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

impl Create {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let client = context.client()?;
        let definitions: Vec<_> =
            self.files.iter().map(|path| read(path)).collect::<Result<_, _>>()?;
        let mut created = Vec::new();
        for definition in definitions {
            match client.create_job(definition).await {
                Ok(answer) => created.push(answer),
                Err(error) => {
                    // With a format for programs the error is the one document.
                    if !context.output.format().is_document() {
                        context.output.show(&Created(created))?;
                    }
                    return Err(error.into());
                }
            }
        }
        context.output.show(&Created(created))?;
        Ok(Exit::Done)
    }
}

fn read(path: &Path) -> Result<JobDefinition, Failure> {
    if path.as_os_str() != "-" {
        return Ok(definition::read(path)?);
    }
    let mut text = String::new();
    std::io::stdin().lock().read_to_string(&mut text)?;
    let parsed = definition::parse(&text, "standard input");
    parsed.map_err(|faults| Failure::Client(faults.into()))
}
