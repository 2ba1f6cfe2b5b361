//! A definition as a file would have it.

use crate::duration;
use octavius_protocol::v1::{Argument, ArgumentType, JobDefinition, Resources, Retry};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// All types, in the order of the documentation.
pub(super) const TYPES: [ArgumentType; 6] = [
    ArgumentType::String,
    ArgumentType::Int,
    ArgumentType::Float,
    ArgumentType::Bool,
    ArgumentType::Enum,
    ArgumentType::Secret,
];

/// The type as a definition writes it.
pub fn type_word(kind: ArgumentType) -> &'static str {
    match kind {
        ArgumentType::Unspecified | ArgumentType::String => "string",
        ArgumentType::Int => "int",
        ArgumentType::Float => "float",
        ArgumentType::Bool => "bool",
        ArgumentType::Enum => "enum",
        ArgumentType::Secret => "secret",
    }
}

/// The definition as a file would have it: what [`parse`](super::parse) reads again. Keys without a value are left out.
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
    let limits = [
        ("timeout", definition.timeout),
        ("start_timeout", definition.start_timeout),
        ("queue_timeout", definition.queue_timeout),
    ];
    for (key, limit) in limits {
        put(key, json!(length(limit)), limit.is_some());
    }
    let retry = definition.retry.as_ref();
    put("retry", retry.map(retry_document).unwrap_or_default(), retry.is_some());
    put("concurrency", json!(definition.concurrency), definition.concurrency > 0);
    let key = &definition.concurrency_key;
    put("concurrency_key", json!(key), !key.is_empty());
    for (key, text) in [
        ("on_limit", &definition.on_limit),
        ("team", &definition.team),
        ("on_lost", &definition.on_lost),
    ] {
        put(key, json!(text), !text.is_empty());
    }
    put("priority", json!(definition.priority), definition.priority.is_some());
    put("max_priority", json!(definition.max_priority), definition.max_priority.is_some());
    let selector = &definition.executor_selector;
    put("executor_selector", json!(selector), !selector.is_empty());
    let resources = definition.resources.as_ref();
    put("resources", resources.map(resources_document).unwrap_or_default(), resources.is_some());
    // What is no JSON is shown as it is; the controller stores none.
    let template = serde_json::from_str(&definition.kubernetes);
    let template = template.unwrap_or_else(|_| json!(definition.kubernetes));
    put("kubernetes", template, !definition.kubernetes.is_empty());
    put("namespace", json!(definition.namespace), !definition.namespace.is_empty());
    let secrets: Vec<_> = definition
        .secrets
        .iter()
        .map(|secret| json!({"name": secret.name, "description": secret.description}))
        .collect();
    let arguments: Vec<_> = definition.arguments.iter().map(argument_document).collect();
    let any = !secrets.is_empty() || !arguments.is_empty();
    put("env_vars", json!({"secrets": secrets, "args": arguments}), any);
    Value::Object(document)
}

fn length<T: TryInto<Duration>>(length: Option<T>) -> Option<String> {
    length.and_then(|length| length.try_into().ok()).map(duration::text)
}

fn retry_document(retry: &Retry) -> Value {
    let mut document = Map::new();
    let mut put = |key: &str, value: Value, is_there: bool| {
        if is_there {
            document.insert(key.to_owned(), value);
        }
    };
    put("attempts", json!(retry.attempts), retry.attempts > 0);
    put("pause", json!(length(retry.pause)), retry.pause.is_some());
    put("factor", json!(retry.factor), retry.factor != 0.0);
    put("max_pause", json!(length(retry.max_pause)), retry.max_pause.is_some());
    put("on", json!(retry.on), !retry.on.is_empty());
    Value::Object(document)
}

fn resources_document(resources: &Resources) -> Value {
    let sides = [("requests", &resources.requests), ("limits", &resources.limits)];
    let sides = sides.into_iter().filter(|(_, side)| !side.is_empty());
    Value::Object(sides.map(|(key, side)| (key.to_owned(), json!(side))).collect())
}

fn argument_document(argument: &Argument) -> Value {
    let mut document = json!({
        "name": argument.name,
        "description": argument.description,
        "required": argument.required,
    });
    let mut put = |key: &str, value: Value, is_there: bool| {
        if is_there {
            document[key] = value;
        }
    };
    let kind = argument.r#type();
    put("type", json!(type_word(kind)), type_word(kind) != type_word(ArgumentType::String));
    put("default", json!(argument.default_value), argument.default_value.is_some());
    put("allowed", json!(argument.allowed), !argument.allowed.is_empty());
    put("pattern", json!(argument.pattern), !argument.pattern.is_empty());
    put("min", json!(argument.min), argument.min.is_some());
    put("max", json!(argument.max), argument.max.is_some());
    let allowed_for: serde_json::Map<_, _> =
        argument.allowed_for.iter().map(|(group, of)| (group.clone(), json!(of.values))).collect();
    put("allowed_for", json!(allowed_for), !allowed_for.is_empty());
    document
}
