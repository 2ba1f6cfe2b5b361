//! What a definition says of the arguments and secrets of its job.

use super::{
    ARGUMENT, SECRET, VARIABLES,
    collector::{Collector, Level, shown},
    job::is_text_or_absent,
    shown::{TYPES, type_word},
};
use octavius_protocol::{
    id::VariableName,
    v1::{Argument, ArgumentType, ArgumentValues, SecretName},
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn variables(
    collector: &mut Collector,
    level: &Level<'_>,
) -> (Vec<Argument>, Vec<SecretName>) {
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
            arguments.push(argument(collector, &level, &mut taken));
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

fn argument(
    collector: &mut Collector,
    level: &Level<'_>,
    taken: &mut BTreeSet<String>,
) -> Argument {
    let allowed =
        collector.list(level, "allowed", "a list of values, for example `[\"a\", \"b\"]`");
    let allowed = allowed.into_iter().filter_map(|(place, value)| collector.scalar(place, value));
    Argument {
        allowed: allowed.collect(),
        name: variable(collector, level, taken),
        description: collector.text(level, "description"),
        required: collector.flag(level, "required"),
        r#type: kind(collector, level).into(),
        default_value: collector.value_text(level, "default"),
        pattern: collector.text(level, "pattern"),
        min: collector.value_text(level, "min"),
        max: collector.value_text(level, "max"),
        allowed_for: allowed_for(collector, level),
    }
}

/// The values that are for some groups alone.
fn allowed_for(collector: &mut Collector, level: &Level<'_>) -> BTreeMap<String, ArgumentValues> {
    let Some(given) = level.value("allowed_for") else { return BTreeMap::new() };
    let path = level.at("allowed_for");
    let Value::Object(map) = given else {
        let wanted = "write groups with their values, for example `{\"sre\": [\"live\"]}`";
        collector.fault(path, format!("is {}: {wanted}", shown(given)));
        return BTreeMap::new();
    };
    let groups = Level { path, map };
    let names = groups.map.keys();
    let of = names.map(|group| {
        let values = collector.list(&groups, group, "a list of values, for example `[\"live\"]`");
        let values = values.into_iter().filter_map(|(place, value)| collector.scalar(place, value));
        (group.clone(), ArgumentValues { values: values.collect() })
    });
    of.collect()
}

fn kind(collector: &mut Collector, level: &Level<'_>) -> ArgumentType {
    let Some(value) = level.map.get("type").filter(|value| !value.is_null()) else {
        return ArgumentType::String;
    };
    let found = TYPES.into_iter().find(|kind| value.as_str() == Some(type_word(*kind)));
    found.unwrap_or_else(|| {
        let known = TYPES.map(type_word).join("`, `");
        collector.fault(level.at("type"), format!("is {}: write one of `{known}`", shown(value)));
        ArgumentType::String
    })
}
