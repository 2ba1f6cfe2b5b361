//! Prepare, go, stop and restart, in every order.

use super::{
    Place, check_code, check_log, command, ended, log_with, next_piece, run, script, start, unique,
    whole_log,
};
use crate::runner::{ExitCause, ExitLog, Phase, RunnerError};
use octavius_protocol::id::{AttemptNumber, Epoch};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::Instant;

/// A script that leaves a line in a file each time that it runs.
fn counted(place: &dyn Place, then: &str) -> (super::Work, PathBuf) {
    let file = place.shared().join(unique());
    (script(&format!("echo ran >> {}; {then}", file.display())), file)
}

async fn runs(file: &Path) -> usize {
    tokio::fs::read_to_string(file).await.map_or(0, |text| text.lines().count())
}

/// Only `remove` is content with nothing.
pub async fn what_was_never_made_is_unknown(place: &dyn Place) {
    let runner = place.open().await;
    let attempt = script(":").attempt;
    let phase = Phase::Prepared;
    let unknown = [
        runner.look(attempt).await.map(|_| ()),
        runner.go(attempt, &Default::default()).await,
        runner.wait(attempt, &phase, Duration::ZERO).await.map(|_| ()),
        runner.stop(attempt).await,
        runner.follow(attempt, &bytes::Bytes::new(), 1, Duration::ZERO).await.map(|_| ()),
    ];
    for answer in unknown {
        assert!(
            matches!(answer, Err(RunnerError::Unknown(named)) if named == attempt),
            "{answer:?}"
        );
    }
    runner.remove(attempt).await.unwrap();
    assert_eq!(runner.find().await.unwrap(), []);
}

/// P2: what is made is made once, and keeps its name; the newer epoch stays, an older one is refused.
pub async fn prepare_again_finds_it(place: &dyn Place) {
    let runner = place.open().await;
    let (work, file) = counted(place, ":");
    let identity = runner.prepare(&work).await.unwrap();
    assert_eq!(runner.prepare(&work).await.unwrap(), identity);
    let newer = super::Work { epoch: Epoch(5), ..work.clone() };
    assert_eq!(place.open().await.prepare(&newer).await.unwrap(), identity);
    assert_eq!(runner.look(work.attempt).await.unwrap().work, newer);
    let refused = runner.prepare(&work).await.unwrap_err();
    assert!(
        matches!(&refused, RunnerError::Refused(text) if text.contains("epoch 5")),
        "{refused}"
    );
    assert_eq!(runner.look(work.attempt).await.unwrap().phase, Phase::Prepared);
    assert_eq!(runs(&file).await, 0, "prepare let it run");

    let other = super::Work { attempt: script("").attempt, ..work.clone() };
    let both = tokio::join!(runner.prepare(&other), runner.prepare(&other));
    assert_eq!(both.0.unwrap(), both.1.unwrap());
    assert_ne!(runner.look(other.attempt).await.unwrap().identity, identity);
    start(&*runner, &newer).await;
    ended(&*runner, work.attempt).await;
    assert_eq!(runner.prepare(&newer).await.unwrap(), identity, "also of what has ended");
    assert_eq!(runs(&file).await, 1);
}

/// P2: at most once, however often and by however many it is let go.
pub async fn go_runs_it_once(place: &dyn Place) {
    let (one, other) = (place.open().await, place.open().await);
    let (work, file) = counted(place, "sleep 0.5");
    one.prepare(&work).await.unwrap();
    let none = Default::default();
    let (a, b, c, d) = tokio::join!(
        one.go(work.attempt, &none),
        other.go(work.attempt, &none),
        one.go(work.attempt, &none),
        other.go(work.attempt, &none)
    );
    for answer in [a, b, c, d] {
        answer.unwrap();
    }
    other.go(work.attempt, &Default::default()).await.unwrap();
    check_code(&ended(&*one, work.attempt).await, 0);
    one.go(work.attempt, &Default::default()).await.unwrap();
    place.open().await.go(work.attempt, &Default::default()).await.unwrap();
    check_code(&ended(&*other, work.attempt).await, 0);
    assert_eq!(runs(&file).await, 1);
}

/// What did not go ends at once, and can never run.
pub async fn stop_before_go_never_runs_it(place: &dyn Place) {
    let runner = place.open().await;
    let (work, file) = counted(place, ":");
    runner.prepare(&work).await.unwrap();
    runner.stop(work.attempt).await.unwrap();
    let exit = ended(&*runner, work.attempt).await;
    assert_eq!((&exit.cause, exit.code, &exit.log), (&ExitCause::Stopped, None, &ExitLog::NOTHING));
    check_log(&exit, b"");
    for runner in [runner, place.open().await] {
        runner.go(work.attempt, &Default::default()).await.unwrap();
        runner.prepare(&work).await.unwrap();
        runner.go(work.attempt, &Default::default()).await.unwrap();
        assert_eq!(runner.look(work.attempt).await.unwrap().phase, Phase::Ended(exit.clone()));
    }
    assert_eq!(runs(&file).await, 0);
}

/// P3: a fresh runner goes on wherever the one before stopped.
pub async fn a_restart_between_any_two_steps(place: &dyn Place) {
    let gate = place.shared().join(unique());
    let wait =
        format!("echo begun; while [ ! -e {} ]; do sleep 0.05; done; echo done", gate.display());
    let (work, file) = counted(place, &wait);
    let identity = place.open().await.prepare(&work).await.unwrap();
    let found = place.open().await.find().await.unwrap();
    assert_eq!((&found[0].work, &found[0].identity), (&work, &identity));
    assert_eq!(found[0].phase, Phase::Prepared);
    place.open().await.go(work.attempt, &Default::default()).await.unwrap();
    let (log, cursor) = log_with(&*place.open().await, work.attempt, "begun").await;
    assert_eq!(log, "begun\n");
    let found = place.open().await.find().await.unwrap();
    assert_eq!((&found[0].identity, &found[0].phase), (&identity, &Phase::Running));
    tokio::fs::write(&gate, "").await.unwrap();
    let exit = ended(&*place.open().await, work.attempt).await;
    check_code(&exit, 0);
    let rest = next_piece(&*place.open().await, work.attempt, &cursor, 99).await;
    assert_eq!(rest.unwrap().chunks[0].1, "done\n");
    check_log(&exit, &whole_log(&*place.open().await, work.attempt, 99).await);
    place.open().await.remove(work.attempt).await.unwrap();
    assert_eq!(place.open().await.find().await.unwrap(), []);
    assert_eq!(runs(&file).await, 1);
}

/// All that is kept, in whatever phase, and another attempt of the same execution is another.
pub async fn find_tells_all(place: &dyn Place) {
    let runner = place.open().await;
    let prepared = script(":");
    let mut ended = script("exit 7");
    ended.attempt.execution = prepared.attempt.execution;
    ended.attempt.attempt = AttemptNumber(2);
    let running = script("echo begun; sleep 300");
    runner.prepare(&prepared).await.unwrap();
    let (exit, _) = run(&*runner, &ended).await;
    check_code(&exit, 7);
    start(&*runner, &running).await;
    log_with(&*runner, running.attempt, "begun").await;
    let mut found: Vec<_> = place.open().await.find().await.unwrap();
    found.sort_unstable_by_key(|found| found.work.attempt);
    let mut expected = [
        (prepared, Phase::Prepared),
        (ended, Phase::Ended(exit)),
        (running.clone(), Phase::Running),
    ];
    expected.sort_unstable_by_key(|(work, _)| work.attempt);
    let found: Vec<_> = found.into_iter().map(|found| (found.work, found.phase)).collect();
    assert_eq!(found, expected);
    runner.remove(running.attempt).await.unwrap();
}

/// A wait returns at the change, or when its time is up.
pub async fn wait_ends_in_time(place: &dyn Place) {
    let runner = place.open().await;
    let gate = place.shared().join(unique());
    let work = script(&format!("until [ -e {} ]; do sleep 0.05; done", gate.display()));
    runner.prepare(&work).await.unwrap();
    let asked = Instant::now();
    let phase = runner.wait(work.attempt, &Phase::Prepared, Duration::from_millis(300)).await;
    assert_eq!(phase.unwrap(), Phase::Prepared);
    assert!(asked.elapsed() >= Duration::from_millis(300));
    let none = Default::default();
    let (phase, gone) = tokio::join!(
        runner.wait(work.attempt, &Phase::Prepared, super::SOON),
        runner.go(work.attempt, &none)
    );
    gone.unwrap();
    assert!(matches!(phase.unwrap(), Phase::Starting(_) | Phase::Running));
    tokio::fs::write(&gate, "").await.unwrap();
    check_code(&ended(&*runner, work.attempt).await, 0);
}

/// Work that nothing could run is refused before anything is made.
pub async fn nonsense_is_refused(place: &dyn Place) {
    let runner = place.open().await;
    let mut with_nul = script(":");
    with_nul.arguments.insert("greeting".to_owned(), "a\0b".to_owned());
    let mut with_name = script(":");
    with_name.arguments.insert("a=b".to_owned(), String::new());
    let cases = [
        (command(&[]), "`command`"),
        (command(&[""]), "`command`"),
        (command(&["echo", "a\0b"]), "`command`"),
        (with_nul, "`greeting`"),
        (with_name, "\"a=b\""),
    ];
    for (work, field) in cases {
        let refused = runner.prepare(&work).await.unwrap_err();
        let names_it = matches!(&refused, RunnerError::Refused(text) if text.contains(field));
        assert!(names_it, "{refused}");
    }
    assert_eq!(runner.find().await.unwrap(), []);
}
