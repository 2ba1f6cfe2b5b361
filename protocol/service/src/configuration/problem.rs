//! What is wrong with a configuration, in words for whoever has to mend it.

use std::{fmt, path::PathBuf};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file.
    File(PathBuf),
    /// An environment variable, by name.
    Variable(String),
    /// Nobody gave it: the default holds.
    Default,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Variable(name) => name.fmt(f),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One thing that is wrong: where, which key, what it says, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file or the variable.
    pub place: Place,
    /// The key, if the fault is not the file's own.
    pub key: Option<String>,
    /// The value, if it may be shown.
    pub value: Option<String>,
    /// What is wrong, if that is not the value itself; follows the key in a sentence.
    pub what: Option<String>,
    /// What to do.
    pub remedy: String,
}

impl Problem {
    /// A fault of a key's value.
    pub(super) fn value(place: Place, key: &str, value: String, remedy: String) -> Self {
        Self { place, key: Some(key.to_owned()), value: Some(value), what: None, remedy }
    }

    /// A fault of a key, whatever its value is.
    pub(super) fn key(place: Place, key: &str, what: &str, remedy: String) -> Self {
        let (key, what) = (Some(key.to_owned()), Some(what.to_owned()));
        Self { place, key, value: None, what, remedy }
    }

    /// A fault of the file as a whole.
    pub(super) fn file(path: PathBuf, what: String, remedy: &str) -> Self {
        let (place, remedy) = (Place::File(path), remedy.to_owned());
        Self { place, key: None, value: None, what: Some(what), remedy }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if let Some(key) = &self.key {
            write!(f, "`{key}` ")?;
        }
        match (&self.what, &self.value) {
            (Some(what), _) => write!(f, "{what}: ")?,
            (None, Some(value)) => write!(f, "is `{value}`: ")?,
            (None, None) => {}
        }
        f.write_str(&self.remedy)
    }
}

/// All that is wrong with a configuration; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [only] => only.fmt(f),
            several => {
                write!(f, "{} faults in the configuration:", several.len())?;
                several.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))
            }
        }
    }
}

impl std::error::Error for Problems {}

/// What a section's own check objects to. The place and the value are added where they are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The key.
    pub key: &'static str,
    /// What to do: "give a time above zero, for example `2s`".
    pub remedy: String,
}

impl Fault {
    /// An objection to the value of `key`.
    pub fn new(key: &'static str, remedy: impl Into<String>) -> Self {
        Self { key, remedy: remedy.into() }
    }
}

/// Something that was given and does nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The file or the variable.
    pub place: Place,
    /// The key.
    pub key: &'static str,
    /// Why it does nothing.
    pub why: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: `{}` has no effect: {}", self.place, self.key, self.why)
    }
}
