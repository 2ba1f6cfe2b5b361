//! Executions: one as a sheet, many as a table.

use super::{
    Shown, Style, colour_of, sheet, table, terms,
    text::{bytes, one_line, paragraph, quoted},
    time::{length, timestamp},
};
use comfy_table::Cell;
use jiff::Timestamp;
use octavius_client::{
    execution_word, is_final,
    v1::{Execution, StateChange},
};
use serde_json::{Value, json};

impl Shown for Execution {
    fn text(&self, style: &Style) -> String {
        let history: Vec<_> = self.history.iter().map(|change| step(style, change)).collect();
        let arguments: Vec<_> = self
            .arguments
            .iter()
            .map(|(name, value)| format!("{}={}", one_line(name), quoted(value)))
            .collect();
        let notes: Vec<_> = self.notes.iter().map(|note| paragraph(note)).collect();
        sheet(&[
            ("execution", one_line(&self.id)),
            ("job", format!("{}, version {}", one_line(&self.job), self.job_version)),
            ("by", one_line(&self.submitted_by)),
            ("rerun of", one_line(&self.rerun_of)),
            ("state", state_and_reason(style, self)),
            ("exit code", self.exit_code.map(|code| code.to_string()).unwrap_or_default()),
            ("later", terms::known_later(style, self.known_later.as_ref())),
            ("attempt", terms::attempt(self)),
            ("runs as", one_line(&self.runs_as)),
            ("earlier", terms::earlier(style, self)),
            ("next try", terms::retry_at(style, self)),
            ("timeout", terms::timeout(self)),
            ("to start", terms::start_timeout(self)),
            ("priority", unusual(self.priority)),
            ("team", one_line(&self.team)),
            ("only on", terms::on(self)),
            ("arguments", arguments.join("\n")),
            ("history", history.join("\n")),
            ("log", log(self)),
            ("notes", notes.join("\n")),
        ])
    }

    fn names(&self) -> Vec<String> {
        vec![one_line(&self.id)]
    }

    fn document(&self) -> Value {
        let history = steps(&self.history);
        json!({
            "id": self.id,
            "job": self.job,
            "job_version": self.job_version,
            "submitted_by": self.submitted_by,
            "rerun_of": self.rerun_of,
            "state": execution_word(self.state()),
            "final": is_final(self.state()),
            "cancelling": self.cancelling,
            "reason": self.reason,
            "reason_code": self.reason_code,
            "waits_for": self.waits_for,
            "exit_code": self.exit_code,
            "known_later": terms::known_later_document(self.known_later.as_ref()),
            "attempt": self.attempt,
            "executor": self.executor,
            "runs_as": self.runs_as,
            "attempts": terms::attempts(self),
            "max_attempts": self.max_attempts,
            "attempts_from": self.attempts_from,
            "retry_at": self.retry_at.as_ref().and_then(|at| timestamp(at.seconds, at.nanos)).map(|at| at.to_string()),
            "timeout_seconds": terms::seconds(self.timeout.as_ref()),
            "timeout_from": self.timeout_from,
            "start_timeout_seconds": terms::seconds(self.start_timeout.as_ref()),
            "start_timeout_from": self.start_timeout_from,
            "on": self.on,
            "priority": self.priority,
            "team": self.team,
            "concurrency_key": self.concurrency_key,
            "arguments": self.arguments,
            "history": history,
            "notes": self.notes,
            "log_size": self.log_size,
            "log_cut": self.log_cut,
        })
    }
}

/// A priority, where it is not that of most.
fn unusual(priority: Option<u32>) -> String {
    priority.filter(|priority| *priority != 5).map(|it| it.to_string()).unwrap_or_default()
}

/// Steps of a life, for programs.
pub(super) fn steps(history: &[StateChange]) -> Vec<Value> {
    let step = |change: &StateChange| {
        let at = at(change).map(|at| at.to_string());
        json!({ "state": execution_word(change.state()), "at": at })
    };
    history.iter().map(step).collect()
}

/// The state and why, on one line: `running (cancelling): …`.
pub(crate) fn state_and_reason(style: &Style, execution: &Execution) -> String {
    let mut text = style.state(execution.state());
    if execution.cancelling {
        text += " (cancelling)";
    }
    if !execution.reason.is_empty() {
        text += &format!(": {}", one_line(&execution.reason));
    }
    text
}

/// What an execution is, in a few words: `greet succeeded 3m ago`.
pub(crate) fn in_short(style: &Style, execution: &Execution) -> String {
    let age = submitted(execution).map(|at| format!(" {} ago", style.age(at)));
    let (job, state) = (one_line(&execution.job), execution_word(execution.state()));
    format!("{job} {state}{}", age.unwrap_or_default())
}

/// How an execution ended, in one sentence: after which time, with which code, and why.
pub(crate) fn ending(execution: &Execution) -> String {
    let took = duration(execution).map(|took| format!(" after {took}")).unwrap_or_default();
    let code = match execution.exit_code {
        Some(code) if code != 0 && !execution.reason.contains(&code.to_string()) => {
            format!(" with exit code {code}")
        }
        _ => String::new(),
    };
    let reason = match execution.reason.as_str() {
        "" => String::new(),
        reason => format!(": {}", one_line(reason)),
    };
    let (id, state) = (one_line(&execution.id), execution_word(execution.state()));
    format!("execution {id} {state}{took}{code}{reason}")
}

/// How long the execution took, from its submission to its last step.
fn duration(execution: &Execution) -> Option<String> {
    let first = at(execution.history.first()?)?;
    let last = at(execution.history.last()?)?;
    Some(length(last.duration_since(first)))
}

fn at(change: &StateChange) -> Option<Timestamp> {
    change.at.as_ref().and_then(|at| timestamp(at.seconds, at.nanos))
}

fn submitted(execution: &Execution) -> Option<Timestamp> {
    execution.history.first().and_then(at)
}

fn step(style: &Style, change: &StateChange) -> String {
    let when = at(change).map(|at| style.time_and_age(at)).unwrap_or_default();
    format!("{:<10} {when}", execution_word(change.state())).trim_end().to_owned()
}

fn log(execution: &Execution) -> String {
    let size = bytes(execution.log_size);
    match (execution.log_cut.as_str(), is_final(execution.state())) {
        ("", true) => size,
        ("", false) => format!("{size} so far"),
        (cut, _) => format!("{size}, not whole: {}", one_line(cut)),
    }
}

/// Some of the executions that there are.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) executions: Vec<Execution>,
    /// Whether there are more of them.
    pub(crate) more: bool,
}

impl Shown for Page {
    fn text(&self, style: &Style) -> String {
        self.executions.text(style)
    }

    fn names(&self) -> Vec<String> {
        self.executions.names()
    }

    fn document(&self) -> Value {
        let mut document = self.executions.document();
        document["more"] = json!(self.more);
        document
    }
}

impl Shown for Vec<Execution> {
    fn text(&self, style: &Style) -> String {
        let mut header = vec!["ID", "JOB", "STATE", "AGE", "SUBMITTED", "BY"];
        if style.wide {
            header.extend(["ATTEMPT", "EXECUTOR", "EXIT", "LOG"]);
        }
        header.push("REASON");
        table(style, &header, self.iter().map(|execution| row(style, execution)).collect())
    }

    fn names(&self) -> Vec<String> {
        self.iter().flat_map(Shown::names).collect()
    }

    fn document(&self) -> Value {
        json!({ "executions": self.iter().map(Shown::document).collect::<Vec<_>>() })
    }
}

fn row(style: &Style, execution: &Execution) -> Vec<Cell> {
    let cancelling = if execution.cancelling { " (cancelling)" } else { "" };
    let state = Cell::new(format!("{}{cancelling}", execution_word(execution.state())));
    let submitted = submitted(execution);
    let mut row = vec![
        Cell::new(one_line(&execution.id)),
        Cell::new(one_line(&execution.job)),
        match colour_of(execution.state()) {
            Some(colour) => state.fg(colour),
            None => state,
        },
        Cell::new(submitted.map(|at| style.age(at)).unwrap_or_default()),
        Cell::new(submitted.map(|at| style.time(at)).unwrap_or_default()),
        Cell::new(one_line(&execution.submitted_by)),
    ];
    if style.wide {
        row.extend([
            Cell::new(execution.attempt),
            Cell::new(one_line(&execution.executor)),
            Cell::new(execution.exit_code.map(|code| code.to_string()).unwrap_or_default()),
            Cell::new(bytes(execution.log_size)),
        ]);
    }
    row.push(Cell::new(one_line(&execution.reason)));
    row
}
