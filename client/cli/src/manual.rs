//! The manual, made from the command line's own definition: pages for `man`, and one document of all commands.

use crate::cli::Cli;
use clap::{Command, CommandFactory};
use std::{fmt::Write as _, io};

/// How wide the lines of the document are.
const WIDTH: usize = 100;

/// Each page of the manual: its file's name, and its text as `man` reads it. The first is the one of `octavius` itself.
pub(crate) fn pages() -> io::Result<Vec<(String, String)>> {
    let pages = all().into_iter().map(|(_, command)| clap_mangen::Man::new(command));
    pages
        .map(|man| {
            let mut text = Vec::new();
            man.render(&mut text)?;
            Ok((man.get_filename(), String::from_utf8(text).map_err(io::Error::other)?))
        })
        .collect()
}

/// All commands with their flags and examples, as a document in Markdown.
pub fn commands_page() -> String {
    let mut page = "# The commands\n\nWhat `octavius COMMAND --help` says, for reading at leisure. This page is made from the code with\n`cargo xtask docs`.\n".to_owned();
    for (name, command) in all() {
        let help = command.term_width(WIDTH).render_long_help().to_string();
        // Writing to a text does not fail.
        let _ = write!(page, "\n## {name}\n\n```text\n{}\n```\n", trimmed(&help));
    }
    page
}

fn trimmed(help: &str) -> String {
    help.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

/// Each command that is shown, by its whole name, the outer before the inner ones.
fn all() -> Vec<(String, Command)> {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let mut found = Vec::new();
    collect(&root, "octavius", &mut found);
    found
}

fn collect(command: &Command, name: &str, found: &mut Vec<(String, Command)>) {
    found.push((name.to_owned(), command.clone()));
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        collect(inner, &format!("{name} {}", inner.get_name()), found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_its_page_and_its_place_in_the_document() {
        let pages = pages().unwrap();
        let document = commands_page();
        for (file, command) in [
            ("octavius.1", "octavius"),
            ("octavius-execute.1", "octavius execute"),
            ("octavius-config-use.1", "octavius config use"),
        ] {
            let page = pages.iter().find(|(name, _)| name == file).map(|(_, text)| text.as_str());
            let page = page.unwrap_or_else(|| panic!("no {file}"));
            assert!(page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"), "{page}");
            assert!(document.contains(&format!("\n## {command}\n")), "{document}");
        }
        assert!(!document.contains("supervise"), "a hidden command is shown");
        assert!(document.lines().all(|line| line.chars().count() <= 120), "{document}");
    }
}
