//! From a file and the environment to a section, or to all that is wrong with it.

use super::{
    Fault, HIDDEN, Place, Problem, Problems, Section, Setting, Warning, parse_text, section::Key,
};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt, io,
    path::{Path, PathBuf},
};

/// A section that may be used, and what in it does nothing.
#[derive(Clone, Debug)]
pub struct Loaded<T> {
    /// The section.
    pub section: T,
    /// What was given and has no effect; for the log, once there is one.
    pub warnings: Vec<Warning>,
}

/// Loads `path`, overridden by the variables of this process that begin with the section's prefix.
pub fn load<T: Section>(path: &Path) -> Result<Loaded<T>, Problems> {
    load_with(path, std::env::vars_os())
}

/// Loads `path`, overridden by those of `variables` that begin with the section's prefix.
pub fn load_with<T: Section>(
    path: &Path,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Loaded<T>, Problems> {
    gather(path, read(path), variables)
}

/// A section from the text of a file that is not on disk; the environment is not looked at.
pub fn from_values<T: Section>(text: &str) -> Result<Loaded<T>, Problems> {
    gather(Path::new(T::FILE), Ok(text.to_owned()), [])
}

fn read(path: &Path) -> Result<String, Box<Problem>> {
    std::fs::read_to_string(path).map_err(|error| {
        let (what, remedy) = match error.kind() {
            io::ErrorKind::NotFound => (
                "there is no such file".to_owned(),
                "write it (docs/configuration.md has every key), or name another with `--config`",
            ),
            io::ErrorKind::InvalidData => (
                "is not UTF-8 text".to_owned(),
                "save it as UTF-8, or name another with `--config`",
            ),
            _ => (
                format!("cannot be read ({error})"),
                "let this user read it, or name another with `--config`",
            ),
        };
        Box::new(Problem::file(path.to_owned(), what, remedy))
    })
}

/// A file that cannot be read is no reason to be silent about the variables.
fn gather<T: Section>(
    path: &Path,
    text: Result<String, Box<Problem>>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Loaded<T>, Problems> {
    let names = Names::of::<T>();
    let mut values = Values::default();
    let mut problems = Vec::new();
    let entries = text.and_then(|text| {
        serde_json::from_str::<Entries>(&text)
            .map_err(|error| Box::new(not_an_object(path, &error)))
    });
    let unread = entries.is_err();
    match entries {
        Ok(Entries(entries)) => values.add_file(path, entries, &names, &mut problems),
        Err(problem) => problems.push(*problem),
    }
    values.add_variables(T::PREFIX, variables, &names, &mut problems);
    match T::from_values(&values) {
        Ok(section) => {
            let faults = section.faults().into_iter();
            problems.extend(faults.map(|fault| values.objection(fault, &names)));
            if problems.is_empty() {
                let warnings = values.warnings(&section, &names);
                return Ok(Loaded { section, warnings });
            }
        }
        // What is missing may well stand in a file that could not be read.
        Err(wrong) => problems
            .extend(wrong.into_iter().filter(|problem| !unread || problem.place != Place::Default)),
    }
    for problem in problems.iter_mut().filter(|problem| problem.place == Place::Default) {
        problem.place = Place::File(path.to_owned()); // where it would be given
    }
    Err(Problems(problems))
}

fn not_an_object(path: &Path, error: &serde_json::Error) -> Problem {
    // Neither text shows values: a token could be among them.
    let what = format!("line {}, column {} is not JSON", error.line(), error.column());
    match error.classify() {
        serde_json::error::Category::Data => Problem::file(
            path.to_owned(),
            "does not hold an object".to_owned(),
            "put the keys into `{` and `}`",
        ),
        serde_json::error::Category::Eof => Problem::file(
            path.to_owned(),
            format!("{what}: the file ends too early"),
            "close what is open with `\"`, `]` or `}`",
        ),
        _ => Problem::file(
            path.to_owned(),
            format!("{what} ({})", syntax(error)),
            "mend that line or the one before; commas stand between keys alone, and there are no comments",
        ),
    }
}

/// The parser's own words, without the position that it appends.
fn syntax(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}

/// The top level of a file in its order, with keys that stand twice.
struct Entries(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// What a section calls its keys.
struct Names {
    file: &'static str,
    keys: Vec<Key>,
    without_effect: Vec<&'static str>,
}

impl Names {
    fn of<T: Section>() -> Self {
        let without_effect = T::WITHOUT_EFFECT.iter().map(|key| key.name).collect();
        Self { file: T::FILE, keys: T::keys(), without_effect }
    }

    fn all(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().map(|key| key.name).chain(self.without_effect.iter().copied())
    }

    fn knows(&self, name: &str) -> bool {
        self.all().any(|known| known == name)
    }

    fn is_secret(&self, name: &str) -> bool {
        self.keys.iter().any(|key| key.name == name && key.secret)
    }

    /// What to do about a name that nobody knows; `shown` writes a known one as its reader would.
    fn nearest(&self, name: &str, shown: impl Fn(&str) -> String) -> String {
        let lower = name.to_lowercase();
        let distance = |known: &str| strsim::osa_distance(known, &lower);
        let nearest = self.all().min_by_key(|known| distance(known));
        match nearest.filter(|known| distance(known) <= 2.max(known.len() / 3)) {
            Some(known) => format!("did you mean `{}`?", shown(known)),
            None => format!("take it out; docs/configuration.md has every key of {}", self.file),
        }
    }
}

/// What was given, by key; a variable has taken the place of the file's value.
#[derive(Debug, Default)]
pub struct Values {
    given: BTreeMap<String, Given>,
}

struct Given {
    place: Place,
    value: Value,
    secret: bool,
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Given").field(&self.place).field(&self.shown()).finish()
    }
}

impl Given {
    fn shown(&self) -> String {
        match &self.value {
            _ if self.secret => HIDDEN.to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }
}

impl Values {
    fn add_file(
        &mut self,
        path: &Path,
        entries: Vec<(String, Value)>,
        names: &Names,
        problems: &mut Vec<Problem>,
    ) {
        let place = Place::File(PathBuf::from(path));
        for (key, value) in entries {
            if !names.knows(&key) {
                let remedy = names.nearest(&key, str::to_owned);
                problems.push(Problem::key(place.clone(), &key, "is not a known key", remedy));
                continue;
            }
            let secret = names.is_secret(&key);
            let given = Given { place: place.clone(), value, secret };
            if self.given.insert(key.clone(), given).is_some() {
                let remedy = "keep one of them".to_owned();
                problems.push(Problem::key(place.clone(), &key, "is given twice", remedy));
            }
        }
        self.given.retain(|_, given| !given.value.is_null());
    }

    fn add_variables(
        &mut self,
        prefix: &str,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        names: &Names,
        problems: &mut Vec<Problem>,
    ) {
        for (variable, value) in variables {
            let Some(variable) = variable.to_str() else { continue };
            let Some(upper) = variable.strip_prefix(prefix) else { continue };
            let place = Place::Variable(variable.to_owned());
            let key = upper.to_lowercase();
            if !names.knows(&key) || key.to_uppercase() != upper {
                let remedy = names.nearest(&key, |known| prefix.to_owned() + &known.to_uppercase());
                problems.push(Problem::key(place, &key, "is not a known key", remedy));
                continue;
            }
            match value.into_string() {
                Ok(text) => {
                    let (value, secret) = (Value::String(text), names.is_secret(&key));
                    self.given.insert(key, Given { place, value, secret });
                }
                Err(_) => {
                    let remedy = "give UTF-8 text".to_owned();
                    problems.push(Problem::key(place, &key, "is not text", remedy));
                }
            }
        }
    }

    /// The value of a key, its default, or none and a problem.
    #[doc(hidden)]
    pub fn take<T: Setting>(
        &self,
        key: &'static str,
        default: impl FnOnce() -> Option<T>,
        problems: &mut Vec<Problem>,
    ) -> Option<T> {
        let Some(given) = self.given.get(key) else {
            let value = default();
            if value.is_none() {
                let remedy = format!("give {}", T::wanted());
                problems.push(Problem::key(Place::Default, key, "is missing", remedy));
            }
            return value;
        };
        let read = match (&given.place, &given.value) {
            (Place::Variable(_), Value::String(text)) => parse_text(text),
            (_, value) => T::from_value(value),
        };
        let wrong =
            |remedy| problems.push(Problem::value(given.place.clone(), key, given.shown(), remedy));
        read.map_err(wrong).ok()
    }

    fn objection(&self, fault: Fault, names: &Names) -> Problem {
        let Fault { key, remedy } = fault;
        match self.given.get(key) {
            Some(given) => Problem::value(given.place.clone(), key, given.shown(), remedy),
            None => {
                let known = names.keys.iter().find(|known| known.name == key);
                let default = known.and_then(|known| known.default.clone());
                let what = default.map_or_else(
                    || "is missing".to_owned(),
                    |default| format!("is not given, and its default is `{default}`"),
                );
                Problem::key(Place::Default, key, &what, remedy)
            }
        }
    }

    fn warnings<T: Section>(&self, section: &T, names: &Names) -> Vec<Warning> {
        let in_force: BTreeMap<_, _> = section.shown().into_iter().collect();
        let given = |key: &str| self.given.get(key).map(|given| given.place.clone());
        let old = T::WITHOUT_EFFECT.iter().filter_map(|key| {
            Some(Warning { place: given(key.name)?, key: key.name, why: key.why.to_owned() })
        });
        let idle = names.keys.iter().filter_map(|key| {
            let (place, condition) = (given(key.name)?, key.only_if?);
            let actual =
                in_force.get(condition.key).filter(|actual| **actual != condition.value)?;
            let other = condition.key;
            let why = format!("it needs `{other}` `{}`, and that is `{actual}`", condition.value);
            Some(Warning { place, key: key.name, why })
        });
        old.chain(idle).collect()
    }
}

#[cfg(test)]
mod tests;
