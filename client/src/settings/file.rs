//! `octavius_client.yaml`: read with all its faults at once, written so that nobody else can read it.

use super::Settings;
use crate::{
    error::Error,
    fault::{Fault, Faults},
    near::nearest,
};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

/// A key of the file, which is the name of a variable as well.
#[derive(Clone, Copy, Debug)]
pub struct FileKey {
    /// Its name.
    pub name: &'static str,
    /// What a value looks like.
    pub wanted: &'static str,
    /// What holds if nobody gives it.
    pub absent: Absent,
    /// What it does.
    pub meaning: &'static str,
}

/// What holds if nobody gives a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// Nothing works: somebody must.
    Fault,
    /// One goes without.
    Without,
    /// As if this were given.
    Default(&'static str),
}

/// What a file says.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// `CP_HOST`: the controller's address, or several.
    pub host: Option<String>,
    /// `CA_CERT_FILE`: the PEM file of the authority that is trusted; seen from the folder of the file that names it.
    pub ca_file: Option<PathBuf>,
    /// `EMAIL_ID`: who asks.
    pub email: Option<String>,
    /// `ACCESS_TOKEN`: what proves it.
    pub token: Option<SecretString>,
    /// `CONNECTION_TIMEOUT_SECS`: how long a call may take; 0 and none mean 10 s.
    pub timeout: Option<Duration>,
}

/// The file as it is written.
#[derive(Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
struct Written<'a> {
    cp_host: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_cert_file: Option<&'a Path>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<&'a str>,
    connection_timeout_secs: u64,
}

impl Contents {
    /// The longest time that `CONNECTION_TIMEOUT_SECS` may say.
    pub const LONGEST_TIMEOUT: Duration = Duration::from_secs(86_400);

    /// All keys, in the order of the documents.
    pub const KEYS: [FileKey; 5] = [
        FileKey {
            name: "CP_HOST",
            wanted: "`host:port`, `http://host:port` or `https://host:port`; or several of them, with commas between them",
            absent: Absent::Fault,
            meaning: "Where the controller is. Of several addresses, and of several machines that a name stands for, the first that answers is asked, and the next when it does not any more. With `https://` TLS is spoken; without either, too, if `CA_CERT_FILE` is given.",
        },
        FileKey {
            name: Settings::CA_KEY,
            wanted: "a path, seen from the folder of this file",
            absent: Absent::Without,
            meaning: "The PEM file of the authority whose certificates are trusted; without it those that this machine trusts. The variable's path is seen from the working folder.",
        },
        FileKey {
            name: "EMAIL_ID",
            wanted: "text, of ASCII",
            absent: Absent::Default(Settings::ANONYMOUS),
            meaning: "Who asks.",
        },
        FileKey {
            name: "ACCESS_TOKEN",
            wanted: "text, of ASCII, never shown",
            absent: Absent::Without,
            meaning: "Proves it. It is sent only to a host that comes from the same source: both from the file, or both from variables. The variable, empty, takes the file's away.",
        },
        FileKey {
            name: "CONNECTION_TIMEOUT_SECS",
            wanted: "a whole number up to 86400",
            absent: Absent::Default("10"),
            meaning: "How many seconds a call may take that neither follows nor waits; 0 means the default.",
        },
    ];

    /// Reads the file at `path`.
    ///
    /// # Errors
    /// Where there is no such file, it is not YAML, or it has unknown keys or wrong values.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(|cause| Error::File {
            path: path.to_owned(),
            attempted: "read",
            cause,
        })?;
        Ok(Self::parse(&text, &path.display().to_string())?)
    }

    /// Reads `text`, which came from `source`.
    pub(super) fn parse(text: &str, source: &str) -> Result<Self, Faults> {
        let keys = Self::KEYS.map(|key| key.name);
        let text = text.trim_start_matches('\u{feff}');
        // As texts, so that a token of digits stays as it was written. A file of comments alone holds nothing.
        let read: Result<Option<BTreeMap<String, Option<String>>>, _> =
            serde_saphyr::from_str(text);
        // What the parser says may show the line, and the line may hold the token.
        let mut found = read
            .map_err(|error| {
                let place = error.location().map(|place| format!(" (line {})", place.line()));
                let place = place.unwrap_or_default();
                let problem = format!(
                    "is not a YAML file of `KEY: value` lines{place}: write each of {} at most once, and a value with special characters in quotes",
                    keys.join(", ")
                );
                Faults::one(source, Fault::new("", problem))
            })?
            .unwrap_or_default();
        let mut take = |key: &str| found.remove(key).flatten().filter(|value| !value.is_empty());
        let mut list = Vec::new();
        let contents = Self {
            host: take("CP_HOST"),
            ca_file: take(Settings::CA_KEY).map(PathBuf::from),
            email: take("EMAIL_ID"),
            token: take("ACCESS_TOKEN").map(SecretString::from),
            timeout: take("CONNECTION_TIMEOUT_SECS").and_then(|text| {
                seconds(&text).unwrap_or_else(|problem| {
                    list.push(Fault::new("CONNECTION_TIMEOUT_SECS", problem));
                    None
                })
            }),
        };
        for unknown in found.keys().filter(|key| !keys.contains(&key.as_str())) {
            let nearest = nearest(unknown, &keys).unwrap_or_default();
            list.push(Fault::new(
                unknown,
                format!("is not known: the nearest known key is `{nearest}`"),
            ));
        }
        match list.is_empty() {
            true => Ok(contents),
            false => Err(Faults { source: source.to_owned(), list }),
        }
    }

    /// Writes these contents to `path`, in the place of what is there, readable by the user alone. Afterwards the
    /// file is either the old or the new one, never half of it.
    ///
    /// # Errors
    /// Where a value is none that could be read again, or the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let host = self.host.as_deref().unwrap_or_default();
        super::address::uris(host, self.ca_file.is_some())
            .map_err(|problem| Faults::one("--cp-host", Fault::new("CP_HOST", problem)))?;
        let email_id = self.email.as_deref();
        super::sendable("EMAIL_ID", email_id.unwrap_or_default(), "--email-id")?;
        let access_token = self.token.as_ref().map(ExposeSecret::expose_secret);
        super::sendable("ACCESS_TOKEN", access_token.unwrap_or_default(), "the token")?;
        let connection_timeout_secs = self.timeout.unwrap_or_default().as_secs();
        seconds(&connection_timeout_secs.to_string()).map_err(|problem| {
            Faults::one("--time-out", Fault::new("CONNECTION_TIMEOUT_SECS", problem))
        })?;
        let ca_cert_file = self.ca_file.as_deref();
        let written = Written {
            cp_host: host,
            ca_cert_file,
            email_id,
            access_token,
            connection_timeout_secs,
        };
        let text = serde_saphyr::to_string(&written)
            .map_err(|error| Error::Settings(format!("the settings cannot be written: {error}")))?;
        replace(path, text.as_bytes()).map_err(|cause| Error::File {
            path: path.to_owned(),
            attempted: "written",
            cause,
        })
    }
}

/// Reads a number of seconds. The error continues a sentence that begins with the key.
pub(super) fn seconds(text: &str) -> Result<Option<Duration>, String> {
    let most = Contents::LONGEST_TIMEOUT.as_secs();
    match text.trim().parse::<u64>() {
        Ok(seconds) if seconds <= most => Ok(Some(Duration::from_secs(seconds))),
        _ => Err(format!(
            "is `{text}`: write a number of seconds from 0 to {most}, where 0 means 10"
        )),
    }
}

pub(super) fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder)?;
    }
    // Beside the target: a rename does not cross file systems.
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", uuid::Uuid::new_v4().simple()));
    let beside = PathBuf::from(beside);
    let written = write_new(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
