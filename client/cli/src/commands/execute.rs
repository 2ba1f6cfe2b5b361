//! `octavius execute`: runs a job, and waits for it if asked to.

use crate::{
    arguments, complete,
    context::Context,
    exit::{Exit, Failure},
    render::text::one_line,
    span::{label, span},
    terminal,
    watch::Watch,
};
use clap::Args;
use octavius_client::{
    Client, Error, Silence,
    v1::{Argument, ArgumentType, ExecuteRequest},
};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    path::PathBuf,
    time::Duration,
};

/// Run a job
///
/// Prints the execution's id. A value may hold anything: put it in quotes where the shell would read it.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  octavius execute hello-friend name=Ada surname=Lovelace --follow
  octavius execute backup 'paths=/etc, /var' note=\"it's = fine\" --wait
  octavius execute backup --timeout 10m --start-within 1h --on zone=eu --priority 7
  octavius execute backup -f values.yaml --exit-code --wait-timeout 10m
  id=$(octavius execute hello-friend name=Ada surname=Lovelace)")]
pub(crate) struct Execute {
    /// The job's name
    #[arg(value_name = "JOB", required_unless_present = "job_name", add = complete::jobs())]
    job: Option<String>,
    /// The values of its arguments
    #[arg(value_name = "NAME=VALUE", add = complete::arguments())]
    values: Vec<String>,
    /// The job's name, in the old form
    #[arg(long, value_name = "NAME", hide = true, add = complete::jobs())]
    job_name: Option<String>,
    /// Values in the old form, cut at commas: a=1,b=2
    #[arg(long, value_name = "LIST", hide = true)]
    args: Vec<String>,
    /// Values from a file, in JSON or YAML: names with one value each; `-` is standard input
    #[arg(short, long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How long the program may run: less than the job, or else the executor, lets it
    #[arg(long, value_name = "TIME", value_parser = span)]
    timeout: Option<Duration>,
    /// How long it may wait for an executor: less than the job lets it
    #[arg(long, value_name = "TIME", value_parser = span)]
    start_within: Option<Duration>,
    /// A label that its executor must have, besides those that the job asks for; `executor` is the executor's id
    #[arg(long, value_name = "NAME=VALUE", value_parser = label)]
    on: Vec<(String, String)>,
    /// From 0 to 9, at most the job's `max_priority`: more is served sooner [default: the job's]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(0..=9))]
    priority: Option<u32>,
    /// Refuse it where no executor that has registered could ever run it
    #[arg(long)]
    require_executor: bool,
    #[command(flatten)]
    pub(crate) watch: Watch,
}

/// What a command line wants: which job, with which values.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) job: String,
    pub(crate) values: BTreeMap<String, String>,
}

impl Execute {
    pub(crate) fn wish(&self) -> Result<Wish, Failure> {
        let values = self.values.iter();
        let (job, words): (&str, Vec<&String>) = match (&self.job_name, &self.job) {
            // In the old form no name stands first, so the first word is a value.
            (Some(name), first) => (name, first.iter().chain(values).collect()),
            (None, first) => (first.as_deref().unwrap_or_default(), values.collect()),
        };
        if self.job_name.is_none() && job.contains('=') {
            return Err(Failure::Usage(format!(
                "`{job}` stands where the job's name belongs: write `octavius execute JOB NAME=VALUE`"
            )));
        }
        Ok(Wish {
            job: job.to_owned(),
            values: arguments::values(&words, &self.args, &self.files)?,
        })
    }

    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        self.watch.check(&context.output)?;
        let mut wish = self.wish()?;
        let client = context.client()?;
        if context.may_ask() {
            ask_for_missing(&client, &mut wish).await?;
        }
        let request = ExecuteRequest {
            job: wish.job,
            arguments: wish.values,
            timeout: self.timeout.and_then(|time| time.try_into().ok()),
            start_within: self.start_within.and_then(|time| time.try_into().ok()),
            on: self.on.into_iter().collect(),
            priority: self.priority,
            require_executor: self.require_executor,
            ..ExecuteRequest::default()
        };
        let execution = client.execute_with(request).await?;
        self.watch.accepted(&context.output, &client, execution).await
    }
}

/// Asks for required values that are not given, before the controller refuses.
async fn ask_for_missing(client: &Client, wish: &mut Wish) -> Result<(), Failure> {
    let job = match client.describe_job(&wish.job).await {
        Ok(job) => job,
        // Executing asks for longer than describing does.
        Err(Error::Unanswered { silence: Silence::NoConnection(_), .. }) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let arguments = job.definition.map(|definition| definition.arguments).unwrap_or_default();
    let required = arguments.into_iter().filter(|argument| argument.required);
    ask_for(required, &mut wish.values)
}

/// Asks for the values of these arguments, but for those that are there.
pub(super) fn ask_for(
    wanted: impl Iterator<Item = Argument>,
    values: &mut BTreeMap<String, String>,
) -> Result<(), Failure> {
    for argument in wanted {
        if let Entry::Vacant(missing) = values.entry(argument.name.clone()) {
            let question = question(&argument);
            let value = match argument.r#type() {
                ArgumentType::Secret => Some(terminal::ask_hidden(&question)?),
                _ => terminal::ask(&question)?,
            };
            // Nothing typed is the default, where there is one.
            let value = value.filter(|value| argument.default_value.is_none() || !value.is_empty());
            value.map(|value| missing.insert(value));
        }
    }
    Ok(())
}

/// What is asked for, with what it may be: `count (how many; int from 1 to 9) [3]: `.
fn question(argument: &Argument) -> String {
    let bounds = match (&argument.min, &argument.max) {
        (Some(min), Some(max)) => format!(" from {min} to {max}"),
        (Some(min), None) => format!(" from {min} on"),
        (None, Some(max)) => format!(" up to {max}"),
        (None, None) => String::new(),
    };
    let kind = match argument.r#type() {
        ArgumentType::Unspecified | ArgumentType::String => "",
        ArgumentType::Int => "int",
        ArgumentType::Float => "float",
        ArgumentType::Bool => "true or false",
        ArgumentType::Enum => "",
        ArgumentType::Secret => "not shown while it is typed",
    };
    let pattern = match argument.pattern.as_str() {
        "" => String::new(),
        pattern => format!("matches {pattern}"),
    };
    let allowed = match argument.allowed.as_slice() {
        [] => String::new(),
        allowed => format!("one of {}", allowed.join(", ")),
    };
    let about = [argument.description.clone(), kind.to_owned() + &bounds, pattern, allowed];
    let about: Vec<_> =
        about.iter().filter(|text| !text.is_empty()).map(|text| one_line(text)).collect();
    let about = match about.as_slice() {
        [] => String::new(),
        about => format!(" ({})", about.join("; ")),
    };
    let default = argument.default_value.as_ref();
    let default = default.map(|value| format!(" [{}]", one_line(value))).unwrap_or_default();
    format!("{}{about}{default}: ", one_line(&argument.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_says_what_the_answer_may_be() {
        let plain = Argument { name: "name".to_owned(), ..Argument::default() };
        insta::assert_snapshot!(question(&plain), @"name:");
        let count = Argument {
            description: "How\nmany".to_owned(),
            r#type: ArgumentType::Int.into(),
            min: Some("1".to_owned()),
            max: Some("9".to_owned()),
            default_value: Some("3".to_owned()),
            ..plain.clone()
        };
        insta::assert_snapshot!(question(&count), @"name (How\\nmany; int from 1 to 9) [3]:");
        let title = Argument {
            r#type: ArgumentType::Enum.into(),
            allowed: vec!["Dr.".to_owned(), "Prof.".to_owned()],
            ..plain.clone()
        };
        insta::assert_snapshot!(question(&title), @"name (one of Dr., Prof.):");
        let token = Argument {
            description: "The key".to_owned(),
            r#type: ArgumentType::Secret.into(),
            pattern: "[a-z]+".to_owned(),
            ..plain
        };
        insta::assert_snapshot!(question(&token), @"name (The key; not shown while it is typed; matches [a-z]+):");
    }
}
