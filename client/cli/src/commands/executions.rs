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
  octavius executions --user ada@example.com --state failed,lost --since 2h
  octavius executions --since 2026-11-27T18:00:00+01:00 --until 2026-11-28T06:00:00+01:00 --all")]
pub(crate) struct Executions {
    /// Only those of this job
    #[arg(long, value_name = "NAME", add = complete::jobs())]
    job: Option<String>,
    /// Only those that this user asked for
    #[arg(long, value_name = "USER")]
    user: Option<String>,
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
    #[arg(long, value_name = "ID")]
    executor: Option<String>,
    /// How many at the most
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    limit: usize,
    /// All of them, however many they are
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

impl Executions {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let limit = (!self.all).then_some(self.limit);
        let wanted = self.wanted()?;
        let is_narrowed = wanted != ListExecutionsRequest::default();
        // One more than is shown tells whether there are more.
        let asked = limit.map(|limit| limit.saturating_add(1));
        let mut executions = context.client()?.find_executions(wanted, asked).await?;
        let more = limit.is_some_and(|limit| executions.len() > limit);
        executions.truncate(limit.unwrap_or(usize::MAX));
        let page = Page { executions, more };
        context.output.show(&page)?;
        if page.more {
            context.output.hint("There are more: `--limit COUNT` or `--all` shows them.");
        } else if page.executions.is_empty() && is_narrowed {
            context.output.hint("No execution is like that.");
        } else if page.executions.is_empty() {
            context.output.hint("Nothing was run yet: `octavius execute JOB` runs a job.");
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
            states: self.states.into_iter().map(i32::from).collect(),
            submitted_after: self.since.map(sent),
            submitted_before: self.until.map(sent),
            executor: self.executor.unwrap_or_default(),
            ..ListExecutionsRequest::default()
        })
    }
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
