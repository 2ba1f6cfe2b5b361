//! The one place that writes: results to standard output, everything else to standard error.
//!
//! Colour only where a terminal reads, and never with `NO_COLOR`. A log's bytes go out as they are. With a format for
//! programs there is one document, also for an error.

use crate::{
    exit::Failure,
    render::{Shown, Style},
    terminal,
};
use bytes::Bytes;
use clap::ValueEnum;
use jiff::tz::TimeZone;
use octavius_client::{Error, Silence};
use serde_json::Value;
use std::io::{self, IsTerminal, Write};

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For people, with more columns.
    Wide,
    /// Names or ids alone, one a line.
    Name,
    /// One JSON document, also for errors.
    Json,
    /// One YAML document, also for errors.
    Yaml,
}

impl Format {
    /// Whether programs read it.
    pub(crate) fn is_document(self) -> bool {
        matches!(self, Format::Json | Format::Yaml)
    }
}

/// Where a command writes to.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    format: Format,
    style: Style,
    hints: bool,
    /// Whether a program reads an object a line.
    lines: bool,
}

impl Output {
    /// The process's own output, of a command that `follows` something or of one that gives one result.
    pub(crate) fn new(format: Format, follows: bool, utc: bool) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        let colour = !plain && io::stdout().is_terminal();
        let mut style = Style::now(colour, format == Format::Wide);
        style.width = terminal::width();
        if utc {
            style.zone = TimeZone::UTC;
        }
        let lines = follows && format == Format::Json;
        Self { format, style, hints: io::stderr().is_terminal(), lines }
    }

    pub(crate) fn format(&self) -> Format {
        self.format
    }

    pub(crate) fn style(&self) -> &Style {
        &self.style
    }

    /// Writes a result in the format that was asked for.
    pub(crate) fn show(&self, result: &impl Shown) -> Result<(), Failure> {
        let text = match self.format {
            Format::Text | Format::Wide => result.text(&self.style),
            Format::Name => names(result),
            Format::Json | Format::Yaml => return self.document(&result.document()),
        };
        write_out(text.as_bytes())
    }

    /// Writes a page of a list that is no document. `head` is what stands above the columns since it was written last,
    /// empty at first: it is written again where the columns of this page are others.
    pub(crate) async fn page(&self, page: &impl Shown, head: &mut String) -> Result<(), Failure> {
        let text = match self.format {
            Format::Name => names(page),
            _ => below(head, page.text(&self.style)),
        };
        self.bytes(Bytes::from(text)).await
    }

    /// Writes the one document of a command.
    pub(crate) fn document(&self, document: &Value) -> Result<(), Failure> {
        let text = match self.format {
            Format::Yaml => serde_saphyr::to_string(document)
                .map_err(|error| io::Error::other(error.to_string()))?,
            _ => format!("{document:#}\n"),
        };
        write_out(text.as_bytes())
    }

    /// Writes one of many JSON objects, on a line of its own.
    pub(crate) async fn line(&self, object: &Value) -> Result<(), Failure> {
        self.bytes(Bytes::from(format!("{object}\n"))).await
    }

    /// Writes a line for people.
    pub(crate) fn text(&self, line: &str) -> Result<(), Failure> {
        write_out(format!("{line}\n").as_bytes())
    }

    /// Writes bytes as they are. Whoever awaits it can be interrupted while the reader takes its time.
    pub(crate) async fn bytes(&self, bytes: Bytes) -> Result<(), Failure> {
        let written = tokio::task::spawn_blocking(move || write_out(&bytes)).await;
        written.unwrap_or_else(|error| Err(Failure::Terminal(io::Error::other(error))))
    }

    /// Tells people what they should know.
    pub(crate) fn note(&self, text: &str) {
        // Nobody is left to tell where this fails.
        let _ = writeln!(io::stderr().lock(), "octavius: {text}");
    }

    /// Whether people at a terminal hear hints.
    pub(crate) fn hints(&self) -> bool {
        self.hints
    }

    /// Tells people at a terminal how to go on.
    pub(crate) fn hint(&self, text: &str) {
        if self.hints {
            let _ = writeln!(io::stderr().lock(), "{text}");
        }
    }

    /// Tells why a command failed: people on standard error, programs on standard output.
    pub(crate) fn failure(&self, failure: &Failure) {
        if self.format.is_document() {
            let Some(mut document) = failure.document() else { return };
            let _ = if self.lines {
                document["type"] = "error".into();
                write_out(format!("{document}\n").as_bytes())
            } else {
                self.document(&document)
            };
        } else if let Some(text) = failure.text() {
            let _ = writeln!(io::stderr().lock(), "octavius: {text}");
            if let Failure::Client(Error::Unanswered {
                silence: Silence::NoConnection(_), ..
            }) = failure
            {
                self.hint("`octavius dev` runs a controller and an executor on this machine");
            }
        }
    }
}

fn names(result: &impl Shown) -> String {
    result.names().into_iter().map(|name| name + "\n").collect()
}

/// The table without its first line, if that is `head`.
fn below(head: &mut String, table: String) -> String {
    match table.split_once('\n') {
        Some((first, rows)) if first == head => rows.to_owned(),
        Some((first, _)) => {
            first.clone_into(head);
            table
        }
        None => table,
    }
}

fn write_out(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()?;
    Ok(())
}

/// Waits until whoever reads standard output has left. For ever where nobody can leave, such as with a file.
pub(crate) async fn reader_left() {
    use rustix::event::{PollFd, PollFlags, poll};
    let (tell, told) = tokio::sync::oneshot::channel();
    // A thread that is not joined: it ends with the process at the latest.
    std::thread::spawn(move || {
        let out = io::stdout();
        let mut watched = [PollFd::new(&out, PollFlags::empty())];
        let gone = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
        while !watched[0].revents().intersects(gone) {
            match poll(&mut watched, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
        let _ = tell.send(());
    });
    if told.await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_a_table_is_written_again_where_its_columns_are_others() {
        let mut head = String::new();
        let pages = ["ID  JOB\na   b\n", "ID  JOB\nc   d\n", "ID    JOB\neee   f\n", ""];
        let written = pages.map(|page| below(&mut head, page.to_owned()));
        assert_eq!(written, [pages[0], "c   d\n", pages[2], ""]);
    }
}
