//! `pending` says what it waits for, and an id belongs to one executor at a time.

use crate::{
    user::{User, arguments},
    world::{World, eventually},
};
use octavius_client::v1::{Execution, ExecutionState, ExecutorState};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pending_says_what_it_waits_for() {
    let mut world = World::new(1);
    // Soon, and not so soon that an executor which is late for once is taken for silent.
    world.configure_controller("executor_ping_deadline", json!(6));
    world.controller.start();
    world.serves().await;
    let user = User::of(&world);
    user.job("wait", "while [ ! -e \"$go\" ]; do sleep 0.02; done", arguments(&["go!"])).await;
    user.file("image.json", &json!({ "name": "image", "image_name": "busybox" }));
    user.says(&["create", "-f", "image.json"]).await;
    let go = world.path("go");
    let word = format!("go={}", go.display());

    let first = user.execute(&["wait", &word]).await;
    let state = async |id: &str| {
        let status = user.says(&["status", id]).await;
        let state = status.lines().find(|line| line.starts_with("state "));
        state.unwrap_or_default().trim_start_matches("state").trim().to_owned()
    };
    assert_eq!(
        state(&first).await,
        "pending: no executor has registered: start one with `executor start`"
    );

    world.executor.start();
    world.reaches(&first, |execution| execution.state() == ExecutionState::Running).await;
    let image = user.execute(&["image"]).await;
    assert_eq!(
        state(&image).await,
        "pending: no executor runs images: the job has no `command`, so that it needs one with `runner` `kubernetes`"
    );
    let second = user.execute(&["wait", &word]).await;
    let third = user.execute(&["wait", &word]).await;
    assert_eq!(state(&second).await, "pending: waits for a free place of 1; it is the next");
    assert_eq!(
        state(&third).await,
        "pending: waits for a free place of 1; one execution is before it"
    );

    std::fs::write(&go, "").unwrap();
    for id in [&first, &second, &third] {
        assert_eq!(world.over(id).await.state(), ExecutionState::Succeeded);
    }
    assert_eq!(world.client.execution(&image).await.unwrap().state(), ExecutionState::Pending);
    let cancelled = user.says(&["cancel", &image]).await;
    assert!(cancelled.starts_with(&format!("execution {image} is cancelled")), "{cancelled}");

    // Of what is there, none will do.
    let moon = user.execute(&["wait", &word, "--on", "zone=moon"]).await;
    assert_eq!(
        state(&moon).await,
        "pending: no executor has the label `zone=moon`: see `octavius executors -o wide`"
    );
    user.job("again", "exit 3", json!({ "retry": { "attempts": 2, "pause": "1h" } })).await;
    let again = user.execute(&["again"]).await;
    world.reaches(&again, |execution| execution.attempt == 2).await;
    let pauses = state(&again).await;
    assert!(
        pauses.starts_with("pending: attempt 2 of 2 is made at 20")
            && pauses.ends_with("Z; the one before: the program exited with 3"),
        "{pauses}"
    );
    std::fs::remove_file(&go).unwrap();
    let alone = json!({ "concurrency": 1, "env_vars": arguments(&["go!"])["env_vars"] });
    user.job("alone", "while [ ! -e \"$go\" ]; do sleep 0.02; done", alone).await;
    let first = user.execute(&["alone", &word]).await;
    world.reaches(&first, |execution| execution.state() == ExecutionState::Running).await;
    let second = user.execute(&["alone", &word]).await;
    assert_eq!(
        state(&second).await,
        "pending: waits for a place of its job: `concurrency` of job `alone` is 1, and so many run; it is the next"
    );

    world.executor.kill();
    let silent = |execution: &Execution| execution.reason.contains("is silent");
    world.reaches(&second, silent).await;
    let executors = world.client.executors().await.unwrap();
    assert_eq!(executors[0].state(), ExecutorState::Expired);
    let third = user.execute(&["wait", &word]).await;
    for id in [&second, &third] {
        assert_eq!(
            state(id).await,
            "pending: every executor that could run it is silent: see `octavius executors`"
        );
    }
    // None of that was the last word.
    world.executor.start();
    std::fs::write(&go, "").unwrap();
    for id in [&first, &second, &third] {
        assert_eq!(world.over(id).await.state(), ExecutionState::Succeeded);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_executor_of_one_id_is_refused_while_the_first_has_work_and_both_places_are_named()
{
    let mut world = World::start().await;
    let user = User::of(&world);
    user.job("wait", "while [ ! -e \"$go\" ]; do sleep 0.02; done; echo done", arguments(&["go!"]))
        .await;
    let go = world.path("go");
    let wait = ["wait".to_owned(), format!("go={}", go.display())];
    let wait = wait.each_ref().map(String::as_str);
    // More than its places: some run, and some wait for it.
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(user.execute(&wait).await);
    }
    world.reaches(&ids[0], |execution| execution.state() == ExecutionState::Running).await;

    let mut rival = world.executor_at("rival");
    rival.start();
    let refused = || async {
        let said = rival.said();
        let line = said.lines().find(|line| line.contains("refuses this executor"));
        line.map(str::to_owned).ok_or(said)
    };
    let refused = eventually(refused).await.unwrap();
    let place = |folder: &str| {
        let place = std::fs::read_to_string(world.path(folder).join("place")).unwrap();
        place.trim().to_owned()
    };
    for named in ["test-executor".to_owned(), place("state"), place("rival"), " since ".to_owned()]
    {
        assert!(refused.contains(&named), "no {named} in {refused}");
    }
    // The first is not disturbed: it goes on, and ends what it began.
    std::fs::write(&go, "").unwrap();
    for id in &ids {
        let over = world.over(id).await;
        let told = (over.state(), over.attempt);
        assert_eq!(told, (ExecutionState::Succeeded, 1), "{over:?}: {}", rival.said());
        assert_eq!(user.says(&["getlogs", id]).await, "done\n");
    }
    assert_eq!(rival.end().await, Some(0), "{}", rival.said());
    // It holds nothing any more: now the id may move.
    world.executor.end().await;
    rival.start();
    world.ready().await;
    let id = user.execute(&wait).await;
    assert_eq!(world.over(&id).await.state(), ExecutionState::Succeeded, "{}", rival.said());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_executor_ends_what_it_runs_and_gets_no_more() {
    let world = World::start().await;
    let user = User::of(&world);
    user.job("wait", "while [ ! -e \"$go\" ]; do sleep 0.02; done", arguments(&["go!"])).await;
    let go = world.path("go");
    let word = format!("go={}", go.display());
    let runs = user.execute(&["wait", &word]).await;
    world.reaches(&runs, |execution| execution.state() == ExecutionState::Running).await;

    let drained = user.says(&["executors", "drain", "test-executor"]).await;
    assert!(drained.contains(" ready (draining) "), "{drained}");
    assert!(drained.contains("undrain test-executor"), "{drained}");
    let told = || async {
        let metrics = world.metrics().await;
        let counted = metrics.contains("octavius_executors_drained 1");
        let said = world.executor.said().contains("drained: no new work comes");
        if counted && said { Ok(()) } else { Err(format!("said: {said}, {metrics}")) }
    };
    eventually(told).await.unwrap();
    let waits = user.execute(&["wait", &word]).await;
    let status = user.says(&["status", &waits]).await;
    assert!(status.contains("silent or drained"), "{status}");
    let drain = async { user.says(&["executors", "drain", "test-executor", "--wait"]).await };
    let open = async {
        std::fs::write(&go, "").unwrap();
        world.over(&runs).await
    };
    let (drained, ended) = tokio::join!(drain, open);
    assert_eq!(ended.state(), ExecutionState::Succeeded);
    assert!(drained.contains(" ready (drained) "), "{drained}");
    assert_eq!(world.client.execution(&waits).await.unwrap().state(), ExecutionState::Pending);

    user.says(&["executors", "undrain", "test-executor"]).await;
    assert_eq!(world.over(&waits).await.state(), ExecutionState::Succeeded);
    let told = || async {
        let said = world.executor.said();
        if said.contains("not drained any more") { Ok(()) } else { Err(said) }
    };
    eventually(told).await.unwrap();
    let (refused, status) = user.document(&["executors", "drain", "nobody"]).await;
    let code = refused["error"]["code"].as_str();
    assert_eq!((code, status), (Some("NOT_FOUND"), 3), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_executor_that_is_gone_for_good_is_forgotten_with_what_it_held() {
    let mut world = World::new(1);
    // Soon, and not so soon that an executor which is late for once may be forgotten.
    world.configure_controller("executor_ping_deadline", json!(6));
    world.start_all();
    world.ready().await;
    let user = User::of(&world);
    user.job("wait", "sleep 600", arguments(&[])).await;
    let held = user.execute(&["wait"]).await;
    world.reaches(&held, |execution| execution.state() == ExecutionState::Running).await;
    let (refused, status) = user.document(&["executors", "forget", "test-executor"]).await;
    let code = refused["error"]["code"].as_str();
    assert_eq!((code, status), (Some("FAILED_PRECONDITION"), 3), "{refused}");

    world.executor.kill();
    let silent = || async {
        let found = world.client.executors().await.map_err(|error| error.to_string())?;
        let expired = found.iter().all(|found| found.state() == ExecutorState::Expired);
        if expired { Ok(()) } else { Err(format!("{found:?}")) }
    };
    eventually(silent).await.unwrap();
    let forgotten = user.says(&["executors", "forget", "test-executor"]).await;
    assert_eq!(
        forgotten,
        "executor `test-executor` is forgotten; 1 attempt that it held ends as lost\n"
    );
    assert_eq!(world.client.executors().await.unwrap(), []);
    let over = world.over(&held).await;
    assert_eq!((over.state(), over.attempt), (ExecutionState::Lost, 1), "{over:?}");
    // What waits waits for one that is there.
    let waits = user.execute(&["wait"]).await;
    let status = user.says(&["status", &waits]).await;
    assert!(status.contains("no executor has registered"), "{status}");
    // It may come back as a new one, which has nothing, and what it ran before is not taken for anybody's.
    world.executor.start();
    world.reaches(&waits, |execution| execution.state() == ExecutionState::Running).await;
    user.says(&["cancel", &waits]).await;
    assert_eq!(world.over(&waits).await.state(), ExecutionState::Cancelled);
}
