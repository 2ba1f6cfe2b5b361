//! Whom to ask, as whom, and how long to wait: `octavius_client.yaml` and the variables that override it.
//!
//! The file is looked for at the place that the caller names, at `$OCTAVIUS_CONFIG`, where the old client kept it,
//! and in the user's configuration folder, where it is the one of the context in use; the first one found is the one.
//! The host and the token come from one source: a file that came along with somebody's repository must not get the
//! token of the environment sent to its host.

mod address;
mod contexts;
mod file;

pub use contexts::{Choice, ContextName, Listed};
pub use file::{Absent, Contents, FileKey};

use crate::{
    error::Error,
    fault::{Fault, Faults},
};
use secrecy::{ExposeSecret, SecretString};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

/// Where the old client kept its file, seen from the working folder.
const OLD_PLACE: &str = "job_data_example/config/octavius_client.yaml";
/// What it is called where it is kept now.
const NAME: &str = "octavius_client.yaml";
/// What a time-out of 0, or none, means.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// What a [`crate::Client`] needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The controller's address as a URI: `http://host:port`, or `https://`; of several, all with commas between them.
    pub address: String,
    /// The PEM file of the authority whose certificates are trusted, for addresses of `https`; none: those that this
    /// machine trusts.
    pub ca_file: Option<PathBuf>,
    /// Who asks; none is [`Settings::ANONYMOUS`].
    pub email: Option<String>,
    /// What proves it.
    pub token: Option<SecretString>,
    /// How long a call may take that neither follows nor waits.
    pub timeout: Duration,
}

/// The parts of a process's surroundings that decide about its settings.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The folder that relative paths start from.
    pub working_folder: PathBuf,
    /// Environment variables by name: the ones of [`Surroundings::VARIABLES`] that are set.
    pub variables: BTreeMap<String, String>,
}

impl Surroundings {
    /// The variables that are looked at.
    pub const VARIABLES: [&str; 8] = [
        "OCTAVIUS_CONFIG",
        "CP_HOST",
        Settings::CA_KEY,
        "EMAIL_ID",
        "ACCESS_TOKEN",
        "CONNECTION_TIMEOUT_SECS",
        "XDG_CONFIG_HOME",
        "HOME",
    ];

    /// The surroundings of this process. Variables that are not UTF-8 count as not set.
    pub fn of_this_process() -> Self {
        let read = |name: &str| std::env::var(name).ok().map(|value| (name.to_owned(), value));
        Self {
            working_folder: PathBuf::new(), // paths stay as they were written
            variables: Self::VARIABLES.into_iter().filter_map(read).collect(),
        }
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    fn filled(&self, name: &str) -> Option<&str> {
        self.variable(name).filter(|value| !value.is_empty())
    }

    /// The file that the old client kept, if it is there.
    fn old_file(&self) -> Option<PathBuf> {
        Some(self.working_folder.join(OLD_PLACE)).filter(|path| path.exists())
    }

    /// The file that is read, and the context that it belongs to.
    fn file(&self, choice: &Choice) -> Result<(Option<PathBuf>, Option<ContextName>), Error> {
        let named = match choice {
            Choice::Context(name) => return Ok((Some(self.existing(name)?), Some(name.clone()))),
            Choice::File(path) => Some(path.as_path()),
            Choice::Usual => self.filled("OCTAVIUS_CONFIG").map(Path::new),
        };
        if let Some(path) =
            named.map(|path| self.working_folder.join(path)).or_else(|| self.old_file())
        {
            return Ok((Some(path), None));
        }
        let name = self.context_in_use()?;
        match name == ContextName::default() {
            // It need not be there: variables may say all.
            true => Ok((self.context_file(&name).ok().filter(|path| path.exists()), Some(name))),
            false => Ok((Some(self.existing(&name)?), Some(name))),
        }
    }

    /// Where a file has to be written so that it is the one that is read afterwards.
    ///
    /// # Errors
    /// Where there is neither a named place nor a home folder, or the context in use is not there.
    pub fn place_to_write(&self, choice: &Choice) -> Result<PathBuf, Error> {
        if let Choice::Context(name) = choice {
            return self.context_file(name);
        }
        match self.file(choice)? {
            (Some(path), _) => Ok(path),
            (None, _) => self.context_file(&ContextName::default()),
        }
    }
}

/// One value, and where it came from.
#[derive(Clone, Debug)]
pub struct Found<T> {
    /// The value.
    pub value: T,
    /// The file's path, or `the variable NAME`.
    pub source: String,
}

/// What the surroundings say, each thing with its source. Nothing is checked yet.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The file that was read, if there is one.
    pub file: Option<PathBuf>,
    /// The context that it belongs to; none where the file was named, or is the old client's.
    pub context: Option<ContextName>,
    /// `CP_HOST`.
    pub host: Option<Found<String>>,
    /// `CA_CERT_FILE`, seen from where it is named.
    pub ca_file: Option<Found<PathBuf>>,
    /// `EMAIL_ID`.
    pub email: Option<Found<String>>,
    /// `ACCESS_TOKEN`; an empty one means: without.
    pub token: Option<Found<SecretString>>,
    /// `CONNECTION_TIMEOUT_SECS`; none and 0 mean 10 s.
    pub timeout: Option<Found<Duration>>,
}

impl Sources {
    /// What stands where, in the given surroundings.
    ///
    /// # Errors
    /// Where a named file or context is not there, or a file is not as it should be.
    pub fn find(around: &Surroundings, choice: &Choice) -> Result<Self, Error> {
        let (file, context) = around.file(choice)?;
        let contents = file.as_deref().map(Contents::read).transpose()?.unwrap_or_default();
        let source = file.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        let set = |name| {
            // Who names a context says whom to ask and as whom.
            let about_whom = name != "CONNECTION_TIMEOUT_SECS";
            if about_whom && matches!(choice, Choice::Context(_)) {
                return None;
            }
            let value = around.variable(name)?.to_owned();
            Some(Found { value, source: format!("the variable {name}") })
        };
        let filled = |name| set(name).filter(|found| !found.value.is_empty());
        let timeout = match filled("CONNECTION_TIMEOUT_SECS") {
            Some(Found { value, source }) => {
                let value = file::seconds(&value).map_err(|problem| {
                    Faults::one("the environment", Fault::new("CONNECTION_TIMEOUT_SECS", problem))
                })?;
                value.map(|value| Found { value, source })
            }
            None => in_file(contents.timeout, &source),
        };
        let token = set("ACCESS_TOKEN")
            .map(|Found { value, source }| Found { value: SecretString::from(value), source });
        let beside = file.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        let ca_file = filled(Settings::CA_KEY).map(|Found { value, source }| {
            let value = around.working_folder.join(value);
            Found { value, source }
        });
        let in_file_ca = contents.ca_file.map(|path| beside.join(path));
        Ok(Self {
            ca_file: ca_file.or(in_file(in_file_ca, &source)),
            host: filled("CP_HOST").or(in_file(contents.host, &source)),
            email: filled("EMAIL_ID").or(in_file(contents.email, &source)),
            token: token.or(in_file(contents.token, &source)),
            timeout,
            file,
            context,
        })
    }
}

fn in_file<T>(value: Option<T>, source: &str) -> Option<Found<T>> {
    value.map(|value| Found { value, source: source.to_owned() })
}

impl Settings {
    /// Who asks where nobody is named.
    pub const ANONYMOUS: &str = "anonymous";
    /// The key, and the variable, that names the file of the authority that is trusted.
    pub const CA_KEY: &str = "CA_CERT_FILE";

    /// Who asks.
    pub fn user(&self) -> &str {
        self.email.as_deref().unwrap_or(Self::ANONYMOUS)
    }

    /// The settings of this process.
    ///
    /// # Errors
    /// Where a named file or context is not there, a file is not as it should be, no controller is named, or the host
    /// and the token do not come from one source.
    pub fn load(choice: &Choice) -> Result<Self, Error> {
        Self::load_in(&Surroundings::of_this_process(), choice)
    }

    /// The settings in the given surroundings. See [`Settings::load`].
    ///
    /// # Errors
    /// As [`Settings::load`].
    pub fn load_in(around: &Surroundings, choice: &Choice) -> Result<Self, Error> {
        let Sources { host, ca_file, email, token, timeout, .. } = Sources::find(around, choice)?;
        let host = host.ok_or_else(|| no_controller(around))?;
        let token = token.filter(|token| !token.value.expose_secret().is_empty());
        one_source(&host, token.as_ref())?;
        let timeout = timeout.map(|found| found.value).filter(|timeout| !timeout.is_zero());
        if let Some(token) = &token {
            sendable("ACCESS_TOKEN", token.value.expose_secret(), &token.source)?;
        }
        if let Some(email) = &email {
            sendable("EMAIL_ID", &email.value, &email.source)?;
        }
        Ok(Self {
            address: address::uris(&host.value, ca_file.is_some())
                .map_err(|problem| Faults::one(&host.source, Fault::new("CP_HOST", problem)))?,
            ca_file: ca_file.map(|found| found.value),
            email: email.map(|email| email.value),
            token: token.map(|token| token.value),
            timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
        })
    }
}

/// Refuses to send a token to a host that another source names.
fn one_source(host: &Found<String>, token: Option<&Found<SecretString>>) -> Result<(), Error> {
    let Some(token) = token else { return Ok(()) };
    let variable = |source: &str| source.starts_with("the variable ");
    if host.source == token.source || (variable(&host.source) && variable(&token.source)) {
        return Ok(());
    }
    Err(Error::Settings(format!(
        "CP_HOST comes from {}, and ACCESS_TOKEN from {}: a token is sent only to a host that its own source names, so set both there, or set the variable ACCESS_TOKEN to nothing to go without",
        host.source, token.source
    )))
}

fn no_controller(around: &Surroundings) -> Error {
    let new = around.context_file(&ContextName::default()).ok();
    let places = [around.working_folder.join(OLD_PLACE)].into_iter().chain(new);
    let places: Vec<_> = places.map(|place| place.display().to_string()).collect();
    Error::Settings(format!(
        "no controller is named: write its address down once with `octavius config --cp-host HOST:PORT`, or set the variable CP_HOST (looked for a file at {})",
        places.join(" and ")
    ))
}

/// What goes with each call as metadata has to be visible ASCII.
fn sendable(key: &str, value: &str, source: &str) -> Result<(), Faults> {
    if value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
        return Ok(());
    }
    let problem =
        "holds characters that cannot be sent: write it with letters, digits and signs of ASCII";
    Err(Faults::one(source, Fault::new(key, problem)))
}

#[cfg(test)]
mod tests;
