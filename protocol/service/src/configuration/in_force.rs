//! The configuration in force, for people and for programs: each key, its value, and where that comes from.

use super::{Loaded, Place, Problem, Problems, Section, Setting};
use serde_json::{Map, Value, json};
use std::{
    fmt,
    fmt::Write as _,
    io::{self, Write as _},
    str::FromStr,
};

/// A key with its value, never a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The key.
    pub key: &'static str,
    /// Its value, for people.
    pub text: String,
    /// Its value, as a file could have it.
    pub json: Value,
}

impl Shown {
    /// The value of `key`.
    pub fn new(key: &'static str, value: &impl Setting) -> Self {
        Self { key, text: value.shown(), json: value.json() }
    }
}

/// What a key that nobody gave comes to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derived {
    /// The key, with what holds.
    pub shown: Shown,
    /// What it follows from: continues "derived from".
    pub from: String,
}

impl Derived {
    /// The value that holds for `key`, and what it follows from.
    pub fn new(key: &'static str, value: &impl Setting, from: impl Into<String>) -> Self {
        Self { shown: Shown::new(key, value), from: from.into() }
    }
}

/// Where the value of a key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Somebody gave it, or it is the default.
    Given(Place),
    /// It follows from something else.
    Derived(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(place) => place.fmt(f),
            Self::Derived(from) => write!(f, "derived from {from}"),
        }
    }
}

/// A key, the value that holds, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// The key, with what holds.
    pub shown: Shown,
    /// Where that comes from.
    pub origin: Origin,
}

/// How the configuration in force is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// A line for each key.
    #[default]
    Text,
    /// One JSON document.
    Json,
}

impl FromStr for Form {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("give `text` or `json`".to_owned()),
        }
    }
}

/// What a server's `config` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// For standard output.
    pub out: String,
    /// For standard error.
    pub err: String,
    /// Whether a server could start with it.
    pub is_right: bool,
}

impl Said {
    /// Says it. Whether a server could start with it: where nobody listens any more, the exit code still speaks.
    pub fn tell(&self) -> bool {
        let _ = io::stdout().write_all(self.out.as_bytes());
        let _ = io::stderr().write_all(self.err.as_bytes());
        self.is_right
    }
}

/// Says what is in force, or all that is wrong. `beyond` finds what a server refuses although the section is right.
pub fn said<T: Section>(
    loaded: &Result<Loaded<T>, Problems>,
    form: Form,
    beyond: impl FnOnce(&T) -> Vec<String>,
) -> Said {
    let faults = match loaded {
        Ok(Loaded { section, .. }) => beyond(section),
        Err(_) => Vec::new(),
    };
    let is_right = loaded.is_ok() && faults.is_empty();
    let (out, err) = match form {
        Form::Text => (loaded.as_ref().map(table).unwrap_or_default(), remarks(loaded, &faults)),
        Form::Json => (format!("{:#}\n", document(loaded, &faults)), String::new()),
    };
    Said { out, err, is_right }
}

fn remarks<T>(loaded: &Result<Loaded<T>, Problems>, faults: &[String]) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    match loaded {
        Ok(loaded) => loaded.warnings.iter().for_each(|warning| {
            let _ = writeln!(text, "warning: {warning}");
        }),
        Err(problems) => {
            let _ = writeln!(text, "{problems}");
        }
    }
    faults.iter().fold(text, |text, fault| text + fault + "\n")
}

/// Wider values push what stands behind them to the right.
const WIDEST: usize = 40;

fn table<T>(loaded: &Loaded<T>) -> String {
    let rows = loaded.in_force.iter().map(|InForce { shown, origin }| {
        (shown.key.to_owned(), printable(&shown.text), printable(&origin.to_string()))
    });
    let head = ("KEY".to_owned(), "VALUE".to_owned(), "FROM".to_owned());
    let rows: Vec<_> = [head].into_iter().chain(rows).collect();
    let width = |part: fn(&(String, String, String)) -> &String| {
        rows.iter().map(|row| part(row).chars().count()).filter(|width| *width <= WIDEST).max()
    };
    let (keys, values) = (width(|row| &row.0).unwrap_or(0), width(|row| &row.1).unwrap_or(0));
    let line = |(key, value, from): &(String, String, String)| {
        format!("{key:keys$}  {value:values$}  {from}\n")
    };
    rows.iter().map(line).collect()
}

/// A line stays a line, and a terminal is told nothing.
fn printable(text: &str) -> String {
    let one = |sign: char| match sign.is_control() {
        true => sign.escape_default().to_string(),
        false => sign.to_string(),
    };
    text.chars().map(one).collect()
}

fn document<T>(loaded: &Result<Loaded<T>, Problems>, faults: &[String]) -> Value {
    let mut faults: Vec<Value> = faults.iter().map(|text| json!({ "text": text })).collect();
    match loaded {
        Ok(Loaded { warnings, in_force, .. }) => {
            let one = |InForce { shown, origin }: &InForce| {
                let from = origin.to_string();
                (shown.key.to_owned(), json!({ "value": shown.json, "from": from }))
            };
            let keys: Map<_, _> = in_force.iter().map(one).collect();
            let warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();
            json!({ "keys": keys, "warnings": warnings, "faults": faults })
        }
        Err(Problems(problems)) => {
            faults.extend(problems.iter().map(fault));
            json!({ "faults": faults })
        }
    }
}

fn fault(problem: &Problem) -> Value {
    let Problem { place, key, value, what, remedy } = problem;
    json!({
        "text": problem.to_string(),
        "from": place.to_string(),
        "key": key,
        "value": value,
        "what": what,
        "remedy": remedy,
    })
}

#[cfg(test)]
mod tests;
