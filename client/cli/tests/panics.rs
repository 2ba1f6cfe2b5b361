//! P1 to P4 against panics: while executions run, every actor of both servers panics, again and again.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)] // a test, and its helpers

use futures::{StreamExt, future, stream};
use octavius_client::{Client, Error, LogItem, Settings, v1};
use octavius_controller::{
    configuration::Configuration as ControllerConfiguration,
    server::{Controller, Faults},
};
use octavius_executor::{
    configuration::Configuration as ExecutorConfiguration,
    runner::process::SupervisorCommand,
    server::{Executor, Running},
};
use octavius_service::configuration::from_values;
use serde_json::json;
use std::{collections::BTreeMap, path::Path, time::Duration};
use tokio::time::{Instant, timeout_at};

const EXECUTIONS: usize = 24;
const PATIENCE: Duration = Duration::from_secs(90);
const SCRIPT: &str = r#"echo "$OCTAVIUS_EXECUTION_ID" >> "$RAN"
i=0
while [ $i -lt 30 ]; do i=$((i + 1)); echo "line $i"; sleep 0.05; done"#;

fn controller(folder: &Path) -> ControllerConfiguration {
    let values = json!({
        "app_port": 0, "metrics_address": "127.0.0.1:0", "store": "embedded",
        "data_dir": folder.join("controller"),
    });
    from_values(&values.to_string()).unwrap().section
}

fn executor(folder: &Path, controller: &str) -> ExecutorConfiguration {
    let values = json!({
        "id": "panics", "cp_host": controller, "runner": "process", "capacity": 6,
        "ping_interval": 1, "state_dir": folder.join("executor"),
    });
    from_values(&values.to_string()).unwrap().section
}

/// Makes one of the executor's actors panic.
async fn panic_of(executor: &Running, actor: usize) {
    let _ = match actor {
        0 => executor.attempts().inject_panic().await,
        1 => executor.heartbeat().inject_panic().await,
        _ => executor.poller().inject_panic().await,
    };
}

async fn log(client: &Client, id: &str) -> Result<Vec<u8>, Error> {
    let mut log = Vec::new();
    let mut items = client.follow_log(id, 0, 0, true).await?;
    while let Some(item) = items.next().await {
        match item? {
            LogItem::Bytes { data, .. } => log.extend_from_slice(&data),
            LogItem::Notice(notice) => println!("{id}: {notice:?}"),
            LogItem::End(_) => break,
        }
    }
    Ok(log)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whichever_actor_panics_whenever_each_execution_runs_once_and_ends_right() {
    let folder = tempfile::tempdir().unwrap();
    let serving = Controller::start(&controller(folder.path())).await.unwrap();
    let address = serving.address.to_string();
    let program = env!("CARGO_BIN_EXE_octavius").into();
    let supervisor = SupervisorCommand { program, arguments: vec!["supervise".into()] };
    let running = Executor::start(&executor(folder.path(), &address), supervisor).await.unwrap();
    let settings = Settings {
        ca_file: None,
        address: format!("http://{address}"),
        email: None,
        token: None,
        timeout: PATIENCE,
    };
    let client = Client::new(&settings).unwrap().with_patience(PATIENCE);
    let definition = v1::JobDefinition {
        name: "count".to_owned(),
        command: ["sh", "-c", SCRIPT].map(str::to_owned).to_vec(),
        arguments: vec![v1::Argument {
            name: "RAN".to_owned(),
            required: true,
            ..Default::default()
        }],
        ..Default::default()
    };
    client.create_job(definition).await.unwrap();
    let ran = folder.path().join("ran");
    let arguments = BTreeMap::from([("RAN".to_owned(), ran.to_str().unwrap().to_owned())]);

    let panics = async {
        let faults = serving.faults();
        // Further apart than the pauses are long, so that work goes on between them.
        for round in 0..2 {
            for actor in 0..3 {
                tokio::time::sleep(Duration::from_millis(300)).await;
                panic_of(&running, actor).await;
                println!("{round}: executor's actor {actor}");
            }
            for actor in Faults::ACTORS {
                tokio::time::sleep(Duration::from_millis(300)).await;
                let _ = faults.panic(actor).await;
                println!("{round}: {actor}");
            }
        }
    };
    let submits = stream::iter(0..EXECUTIONS).map(|_| client.execute("count", arguments.clone()));
    let submits = submits.buffered(3).collect::<Vec<_>>();
    let (submitted, ()) = future::join(submits, panics).await;
    let ids: Vec<String> = submitted.into_iter().map(|accepted| accepted.unwrap().id).collect();

    let wanted: String = (1..=30).map(|line| format!("line {line}\n")).collect();
    let until = Instant::now() + PATIENCE;
    for id in &ids {
        let execution = timeout_at(until, client.wait(id)).await.expect(id).unwrap();
        assert_eq!(execution.state(), v1::ExecutionState::Succeeded, "{execution:?}");
        assert_eq!(execution.log_cut, "");
        assert_eq!(String::from_utf8(log(&client, id).await.unwrap()).unwrap(), wanted);
    }
    let mut started: Vec<String> =
        std::fs::read_to_string(&ran).unwrap().lines().map(str::to_owned).collect();
    started.sort_unstable();
    let mut ids = ids;
    ids.sort_unstable();
    assert_eq!(started, ids, "each ran once");
    running.stop_and_end_jobs(Duration::from_secs(10)).await;
    serving.stop().await;
}
