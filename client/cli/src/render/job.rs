//! Jobs: one as a sheet with a command line to copy, many as a table.

use super::{
    Shown, Style, secret, sheet, table,
    text::{one_line, paragraph, shell_word},
    time::timestamp,
};
use comfy_table::Cell;
use jiff::Timestamp;
use octavius_client::{
    definition, duration,
    v1::{Argument, CreateJobResponse, Job, JobDefinition, SecretName, SecretState},
};
use serde_json::{Value, json};
use std::time::Duration;

/// A job, and which of its secrets are set.
pub(crate) struct Described {
    pub(crate) job: Job,
    pub(crate) secrets: Vec<SecretState>,
}

impl Shown for Described {
    fn text(&self, style: &Style) -> String {
        let absent = JobDefinition::default();
        let job = self.job.definition.as_ref().unwrap_or(&absent);
        let stored = created_at(&self.job).map(|at| style.time_and_age(at)).unwrap_or_default();
        let command: Vec<_> = job.command.iter().map(|word| one_line(&shell_word(word))).collect();
        let groups: Vec<_> = job.authorized_groups.iter().map(|group| one_line(group)).collect();
        sheet(&[
            ("job", format!("{}, version {}", one_line(&job.name), self.job.version)),
            ("description", paragraph(&job.description)),
            ("author", one_line(&job.author)),
            ("contributors", one_line(&job.contributors)),
            ("organization", one_line(&job.organization)),
            ("image", one_line(&job.image_name)),
            ("command", command.join(" ")),
            ("timeout", timeout(job).map(duration::text).unwrap_or_default()),
            ("arguments", arguments(style, &job.arguments)),
            ("secrets", secrets(style, &job.secrets, &self.secrets)),
            ("groups", groups.join(", ")),
            ("stored", format!("{stored}, by {}", one_line(&self.job.created_by))),
            ("run it with", command_line(job)),
        ])
    }

    fn names(&self) -> Vec<String> {
        vec![one_line(name(&self.job))]
    }

    fn document(&self) -> Value {
        let mut document = document(&self.job);
        document["secrets"] = self.secrets.iter().map(secret::document).collect();
        document
    }
}

fn document(job: &Job) -> Value {
    json!({
        "definition": job.definition.as_ref().map(definition::to_document),
        "version": job.version,
        "uid": job.uid,
        "created_at": created_at(job).map(|at| at.to_string()),
        "created_by": job.created_by,
    })
}

fn name(job: &Job) -> &str {
    job.definition.as_ref().map(|definition| definition.name.as_str()).unwrap_or_default()
}

fn created_at(job: &Job) -> Option<Timestamp> {
    job.created_at.as_ref().and_then(|at| timestamp(at.seconds, at.nanos))
}

fn timeout(job: &JobDefinition) -> Option<Duration> {
    job.timeout.and_then(|timeout| timeout.try_into().ok())
}

fn arguments(style: &Style, arguments: &[Argument]) -> String {
    let rows = arguments.iter().map(|argument| {
        let required = if argument.required { "required" } else { "optional" };
        vec![one_line(&argument.name), required.to_owned(), one_line(&argument.description)]
    });
    columns(style, rows)
}

fn secrets(style: &Style, declared: &[SecretName], states: &[SecretState]) -> String {
    let rows = declared.iter().map(|declared| {
        let state = states.iter().find(|state| state.name == declared.name);
        let state = state.map_or_else(|| "not set".to_owned(), |state| secret::state(style, state));
        vec![one_line(&declared.name), state, one_line(&declared.description)]
    });
    columns(style, rows)
}

/// A table without a header, to stand inside a sheet.
fn columns(style: &Style, rows: impl Iterator<Item = Vec<String>>) -> String {
    let rows: Vec<Vec<Cell>> = rows.map(|row| row.into_iter().map(Cell::new).collect()).collect();
    let whole = table(style, &["", "", ""], rows);
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
        self.iter().map(|job| one_line(name(job))).collect()
    }

    fn document(&self) -> Value {
        json!({ "jobs": self.iter().map(document).collect::<Vec<_>>() })
    }
}

/// What came of files with definitions, in their order.
pub(crate) struct Created(pub(crate) Vec<CreateJobResponse>);

impl Shown for Created {
    fn text(&self, _style: &Style) -> String {
        let line = |created: &CreateJobResponse| {
            let Some(job) = &created.job else { return String::new() };
            let name = one_line(name(job));
            match created.created {
                true => format!("job `{name}` is created, version {}\n", job.version),
                false => format!("job `{name}` is there already, with equal content\n"),
            }
        };
        self.0.iter().map(line).collect()
    }

    fn names(&self) -> Vec<String> {
        let jobs = self.0.iter().filter_map(|created| created.job.as_ref());
        jobs.map(|job| one_line(name(job))).collect()
    }

    fn document(&self) -> Value {
        let one = |created: &CreateJobResponse| {
            let mut shown = created.job.as_ref().map(document).unwrap_or_default();
            shown["created"] = json!(created.created);
            shown
        };
        json!({ "jobs": self.0.iter().map(one).collect::<Vec<_>>() })
    }
}
