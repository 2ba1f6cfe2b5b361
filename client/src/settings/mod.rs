//! Whom to ask, as whom, and how long to wait: `octavius_client.yaml` and the variables that override it.
//!
//! The file is looked for at the place that the caller names, at `$OCTAVIUS_CONFIG`, where the old client kept it,
//! and in the user's configuration folder; the first one found is the one. The host and the token come from one source: a
//! file that came along with somebody's repository must not get the token of the environment sent to its host.

mod address;
mod file;

pub use file::Contents;

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
/// Where it is kept now, seen from the user's configuration folder.
const NEW_PLACE: &str = "octavius/octavius_client.yaml";
/// What a time-out of 0, or none, means.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// What a [`crate::Client`] needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The controller's address as a URI: `http://host:port`.
    pub address: String,
    /// Who asks; none is `anonymous`.
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
    pub const VARIABLES: [&str; 7] = [
        "OCTAVIUS_CONFIG",
        "CP_HOST",
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

    /// The places where the file may be and need not, in the order in which they are looked at.
    fn usual_places(&self) -> Vec<PathBuf> {
        let absolute = |folder: &&str| Path::new(folder).is_absolute();
        let folder = match self.filled("XDG_CONFIG_HOME").filter(absolute) {
            Some(folder) => Some(PathBuf::from(folder)),
            None => self.filled("HOME").map(|home| Path::new(home).join(".config")),
        };
        let new = folder.map(|folder| folder.join(NEW_PLACE));
        [self.working_folder.join(OLD_PLACE)].into_iter().chain(new).collect()
    }

    /// The file that is read: the one that was asked for, else the first that is there.
    fn file(&self, asked_for: Option<&Path>) -> Option<PathBuf> {
        let named = asked_for.or_else(|| self.filled("OCTAVIUS_CONFIG").map(Path::new));
        match named {
            Some(path) => Some(self.working_folder.join(path)),
            None => self.usual_places().into_iter().find(|path| path.exists()),
        }
    }

    /// Where a file has to be written so that it is the one that is read afterwards. None where there is neither a
    /// named place nor a home folder.
    pub fn place_to_write(&self, asked_for: Option<&Path>) -> Option<PathBuf> {
        self.file(asked_for).or_else(|| self.usual_places().into_iter().nth(1))
    }
}

/// One value, and where it came from.
struct Found<T> {
    value: T,
    source: String,
}

impl Settings {
    /// The settings of this process; `asked_for` is the file that the caller names, if any.
    ///
    /// # Errors
    /// Where a named file is not there, a file is not as it should be, no controller is named, or the host and the
    /// token do not come from one source.
    pub fn load(asked_for: Option<&Path>) -> Result<Self, Error> {
        Self::load_in(&Surroundings::of_this_process(), asked_for)
    }

    /// The settings in the given surroundings. See [`Settings::load`].
    ///
    /// # Errors
    /// As [`Settings::load`].
    pub fn load_in(around: &Surroundings, asked_for: Option<&Path>) -> Result<Self, Error> {
        let path = around.file(asked_for);
        let contents = path.as_deref().map(Contents::read).transpose()?.unwrap_or_default();
        let source = path.map(|path| path.display().to_string()).unwrap_or_default();
        let in_file =
            |value: Option<String>| value.map(|value| Found { value, source: source.clone() });
        let set = |name| {
            let value = around.variable(name)?.to_owned();
            Some(Found { value, source: format!("the variable {name}") })
        };
        let filled = |name| set(name).filter(|found| !found.value.is_empty());

        let host = filled("CP_HOST").or_else(|| in_file(contents.host.clone()));
        let host = host.ok_or_else(|| no_controller(around))?;
        // A variable that is set and empty means: without a token.
        let token = set("ACCESS_TOKEN").or_else(|| {
            in_file(contents.token.as_ref().map(|token| token.expose_secret().to_owned()))
        });
        one_source(&host, token.as_ref())?;
        let email = filled("EMAIL_ID").or_else(|| in_file(contents.email.clone()));
        let timeout = match filled("CONNECTION_TIMEOUT_SECS") {
            Some(found) => file::seconds(&found.value).map_err(|problem| {
                Faults::one("the environment", Fault::new("CONNECTION_TIMEOUT_SECS", problem))
            })?,
            None => contents.timeout,
        };
        Ok(Self {
            address: address::uri(&host.value)
                .map_err(|problem| Faults::one(&host.source, Fault::new("CP_HOST", problem)))?,
            email: email.map(|email| sendable("EMAIL_ID", email)).transpose()?,
            token: token
                .filter(|token| !token.value.is_empty())
                .map(|token| sendable("ACCESS_TOKEN", token).map(SecretString::from))
                .transpose()?,
            timeout: timeout.filter(|timeout| !timeout.is_zero()).unwrap_or(DEFAULT_TIMEOUT),
        })
    }
}

/// Refuses to send a token to a host that another source names.
fn one_source(host: &Found<String>, token: Option<&Found<String>>) -> Result<(), Error> {
    let Some(token) = token.filter(|token| !token.value.is_empty()) else { return Ok(()) };
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
    let places = around.usual_places();
    let places: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
    Error::Settings(format!(
        "no controller is named: write its address down once with `octavius config --cp-host HOST:PORT`, or set the variable CP_HOST (looked for a file at {})",
        places.join(" and ")
    ))
}

/// What goes with each call as metadata has to be visible ASCII.
fn sendable(key: &str, found: Found<String>) -> Result<String, Faults> {
    let fits = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    if found.value.bytes().all(fits) {
        return Ok(found.value);
    }
    let problem =
        "holds characters that cannot be sent: write it with letters, digits and signs of ASCII";
    Err(Faults::one(found.source, Fault::new(key, problem)))
}

#[cfg(test)]
mod tests;
