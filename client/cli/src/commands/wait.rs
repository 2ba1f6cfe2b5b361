//! `octavius wait`: until executions are over.

use crate::{
    complete,
    context::Context,
    exit::{Exit, Failure},
    log,
    output::Format,
    render::{execution::ending, text::one_line},
    span::span,
};
use clap::Args;
use futures::{StreamExt, stream::FuturesUnordered};
use octavius_client::v1::Execution;
use std::time::Duration;

/// Wait until executions are over, and tell how each of them ended
///
/// The exit status is 0 if all of them succeeded, else 1; 4 if the time was over before. Ctrl-C ends the waiting, not the
/// executions.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  octavius wait @last
  octavius wait 6m2n4p6r8s 9vk3e1b7m2 --timeout 10m
  octavius wait $(octavius executions --job backup -o name) --any")]
pub(crate) struct Wait {
    /// The executions' ids, six or more characters of their ends, or `@last`
    #[arg(value_name = "ID", required = true, add = complete::executions())]
    ids: Vec<String>,
    /// Wait no longer than this (`90s`, `5m`)
    #[arg(long, value_name = "TIME", value_parser = span)]
    timeout: Option<Duration>,
    /// Until the first of them is over, whose end is the exit status
    #[arg(long)]
    any: bool,
}

impl Wait {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let output = &context.output;
        let client = context.client()?;
        let mut ids = Vec::new();
        for text in &self.ids {
            let id = context.execution(&client, text).await?;
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        let waiting = async {
            let mut waits: FuturesUnordered<_> = ids.iter().map(|id| client.wait(id)).collect();
            let mut ended: Vec<Execution> = Vec::new();
            while let Some(execution) = waits.next().await {
                let execution = execution?;
                match output.format() {
                    Format::Text => output.text(&ending(&execution))?,
                    Format::Name => output.text(&one_line(&execution.id))?,
                    Format::Wide | Format::Json | Format::Yaml => {}
                }
                ended.push(execution);
                if self.any {
                    break;
                }
            }
            if !matches!(output.format(), Format::Text | Format::Name) {
                output.show(&ended)?;
            }
            let all_succeeded = ended.iter().all(|execution| Exit::of(execution) == Exit::Done);
            Ok(if all_succeeded { Exit::Done } else { Exit::NotSucceeded })
        };
        let goes_on = format!(
            "what is not over goes on: `octavius wait {}` waits for it again",
            ids.join(" ")
        );
        log::interruptible(output, &goes_on, log::bounded(self.timeout, &goes_on, waiting)).await
    }
}
