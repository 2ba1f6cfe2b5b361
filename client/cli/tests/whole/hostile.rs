//! Jobs and peers that do what nobody should: commands that are none, floods of output, and a copy of an executor.

use crate::{
    user::{User, arguments},
    world::{World, eventually},
};
use octavius_client::v1::ExecutionState;
use rustix::process::Signal;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_cannot_be_started_fails_and_says_why_and_what_to_do() {
    let world = World::start().await;
    let user = User::of(&world);
    let file = user.path("not-executable");
    std::fs::write(&file, "#!/bin/sh\n").unwrap();
    let (file, folder, long) =
        (file.display().to_string(), user.path("").display().to_string(), "x".repeat(100_000));
    let cases = [
        ("missing", "/nowhere/at-all", "No such file", "install it"),
        ("plain", &file, "Permission denied", "chmod +x"),
        ("folder", &folder, "Permission denied", "it is a folder"),
        ("long", &long, "File name too long", "by hand"),
    ];
    for (name, program, why, remedy) in cases {
        user.job(name, "", json!({ "command": [program] })).await;
        let ran = user.run(&["execute", name, "--wait"]).await;
        assert_eq!(ran.status, Some(1), "{name}: {ran:?}");
        let (status, _) = user.document(&["status", "@last"]).await;
        let reason = status["reason"].as_str().unwrap();
        assert_eq!(
            (status["state"].as_str(), status["reason_code"].as_str()),
            (Some("failed"), Some("start_failed")),
            "{status}"
        );
        for told in [why, remedy, &program[..program.len().min(200)]] {
            assert!(reason.contains(told), "{name}: no {told} in {reason}");
        }
        assert!(user.says(&["status", "@last"]).await.contains(why), "{name}");
        assert_eq!(user.says(&["getlogs", "@last"]).await, "", "{name}");
    }
}

/// A copied folder: two processes with one id at one place. The newer one has the session, and the older one is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_executors_with_one_id_at_one_place_the_newer_works_and_the_older_says_why_it_does_not()
 {
    let world = World::start().await;
    let user = User::of(&world);
    let ran = world.path("ran");
    let script = format!("pwd >> {}", ran.display());
    user.job("once", &script, arguments(&[])).await;
    let first = user.execute(&["once"]).await;
    assert_eq!(world.over(&first).await.state(), ExecutionState::Succeeded);
    let held = world.path("held");
    let script = format!("echo x >> {}; sleep 300", held.display());
    user.job("long", &script, arguments(&[])).await;
    let long = user.execute(&["long"]).await;
    world.reaches(&long, |now| now.state() == ExecutionState::Running).await;

    world.executor.signal(Signal::STOP);
    let mut newer = world.executor_at("newer");
    std::fs::create_dir(world.path("newer")).unwrap();
    std::fs::copy(world.path("state/place"), world.path("newer/place")).unwrap();
    newer.start();
    let second = user.execute(&["once"]).await;
    let over = world.over(&second).await;
    assert_eq!(over.state(), ExecutionState::Succeeded, "{over:?}: {}", newer.said());
    world.executor.signal(Signal::CONT);
    let said = || async {
        let said = world.executor.said();
        let told = ["took over from this one", "left to the newer process of this executor"];
        if told.iter().all(|words| said.contains(words)) { Ok(()) } else { Err(said) }
    };
    eventually(said).await.unwrap();
    for _ in 0..5 {
        let id = user.execute(&["once"]).await;
        let over = world.over(&id).await;
        assert_eq!((over.state(), over.attempt), (ExecutionState::Succeeded, 1), "{over:?}");
    }
    let ran = std::fs::read_to_string(&ran).unwrap();
    let here: Vec<_> = ran.lines().map(|folder| folder.contains("/newer/")).collect();
    assert_eq!(here, [false, true, true, true, true, true, true], "{ran}");
    // What the older one had is not at the newer one's place: nobody knows how it ended, and nobody starts it again.
    let lost = world.over(&long).await;
    assert_eq!((lost.state(), lost.attempt), (ExecutionState::Lost, 1), "{lost:?}");
    assert_eq!(std::fs::read_to_string(&held).unwrap(), "x\n");
    assert_eq!(newer.end().await, Some(0));
}
