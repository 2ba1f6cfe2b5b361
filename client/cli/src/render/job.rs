//! Jobs: one as a sheet with a command line to copy, many as a table.

use super::{
    Shown, Style, secret, sheet, table,
    text::{one_line, paragraph, quoted, shell_word},
    time::timestamp,
};
use comfy_table::Cell;
use jiff::Timestamp;
use octavius_client::{
    definition, duration,
    v1::{Argument, DescribeJobResponse, Job, JobDefinition, Retry, SecretName, SecretState},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

/// A job alone, as where it was stored: nothing is known of its secrets.
impl Shown for Job {
    fn text(&self, style: &Style) -> String {
        let (job, newest_version) = (Some(self.clone()), self.version);
        DescribeJobResponse { job, newest_version, secrets: Vec::new() }.text(style)
    }

    fn names(&self) -> Vec<String> {
        vec![one_line(name(self))]
    }

    fn document(&self) -> Value {
        json!({
            "definition": self.definition.as_ref().map(definition::to_document),
            "version": self.version,
            "uid": self.uid,
            "created_at": created_at(self).map(|at| at.to_string()),
            "created_by": self.created_by,
        })
    }
}

impl Shown for DescribeJobResponse {
    fn text(&self, style: &Style) -> String {
        let absent = Job::default();
        let stored_job = self.job.as_ref().unwrap_or(&absent);
        let newest = match self.newest_version > stored_job.version {
            true => format!(" of {}", self.newest_version),
            false => String::new(),
        };
        let absent = JobDefinition::default();
        let job = stored_job.definition.as_ref().unwrap_or(&absent);
        let stored = created_at(stored_job).map(|at| style.time_and_age(at)).unwrap_or_default();
        let command: Vec<_> = job.command.iter().map(|word| one_line(&shell_word(word))).collect();
        let groups: Vec<_> = job.authorized_groups.iter().map(|group| one_line(group)).collect();
        sheet(&[
            ("job", format!("{}, version {}{newest}", one_line(&job.name), stored_job.version)),
            ("description", paragraph(&job.description)),
            ("author", one_line(&job.author)),
            ("contributors", one_line(&job.contributors)),
            ("organization", one_line(&job.organization)),
            ("image", one_line(&job.image_name)),
            ("command", command.join(" ")),
            ("timeout", length(job.timeout)),
            ("start limit", length(job.start_timeout)),
            ("queue limit", length(job.queue_timeout)),
            ("retry", job.retry.as_ref().map(retry).unwrap_or_default()),
            ("concurrency", at_once(job)),
            ("team", one_line(&job.team)),
            ("priority", priority(job)),
            ("if lost", one_line(&job.on_lost)),
            ("executors", pairs(&job.executor_selector)),
            ("requests", job.resources.as_ref().map(|of| pairs(&of.requests)).unwrap_or_default()),
            ("limits", job.resources.as_ref().map(|of| pairs(&of.limits)).unwrap_or_default()),
            ("kubernetes", one_line(&job.kubernetes)),
            ("namespace", one_line(&job.namespace)),
            ("arguments", arguments(style, &job.arguments)),
            ("secrets", secrets(style, &job.secrets, &self.secrets)),
            ("groups", groups.join(", ")),
            ("stored", format!("{stored}, by {}", one_line(&stored_job.created_by))),
            ("run it with", command_line(job)),
        ])
    }

    fn names(&self) -> Vec<String> {
        self.job.iter().flat_map(Shown::names).collect()
    }

    fn document(&self) -> Value {
        let mut document = self.job.as_ref().map(Shown::document).unwrap_or_default();
        document["newest_version"] = json!(self.newest_version);
        document["secrets"] = self.secrets.iter().map(secret::document).collect();
        document
    }
}

fn name(job: &Job) -> &str {
    job.definition.as_ref().map(|definition| definition.name.as_str()).unwrap_or_default()
}

fn created_at(job: &Job) -> Option<Timestamp> {
    job.created_at.as_ref().and_then(|at| timestamp(at.seconds, at.nanos))
}

fn length<T: TryInto<Duration>>(length: Option<T>) -> String {
    let length = length.and_then(|length| length.try_into().ok());
    length.map(duration::text).unwrap_or_default()
}

fn at_once(job: &JobDefinition) -> String {
    let of_job = match job.concurrency {
        0 => None,
        1 => Some("one execution at a time".to_owned()),
        count => Some(format!("{count} executions at a time")),
    };
    let keys: Vec<_> = job.concurrency_key.iter().map(|name| one_line(name)).collect();
    let of_key = (!keys.is_empty()).then(|| format!("one for each {}", keys.join(" and ")));
    let limit = of_job.into_iter().chain(of_key).collect::<Vec<_>>().join(", ");
    match job.on_limit.as_str() {
        "" | "queue" => limit,
        "refuse" => format!("{limit}; what goes beyond is refused"),
        "replace" => format!("{limit}; what waits is replaced"),
        other => format!("{limit}; {}", one_line(other)),
    }
}

fn priority(job: &JobDefinition) -> String {
    let own = job.priority.map(|own| own.to_string());
    match (own, job.max_priority) {
        (None, None) => String::new(),
        (own, most) => {
            let own = own.unwrap_or_else(|| "as usual".to_owned());
            let most = most.map(|most| format!(", at the most {most}"));
            own + &most.unwrap_or_default()
        }
    }
}

fn pairs(pairs: &BTreeMap<String, String>) -> String {
    let pairs = pairs.iter().map(|(name, value)| format!("{}={}", one_line(name), one_line(value)));
    pairs.collect::<Vec<_>>().join(", ")
}

fn retry(retry: &Retry) -> String {
    let mut parts = vec![match retry.attempts {
        0 | 1 => "one attempt".to_owned(),
        attempts => format!("{attempts} attempts in all"),
    }];
    if !retry.on.is_empty() {
        let on: Vec<_> = retry.on.iter().map(|end| one_line(end)).collect();
        parts.push(format!("after {}", on.join(", ")));
    }
    for (what, pause) in [("first pause", retry.pause), ("longest pause", retry.max_pause)] {
        if pause.is_some() {
            parts.push(format!("{what} {}", length(pause)));
        }
    }
    if retry.factor != 0.0 {
        parts.push(format!("each {} times the one before", retry.factor));
    }
    parts.join(", ")
}

fn arguments(style: &Style, arguments: &[Argument]) -> String {
    let rows = arguments.iter().map(|argument| {
        let required = if argument.required { "required" } else { "optional" };
        vec![
            one_line(&argument.name),
            definition::type_word(argument.r#type()).to_owned(),
            required.to_owned(),
            rules(argument),
            one_line(&argument.description),
        ]
    });
    columns(style, rows)
}

/// What an argument says of its values, in words.
fn rules(argument: &Argument) -> String {
    let mut rules = Vec::new();
    if let Some(default) = &argument.default_value {
        rules.push(format!("default {}", quoted(default)));
    }
    if !argument.allowed.is_empty() {
        let allowed: Vec<_> = argument.allowed.iter().map(|value| one_line(value)).collect();
        rules.push(format!("one of {}", allowed.join(", ")));
    }
    match (&argument.min, &argument.max) {
        (Some(min), Some(max)) => rules.push(format!("{} to {}", one_line(min), one_line(max))),
        (Some(min), None) => rules.push(format!("{} or more", one_line(min))),
        (None, Some(max)) => rules.push(format!("{} or less", one_line(max))),
        (None, None) => {}
    }
    if !argument.pattern.is_empty() {
        rules.push(format!("like {}", one_line(&argument.pattern)));
    }
    for (group, of) in &argument.allowed_for {
        let values: Vec<_> = of.values.iter().map(|value| one_line(value)).collect();
        rules.push(format!("{} for {} alone", values.join(", "), one_line(group)));
    }
    rules.join("; ")
}

fn secrets(style: &Style, secrets: &[SecretName], states: &[SecretState]) -> String {
    let rows = secrets.iter().map(|declared| {
        let state = states.iter().find(|state| state.name == declared.name);
        let state = state.map_or_else(|| "not set".to_owned(), |state| secret::state(style, state));
        vec![one_line(&declared.name), state, one_line(&declared.description)]
    });
    columns(style, rows)
}

/// A table without a header and without columns that are empty in every row, to stand inside a sheet.
fn columns(style: &Style, rows: impl Iterator<Item = Vec<String>>) -> String {
    let rows: Vec<Vec<String>> = rows.collect();
    let is_used = |column: usize| rows.iter().any(|row| !row[column].is_empty());
    let used: Vec<usize> =
        (0..rows.first().map_or(0, Vec::len)).filter(|at| is_used(*at)).collect();
    let cells = |row: &Vec<String>| used.iter().map(|at| Cell::new(&row[*at])).collect();
    let whole = table(style, &vec![""; used.len()], rows.iter().map(cells).collect());
    whole.split_once('\n').map(|(_, rows)| rows.trim_end().to_owned()).unwrap_or_default()
}

/// A command line that is ready to be copied and filled in.
fn command_line(job: &JobDefinition) -> String {
    let required = job.arguments.iter().filter(|argument| argument.required);
    let values = required.map(|argument| format!(" {}=VALUE", one_line(&argument.name)));
    format!("octavius execute {}{} --follow", one_line(&job.name), values.collect::<String>())
}

impl Shown for Vec<Job> {
    fn text(&self, style: &Style) -> String {
        let mut header = vec!["NAME", "DESCRIPTION"];
        if style.wide {
            header.extend(["VERSION", "AGE", "STORED", "BY", "IMAGE"]);
        }
        let row = |job: &Job| {
            let absent = JobDefinition::default();
            let definition = job.definition.as_ref().unwrap_or(&absent);
            let at = created_at(job);
            let mut row = vec![one_line(&definition.name), one_line(&definition.description)];
            if style.wide {
                row.extend([
                    job.version.to_string(),
                    at.map(|at| style.age(at)).unwrap_or_default(),
                    at.map(|at| style.time(at)).unwrap_or_default(),
                    one_line(&job.created_by),
                    one_line(&definition.image_name),
                ]);
            }
            row.into_iter().map(Cell::new).collect()
        };
        table(style, &header, self.iter().map(row).collect())
    }

    fn names(&self) -> Vec<String> {
        self.iter().flat_map(Shown::names).collect()
    }

    fn document(&self) -> Value {
        json!({ "jobs": self.iter().map(Shown::document).collect::<Vec<_>>() })
    }
}
