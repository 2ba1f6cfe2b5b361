//! `octavius dev`: a whole installation in one process, with its state in a folder.

use crate::{
    desk::Desk,
    world::{Server, eventually, ready},
};
use octavius_client::v1::{Execution, ExecutionState, JobDefinition};
use rustix::process::Signal;
use std::{collections::BTreeMap, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};

fn start(desk: &Desk) -> Server {
    let dev = "target/debug/octavius dev --listen 127.0.0.1:3000 --metrics 127.0.0.1:3001";
    desk.open(&desk.with_ports(dev), "dev.out")
}

async fn reaches(desk: &Desk, id: &str, wanted: fn(&Execution) -> bool) -> Execution {
    let client = desk.client();
    let look = || async {
        let found = client.execution(id).await.map_err(|error| error.to_string())?;
        if wanted(&found) { Ok(found) } else { Err(format!("{found:?}")) }
    };
    eventually(look).await.unwrap()
}

/// What a page says, headers included.
async fn get(address: &str, path: &str) -> String {
    let mut wire = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: octavius\r\nConnection: close\r\n\r\n");
    wire.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    wire.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_installation_ends_with_its_jobs_and_remembers_them() {
    let desk = Desk::new();
    let mut dev = start(&desk);
    ready(&desk.client()).await.unwrap();
    let serves = desk.with_ports("Octavius serves at 127.0.0.1:3000");
    let look = || async { Some(()).filter(|()| dev.said().contains(&serves)).ok_or(dev.said()) };
    eventually(look).await.unwrap();
    let said = dev.said();
    let (_, behind) = said.split_once("of the executor http://").expect("where its metrics are");
    let (executor, _) = behind.split_once("/metrics").unwrap();
    // The controller knows it before it knows that itself.
    let up = || async {
        let seen = get(executor, "/metrics").await;
        let is_up =
            |actor: &str| seen.contains(&format!("octavius_actor_up{{actor=\"{actor}\"}} 1"));
        let all = ["attempts", "heartbeat", "poller"].into_iter().all(is_up);
        if all { Ok(seen) } else { Err(seen) }
    };
    let seen = eventually(up).await.unwrap();
    assert!(seen.contains("# HELP octavius_executor_attempts Attempts"), "{seen}");
    let is_ready = || async {
        let said = get(executor, "/readyz").await;
        if said.ends_with("ready\n") { Ok(()) } else { Err(said) }
    };
    eventually(is_ready).await.unwrap();
    let definition = JobDefinition {
        name: "sleep".to_owned(),
        command: [
            "sh",
            "-c",
            "trap 'echo told; exit' TERM; echo begun; while :; do sleep 0.05; done",
        ]
        .map(str::to_owned)
        .to_vec(),
        ..JobDefinition::default()
    };
    desk.client().create_job(definition).await.unwrap();
    let id = desk.client().execute("sleep", BTreeMap::new()).await.unwrap().id;
    // Only now does the program hear a signal.
    reaches(&desk, &id, |execution| execution.log_size > 0).await;
    assert_eq!(dev.end_by(Signal::INT).await, Some(0), "{}", dev.said());

    let mut dev = start(&desk);
    ready(&desk.client()).await.unwrap();
    let ended = reaches(&desk, &id, |found| found.state() == ExecutionState::Cancelled).await;
    assert!(ended.reason.contains("the executor was ended"), "{ended:?}");
    let log = desk
        .run(
            &desk.with_ports(&format!("CP_HOST=127.0.0.1:3000 target/debug/octavius getlogs {id}")),
        )
        .await;
    assert!(String::from_utf8(log.stdout).unwrap().ends_with("told\n"));
    assert_eq!(dev.end_by(Signal::TERM).await, Some(0), "{}", dev.said());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_leaves_at_once_although_a_job_does_not_let_itself_be_ended() {
    let desk = Desk::new();
    let mut dev = start(&desk);
    ready(&desk.client()).await.unwrap();
    let go = desk.path("go");
    let script =
        format!("trap '' TERM; echo begun; while [ ! -e {} ]; do sleep 0.05; done", go.display());
    let definition = JobDefinition {
        name: "deaf".to_owned(),
        command: ["sh".to_owned(), "-c".to_owned(), script].to_vec(),
        ..JobDefinition::default()
    };
    desk.client().create_job(definition).await.unwrap();
    let id = desk.client().execute("deaf", BTreeMap::new()).await.unwrap().id;
    reaches(&desk, &id, |execution| execution.log_size > 0).await;
    dev.signal(Signal::INT);
    let look = || async {
        let said = dev.said();
        Some(()).filter(|()| said.contains("a second signal leaves at once")).ok_or(said)
    };
    eventually(look).await.unwrap();
    let began = Instant::now();
    assert_eq!(dev.end_by(Signal::INT).await, Some(130), "{}", dev.said());
    // The job's grace is 10 s.
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}: {}", began.elapsed(), dev.said());
    std::fs::write(go, "").unwrap();
}
