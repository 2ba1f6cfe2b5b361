//! P1 to P4 against SIGKILL: whatever is killed, whenever, every execution ends right, once, with its whole log.

use crate::world::World;
use futures::{StreamExt, stream};
use octavius_client::v1::ExecutionState;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::{collections::BTreeMap, time::Duration};

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
        let execution = world.over(id).await;
        let code = i32::try_from(number % 3).unwrap();
        let right = if code == 0 { ExecutionState::Succeeded } else { ExecutionState::Failed };
        assert_eq!((execution.state(), execution.exit_code), (right, Some(code)), "{execution:?}");
        assert_eq!(execution.log_cut, "", "{execution:?}");
        let log = world.log(id).await;
        assert_eq!(String::from_utf8_lossy(&log), String::from_utf8_lossy(&expected_log(*number)));
    }
    let ran = std::fs::read_to_string(ran).unwrap();
    let mut ran: Vec<&str> = ran.lines().collect();
    ran.sort_unstable();
    let mut ids: Vec<&str> = submitted.iter().map(|(_, id)| id.as_str()).collect();
    ids.sort_unstable();
    assert_eq!(ran, ids, "each ran once");
}
