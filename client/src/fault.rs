//! What is wrong with something that the user wrote: all of it at once, each with its place and the remedy.

use std::fmt;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where: the key as a path, such as `env_vars.args[0].name`; empty where the whole is meant.
    pub key: String,
    /// What is wrong there, with the value, and what to write instead.
    pub problem: String,
}

impl Fault {
    /// A fault at `key`.
    pub fn new(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { key: key.into(), problem: problem.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => f.write_str(&self.problem),
            key => write!(f, "`{key}` {}", self.problem),
        }
    }
}

/// All that is wrong with one source: a file, an environment, the values of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    /// What was read.
    pub source: String,
    /// What is wrong with it: at least one.
    pub list: Vec<Fault>,
}

impl Faults {
    /// The one fault of `source`.
    pub(crate) fn one(source: impl Into<String>, fault: Fault) -> Self {
        Self { source: source.into(), list: vec![fault] }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = self.list.as_slice() {
            return write!(f, "{}: {only}", self.source);
        }
        write!(f, "{}: {} things are wrong", self.source, self.list.len())?;
        self.list.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

impl std::error::Error for Faults {}
