//! What every command has: where to write, and the controller that the settings name.

use crate::{exit::Failure, output::Output};
use octavius_client::{Choice, Client, Settings, Surroundings, v1::Execution};
use octavius_protocol::id::ExecutionId;
use std::path::PathBuf;

/// How many of the newest executions are looked through for the one that a part of an id means.
const LOOKED_THROUGH: usize = 1_000;
/// The fewest characters of an id that may stand for it.
const SHORTEST: usize = 6;

/// What every command has.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) output: Output,
    choice: Choice,
}

impl Context {
    pub(crate) fn new(output: Output, choice: Choice) -> Self {
        Self { output, choice }
    }

    /// The settings' file that the user wants.
    pub(crate) fn choice(&self) -> &Choice {
        &self.choice
    }

    pub(crate) fn settings(&self) -> Result<Settings, Failure> {
        Ok(Settings::load(&self.choice)?)
    }

    pub(crate) fn client(&self) -> Result<Client, Failure> {
        Ok(Client::new(&self.settings()?)?)
    }

    /// The id that `text` stands for: itself, its beginning or end where that is unique, or `@last`, the newest one
    /// of the user.
    pub(crate) async fn execution(&self, client: &Client, text: &str) -> Result<String, Failure> {
        if text.parse::<ExecutionId>().is_ok() {
            return Ok(text.to_owned());
        }
        let part = if text == "@last" { Part::Last } else { Part::of(text)? };
        let newest = client.executions(None, Some(LOOKED_THROUGH)).await?;
        let user = match part {
            Part::Last => Some(self.settings()?.email.unwrap_or_else(|| "anonymous".to_owned())),
            Part::Text(_) => None,
        };
        chosen(&part, user.as_deref(), &newest)
    }

    /// The file that holds the settings after they were written.
    pub(crate) fn place_to_write(&self) -> Result<PathBuf, Failure> {
        Ok(Surroundings::of_this_process().place_to_write(&self.choice)?)
    }
}

/// Something shorter than an id.
enum Part<'a> {
    Last,
    Text(&'a str),
}

impl<'a> Part<'a> {
    fn of(text: &'a str) -> Result<Self, Failure> {
        let possible = |sign: char| sign.is_ascii_digit() || ('a'..='v').contains(&sign);
        if (SHORTEST..26).contains(&text.len()) && text.chars().all(possible) {
            return Ok(Part::Text(text));
        }
        Err(Failure::Usage(format!(
            "`{text}` is not an execution's id: write its 26 characters of `0-9` and `a-v`, {SHORTEST} or more from its end, or `@last` (`octavius executions` shows them)"
        )))
    }
}

fn chosen(part: &Part<'_>, user: Option<&str>, newest: &[Execution]) -> Result<String, Failure> {
    let text = match part {
        Part::Last => {
            let mine = newest.iter().find(|found| Some(found.submitted_by.as_str()) == user);
            return mine.map(|found| found.id.clone()).ok_or_else(|| {
                Failure::Usage(format!(
                    "none of the newest {LOOKED_THROUGH} executions is yours: `octavius executions` shows them"
                ))
            });
        }
        Part::Text(text) => *text,
    };
    let ids = newest.iter().map(|found| found.id.as_str());
    let matches: Vec<_> = ids.filter(|id| id.ends_with(text) || id.starts_with(text)).collect();
    match matches.as_slice() {
        [one] => Ok((*one).to_owned()),
        [] => Err(Failure::Usage(format!(
            "no id among the newest {LOOKED_THROUGH} executions ends with `{text}`: write the whole id"
        ))),
        [first, second, ..] => Err(Failure::Usage(format!(
            "`{text}` means {} executions, among them {first} and {second}: write more of the id",
            matches.len()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn execution(id: &str, submitted_by: &str) -> Execution {
        let (id, submitted_by) = (id.to_owned(), submitted_by.to_owned());
        Execution { id, submitted_by, ..Execution::default() }
    }

    fn choose(text: &str) -> Result<String, String> {
        let newest = [
            execution("06a5k0000000000000000aaaaa", "bob"),
            execution("06a5k0000000000000000bbbbb", "ada"),
            execution("06a5k1111111111111111bbbbb", "ada"),
        ];
        let part = if text == "@last" { Ok(Part::Last) } else { Part::of(text) };
        part.and_then(|part| chosen(&part, Some("ada"), &newest))
            .map_err(|failure| failure.text().unwrap())
    }

    #[test]
    fn a_unique_end_or_beginning_stands_for_the_id() {
        assert_eq!(choose("0aaaaa").unwrap(), "06a5k0000000000000000aaaaa");
        assert_eq!(choose("06a5k1").unwrap(), "06a5k1111111111111111bbbbb");
        assert_eq!(choose("@last").unwrap(), "06a5k0000000000000000bbbbb");
    }

    #[test]
    fn anything_else_is_refused_with_what_to_write() {
        insta::assert_snapshot!(choose("aaaaa").unwrap_err(), @"`aaaaa` is not an execution's id: write its 26 characters of `0-9` and `a-v`, 6 or more from its end, or `@last` (`octavius executions` shows them)");
        insta::assert_snapshot!(choose("06a5k0").unwrap_err(), @"`06a5k0` means 2 executions, among them 06a5k0000000000000000aaaaa and 06a5k0000000000000000bbbbb: write more of the id");
        insta::assert_snapshot!(choose("cccccc").unwrap_err(), @"no id among the newest 1000 executions ends with `cccccc`: write the whole id");
    }
}
