//! Executors that come back after what they ran was given up as lost.

use crate::{
    attempts::{gone, lines, run_job, shell, with_mark},
    user::User,
    world::{World, eventually},
};
use octavius_client::v1::{Execution, ExecutionState};
use rustix::process::Signal;
use serde_json::json;
use std::fs;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_given_up_while_its_executor_was_frozen_is_stopped_there_and_known_later() {
    let mut world = World::new(1);
    world.configure_controller("executor_ping_deadline", json!(2));
    world.configure_controller("executor_lost_after", json!("5s"));
    world.start_all();
    world.ready().await;
    let mark = format!("mark-8{}", std::process::id());
    let script = format!(
        "exec 2> /dev/null; trap 'echo stopped; exit 1' TERM; n=0; \
         while [ $n != {mark} ]; do n=$((n + 1)); echo line $n; echo $n >> {}; sleep 0.1; done",
        world.path("ran").display()
    );
    let id = run_job(&world, shell("counts", &script)).await;
    let runs = |now: &Execution| now.state() == ExecutionState::Running;
    world.reaches(&id, |now| runs(now) && lines(&world, "ran") > 5).await;

    world.executor.signal(Signal::STOP);
    let frozen = lines(&world, "ran");
    let lost = world.over(&id).await;
    assert_eq!((lost.state(), lost.known_later.as_ref()), (ExecutionState::Lost, None), "{lost:?}");
    assert!(lost.log_cut.contains("executor was lost"), "{lost:?}");
    assert!(!with_mark(&mark).is_empty(), "nobody but its executor could have stopped it");
    assert!(lines(&world, "ran") > frozen, "it goes on meanwhile");

    world.executor.signal(Signal::CONT);
    gone(&mark).await;
    let whole =
        |now: &Execution| now.known_later.as_ref().is_some_and(|known| !known.log_is_coming);
    let known = world.reaches(&id, whole).await;
    let later = known.known_later.clone().unwrap();
    assert_eq!(later.state(), ExecutionState::Cancelled, "it was stopped: {later:?}");
    assert!(later.reason.contains("given up as lost"), "{later:?}");
    let end = |execution: &Execution| {
        let Execution { state, reason, history, attempt, exit_code, .. } = execution.clone();
        (state, reason, history, attempt, exit_code)
    };
    assert_eq!(end(&known), end(&lost), "what becomes known later changes nothing");
    assert_eq!(known.log_cut, "", "{known:?}");

    let ran = lines(&world, "ran");
    let log = String::from_utf8(world.log(&id).await).unwrap();
    let counted = log.lines().filter(|line| line.starts_with("line ")).count();
    let all: String = (1..=counted).map(|number| format!("line {number}\n")).collect();
    assert_eq!(log, all + "stopped\n", "it is whole up to the stop");
    assert!(counted > frozen && (counted == ran || counted == ran + 1), "{counted} of {ran}");
    assert_eq!(log.len() as u64, known.log_size);

    let user = User::of(&world);
    let status = user.says(&["status", &id]).await;
    let row = status.lines().find(|line| line.starts_with("later ")).unwrap_or_default();
    assert!(row.contains("cancelled") && row.contains("given up as lost"), "{status}");
    let (document, _) = user.document(&["status", &id]).await;
    assert_eq!(document["state"], "lost");
    assert_eq!(document["known_later"]["state"], "cancelled");
    let log_again = user.says(&["getlogs", &id, "--attempt", "1"]).await;
    assert_eq!(log_again, log);
    let left = || async {
        let entries = fs::read_dir(world.path("state").join("attempts"));
        let left = entries.map_err(|error| error.to_string())?.count();
        if left == 0 { Ok(()) } else { Err(format!("{left} attempts are left")) }
    };
    eventually(left).await.unwrap();
    // It takes work as before.
    let next = run_job(&world, shell("next", "echo hello")).await;
    assert_eq!(world.over(&next).await.state(), ExecutionState::Succeeded);
}
