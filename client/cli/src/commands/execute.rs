//! `octavius execute`: runs a job, and waits for it if asked to.

use crate::{
    arguments, complete,
    context::Context,
    exit::{Exit, Failure},
    log,
    output::{Format, Output},
    render::{
        Shown,
        execution::{ending, state_and_reason},
        text::{one_line, shell_word},
    },
    span::{label, span},
    terminal,
};
use clap::Args;
use octavius_client::{
    Client, Error, Silence,
    v1::{Argument, ArgumentType, ExecuteRequest, Execution, ExecutionState},
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
#[command(
    group = clap::ArgGroup::new("waits").multiple(true),
    after_help = "\
Examples:
  octavius execute hello-friend name=Ada surname=Lovelace --follow
  octavius execute backup 'paths=/etc, /var' note=\"it's = fine\" --wait
  octavius execute backup --timeout 10m --start-within 1h --on zone=eu
  octavius execute backup -f values.yaml --exit-code --wait-timeout 10m
  id=$(octavius execute hello-friend name=Ada surname=Lovelace)"
)]
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
    /// Show the log as it is written, until the execution ends
    #[arg(long, group = "waits")]
    pub(crate) follow: bool,
    /// Wait until the execution ends
    #[arg(long, group = "waits")]
    wait: bool,
    /// How long the program may run: less than the job, or else the executor, lets it
    #[arg(long, value_name = "TIME", value_parser = span)]
    timeout: Option<Duration>,
    /// How long it may wait for an executor: less than the job lets it
    #[arg(long, value_name = "TIME", value_parser = span)]
    start_within: Option<Duration>,
    /// A label that its executor must have, besides those that the job asks for; `executor` is the executor's id
    #[arg(long, value_name = "NAME=VALUE", value_parser = label)]
    on: Vec<(String, String)>,
    /// Wait, and end with the code of the job's own program; with 125 if it did not end by itself
    #[arg(long, group = "waits")]
    exit_code: bool,
    /// Wait no longer than this (`90s`, `5m`); the execution goes on, and the exit status is 4
    #[arg(long, value_name = "TIME", value_parser = span, requires = "waits")]
    wait_timeout: Option<Duration>,
}

/// How somebody waits for an execution.
#[derive(Clone, Copy)]
struct Waiting {
    limit: Option<Duration>,
    hand_on_code: bool,
}

impl Waiting {
    fn exit_of(self, ended: &Execution) -> Exit {
        if self.hand_on_code { Exit::with_code_of(ended) } else { Exit::of(ended) }
    }
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
        let output = &context.output;
        if self.follow && matches!(output.format(), Format::Yaml | Format::Name) {
            let problem =
                "a log is followed as it is, or with `-o json`: leave the other format out";
            return Err(Failure::Usage(problem.to_owned()));
        }
        let mut wish = self.wish()?;
        let client = context.client()?;
        if terminal::can_ask() && !output.format().is_document() {
            ask_for_missing(&client, &mut wish).await?;
        }
        let request = ExecuteRequest {
            job: wish.job,
            arguments: wish.values,
            timeout: self.timeout.and_then(|time| time.try_into().ok()),
            start_within: self.start_within.and_then(|time| time.try_into().ok()),
            on: self.on.into_iter().collect(),
            ..ExecuteRequest::default()
        };
        let execution = client.execute_with(request).await?;
        let waiting = Waiting { limit: self.wait_timeout, hand_on_code: self.exit_code };
        if self.follow {
            return follow(output, &client, execution, waiting).await;
        }
        if self.wait || self.exit_code {
            return wait(output, &client, execution, waiting).await;
        }
        accepted(output, &execution)?;
        Ok(Exit::Done)
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
    for argument in arguments.into_iter().filter(|argument| argument.required) {
        if let Entry::Vacant(missing) = wish.values.entry(argument.name.clone()) {
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

/// Says that the execution is on disk: its id alone to standard output, so that a script can keep it.
fn accepted(output: &Output, execution: &Execution) -> Result<(), Failure> {
    let id = one_line(&execution.id);
    if output.format() != Format::Text {
        return output.show(execution);
    }
    output.text(&id)?;
    let state = state_and_reason(&output.style().plain(), execution);
    output.hint(&format!(
        "`{}` is {state}\n  octavius getlogs {id} --follow   shows its log\n  octavius status {id}             shows how it stands",
        shell_word(&one_line(&execution.job))
    ));
    Ok(())
}

fn come_back(execution: &Execution) -> String {
    let id = &execution.id;
    format!(
        "execution {id} goes on: `octavius getlogs {id} --follow` shows its log, `octavius cancel {id}` ends it"
    )
}

async fn wait(
    output: &Output,
    client: &Client,
    execution: Execution,
    how: Waiting,
) -> Result<Exit, Failure> {
    let waiting = async {
        if output.format() == Format::Text {
            output.text(&one_line(&execution.id))?;
        }
        let ended = if output.hints() && !output.format().is_document() {
            let tell = |now: &Execution| {
                tell_state(output, now);
                false
            };
            client.wait_until(&execution.id, tell).await?
        } else {
            client.wait(&execution.id).await?
        };
        if output.format() != Format::Text {
            output.show(&ended)?;
        }
        tell_end(output, &ended);
        Ok(how.exit_of(&ended))
    };
    let goes_on = come_back(&execution);
    log::interruptible(output, &goes_on, log::bounded(how.limit, &goes_on, waiting)).await
}

async fn follow(
    output: &Output,
    client: &Client,
    execution: Execution,
    how: Waiting,
) -> Result<Exit, Failure> {
    let following = async {
        let id = &execution.id;
        let lines = output.format().is_document();
        if lines {
            output.line(&typed(&execution)).await?;
        } else {
            output.note(&format!("execution {} of `{}`", one_line(id), one_line(&execution.job)));
        }
        let mut attempt = execution.attempt.max(1);
        let ended = loop {
            follow_attempt(output, client, id, attempt).await?;
            let now = client.wait_until(id, |now| now.attempt > attempt).await?;
            if now.attempt <= attempt {
                break now;
            }
            if lines {
                output.line(&typed(&now)).await?;
            } else {
                output.note(&state_and_reason(&output.style().plain(), &now));
            }
            attempt += 1; // each has a log of its own, and none is left out
        };
        if lines {
            output.line(&typed(&ended)).await?;
        }
        tell_end(output, &ended);
        Ok(how.exit_of(&ended))
    };
    let goes_on = come_back(&execution);
    log::interruptible(output, &goes_on, log::bounded(how.limit, &goes_on, following)).await
}

/// Shows the log of one attempt, until it ends.
async fn follow_attempt(
    output: &Output,
    client: &Client,
    id: &str,
    attempt: u32,
) -> Result<(), Failure> {
    let lines = output.format().is_document();
    let log = client.follow_log(id, attempt, 0, true).await?;
    let pouring = async {
        if lines {
            log::pour_lines(output, log).await
        } else {
            log::pour(output, log).await.map(drop)
        }
    };
    // The log says nothing while an execution waits, so people are told why until the program runs.
    let telling = async {
        if output.hints() && !lines {
            let told = client.wait_until(id, |now| !tell_state(output, now));
            let _ = told.await; // whatever it came to, the log has the last word
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        poured = pouring => poured,
        () = telling => Ok(()),
    }
}

fn typed(execution: &Execution) -> serde_json::Value {
    let mut object = execution.document();
    object["type"] = "execution".into();
    object
}

/// Tells people at a terminal what an execution waits for. False where its program runs, or is over.
fn tell_state(output: &Output, execution: &Execution) -> bool {
    use ExecutionState::*;
    let waits = matches!(execution.state(), Pending | Leased | Starting);
    if waits && !output.format().is_document() {
        output.hint(&format!("octavius: {}", state_and_reason(&output.style().plain(), execution)));
    }
    waits
}

/// Tells people how it ended, and with which code.
fn tell_end(output: &Output, execution: &Execution) {
    if output.format().is_document() {
        return;
    }
    output.note(&ending(execution));
    for note in &execution.notes {
        output.note(&one_line(note));
    }
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
