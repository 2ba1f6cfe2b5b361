//! `octavius create`: registers jobs.

use crate::{
    context::Context,
    exit::{Exit, Failure},
    files::{Files, Written},
    render::stored::{Outcome, Stored},
};
use clap::Args;
use octavius_client::{Client, Error, Kind, Update};

/// Register jobs, each from a file in JSON or YAML
///
/// All files are read, and several jobs checked by the controller, before the first one is stored. Creating a job again
/// with equal content changes nothing.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  octavius create -f metadata.json
  octavius create -f jobs/ --update          stores what is new or changed, for a pipeline
  octavius create -f greet.yaml --dry-run    says what would happen
  octavius describe greet -o json | jq .definition | octavius create -f -")]
pub(crate) struct Create {
    #[command(flatten)]
    files: Files,
    /// Give jobs that are there already the content of the files
    #[arg(long)]
    update: bool,
    /// Store nothing: say what would happen
    #[arg(long)]
    dry_run: bool,
}

impl Create {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let client = context.client()?;
        let written = self.files.read()?;
        let way = match self.update {
            true => Way::Update(Update { create: true, ..Update::default() }),
            false => Way::Create,
        };
        store(context, &client, written, way, self.dry_run).await
    }
}

/// How jobs are stored.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    Create,
    Update(Update),
}

impl Way {
    async fn send(self, client: &Client, one: &Written, dry_run: bool) -> Result<Outcome, Error> {
        let definition = one.definition.clone();
        Ok(match self {
            Self::Create => {
                let stored = match dry_run {
                    true => client.check_job(definition).await?,
                    false => client.create_job(definition).await?,
                };
                Outcome::of(stored.job, stored.created, stored.created)
            }
            Self::Update(update) => {
                let stored = client.update_job(definition, Update { dry_run, ..update }).await?;
                Outcome::of(stored.job, stored.changed, stored.created)
            }
        })
    }
}

/// Stores jobs, and says of each what became of it. Of several all are checked by the controller before the first one
/// is stored; one that is refused all the same, because others change jobs too, does not keep the rest.
pub(crate) async fn store(
    context: &Context,
    client: &Client,
    written: Vec<Written>,
    way: Way,
    dry_run: bool,
) -> Result<Exit, Failure> {
    if let [only] = written.as_slice() {
        let outcome = way.send(client, only, dry_run).await?;
        context
            .output
            .show(&Stored { results: vec![(only.place.clone(), Ok(outcome))], dry_run })?;
        return Ok(Exit::Done);
    }
    let checked = send_all(client, &written, way, true).await?;
    if dry_run || checked.iter().any(|(_, result)| result.is_err()) {
        return told(context, Stored { results: checked, dry_run: true });
    }
    let results = send_all(client, &written, way, false).await?;
    told(context, Stored { results, dry_run: false })
}

type Results = Vec<(String, Result<Outcome, Failure>)>;

async fn send_all(
    client: &Client,
    written: &[Written],
    way: Way,
    dry_run: bool,
) -> Result<Results, Failure> {
    let mut results = Vec::new();
    for one in written {
        match way.send(client, one, dry_run).await {
            Ok(outcome) => results.push((one.place.clone(), Ok(outcome))),
            Err(error) if error.kind() == Kind::Refused => {
                results.push((one.place.clone(), Err(error.into())));
            }
            // Nobody is there: the others would wait for nobody, too.
            Err(error) => return Err(error.into()),
        }
    }
    Ok(results)
}

fn told(context: &Context, stored: Stored) -> Result<Exit, Failure> {
    let refused = stored.results.iter().filter(|(_, result)| result.is_err()).count();
    context.output.show(&stored)?;
    if refused == 0 {
        return Ok(Exit::Done);
    }
    if !context.output.format().is_document() {
        for (place, result) in &stored.results {
            if let Some(text) = result.as_ref().err().and_then(Failure::text) {
                context.output.note(&format!("{place}: {text}"));
            }
        }
        let count = stored.results.len();
        let stored = if stored.dry_run { "nothing was stored" } else { "the others were stored" };
        context.output.note(&format!("{refused} of {count} jobs are refused: {stored}"));
    }
    Ok(Exit::Refused)
}
