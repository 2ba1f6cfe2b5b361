//! Executors as a table.

use super::{Shown, Style, table, text::one_line, time};
use comfy_table::{Cell, Color};
use jiff::{SignedDuration, Timestamp};
use octavius_client::{
    executor_word,
    v1::{Executor, ExecutorState},
};
use serde_json::{Value, json};

impl Shown for Vec<Executor> {
    fn text(&self, style: &Style) -> String {
        let mut header = vec!["ID", "STATE", "RUNS", "HELD", "HEARD", "SINCE"];
        if style.wide {
            header.extend(["VERSION", "LABELS"]);
        }
        let mut text =
            table(style, &header, self.iter().map(|executor| row(style, executor)).collect());
        for Executor { id, unseen, .. } in self.iter().filter(|executor| is_blind(executor)) {
            let (id, unseen) = (one_line(id), one_line(unseen));
            text.push_str(&format!("{id} takes no new work: {unseen}\n"));
        }
        for executor in self {
            let Some(at) = moment(executor.drained_at) else { continue };
            let (id, by) = (one_line(&executor.id), one_line(&executor.drained_by));
            let at = style.time(at);
            text.push_str(&format!(
                "{id} gets no new work: {by} drained it at {at}; `octavius executors undrain {id}` ends that\n"
            ));
        }
        text
    }

    fn names(&self) -> Vec<String> {
        self.iter().map(|executor| one_line(&executor.id)).collect()
    }

    fn document(&self) -> Value {
        json!({ "executors": self.iter().map(document).collect::<Vec<_>>() })
    }
}

/// An executor that was forgotten, and how many attempts ended as lost with that.
pub(crate) struct Forgotten {
    pub(crate) id: String,
    pub(crate) lost: u32,
}

impl Shown for Forgotten {
    fn text(&self, _: &Style) -> String {
        let id = one_line(&self.id);
        match self.lost {
            0 => format!("executor `{id}` is forgotten; it held nothing\n"),
            1 => format!("executor `{id}` is forgotten; 1 attempt that it held ends as lost\n"),
            lost => {
                format!("executor `{id}` is forgotten; {lost} attempts that it held end as lost\n")
            }
        }
    }

    fn names(&self) -> Vec<String> {
        vec![one_line(&self.id)]
    }

    fn document(&self) -> Value {
        json!({ "forgotten": self.id, "lost": self.lost })
    }
}

fn silence(executor: &Executor) -> Option<SignedDuration> {
    let silent = executor.silent_for.as_ref()?;
    Some(SignedDuration::new(silent.seconds, silent.nanos))
}

fn moment(at: Option<prost_types::Timestamp>) -> Option<Timestamp> {
    at.and_then(|at| time::timestamp(at.seconds, at.nanos))
}

fn document(executor: &Executor) -> Value {
    json!({
        "id": executor.id,
        "state": executor_word(executor.state()),
        "runner": executor.runner,
        "version": executor.version,
        "capacity": executor.capacity,
        "held": executor.held,
        "ended": executor.ended,
        "labels": executor.labels,
        "silent_for_seconds": silence(executor).map(|silent| silent.as_secs_f64()),
        "registered_at": moment(executor.registered_at).map(|at| at.to_string()),
        "unseen": executor.unseen,
        "drained_at": moment(executor.drained_at).map(|at| at.to_string()),
        "drained_by": executor.drained_by,
    })
}

/// Whether it would get work, if it saw what it runs.
fn is_blind(executor: &Executor) -> bool {
    executor.state() == ExecutorState::Ready && !executor.unseen.is_empty()
}

/// Its places, and what has ended and is not yet settled.
fn places(executor: &Executor) -> String {
    let Executor { held, ended, capacity, .. } = executor;
    let taken = held.saturating_sub(*ended);
    match ended {
        0 => format!("{taken} of {capacity}"),
        ended => format!("{taken} of {capacity}, {ended} ending"),
    }
}

fn row(style: &Style, executor: &Executor) -> Vec<Cell> {
    let state = executor_word(executor.state());
    let blind = is_blind(executor);
    let state = match (executor.drained_at.is_some(), blind, executor.held) {
        (true, _, 0) => format!("{state} (drained)"),
        (true, _, _) => format!("{state} (draining)"),
        (false, true, _) => format!("{state} (blind)"),
        (false, false, _) => state.to_owned(),
    };
    let state = Cell::new(state);
    let mut row = vec![
        Cell::new(one_line(&executor.id)),
        match executor.state() {
            ExecutorState::Ready if blind || executor.drained_at.is_some() => {
                state.fg(Color::Yellow)
            }
            ExecutorState::Ready => state.fg(Color::Green),
            ExecutorState::Lost => state.fg(Color::Red),
            ExecutorState::Expired => state.fg(Color::Yellow),
            ExecutorState::Unknown | ExecutorState::Unspecified => state,
        },
        Cell::new(one_line(&executor.runner)),
        Cell::new(places(executor)),
        Cell::new(match silence(executor) {
            Some(silent) => format!("{} ago", time::length(silent)),
            None => "not yet".to_owned(),
        }),
        Cell::new(moment(executor.registered_at).map(|at| style.time(at)).unwrap_or_default()),
    ];
    if style.wide {
        let labels = executor.labels.iter();
        let labels: Vec<_> =
            labels.map(|(name, value)| format!("{}={}", one_line(name), one_line(value))).collect();
        row.extend([Cell::new(one_line(&executor.version)), Cell::new(labels.join(","))]);
    }
    row
}
