//! How commands end: with the status that says who can do something, and after an interruption with what goes on.

use crate::{
    user::{User, arguments},
    world::{World, eventually, lives},
};
use octavius_client::v1::ExecutionState;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use serde_json::json;

const UNTIL_GO: &str = "echo begun; while [ ! -e \"$go\" ]; do sleep 0.02; done; echo gone on";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_an_execution_that_fails_ends_with_1_and_who_reads_its_log_with_0() {
    let mut world = World::start().await;
    let user = User::of(&world);
    user.job("fail", "echo oops; exit 3", json!({})).await;
    for flag in ["--follow", "--wait"] {
        let ran = user.run(&["execute", "fail", flag]).await;
        assert_eq!(ran.status, Some(1), "{ran:?}");
        assert!(
            ran.err.contains(" failed after ")
                && ran.err.ends_with(": the program exited with 3\n"),
            "{ran:?}"
        );
        assert_eq!(ran.text() == "oops\n", flag == "--follow", "{ran:?}");
    }
    assert_eq!(user.says(&["getlogs", "@last", "--follow"]).await, "oops\n");
    let id = user.execute(&["fail"]).await;
    assert_eq!(world.over(&id).await.state(), ExecutionState::Failed);

    world.executor.end().await;
    world.controller.end().await;
    for words in [&["list"][..], &["getlogs", &id, "--follow"], &["status", &id]] {
        let ran = user.run(words).await;
        assert_eq!((ran.status, ran.out.len()), (Some(4), 0), "{words:?}: {ran:?}");
        assert!(ran.err.contains(&world.address), "{ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_follows_what_is_pending_waits_for_a_late_executor_and_gets_the_log_once() {
    let mut world = World::new(1);
    world.controller.start();
    world.serves().await;
    let user = User::of(&world);
    user.job("late", "echo one; echo two >&2; printf three", json!({})).await;
    let following = user.begin(&["execute", "late", "--follow"]);
    // The executor comes only once somebody follows what is pending.
    let pending = || async {
        let metrics = world.metrics().await;
        let follows = metrics.lines().any(|line| line == "octavius_log_followers 1");
        if follows { Ok(()) } else { Err(metrics) }
    };
    eventually(pending).await.unwrap();
    let id = user.says(&["executions", "-o", "name"]).await.trim_end().to_owned();
    let waits = world.client.execution(&id).await.unwrap();
    assert_eq!(waits.state(), ExecutionState::Pending, "{waits:?}");
    world.executor.start();
    let ran = following.end().await;
    assert_eq!((ran.status, ran.text().as_str()), (Some(0), "one\ntwo\nthree"), "{ran:?}");
    assert!(ran.err.contains(&format!("execution {id} of `late`")), "{ran:?}");
    assert_eq!(world.over(&id).await.state(), ExecutionState::Succeeded);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interruption_ends_the_reading_and_not_the_execution() {
    let world = World::start().await;
    let user = User::of(&world);
    user.job("wait", UNTIL_GO, arguments(&["go!"])).await;
    let go = world.path("go");
    let word = format!("go={}", go.display());

    let mut following = user.begin(&["execute", "wait", &word, "--follow"]);
    assert_eq!(following.line().await, "begun\n");
    following.interrupt();
    let ran = following.end().await;
    assert_eq!((ran.status, ran.text().as_str()), (Some(130), "begun\n"), "{ran:?}");
    let id = user.says(&["executions", "-o", "name"]).await.trim_end().to_owned();
    for told in [
        format!("execution {id} goes on"),
        format!("`octavius getlogs {id} --follow`"),
        format!("`octavius cancel {id}`"),
    ] {
        assert!(ran.err.contains(&told), "no {told} in {ran:?}");
    }

    let mut reading = user.begin(&["getlogs", &id, "--follow"]);
    assert_eq!(reading.line().await, "begun\n");
    reading.interrupt();
    let ran = reading.end().await;
    assert_eq!(ran.status, Some(130), "{ran:?}");
    assert!(ran.err.contains(&format!("`octavius getlogs {id} --follow`")), "{ran:?}");

    let mut waiting = user.begin(&["execute", "wait", &word, "--wait"]);
    let other = waiting.line().await.trim_end().to_owned();
    world.reaches(&other, |execution| execution.state() == ExecutionState::Running).await;
    waiting.interrupt();
    let ran = waiting.end().await;
    assert_eq!(ran.status, Some(130), "{ran:?}");
    assert!(ran.err.contains(&format!("execution {other} goes on")), "{ran:?}");

    // A program that follows hears of it in its own form.
    let mut following = user.begin(&["getlogs", &id, "--follow", "-o", "json"]);
    assert!(following.line().await.contains("begun"));
    following.interrupt();
    let ran = following.end().await;
    assert_eq!(ran.status, Some(130), "{ran:?}");
    let last: serde_json::Value = serde_json::from_str(ran.text().lines().last().unwrap()).unwrap();
    assert_eq!((&last["type"], &last["error"]["kind"]), (&json!("error"), &json!("interrupted")));

    std::fs::write(&go, "").unwrap();
    for id in [&id, &other] {
        assert_eq!(world.over(id).await.state(), ExecutionState::Succeeded);
        assert_eq!(user.says(&["getlogs", id]).await, "begun\ngone on\n");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_leaves_ends_the_command_in_peace_also_where_nothing_comes() {
    let world = World::start().await;
    let user = User::of(&world);
    user.job("wait", UNTIL_GO, arguments(&["go!"])).await;
    let go = world.path("go");
    let word = format!("go={}", go.display());

    // As with `| head -1`: the job says nothing more, so that no write tells that nobody reads.
    let mut following = user.begin(&["execute", "wait", &word, "--follow"]);
    assert_eq!(following.line().await, "begun\n");
    following.leave();
    let ran = following.end().await;
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert!(!ran.err.contains("pipe"), "{ran:?}");
    let mut reading = user.begin(&["getlogs", "@last", "--follow"]);
    assert_eq!(reading.line().await, "begun\n");
    reading.leave();
    let ran = reading.end().await;
    assert_eq!((ran.status, ran.err.as_str()), (Some(0), ""));
    std::fs::write(&go, "").unwrap();
    let id = user.says(&["executions", "-o", "name"]).await;
    assert_eq!(world.over(id.trim_end()).await.state(), ExecutionState::Succeeded);

    user.job("large", "head -c 3000000 /dev/zero | tr '\\0' '\\n'", json!({})).await;
    let ran = user.run(&["execute", "large", "--wait"]).await;
    assert_eq!(ran.status, Some(0), "{ran:?}");
    for words in [&["getlogs", "@last"][..], &["executions", "-o", "json"]] {
        let mut reading = user.begin(words);
        reading.line().await;
        reading.leave();
        let ran = reading.end().await;
        assert_eq!((ran.status, ran.err.as_str()), (Some(0), ""), "{words:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_the_bytes_of_the_job_whatever_they_are() {
    let world = World::start().await;
    let user = User::of(&world);
    user.job("cat", "cat \"$file\"", arguments(&["file!"])).await;
    let mut bytes: Vec<u8> = (0..=u8::MAX).cycle().take(1 << 16).collect();
    let mut random = vec![0; 1_500_000];
    SmallRng::seed_from_u64(7).fill_bytes(&mut random);
    bytes.extend_from_slice(&random); // not UTF-8, and without an end of line
    let file = world.path("bytes");
    std::fs::write(&file, &bytes).unwrap();
    let word = format!("file={}", file.display());

    let followed = user.run(&["execute", "cat", &word, "--follow"]).await;
    assert_eq!(followed.status, Some(0), "{}", followed.err);
    assert!(followed.out == bytes, "{} bytes of {}", followed.out.len(), bytes.len());
    for words in [&["getlogs", "@last"][..], &["getlogs", "@last", "--follow"]] {
        let copy = user.path("copy");
        let ran = user.run_into(words, &copy).await;
        assert_eq!((ran.status, ran.err.as_str()), (Some(0), ""), "{words:?}");
        assert!(std::fs::read(&copy).unwrap() == bytes, "{words:?}: another file");
    }
    let (log, _) = user.document(&["getlogs", "@last"]).await;
    let base64 = data_encoding::BASE64.decode(log["base64"].as_str().unwrap().as_bytes());
    assert!(base64.unwrap() == bytes, "another document");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_past_its_limit_is_stopped_keeps_its_last_words_and_says_which_limit_it_was() {
    let world = World::start().await;
    let user = User::of(&world);
    // It ends with 0 when it is told to: that it was stopped stands all the same.
    let script = "trap 'echo last words; exit 0' TERM; echo begun; while :; do sleep 0.05; done";
    // Long enough for a slow start: before its `trap` the shell would end without a word.
    user.job("slow", script, json!({ "timeout": "6s" })).await;
    let ran = user.run(&["execute", "slow", "--follow"]).await;
    assert_eq!(ran.status, Some(1), "{ran:?}");
    assert!(ran.text().starts_with("begun\n") && ran.text().ends_with("last words\n"), "{ran:?}");
    assert!(ran.err.contains(" timed_out after ") && ran.err.contains("limit of 6s"), "{ran:?}");
    let (status, _) = user.document(&["status", "@last"]).await;
    assert_eq!(
        (status["state"].as_str(), status["reason_code"].as_str(), status["exit_code"].as_i64()),
        (Some("timed_out"), Some("timeout"), Some(0)),
        "{status}"
    );
    let described = user.says(&["describe", "slow"]).await;
    assert!(described.lines().any(|line| line == "timeout       6s"), "{described}");

    // One that does not listen is killed after its grace, with all that it had started.
    let pid = world.path("pid");
    let script =
        "trap '' TERM; sleep 300 & echo $! > \"$pid\"; echo deaf; while :; do sleep 0.05; done";
    let more = json!({ "timeout": "6s", "env_vars": arguments(&["pid!"])["env_vars"] });
    user.job("deaf", script, more).await;
    let ran = user.run(&["execute", "deaf", &format!("pid={}", pid.display()), "--follow"]).await;
    assert_eq!(ran.status, Some(1), "{ran:?}");
    assert!(ran.text().starts_with("deaf\n") && ran.err.contains("limit of 6s"), "{ran:?}");
    let left = std::fs::read_to_string(&pid).unwrap();
    assert!(!lives(left.trim()), "{left} lives");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_code_of_the_jobs_own_program_is_handed_on_to_who_asks_for_it() {
    let world = World::start().await;
    let user = User::of(&world);
    user.job("end", "echo out; exit $code", arguments(&["code!"])).await;
    user.job("broken", "true", json!({ "command": ["/nowhere/at-all"] })).await;
    for (code, status) in [("0", 0), ("3", 3), ("125", 125), ("255", 255)] {
        let word = format!("code={code}");
        let ran = user.run(&["execute", "end", &word, "--exit-code"]).await;
        assert_eq!(ran.status, Some(status), "{ran:?}");
        let (ended, found) = user.document(&["execute", "end", &word, "--exit-code"]).await;
        assert_eq!((found, ended["exit_code"].as_i64()), (status, code.parse().ok()));
    }
    let followed = user.run(&["execute", "end", "code=7", "--exit-code", "--follow"]).await;
    assert_eq!((followed.status, followed.text().as_str()), (Some(7), "out\n"));
    let broken = user.run(&["execute", "broken", "--exit-code"]).await;
    assert_eq!(broken.status, Some(125), "{broken:?}");
    assert!(broken.err.contains("/nowhere/at-all"), "{broken:?}");
    // What went wrong on the way has its own statuses.
    let refused = user.run(&["execute", "nobody", "--exit-code"]).await;
    assert_eq!(refused.status, Some(3), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_may_wait_for_several_for_the_first_and_for_a_time() {
    let world = World::start().await;
    let user = User::of(&world);
    user.job("wait", UNTIL_GO, arguments(&["go!"])).await;
    user.job("end", "exit $code", arguments(&["code!"])).await;
    let go = world.path("go");
    let word = format!("go={}", go.display());
    let good = user.execute(&["end", "code=0"]).await;
    let bad = user.execute(&["end", "code=1"]).await;
    let long = user.execute(&["wait", &word]).await;

    let ran = user.run(&["wait", &good]).await;
    assert_eq!((ran.status, ran.err.as_str()), (Some(0), ""), "{ran:?}");
    assert!(ran.text().starts_with(&format!("execution {good} succeeded after ")), "{ran:?}");
    let (document, status) = user.document(&["wait", &good, &bad, &good[14..]]).await;
    assert_eq!((document["executions"].as_array().map(Vec::len), status), (Some(2), 1));
    let ran = user.run(&["wait", &long, &good, "--any"]).await;
    assert_eq!((ran.status, ran.text().lines().count()), (Some(0), 1), "{ran:?}");

    // Long enough to hear of the one that is over.
    let ran = user.run(&["wait", &good, &long, "--timeout", "6s"]).await;
    assert_eq!((ran.status, ran.text().lines().count()), (Some(4), 1), "{ran:?}");
    assert!(ran.err.contains("not over after 6s") && ran.err.contains(&long), "{ran:?}");
    for how in ["--wait", "--follow", "--exit-code"] {
        let words = ["execute", "wait", &word, how, "--wait-timeout", "300ms"];
        let ran = user.run(&words).await;
        assert_eq!(ran.status, Some(4), "{ran:?}");
        assert!(ran.err.contains("goes on: `octavius getlogs "), "{ran:?}");
    }
    let (document, status) = user.document(&["wait", &long, "--timeout", "1ms"]).await;
    assert_eq!((document["error"]["kind"].as_str(), status), (Some("timeout"), 4));

    let waiting = user.begin(&["wait", &long, &good]);
    let mut waiting = waiting;
    waiting.line().await;
    waiting.interrupt();
    let ran = waiting.end().await;
    assert_eq!(ran.status, Some(130), "{ran:?}");
    assert!(ran.err.contains(&format!("octavius wait {long}")), "{ran:?}");

    std::fs::write(&go, "").unwrap();
    let all = user.says(&["executions", "--job", "wait", "-o", "name"]).await;
    let ids: Vec<_> = all.lines().collect();
    assert_eq!(ids.len(), 4, "a wait that was given up ended an execution: {all}");
    let ran = user.run(&[&["wait"], &ids[..]].concat()).await;
    assert_eq!((ran.status, ran.text().lines().count()), (Some(0), 4), "{ran:?}");
}
