//! What a definition says of the job itself, apart from its variables.

use super::{
    RESOURCES, RETRY,
    collector::{Collector, Level, shown},
    variables::variables,
};
use octavius_protocol::{
    MAX_TIME,
    id::{JobName, Namespace},
    v1::{JobDefinition, Resources, Retry},
};
use serde_json::{Value, json};
use std::time::Duration;

pub(super) fn job(collector: &mut Collector, level: &Level<'_>) -> JobDefinition {
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
        timeout: limit(
            collector,
            level,
            "timeout",
            "how long the program may run",
            "for what the executor says",
        )
        .and_then(wire),
        start_timeout: limit(
            collector,
            level,
            "start_timeout",
            "how long an attempt may take until its program runs",
            "for what the executor says",
        )
        .and_then(wire),
        queue_timeout: limit(
            collector,
            level,
            "queue_timeout",
            "how long an execution may wait for an executor",
            "for no limit",
        )
        .and_then(wire),
        retry: retry(collector, level),
        concurrency: collector.count(
            level,
            "concurrency",
            "how many executions of the job run at once",
        ),
        concurrency_key: one_or_more(
            collector,
            level,
            "concurrency_key",
            "the name of an argument, or a list of some, for example `[\"host\"]`",
        ),
        on_limit: collector.text(level, "on_limit"),
        team: collector.text(level, "team"),
        priority: priority(collector, level, "priority"),
        max_priority: priority(collector, level, "max_priority"),
        on_lost: collector.text(level, "on_lost"),
        executor_selector: collector.pairs(level, "executor_selector"),
        resources: resources(collector, level),
        kubernetes: template(collector, level),
        namespace: namespace(collector, level),
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

pub(super) fn is_text_or_absent(level: &Level<'_>, key: &str) -> bool {
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

/// A length of time as the wire has it.
fn wire<T: TryFrom<Duration>>(length: Duration) -> Option<T> {
    length.try_into().ok()
}

/// A limit in time: above zero. `what` says what it limits, `absent` what holds without it.
fn limit(
    collector: &mut Collector,
    level: &Level<'_>,
    key: &str,
    what: &str,
    absent: &str,
) -> Option<Duration> {
    let problem = format!(
        "write {what}, for example `\"90s\"`, `\"1h30m\"` or a number of seconds from 1 to a year's, or leave it out {absent}"
    );
    collector.length(level, key, &problem, |length| !length.is_zero() && length <= MAX_TIME)
}

fn pause(collector: &mut Collector, level: &Level<'_>, key: &str) -> Option<Duration> {
    let problem =
        "write a length of time, for example `\"10s\"` or `\"5m\"`, or a number of seconds";
    collector.length(level, key, problem, |length| length <= MAX_TIME)
}

fn retry(collector: &mut Collector, level: &Level<'_>) -> Option<Retry> {
    let value = level.map.get("retry").filter(|value| !value.is_null())?;
    let level = collector.level(level.at("retry"), value, &RETRY)?;
    let factor = match level.map.get("factor") {
        None | Some(Value::Null) => 0.0,
        Some(value) => match value.as_f64() {
            // 0 would be taken for absent.
            Some(factor) if factor != 0.0 => factor,
            _ => {
                let problem = format!(
                    "is {}: write by how much each pause is longer than the one before, for example `2` or `1.5`",
                    shown(value)
                );
                collector.fault(level.at("factor"), problem);
                0.0
            }
        },
    };
    let wanted = "a list of ends, for example `[\"failed\", \"lost\"]`";
    let on = one_or_more(collector, &level, "on", wanted);
    Some(Retry {
        attempts: collector.count(&level, "attempts", "how many attempts there are in all"),
        pause: pause(collector, &level, "pause").and_then(wire),
        factor,
        max_pause: pause(collector, &level, "max_pause").and_then(wire),
        on,
    })
}

/// A list of texts, or one of them alone.
fn one_or_more(
    collector: &mut Collector,
    level: &Level<'_>,
    key: &str,
    wanted: &str,
) -> Vec<String> {
    match level.map.get(key) {
        Some(Value::String(one)) => vec![one.clone()],
        _ => collector.texts(level, key, wanted),
    }
}

fn priority(collector: &mut Collector, level: &Level<'_>, key: &str) -> Option<u32> {
    let value = level.map.get(key).filter(|value| !value.is_null())?;
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    if number.is_none() {
        let problem =
            format!("is {}: write a whole number from 0, served last, to 9", shown(value));
        collector.fault(level.at(key), problem);
    }
    number
}

fn resources(collector: &mut Collector, level: &Level<'_>) -> Option<Resources> {
    let value = level.map.get("resources").filter(|value| !value.is_null())?;
    let level = collector.level(level.at("resources"), value, &RESOURCES)?;
    Some(Resources {
        requests: collector.pairs(&level, "requests"),
        limits: collector.pairs(&level, "limits"),
    })
}

fn template(collector: &mut Collector, level: &Level<'_>) -> String {
    match level.map.get("kubernetes") {
        None | Some(Value::Null) => String::new(),
        Some(template @ Value::Object(_)) => template.to_string(),
        Some(other) => {
            let problem =
                format!("is {}: write a partial pod template, as keys with values", shown(other));
            collector.fault(level.at("kubernetes"), problem);
            String::new()
        }
    }
}

fn namespace(collector: &mut Collector, level: &Level<'_>) -> String {
    let namespace = collector.text(level, "namespace");
    // What is empty would be taken for absent.
    let is_there = level.map.get("namespace").is_some_and(Value::is_string);
    if let Some(invalid) = namespace.parse::<Namespace>().err().filter(|_| is_there) {
        let problem = format!("is wrong: {invalid}; or leave it out for the executor's");
        collector.fault(level.at("namespace"), problem);
    }
    namespace
}
