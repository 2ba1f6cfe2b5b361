//! `octavius config`: writes the client's file.

use crate::{
    context::Context,
    exit::{Exit, Failure},
    render::{Shown, Style, text::one_line},
    terminal,
};
use clap::Args;
use octavius_client::Contents;
use secrecy::SecretString;
use serde_json::{Value, json};
use std::{path::PathBuf, time::Duration};

/// Write the client's file: where the controller is, and who asks
///
/// The file is readable by you alone. A token is best given at the prompt or with --token-stdin: what stands on the
/// command line can be seen by others on this machine.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  octavius config --cp-host localhost:3000 --email-id ada@example.com
  octavius config --cp-host localhost:3000 --token-stdin --yes < token.txt")]
pub(crate) struct Config {
    /// The controller's address
    #[arg(long, value_name = "HOST:PORT")]
    cp_host: String,
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

impl Config {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let path = context.place_to_write()?;
        if path.exists() && !self.yes && !may_overwrite(&path, self.token_stdin)? {
            context.output.note("nothing was written");
            return Ok(Exit::Usage);
        }
        let token = match self.token {
            Some(token) => Some(token),
            None if self.token_stdin => terminal::read_line()?.map(SecretString::from),
            None if terminal::can_ask() => {
                Some(terminal::ask_hidden("Token (empty for none): ")?.into())
            }
            None => None,
        };
        let contents = Contents {
            host: Some(self.cp_host),
            email: self.email_id,
            token: token.filter(|token| !secrecy::ExposeSecret::expose_secret(token).is_empty()),
            timeout: Some(Duration::from_secs(self.time_out)),
        };
        contents.write(&path)?;
        context.output.show(&Written(path))?;
        Ok(Exit::Done)
    }
}

fn may_overwrite(path: &std::path::Path, input_is_taken: bool) -> Result<bool, Failure> {
    let shown = one_line(&path.display().to_string());
    if input_is_taken || !terminal::can_ask() {
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
