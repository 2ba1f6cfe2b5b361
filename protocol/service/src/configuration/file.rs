//! The file: which one it is, and its top level in its order, from JSON or YAML.

use super::{
    Problem,
    tree::{Tree, twice},
};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::Value;
use serde_saphyr::options::DuplicateKeyPolicy;
use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

/// The endings of files in YAML; all others hold JSON.
const YAML: [&str; 2] = ["yaml", "yml"];

/// The file that is named, or else the one of `folder` that has the usual name or is its sister in YAML; and its text.
pub(super) fn find(
    folder: &Path,
    usual: &str,
    named: Option<&Path>,
) -> (PathBuf, Result<String, Box<Problem>>) {
    if let Some(named) = named {
        return (named.to_owned(), read(named));
    }
    let usual = folder.join(usual);
    let sisters = YAML.map(|ending| usual.with_extension(ending));
    // A name that cannot be looked at is there: reading it says why.
    let is_there = |path: &&PathBuf| path.try_exists().unwrap_or(true);
    let all = [&usual].into_iter().chain(&sisters);
    let found: Vec<&PathBuf> = all.filter(is_there).collect();
    match found.as_slice() {
        [first, others @ ..] if !others.is_empty() => {
            let names: Vec<_> = others.iter().map(|path| format!("`{}`", path.display())).collect();
            let what = format!("is not the only one: there is {} as well", names.join(" and "));
            let remedy = "keep one of them, or name the one that is meant with `--config`";
            let path = PathBuf::clone(first);
            (path.clone(), Err(Box::new(Problem::file(path, what, remedy))))
        }
        [only, ..] => (PathBuf::clone(only), read(only)),
        [] => (usual.clone(), read(&usual)),
    }
}

pub(super) fn read(path: &Path) -> Result<String, Box<Problem>> {
    fs::read_to_string(path).map_err(|error| {
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

/// The keys of a file and their values, in its order, also those that stand twice.
pub(super) fn entries(path: &Path, text: &str) -> Result<Vec<(String, Value)>, Box<Problem>> {
    let ending = path.extension().and_then(|ending| ending.to_str());
    let is_yaml = ending.is_some_and(|ending| YAML.iter().any(|y| ending.eq_ignore_ascii_case(y)));
    let read = if is_yaml { yaml(text) } else { json(text) };
    read.map_err(|(what, remedy)| Box::new(Problem::file(path.to_owned(), what, remedy)))
}

/// What to do about a key that stands twice.
const KEEP_ONE: &str = "keep one of them";

/// What is wrong with the text, and the remedy. Neither shows values: a token could be among them.
type Wrong = (String, &'static str);

fn json(text: &str) -> Result<Vec<(String, Value)>, Wrong> {
    let read = serde_json::from_str::<Entries>(text);
    read.map(|Entries(entries)| entries).map_err(|error| {
        if let Some(what) = twice(&error) {
            return (format!("line {}: {what}", error.line()), KEEP_ONE);
        }
        let what = format!("line {}, column {} is not JSON", error.line(), error.column());
        match error.classify() {
            serde_json::error::Category::Data => {
                ("does not hold an object".to_owned(), "put the keys into `{` and `}`")
            }
            serde_json::error::Category::Eof => (
                format!("{what}: the file ends too early"),
                "close what is open with `\"`, `]` or `}`",
            ),
            _ => (
                format!("{what} ({})", syntax(&error)),
                "mend that line or the one before; commas stand between keys alone, and there are no comments",
            ),
        }
    })
}

/// The parser's own words, without the position that it appends.
fn syntax(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}

fn yaml(text: &str) -> Result<Vec<(String, Value)>, Wrong> {
    let text = text.trim_start_matches('\u{feff}');
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        strict_booleans: true, // `off` is a level of the log
    };
    // A file of comments alone holds nothing.
    let read: Result<Option<Entries>, _> =
        serde_saphyr::from_str_with_options(text, options.clone());
    match read {
        Ok(entries) => Ok(entries.map(|Entries(entries)| entries).unwrap_or_default()),
        Err(error) if twice(&error).is_some() => {
            // The parser tells where the object begins, and where a key stands twice only if all that do are errors.
            let begins = error.location().map(|at| at.line());
            let strict = serde_saphyr::options! {
                duplicate_keys: DuplicateKeyPolicy::Error,
                strict_booleans: true,
            };
            let read = serde_saphyr::from_str_with_options::<Entries>(text, strict);
            let stands = read.err().and_then(|error| Some(error.location()?.line()));
            let line = stands.filter(|line| begins.is_none_or(|begins| *line >= begins)).or(begins);
            let line = line.map(|line| format!("line {line}: ")).unwrap_or_default();
            Err((line + &twice(&error).unwrap_or_default(), KEEP_ONE))
        }
        Err(_) if serde_saphyr::from_str_with_options::<IgnoredAny>(text, options).is_ok() => Err(
            ("does not hold keys with values".to_owned(), "write one `key: value` on each line"),
        ),
        Err(error) => {
            let at = error.location();
            let at = at.map(|at| format!("line {}, column {} ", at.line(), at.column()));
            let what = format!("{}is not YAML", at.unwrap_or_default());
            Err((
                what,
                "mend that line or the one before: one `key: value` on each line, all indented alike, \
                 and a value with special characters in quotes",
            ))
        }
    }
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
                while let Some((key, Tree(value))) = map.next_entry()? {
                    entries.push((key, value));
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests;
