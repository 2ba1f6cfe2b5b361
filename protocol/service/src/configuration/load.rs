//! From a file and the environment to a section, or to all that is wrong with it.

use super::{
    Derived, Fault, HIDDEN, InForce, Origin, Place, Problem, Problems, Section, Setting, Shown,
    Warning, file, parse_text, section::Key,
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

/// A section that may be used, and what in it does nothing.
#[derive(Clone, Debug)]
pub struct Loaded<T> {
    /// The section.
    pub section: T,
    /// What was given and has no effect; for the log, once there is one.
    pub warnings: Vec<Warning>,
    /// Each key with its value and where that comes from, in the order of the documents.
    pub in_force: Vec<InForce>,
}

/// Loads the file that is named, or else the one in the working directory, overridden by the variables of this process
/// that begin with the section's prefix.
pub fn load<T: Section>(named: Option<&Path>) -> Result<Loaded<T>, Problems> {
    let (path, text) = file::find(Path::new(""), T::FILE, named);
    gather(&path, text, std::env::vars_os())
}

/// Loads `path`, overridden by those of `variables` that begin with the section's prefix.
pub fn load_with<T: Section>(
    path: &Path,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Loaded<T>, Problems> {
    gather(path, file::read(path), variables)
}

/// A section from the text of a file that is not on disk; the environment is not looked at.
pub fn from_values<T: Section>(text: &str) -> Result<Loaded<T>, Problems> {
    gather(Path::new(T::FILE), Ok(text.to_owned()), [])
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
    let entries = text.and_then(|text| file::entries(path, &text));
    let unread = entries.is_err();
    match entries {
        Ok(entries) => values.add_file(path, entries, &names, &mut problems),
        Err(problem) => problems.push(*problem),
    }
    values.add_variables(T::PREFIX, variables, &names, &mut problems);
    match T::from_values(&values) {
        Ok(section) => {
            let faults = section.faults().into_iter();
            problems.extend(faults.map(|fault| values.objection(fault, &names)));
            if problems.is_empty() {
                let warnings = values.warnings(&section, &names);
                let in_force = values.in_force(&section);
                return Ok(Loaded { section, warnings, in_force });
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
            Value::String(text) => without_credentials(text),
            other => other.to_string(),
        }
    }
}

/// A URL without what stands before its host, and without the values of its parameters: both may be secrets where
/// they do not belong there.
fn without_credentials(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (place, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let (host, path) = place.split_at(place.find('/').unwrap_or(place.len()));
    let host =
        host.rsplit_once('@').map_or_else(|| host.to_owned(), |(_, host)| format!("…@{host}"));
    let parameters = if parameters.is_empty() { "" } else { "?…" };
    format!("{scheme}://{host}{path}{parameters}")
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

    fn in_force<T: Section>(&self, section: &T) -> Vec<InForce> {
        let mut derived: BTreeMap<_, _> =
            section.derived().into_iter().map(|derived| (derived.shown.key, derived)).collect();
        let one = |shown: Shown| match derived.remove(shown.key) {
            Some(Derived { shown, from }) => InForce { shown, origin: Origin::Derived(from) },
            None => {
                let given = self.given.get(shown.key).map(|given| given.place.clone());
                InForce { shown, origin: Origin::Given(given.unwrap_or(Place::Default)) }
            }
        };
        section.shown().into_iter().map(one).collect()
    }

    fn warnings<T: Section>(&self, section: &T, names: &Names) -> Vec<Warning> {
        let shown = section.shown().into_iter().map(|shown| (shown.key, shown.text));
        let in_force: BTreeMap<_, _> = shown.collect();
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
