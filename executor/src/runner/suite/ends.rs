//! How attempts end: by themselves, by their time, by somebody's wish, or before they began.

use super::{
    Place, SOON, check_code, check_log, check_told_to_end, command, ended, log_with, run, script,
    start, whole_log,
};
use crate::runner::{ExitCause, Phase, Runner};
use octavius_protocol::id::AttemptId;
use std::time::Duration;
use tokio::time::Instant;

/// The program's own exit is told as it was.
pub async fn codes_and_signals(place: &dyn Place) {
    let runner = place.open().await;
    for code in [0, 1, 2, 255] {
        let (exit, log) = run(&*runner, &script(&format!("exit {code}"))).await;
        check_code(&exit, code);
        assert!(log.is_empty());
    }
    for signal in [15, 9, 6] {
        let (exit, _) = run(&*runner, &script(&format!("kill -{signal} $$"))).await;
        assert_eq!(exit.cause, ExitCause::Exited);
        // A kind that sees only codes says 128 + signal.
        let told = exit.signal == Some(signal) && exit.code.is_none();
        assert!(told || exit.code == Some(128 + signal), "{exit:?}");
    }
}

/// A command that is not there: the text names it, the system's reason, and what to do.
pub async fn what_cannot_be_started_says_why(place: &dyn Place) {
    let runner = place.open().await;
    let file = place.shared().join("not-executable");
    tokio::fs::write(&file, "#!/bin/sh\n").await.unwrap();
    let folder = place.shared();
    let cases = [
        ("/nowhere/at-all", "no such file", "install it"),
        (file.to_str().unwrap(), "denied", "chmod +x"),
        (folder.to_str().unwrap(), "denied", "is a folder"),
    ];
    for (program, reason, remedy) in cases {
        let (exit, log) = run(&*runner, &command(&[program, "argument"])).await;
        let ExitCause::NotStarted { why, .. } = &exit.cause else { panic!("{exit:?}") };
        assert!(why.contains(program) && why.to_lowercase().contains(reason), "{why}");
        assert!(why.contains(remedy), "{why}");
        assert_eq!((exit.code, exit.signal), (None, None));
        let (log, told) = (String::from_utf8_lossy(&log), format!("[octavius: {why}]\n"));
        assert!(log.is_empty() || log == told, "{log}");
    }
}

/// The text stays short, whatever the command holds.
pub async fn a_name_without_end_is_told_short(place: &dyn Place) {
    let runner = place.open().await;
    let (exit, _) = run(&*runner, &command(&[&"x".repeat(100_000)])).await;
    let ExitCause::NotStarted { why, .. } = &exit.cause else { panic!("{exit:?}") };
    assert!(why.len() < 1024 && why.contains("too long") && why.contains("x…"), "{why}");
}

/// A time limit that leaves a program the time to begin, also on a machine that has other work.
const TO_BEGIN: Duration = Duration::from_secs(6);

/// Its time is up, and it does not care for a terminate's reason.
pub async fn timeout_without_a_handler(place: &dyn Place) {
    let runner = place.open().await;
    let mut work = script("echo begun; sleep 300");
    work.timeout = Some(TO_BEGIN);
    let (exit, log) = run(&*runner, &work).await;
    check_told_to_end(place, &exit, &ExitCause::TimedOut, 128 + 15);
    assert_eq!(log, b"begun\n");
}

/// What it says and how it exits after the terminate is kept; the cause is the time all the same.
pub async fn timeout_with_a_handler(place: &dyn Place) {
    let runner = place.open().await;
    let mut work = script(
        "exec 2>/dev/null; trap 'echo cleaning; sleep 0.3; echo clean; exit 0' TERM; echo begun; while :; do sleep 0.1; done",
    );
    work.timeout = Some(TO_BEGIN);
    work.grace = SOON; // it ends by itself, as late as that may be
    let (exit, log) = run(&*runner, &work).await;
    check_told_to_end(place, &exit, &ExitCause::TimedOut, 0);
    assert_eq!(String::from_utf8_lossy(&log), "begun\ncleaning\nclean\n");
}

/// What ignores the terminate is killed after the grace, not before.
pub async fn stop_terminates_then_kills(place: &dyn Place) {
    let runner = place.open().await;
    let mut work = script(
        "exec 2>/dev/null; trap 'echo ignored' TERM; echo begun; while :; do sleep 0.1; done",
    );
    work.grace = Duration::from_secs(15); // no call that only asks for it takes as long
    start(&*runner, &work).await;
    log_with(&*runner, work.attempt, "begun").await;
    let asked = Instant::now();
    runner.stop(work.attempt).await.unwrap();
    assert!(asked.elapsed() < work.grace, "stop is to return when it is asked for");
    runner.stop(work.attempt).await.unwrap();
    let exit = ended(&*runner, work.attempt).await;
    assert!(asked.elapsed() >= work.grace, "killed before its grace was over");
    check_told_to_end(place, &exit, &ExitCause::Stopped, 128 + 9);
    let log = whole_log(&*runner, work.attempt, 1 << 20).await;
    check_log(&exit, &log);
    assert_eq!(String::from_utf8_lossy(&log), "begun\nignored\n");
}

/// A stop of what has ended changes nothing, whether its end was seen or not.
pub async fn an_exit_before_the_stop_wins(place: &dyn Place) {
    let runner = place.open().await;
    let (exit, _) = run(&*runner, &script("exit 3")).await;
    check_code(&exit, 3);
    for runner in [runner, place.open().await] {
        runner.stop(only(&*runner).await).await.unwrap();
        runner.stop(only(&*runner).await).await.unwrap();
        check_code(&ended(&*runner, only(&*runner).await).await, 3);
    }
}

/// The only attempt that is kept.
async fn only(runner: &dyn Runner) -> AttemptId {
    runner.find().await.unwrap()[0].work.attempt
}

/// A stop does not wait for somebody's next look.
pub async fn stop_is_heard_at_once(place: &dyn Place) {
    let runner = place.open().await;
    let mut work =
        script("exec 2>/dev/null; trap 'exit 0' TERM; echo begun; while :; do sleep 0.1; done");
    work.grace = 2 * SOON; // whoever only hears the kill is too late below
    start(&*runner, &work).await;
    log_with(&*runner, work.attempt, "begun").await;
    runner.stop(work.attempt).await.unwrap();
    let exit = ended(&*runner, work.attempt).await;
    check_told_to_end(place, &exit, &ExitCause::Stopped, 0);
    let again = place.open().await;
    again.stop(work.attempt).await.unwrap();
    assert_eq!(again.look(work.attempt).await.unwrap().phase, Phase::Ended(exit));
}

/// What is stopped by a signal hears the terminate, too.
pub async fn a_stopped_program_is_terminated_too(place: &dyn Place) {
    let runner = place.open().await;
    let mut work = script("trap 'echo heard; exit 4' TERM; echo $$; kill -STOP $$; sleep 300");
    work.grace = SOON; // it ends by itself, as late as that may be
    start(&*runner, &work).await;
    let (pid, _) = log_with(&*runner, work.attempt, "\n").await;
    let deadline = Instant::now() + SOON;
    loop {
        let stat = tokio::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).await.unwrap();
        if stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')) {
            break;
        }
        assert!(Instant::now() < deadline, "it does not stop: {stat}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    runner.stop(work.attempt).await.unwrap();
    let exit = ended(&*runner, work.attempt).await;
    check_told_to_end(place, &exit, &ExitCause::Stopped, 4);
    let log = whole_log(&*runner, work.attempt, 99).await;
    assert_eq!(String::from_utf8_lossy(&log), format!("{pid}heard\n"));
}
