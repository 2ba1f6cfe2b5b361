//! `octavius login`: signs in at the issuer whose identity tokens the controller takes.

use crate::{
    context::Context,
    exit::{Exit, Failure},
    render::{Shown, Style, text::one_line},
    sign_in::SignIn,
};
use clap::Args;
use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;
use octavius_client::{Client, Contents, Error, Refusal, Settings, Sources, Surroundings};
use octavius_controller::web::Web;
use octavius_protocol::{NO_TOKEN, OIDC_CLIENT_ID, OIDC_ISSUER};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::{path::PathBuf, time::Duration};
use tokio::time::{Instant, sleep};

/// For how long a controller may not know the key of a new token: it asks the issuer once in ten seconds.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);
/// The pause until it is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// Sign in at the issuer whose identity tokens the controller takes
///
/// It shows an address and a code. Open the address in a browser, here or on another device, and sign in there with the
/// code. The identity token that the issuer then gives is kept in the client's file, which you alone can read, once the
/// controller has taken it; it proves who you are until it ends.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  octavius login
  octavius login --issuer-ca-file issuer.pem
  export CP_HOST=octavius.example.com:3000; export ACCESS_TOKEN=$(octavius login --print-token)")]
pub(crate) struct Login {
    /// The PEM file of the authority whose certificates the issuer shows; else those that this machine trusts
    #[arg(long, value_name = "FILE")]
    issuer_ca_file: Option<PathBuf>,
    /// What the issuer is asked for; else those of openid, email, profile and groups that it offers
    #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',')]
    scopes: Vec<String>,
    /// Print the token instead of keeping it
    #[arg(long)]
    print_token: bool,
}

impl Login {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        // Where it is kept is known before anybody has to do anything.
        let file = if self.print_token { None } else { Some(place(context)?) };
        let web = Web::new(self.issuer_ca_file.as_deref());
        let web = web.map_err(|error| Failure::Usage(format!("--issuer-ca-file {error}")))?;
        let settings = Settings { token: None, ..context.settings()? };
        let (issuer, client_id) = issuer(&Client::new(&settings)?).await?;
        let sign_in = SignIn::begin(&issuer, client_id, &self.scopes, web).await?;
        context.output.note(&format!(
            "signs in at {} for the controller {}\n{}",
            one_line(&issuer),
            one_line(&settings.address),
            sign_in.words().trim_end()
        ));
        let token = sign_in.token().await?;
        // What the controller does not take is of no use, and it says why.
        let settings = Settings { token: Some(token.clone()), ..settings };
        taken(&Client::new(&settings)?).await?;
        if let Some(file) = &file {
            Contents { token: Some(token.clone()), ..Contents::read(file)? }.write(file)?;
        }
        context.output.show(&SignedIn { issuer, ends_at: ends_at(&token), token, file })?;
        Ok(Exit::Done)
    }
}

/// Waits until the controller has taken the token: it may have to ask the issuer for its key first.
async fn taken(client: &Client) -> Result<(), Failure> {
    let until = Instant::now() + TAKEN_WITHIN;
    loop {
        match client.version().await {
            Ok(_) => return Ok(()),
            Err(Error::Unanswered { .. }) if Instant::now() < until => sleep(PAUSE).await,
            Err(error) => return Err(error.into()),
        }
    }
}

/// The file that the token belongs into: the one that names the controller.
fn place(context: &Context) -> Result<PathBuf, Failure> {
    let sources = Sources::find(&Surroundings::of_this_process(), context.choice())?;
    let is_named_by = |file: &PathBuf| {
        sources.host.as_ref().is_some_and(|host| host.source == file.display().to_string())
    };
    let Some(file) = sources.file.clone().filter(is_named_by) else {
        return Err(Failure::Usage(
            "no file names the controller, and only to who is named in it the token of a file is sent: write `octavius config --cp-host HOST:PORT`, or give the token as a variable, as the controller is: `export ACCESS_TOKEN=$(octavius login --print-token)`"
                .to_owned(),
        ));
    };
    if let Some(token) = sources.token.filter(|token| token.source != file.display().to_string()) {
        return Err(Failure::Usage(format!(
            "{} comes before the token of a file: unset it, or take `--print-token`",
            token.source
        )));
    }
    Ok(file)
}

/// Whose tokens the controller takes, and for whom they have to be.
async fn issuer(client: &Client) -> Result<(String, String), Failure> {
    match client.version().await {
        Ok(_) => Err(Failure::Unknown(format!(
            "the controller {} asks nobody for a token: there is nothing to sign in for",
            client.address()
        ))),
        Err(Error::Refused(refusal)) if refusal.reason == NO_TOKEN => {
            let Refusal { told, .. } = &*refusal;
            match (told.get(OIDC_ISSUER), told.get(OIDC_CLIENT_ID)) {
                (Some(issuer), Some(client_id)) => Ok((issuer.clone(), client_id.clone())),
                _ => Err(Failure::Unknown(format!(
                    "the controller {} takes tokens of its own alone (no `oidc_issuer` is configured): ask an administrator for one (`octavius token create`), and give it with `octavius config` or as ACCESS_TOKEN",
                    client.address()
                ))),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// When a token ends, as it says itself.
fn ends_at(token: &SecretString) -> Option<Timestamp> {
    let claims = token.expose_secret().split('.').nth(1)?;
    let claims = BASE64URL_NOPAD.decode(claims.as_bytes()).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    Timestamp::from_second(claims.get("exp")?.as_i64()?).ok()
}

/// Somebody is signed in.
struct SignedIn {
    issuer: String,
    token: SecretString,
    ends_at: Option<Timestamp>,
    file: Option<PathBuf>,
}

impl Shown for SignedIn {
    fn text(&self, style: &Style) -> String {
        let Some(file) = &self.file else {
            return format!("{}\n", one_line(self.token.expose_secret()));
        };
        let until = self.ends_at.map(|at| format!(" until {}", style.time(at))).unwrap_or_default();
        let file = one_line(&file.display().to_string());
        format!("signed in at {}{until}; the token is in {file}\n", one_line(&self.issuer))
    }

    fn names(&self) -> Vec<String> {
        match &self.file {
            None => vec![one_line(self.token.expose_secret())],
            Some(file) => vec![one_line(&file.display().to_string())],
        }
    }

    fn document(&self) -> Value {
        let token = self.file.is_none().then(|| self.token.expose_secret());
        json!({
            "issuer": self.issuer,
            "ends_at": self.ends_at.map(|at| at.to_string()),
            "file": self.file.as_ref().map(|file| file.display().to_string()),
            "token": token,
        })
    }
}
