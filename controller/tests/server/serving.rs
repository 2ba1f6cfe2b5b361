//! The server as a whole: what describes it, what it refuses to start with, and how it ends.

use crate::world::{SOON, World, configuration, job, look, refusal, until};
use http::uri::PathAndQuery;
use octavius_controller::server::Controller;
use octavius_protocol::{
    DESCRIPTORS,
    v1::{self, jobs_client::JobsClient},
};
use prost::Message;
use std::{collections::BTreeSet, time::Duration};
use tokio::{sync::oneshot, time::Instant};
use tokio_stream::StreamExt;
use tonic::{Code, Request, client::Grpc, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

#[tokio::test(flavor = "multi_thread")]
async fn it_describes_itself() {
    let world = World::start().await;
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut reflection = ServerReflectionClient::new(world.channel().await);
    let answers = reflection.server_reflection_info(tokio_stream::once(ask)).await.unwrap();
    let answer = answers.into_inner().next().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = answer else { panic!("{answer:?}") };
    let listed: BTreeSet<_> = list.service.into_iter().map(|service| service.name).collect();
    let set = prost_types::FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let ours = set.file.iter().filter(|file| file.package() == "octavius.v1");
    for service in ours.flat_map(|file| &file.service) {
        let name = format!("octavius.v1.{}", service.name());
        assert!(listed.contains(&name), "{name} is not among {listed:?}");
    }
    assert!(listed.contains("grpc.health.v1.Health"), "{listed:?}");

    let mut system = v1::system_client::SystemClient::new(world.channel().await);
    let version = system.get_version(v1::GetVersionRequest {}).await.unwrap().into_inner();
    assert_eq!(version.installation, world.running.leadership().unwrap().installation);
    assert_eq!((version.version.as_str(), version.protocol_level), (env!("CARGO_PKG_VERSION"), 1));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_that_it_serves() {
    let world = World::start().await;
    let health = HealthClient::new(world.channel().await);
    for service in ["", "octavius.v1.Jobs", "octavius.v1.Executors"] {
        let check = || {
            let mut health = health.clone();
            let request = HealthCheckRequest { service: service.to_owned() };
            async move { health.check(request).await.map(|answer| answer.into_inner().status()) }
        };
        let serving = |status: &_| matches!(status, Ok(ServingStatus::Serving));
        until("serving", check, serving).await.unwrap();
    }
    assert_eq!(world.look("/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(world.look("/readyz").await, (200, "ready\n".to_owned()));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_measured_by_method_and_code() {
    let world = World::start().await;
    world.create(job("hello")).await;
    let unknown = v1::DescribeJobRequest { name: "nobody".to_owned(), version: 0 };
    assert!(world.jobs().await.describe_job(unknown).await.is_err());
    // A stream's code is known at its end alone; who leaves before it gets one, too.
    let execution = world.execute("hello").await.id;
    let read = |offset| v1::ReadLogRequest {
        execution: execution.clone(),
        offset,
        follow: true,
        ..v1::ReadLogRequest::default()
    };
    let mut behind = world.executions().await.read_log(read(99)).await.unwrap().into_inner();
    assert_eq!(refusal(behind.message().await).0, Code::OutOfRange);
    drop(world.executions().await.read_log(read(0)).await.unwrap());
    let wanted = [
        r#"octavius_rpc_seconds_count{method="Executions/ReadLog",code="OUT_OF_RANGE"}"#,
        r#"octavius_rpc_seconds_count{method="Executions/ReadLog",code="CANCELLED"}"#,
        r#"octavius_rpc_seconds_count{method="Jobs/CreateJob",code="OK"}"#,
        r#"octavius_rpc_seconds_count{method="Jobs/DescribeJob",code="NOT_FOUND"}"#,
        r#"octavius_actor_up{actor="Registry"} 1"#,
        "octavius_store_commits_total",
        "# HELP octavius_queue_pending",
    ];
    let missing = || async {
        let (_, metrics) = world.look("/metrics").await;
        wanted.iter().filter(|wanted| !metrics.contains(**wanted)).collect::<Vec<_>>()
    };
    until("measured", missing, Vec::is_empty).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_without_a_right_name_is_refused_at_the_door() {
    let world = World::start().await;
    let mut request = Request::new(v1::ListJobsRequest::default());
    request.metadata_mut().insert("octavius-user", "a".repeat(300).parse().unwrap());
    let (code, reason, _) = refusal(world.jobs().await.list_jobs(request).await);
    assert_eq!((code, reason.as_str()), (Code::InvalidArgument, "CALLER"));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_end_is_told_to_all_who_wait() {
    let world = World::start().await;
    world.create(job("hello")).await;
    let execution = world.execute("hello").await;
    let mut executor = world.executor("e", 1).await;
    let name = executor.granted().await.name.unwrap();
    executor.run(&name).await;
    executor.append(&name, 0, "kept\n").await.unwrap();
    let long = Duration::from_secs(30);
    let mut idle = world.executor("idle", 1).await;
    let (mut polls, mut attends) = (idle.clone(), executor.clone());
    let held = [name.clone()];
    let mut polling = Box::pin(polls.poll(long));
    assert!(futures::poll!(&mut polling).is_pending());
    let mut attending = Box::pin(attends.attend(&held, long));
    assert!(futures::poll!(&mut attending).is_pending());
    let follow = v1::ReadLogRequest {
        execution: execution.id.clone(),
        offset: 5,
        follow: true,
        ..v1::ReadLogRequest::default()
    };
    let mut log = world.executions().await.read_log(follow).await.unwrap().into_inner();
    let following = tokio::spawn(async move { log.message().await });
    // Calls of one connection arrive in their order: after these answers the two are there.
    executor.append(&name, 5, "").await.unwrap();
    idle.client.list_executors(v1::ListExecutorsRequest::default()).await.unwrap();
    let followers = || async { world.running.followers() };
    until("followed", followers, |followers| *followers == 1).await;

    let world = tokio::time::timeout(SOON, world.restart()).await.expect("it did not end");
    assert_eq!(refusal(polling.await).0, Code::Unavailable);
    assert_eq!(refusal(attending.await).0, Code::Unavailable);
    assert_eq!(refusal(following.await.unwrap()).0, Code::Unavailable);
    // What was appended is durable, and the story goes on where it was.
    let mut again = world.executor("e", 1).await;
    assert_eq!(again.session, executor.session);
    let appended = again.append(&name, 5, "and more\n").await.unwrap();
    assert_eq!(appended.next_offset, 14);
    again.succeed(&name, "kept\nand more\n").await;
    assert_eq!(world.get(&execution.id).await.state(), v1::ExecutionState::Succeeded);
    world.stop().await;
}

/// For so long an end waits for calls that are not answered.
const HELD_UP: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn a_new_call_while_it_ends_is_refused_as_unavailable() {
    let world = World::start().await;
    let (address, metrics) = (world.running.address, world.running.metrics_address);
    let (busy, mut quiet) = (world.channel().await, world.jobs().await);
    let list = || v1::ListJobsRequest::default();
    quiet.list_jobs(list()).await.unwrap();
    // A call whose request is not whole yet holds up the end.
    let (whole, is_whole) = oneshot::channel();
    let request = futures::stream::once(async { is_whole.await.unwrap_or_default() });
    let mut held = Grpc::new(busy.clone());
    held.ready().await.unwrap();
    let codec = ProstCodec::<v1::ListJobsRequest, v1::ListJobsResponse>::default();
    let path = PathAndQuery::from_static("/octavius.v1.Jobs/ListJobs");
    let mut holding = Box::pin(held.client_streaming(Request::new(request), path, codec));
    assert!(futures::poll!(&mut holding).is_pending());
    let mut busy = JobsClient::new(busy);
    // Calls of one connection arrive in their order: after this answer the other one is there.
    busy.list_jobs(list()).await.unwrap();

    let began = Instant::now();
    let ending = tokio::spawn(world.stop());
    let ready = || look(metrics, "/readyz");
    until("ending", ready, |(_, body)| body.contains("the controller is ending")).await;
    // On a connection that was quiet, and on a new one.
    let new = Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    for (which, jobs) in [("quiet", &mut quiet), ("new", &mut JobsClient::new(new))] {
        let refused = tokio::time::timeout(SOON, jobs.list_jobs(list())).await;
        let refused = refused.expect("no answer").unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{which}: {refused:?}");
        let held_up = !ending.is_finished() || began.elapsed() >= HELD_UP;
        assert!(held_up, "{which}: it had ended before");
    }
    let _ = whole.send(list()); // it may have been cut off by now
    let _ = holding.await; // it is answered, or told that this controller ends
    tokio::time::timeout(SOON, ending).await.expect("it did not end").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_is_named_with_the_key_and_the_remedy() {
    let world = World::start().await;
    let mut same_port = configuration(&tempfile::tempdir().unwrap());
    same_port.app_port = world.running.address.port();
    let refused = Controller::start(&same_port).await.unwrap_err();
    assert!(refused.is_configuration(), "{refused}");
    assert!(refused.to_string().contains("give `app_port` another port"), "{refused}");
    let mut same_metrics = configuration(&tempfile::tempdir().unwrap());
    same_metrics.metrics_address = world.running.metrics_address;
    let refused = Controller::start(&same_metrics).await.unwrap_err();
    assert!(refused.to_string().contains("`metrics_address`"), "{refused}");
    let mut same_folder = configuration(&tempfile::tempdir().unwrap());
    same_folder.data_dir = world.configuration.data_dir.clone();
    let refused = Controller::start(&same_folder).await.unwrap_err();
    assert!(refused.is_configuration() && refused.to_string().contains("`data_dir`"), "{refused}");
    // And all of that disturbed nobody.
    world.create(job("hello")).await;
    world.stop().await;
}
