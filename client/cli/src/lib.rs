//! `octavius`: the command line, whose program is [`run`] and whose manual is made from the same definitions.
//!
//! Results go to standard output, everything else to standard error; the exit status says who can do something about
//! a failure. What is asked of a controller, and asked again, is the client library's business; here it is only read
//! from the command line and shown.

mod arguments;
mod cli;
mod commands;
mod complete;
mod context;
mod exit;
mod files;
mod installation;
mod keys;
mod limits;
mod lines;
mod log;
mod manual;
mod output;
mod render;
mod sign_in;
mod span;
mod terminal;
mod watch;

use clap::Parser;
use cli::{Cli, Command};
use context::Context;
use exit::{Exit, Failure};
pub use keys::client_file;
pub use limits::limits;
pub use manual::commands_page;
use octavius_executor::runner::process::supervise;
use output::Output;
use std::{ffi::OsString, process::ExitCode};

/// The program: does what this process's command line says, and answers the status to end with. Has to be called before
/// the process has a second thread.
pub fn run() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(answered) = complete::answer(&arguments) {
        return answered;
    }
    match Cli::try_parse_from(&arguments) {
        // Before any thread exists: the supervisor of an attempt depends on it.
        Ok(Cli { command: Command::Supervise { arguments }, .. }) => supervise(&arguments),
        Ok(cli) => done(cli).into(),
        Err(error) => misread(&arguments, &error).into(),
    }
}

fn done(cli: Cli) -> Exit {
    let output = Output::new(cli.output, cli.command.follows(), cli.utc);
    let context = Context::new(output, cli.choice());
    let ended = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let ended = runtime.block_on(cli.command.run(&context));
            // A reader that takes no more may hold up a write for ever: nobody waits for it.
            runtime.shutdown_background();
            ended
        }
        Err(error) => Err(Failure::Terminal(error)),
    };
    ended.unwrap_or_else(|failure| {
        context.output.failure(&failure);
        failure.exit()
    })
}

/// Answers a command line that asks for help, or that cannot be read.
fn misread(arguments: &[OsString], error: &clap::Error) -> Exit {
    let format = cli::format_of(arguments);
    if error.use_stderr() && format.is_document() {
        let text = error.render().to_string();
        let text = text.trim_end().trim_start_matches("error: ");
        let failure = Failure::Usage(text.to_owned());
        Output::new(format, false, false).failure(&failure);
    } else {
        // Nobody is left to tell where this fails.
        let _ = error.print();
    }
    if error.use_stderr() { Exit::Usage } else { Exit::Done }
}
