//! The results, for people and for programs.

use super::machine::Machine;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// One number that was measured.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// What it says.
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) unit: &'static str,
    /// What is wanted.
    pub(super) aim: Aim,
    /// How it was measured, and what stood beside it.
    pub(super) note: String,
}

/// What is wanted of a number.
#[derive(Clone, Copy, Debug)]
pub(super) enum Aim {
    None,
    AtLeast(f64),
    AtMost(f64),
}

impl Row {
    fn reached(&self) -> Option<bool> {
        match self.aim {
            Aim::None => None,
            Aim::AtLeast(aim) => Some(self.value >= aim),
            Aim::AtMost(aim) => Some(self.value <= aim),
        }
    }

    fn aim(&self) -> String {
        match self.aim {
            Aim::None => String::new(),
            Aim::AtLeast(aim) => format!("≥ {}", number(aim)),
            Aim::AtMost(aim) => format!("≤ {}", number(aim)),
        }
    }

    fn verdict(&self) -> &'static str {
        match self.reached() {
            None => "",
            Some(true) => "yes",
            Some(false) => "no",
        }
    }
}

/// Three digits that count, where there are not more before the point.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A table in Markdown.
pub(super) fn text(rows: &[Row]) -> String {
    let head = ["what", "measured", "", "aim", "met", "how"].map(str::to_owned);
    let lines = rows.iter().map(|row| {
        [
            row.name.clone(),
            number(row.value),
            row.unit.to_owned(),
            row.aim(),
            row.verdict().to_owned(),
            row.note.clone(),
        ]
    });
    let lines: Vec<_> = std::iter::once(head).chain(lines).collect();
    let width = |column: usize| {
        lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default()
    };
    let widths: [usize; 6] = std::array::from_fn(width);
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        for (cell, width) in line.iter().zip(widths) {
            let _ = write!(text, "| {cell:width$} ");
        }
        text.push_str("|\n");
        if index == 0 {
            widths.iter().for_each(|width| text.push_str(&format!("| {:-<width$} ", "")));
            text.push_str("|\n");
        }
    }
    text
}

/// The same as one document.
pub(super) fn document(machine: &Machine, load_at_end: &str, rows: &[Row]) -> Value {
    let rows = rows.iter().map(|row| {
        let aim = match row.aim {
            Aim::None => Value::Null,
            Aim::AtLeast(aim) => json!({ "at_least": aim }),
            Aim::AtMost(aim) => json!({ "at_most": aim }),
        };
        json!({
            "name": row.name,
            "value": row.value,
            "unit": row.unit,
            "aim": aim,
            "met": row.reached(),
            "note": row.note,
        })
    });
    json!({
        "machine": machine.document(),
        "load_at_end": load_at_end,
        "rows": rows.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_was_measured_and_whether_that_is_enough() {
        let row =
            |value, aim| Row { name: "a".to_owned(), value, unit: "ms", aim, note: String::new() };
        assert_eq!(row(2.0, Aim::AtMost(2.0)).verdict(), "yes");
        assert_eq!(row(2.1, Aim::AtMost(2.0)).verdict(), "no");
        assert_eq!(row(1999.0, Aim::AtLeast(2000.0)).verdict(), "no");
        assert_eq!(row(1.0, Aim::None).verdict(), "");
        let text = text(&[row(2.126, Aim::AtMost(2.0))]);
        assert_eq!(text.lines().last(), Some("| a    | 2.13     | ms | ≤ 2 | no  |     |"));
    }
}
