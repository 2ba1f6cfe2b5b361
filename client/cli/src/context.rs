//! What every command has: where to write, and the controller that the settings name.

use crate::{
    exit::Failure,
    output::Output,
    render::{Style, execution::in_short, text::one_line},
    terminal,
};
use octavius_client::{
    Choice, Client, Settings, Surroundings,
    v1::{Execution, ListExecutionsRequest},
};
use octavius_protocol::{LEAST_ID_PART, id::ExecutionId};
use std::path::PathBuf;

/// How many of the executions that a part of an id may mean are named.
const NAMED: usize = 5;

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

    /// Whether the user can be asked something: at a terminal, and not where the output is to be one document.
    pub(crate) fn may_ask(&self) -> bool {
        terminal::can_ask() && !self.output.format().is_document()
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
        if text == "@last" {
            let mine = ListExecutionsRequest { mine: true, ..Default::default() };
            let newest = client.find_executions(mine, Some(1)).await?;
            return newest.into_iter().next().map(|found| found.id).ok_or_else(|| {
                let none = "`@last` is your newest execution, and there is none of yours: `octavius executions` shows those of others";
                Failure::Unknown(none.to_owned())
            });
        }
        let part = part(text)?;
        let wanted = ListExecutionsRequest { id_part: part, ..Default::default() };
        let found = client.find_executions(wanted, Some(NAMED + 1)).await?;
        chosen(text, found, self.output.style())
    }

    /// The file that holds the settings after they were written.
    pub(crate) fn place_to_write(&self) -> Result<PathBuf, Failure> {
        Ok(Surroundings::of_this_process().place_to_write(&self.choice)?)
    }
}

/// A text that may be a part of an id.
fn part(text: &str) -> Result<String, Failure> {
    let possible = |sign: char| sign.is_ascii_digit() || ('a'..='v').contains(&sign);
    if (LEAST_ID_PART..26).contains(&text.len()) && text.chars().all(possible) {
        return Ok(text.to_owned());
    }
    Err(Failure::Usage(format!(
        "`{text}` is not an execution's id: write its 26 characters of `0-9` and `a-v`, {LEAST_ID_PART} or more from its end, or `@last` (`octavius executions` shows them)"
    )))
}

/// The one that `text` means, of those whose ids begin or end so.
fn chosen(text: &str, found: Vec<Execution>, style: &Style) -> Result<String, Failure> {
    let shown = |execution: &Execution| {
        format!("\n  {}  {}", one_line(&execution.id), in_short(style, execution))
    };
    match found.as_slice() {
        [one] => Ok(one.id.clone()),
        [] => Err(Failure::Unknown(format!(
            "no execution's id begins or ends with `{text}`: `octavius executions` shows the newest ones"
        ))),
        several => {
            let named: String = several.iter().take(NAMED).map(shown).collect();
            let more = if several.len() > NAMED { "\n  and more" } else { "" };
            Err(Failure::Usage(format!(
                "`{text}` may mean each of these: write more of the id{named}{more}"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use octavius_client::v1::ExecutionState;

    fn execution(id: &str) -> Execution {
        Execution {
            id: id.to_owned(),
            job: "greet".to_owned(),
            state: ExecutionState::Failed.into(),
            ..Execution::default()
        }
    }

    fn choose(text: &str, found: &[&str]) -> Result<String, String> {
        let found = found.iter().map(|id| execution(id)).collect();
        let style = Style::now(false, false);
        part(text)
            .and_then(|part| chosen(&part, found, &style))
            .map_err(|failure| failure.text().unwrap())
    }

    #[test]
    fn a_part_stands_for_the_only_id_that_has_it() {
        let id = "06a5k0000000000000000aaaaa";
        assert_eq!(choose("0aaaaa", &[id]).unwrap(), id);
    }

    #[test]
    fn anything_else_is_refused_with_what_to_write() {
        insta::assert_snapshot!(choose("aaaaa", &[]).unwrap_err(), @"`aaaaa` is not an execution's id: write its 26 characters of `0-9` and `a-v`, 6 or more from its end, or `@last` (`octavius executions` shows them)");
        insta::assert_snapshot!(choose("cccccc", &[]).unwrap_err(), @"no execution's id begins or ends with `cccccc`: `octavius executions` shows the newest ones");
        let ids = ["a", "b", "c", "d", "e", "f"].map(|end| format!("06a5k0{}", end.repeat(20)));
        let ids: Vec<_> = ids.iter().map(String::as_str).collect();
        insta::assert_snapshot!(choose("06a5k0", &ids[..2]).unwrap_err(), @"
        `06a5k0` may mean each of these: write more of the id
          06a5k0aaaaaaaaaaaaaaaaaaaa  greet failed
          06a5k0bbbbbbbbbbbbbbbbbbbb  greet failed
        ");
        let many = choose("06a5k0", &ids).unwrap_err();
        assert!(many.ends_with("eeeeee  greet failed\n  and more"), "{many}");
    }
}
