//! `octavius secret`: sets the secrets of a job, shows which are set, and takes them away.

use crate::{
    complete,
    context::Context,
    exit::{Exit, Failure},
    render::secret::{Secrets, Set, Unset},
    terminal,
};
use clap::{Args, Subcommand};
use secrecy::{
    SecretString,
    zeroize::{Zeroize, Zeroizing},
};
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// Set, list and unset the secrets of a job
///
/// A value goes to the controller, which seals it; no command gives it back.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  octavius secret set deploy TOKEN
  octavius secret list deploy")]
pub(crate) struct Secret {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Set(SetSecret),
    List(ListSecrets),
    Unset(UnsetSecret),
}

/// Set a secret that a job declares, or set it anew
///
/// The value is asked for, and not shown while it is typed; or it comes from standard input, of which one line end at
/// the end is left out; or from a file, byte for byte. It is never given on the command line, which others on this
/// machine can see. Executions that were submitted before keep the value that they had.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  octavius secret set deploy TOKEN
  pass show deploy | octavius secret set deploy TOKEN --stdin
  octavius secret set deploy CERTIFICATE --from-file key.pem")]
struct SetSecret {
    /// The job's name
    #[arg(value_name = "JOB", add = complete::jobs())]
    job: String,
    /// The secret's name, as the job declares it
    #[arg(value_name = "NAME")]
    name: String,
    /// `-`: read the value from standard input
    #[arg(value_name = "-", value_parser = ["-"], conflicts_with_all = ["stdin", "from_file"], hide_possible_values = true)]
    dash: Option<String>,
    /// Read the value from standard input
    #[arg(long, conflicts_with = "from_file")]
    stdin: bool,
    /// Read the value from a file
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
    /// Take a value of fewer than 8 bytes, too: one so short will not be masked in logs
    #[arg(long)]
    unmasked: bool,
}

/// Show the secrets of a job, and which of them are set
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  octavius secret list deploy")]
struct ListSecrets {
    /// The job's name
    #[arg(value_name = "JOB", add = complete::jobs())]
    job: String,
}

/// Take a secret of a job away
///
/// Executions that were submitted before keep it; new ones are refused until it is set again.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  octavius secret unset deploy TOKEN")]
struct UnsetSecret {
    /// The job's name
    #[arg(value_name = "JOB", add = complete::jobs())]
    job: String,
    /// The secret's name
    #[arg(value_name = "NAME")]
    name: String,
}

impl Secret {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self.command {
            Command::Set(command) => command.run(context).await,
            Command::List(command) => command.run(context).await,
            Command::Unset(command) => command.run(context).await,
        }
    }
}

impl SetSecret {
    async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let client = context.client()?;
        let value = self.value()?;
        let set = client.set_secret(&self.job, &self.name, value, self.unmasked).await?;
        context.output.show(&Set { job: self.job, secret: set })?;
        Ok(Exit::Done)
    }

    fn value(&self) -> Result<SecretString, Failure> {
        if let Some(path) = &self.from_file {
            let file = File::open(path).map_err(|error| unread(path, &error))?;
            let bytes = read(file).map_err(|error| unread(path, &error))?;
            return text(&bytes, &path.display().to_string());
        }
        if self.stdin || self.dash.is_some() {
            let bytes = read(io::stdin().lock())?;
            let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
            return text(line.strip_suffix(b"\r").unwrap_or(line), "standard input");
        }
        if !terminal::can_ask() {
            return Err(Failure::Usage(
                "there is no terminal to ask for the value: give it with --stdin or --from-file"
                    .to_owned(),
            ));
        }
        let mut typed = terminal::ask_hidden(&format!("Value of {} (not shown): ", self.name))?;
        let value = SecretString::from(typed.as_str());
        typed.zeroize();
        Ok(value)
    }
}

impl ListSecrets {
    async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let secrets = context.client()?.secrets(&self.job).await?;
        context.output.show(&Secrets(secrets))?;
        Ok(Exit::Done)
    }
}

impl UnsetSecret {
    async fn run(self, context: &Context) -> Result<Exit, Failure> {
        context.client()?.unset_secret(&self.job, &self.name).await?;
        context.output.show(&Unset { job: self.job, name: self.name })?;
        Ok(Exit::Done)
    }
}

/// More than any value may have: what is larger is cut here, and refused by the controller for its size.
pub(crate) const MOST: u64 = 1 << 20;

fn read(from: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    from.take(MOST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn text(bytes: &[u8], place: &str) -> Result<SecretString, Failure> {
    // What is wrong with the bytes is not said: it would show some of them.
    let text = std::str::from_utf8(bytes).map_err(|_| {
        Failure::Usage(format!("what {place} holds is not UTF-8: encode it, for example as base64"))
    })?;
    Ok(SecretString::from(text))
}

fn unread(path: &Path, error: &io::Error) -> Failure {
    Failure::Usage(format!("`{}` cannot be read: {error}", path.display()))
}
