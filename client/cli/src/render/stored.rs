//! What became of wishes to store and to delete jobs.

use super::{Shown, Style, text::one_line};
use crate::exit::Failure;
use octavius_client::v1::Job;
use serde_json::{Value, json};

/// What became of one job.
#[derive(Debug)]
pub(crate) struct Outcome {
    job: Job,
    changed: bool,
    created: bool,
}

impl Outcome {
    pub(crate) fn of(job: Option<Job>, changed: bool, created: bool) -> Self {
        Self { job: job.unwrap_or_default(), changed, created }
    }

    fn name(&self) -> String {
        self.job.names().join("")
    }

    fn text(&self, dry_run: bool) -> String {
        let name = self.name();
        let (version, is) = (self.job.version, if dry_run { "would be" } else { "is" });
        match (self.created, self.changed) {
            (true, _) => format!("job `{name}` {is} created, version {version}\n"),
            (false, true) => format!("job `{name}` {is} changed, version {version}\n"),
            (false, false) => format!("job `{name}` is there already, with equal content\n"),
        }
    }
}

/// What became of jobs in files, in their order, each with its place.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) results: Vec<(String, Result<Outcome, Failure>)>,
    pub(crate) dry_run: bool,
}

impl Shown for Stored {
    fn text(&self, _style: &Style) -> String {
        let done = self.results.iter().filter_map(|(_, result)| result.as_ref().ok());
        done.map(|outcome| outcome.text(self.dry_run)).collect()
    }

    fn names(&self) -> Vec<String> {
        let done = self.results.iter().filter_map(|(_, result)| result.as_ref().ok());
        done.map(Outcome::name).collect()
    }

    fn document(&self) -> Value {
        let one = |(place, result): &(String, Result<Outcome, Failure>)| {
            let mut document = match result {
                Ok(outcome) => {
                    let mut document = outcome.job.document();
                    document["created"] = json!(outcome.created);
                    document["changed"] = json!(outcome.changed);
                    document
                }
                Err(failure) => failure.document().unwrap_or_default(),
            };
            document["file"] = json!(place);
            document
        };
        let jobs: Vec<_> = self.results.iter().map(one).collect();
        json!({ "jobs": jobs, "dry_run": self.dry_run })
    }
}

/// What became of jobs that were to be deleted: how many executions were cancelled for each.
#[derive(Debug)]
pub(crate) struct Deleted(pub(crate) Vec<(String, Result<u64, Failure>)>);

impl Shown for Deleted {
    fn text(&self, _style: &Style) -> String {
        let line = |(name, cancelled): (&String, &u64)| {
            let name = one_line(name);
            match cancelled {
                0 => format!("job `{name}` is deleted\n"),
                1 => format!("job `{name}` is deleted, 1 execution that waited is cancelled\n"),
                some => format!(
                    "job `{name}` is deleted, {some} executions that waited are cancelled\n"
                ),
            }
        };
        let deleted =
            self.0.iter().filter_map(|(name, result)| Some((name, result.as_ref().ok()?)));
        deleted.map(line).collect()
    }

    fn names(&self) -> Vec<String> {
        let deleted = self.0.iter().filter(|(_, result)| result.is_ok());
        deleted.map(|(name, _)| one_line(name)).collect()
    }

    fn document(&self) -> Value {
        let one = |(name, result): &(String, Result<u64, Failure>)| match result {
            Ok(cancelled) => json!({ "name": name, "deleted": true, "cancelled": cancelled }),
            Err(failure) => {
                let mut document = failure.document().unwrap_or_default();
                document["name"] = json!(name);
                document
            }
        };
        json!({ "jobs": self.0.iter().map(one).collect::<Vec<_>>() })
    }
}
