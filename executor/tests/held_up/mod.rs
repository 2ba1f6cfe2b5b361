//! What is seen while somebody is in the middle of something: whoever reads `work.json` is held up there, by a FIFO in
//! its place, until the test lets the text through.

use super::{Machine, suite};
use octavius_executor::runner::{ExitCause, Phase, Runner, Work};
use octavius_protocol::id::{AttemptId, Epoch};
use rustix::fs::{CWD, Mode, OFlags, mkfifoat};
use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// The place of a `work.json` that holds up its readers.
struct Held {
    fifo: PathBuf,
    text: Vec<u8>,
}

impl Held {
    /// Holds up who reads the work of this attempt from now on.
    fn up(machine: &Machine, attempt: AttemptId) -> Self {
        let fifo = machine.folder(attempt).join("work.json");
        let text = fs::read(&fifo).unwrap();
        fs::remove_file(&fifo).unwrap();
        mkfifoat(CWD, &fifo, Mode::RUSR | Mode::WUSR).unwrap();
        Self { fifo, text }
    }

    /// Waits until somebody is held up.
    async fn reader(&self) -> File {
        let deadline = Instant::now() + suite::SOON;
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        loop {
            // That cannot be opened before somebody reads.
            match OpenOptions::new().write(true).custom_flags(flags).open(&self.fifo) {
                Ok(file) => return file,
                Err(error) => assert!(Instant::now() < deadline, "nobody reads: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Lets who is held up go on.
    fn let_go(&self, mut reader: File) {
        reader.write_all(&self.text).unwrap();
    }
}

#[tokio::test]
async fn a_program_is_not_said_to_run_before_it_was_started() {
    let machine = Machine::new();
    let runner = Arc::new(machine.real());
    let (good, bad) = (suite::command(&["sleep", "300"]), suite::command(&["/nowhere/at-all"]));
    for work in [&good, &bad] {
        let attempt = work.attempt;
        runner.prepare(work).await.unwrap();
        let held = Held::up(&machine, attempt);
        let going = tokio::spawn({
            let runner = runner.clone();
            async move { runner.go(attempt, &Default::default()).await }
        });
        let supervisor = held.reader().await;
        held.let_go(supervisor);
        going.await.unwrap().unwrap();
        let program = held.reader().await;
        let phase = runner.wait(attempt, &Phase::Prepared, Duration::ZERO).await.unwrap();
        assert_eq!(
            phase,
            Phase::Starting(String::new()),
            "its process is there, and not the program yet"
        );
        held.let_go(program);
        let phase = runner.wait(attempt, &phase, suite::SOON).await.unwrap();
        if work == &good {
            assert_eq!(phase, Phase::Running);
        } else {
            let Phase::Ended(exit) = phase else { panic!("{phase:?}") };
            assert!(matches!(exit.cause, ExitCause::NotStarted { .. }), "{exit:?}");
        }
        runner.remove(attempt).await.unwrap();
    }
}

#[tokio::test]
async fn a_prepare_that_nobody_waits_for_any_more_still_keeps_others_out() {
    let machine = Machine::new();
    let runner = Arc::new(machine.real());
    let mut first = suite::script(":");
    runner.prepare(&first).await.unwrap();
    let held = Held::up(&machine, first.attempt);
    first.epoch = Epoch(2);
    let second = Work { epoch: Epoch(3), ..first.clone() };
    let prepare = |work: &Work| {
        let (runner, work) = (runner.clone(), work.clone());
        tokio::spawn(async move { runner.prepare(&work).await })
    };
    let given_up = prepare(&first);
    let reader = held.reader().await;
    given_up.abort();
    assert!(given_up.await.unwrap_err().is_cancelled());
    let mut waiting = prepare(&second);
    // Only if it is not kept out this ends; how long it may take decides nothing but whether that is found out.
    let early = tokio::time::timeout(Duration::from_millis(500), &mut waiting).await;
    assert!(early.is_err(), "it was prepared anew while the first was at work: {early:?}");
    held.let_go(reader);
    waiting.await.unwrap().unwrap();
    assert_eq!(runner.look(first.attempt).await.unwrap().work, second, "the older epoch came last");
}
