//! What an execution runs under: its attempts, its limits and who set them, and where it may run.

use super::{
    Style,
    execution::steps,
    text::{bytes, one_line},
    time::{length, timestamp},
};
use jiff::SignedDuration;
use octavius_client::{
    execution_word,
    v1::{Attempt, Execution, ExecutionState, KnownLater},
};
use serde_json::{Value, json};

/// `2 of 3 (the job's `retry`), on executor e`.
pub(super) fn attempt(execution: &Execution) -> String {
    if execution.attempt == 0 {
        return String::new();
    }
    let mut text = execution.attempt.to_string();
    if execution.max_attempts > 1 {
        text += &format!(" of {}", execution.max_attempts);
        text += &from(&execution.attempts_from);
    }
    if !execution.executor.is_empty() {
        text += &format!(", on executor {}", one_line(&execution.executor));
    }
    text
}

/// A line for each attempt before this one.
pub(super) fn earlier(style: &Style, execution: &Execution) -> String {
    let line = |attempt: &Attempt| {
        let on = match attempt.executor.as_str() {
            "" => String::new(),
            executor => format!(" on executor {}", one_line(executor)),
        };
        let cut = match attempt.log_cut.as_str() {
            "" => String::new(),
            cut => format!(", not whole: {}", one_line(cut)),
        };
        let note = match attempt.note.as_str() {
            "" => String::new(),
            note => format!("; {}", one_line(note)),
        };
        let (state, size) = (execution_word(attempt.state()), bytes(attempt.log_size));
        let reason = one_line(&attempt.reason);
        let later = match known_later(style, attempt.known_later.as_ref()).as_str() {
            "" => String::new(),
            later => format!("; known later: {later}"),
        };
        format!("{} {state}{on}: {reason}; log {size}{cut}{note}{later}", attempt.number)
    };
    let lines: Vec<_> = execution.attempts.iter().map(line).collect();
    lines.join("\n")
}

/// What became known of a lost attempt later: `succeeded, exit code 0, at …`.
pub(super) fn known_later(style: &Style, known: Option<&KnownLater>) -> String {
    let Some(known) = known else { return String::new() };
    let code = known.exit_code.map(|code| format!(", exit code {code}")).unwrap_or_default();
    let at = known.at.as_ref().and_then(|at| timestamp(at.seconds, at.nanos));
    let at = at.map(|at| format!(", at {}", style.time(at))).unwrap_or_default();
    let words = [&known.reason, &known.note].into_iter().filter(|words| !words.is_empty());
    let words: String = words.map(|words| format!("; {}", one_line(words))).collect();
    let log = if known.log_is_coming { "; the rest of its log is on its way" } else { "" };
    format!("{}{code}{at}{words}{log}", execution_word(known.state()))
}

/// The same for programs.
pub(super) fn known_later_document(known: Option<&KnownLater>) -> Value {
    let Some(known) = known else { return Value::Null };
    let at = known.at.as_ref().and_then(|at| timestamp(at.seconds, at.nanos));
    json!({
        "state": execution_word(known.state()),
        "reason": known.reason,
        "reason_code": known.reason_code,
        "exit_code": known.exit_code,
        "note": known.note,
        "at": at.map(|at| at.to_string()),
        "log_is_coming": known.log_is_coming,
    })
}

/// When it is tried again.
pub(super) fn retry_at(style: &Style, execution: &Execution) -> String {
    let at = execution.retry_at.as_ref().and_then(|at| timestamp(at.seconds, at.nanos));
    at.map(|at| style.time(at)).unwrap_or_default()
}

/// How long its program may run, and who says so.
pub(super) fn timeout(execution: &Execution) -> String {
    limit(execution.timeout.as_ref(), &execution.timeout_from)
}

/// How long it may take to start, and who says so, where that still matters.
pub(super) fn start_timeout(execution: &Execution) -> String {
    match execution.state() {
        ExecutionState::Leased | ExecutionState::Starting => {
            limit(execution.start_timeout.as_ref(), &execution.start_timeout_from)
        }
        _ => String::new(),
    }
}

/// Which labels the request asked for.
pub(super) fn on(execution: &Execution) -> String {
    let label =
        |(name, value): (&String, &String)| format!("{}={}", one_line(name), one_line(value));
    let labels: Vec<_> = execution.on.iter().map(label).collect();
    labels.join(", ")
}

/// The attempts before this one, for programs.
pub(super) fn attempts(execution: &Execution) -> Vec<Value> {
    let attempt = |attempt: &Attempt| {
        json!({
            "number": attempt.number,
            "state": execution_word(attempt.state()),
            "reason": attempt.reason,
            "reason_code": attempt.reason_code,
            "exit_code": attempt.exit_code,
            "executor": attempt.executor,
            "log_size": attempt.log_size,
            "log_cut": attempt.log_cut,
            "note": attempt.note,
            "known_later": known_later_document(attempt.known_later.as_ref()),
            "history": steps(&attempt.history),
        })
    };
    execution.attempts.iter().map(attempt).collect()
}

/// A span in seconds, for programs.
pub(super) fn seconds(span: Option<&prost_types::Duration>) -> Option<f64> {
    span.map(|span| SignedDuration::new(span.seconds, span.nanos).as_secs_f64())
}

fn limit(span: Option<&prost_types::Duration>, key: &str) -> String {
    span.map_or_else(String::new, |span| {
        length(SignedDuration::new(span.seconds, span.nanos)) + &from(key)
    })
}

fn from(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!(" ({})", one_line(key)) }
}
