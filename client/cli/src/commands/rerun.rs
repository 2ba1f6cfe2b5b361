//! `octavius rerun`: runs again what an execution ran.

use super::execute::ask_for;
use crate::{
    arguments, complete,
    context::Context,
    exit::{Exit, Failure},
    watch::Watch,
};
use clap::Args;
use octavius_client::{
    Client,
    v1::{Argument, ArgumentType, RerunRequest},
};
use std::{collections::BTreeMap, path::PathBuf};

/// Run again what an execution ran
///
/// The job is taken as it is now, with the values that were given then, but for those that are given anew. Labels and times
/// that `execute` was given hold again. What is secret was not kept, and has to be given again.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  octavius rerun @last --follow
  octavius rerun 06ac1q5gt9vk3e1b7m2n4p6r8s surname=Byron --wait
  octavius rerun 6m2n4p6r8s --same-version")]
pub(crate) struct Rerun {
    /// The execution's id, six or more characters of its end, or `@last`
    #[arg(value_name = "ID", add = complete::executions())]
    id: String,
    /// The values of arguments that are to be others than they were
    #[arg(value_name = "NAME=VALUE")]
    values: Vec<String>,
    /// Such values from a file, in JSON or YAML: names with one value each; `-` is standard input
    #[arg(short, long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Take the version of the job that was run then, and not the current one
    #[arg(long)]
    same_version: bool,
    #[command(flatten)]
    pub(crate) watch: Watch,
}

impl Rerun {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        self.watch.check(&context.output)?;
        let words: Vec<&String> = self.values.iter().collect();
        let mut values = arguments::values(&words, &[], &self.files)?;
        let client = context.client()?;
        let id = context.execution(&client, &self.id).await?;
        if context.may_ask() {
            ask_for(self.missing(&client, &id).await?, &mut values)?;
        }
        let request = RerunRequest {
            id,
            same_version: self.same_version,
            arguments: values,
            ..RerunRequest::default()
        };
        let execution = client.rerun(request).await?;
        self.watch.accepted(&context.output, &client, execution).await
    }

    /// The arguments whose values are neither there nor were given then, and those that were given and not kept.
    async fn missing(
        &self,
        client: &Client,
        id: &str,
    ) -> Result<impl Iterator<Item = Argument>, Failure> {
        let first = client.execution(id).await?;
        let version = if self.same_version { first.job_version } else { 0 };
        let job = client.describe_job_version(&first.job, version).await?.job;
        let arguments = job.and_then(|job| job.definition).map(|definition| definition.arguments);
        Ok(missing(arguments.unwrap_or_default(), first.arguments))
    }
}

fn missing(
    arguments: Vec<Argument>,
    then: BTreeMap<String, String>,
) -> impl Iterator<Item = Argument> {
    arguments.into_iter().filter(move |argument| match then.contains_key(&argument.name) {
        true => argument.r#type() == ArgumentType::Secret,
        false => argument.required,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_or_new_is_asked_for_and_nothing_else() {
        let argument = |name: &str, kind: ArgumentType, required| Argument {
            name: name.to_owned(),
            r#type: kind.into(),
            required,
            ..Argument::default()
        };
        use ArgumentType::{Secret, String};
        let arguments = vec![
            argument("name", String, true),
            argument("key", Secret, true),
            argument("pin", Secret, false),
            argument("other-pin", Secret, false),
            argument("new", String, true),
            argument("note", String, false),
        ];
        let then = ["name", "key", "pin"].map(|name| (name.to_owned(), "[secret]".to_owned()));
        let asked: Vec<_> = missing(arguments, then.into()).map(|argument| argument.name).collect();
        assert_eq!(asked, ["key", "pin", "new"]);
    }
}
