//! P1 to P4 against SIGKILL: whatever is killed, whenever, every execution ends right, once, with its whole log.

use crate::world::World;
use futures::{StreamExt, stream};
use octavius_client::v1::{ExecuteRequest, Execution, ExecutionState};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::{collections::BTreeMap, path::Path, time::Duration};

const EXECUTIONS: usize = 50;
const KILLS: usize = 20;

/// Says once that it ran, then writes lines for about a second and a half.
const SCRIPT: &str = r#"echo "$OCTAVIUS_EXECUTION_ID" >> "$RAN"
i=0
while [ $i -lt 30 ]; do i=$((i + 1)); echo "line $i of $NUMBER"; sleep 0.05; done
exit "$CODE""#;

fn expected_log(number: usize) -> Vec<u8> {
    let lines = (1..=30).map(|line| format!("line {line} of {number}\n"));
    lines.collect::<String>().into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_killed_whenever_each_execution_runs_once_and_ends_right() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let mut world = World::start().await;
    let ran = world.path("ran");
    world.job("count", SCRIPT, &["RAN", "NUMBER", "CODE"]).await;

    let client = world.client.clone();
    let file = ran.to_str().unwrap().to_owned();
    // Submitting goes on while servers die: the client asks again with the same request id.
    let submitting = tokio::spawn(async move {
        let submits = stream::iter(0..EXECUTIONS).map(|number| {
            let values = [
                ("RAN", file.clone()),
                ("NUMBER", number.to_string()),
                ("CODE", (number % 3).to_string()),
            ];
            let arguments: BTreeMap<String, String> =
                values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            let client = &client;
            async move { (number, client.execute("count", arguments).await.unwrap().id) }
        });
        submits.buffered(4).collect::<Vec<_>>().await
    });

    for kill in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(random.random_range(50..900))).await;
        let server = if random.random() { &mut world.controller } else { &mut world.executor };
        server.kill();
        println!("kill {kill}");
        tokio::time::sleep(Duration::from_millis(random.random_range(0..300))).await;
        server.start();
    }

    let submitted = submitting.await.unwrap();
    for (number, id) in &submitted {
        ends_right(&world, *number, id).await;
    }
    assert_each_ran_once(&ran, submitted.iter().map(|(_, id)| id.as_str()));
}

/// Waits for an execution's end, which is the one that its number says, with its whole log.
async fn ends_right(world: &World, number: usize, id: &str) -> Execution {
    let execution = world.over(id).await;
    let code = i32::try_from(number % 3).unwrap();
    let right = if code == 0 { ExecutionState::Succeeded } else { ExecutionState::Failed };
    assert_eq!((execution.state(), execution.exit_code), (right, Some(code)), "{execution:?}");
    assert_eq!(execution.log_cut, "", "{execution:?}");
    let log = world.log(id).await;
    assert_eq!(String::from_utf8_lossy(&log), String::from_utf8_lossy(&expected_log(number)));
    execution
}

#[track_caller]
fn assert_each_ran_once<'a>(ran: &Path, ids: impl Iterator<Item = &'a str>) {
    let ran = std::fs::read_to_string(ran).unwrap();
    let mut ran: Vec<&str> = ran.lines().collect();
    ran.sort_unstable();
    let mut ids: Vec<&str> = ids.collect();
    ids.sort_unstable();
    assert_eq!(ran, ids, "each ran once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_executors_of_which_one_is_killed_each_ends_only_its_own() {
    const EACH: usize = 4;
    let mut world = World::new(EACH);
    let mut other = world.other_executor("other", serde_json::json!({}));
    world.start_all();
    other.start();
    world.ready().await;
    let go = world.path("go").display().to_string();
    let script = format!("while [ ! -e {go}-$ROUND ]; do sleep 0.02; done\n{SCRIPT}");
    world.job("count", &script, &["ROUND", "RAN", "NUMBER", "CODE"]).await;
    // First it comes back while both work, then only once the other's have ended.
    for (round, comes_back) in [("0", true), ("1", false)] {
        let ran = world.path(&format!("ran-{round}"));
        let mut begun = Vec::new();
        for number in 0..2 * EACH {
            let on = ["test-executor", "other"][number % 2];
            let (word, code) = (number.to_string(), (number % 3).to_string());
            let values = [
                ("ROUND", round),
                ("RAN", ran.to_str().unwrap()),
                ("NUMBER", word.as_str()),
                ("CODE", code.as_str()),
            ];
            let pair = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
            let request = ExecuteRequest {
                job: "count".to_owned(),
                arguments: values.map(pair).into(),
                on: [pair(("executor", on))].into(),
                ..ExecuteRequest::default()
            };
            begun.push((number, on, world.client.execute_with(request).await.unwrap().id));
        }
        for (_, _, id) in &begun {
            world.reaches(id, |now| now.state() == ExecutionState::Running).await;
        }
        world.executor.kill();
        std::fs::write(format!("{go}-{round}"), "").unwrap();
        if comes_back {
            world.executor.start();
        }
        // Those of the other one first.
        begun.sort_by_key(|(_, on, _)| *on);
        let (others, its) = begun.split_at(EACH);
        for part in [others, its] {
            for (number, on, id) in part {
                let over = ends_right(&world, *number, id).await;
                assert_eq!((over.executor.as_str(), over.attempt), (*on, 1), "{over:?}");
            }
            if !comes_back && part == others {
                for (_, _, id) in its {
                    let waits = world.client.execution(id).await.unwrap();
                    assert_eq!(waits.state(), ExecutionState::Running, "who ended it? {waits:?}");
                }
                world.executor.start();
            }
        }
        assert_each_ran_once(&ran, begun.iter().map(|(_, _, id)| id.as_str()));
    }
}
