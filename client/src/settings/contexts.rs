//! Contexts: several controllers, each with a file of its own, and which of them is in use.
//!
//! A context's file looks like `octavius_client.yaml` and stands beside it, so that its host and its token come from
//! one source. Which one is in use stands in a file that holds a name and no token: choosing rewrites no secrets.

use super::{Surroundings, file::Contents};
use crate::{
    error::Error,
    fault::{Fault, Faults},
    near::nearest,
};
use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    str::FromStr,
};

/// Where a context's files stand, seen from the folder of `octavius_client.yaml`.
const FOLDER: &str = "contexts";
/// The file that holds the name of the context in use, seen from there.
const IN_USE: &str = "context";

/// What a context is called: 1 to 63 letters, digits, `-`, `_` and `.`, of which the first is a letter or a digit.
/// `default` is `octavius_client.yaml` itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContextName(String);

impl ContextName {
    const DEFAULT: &str = "default";

    fn is_default(&self) -> bool {
        self.0 == Self::DEFAULT
    }
}

impl Default for ContextName {
    fn default() -> Self {
        Self(Self::DEFAULT.to_owned())
    }
}

impl fmt::Display for ContextName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ContextName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let first = text.starts_with(|sign: char| sign.is_ascii_alphanumeric());
        let fits = |sign: char| sign.is_ascii_alphanumeric() || "-_.".contains(sign);
        if first && text.len() <= 63 && text.chars().all(fits) {
            return Ok(Self(text.to_owned()));
        }
        Err("a context's name has 1 to 63 letters, digits, `-`, `_` and `.`, and begins with a letter or a digit".to_owned())
    }
}

/// Which file the caller wants to be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The first of the usual places that has one.
    #[default]
    Usual,
    /// This file.
    File(PathBuf),
    /// The file of this context. The variables that name a controller or a user do not override it.
    Context(ContextName),
}

/// A context, and what its file says.
#[derive(Debug)]
pub struct Listed {
    /// What it is called.
    pub name: ContextName,
    /// Its file.
    pub file: PathBuf,
    /// Whether it is the one in use.
    pub in_use: bool,
    /// What the file says, or what is wrong with it.
    pub contents: Result<Contents, Error>,
}

impl Surroundings {
    /// The folder of the user's files.
    pub(super) fn folder(&self) -> Option<PathBuf> {
        let absolute = |folder: &&str| Path::new(folder).is_absolute();
        let folder = match self.filled("XDG_CONFIG_HOME").filter(absolute) {
            Some(folder) => Some(PathBuf::from(folder)),
            None => self.filled("HOME").map(|home| Path::new(home).join(".config")),
        };
        folder.map(|folder| folder.join("octavius"))
    }

    fn folder_or_error(&self) -> Result<PathBuf, Error> {
        let none = "there is no home folder, so that there are no contexts: set the variable HOME, or name a file with --config FILE";
        self.folder().ok_or_else(|| Error::Settings(none.to_owned()))
    }

    /// Where the file of the context `name` is, or would be.
    ///
    /// # Errors
    /// Where there is no home folder.
    pub fn context_file(&self, name: &ContextName) -> Result<PathBuf, Error> {
        let folder = self.folder_or_error()?;
        Ok(match name.is_default() {
            true => folder.join(super::NAME),
            false => folder.join(FOLDER).join(format!("{name}.yaml")),
        })
    }

    /// The context that was chosen with [`Surroundings::use_context`]; `default` where none was.
    ///
    /// # Errors
    /// Where the file that holds its name cannot be read, or holds no name.
    pub fn context_in_use(&self) -> Result<ContextName, Error> {
        let Some(path) = self.folder().map(|folder| folder.join(IN_USE)) else {
            return Ok(ContextName::default());
        };
        match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map_err(|problem| {
                let problem = format!("{problem}: `octavius config use NAME` writes one");
                Faults::one(path.display().to_string(), Fault::new("", problem)).into()
            }),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(ContextName::default()),
            Err(cause) => Err(Error::File { path, attempted: "read", cause }),
        }
    }

    /// Makes the context `name` the one in use, wherever no file is named and the old client's is not there.
    ///
    /// # Errors
    /// Where there is no such context, its file is not as it should be, or the choice cannot be written.
    pub fn use_context(&self, name: &ContextName) -> Result<(), Error> {
        Contents::read(&self.existing(name)?)?;
        let path = self.folder_or_error()?.join(IN_USE);
        super::file::replace(&path, format!("{name}\n").as_bytes()).map_err(|cause| Error::File {
            path,
            attempted: "written",
            cause,
        })
    }

    /// All contexts, `default` first and the others by name.
    ///
    /// # Errors
    /// Where the folder of contexts, or the choice, cannot be read.
    pub fn contexts(&self) -> Result<Vec<Listed>, Error> {
        let in_use = self.context_in_use()?;
        let default = ContextName::default();
        let has_default = self.context_file(&default).is_ok_and(|path| path.exists());
        let names = has_default.then_some(default).into_iter().chain(self.named_contexts()?);
        names
            .map(|name| {
                let file = self.context_file(&name)?;
                let contents = Contents::read(&file);
                Ok(Listed { in_use: name == in_use, name, file, contents })
            })
            .collect()
    }

    fn named_contexts(&self) -> Result<Vec<ContextName>, Error> {
        let Some(folder) = self.folder().map(|folder| folder.join(FOLDER)) else {
            return Ok(Vec::new());
        };
        let unreadable = |cause| Error::File { path: folder.clone(), attempted: "read", cause };
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(cause) => return Err(unreadable(cause)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(unreadable)?.file_name();
            let name = name.to_str().and_then(|name| name.strip_suffix(".yaml")?.parse().ok());
            names.extend(name.filter(|name: &ContextName| !name.is_default()));
        }
        names.sort();
        Ok(names)
    }

    /// The file of a context that has to be there.
    pub(super) fn existing(&self, name: &ContextName) -> Result<PathBuf, Error> {
        let path = self.context_file(name)?;
        if path.exists() {
            return Ok(path);
        }
        let known: Vec<_> = self.contexts()?.iter().map(|found| found.name.to_string()).collect();
        let known: Vec<_> = known.iter().map(String::as_str).collect();
        let near = nearest(&name.0, &known).map(|near| format!(" (the nearest is `{near}`)"));
        Err(Error::Settings(format!(
            "there is no context `{name}`{near}: `octavius config list` shows them, and `octavius config --context {name} --cp-host HOST:PORT` makes it",
            near = near.unwrap_or_default()
        )))
    }
}
