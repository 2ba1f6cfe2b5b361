//! Rules are plain functions: a file of rules, or of their model, names no actor, no runtime, no wire and no clock.

use crate::Source;

/// What rules do not know, and why each would spoil them.
const FOREIGN: [(&str, &str); 7] = [
    ("actix", "the actor around the rules receives and answers"),
    ("tokio", "rules wait for nothing"),
    ("tonic", "the door translates, and rules know our own types"),
    ("metrics", "the actor counts what the rules decided"),
    ("tracing", "the actor logs what the rules decided"),
    ("redb", "the store is behind its handle"),
    ("object_store", "the store is behind its handle"),
];

/// Clocks; a `Duration` is a value like any other.
const CLOCKS: [&str; 4] = ["Instant", "SystemTime", "Timestamp::now", "Zoned::now"];

/// Every line of a rule that knows what it should not.
pub(crate) fn faults(sources: &[Source]) -> Vec<String> {
    sources.iter().filter(|source| is_rule(&source.path)).flat_map(wrong).collect()
}

/// `rules.rs`, `model.rs`, and whatever is in a folder of one of these names.
fn is_rule(path: &str) -> bool {
    path.split('/').any(|part| matches!(part, "rules" | "rules.rs" | "model" | "model.rs"))
}

fn wrong(source: &Source) -> Vec<String> {
    let code = source.text.lines().map(|line| line.split("//").next().unwrap_or_default());
    let named = code.enumerate().flat_map(|(index, line)| {
        let foreign = FOREIGN.iter().copied().filter(move |(name, _)| names(line, name));
        let clocks = CLOCKS.into_iter().filter(move |clock| has_word(line, clock));
        let clocks = clocks.map(|clock| (clock, "the caller says what time it is"));
        foreign.chain(clocks).map(move |fault| (index + 1, fault))
    });
    let fault = |(line, (name, why))| format!("{}:{line} names {name}: {why}", source.path);
    named.map(fault).collect()
}

/// Whether a line has the path `foreign`: before `::`, or at the end of an import.
fn names(line: &str, foreign: &str) -> bool {
    let import = line.trim_start().starts_with("use ") || line.contains(" use ");
    words(line, foreign).any(|after| import || after.trim_start().starts_with("::"))
}

fn has_word(line: &str, word: &str) -> bool {
    words(line, word).next().is_some()
}

/// What follows `word` in a line, wherever it stands as a whole word.
fn words<'a>(line: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
    let inside = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).filter_map(move |(at, _)| {
        let after = &line[at + word.len()..];
        (!line[..at].ends_with(inside) && !after.starts_with(inside)).then_some(after)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults_of(path: &str, text: &str) -> usize {
        faults(&[Source { path: path.to_owned(), text: text.to_owned() }]).len()
    }

    #[test]
    fn rules_that_know_a_runtime_are_found() {
        for text in [
            "use actix::Actor;",
            "    use tokio;",
            "pub(crate) use std::time::Instant;",
            "tokio::task::yield_now().await;",
            "    time::{Duration, Instant},",
            "let now = Timestamp::now();",
            "fn f() { metrics::counter!(\"a\").increment(1); }",
        ] {
            assert_eq!(faults_of("a/rules.rs", text), 1, "{text}");
            assert_eq!(faults_of("a/rules/lease.rs", text), 1, "{text}");
            assert_eq!(faults_of("a/model.rs", text), 1, "{text}");
            assert_eq!(faults_of("a/mod.rs", text), 0, "{text}");
        }
    }

    #[test]
    fn words_that_only_look_alike_are_not() {
        for text in [
            "// use tokio",
            "let metrics = 3;",
            "use super::my_tokio::X;",
            "use std::time::Duration;",
            "use jiff::Timestamp;",
        ] {
            assert_eq!(faults_of("a/rules.rs", text), 0, "{text}");
        }
    }
}
