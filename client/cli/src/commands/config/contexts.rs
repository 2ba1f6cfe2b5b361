//! `octavius config use`, `list` and `show`: which controllers there are, and which one is asked.

use crate::{
    complete,
    context::Context,
    exit::{Exit, Failure},
    render::{Shown, Style, sheet, table, text::one_line},
};
use clap::Args;
use comfy_table::Cell;
use octavius_client::{Choice, ContextName, Found, Listed, Sources, Surroundings};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Choose the context that commands use from now on
///
/// `default` is octavius_client.yaml itself. --config, $OCTAVIUS_CONFIG and the old client's file in the working folder
/// come before the context.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  octavius config use staging
  octavius config use default")]
pub(super) struct Use {
    /// The context's name
    #[arg(value_name = "NAME", add = complete::contexts())]
    name: ContextName,
}

/// List the contexts
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  octavius config list")]
pub(super) struct List {}

/// Show which controller is asked, as whom, and where that is written; the token is masked
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  octavius config show
  octavius config show --context staging -o json")]
pub(super) struct Show {}

impl Use {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let around = Surroundings::of_this_process();
        around.use_context(&self.name)?;
        context.output.show(&Used(self.name.clone()))?;
        let read = Sources::find(&around, &Choice::Usual)?;
        if read.context.is_none()
            && let Some(file) = read.file
        {
            let file = one_line(&file.display().to_string());
            context.output.note(&format!("here {file} is read all the same"));
        }
        Ok(Exit::Done)
    }
}

impl List {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let contexts = Surroundings::of_this_process().contexts()?;
        context.output.show(&contexts)?;
        if contexts.is_empty() {
            context.output.hint("There are no contexts yet: `octavius config --cp-host HOST:PORT` writes `default`, and with `--context NAME` one more.");
        }
        Ok(Exit::Done)
    }
}

impl Show {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let sources = Sources::find(&Surroundings::of_this_process(), context.choice())?;
        context.output.show(&sources)?;
        // What was shown says where it stands; whether it can be used is said, too.
        if !context.output.format().is_document() {
            context.settings()?;
        }
        Ok(Exit::Done)
    }
}

struct Used(ContextName);

impl Shown for Used {
    fn text(&self, _style: &Style) -> String {
        format!("the context `{}` is in use\n", self.0)
    }

    fn names(&self) -> Vec<String> {
        vec![self.0.to_string()]
    }

    fn document(&self) -> Value {
        json!({ "context": self.0.to_string() })
    }
}

fn path_text(path: &Path) -> String {
    one_line(&path.display().to_string())
}

impl Shown for Vec<Listed> {
    fn text(&self, style: &Style) -> String {
        let row = |listed: &Listed| {
            let (host, email) = match &listed.contents {
                Ok(contents) => (contents.host.as_deref(), contents.email.as_deref()),
                Err(_) => (Some("(the file is wrong: `config show` says why)"), None),
            };
            [
                if listed.in_use { "*".to_owned() } else { String::new() },
                listed.name.to_string(),
                one_line(host.unwrap_or_default()),
                one_line(email.unwrap_or_default()),
                path_text(&listed.file),
            ]
            .map(Cell::new)
            .to_vec()
        };
        let header = ["USED", "NAME", "CONTROLLER", "USER", "FILE"];
        table(style, &header, self.iter().map(row).collect())
    }

    fn names(&self) -> Vec<String> {
        self.iter().map(|listed| listed.name.to_string()).collect()
    }

    fn document(&self) -> Value {
        let one = |listed: &Listed| {
            let contents = listed.contents.as_ref();
            json!({
                "name": listed.name.to_string(),
                "in_use": listed.in_use,
                "file": listed.file.display().to_string(),
                "cp_host": contents.ok().and_then(|contents| contents.host.clone()),
                "email_id": contents.ok().and_then(|contents| contents.email.clone()),
                "problem": contents.err().map(ToString::to_string),
            })
        };
        json!({ "contexts": self.iter().map(one).collect::<Vec<_>>() })
    }
}

/// What stands for a token wherever it is shown: not its length, and none of its characters.
const MASK: &str = "********";

fn masked(token: &Found<SecretString>) -> Option<Found<String>> {
    let source = token.source.clone();
    let set = !token.value.expose_secret().is_empty();
    set.then(|| Found { value: MASK.to_owned(), source })
}

fn text_of(Found { value, source }: Found<PathBuf>) -> Found<String> {
    Found { value: value.display().to_string(), source }
}

impl Shown for Sources {
    fn text(&self, _style: &Style) -> String {
        let file = self.file.as_deref().map(path_text);
        let file_source = self.file.as_ref().map(|path| path.display().to_string());
        // The file has its own line: a source is told where it is another.
        let said = |found: Option<Found<String>>| match found {
            None => "none".to_owned(),
            Some(Found { value, source }) if Some(&source) == file_source.as_ref() => {
                one_line(&value)
            }
            Some(Found { value, source }) => format!("{} ({source})", one_line(&value)),
        };
        let timeout = self.timeout.clone().filter(|found| !found.value.is_zero());
        sheet(&[
            ("context", self.context.as_ref().map(ToString::to_string).unwrap_or_default()),
            ("file", file.unwrap_or_else(|| "none".to_owned())),
            ("controller", said(self.host.clone())),
            (
                "trusts",
                self.ca_file.clone().map(|found| said(Some(text_of(found)))).unwrap_or_default(),
            ),
            ("user", said(self.email.clone())),
            ("token", said(self.token.as_ref().and_then(masked))),
            (
                "time-out",
                match timeout {
                    Some(Found { value, source }) => {
                        said(Some(Found { value: format!("{}s", value.as_secs()), source }))
                    }
                    None => "10s".to_owned(),
                },
            ),
        ])
    }

    fn names(&self) -> Vec<String> {
        self.context.iter().map(ToString::to_string).collect()
    }

    fn document(&self) -> Value {
        let text = |found: Option<Found<String>>| {
            found.map(|Found { value, source }| json!({ "value": value, "source": source }))
        };
        let timeout = self
            .timeout
            .as_ref()
            .map(|found| json!({ "value": found.value.as_secs(), "source": found.source }));
        json!({
            "context": self.context.as_ref().map(ToString::to_string),
            "file": self.file.as_ref().map(|path| path.display().to_string()),
            "cp_host": text(self.host.clone()),
            "ca_cert_file": text(self.ca_file.clone().map(text_of)),
            "email_id": text(self.email.clone()),
            "access_token": text(self.token.as_ref().and_then(masked)),
            "connection_timeout_secs": timeout,
        })
    }
}
