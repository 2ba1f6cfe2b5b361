//! `octavius audit`: who did what, and who was refused.

use crate::{
    complete,
    context::Context,
    exit::{Exit, Failure},
    render::audit::{Entries, document},
    span::{moment, sent},
};
use clap::Args;
use jiff::Timestamp;
use octavius_client::v1::ListAuditRequest;

/// Show who did what, and who was refused, the newest first
///
/// Each line says when, who, by which call, about what, and from which address; `refused` where it was not done. Only a
/// controller with `authentication: tokens` keeps an audit, for `keep_audit_for`. It never has a value of an argument or a
/// secret.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  octavius audit --since 1d
  octavius audit --user ada@example.com --job deploy
  octavius audit --refused
  octavius audit --since 2026-11-01 --until 2026-12-01 --export > november.jsonl")]
pub(crate) struct Audit {
    /// Only what this one did: a person's name, or `executor ID`
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Only what is about this job
    #[arg(long, value_name = "NAME", add = complete::jobs())]
    job: Option<String>,
    /// Only what is about this execution
    #[arg(long, value_name = "ID", add = complete::executions())]
    execution: Option<String>,
    /// Only what was refused
    #[arg(long)]
    refused: bool,
    /// Only what happened then or later: `2h`, `1d12h`, `2026-11-28`, `2026-11-28T06:40:00+01:00`
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Only what happened before
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    /// How many at the most
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    limit: usize,
    /// All of them, however many they are
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// Write all of them as JSON, one object a line, for an archive
    #[arg(long, conflicts_with_all = ["limit", "all"])]
    export: bool,
}

/// The most entries in one document.
const MOST: usize = 100_000;

impl Audit {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let limit = if self.all || self.export { usize::MAX } else { self.limit };
        let export = self.export;
        let mut pages = context.client()?.audit_pages(self.wanted()?);
        let output = &context.output;
        let (mut entries, mut head) = (Vec::new(), String::new());
        let (mut shown, mut more) = (0, false);
        while let Some(mut page) = pages.next().await? {
            more = page.len() > limit - shown;
            page.truncate(limit - shown);
            shown += page.len();
            if export {
                for entry in &page {
                    output.line(&document(entry)).await?;
                }
            } else if output.format().is_document() {
                if shown > MOST {
                    return Err(Failure::Usage(format!(
                        "there are more than {MOST} entries, and one document holds no more: narrow them with --since and \
                         --until, or take `--export`, which has no bound"
                    )));
                }
                entries.append(&mut page);
            } else if !page.is_empty() {
                output.page(&Entries { entries: page, more }, &mut head).await?;
            }
            if more {
                break;
            }
        }
        if !export && output.format().is_document() {
            output.show(&Entries { entries, more })?;
        }
        if more {
            output.hint("There are more: `--limit COUNT` or `--all` shows them.");
        } else if shown == 0 {
            output.hint(
                "Nothing is recorded like that. A controller keeps an audit with `authentication: tokens` alone.",
            );
        }
        Ok(Exit::Done)
    }

    fn wanted(self) -> Result<ListAuditRequest, Failure> {
        if let (Some(since), Some(until)) = (self.since, self.until)
            && since >= until
        {
            let problem = format!(
                "--until is {until}, and not later than --since, which is {since}: nothing lies between"
            );
            return Err(Failure::Usage(problem));
        }
        Ok(ListAuditRequest {
            by: self.user.unwrap_or_default(),
            job: self.job.unwrap_or_default(),
            execution: self.execution.unwrap_or_default(),
            since: self.since.map(sent),
            until: self.until.map(sent),
            refused: self.refused,
            ..ListAuditRequest::default()
        })
    }
}
