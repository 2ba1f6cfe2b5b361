//! `octavius demo`: a first job from its definition to its log, with nothing to set up.

use crate::{
    context::Context,
    exit::{Exit, Failure},
    installation::{Installation, Plan},
    log,
    output::Output,
};
use clap::Args;
use octavius_client::v1::{Argument, Execution, ExecutionState, JobDefinition};
use octavius_service::signals::Signals;
use std::{collections::BTreeMap, net::SocketAddr};

/// A port of the system's choice, on this machine alone.
const ANY_PORT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
/// What the example job runs: a few lines, slowly enough to be seen to come one by one.
const SCRIPT: &str = "echo \"Hello, $name!\"
for step in 1 2 3; do echo \"step $step of 3\"; sleep 0.3; done
echo \"This was execution $OCTAVIUS_EXECUTION_ID.\"";

/// Run a first job from its definition to its log, with nothing to set up
///
/// Starts a controller and an executor in a temporary folder, registers an example job, executes it, shows its log as it
/// is written, and ends everything again.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  octavius demo")]
pub(crate) struct Demo {
    /// Whom the job greets
    #[arg(long, default_value = "world")]
    name: String,
}

impl Demo {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let mut signals = Signals::listen()?;
        let folder = tempfile::Builder::new().prefix("octavius-demo-").tempdir()?;
        let plan = Plan {
            folder: folder.path(),
            address: ANY_PORT,
            metrics_address: ANY_PORT,
            log_level: "warn",
        };
        let output = &context.output;
        note(output, "A controller and an executor start in a temporary folder.");
        let installation = Installation::start(&plan).await?;
        let told = tokio::select! {
            told = self.tell(context, &installation) => told,
            _ = signals.next() => Err(Failure::Interrupted),
        };
        // Whatever came of it, nothing of it goes on.
        installation.stop().await;
        let execution = told?;
        let succeeded = execution.state() == ExecutionState::Succeeded;
        if output.format().is_document() || !succeeded {
            output.show(&execution)?;
        }
        if !succeeded {
            return Ok(Exit::NotSucceeded);
        }
        note(
            output,
            "The execution succeeded, and all of it is gone again. To go on:\n  \
             octavius dev                      the same, until Ctrl-C, with its state in a folder\n  \
             octavius create -f metadata.json  registers a job of your own\n  \
             octavius --help                   everything else",
        );
        Ok(Exit::Done)
    }

    async fn tell(
        &self,
        context: &Context,
        installation: &Installation,
    ) -> Result<Execution, Failure> {
        let (output, client) = (&context.output, installation.client());
        client.create_job(example()).await?;
        note(output, "The job `hello` is registered: a command, and one argument, `name`.");
        let arguments = BTreeMap::from([("name".to_owned(), self.name.clone())]);
        let execution = client.execute("hello", arguments).await?;
        let id = &execution.id;
        note(output, &format!("Execution {id} is on disk. Its log, as it is written:\n"));
        if !output.format().is_document() {
            log::pour(output, client.follow_log(id, 0, 0, true).await?).await?;
        }
        Ok(client.wait(id).await?)
    }
}

/// Tells people what happens; where there is to be one document, that alone says it.
fn note(output: &Output, text: &str) {
    if !output.format().is_document() {
        output.note(text);
    }
}

fn example() -> JobDefinition {
    JobDefinition {
        name: "hello".to_owned(),
        description: "Greets somebody by name, slowly".to_owned(),
        image_name: "busybox".to_owned(),
        command: ["sh", "-c", SCRIPT].map(str::to_owned).to_vec(),
        arguments: vec![Argument {
            name: "name".to_owned(),
            description: "Whom to greet".to_owned(),
            required: true,
            ..Argument::default()
        }],
        ..JobDefinition::default()
    }
}
