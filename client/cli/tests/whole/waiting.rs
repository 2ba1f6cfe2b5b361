//! `pending` says what it waits for, and an id belongs to one executor at a time.

use crate::{
    user::{User, arguments},
    world::{World, eventually},
};
use octavius_client::v1::ExecutionState;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pending_says_what_it_waits_for() {
    let mut world = World::new(1);
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
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_executor_of_one_id_is_refused_while_the_first_has_work_and_both_places_are_named()
{
    let mut world = World::start().await;
    let user = User::of(&world);
    user.job("wait", "while [ ! -e \"$go\" ]; do sleep 0.02; done; echo done", arguments(&["go!"]))
        .await;
    let go = world.path("go");
    let id = user.execute(&["wait", &format!("go={}", go.display())]).await;
    world.reaches(&id, |execution| execution.state() == ExecutionState::Running).await;

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
    for named in ["test-executor".to_owned(), place("state"), place("rival")] {
        assert!(refused.contains(&named), "no {named} in {refused}");
    }
    // The first is not disturbed: it goes on, and ends what it began.
    std::fs::write(&go, "").unwrap();
    assert_eq!(world.over(&id).await.state(), ExecutionState::Succeeded, "{}", rival.said());
    assert_eq!(user.says(&["getlogs", &id]).await, "done\n");
    assert_eq!(rival.end().await, Some(0), "{}", rival.said());
    // It holds nothing any more: now the id may move.
    world.executor.end().await;
    rival.start();
    world.ready().await;
    let id = user.execute(&["wait", &format!("go={}", go.display())]).await;
    assert_eq!(world.over(&id).await.state(), ExecutionState::Succeeded, "{}", rival.said());
}
