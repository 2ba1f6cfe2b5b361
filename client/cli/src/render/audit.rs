//! The audit: one entry a line.

use super::{Shown, Style, table, text::one_line, time::timestamp};
use comfy_table::Cell;
use jiff::Timestamp;
use octavius_client::v1::AuditEntry;
use serde_json::{Value, json};

/// Some entries, the newest first.
pub(crate) struct Entries {
    pub(crate) entries: Vec<AuditEntry>,
    /// Whether there are others.
    pub(crate) more: bool,
}

fn at(entry: &AuditEntry) -> Option<Timestamp> {
    entry.at.as_ref().and_then(|at| timestamp(at.seconds, at.nanos))
}

/// One entry for programs.
pub(crate) fn document(entry: &AuditEntry) -> Value {
    let given = |text: &String| (!text.is_empty()).then(|| text.clone());
    json!({
        "at": at(entry).map(|at| at.to_string()),
        "by": given(&entry.by),
        "token": given(&entry.token),
        "from": given(&entry.from),
        "call": entry.call,
        "job": given(&entry.job),
        "execution": given(&entry.execution),
        "executor": given(&entry.executor),
        "about": given(&entry.about),
        "refused": given(&entry.refused),
    })
}

/// All that it is about.
fn about(entry: &AuditEntry) -> String {
    let AuditEntry { job, execution, executor, about, .. } = entry;
    let named = [("job", job), ("execution", execution), ("executor", executor), ("", about)];
    let named = named.iter().filter(|(_, name)| !name.is_empty());
    let named = named.map(|(what, name)| format!("{what} {}", one_line(name)).trim().to_owned());
    named.collect::<Vec<_>>().join(", ")
}

impl Shown for Entries {
    fn text(&self, style: &Style) -> String {
        let row = |entry: &AuditEntry| {
            let by = if entry.by.is_empty() { "(nobody)".to_owned() } else { one_line(&entry.by) };
            let mut cells = vec![
                at(entry).map(|at| style.time(at)).unwrap_or_default(),
                by,
                one_line(&entry.call),
                about(entry),
                if entry.refused.is_empty() { "done" } else { "refused" }.to_owned(),
                one_line(&entry.from),
            ];
            if style.wide {
                cells.extend([one_line(&entry.token), one_line(&entry.refused)]);
            }
            cells.into_iter().map(Cell::new).collect()
        };
        let header = ["AT", "BY", "CALL", "ABOUT", "WAS", "FROM", "TOKEN", "WHY"];
        let columns = if style.wide { header.len() } else { header.len() - 2 };
        table(style, &header[..columns], self.entries.iter().map(row).collect())
    }

    fn names(&self) -> Vec<String> {
        self.entries.iter().map(|entry| one_line(&entry.by)).collect()
    }

    fn document(&self) -> Value {
        json!({ "entries": self.entries.iter().map(document).collect::<Vec<_>>(), "more": self.more })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_says_who_did_what_and_from_where() {
        let done = AuditEntry {
            at: Some(prost_types::Timestamp { seconds: 1_795_000_000, nanos: 0 }),
            by: "ada@example.com".to_owned(),
            token: "0123456789abcdef".to_owned(),
            from: "192.0.2.1".to_owned(),
            call: "Secrets/SetSecret".to_owned(),
            job: "deploy".to_owned(),
            about: "secret `TOKEN`".to_owned(),
            ..AuditEntry::default()
        };
        let refused = AuditEntry {
            by: String::new(),
            token: String::new(),
            refused: "this controller asks for a token".to_owned(),
            ..done.clone()
        };
        let entries = Entries { entries: vec![done, refused], more: false };
        let text = entries.text(&Style::fixed());
        for words in [
            "ada@example.com  Secrets/SetSecret  job deploy, secret `TOKEN`  done",
            "(nobody)         Secrets/SetSecret  job deploy, secret `TOKEN`  refused  192.0.2.1",
        ] {
            assert!(text.contains(words), "no {words} in {text}");
        }
        let wide = entries.text(&Style { wide: true, ..Style::fixed() });
        assert!(wide.contains("0123456789abcdef") && wide.contains("asks for a token"), "{wide}");
        let document = entries.document();
        assert_eq!(document["entries"][0]["refused"], Value::Null);
        assert_eq!(document["entries"][1]["by"], Value::Null);
    }
}
