//! Tries very many inputs on each parser and decoder that faces the network or a user's file, and on the masker: the
//! properties of the tests, with more cases than a run of the tests has the time for.

use crate::steps::program;
use anyhow::{Context as _, Result, bail};
use clap::Args;
use std::{path::Path, process::Command, time::Duration};
use tokio::time::Instant;

/// What faces whom, and the property that is tried on it. Each has to hold for any input, and no input ends the program.
const FACED: [(&str, &str); 31] = [
    ("ids and names", "id::tests::no_text_breaks_the_reader"),
    ("addresses of controllers", "reach::address::tests::no_text_breaks_the_reader"),
    ("times of people", "duration::tests::no_text_breaks_the_reader"),
    ("job definitions", "definition::tests::no_text_breaks_the_reader"),
    (
        "job definitions, shown and read",
        "definition::tests::what_is_shown_of_a_job_is_read_as_the_same_job",
    ),
    ("files of values", "values::tests::no_text_breaks_the_reader"),
    ("the client's file", "settings::tests::no_text_breaks_the_reader"),
    ("the command line", "cli::tests::any_value_survives_the_command_line"),
    ("text of others at a terminal", "render::text::tests::no_text_steers_the_terminal"),
    ("logs at a terminal", "log::tests::any_log_survives_its_lines"),
    ("both servers' files", "configuration::tests::no_file_breaks_the_reader"),
    (
        "every call of the protocol",
        "hostile::whatever_bytes_come_in_a_call_are_answered_and_harm_nobody",
    ),
    (
        "times of the protocol",
        "grpc::convert::time::tests::no_span_and_no_point_in_time_makes_us_panic",
    ),
    ("page tokens", "job_queue::rules::wanted::tests::no_text_breaks_the_reader"),
    ("values of arguments", "registry::rules::value::tests::no_value_breaks_a_check"),
    ("tokens", "access::token::tests::whatever_is_shown_is_read_or_refused"),
    (
        "tokens, changed",
        "access::token::tests::a_token_of_which_a_character_is_another_proves_nothing",
    ),
    ("identity tokens", "access::issuer::tests::whatever_is_shown_is_refused_or_read"),
    (
        "claims of identity tokens",
        "access::issuer::claims::tests::whatever_is_claimed_is_read_or_refused",
    ),
    ("keys of issuers", "access::issuer::keys::tests::whatever_is_published_is_read_or_refused"),
    ("segments of logs", "log_store::segment::tests::no_bytes_break_the_reader"),
    ("sealed values", "vault::envelope::tests::what_is_damaged_does_not_open"),
    ("logs of the API server", "runner::kubernetes::log::decode::tests::no_bytes_break_the_reader"),
    (
        "logs of the API server, whole",
        "runner::kubernetes::log::decode::tests::what_was_written_comes_out_whatever_it_is",
    ),
    (
        "stamps of the API server",
        "runner::kubernetes::log::stamp::tests::no_bytes_break_the_reader",
    ),
    (
        "words for the API server",
        "runner::kubernetes::object::escape::tests::what_is_escaped_arrives_as_it_was",
    ),
    ("cursors of logs", "mask::place::tests::no_bytes_break_the_reader"),
    (
        "the masker, in any pieces",
        "mask::follow::tests::over_any_chunking_and_from_any_cursor_the_masked_log_is_the_same",
    ),
    ("the masker, in any form", "mask::follow::tests::no_form_of_a_value_is_left"),
    ("the masker, without values", "mask::follow::tests::a_log_without_values_is_untouched"),
    ("the masker, base64", "mask::forms::tests::base64_holds_the_form_wherever_the_value_stands"),
];
/// How many inputs are tried first of each, to see how long they take.
const FIRST: u32 = 500;
/// For how long one run of a property goes on, about.
const RUN: Duration = Duration::from_secs(60);

/// Tries very many inputs on all that faces others.
#[derive(Args, Debug)]
pub(crate) struct Fuzz {
    /// For how many minutes in all
    #[arg(long, default_value_t = 60)]
    minutes: u32,
    /// Only on what has one of these words in its name
    words: Vec<String>,
}

impl Fuzz {
    pub(crate) fn run(&self, root: &Path) -> Result<()> {
        cargo_test(root, &["--no-run"], 0)?;
        let is_meant = |(what, property): &&(&str, &str)| {
            let has = |word: &String| what.contains(word) || property.contains(word);
            self.words.is_empty() || self.words.iter().any(has)
        };
        let meant: Vec<_> = FACED.iter().filter(is_meant).collect();
        let count = u32::try_from(meant.len().max(1))?;
        let share = Duration::from_secs(u64::from(self.minutes) * 60) / count;
        let (mut all, began) = (0, Instant::now());
        println!("| what | property | inputs | time |\n| --- | --- | --- | --- |");
        for (what, property) in meant {
            let (tried, took) = tried(root, property, share).with_context(|| (*what).to_owned())?;
            println!("| {what} | `{property}` | {tried} | {:.0} s |", took.as_secs_f64());
            all += tried;
        }
        println!("\n{all} inputs in {:.0} s, and none was wrong", began.elapsed().as_secs_f64());
        Ok(())
    }
}

/// Tries a property for so long, and says of how many inputs it held.
fn tried(root: &Path, property: &str, share: Duration) -> Result<(u64, Duration)> {
    let (began, mut tried, mut cases) = (Instant::now(), 0, FIRST);
    loop {
        let run = Instant::now();
        let binaries = cargo_test(root, &["--", "--exact", property], cases)?;
        if binaries == 0 {
            bail!("there is no test `{property}`");
        }
        tried += u64::from(cases) * binaries;
        let left = share.saturating_sub(began.elapsed());
        if left.is_zero() {
            return Ok((tried, began.elapsed()));
        }
        // As many as fit into what is left, as far as the last run tells; its start is in it, so that it grows by steps.
        let growth = left.min(RUN).as_secs_f64() / run.elapsed().as_secs_f64().max(0.1);
        cases = (f64::from(cases) * growth.clamp(0.01, 20.0)) as u32;
        cases = cases.max(FIRST);
    }
}

/// Runs tests of the whole workspace with so many cases for each property. In how many binaries there was one.
fn cargo_test(root: &Path, arguments: &[&str], cases: u32) -> Result<u64> {
    let mut cargo = Command::new(program());
    cargo.args(["test", "--workspace", "--locked", "--tests", "--no-fail-fast"]).args(arguments);
    cargo.env("PROPTEST_CASES", cases.to_string()).current_dir(root);
    let ran = cargo.output().context("cargo cannot be started")?;
    let said = String::from_utf8_lossy(&ran.stdout);
    if !ran.status.success() {
        bail!("{said}\n{}", String::from_utf8_lossy(&ran.stderr));
    }
    Ok(said.matches("test result: ok. 1 passed").count() as u64)
}
