//! `octavius completion`: makes a shell complete commands, names and ids.

use crate::{
    complete,
    context::Context,
    exit::{Exit, Failure},
};
use clap::{Args, ValueEnum};
use serde_json::json;
use std::path::Path;

/// Print the script that makes a shell complete commands, and the names and ids of the controller
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  octavius completion bash > ~/.local/share/bash-completion/completions/octavius
  octavius completion zsh > ~/.zfunc/_octavius            where ~/.zfunc is in $fpath
  octavius completion fish > ~/.config/fish/completions/octavius.fish
  source <(octavius completion bash)                      in this shell alone")]
pub(crate) struct Completion {
    /// Which shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// A shell that can be made to complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Completion {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let shell = match self.shell {
            Shell::Bash => "bash",
            Shell::Zsh => "zsh",
            Shell::Fish => "fish",
        };
        let script = complete::script(shell, &program())?;
        if context.output.format().is_document() {
            context.output.document(&json!({ "shell": shell, "script": script }))?;
        } else {
            context.output.text(script.trim_end())?;
        }
        Ok(Exit::Done)
    }
}

/// How the shell calls this program: by its name where it was found by it, else by its place.
fn program() -> String {
    let called = std::env::args_os().next().unwrap_or_default();
    let place = Path::new(&called);
    let place = match place.components().count() {
        0 | 1 => return "octavius".to_owned(),
        _ => std::path::absolute(place),
    };
    place.map_or_else(|_| "octavius".to_owned(), |place| place.display().to_string())
}
