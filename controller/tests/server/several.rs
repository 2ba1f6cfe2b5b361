//! Several controllers on one etcd: one leads, the others pass calls on, and any may end.

use crate::world::{Executor, SOON, job, look, on, registration, span, until};
use octavius_controller::{
    configuration::Configuration,
    server::{Controller, Running},
};
use octavius_protocol::v1::{
    self, executions_client::ExecutionsClient, executors_client::ExecutorsClient,
    jobs_client::JobsClient,
};
use octavius_service::configuration::from_values;
use octavius_testbed::{
    etcd::{Etcd, EtcdOptions},
    proxy::Proxy,
};
use serde_json::json;
use std::{net::SocketAddr, time::Duration};
use tempfile::TempDir;
use tokio::time::Instant;
use tonic::{Status, Streaming, transport::Channel};

/// The same with its logs in this folder.
fn with_logs(configuration: Configuration, logs: &TempDir) -> Configuration {
    let url = json!({ "log_store": format!("file://{}", logs.path().display()) });
    let log_store = from_values::<Configuration>(&url.to_string()).unwrap().section.log_store;
    Configuration { log_store, ..configuration }
}

fn channel(address: SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy()
}

async fn create(address: SocketAddr, name: &str) -> Result<(), Status> {
    let request = v1::CreateJobRequest { definition: Some(job(name)), dry_run: false };
    JobsClient::new(channel(address)).create_job(request).await.map(|_| ())
}

async fn execute(address: SocketAddr, name: &str) -> Result<v1::Execution, Status> {
    let request = v1::ExecuteRequest { job: name.to_owned(), ..v1::ExecuteRequest::default() };
    let answer = ExecutionsClient::new(channel(address)).execute(request).await;
    answer.map(|answer| answer.into_inner().execution.unwrap())
}

async fn answers(running: &Running, path: &str) -> (u16, String) {
    look(running.metrics_address, path).await
}

async fn leads(running: &Running) {
    until("the leader", || answers(running, "/leaderz"), |(code, _)| *code == 200).await;
}

async fn stands_by(running: &Running) {
    until("ready", || answers(running, "/readyz"), |(code, _)| *code == 200).await;
    let (code, why) = answers(running, "/leaderz").await;
    assert_eq!(code, 503, "{why}");
    assert!(why.contains(" leads"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_passes_calls_on_and_leads_when_the_leader_ends() {
    let (etcd, folder) = (Etcd::start(EtcdOptions::default()).await, tempfile::tempdir().unwrap());
    // Nobody waits until this has run out.
    let patient = Configuration { leader_ttl: SOON * 2, ..on(&etcd, &folder) };
    let first = Controller::start(&patient).await.unwrap();
    leads(&first).await;
    let second = Controller::start(&patient).await.unwrap();
    stands_by(&second).await;
    create(second.address, "hello").await.unwrap();
    let made = execute(second.address, "hello").await.unwrap();
    // An executor that dials the standby gets the work.
    let mut client = ExecutorsClient::new(channel(second.address));
    let registered = client.register(registration("one", 1, 1)).await.unwrap().into_inner();
    let mut executor = Executor { client, session: registered.session, registered };
    let lease = executor.granted().await;
    let name = lease.name.clone().unwrap();
    assert_eq!(name.execution, made.id);
    executor.run(&name).await;
    executor.append(&name, 0, "all of it\n").await.unwrap();

    let began = Instant::now();
    let term = first.leadership().unwrap();
    first.stop().await;
    let handed = Instant::now();
    let _ =
        until("served by the next one", || execute(second.address, "hello"), Result::is_ok).await;
    println!("ended in {:?}, then {:?}", handed - began, handed.elapsed());
    let next = second.leadership().unwrap();
    assert_eq!(next.installation, term.installation);
    assert!(next.revision > term.revision);
    // What ran goes on: its end and its log arrive at the next leader.
    let _ = until(
        "the executor is known",
        || {
            let mut executor = executor.clone();
            let held = [name.clone()];
            async move { executor.attend(&held, Duration::ZERO).await }
        },
        Result::is_ok,
    )
    .await;
    executor.succeed(&name, "all of it\n").await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_through_a_standby_who_pause_hold_up_nobody_else() {
    let (etcd, folder) = (Etcd::start(EtcdOptions::default()).await, tempfile::tempdir().unwrap());
    let first = Controller::start(&on(&etcd, &folder)).await.unwrap();
    leads(&first).await;
    let second = Controller::start(&on(&etcd, &folder)).await.unwrap();
    stands_by(&second).await;
    create(first.address, "loud").await.unwrap();
    let made = execute(first.address, "loud").await.unwrap();
    let mut client = ExecutorsClient::new(channel(first.address));
    let registered = client.register(registration("one", 1, 1)).await.unwrap().into_inner();
    let mut executor = Executor { client, session: registered.session, registered };
    let lease = executor.granted().await.name.unwrap();
    executor.run(&lease).await;
    let piece = "x".repeat(64 << 10);
    let mut size = 0;
    while size < 2 << 20 {
        executor.append(&lease, size, &piece).await.unwrap();
        size += piece.len() as u64;
    }
    // So many that the log, for each of them, is more than one connection has under way.
    let mut paused = Vec::new();
    for _ in 0..11 {
        let endpoint = Channel::from_shared(format!("http://{}", second.address)).unwrap();
        let endpoint = endpoint.initial_stream_window_size(1 << 10);
        paused.push(follow(endpoint.connect_lazy(), &made.id).await);
    }
    let mut reading = follow(channel(second.address), &made.id).await;
    let reads = async {
        let mut read = 0;
        while read < size {
            read += shown(&mut reading).await;
        }
        // And what comes now.
        executor.append(&lease, size, "more\n").await.unwrap();
        assert_eq!(shown(&mut reading).await, 5);
    };
    tokio::time::timeout(SOON, reads).await.expect("it waits for those who have paused");
    drop(paused);
    second.stop().await;
    first.stop().await;
}

async fn follow(channel: Channel, id: &str) -> Streaming<v1::ReadLogResponse> {
    let request =
        v1::ReadLogRequest { execution: id.to_owned(), follow: true, ..Default::default() };
    ExecutionsClient::new(channel).read_log(request).await.unwrap().into_inner()
}

/// How many bytes of a log the next message shows.
async fn shown(reading: &mut Streaming<v1::ReadLogResponse>) -> u64 {
    use v1::read_log_response::Part;
    match reading.message().await.unwrap().unwrap().part.unwrap() {
        Part::Chunk(chunk) => chunk.data.len() as u64,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_is_away_is_told_and_all_goes_on_when_it_is_back() {
    let (mut etcd, folder) =
        (Etcd::start(EtcdOptions::default()).await, tempfile::tempdir().unwrap());
    let running = Controller::start(&on(&etcd, &folder)).await.unwrap();
    leads(&running).await;
    create(running.address, "hello").await.unwrap();
    etcd.member(0).kill();
    until("told", || answers(&running, "/readyz"), |(code, _)| *code == 503).await;
    let began = Instant::now();
    let refused = execute(running.address, "hello").await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused}");
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert!(refused.message().contains("etcd"), "{refused}");
    etcd.member(0).start();
    etcd.serves().await;
    let _ = until("served again", || execute(running.address, "hello"), Result::is_ok).await;
    until("ready", || answers(&running, "/readyz"), |(code, _)| *code == 200).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_waits_for_an_etcd_that_is_not_there_yet() {
    let (mut etcd, folder) =
        (Etcd::start(EtcdOptions::default()).await, tempfile::tempdir().unwrap());
    etcd.member(0).kill();
    let running = Controller::start(&on(&etcd, &folder)).await.unwrap();
    let endpoint = etcd.endpoints().remove(0);
    let told = |(code, why): &(u16, String)| *code == 503 && why.contains(&endpoint);
    until("told where it is not", || answers(&running, "/readyz"), told).await;
    etcd.member(0).start();
    etcd.serves().await;
    leads(&running).await;
    create(running.address, "hello").await.unwrap();
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_with_another_master_key_passes_calls_on_and_never_leads() {
    let (etcd, folder) = (Etcd::start(EtcdOptions::default()).await, tempfile::tempdir().unwrap());
    let (logs, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let of = |folder| with_logs(on(&etcd, folder), &logs);
    let first = Controller::start(&of(&folder)).await.unwrap();
    leads(&first).await;
    let second = Controller::start(&of(&other)).await.unwrap();
    let told = |(code, why): &(u16, String)| {
        *code == 503 && why.contains("master.key") && why.contains("copy it")
    };
    until("told what is missing", || answers(&second, "/readyz"), told).await;
    create(second.address, "hello").await.unwrap();
    first.stop().await;
    // Whoever has the key may, although the other one has waited for longer.
    let third = Controller::start(&of(&folder)).await.unwrap();
    leads(&third).await;
    assert_eq!(second.leadership(), None);
    let (code, why) = answers(&second, "/readyz").await;
    assert_eq!(code, 503, "{why}");
    // And it may as soon as it has the key.
    std::fs::copy(folder.path().join("master.key"), other.path().join("master.key")).unwrap();
    until("ready", || answers(&second, "/readyz"), |(code, _)| *code == 200).await;
    third.stop().await;
    leads(&second).await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_keeps_its_logs_elsewhere_does_not_lead() {
    let (etcd, folder) = (Etcd::start(EtcdOptions::default()).await, tempfile::tempdir().unwrap());
    let first = Controller::start(&on(&etcd, &folder)).await.unwrap();
    leads(&first).await;
    let other = tempfile::tempdir().unwrap();
    std::fs::copy(folder.path().join("master.key"), other.path().join("master.key")).unwrap();
    let second = Controller::start(&on(&etcd, &other)).await.unwrap();
    stands_by(&second).await;
    first.stop().await;
    let told = |(code, why): &(u16, String)| *code == 503 && why.contains("in another place");
    until("told where they are", || answers(&second, "/readyz"), told).await;
    let third = Controller::start(&on(&etcd, &folder)).await.unwrap();
    leads(&third).await;
    stands_by(&second).await;
    third.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_at_a_leader_that_is_cut_off_is_told_when_another_one_may_lead() {
    let (etcd, folder) = (Etcd::start(EtcdOptions::default()).await, tempfile::tempdir().unwrap());
    let way = Proxy::to(etcd.endpoints()[0].trim_start_matches("http://")).await;
    let mut cut_off = on(&etcd, &folder);
    let through = json!({ "etcd_endpoints": format!("http://{}", way.address) });
    cut_off.etcd_endpoints =
        from_values::<Configuration>(&through.to_string()).unwrap().section.etcd_endpoints;
    let first = Controller::start(&cut_off).await.unwrap();
    leads(&first).await;
    create(first.address, "hello").await.unwrap();
    let made = execute(first.address, "hello").await.unwrap();
    let second = Controller::start(&on(&etcd, &folder)).await.unwrap();
    stands_by(&second).await;
    let wait = v1::GetExecutionRequest {
        id: made.id,
        wait: Some(span(Duration::from_secs(60))),
        explain: false,
    };
    let mut asking = ExecutionsClient::new(channel(first.address));
    let parked = tokio::spawn(async move { asking.get_execution(wait).await });
    way.cut();
    leads(&second).await;
    let told = tokio::time::timeout(SOON, parked).await;
    let told = told.expect("it is parked at who led").unwrap().unwrap_err();
    assert_eq!(told.code(), tonic::Code::Unavailable, "{told}");
    assert!(told.message().contains("etcd has not confirmed"), "{told}");
    let refused = execute(first.address, "hello").await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused}");
    way.mend();
    stands_by(&first).await;
    execute(first.address, "hello").await.unwrap();
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_the_store_is_an_error_at_the_start() {
    let (etcd, folder) = (Etcd::start(EtcdOptions::default()).await, tempfile::tempdir().unwrap());
    etcd.put("octavius/foreign", b"1").await;
    let refused = Controller::start(&on(&etcd, &folder)).await.unwrap_err();
    assert!(refused.is_configuration(), "{refused}");
    assert!(refused.to_string().contains("etcd_prefix"), "{refused}");
    let mut everywhere = on(&etcd, &folder);
    everywhere.etcd_prefix = "other/".to_owned();
    let running = Controller::start(&everywhere).await.unwrap();
    leads(&running).await;
    assert!(tokio::time::timeout(SOON, running.stop()).await.is_ok());
    assert!(etcd.get("other/v1/leader").await.is_none(), "it kept the lead");
}
