//! What a program starts, and what is left of it.

use super::{
    Place, SOON, Work, check_code, check_log, ended, gone, log_with, run, script, start, unique,
    whole_log,
};
use crate::runner::{ExitCause, Phase, Runner, RunnerError};
use std::time::Duration;
use tokio::time::Instant;

/// The most time that an end may take once the program itself has ended; a cluster tells it late. It is less than any
/// child goes on for, and than any limit.
const PROMPT: Duration = Duration::from_secs(30);

/// A child that goes on for long, recognised by its name.
fn long(marker: &str) -> String {
    format!("sh -c 'sleep 300; echo late' {marker}")
}

/// Runs what says nothing but `done`, and ends then: that is told soon, whatever its children do.
async fn ends_once_done(runner: &dyn Runner, work: &Work) {
    start(runner, work).await;
    log_with(runner, work.attempt, "done").await;
    let done = Instant::now();
    let exit = ended(runner, work.attempt).await;
    assert!(done.elapsed() < PROMPT, "it took {:?}", done.elapsed());
    check_code(&exit, 0);
    let log = whole_log(runner, work.attempt, 1 << 20).await;
    check_log(&exit, &log);
    assert_eq!(String::from_utf8_lossy(&log), "done\n");
}

/// The program is over when it is, not when its last child closes the output.
pub async fn children_that_hold_the_output(place: &dyn Place) {
    let (runner, marker) = (place.open().await, unique());
    ends_once_done(&*runner, &script(&format!("({}) & echo done", long(&marker)))).await;
    assert_eq!(place.running_with(&marker).await, Vec::<String>::new());
    let plain = script("(sleep 300; echo late) & echo done");
    assert_eq!(run(&*runner, &plain).await.1, b"done\n");
    assert_eq!(
        place.running_with(&plain.attempt.execution.to_string()).await,
        Vec::<String>::new()
    );
}

/// A cancel ends the children and their children, also for a fresh runner.
pub async fn cancel_ends_all_children(place: &dyn Place) {
    let (runner, marker) = (place.open().await, unique());
    let text = format!("sh -c 'sh -c \"while :; do echo x; sleep 0.2; done\" {marker}' & wait");
    let work = script(&text);
    start(&*runner, &work).await;
    log_with(&*runner, work.attempt, "x\nx\n").await;
    assert!(!place.running_with(&marker).await.is_empty(), "the test does not see what runs");
    drop(runner);
    let runner = place.open().await;
    runner.stop(work.attempt).await.unwrap();
    assert_eq!(ended(&*runner, work.attempt).await.cause, ExitCause::Stopped);
    assert_eq!(place.running_with(&marker).await, Vec::<String>::new());
}

/// A session of its own does not save a child.
pub async fn children_in_a_session_of_their_own(place: &dyn Place) {
    let (runner, marker) = (place.open().await, unique());
    let text = format!("setsid {} & sleep 0.2; echo done", long(&marker));
    ends_once_done(&*runner, &script(&text)).await;
    assert_eq!(place.running_with(&marker).await, Vec::<String>::new());
}

/// A program that closes its output goes on.
pub async fn closed_output_is_not_the_end(place: &dyn Place) {
    let runner = place.open().await;
    for closing in ["exec >&-", "exec >&- 2>&-"] {
        let begun = Instant::now();
        let (exit, log) =
            run(&*runner, &script(&format!("echo a; {closing}; sleep 1; exit 2"))).await;
        assert!(begun.elapsed() >= Duration::from_secs(1));
        check_code(&exit, 2);
        assert_eq!(String::from_utf8_lossy(&log), "a\n");
    }
}

/// What outlives the program hears a terminate first, and may say a last word.
pub async fn children_are_terminated_before_they_are_killed(place: &dyn Place) {
    let runner = place.open().await;
    let ready = place.shared().join(unique());
    // What is left has half a second, which a busy machine may not give to one of them: there are several.
    let child = "trap \"echo bye; exit\" TERM; : > $0; while :; do sleep 0.05; done";
    let text = format!(
        "exec 2>/dev/null; for i in 1 2 3 4; do setsid sh -c '{child}' {0}-$i & done; \
         for i in 1 2 3 4; do until [ -e {0}-$i ]; do sleep 0.05; done; done; echo done",
        ready.display()
    );
    let (exit, log) = run(&*runner, &script(&text)).await;
    check_code(&exit, 0);
    let log = String::from_utf8(log).unwrap();
    let last_words = log.strip_prefix("done\n").unwrap_or_default();
    assert!(!last_words.is_empty() && last_words.lines().all(|line| line == "bye"), "{log}");
}

/// What ignores a terminate, hides in sessions and starts again is killed as well.
pub async fn children_that_ignore_a_terminate(place: &dyn Place) {
    let (runner, marker) = (place.open().await, unique());
    let stubborn = format!(
        "trap '' TERM HUP INT; while :; do setsid sh -c 'trap \"\" TERM; sleep 300; :' {marker} & sleep 0.1; done"
    );
    let quoted = stubborn.replace('\'', "'\\''");
    let work = script(&format!("setsid sh -c '{quoted}' {marker} & sleep 0.5; echo done"));
    ends_once_done(&*runner, &work).await;
    assert_eq!(place.running_with(&marker).await, Vec::<String>::new());
}

/// Removing ends first what runs, without its grace.
pub async fn remove_ends_what_runs(place: &dyn Place) {
    let (runner, marker) = (place.open().await, unique());
    let text =
        format!("trap '' TERM; setsid {} & echo begun; while :; do sleep 1; done", long(&marker));
    let work = Work { grace: Duration::from_secs(300), ..script(&text) };
    start(&*runner, &work).await;
    log_with(&*runner, work.attempt, "begun").await;
    runner.remove(work.attempt).await.unwrap();
    let of_attempt = work.attempt.execution.to_string();
    assert_eq!(place.running_with(&of_attempt).await, Vec::<String>::new());
    assert_eq!(place.running_with(&marker).await, Vec::<String>::new());
    let looked = runner.look(work.attempt).await;
    assert!(matches!(looked, Err(RunnerError::Unknown(_))), "{looked:?}");
}

/// In every phase; again and again; and whatever permissions a program left behind.
pub async fn removed_is_gone(place: &dyn Place) {
    let runner = place.open().await;
    let prepared = script(":");
    runner.prepare(&prepared).await.unwrap();
    let ended = script("mkdir -p a/b; echo x > a/b/c; chmod 500 a/b a");
    run(&*runner, &ended).await;
    for attempt in [prepared.attempt, ended.attempt] {
        runner.remove(attempt).await.unwrap();
        runner.remove(attempt).await.unwrap();
        let gone = runner.go(attempt, &Default::default()).await;
        assert!(matches!(gone, Err(RunnerError::Unknown(_))), "{gone:?}");
    }
    assert_eq!(place.open().await.find().await.unwrap(), []);
}

/// P2 and P3: nobody can say how it ended, so nobody says so; it is never run again; its program does not go on.
pub async fn a_lost_keeper_is_told(place: &dyn Place) {
    let (runner, marker) = (place.open().await, unique());
    let file = place.shared().join(&marker);
    let text = format!("echo ran >> {}; echo begun; while :; do sleep 0.1; done", file.display());
    let work = script(&text);
    start(&*runner, &work).await;
    log_with(&*runner, work.attempt, "begun").await;
    place.destroy_keeper(work.attempt).await;
    let phase = runner.wait(work.attempt, &Phase::Running, SOON).await.unwrap();
    assert!(matches!(phase, Phase::Vanished(_)), "{phase:?}");
    gone(place, &marker).await;
    for runner in [runner, place.open().await] {
        runner.go(work.attempt, &Default::default()).await.unwrap();
        runner.prepare(&work).await.unwrap();
        runner.go(work.attempt, &Default::default()).await.unwrap();
        runner.stop(work.attempt).await.unwrap();
        let phase = runner.look(work.attempt).await.unwrap().phase;
        assert!(matches!(phase, Phase::Vanished(_)), "{phase:?}");
        assert_eq!(whole_log(&*runner, work.attempt, 99).await, b"begun\n");
        let asked = Instant::now();
        let cursor = bytes::Bytes::from_static(b"6");
        let rest = runner.follow(work.attempt, &cursor, 99, SOON).await.unwrap();
        assert!(rest.is_none() && asked.elapsed() < PROMPT, "a follower was kept");
    }
    assert_eq!(tokio::fs::read_to_string(&file).await.unwrap(), "ran\n");
}

/// What a program had started and its keeper cannot end any more goes at the latest when the attempt is removed.
pub async fn what_a_lost_keeper_left_is_removed(place: &dyn Place) {
    let (runner, marker) = (place.open().await, unique());
    let text = format!("setsid {} & sleep 0.2; echo begun; wait", long(&marker));
    let work = script(&text);
    start(&*runner, &work).await;
    log_with(&*runner, work.attempt, "begun").await;
    place.destroy_keeper(work.attempt).await;
    let phase = runner.wait(work.attempt, &Phase::Running, SOON).await.unwrap();
    assert!(matches!(phase, Phase::Vanished(_)), "{phase:?}");
    runner.remove(work.attempt).await.unwrap();
    gone(place, &marker).await;
    assert_eq!(runner.find().await.unwrap(), []);
}
