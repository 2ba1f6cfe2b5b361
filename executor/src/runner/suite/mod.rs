//! The conformance suite: what every kind of runner must do, tried on the real thing.
//!
//! A kind brings a [`Place`] and calls [`runner_conformance!`](crate::runner_conformance), which makes a test of each
//! case. The cases use `sh` and the small programs of any Unix, and a folder that programs and test both see.
//!
//! Only in builds for tests: a case that fails panics.

// What is here are tests, though not in the eyes of the lint.
#![allow(clippy::unwrap_used)]

pub mod ends;
pub mod hidden;
pub mod logs;
pub mod masking;
pub mod phases;
pub mod processes;

use super::{Exit, ExitCause, ExitLog, LogPiece, Phase, Runner, RunnerError, Work};
use async_trait::async_trait;
use bytes::Bytes;
use crc::{CRC_64_XZ, Crc};
use octavius_protocol::{
    id::{AttemptId, AttemptNumber, Epoch, ExecutionId},
    secret::SecretValues,
};
use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc, time::Duration};
use tokio::time::Instant;
use uuid::Uuid;

/// Any wait for something that should happen soon.
pub const SOON: Duration = Duration::from_secs(90);

/// Where a runner is tried.
#[async_trait]
pub trait Place: Send + Sync {
    /// The runner on what this place keeps. Each call is a fresh start; earlier ones may have been dropped or not.
    async fn open(&self) -> Arc<dyn Runner>;

    /// Destroys, from outside, what keeps this attempt: a runner must find it `Vanished`.
    async fn destroy_keeper(&self, attempt: AttemptId);

    /// All that is kept of an attempt on disk, as bytes.
    fn kept(&self, attempt: AttemptId) -> Vec<u8>;

    /// A folder that the programs see by the same path.
    fn shared(&self) -> PathBuf;

    /// What runs with this text in its command line or environment, in words.
    async fn running_with(&self, text: &str) -> Vec<String>;

    /// Why a case does not apply here; none: it does.
    fn left_out(&self, _case: &str) -> Option<&'static str> {
        None
    }

    /// Whether it may be lost here with which code a program ended that was told to end.
    fn may_lose_codes(&self) -> bool {
        false
    }

    /// Variables that are in the environment of every program beside the job's and our own four.
    fn ambient_variables(&self) -> Vec<&'static str>;
}

/// Work for a shell script, with a minute to run and two seconds of grace.
pub fn script(script: &str) -> Work {
    command(&["sh", "-c", script])
}

/// Work for a command, with a minute to run and two seconds of grace.
pub fn command(command: &[&str]) -> Work {
    Work {
        attempt: AttemptId {
            execution: ExecutionId::from(Uuid::new_v4()),
            attempt: AttemptNumber(1),
        },
        epoch: Epoch(1),
        job: "conformance".to_owned(),
        user: "ada@example.org".to_owned(),
        image_name: "busybox".to_owned(),
        command: command.iter().map(|&word| word.to_owned()).collect(),
        arguments: BTreeMap::new(),
        secrets: Some(SecretValues::default()),
        timeout: Some(Duration::from_secs(60)),
        grace: Duration::from_secs(2),
        stop_if_unheard: None,
        namespace: None,
        resources: super::Resources::default(),
        template: String::new(),
        start_timeout: None,
        installation: String::new(),
    }
}

/// Prepares it and lets it go.
pub async fn start(runner: &dyn Runner, work: &Work) {
    runner.prepare(work).await.unwrap();
    let secrets = work.secrets.clone().unwrap_or_default();
    runner.go(work.attempt, &secrets).await.unwrap();
}

/// Waits for its end.
pub async fn ended(runner: &dyn Runner, attempt: AttemptId) -> Exit {
    let deadline = Instant::now() + SOON;
    let mut phase = runner.look(attempt).await.unwrap().phase;
    loop {
        match phase {
            Phase::Ended(exit) => return exit,
            phase if Instant::now() >= deadline => {
                panic!("{attempt} has not ended, it is {phase:?}")
            }
            seen => phase = runner.wait(attempt, &seen, Duration::from_secs(1)).await.unwrap(),
        }
    }
}

/// Runs it from the beginning to the end: how it ended, and its log.
pub async fn run(runner: &dyn Runner, work: &Work) -> (Exit, Vec<u8>) {
    start(runner, work).await;
    let (exit, log) = tokio::join!(ended(runner, work.attempt), log_along(runner, work.attempt));
    check_log(&exit, &log);
    (exit, log)
}

/// The log of an attempt, read as it is written.
async fn log_along(runner: &dyn Runner, attempt: AttemptId) -> Vec<u8> {
    let (mut log, mut cursor) = (Vec::new(), Bytes::new());
    loop {
        // In this order: what is over before a look at the log is over with all of its log.
        let phase = runner.look(attempt).await.unwrap().phase;
        match runner.follow(attempt, &cursor, 1 << 20, Duration::from_millis(500)).await {
            Ok(Some(piece)) => {
                log.extend(piece.chunks.iter().flat_map(|(_, bytes)| bytes));
                cursor = piece.cursor;
            }
            Ok(None) if matches!(phase, Phase::Ended(_)) => return log,
            Ok(None) | Err(RunnerError::Failed { .. }) => {}
            Err(error) => panic!("{} bytes were read: {error}", log.len()),
        }
    }
}

/// The log of an attempt that has ended, read in pieces of `most` bytes.
pub async fn whole_log(runner: &dyn Runner, attempt: AttemptId, most: usize) -> Vec<u8> {
    let (mut log, mut cursor) = (Vec::new(), Bytes::new());
    let deadline = Instant::now() + SOON;
    loop {
        let piece = match runner.follow(attempt, &cursor, most, Duration::from_secs(1)).await {
            Ok(Some(piece)) => piece,
            Ok(None) => return log,
            // What comes from elsewhere may take a moment.
            Err(RunnerError::Failed { .. }) if Instant::now() < deadline => continue,
            Err(error) => panic!("{} bytes were read: {error}", log.len()),
        };
        assert_eq!(piece.offset, log.len() as u64);
        let before = log.len();
        log.extend(piece.chunks.iter().flat_map(|(_, bytes)| bytes));
        assert!((1..=most).contains(&(log.len() - before)), "{} bytes", log.len() - before);
        assert!(piece.cursor.len() <= 256);
        cursor = piece.cursor;
    }
}

/// The next piece of the log of an attempt that has ended, as soon as it can be read.
pub async fn next_piece(
    runner: &dyn Runner,
    attempt: AttemptId,
    cursor: &Bytes,
    most: usize,
) -> Option<LogPiece> {
    let deadline = Instant::now() + SOON;
    loop {
        match runner.follow(attempt, cursor, most, Duration::from_secs(1)).await {
            Err(RunnerError::Failed { .. }) if Instant::now() < deadline => {}
            piece => return piece.unwrap(),
        }
    }
}

/// Reads what is there of a running attempt's log until it holds `text`.
pub async fn log_with(runner: &dyn Runner, attempt: AttemptId, text: &str) -> (String, Bytes) {
    let deadline = Instant::now() + SOON;
    let (mut log, mut cursor) = (String::new(), Bytes::new());
    while !log.contains(text) {
        assert!(Instant::now() < deadline, "no {text:?} in the log: {log:?}");
        let piece = match runner.follow(attempt, &cursor, 1 << 20, Duration::from_secs(1)).await {
            Ok(Some(piece)) => piece,
            // What comes from elsewhere may take a moment.
            Ok(None) | Err(RunnerError::Failed { .. }) => continue,
            Err(error) => panic!("{error} behind {log:?}"),
        };
        for (_, bytes) in &piece.chunks {
            log.push_str(&String::from_utf8_lossy(bytes));
        }
        cursor = piece.cursor;
    }
    (log, cursor)
}

/// The exit says size and checksum of just this log, if it says any.
pub fn check_log(exit: &Exit, log: &[u8]) {
    if let ExitLog::Whole { size, crc, .. } = &exit.log {
        assert_eq!(*size, log.len() as u64);
        assert_eq!(*crc, Crc::<u64>::new(&CRC_64_XZ).checksum(log));
    }
}

/// It ended by itself, with this code, and nothing is missing from its log.
pub fn check_code(exit: &Exit, code: i32) {
    let cut = match &exit.log {
        ExitLog::Whole { cut, .. } => cut,
        ExitLog::Followed => "",
    };
    let seen = (&exit.cause, exit.code, exit.signal, cut);
    assert_eq!(seen, (&ExitCause::Exited, Some(code), None, ""));
}

/// It ended because it was told to, for this cause and with this code; 128 and more: by that signal.
pub fn check_told_to_end(place: &dyn Place, exit: &Exit, cause: &ExitCause, code: i32) {
    assert_eq!(exit.cause, *cause, "{exit:?}");
    let is_lost = place.may_lose_codes() && exit.code.is_none() && exit.signal.is_none();
    assert!(is_lost || exit.code == Some(code) || exit.signal == Some(code - 128), "{exit:?}");
}

/// Waits until nothing with this text runs any more.
pub async fn gone(place: &dyn Place, text: &str) {
    let deadline = Instant::now() + SOON;
    loop {
        let running = place.running_with(text).await;
        if running.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "still runs: {running:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What runs on this machine with this text in its command line or environment, in words; but for what is `left_out` by
/// its command line, whose words end with a NUL each.
pub fn running_here(text: &str, left_out: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let read = |name: &str| {
            let bytes = fs::read(entry.path().join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        // In this order: what takes the place of another program meanwhile is known by its own line.
        let (environment, line) = (read("environ"), read("cmdline"));
        let zombie = read("stat").rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'));
        let dead = zombie || line.is_empty();
        let is_number = entry.file_name().to_string_lossy().parse::<u32>().is_ok();
        let has = line.contains(text) || environment.contains(text);
        if is_number && !dead && has && !left_out(&line) {
            found.push(format!("{} {}", entry.file_name().display(), line.replace('\0', " ")));
        }
    }
    found
}

/// A text that is nowhere else on this machine.
pub fn unique() -> String {
    format!("marker{}", Uuid::new_v4().simple())
}

/// Makes a test of each case of the suite. The argument makes the [`Place`]; it is evaluated in each test.
#[macro_export]
macro_rules! runner_conformance {
    ($place:expr) => {
        $crate::runner_conformance! { $place;
            ends: codes_and_signals, what_cannot_be_started_says_why,
                a_name_without_end_is_told_short, timeout_without_a_handler,
                timeout_with_a_handler, stop_terminates_then_kills, an_exit_before_the_stop_wins,
                stop_is_heard_at_once, a_stopped_program_is_terminated_too;
            hidden: secrets_arrive_byte_for_byte_and_lie_nowhere, who_has_lost_the_secrets_says_so;
            masking: what_a_program_prints_of_a_secret_is_masked;
            logs: bytes_are_kept_as_written, much_and_fast, both_outputs_in_their_order,
                arguments_arrive_byte_for_byte, the_environment_is_clean, a_working_folder_of_its_own,
                resumes_at_any_cursor, a_follower_waits_and_learns_the_end, times_are_those_of_writing,
                a_cursor_of_somebody_else;
            phases: what_was_never_made_is_unknown, prepare_again_finds_it, go_runs_it_once,
                stop_before_go_never_runs_it, a_restart_between_any_two_steps, find_tells_all,
                wait_ends_in_time, nonsense_is_refused;
            processes: children_that_hold_the_output, cancel_ends_all_children,
                children_in_a_session_of_their_own, closed_output_is_not_the_end,
                children_are_terminated_before_they_are_killed,
                children_that_ignore_a_terminate, remove_ends_what_runs, removed_is_gone,
                a_lost_keeper_is_told, what_a_lost_keeper_left_is_removed;
        }
    };
    ($place:expr; $($file:ident: $($case:ident),+;)+) => {
        $(mod $file {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let place = $place;
                    if let Some(why) = $crate::runner::suite::Place::left_out(&place, stringify!($case)) {
                        eprintln!("left out: {why}");
                        return;
                    }
                    $crate::runner::suite::$file::$case(&place).await;
                }
            )+
        })+
    };
}
