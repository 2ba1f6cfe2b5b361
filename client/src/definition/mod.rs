//! `metadata.json`: a job as its author writes it, in JSON or YAML.
//!
//! Files of earlier versions and of Proctor load unchanged. All faults of a file are told at once, each with its key, its value
//! and what to write instead. Whether the job may be stored is the controller's to say; what is found here is what
//! would not survive the way there, or what the author certainly did not mean.

mod collector;
mod document;
mod job;
mod shown;
mod variables;

pub use shown::{to_document, type_word};

use crate::{
    error::Error,
    fault::{Fault, Faults},
};
use collector::{Collector, Keys};
use octavius_protocol::v1::JobDefinition;
use serde_json::Value;
use std::{fs, path::Path};

const JOB: Keys = Keys {
    known: &[
        "name",
        "description",
        "image_name",
        "command",
        "timeout",
        "start_timeout",
        "queue_timeout",
        "retry",
        "concurrency",
        "concurrency_key",
        "on_limit",
        "team",
        "priority",
        "max_priority",
        "on_lost",
        "executor_selector",
        "resources",
        "kubernetes",
        "namespace",
        "env_vars",
        "authorized_groups",
        "author",
        "contributors",
        "organization",
    ],
};
const RETRY: Keys = Keys { known: &["attempts", "pause", "factor", "max_pause", "on"] };
const RESOURCES: Keys = Keys { known: &["requests", "limits"] };
const VARIABLES: Keys = Keys { known: &["secrets", "args"] };
const SECRET: Keys = Keys { known: &["name", "description"] };
const ARGUMENT: Keys = Keys {
    known: &[
        "name",
        "description",
        "required",
        "type",
        "default",
        "allowed",
        "allowed_for",
        "pattern",
        "min",
        "max",
    ],
};

/// Reads the definition in the file at `path`.
///
/// # Errors
/// Where the file cannot be read, or for all that is wrong with it.
pub fn read(path: &Path) -> Result<JobDefinition, Error> {
    Ok(parse(&text_of(path)?, &path.display().to_string())?)
}

/// Reads the definitions in the file at `path`: one, or one in each of its YAML documents, and at least one. Each with
/// what names its place.
///
/// # Errors
/// Where the file cannot be read, or for all that is wrong with it.
pub fn read_all(path: &Path) -> Result<Vec<(String, JobDefinition)>, Error> {
    Ok(parse_all(&text_of(path)?, &path.display().to_string())?)
}

fn text_of(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|cause| Error::File {
        path: path.to_owned(),
        attempted: "read",
        cause,
    })
}

/// Reads the one definition that `text` holds; `source` names it in errors.
///
/// # Errors
/// All that is wrong with it.
pub fn parse(text: &str, source: &str) -> Result<JobDefinition, Faults> {
    let mut all = parse_all(text, source)?;
    match (all.pop(), all.is_empty()) {
        (Some((_, definition)), true) => Ok(definition),
        _ => {
            let problem = "holds more than one job, and one is wanted: leave the others out";
            Err(Faults::one(source, Fault::new("", problem)))
        }
    }
}

/// Reads the definitions that `text` holds: one, or one in each of its YAML documents, and at least one. Each with what
/// names its place; `source` is the place of the whole.
///
/// # Errors
/// All that is wrong with all of them.
pub fn parse_all(text: &str, source: &str) -> Result<Vec<(String, JobDefinition)>, Faults> {
    let is_json = Path::new(source).extension().is_some_and(|extension| extension == "json");
    let mut documents = document::parse_all(text, is_json)
        .map_err(|problem| Faults::one(source, Fault::new("", problem)))?;
    let many = documents.len() > 1;
    if many {
        documents.retain(|document| !document.is_null());
    }
    let (mut definitions, mut faults) = (Vec::new(), Vec::new());
    for (index, document) in documents.iter().enumerate() {
        let place = if many { format!("document {}", index + 1) } else { String::new() };
        match one(document) {
            Ok(definition) => {
                let name = match many {
                    true => format!("{source}, {place}"),
                    false => source.to_owned(),
                };
                definitions.push((name, definition));
            }
            Err(found) => faults.extend(found.into_iter().map(|fault| match many {
                true => Fault::new("", format!("{place}: {fault}")),
                false => fault,
            })),
        }
    }
    match faults.is_empty() {
        true => Ok(definitions),
        false => Err(Faults { source: source.to_owned(), list: faults }),
    }
}

fn one(document: &Value) -> Result<JobDefinition, Vec<Fault>> {
    let mut collector = Collector::default();
    let level = collector.level(String::new(), document, &JOB);
    let definition = level.map(|level| job::job(&mut collector, &level));
    match definition {
        Some(definition) if collector.faults.is_empty() => Ok(definition),
        _ => Err(collector.faults),
    }
}

#[cfg(test)]
mod tests;
