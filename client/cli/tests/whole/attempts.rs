//! How often an execution is tried, how long it may take, where it runs, and how it is ended: with the real binaries.

use crate::{
    user::User,
    world::{World, eventually, lives},
};
use octavius_client::v1::{ExecuteRequest, Execution, ExecutionState, JobDefinition, Retry};
use prost_types::Duration as Span;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use rustix::process::Signal;
use std::time::Duration;
use tokio::time::Instant;

fn span(seconds: i64) -> Option<Span> {
    Some(Span { seconds, nanos: 0 })
}

pub(crate) fn shell(name: &str, script: &str) -> JobDefinition {
    JobDefinition {
        name: name.to_owned(),
        image_name: "busybox".to_owned(),
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        ..JobDefinition::default()
    }
}

async fn run(world: &World, request: ExecuteRequest) -> String {
    world.client.execute_with(request).await.unwrap().id
}

pub(crate) async fn run_job(world: &World, definition: JobDefinition) -> String {
    let job = definition.name.clone();
    world.client.create_job(definition).await.unwrap();
    run(world, ExecuteRequest { job, ..ExecuteRequest::default() }).await
}

pub(crate) fn lines(world: &World, file: &str) -> usize {
    std::fs::read_to_string(world.path(file)).unwrap_or_default().lines().count()
}

/// The ids of the processes whose command line holds `mark`.
pub(crate) fn with_mark(mark: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().into_string().ok());
    let marked = ids.filter(|id| {
        let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(mark) && lives(id)
    });
    marked.collect()
}

pub(crate) async fn gone(mark: &str) {
    let left = || async {
        let left = with_mark(mark);
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    };
    eventually(left).await.unwrap_or_else(|left| panic!("{mark} is left: {left}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_is_tried_again_over_kills_of_both_sides_and_never_more_often_than_asked() {
    let mut world = World::start().await;
    let ran = world.path("ran").display().to_string();
    let script = format!("echo attempt $OCTAVIUS_ATTEMPT; echo x >> {ran}; sleep 0.5; exit 3");
    let retry = Retry { attempts: 3, pause: span(1), ..Retry::default() };
    let id = run_job(&world, JobDefinition { retry: Some(retry), ..shell("fail", &script) }).await;
    let until = Instant::now() + Duration::from_secs(8);
    let mut random = SmallRng::seed_from_u64(7);
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(random.random_range(300..1500))).await;
        match random.random_range(0..3) {
            0 => world.controller.kill(),
            1 => world.executor.kill(),
            _ => {
                world.controller.kill();
                world.executor.kill();
            }
        }
        world.start_all();
    }
    world.ready().await;
    let over = world.over(&id).await;
    let (starts, seen) = (lines(&world, "ran"), format!("{over:?}"));
    assert!(starts <= 3 && over.attempt <= 3, "{starts} starts: {seen}");
    // Whoever is killed: what keeps watch over the program is not, so that each attempt's end is known.
    assert_eq!((over.state(), over.exit_code), (ExecutionState::Failed, Some(3)), "{seen}");
    assert_eq!(
        (starts, over.attempt, over.attempts.len(), over.max_attempts),
        (3, 3, 2, 3),
        "{seen}"
    );
    assert_eq!(over.attempts_from, "the job's `retry`");
    for earlier in &over.attempts {
        assert_eq!(
            (earlier.state(), earlier.exit_code),
            (ExecutionState::Failed, Some(3)),
            "{seen}"
        );
    }
    let user = User::of(&world);
    for attempt in ["1", "2", "3"] {
        let log = user.says(&["getlogs", &id, "--attempt", attempt]).await;
        assert_eq!(log, format!("attempt {attempt}\n"));
    }
    let status = user.says(&["status", &id]).await;
    assert!(status.contains("3 of 3 (the job's `retry`)"), "{status}");
    assert!(
        status.contains("1 failed on executor test-executor: the program exited with 3"),
        "{status}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_follows_sees_each_attempt_and_a_cancel_ends_the_wait_for_the_next() {
    let world = World::start().await;
    let user = User::of(&world);
    let retry = Retry { attempts: 2, pause: span(1), ..Retry::default() };
    let script = "echo attempt $OCTAVIUS_ATTEMPT; [ $OCTAVIUS_ATTEMPT = 2 ]";
    let definition = JobDefinition { retry: Some(retry.clone()), ..shell("second", script) };
    world.client.create_job(definition).await.unwrap();
    let ran = user.run(&["execute", "second", "--follow"]).await;
    assert_eq!((ran.status, ran.text().as_str()), (Some(0), "attempt 1\nattempt 2\n"), "{ran:?}");

    let retry = Retry { pause: span(3600), max_pause: span(3600), ..retry };
    let id =
        run_job(&world, JobDefinition { retry: Some(retry), ..shell("later", "exit 1") }).await;
    let waits = world.reaches(&id, |now| now.attempt == 2).await;
    assert!(waits.retry_at.is_some() && waits.state() == ExecutionState::Pending, "{waits:?}");
    assert!(waits.reason.starts_with("attempt 2 of 2 is made at "), "{waits:?}");
    user.run(&["cancel", &id]).await;
    let over = world.over(&id).await;
    assert_eq!(over.state(), ExecutionState::Cancelled, "{over:?}");
    assert_eq!((over.attempt, over.reason.as_str()), (2, "cancelled before it was tried again"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_executors_file_says_how_often_and_how_long_where_the_job_does_not() {
    let mut world = World::new(8);
    world.configure_executor("job_retries", 1.into());
    world.configure_executor("job_active_deadline_seconds", 2.into());
    world.start_all();
    world.ready().await;
    // With a time of its own, so that a slow start is no end by time.
    let id = run_job(&world, JobDefinition { timeout: span(600), ..shell("fail", "exit 1") }).await;
    let over = world.over(&id).await;
    assert_eq!((over.state(), over.attempt), (ExecutionState::Failed, 2), "{over:?}");
    assert_eq!(over.attempts_from, "`job_retries` of executor test-executor");
    let id = run_job(&world, shell("long", "sleep 30")).await;
    let over = world.over(&id).await;
    assert_eq!((over.state(), over.attempt), (ExecutionState::TimedOut, 1), "{over:?}");
    let key = "(`job_active_deadline_seconds` of executor test-executor)";
    assert_eq!(over.reason, format!("stopped after its time limit of 2s {key}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timed_out_keeps_the_last_lines_and_ignores_that_the_program_exits_with_0_then() {
    let world = World::start().await;
    let script =
        "trap 'echo bye; exit 0' TERM; i=0; while :; do i=$((i+1)); echo $i; sleep 0.2; done";
    let user = User::of(&world);
    let definition = JobDefinition { timeout: span(600), ..shell("count", script) };
    world.client.create_job(definition).await.unwrap();
    // Long enough for a slow start: before its `trap` the shell would end without a word.
    let id = user.execute(&["count", "--timeout", "6s"]).await;
    let over = world.over(&id).await;
    assert_eq!((over.state(), over.exit_code), (ExecutionState::TimedOut, Some(0)), "{over:?}");
    assert_eq!(over.reason, "stopped after its time limit of 6s (`--timeout` of this execution)");
    let log = String::from_utf8(world.log(&id).await).unwrap();
    let counted = log.strip_suffix("bye\n").unwrap_or_else(|| panic!("{log}"));
    // The shell may say that the order ended its `sleep`, too.
    let counted: Vec<_> = counted.lines().filter(|line| *line != "Terminated").collect();
    let expected: Vec<_> = (1..=counted.len()).map(|number| number.to_string()).collect();
    assert!(counted.len() > 2 && counted == expected, "{log}");
    assert!(user.says(&["status", &id]).await.contains("6s (`--timeout` of this execution)"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ignores_the_order_to_end_is_killed_after_the_grace() {
    let world = World::start().await;
    let script = "trap '' TERM; echo begun; while :; do sleep 0.1; done";
    let began = Instant::now();
    // Long enough for a slow start: before its `trap` the shell would not be deaf.
    let id = run_job(&world, JobDefinition { timeout: span(6), ..shell("deaf", script) }).await;
    let over = world.over(&id).await;
    assert_eq!((over.state(), over.exit_code), (ExecutionState::TimedOut, None), "{over:?}");
    let took = began.elapsed();
    assert!((16..40).contains(&took.as_secs()), "killed after {took:?}");
    assert_eq!(world.log(&id).await, b"begun\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn children_outlive_neither_the_command_nor_a_cancel_nor_a_killed_executor() {
    let mut world = World::start().await;
    let mark = 300 + u64::from(std::process::id());
    let (a, b, c) = (format!("{mark}.1"), format!("x-{mark}"), format!("{mark}.3"));
    let began = Instant::now();
    for (name, script) in [
        ("forks", format!("(sleep {a}; echo late) & echo done")),
        ("escapes", format!("setsid sleep {c} & echo done")),
    ] {
        let id = run_job(&world, shell(name, &script)).await;
        let over = world.over(&id).await;
        assert_eq!(over.state(), ExecutionState::Succeeded, "{name}: {over:?}");
        assert_eq!(world.log(&id).await, b"done\n", "{name}");
    }
    assert!(began.elapsed() < Duration::from_secs(20), "nobody waits for the children");
    gone(&a).await;
    gone(&c).await;

    let id = run_job(&world, shell("mute", "echo a; exec >&- 2>&-; sleep 2; exit 2")).await;
    let over = world.over(&id).await;
    assert_eq!((over.state(), over.exit_code), (ExecutionState::Failed, Some(2)), "{over:?}");
    assert_eq!(world.log(&id).await, b"a\n");

    let script = format!("sh -c 'sh -c \"while :; do echo {b}; sleep 0.2; done\"' & wait");
    for killed in [false, true] {
        let id = run_job(&world, shell(if killed { "killed" } else { "talks" }, &script)).await;
        world.reaches(&id, |now| now.state() == ExecutionState::Running && now.log_size > 0).await;
        if killed {
            world.executor.kill();
            world.executor.start();
            world.ready().await;
        }
        world.client.cancel(&id).await.unwrap();
        let over = world.over(&id).await;
        assert_eq!(over.state(), ExecutionState::Cancelled, "{over:?}");
        gone(&b).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_holds_whatever_it_meets() {
    let mut world = World::start().await;
    let ran = world.path("ran").display().to_string();
    let mark = format!("7{}", std::process::id());
    let hit = format!("echo x >> {ran}; sleep {mark}");
    // The executor does not hear of it for a while.
    let id = run_job(&world, shell("hit", &hit)).await;
    world.reaches(&id, |now| now.state() == ExecutionState::Running).await;
    world.executor.signal(Signal::STOP);
    let wished = world.client.cancel(&id).await.unwrap();
    assert!(wished.cancelling, "{wished:?}");
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.executor.signal(Signal::CONT);
    let over = world.over(&id).await;
    assert_eq!(over.state(), ExecutionState::Cancelled, "{over:?}");
    gone(&mark).await;

    // It was granted to somebody who has not heard of the grant yet. His question for work has to be at the controller
    // when he is frozen: between two of them nothing is granted.
    let job = |name: &str| ExecuteRequest { job: name.to_owned(), ..ExecuteRequest::default() };
    world.client.create_job(shell("fast", "true")).await.unwrap();
    let (id, before) = loop {
        let before = lines(&world, "ran");
        world.executor.signal(Signal::STOP);
        let id = run(&world, job("hit")).await;
        let granted = world.reaches(&id, |now| now.state() == ExecutionState::Leased);
        if tokio::time::timeout(Duration::from_secs(5), granted).await.is_ok() {
            break (id, before);
        }
        world.client.cancel(&id).await.unwrap();
        world.executor.signal(Signal::CONT);
        world.over(&id).await;
        gone(&mark).await;
        // Who has taken something asks for more at once.
        let fast = run(&world, job("fast")).await;
        world.over(&fast).await;
    };
    world.client.cancel(&id).await.unwrap();
    world.executor.signal(Signal::CONT);
    let heard = Instant::now();
    let over = world.over(&id).await;
    assert_eq!(over.state(), ExecutionState::Cancelled, "{over:?}");
    gone(&mark).await;
    assert!(heard.elapsed() < Duration::from_secs(10), "gone after {:?}", heard.elapsed());
    // The order to stop may come just too late, and the end before anybody saw that it ran.
    let said = over.history.iter().any(|step| step.state() == ExecutionState::Running);
    let started = lines(&world, "ran") - before;
    assert!(started <= 1 && (started == 1 || !said), "started {started} times: {over:?}");
    let before = lines(&world, "ran");

    // There is nobody who could take it.
    assert!(world.executor.end().await.is_some());
    let id = run(&world, job("hit")).await;
    let over = world.client.cancel(&id).await.unwrap();
    assert_eq!(over.state(), ExecutionState::Cancelled, "{over:?}");
    world.executor.start();
    world.ready().await;
    assert_eq!(lines(&world, "ran"), before);

    // It comes in the same moment as the end.
    let ends = (0..200).map(|number| {
        let client = world.client.clone();
        async move {
            let id = client.execute("fast", [].into()).await.unwrap().id;
            if number == 0 {
                client.wait(&id).await.unwrap(); // one is too late, however slowly they run
            }
            let wait = SmallRng::seed_from_u64(number).random_range(0..2000);
            tokio::time::sleep(Duration::from_millis(wait)).await;
            if let Err(late) = client.cancel(&id).await {
                assert!(late.to_string().contains("is over"), "{late}");
            }
            let over = client.wait(&id).await.unwrap();
            tokio::time::sleep(Duration::from_millis(300)).await;
            (over, client.execution(&id).await.unwrap())
        }
    });
    let ends: Vec<(Execution, Execution)> = futures::future::join_all(ends).await;
    let cancelled = ends.iter().filter(|(over, _)| over.state() == ExecutionState::Cancelled);
    assert!((1..ends.len()).contains(&cancelled.count()), "some come too late, and some do not");
    for (over, later) in &ends {
        let state = over.state();
        let right = [ExecutionState::Succeeded, ExecutionState::Cancelled].contains(&state);
        assert!(right && over == later, "{over:?}, and later {later:?}");
    }

    // Twice; once it has ended otherwise; and what was never there.
    let user = User::of(&world);
    let again = user.run(&["cancel", &id]).await;
    assert_eq!((again.status, again.err.as_str()), (Some(0), ""), "{again:?}");
    assert!(again.text().contains(&format!("{id} is cancelled")), "{again:?}");
    let done = run(&world, job("fast")).await;
    assert_eq!(world.over(&done).await.state(), ExecutionState::Succeeded);
    for words in [&["cancel", &done][..], &["cancel", &done, "--force"]] {
        let ran = user.run(words).await;
        assert_eq!(ran.status, Some(3), "{ran:?}");
        let told = format!("execution `{done}` is over, it ended as succeeded before");
        assert!(ran.err.contains(&told), "{ran:?}");
    }
    let (document, _) = user.document(&["cancel", &done]).await;
    assert_eq!(document["error"]["reason"].as_str(), Some("EXECUTION_OVER"), "{document}");
    assert_eq!(world.client.execution(&done).await.unwrap().state(), ExecutionState::Succeeded);
    let unknown = user.run(&["cancel", &"0".repeat(26)]).await;
    assert!(unknown.status == Some(3) && unknown.err.contains("no execution"), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forced_cancel_is_final_at_once_and_a_late_word_changes_nothing() {
    let world = World::start().await;
    let user = User::of(&world);
    let mark = format!("8{}", std::process::id());
    let id = run_job(&world, shell("long", &format!("sleep {mark}"))).await;
    world.reaches(&id, |now| now.state() == ExecutionState::Running).await;
    world.executor.signal(Signal::STOP);
    let ran = user.run(&["cancel", &id, "--force"]).await;
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert!(ran.text().contains("is cancelled: cancelled, unconfirmed: "), "{ran:?}");
    let forced = world.client.execution(&id).await.unwrap();
    assert_eq!(forced.state(), ExecutionState::Cancelled, "{forced:?}");
    assert_eq!(forced.reason_code, "cancelled_unconfirmed");
    world.executor.signal(Signal::CONT);
    gone(&mark).await;
    assert_eq!(world.client.execution(&id).await.unwrap(), forced);
    let next = run(
        &world,
        ExecuteRequest { job: "long".to_owned(), timeout: span(1), ..ExecuteRequest::default() },
    )
    .await;
    assert_eq!(world.over(&next).await.state(), ExecutionState::TimedOut, "its place is free");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_execution_runs_where_it_was_asked_to_and_says_what_it_waits_for() {
    let mut world = World::new(8);
    world.configure_executor("labels", serde_json::json!({ "zone": "eu" }));
    world.start_all();
    world.ready().await;
    let user = User::of(&world);
    world.client.create_job(shell("hello", "echo hello")).await.unwrap();
    for on in ["zone=eu", "executor=test-executor"] {
        let id = user.execute(&["hello", "--on", on]).await;
        let over = world.over(&id).await;
        assert_eq!((over.state(), over.on.len()), (ExecutionState::Succeeded, 1), "{over:?}");
    }
    let id = user.execute(&["hello", "--on", "zone=us", "--start-within", "8s"]).await;
    let waits = world.client.execution(&id).await.unwrap();
    assert!(waits.reason.starts_with("no executor has the label `zone=us`"), "{waits:?}");
    let over = world.over(&id).await;
    assert_eq!(
        (over.state(), &*over.reason_code),
        (ExecutionState::Failed, "not_started"),
        "{over:?}"
    );
    let said =
        "no executor began it within 8s (`--start-within` of this execution): no executor has";
    assert!(over.reason.starts_with(said), "{over:?}");

    let turns = world.path("turns").display().to_string();
    // The first one stays until somebody has looked at who waits for it.
    let go = world.path("go");
    let held = format!("while [ ! -e {} ]; do sleep 0.05; done", go.display());
    let script = format!("echo begin >> {turns}; {held}; sleep 1; echo end >> {turns}");
    let first = run_job(&world, JobDefinition { concurrency: 1, ..shell("alone", &script) }).await;
    world.reaches(&first, |now| now.state() == ExecutionState::Running).await;
    let request = ExecuteRequest { job: "alone".to_owned(), ..ExecuteRequest::default() };
    let second = run(&world, request).await;
    let waits = world.client.execution(&second).await.unwrap();
    assert!(waits.reason.contains("`concurrency` of job `alone` is 1"), "{waits:?}");
    std::fs::write(go, "").unwrap();
    assert_eq!(world.over(&second).await.state(), ExecutionState::Succeeded);
    let turns = std::fs::read_to_string(turns).unwrap();
    assert_eq!(turns, "begin\nend\nbegin\nend\n", "one after the other");
}
