//! `octavius executions`: what was run, the newest first.

use crate::{
    complete,
    context::Context,
    exit::{Exit, Failure},
    render::execution::Page,
    span::{moment, sent},
};
use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};
use jiff::Timestamp;
use octavius_client::{
    EXECUTION_STATES, execution_word,
    v1::{ExecutionState, ListExecutionsRequest},
};

/// List executions, the newest first
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  octavius executions
  octavius executions --job hello-friend --limit 5 -o wide
  octavius executions --mine --state failed,lost --since 2h
  octavius executions --since 2026-11-27T18:00:00+01:00 --until 2026-11-28T06:00:00+01:00 --all")]
pub(crate) struct Executions {
    /// Only those of this job
    #[arg(long, value_name = "NAME", add = complete::jobs())]
    job: Option<String>,
    /// Only those that this user asked for
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Only those that you asked for
    #[arg(long, conflicts_with = "user")]
    mine: bool,
    /// Only those in this state, or in one of several: `failed,lost`
    #[arg(long = "state", value_name = "STATE", value_delimiter = ',', value_parser = states())]
    states: Vec<ExecutionState>,
    /// Only those that were submitted then or later: `2h`, `1d12h`, `2026-11-28`, `2026-11-28T06:40:00+01:00`
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Only those that were submitted before
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    /// Only those that this executor has, or had last
    #[arg(long, value_name = "ID", add = complete::executors())]
    executor: Option<String>,
    /// How many at the most
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    limit: usize,
    /// All of them, however many they are
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

/// The most executions in one document.
pub(crate) const MOST: usize = 100_000;

impl Executions {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let limit = if self.all { usize::MAX } else { self.limit };
        let wanted = self.wanted()?;
        let is_narrowed = wanted != ListExecutionsRequest::default();
        // One more than is shown tells whether there are more.
        let mut pages = context.client()?.execution_pages(wanted, Some(limit.saturating_add(1)));
        let output = &context.output;
        let (mut executions, mut head) = (Vec::new(), String::new());
        let (mut shown, mut more) = (0, false);
        while let Some(mut page) = pages.next().await? {
            more = page.len() > limit - shown;
            page.truncate(limit - shown);
            shown += page.len();
            if output.format().is_document() {
                fits(shown, MOST)?;
                executions.append(&mut page);
            } else {
                output.page(&page, &mut head).await?;
            }
        }
        if output.format().is_document() {
            output.show(&Page { executions, more })?;
        }
        if more {
            output.hint("There are more: `--limit COUNT` or `--all` shows them.");
        } else if shown == 0 && is_narrowed {
            output.hint("No execution is like that.");
        } else if shown == 0 {
            output.hint("Nothing was run yet: `octavius execute JOB` runs a job.");
        }
        Ok(Exit::Done)
    }

    fn wanted(self) -> Result<ListExecutionsRequest, Failure> {
        if let (Some(since), Some(until)) = (self.since, self.until)
            && since >= until
        {
            let problem = format!(
                "--until is {until}, and not later than --since, which is {since}: nothing lies between"
            );
            return Err(Failure::Usage(problem));
        }
        Ok(ListExecutionsRequest {
            job: self.job.unwrap_or_default(),
            submitted_by: self.user.unwrap_or_default(),
            mine: self.mine,
            states: self.states.into_iter().map(i32::from).collect(),
            submitted_after: self.since.map(sent),
            submitted_before: self.until.map(sent),
            executor: self.executor.unwrap_or_default(),
            ..ListExecutionsRequest::default()
        })
    }
}

/// Refuses a document of more executions than one may hold, for it is in memory until it is whole.
fn fits(count: usize, most: usize) -> Result<(), Failure> {
    if count <= most {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "there are more than {most} executions, and one document holds no more: narrow them with --since and --until, or \
         take `-o name`, which has no bound"
    )))
}

/// Reads the word for a state.
fn states() -> impl TypedValueParser<Value = ExecutionState> {
    PossibleValuesParser::new(EXECUTION_STATES.map(execution_word)).map(|word| {
        let named = EXECUTION_STATES.into_iter().find(|state| execution_word(*state) == word);
        named.unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use crate::cli::{Cli, Command};
    use clap::Parser;
    use octavius_client::v1::{ExecutionState, ListExecutionsRequest};

    fn wanted(words: &[&str]) -> Result<ListExecutionsRequest, String> {
        let cli = Cli::try_parse_from([&["octavius", "executions"], words].concat());
        match cli.map_err(|error| error.to_string())?.command {
            Command::Executions(executions) => {
                executions.wanted().map_err(|failure| failure.text().unwrap())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_flag_narrows_what_is_asked_for() {
        assert_eq!(wanted(&["--all"]), Ok(ListExecutionsRequest::default()));
        let words = ["--job", "greet", "--user", "ada", "--executor", "e-1"];
        let states = ["--state", "failed,timed_out", "--state", "pending"];
        let times = ["--since", "2026-11-28T01:00:00+01:00", "--until", "2026-11-28T00:00:01Z"];
        let asked = wanted(&[&words[..], &states, &times].concat()).unwrap();
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        use ExecutionState::{Failed, Pending, TimedOut};
        let expected = ListExecutionsRequest {
            job: "greet".to_owned(),
            submitted_by: "ada".to_owned(),
            executor: "e-1".to_owned(),
            states: [Failed, TimedOut, Pending].map(i32::from).to_vec(),
            submitted_after: at(1_795_824_000),
            submitted_before: at(1_795_824_001),
            ..ListExecutionsRequest::default()
        };
        assert_eq!(asked, expected);
        let mine = ListExecutionsRequest { mine: true, ..Default::default() };
        assert_eq!(wanted(&["--mine"]), Ok(mine));
    }

    #[test]
    fn a_document_that_would_be_too_large_is_refused_with_the_remedy() {
        assert!(super::fits(2, 2).is_ok());
        let refused = super::fits(3, 2).unwrap_err().text().unwrap();
        assert!(refused.contains("more than 2 executions"), "{refused}");
        assert!(refused.contains("--since") && refused.contains("`-o name`"), "{refused}");
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_can() {
        for (words, told) in [
            (&["--state", "done"][..], "succeeded"),
            (&["--since", "1h", "--until", "2h"], "nothing lies between"),
            (&["--since", "soon"], "`10m`"),
            (&["--all", "--limit", "3"], "--limit"),
        ] {
            let refused = wanted(words).unwrap_err();
            assert!(refused.contains(told), "{words:?}: {refused}");
        }
    }
}
