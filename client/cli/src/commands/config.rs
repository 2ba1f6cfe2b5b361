//! `octavius config`: writes the client's file, and chooses between several.

mod contexts;

use crate::{
    context::Context,
    exit::{Exit, Failure},
    render::{Shown, Style, text::one_line},
    terminal,
};
use clap::{Args, Subcommand};
use contexts::{List, Show, Use};
use octavius_client::Contents;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::{path::PathBuf, time::Duration};

/// Write the client's file: where the controller is, and who asks
///
/// The file is readable by you alone. A token is best given at the prompt or with --token-stdin: what stands on the
/// command line can be seen by others on this machine. With --context NAME it is the file of a context of that name:
/// one of several controllers, between which `config use` chooses.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true,
    after_help = "\
Examples:
  octavius config --cp-host localhost:3000 --email-id ada@example.com
  octavius config --cp-host localhost:3000 --token-stdin --yes < token.txt
  octavius config --context staging --cp-host staging.example.com:3000
  octavius config --cp-host https://one.example.com:3000,https://two.example.com:3000
  octavius config use staging
  octavius config list
  octavius config show"
)]
pub(crate) struct Config {
    #[command(subcommand)]
    command: Option<Command>,
    /// The controller's address, or several with commas between them; `https://HOST:PORT` speaks TLS
    #[arg(long, value_name = "HOST:PORT")]
    cp_host: Option<String>,
    /// The PEM file of the authority whose certificates are trusted; else those that this machine trusts
    #[arg(long, value_name = "FILE", requires = "cp_host")]
    ca_cert_file: Option<PathBuf>,
    /// Who you are
    #[arg(long, value_name = "EMAIL")]
    email_id: Option<String>,
    /// What proves it
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_stdin")]
    token: Option<SecretString>,
    /// Read the token from standard input
    #[arg(long)]
    token_stdin: bool,
    /// Seconds that a call may take; 0 means 10
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    time_out: u64,
    /// Overwrite a file without asking
    #[arg(short, long)]
    yes: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Use(Use),
    List(List),
    Show(Show),
}

impl Config {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self.command {
            Some(Command::Use(command)) => command.run(context),
            Some(Command::List(command)) => command.run(context),
            Some(Command::Show(command)) => command.run(context),
            None => self.write(context),
        }
    }

    fn write(self, context: &Context) -> Result<Exit, Failure> {
        let asks = context.may_ask() && !self.token_stdin;
        if self.cp_host.is_none() && !asks {
            let problem = "no controller is named: write `octavius config --cp-host HOST:PORT`";
            return Err(Failure::Usage(problem.to_owned()));
        }
        let path = context.place_to_write()?;
        if path.exists() && !self.yes && !may_overwrite(&path, asks)? {
            context.output.note("nothing was written");
            return Ok(Exit::Usage);
        }
        // Who names the controller has said all but the token; who does not is asked for everything.
        let ask = |question: &str| Ok::<_, Failure>(terminal::ask(question)?.unwrap_or_default());
        let (host, email) = match self.cp_host {
            Some(host) => (host, self.email_id),
            None => {
                let host = ask("Controller (HOST:PORT): ")?;
                let email = self.email_id.map_or_else(|| ask("E-mail (empty for none): "), Ok)?;
                (host, Some(email))
            }
        };
        let token = match self.token {
            Some(token) => Some(token),
            None if self.token_stdin => terminal::read_line()?.map(SecretString::from),
            None if asks => Some(terminal::ask_hidden("Token (empty for none): ")?.into()),
            None => None,
        };
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        let contents = Contents {
            host: Some(host),
            ca_file: self.ca_cert_file.map(absolute),
            email: email.filter(|email| !email.is_empty()),
            token: token.filter(|token| !token.expose_secret().is_empty()),
            timeout: Some(Duration::from_secs(self.time_out)),
        };
        contents.write(&path)?;
        context.output.show(&Written(path))?;
        Ok(Exit::Done)
    }
}

fn may_overwrite(path: &std::path::Path, asks: bool) -> Result<bool, Failure> {
    let shown = one_line(&path.display().to_string());
    if !asks {
        return Err(Failure::Usage(format!("{shown} is there already: say --yes to overwrite it")));
    }
    terminal::agrees(&format!("{shown} is there already. Overwrite it?"))
}

/// The file that was written.
struct Written(PathBuf);

impl Shown for Written {
    fn text(&self, _style: &Style) -> String {
        format!("the settings are in {}\n", one_line(&self.0.display().to_string()))
    }

    fn names(&self) -> Vec<String> {
        vec![one_line(&self.0.display().to_string())]
    }

    fn document(&self) -> Value {
        json!({ "file": self.0.display().to_string() })
    }
}
