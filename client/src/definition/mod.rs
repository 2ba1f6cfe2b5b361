//! `metadata.json`: a job as its author writes it, in JSON or YAML.
//!
//! Files of earlier versions and of Proctor load unchanged. All faults of a file are told at once, each with its key, its value
//! and what to write instead. Whether the job may be stored is the controller's to say; what is found here is what
//! would not survive the way there, or what the author certainly did not mean.

mod collector;
mod document;

use crate::{
    duration,
    error::Error,
    fault::{Fault, Faults},
};
use collector::{Collector, Keys, Level, shown};
use octavius_protocol::{
    id::{JobName, VariableName},
    v1::{Argument, JobDefinition, SecretName},
};
use serde_json::{Map, Value, json};
use std::{collections::BTreeSet, fs, path::Path, time::Duration};

const JOB: Keys = Keys {
    known: &[
        "name",
        "description",
        "image_name",
        "command",
        "timeout",
        "env_vars",
        "authorized_groups",
        "author",
        "contributors",
        "organization",
    ],
    later: &[
        "retry",
        "concurrency",
        "executor_selector",
        "resources",
        "kubernetes",
        "namespace",
        "priority",
        "on_lost",
        "concurrency_key",
        "start_timeout",
        "queue_timeout",
        "allowed_for",
    ],
};
const VARIABLES: Keys = Keys { known: &["secrets", "args"], later: &[] };
const SECRET: Keys = Keys { known: &["name", "description"], later: &[] };
const ARGUMENT: Keys = Keys {
    known: &["name", "description", "required"],
    later: &["type", "default", "allowed", "pattern", "min", "max"],
};

/// Reads the definition in the file at `path`.
///
/// # Errors
/// Where the file cannot be read, or for all that is wrong with it.
pub fn read(path: &Path) -> Result<JobDefinition, Error> {
    let text = fs::read_to_string(path).map_err(|cause| Error::File {
        path: path.to_owned(),
        attempted: "read",
        cause,
    })?;
    Ok(parse(&text, &path.display().to_string())?)
}

/// Reads the definition that `text` holds; `source` names it in errors.
///
/// # Errors
/// All that is wrong with it.
pub fn parse(text: &str, source: &str) -> Result<JobDefinition, Faults> {
    let is_json = Path::new(source).extension().is_some_and(|extension| extension == "json");
    let document = document::parse(text, is_json)
        .map_err(|problem| Faults::one(source, Fault::new("", problem)))?;
    let mut collector = Collector::default();
    let definition =
        collector.level(String::new(), &document, &JOB).map(|level| job(&mut collector, &level));
    match definition {
        Some(definition) if collector.faults.is_empty() => Ok(definition),
        _ => Err(Faults { source: source.to_owned(), list: collector.faults }),
    }
}

fn job(collector: &mut Collector, level: &Level<'_>) -> JobDefinition {
    let command = command(collector, level);
    let (arguments, secrets) = variables(collector, level);
    let definition = JobDefinition {
        name: collector.text(level, "name"),
        description: collector.text(level, "description"),
        image_name: collector.text(level, "image_name"),
        command,
        arguments,
        secrets,
        authorized_groups: collector.texts(
            level,
            "authorized_groups",
            "a list of names, for example `[\"demo-group\"]`",
        ),
        author: collector.text(level, "author"),
        contributors: collector.text(level, "contributors"),
        organization: collector.text(level, "organization"),
        timeout: timeout(collector, level).and_then(|timeout| timeout.try_into().ok()),
        ..JobDefinition::default()
    };
    match definition.name.as_str() {
        "" if is_text_or_absent(level, "name") => {
            collector.fault(
                "name",
                "is missing: write what the job is called, for example `hello-friend`",
            );
        }
        "" => {}
        name => {
            if let Err(invalid) = name.parse::<JobName>() {
                collector.fault("name", format!("is wrong: {invalid}"));
            }
        }
    }
    let nothing_runs = definition.image_name.is_empty() && definition.command.is_empty();
    if nothing_runs && is_text_or_absent(level, "image_name") && !level.map.contains_key("command")
    {
        collector.fault(
            "image_name",
            "is missing, and so is `command`: write the image, or the program to run, or both",
        );
    }
    definition
}

fn is_text_or_absent(level: &Level<'_>, key: &str) -> bool {
    level.map.get(key).is_none_or(|value| value.is_string() || value.is_null())
}

fn command(collector: &mut Collector, level: &Level<'_>) -> Vec<String> {
    let wanted = "a list of texts, for example `[\"sh\", \"-c\", \"echo hello\"]`";
    if let Some(Value::String(line)) = level.map.get("command") {
        let list = json!(["sh", "-c", line]);
        collector.fault(
            "command",
            format!(
                "is the text {}: write a list, here `{}` if a shell should read it",
                shown(&json!(line)),
                shown(&list)
            ),
        );
        return Vec::new();
    }
    let command = collector.texts(level, "command", wanted);
    match level.map.get("command") {
        Some(Value::Array(list)) if list.is_empty() => {
            collector
                .fault("command", format!("is an empty list: write {wanted}, or leave it out"));
        }
        Some(Value::Array(list)) if list[0].as_str() == Some("") => {
            collector.fault("command[0]", "is empty: write the program's name or path");
        }
        _ => {}
    }
    for (index, _) in command.iter().enumerate().filter(|(_, text)| text.contains('\0')) {
        collector
            .fault(format!("command[{index}]"), "holds a NUL byte, which no program can be given");
    }
    command
}

fn timeout(collector: &mut Collector, level: &Level<'_>) -> Option<Duration> {
    let value = level.map.get("timeout").filter(|value| !value.is_null())?;
    let read = match value {
        Value::String(text) => duration::parse(text),
        number => number.as_u64().map(Duration::from_secs),
    };
    // The wire's lengths of time end at 10,000 years; nobody waits that long.
    let read = read.filter(|length| length.as_secs() <= 365 * 86_400);
    match read {
        Some(length) if !length.is_zero() => Some(length),
        _ => {
            collector.fault(
                "timeout",
                format!(
                    "is {}: write how long the program may run, for example `\"90s\"`, `\"1h30m\"` or a number of seconds from 1 to a year's, or leave it out for no limit",
                    shown(value)
                ),
            );
            None
        }
    }
}

fn variables(collector: &mut Collector, level: &Level<'_>) -> (Vec<Argument>, Vec<SecretName>) {
    let absent = (Vec::new(), Vec::new());
    let Some(value) = level.map.get("env_vars").filter(|value| !value.is_null()) else {
        return absent;
    };
    let Some(level) = collector.level(level.at("env_vars"), value, &VARIABLES) else {
        return absent;
    };
    let mut taken = BTreeSet::new();
    let wanted = "a list of keys with values, for example `[{\"name\": \"city\"}]`";
    let mut secrets = Vec::new();
    for (path, value) in collector.list(&level, "secrets", wanted) {
        if let Some(level) = collector.level(path, value, &SECRET) {
            secrets.push(SecretName {
                name: variable(collector, &level, &mut taken),
                description: collector.text(&level, "description"),
            });
        }
    }
    let mut arguments = Vec::new();
    for (path, value) in collector.list(&level, "args", wanted) {
        if let Some(level) = collector.level(path, value, &ARGUMENT) {
            arguments.push(Argument {
                name: variable(collector, &level, &mut taken),
                description: collector.text(&level, "description"),
                required: collector.flag(&level, "required"),
                ..Argument::default()
            });
        }
    }
    (arguments, secrets)
}

/// The name of an argument or a secret, which share one space.
fn variable(collector: &mut Collector, level: &Level<'_>, taken: &mut BTreeSet<String>) -> String {
    let name = collector.text(level, "name");
    let place = level.at("name");
    if name.is_empty() {
        if is_text_or_absent(level, "name") {
            collector.fault(place, "is missing: write the environment variable that the job reads");
        }
    } else if let Err(invalid) = name.parse::<VariableName>() {
        collector.fault(place, format!("is wrong: {invalid}"));
    } else if !taken.insert(name.clone()) {
        collector.fault(
            place,
            format!(
                "is `{name}`, which another argument or secret has already: give each its own name"
            ),
        );
    }
    name
}

/// The definition as a file would have it: what [`parse`] reads again. Keys without a value are left out.
pub fn to_document(definition: &JobDefinition) -> Value {
    let mut document = Map::new();
    let mut put = |key: &str, value: Value, is_there: bool| {
        if is_there {
            document.insert(key.to_owned(), value);
        }
    };
    let texts = [
        ("name", &definition.name),
        ("description", &definition.description),
        ("image_name", &definition.image_name),
        ("author", &definition.author),
        ("contributors", &definition.contributors),
        ("organization", &definition.organization),
    ];
    for (key, text) in texts {
        put(key, json!(text), !text.is_empty());
    }
    put("command", json!(definition.command), !definition.command.is_empty());
    let groups = &definition.authorized_groups;
    put("authorized_groups", json!(groups), !groups.is_empty());
    if let Some(timeout) = definition.timeout.and_then(|timeout| Duration::try_from(timeout).ok()) {
        put("timeout", json!(duration::text(timeout)), true);
    }
    let secrets: Vec<_> = definition
        .secrets
        .iter()
        .map(|secret| json!({"name": secret.name, "description": secret.description}))
        .collect();
    let arguments: Vec<_> = definition
        .arguments
        .iter()
        .map(|argument| {
            json!({
                "name": argument.name,
                "description": argument.description,
                "required": argument.required,
            })
        })
        .collect();
    let any = !secrets.is_empty() || !arguments.is_empty();
    put("env_vars", json!({"secrets": secrets, "args": arguments}), any);
    Value::Object(document)
}

#[cfg(test)]
mod tests;
