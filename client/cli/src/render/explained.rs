//! Why an execution is where it is: in a few words, and each executor in a table.

use super::{Shown, Style, execution::state_and_reason, sheet, table, terms, text::one_line};
use comfy_table::{Cell, Color};
use octavius_client::v1::{Candidate, Execution, GetExecutionResponse, Nearness};
use serde_json::{Value, json};

impl Shown for GetExecutionResponse {
    fn text(&self, style: &Style) -> String {
        let absent = Execution::default();
        let execution = self.execution.as_ref().unwrap_or(&absent);
        let facts = sheet(&[
            ("execution", one_line(&execution.id)),
            ("job", format!("{}, version {}", one_line(&execution.job), execution.job_version)),
            ("state", state_and_reason(style, execution)),
            ("priority", execution.priority.map(|it| it.to_string()).unwrap_or_default()),
            ("team", one_line(&execution.team)),
            ("one at a time", one_line(&execution.concurrency_key)),
            ("only on", terms::on(execution)),
        ]);
        let rows = self.candidates.iter().map(row);
        // Why is what was asked for: nothing of it is cut, however narrow the terminal.
        let whole = Style { width: None, ..style.clone() };
        let candidates = table(&whole, &["EXECUTOR", "IS", "WHY"], rows.collect());
        let more = match self.more_candidates {
            0 => String::new(),
            more => format!("and {more} more executors\n"),
        };
        if candidates.is_empty() { facts } else { format!("{facts}\n{candidates}{more}") }
    }

    fn names(&self) -> Vec<String> {
        self.candidates.iter().map(|candidate| one_line(&candidate.executor)).collect()
    }

    fn document(&self) -> Value {
        let candidate = |candidate: &Candidate| {
            json!({
                "executor": candidate.executor,
                "nearness": word(candidate.nearness()),
                "why": candidate.words,
            })
        };
        json!({
            "execution": self.execution.as_ref().map(Shown::document),
            "executors": self.candidates.iter().map(candidate).collect::<Vec<_>>(),
            "more_executors": self.more_candidates,
        })
    }
}

fn row(candidate: &Candidate) -> Vec<Cell> {
    let nearness = Cell::new(word(candidate.nearness()));
    let nearness = match candidate.nearness() {
        Nearness::Holds | Nearness::Free => nearness.fg(Color::Green),
        Nearness::Full | Nearness::Away => nearness.fg(Color::Yellow),
        Nearness::Unfit | Nearness::Unspecified => nearness,
    };
    vec![Cell::new(one_line(&candidate.executor)), nearness, Cell::new(one_line(&candidate.words))]
}

fn word(nearness: Nearness) -> &'static str {
    match nearness {
        Nearness::Holds => "holds it",
        Nearness::Free => "free",
        Nearness::Full => "full",
        Nearness::Away => "away",
        Nearness::Unfit => "unfit",
        Nearness::Unspecified => "",
    }
}
