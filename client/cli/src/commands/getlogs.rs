//! `octavius getlogs`: a log, as it is or as it grows.

use crate::{
    complete,
    context::Context,
    exit::{Exit, Failure},
    log,
    output::Format,
    span::{moment, sent},
};
use clap::Args;
use jiff::Timestamp;
use octavius_client::v1::ReadLogRequest;
use serde_json::json;

/// Show the log of an execution, byte for byte
///
/// With --follow it goes on until the log ends, also over a restart of the controller. Ctrl-C ends the reading, not the
/// execution.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  octavius getlogs 06ac1q5gt9vk3e1b7m2n4p6r8s --follow
  octavius getlogs @last > job.log
  octavius getlogs @last --tail 100 --timestamps --follow
  octavius getlogs @last --since 10m")]
pub(crate) struct Getlogs {
    /// The execution's id, six or more characters of its end, or `@last`
    #[arg(value_name = "ID", required_unless_present = "job_id", add = complete::executions())]
    id: Option<String>,
    /// The execution's id, in the old form
    #[arg(long, value_name = "ID", hide = true, conflicts_with = "id", add = complete::executions())]
    job_id: Option<String>,
    /// Wait for what is still to come
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Which attempt; else the newest
    #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
    attempt: u32,
    /// Only the last lines of what is there; with --follow, and what comes then
    #[arg(long, value_name = "LINES")]
    tail: Option<u64>,
    /// Only what was written since then: `10m`, `2h30m`, `2026-11-28`, `2026-11-28T06:40:00Z`, by the executor's clock
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Show before each line when it was written, by the executor's clock
    #[arg(short, long)]
    timestamps: bool,
    /// The first byte to show
    #[arg(long, value_name = "BYTE", default_value_t = 0, hide_default_value = true)]
    offset: u64,
}

impl Getlogs {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let output = &context.output;
        let format = output.format();
        if format == Format::Name || (self.follow && format == Format::Yaml) {
            let problem =
                "a log is written as it is, or with `-o json`: leave the other format out";
            return Err(Failure::Usage(problem.to_owned()));
        }
        let client = context.client()?;
        let text = self.id.or(self.job_id).unwrap_or_default();
        let id = context.execution(&client, &text).await?;
        let request = ReadLogRequest {
            execution: id.clone(),
            attempt: self.attempt,
            offset: self.offset,
            follow: self.follow,
            since: self.since.map(sent),
            tail_lines: self.tail,
        };
        let stream = client.read_log(request).await?;
        let come_back =
            format!("execution {id} goes on: `octavius getlogs {id} --follow` shows it");
        let reading = async {
            match (format.is_document(), self.follow) {
                (false, _) => {
                    let end = match self.timestamps {
                        true => log::pour_with_times(output, stream).await?,
                        false => log::pour(output, stream).await?,
                    };
                    if end.unfinished {
                        output.hint(&format!("The log goes on: `octavius getlogs {id} --follow`"));
                    }
                }
                (true, true) => log::pour_lines(output, stream).await?,
                (true, false) => {
                    let mut document = log::collect(output, stream).await?;
                    document["execution"] = json!(id);
                    output.document(&document)?;
                }
            }
            Ok(Exit::Done)
        };
        if !self.follow {
            return reading.await;
        }
        log::interruptible(output, &come_back, reading).await
    }
}
