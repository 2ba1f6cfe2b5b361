//! Three executors with labels, a job that runs once at a time for each of its targets, and executors that go.

use crate::{
    user::{User, arguments},
    world::{World, eventually},
};
use octavius_client::v1::{ExecutionState, ExecutorState};
use serde_json::json;
use std::{collections::BTreeMap, fs};

/// How many are submitted at once, and for how many targets.
const SUBMITS: usize = 60;
const TARGETS: usize = 6;

/// Ends with 9 where another one of its target runs, and not while it is told to stay.
const DEPLOY: &str = r#"mkdir "$locks/$target" || exit 9
while [ -e "$locks/stay" ]; do sleep 0.05; done
sleep 0.1
rmdir "$locks/$target""#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_many_ask_for_runs_once_at_a_time_for_each_target_though_executors_go() {
    let mut world = World::new(4);
    world.configure_controller("executor_ping_deadline", json!(3));
    world.configure_controller("executor_lost_after", json!(15));
    world.controller.start();
    world.serves().await;
    let executor = |id, region| world.other_executor(id, json!({ "region": region }));
    let mut berlin = [executor("berlin-1", "berlin"), executor("berlin-2", "berlin")];
    let mut paris = executor("paris-1", "paris");
    berlin.iter_mut().chain([&mut paris]).for_each(|executor| executor.start());
    let all = || async {
        let found = world.client.executors().await.map_err(|error| error.to_string())?;
        (found.len() == 3).then_some(()).ok_or_else(|| format!("{found:?}"))
    };
    eventually(all).await.unwrap();

    let user = User::of(&world);
    let definition = json!({
        "env_vars": arguments(&["locks!", "target!"])["env_vars"], "concurrency_key": "target",
    });
    user.job("deploy", DEPLOY, definition).await;
    let locks = world.path("locks");
    fs::create_dir(&locks).unwrap();
    let stay = locks.join("stay");
    fs::write(&stay, "").unwrap();
    let locks = locks.to_str().unwrap();
    let submits = (0..SUBMITS).map(|number| {
        let target = (number % TARGETS).to_string();
        let values = [("locks", locks.to_owned()), ("target", target)];
        let values: BTreeMap<_, _> =
            values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        world.client.execute("deploy", values)
    });
    let submitted = futures::future::try_join_all(submits).await.unwrap();
    let ids: Vec<String> = submitted.into_iter().map(|execution| execution.id).collect();

    // Of two of a target one is held up by the other, and by nobody's places. Which of them came first, nobody knows.
    let place =
        "waits for a place of its job: `concurrency_key` of job `deploy` lets one at a time run";
    let held_up = || async {
        let mut both = String::new();
        for id in [&ids[0], &ids[TARGETS]] {
            both += &user.says(&["explain", id]).await;
        }
        both.contains(place).then_some(()).ok_or(both)
    };
    eventually(held_up).await.unwrap();
    fs::remove_file(&stay).unwrap();
    let there = ["deploy", &format!("locks={locks}"), "target=moon", "--on", "region=moon"];
    let moon = user.execute(&there).await;
    let explained = user.says(&["explain", &moon]).await;
    for words in ["no executor has the label `region=moon`", "has region=paris, not moon"] {
        assert!(explained.contains(words), "no {words} in {explained}");
    }
    assert_eq!(explained.matches(" unfit ").count(), 3, "{explained}");
    let refused = [&["execute"], &there[..], &["--require-executor"]].concat();
    let refused = user.run(&refused).await;
    assert!(refused.status != Some(0) && refused.err.contains("region=moon"), "{}", refused.err);

    // One goes for good, with something that runs, and one for a while.
    user.job("hold", "sleep 30", json!({})).await;
    let held = user.execute(&["hold", "--on", "region=paris"]).await;
    world.reaches(&held, |held| held.state() == ExecutionState::Running).await;
    paris.kill();
    berlin[0].kill();
    let expired = || async {
        let found = world.client.executors().await.map_err(|error| error.to_string())?;
        let silent = found.iter().filter(|found| found.state() != ExecutorState::Ready).count();
        (silent == 2).then_some(()).ok_or_else(|| format!("{found:?}"))
    };
    eventually(expired).await.unwrap();
    berlin[0].start();
    let mut ends: BTreeMap<(String, String), usize> = BTreeMap::new();
    for id in &ids {
        let over = world.over(id).await;
        let end = match over.state() {
            ExecutionState::Succeeded => "succeeded".to_owned(),
            ExecutionState::Lost => "lost".to_owned(),
            _ => format!("{} ({})", over.reason, id),
        };
        *ends.entry((end, over.executor)).or_default() += 1;
    }
    let count = |end: &str| -> usize {
        ends.iter().filter(|((ended, _), _)| ended == end).map(|(_, count)| count).sum()
    };
    assert_eq!(count("succeeded") + count("lost"), SUBMITS, "{ends:?}");
    let lost = ends.keys().filter(|(end, _)| end == "lost");
    assert!(lost.clone().all(|(_, executor)| executor == "paris-1"), "{ends:?}");
    let held = world.over(&held).await;
    assert_eq!((held.state(), held.executor.as_str()), (ExecutionState::Lost, "paris-1"));
    let executors = user.says(&["executors"]).await;
    assert!(executors.contains("paris-1"), "{executors}");
    user.says(&["cancel", &moon]).await;
}
