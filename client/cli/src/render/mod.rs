//! What people and programs see of jobs, executions and executors. Nothing here writes or asks.

pub(crate) mod access;
pub(crate) mod audit;
pub(crate) mod execution;
pub(crate) mod executor;
mod explained;
pub(crate) mod job;
pub(crate) mod secret;
pub(crate) mod stored;
mod table;
mod terms;
pub(crate) mod text;
pub(crate) mod time;

use comfy_table::Color;
use jiff::{Timestamp, tz::TimeZone};
use octavius_client::v1::ExecutionState;
use serde_json::Value;
pub(crate) use table::table;

/// A result in all its forms.
pub(crate) trait Shown {
    /// For people: whole lines.
    fn text(&self, style: &Style) -> String;
    /// Names or ids, for a loop in a shell.
    fn names(&self) -> Vec<String>;
    /// For programs.
    fn document(&self) -> Value;
}

/// What the look depends on besides the result.
#[derive(Clone, Debug)]
pub(crate) struct Style {
    pub(crate) colour: bool,
    pub(crate) wide: bool,
    /// How many characters fit in a line of the terminal that shows it, if one does.
    pub(crate) width: Option<usize>,
    pub(crate) now: Timestamp,
    pub(crate) zone: TimeZone,
}

impl Style {
    pub(crate) fn now(colour: bool, wide: bool) -> Self {
        Self { colour, wide, width: None, now: Timestamp::now(), zone: TimeZone::system() }
    }

    /// The same without colour, for standard error.
    pub(crate) fn plain(&self) -> Self {
        Self { colour: false, ..self.clone() }
    }

    /// The word for a state, in its colour.
    pub(crate) fn state(&self, state: ExecutionState) -> String {
        let word = octavius_client::execution_word(state);
        let code = match colour_of(state) {
            Some(Color::Green) => 32,
            Some(Color::Red) => 31,
            Some(_) => 33,
            None => return word.to_owned(),
        };
        if self.colour { format!("\u{1b}[{code}m{word}\u{1b}[0m") } else { word.to_owned() }
    }
}

fn colour_of(state: ExecutionState) -> Option<Color> {
    use ExecutionState::*;
    match state {
        Succeeded => Some(Color::Green),
        Failed | TimedOut | Lost => Some(Color::Red),
        Running | Starting | Cancelled => Some(Color::Yellow),
        Unspecified | Pending | Leased => None,
    }
}

/// Lines of `label  value`, the values in one column.
pub(crate) fn sheet(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    rows.iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(label, value)| {
            let value = value.replace('\n', &format!("\n{:width$}  ", ""));
            format!("{label:width$}  {value}\n")
        })
        .collect()
}

#[cfg(test)]
impl Style {
    /// A plain style at a fixed time, two hours east of Greenwich.
    pub(crate) fn fixed() -> Self {
        Self {
            colour: false,
            wide: false,
            width: None,
            now: "2026-11-25T12:00:00Z".parse().unwrap(),
            zone: TimeZone::fixed(jiff::tz::offset(2)),
        }
    }
}

#[cfg(test)]
mod tests;
