//! Bounds that callers meet, as tables, and the document that is made from them.
//!
//! A row takes its number from the constant that the code compares with, and quotes what the code says beyond it: a
//! check of the project looks for the words. Not here: the defaults of keys, which `docs/configuration.md` has.

use crate::{
    configuration::{Bytes, Setting},
    telemetry::places::{IDLE, MOST_CONNECTIONS},
};
use std::{collections::BTreeSet, fmt::Write as _, time::Duration};

/// How much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// So many of what the row is about.
    Count(u64),
    /// So many bytes.
    Bytes(u64),
    /// So many characters.
    Characters(u64),
    /// So long.
    Time(Duration),
    /// So much of another limit or key: one `of`, in words.
    Part(u32, &'static str),
    /// What the row's key says.
    Key,
}

impl Amount {
    /// So many of what the row is about.
    pub fn count(count: usize) -> Self {
        Self::Count(count as u64)
    }

    /// So many bytes.
    pub fn bytes(bytes: usize) -> Self {
        Self::Bytes(bytes as u64)
    }

    /// So many characters.
    pub fn characters(characters: usize) -> Self {
        Self::Characters(characters as u64)
    }

    /// With its unit, for people.
    fn shown(self) -> String {
        match self {
            Self::Count(count) => grouped(count),
            Self::Bytes(bytes) if bytes > 0 && bytes.is_multiple_of(1 << 10) => {
                let text = Bytes(bytes).shown();
                let unit = text.find(|sign: char| !sign.is_ascii_digit()).unwrap_or(text.len());
                format!("{} {}", &text[..unit], &text[unit..])
            }
            Self::Bytes(1) => "1 byte".to_owned(),
            Self::Bytes(bytes) => format!("{} bytes", grouped(bytes)),
            Self::Characters(1) => "1 character".to_owned(),
            Self::Characters(characters) => format!("{} characters", grouped(characters)),
            Self::Time(time) => time.shown(),
            Self::Part(part, of) => format!("1/{part} of {of}"),
            Self::Key => "what the key says".to_owned(),
        }
    }

    /// As errors write it; none: they write it in some other way.
    fn said(self) -> Option<String> {
        match self {
            Self::Count(n) | Self::Bytes(n) | Self::Characters(n) => Some(n.to_string()),
            Self::Time(time) => Some(time.shown()),
            Self::Part(..) | Self::Key => None,
        }
    }
}

/// What a caller gets beyond a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beyond {
    /// An answer with this status and these words. In them `{}` is the limit, and `…` what differs from one time to the
    /// next.
    Refused(&'static str, &'static str),
    /// The end of a program that reads a file or a command line, with these words.
    Stops(&'static str),
    /// Something else than an error, in a sentence.
    Instead(&'static str),
}

impl Beyond {
    /// The words that the code has to say; none where nothing is refused.
    pub fn words(&self) -> Option<&'static str> {
        match self {
            Self::Refused(_, words) | Self::Stops(words) => Some(words),
            Self::Instead(_) => None,
        }
    }
}

/// One bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Of what.
    pub what: &'static str,
    /// How much.
    pub most: Amount,
    /// The key that changes it; none: it is fixed.
    pub key: Option<&'static str>,
    /// What the caller gets beyond it.
    pub beyond: Beyond,
}

impl Limit {
    /// One that nothing changes.
    pub const fn fixed(what: &'static str, most: Amount, beyond: Beyond) -> Self {
        Self { what, most, key: None, beyond }
    }

    /// One that a key of a configuration changes.
    pub const fn key(what: &'static str, most: Amount, key: &'static str, beyond: Beyond) -> Self {
        Self { what, most, key: Some(key), beyond }
    }
}

/// Bounds of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// What they are about.
    pub title: &'static str,
    /// The bounds, in the order of the document.
    pub limits: Vec<Limit>,
}

/// The bounds that every server has.
pub fn limits() -> Vec<Section> {
    let limits = vec![
        Limit::fixed(
            "Connections to one `metrics_address`",
            Amount::count(MOST_CONNECTIONS),
            Beyond::Instead("Further ones are closed at once."),
        ),
        Limit::fixed(
            "The time that nothing comes or goes on one of them",
            Amount::Time(IDLE),
            Beyond::Instead("It is closed."),
        ),
    ];
    vec![Section { title: "Metrics and health", limits }]
}

/// Rows that say nothing, say it twice, or could not be printed.
pub fn faults(
    sections: &[Section],
    is_status: impl Fn(&str) -> bool,
    is_key: impl Fn(&str) -> bool,
) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut faults = Vec::new();
    for section in sections {
        if section.limits.is_empty() {
            faults.push(format!("`{}` has no limits", section.title));
        }
        for limit in &section.limits {
            let mut wrong = |why: &str| faults.push(format!("limit `{}` {why}", limit.what));
            if limit.what.is_empty() || !seen.insert((section.title, limit.what)) {
                wrong("is there twice, or has no name");
            }
            if matches!(limit.beyond, Beyond::Refused(status, _) if !is_status(status)) {
                wrong("has a status that no answer has");
            }
            if limit.key.is_some_and(|key| !is_key(key)) {
                wrong("names a key that no file has");
            }
            if limit.key.is_none() && limit.most == Amount::Key {
                wrong("names no key");
            }
            let words = limit.beyond.words().unwrap_or_default();
            if words.contains("{}") && limit.most.said().is_none() {
                wrong("quotes a number that it does not have");
            }
        }
    }
    faults
}

/// The document of all sections.
pub fn page(sections: &[Section]) -> String {
    let mut page = String::from(
        "# Limits\n\n\
         <!-- Made by `cargo xtask docs` from the tables in the code: change them there. -->\n\n\
         Every bound that somebody who uses Octavius can meet, and what comes beyond it. Of what is refused with \
         `INVALID_ARGUMENT` or `RESOURCE_EXHAUSTED` nothing was done. *Fixed* is what no key changes; the keys of the servers \
         and their defaults are in [configuration.md](configuration.md), those of jobs in \
         [job-definitions.md](job-definitions.md), and errors by their text in [troubleshooting.md](troubleshooting.md). \
         In quoted words `…` stands for what differs from one time to the next. Where a \
         `RESOURCE_EXHAUSTED` passes by itself, it says when to try again: our clients do where that is soon, and else \
         `octavius` ends with 3 at once ([how soon](#the-command-line)). KiB, MiB and GiB are powers of 1,024.\n",
    );
    for Section { title, limits } in sections {
        // Writing to a string cannot fail.
        let _ = writeln!(page, "\n## {title}\n");
        let _ = writeln!(page, "| what | limit | changed by | beyond it |");
        let _ = writeln!(page, "| --- | --- | --- | --- |");
        for limit in limits {
            let key = limit.key.map_or_else(|| "fixed".to_owned(), |key| format!("`{key}`"));
            let (what, most) = (limit.what, limit.most.shown());
            let _ = writeln!(page, "| {what} | {most} | {key} | {} |", beyond(limit));
        }
    }
    page
}

fn beyond(limit: &Limit) -> String {
    let quoted = |words: &str| {
        let number = limit.most.said().unwrap_or_default();
        words.replace("{}", &number).replace('|', "\\|")
    };
    match limit.beyond {
        Beyond::Refused(status, words) => format!("`{status}`: \"{}\"", quoted(words)),
        Beyond::Stops(words) => format!("ends with 2: \"{}\"", quoted(words)),
        Beyond::Instead(sentence) => sentence.to_owned(),
    }
}

/// A number with commas between its thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use Beyond::{Instead, Refused, Stops};

    fn doors() -> Vec<Section> {
        let full = Refused("RESOURCE_EXHAUSTED", "{} doors are open: close | one of …");
        let limits = vec![
            Limit::fixed("Doors", Amount::Count(131_071), full),
            Limit::key("A key's size", Amount::bytes(64 << 10), "key_size", Stops("give `{}`")),
            Limit::fixed("A name", Amount::bytes(255), Instead("It is cut.")),
            Limit::fixed("A knock", Amount::Time(Duration::from_secs(90)), Stops("within {}")),
            Limit::key("A wait", Amount::Part(3, "`patience`"), "patience", Instead("It ends.")),
        ];
        vec![Section { title: "Doors", limits }]
    }

    #[test]
    fn the_page_has_number_unit_key_and_words_of_every_limit() {
        let page = page(&doors());
        let (_, table) = page.split_once("## ").unwrap();
        assert_eq!(
            table,
            "Doors\n\n\
             | what | limit | changed by | beyond it |\n\
             | --- | --- | --- | --- |\n\
             | Doors | 131,071 | fixed | `RESOURCE_EXHAUSTED`: \"131071 doors are open: close \\| one of …\" |\n\
             | A key's size | 64 KiB | `key_size` | ends with 2: \"give `65536`\" |\n\
             | A name | 255 bytes | fixed | It is cut. |\n\
             | A knock | 90s | fixed | ends with 2: \"within 90s\" |\n\
             | A wait | 1/3 of `patience` | `patience` | It ends. |\n"
        );
    }

    #[test]
    fn a_row_that_cannot_be_right_is_found() {
        let status = |name: &str| name == "RESOURCE_EXHAUSTED";
        let key = |name: &str| ["key_size", "patience"].contains(&name);
        assert_eq!(faults(&doors(), status, key), Vec::<String>::new());
        assert_eq!(faults(&doors(), |_| false, key).len(), 1);
        assert_eq!(faults(&doors(), status, |name| name == "patience").len(), 1);
        let mut twice = doors();
        let first = twice[0].limits[0];
        twice[0].limits.push(first);
        twice[0].limits.push(Limit::fixed("A part", Amount::Part(2, "it"), Stops("{} is it")));
        twice.push(Section { title: "Windows", limits: Vec::new() });
        let found = faults(&twice, status, key);
        assert_eq!(
            found,
            [
                "limit `Doors` is there twice, or has no name",
                "limit `A part` quotes a number that it does not have",
                "`Windows` has no limits"
            ]
        );
    }
}
