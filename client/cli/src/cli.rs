//! The command line as it is read. Old long flags stay; help shows the short, positional forms.

use crate::{
    commands, complete,
    context::Context,
    exit::{Exit, Failure},
    output::Format,
};
use clap::{Parser, Subcommand};
use octavius_client::{Choice, ContextName};
use std::{ffi::OsString, path::PathBuf};

const AFTER: &str = "\
To see it work, with nothing to set up:
  octavius demo

A first run:
  octavius config --cp-host localhost:3000   where the controller is
  octavius create -f metadata.json           register a job
  octavius execute hello-friend name=Ada --follow

Exit status: 0 done; 1 the execution that was waited for did not succeed; 2 wrong usage;
3 the controller refused; 4 nobody answered in time, or the wait took too long; 130 interrupted.
`execute --exit-code` ends with the code of the job's own program instead of 1.";

/// Runs jobs in whichever cluster their executor lives, and shows their logs as they are written
#[derive(Debug, Parser)]
#[command(name = "octavius", version, after_help = AFTER)]
pub(crate) struct Cli {
    /// The client's file; else $OCTAVIUS_CONFIG, or the usual places
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// The context to use for this command; see `octavius config list`
    #[arg(long, global = true, value_name = "NAME", conflicts_with = "config", add = complete::contexts())]
    pub(crate) context: Option<ContextName>,

    /// How results are written: text, wide, name, json or yaml
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        hide_possible_values = true,
        hide_default_value = true
    )]
    pub(crate) output: Format,

    /// Show times in UTC, not in the zone of this machine
    #[arg(long, global = true)]
    pub(crate) utc: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// The client's file that the command line names.
    pub(crate) fn choice(&self) -> Choice {
        match (&self.config, &self.context) {
            (Some(path), _) => Choice::File(path.clone()),
            (None, Some(name)) => Choice::Context(name.clone()),
            (None, None) => Choice::Usual,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Config(commands::config::Config),
    Login(commands::login::Login),
    Create(commands::create::Create),
    Describe(commands::describe::Describe),
    List(commands::list::List),
    Update(commands::update::Update),
    Delete(commands::delete::Delete),
    Execute(commands::execute::Execute),
    Rerun(commands::rerun::Rerun),
    Getlogs(commands::getlogs::Getlogs),
    Status(commands::status::Status),
    Explain(commands::explain::Explain),
    Wait(commands::wait::Wait),
    Cancel(commands::cancel::Cancel),
    Executions(commands::executions::Executions),
    Executors(commands::executors::Executors),
    Secret(commands::secret::Secret),
    Token(commands::token::Token),
    Role(commands::role::Role),
    Audit(commands::audit::Audit),
    Version(commands::version::Version),
    Completion(commands::completion::Completion),
    Man(commands::man::Man),
    Dev(commands::dev::Dev),
    Demo(commands::demo::Demo),
    /// Keeps watch over one attempt; started by the executor of `dev` and `demo`
    #[command(hide = true)]
    Supervise {
        /// The attempt's folder, and what the supervisor adds for itself
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

impl Command {
    /// Whether it writes what comes as it comes, to its end or to an interruption.
    pub(crate) fn follows(&self) -> bool {
        match self {
            Command::Execute(command) => command.watch.follow,
            Command::Rerun(command) => command.watch.follow,
            Command::Getlogs(command) => command.follow,
            _ => false,
        }
    }

    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self {
            Command::Config(command) => command.run(context),
            Command::Login(command) => command.run(context).await,
            Command::Create(command) => command.run(context).await,
            Command::Describe(command) => command.run(context).await,
            Command::List(command) => command.run(context).await,
            Command::Update(command) => command.run(context).await,
            Command::Delete(command) => command.run(context).await,
            Command::Execute(command) => command.run(context).await,
            Command::Rerun(command) => command.run(context).await,
            Command::Getlogs(command) => command.run(context).await,
            Command::Status(command) => command.run(context).await,
            Command::Explain(command) => command.run(context).await,
            Command::Wait(command) => command.run(context).await,
            Command::Cancel(command) => command.run(context).await,
            Command::Executions(command) => command.run(context).await,
            Command::Executors(command) => command.run(context).await,
            Command::Secret(command) => command.run(context).await,
            Command::Token(command) => command.run(context).await,
            Command::Role(command) => command.run(context).await,
            Command::Audit(command) => command.run(context).await,
            Command::Version(command) => command.run(context).await,
            Command::Completion(command) => command.run(context),
            Command::Man(command) => command.run(context),
            Command::Dev(command) => command.run(context).await,
            Command::Demo(command) => command.run(context).await,
            // Answered in `main`, before there is a runtime.
            Command::Supervise { .. } => Ok(Exit::Usage),
        }
    }
}

/// The format that a command line asks for that could not be read: its errors are written in it, too.
pub(crate) fn format_of(arguments: &[OsString]) -> Format {
    let texts: Vec<_> = arguments.iter().map(|argument| argument.to_string_lossy()).collect();
    let asks = |format: &str| {
        texts.iter().enumerate().any(|(index, text)| {
            let next = texts.get(index + 1).map(AsRef::as_ref);
            let joined =
                ["-o", "-o=", "--output="].iter().any(|flag| *text == format!("{flag}{format}"));
            joined || (matches!(text.as_ref(), "-o" | "--output") && next == Some(format))
        })
    };
    match (asks("json"), asks("yaml")) {
        (true, _) => Format::Json,
        (_, true) => Format::Yaml,
        _ => Format::Text,
    }
}

#[cfg(test)]
mod tests;
