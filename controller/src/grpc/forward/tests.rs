//! A whole controller, and in front of it a server that passes everything on; between the two a way that can be cut and
//! stopped.

use super::*;
use crate::{
    configuration::Configuration,
    grpc::door::PACKAGE,
    server::{Controller, Running},
};
use octavius_protocol::{
    LEADER,
    v1::{self, executions_client::ExecutionsClient, jobs_client::JobsClient},
};
use octavius_service::configuration::from_values;
use std::net::SocketAddr;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    time::Instant,
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Code,
    transport::{Channel, Server},
};
use tonic_types::StatusExt as _;
use tower::{Layer, Service};

/// Longer than anything takes that works.
const SOON: Duration = Duration::from_secs(20);

/// How the way to the leader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Open,
    /// Connections stay, and nothing comes through: what a frozen process looks like from outside.
    Frozen,
    Cut,
}

/// A way to `leader`, and its address.
async fn relay(leader: SocketAddr) -> (SocketAddr, watch::Sender<Line>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (line, seen) = watch::channel(Line::Open);
    tokio::spawn(async move {
        loop {
            let (near, _) = listener.accept().await.unwrap();
            if *seen.borrow() == Line::Cut {
                continue;
            }
            let (near_read, near_write) = near.into_split();
            let (far_read, far_write) = TcpStream::connect(leader).await.unwrap().into_split();
            tokio::spawn(carry(near_read, far_write, seen.clone()));
            tokio::spawn(carry(far_read, near_write, seen.clone()));
        }
    });
    (address, line)
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut line: watch::Receiver<Line>) {
    let mut buffer = [0; 4096];
    let mut cut = line.clone();
    let carried = async {
        loop {
            let read = from.read(&mut buffer).await.unwrap_or(0);
            if line.wait_for(|line| *line == Line::Open).await.is_err() || read == 0 {
                return;
            }
            if to.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = carried => {}
        _ = cut.wait_for(|line| *line == Line::Cut) => {}
    }
}

struct World {
    leader: Running,
    line: watch::Sender<Line>,
    relayed: Address,
    /// Whom the standby passes calls on to.
    leads: watch::Sender<Option<Arc<Forwarder>>>,
    channel: Channel,
    standby: SocketAddr,
    _folder: TempDir,
}

impl World {
    async fn start() -> Self {
        Self::start_with(|_, _| None).await
    }

    /// The same with a leader that `change` configures; it says with what TLS is spoken with it, if with any.
    async fn start_with(
        change: impl FnOnce(&std::path::Path, &mut Configuration) -> Option<ClientTlsConfig>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = r#"{"app_port": 0, "metrics_address": "127.0.0.1:0"}"#;
        let configuration = from_values::<Configuration>(text).unwrap().section;
        let data_dir = folder.path().join("data");
        let mut configuration = Configuration { data_dir, ..configuration };
        let tls = change(folder.path(), &mut configuration);
        let leader = Controller::start(&configuration).await.unwrap();
        let (relayed, line) = relay(leader.address).await;
        let relayed = Address::parse(&relayed.to_string(), tls.is_some()).unwrap();
        let forwarder = Forwarder::to(&relayed, tls).unwrap();
        let (leads, seen) = watch::channel(Some(Arc::new(forwarder)));
        let standby = stand_by(seen).await;
        let channel = connect(standby).await;
        Self { leader, line, relayed, leads, channel, standby, _folder: folder }
    }

    async fn create(&self, name: &str) -> Result<v1::CreateJobResponse, Status> {
        let definition = v1::JobDefinition {
            name: name.to_owned(),
            command: vec!["true".to_owned()],
            ..v1::JobDefinition::default()
        };
        let request = v1::CreateJobRequest { definition: Some(definition), dry_run: false };
        let mut jobs = JobsClient::new(self.channel.clone());
        Ok(within(jobs.create_job(request)).await?.into_inner())
    }

    /// An execution that stays pending.
    async fn execution(&self) -> String {
        self.create("hello").await.unwrap();
        let request = v1::ExecuteRequest { job: "hello".to_owned(), ..Default::default() };
        let mut executions = ExecutionsClient::new(self.channel.clone());
        let answer = within(executions.execute(request)).await.unwrap().into_inner();
        answer.execution.unwrap().id
    }

    /// A call that is parked at the leader until the execution ends, on a task of its own.
    async fn parked(&self, id: &str) -> tokio::task::JoinHandle<Result<(), Status>> {
        let wait = Some(prost_types::Duration { seconds: 30, nanos: 0 });
        let request = v1::GetExecutionRequest { id: id.to_owned(), wait, explain: false };
        let mut executions = ExecutionsClient::new(self.channel.clone());
        let waiting =
            tokio::spawn(async move { executions.get_execution(request).await.map(drop) });
        self.parked_are(1).await;
        waiting
    }

    /// Waits until so many calls are parked at the leader.
    async fn parked_are(&self, wanted: usize) {
        let began = Instant::now();
        let line = format!("octavius_queue_awaited {wanted}\n");
        loop {
            let metrics = metrics_of(self.leader.metrics_address).await;
            if metrics.contains(&line) {
                return;
            }
            let seen: Vec<_> = metrics.lines().filter(|line| line.contains("awaited")).collect();
            assert!(began.elapsed() < SOON, "never {wanted} parked: {seen:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn metrics_of(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = "GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn within<T>(call: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, call).await.expect("no answer")
}

/// A server that passes all calls on to whom `leads` names; it ends with the test.
async fn stand_by(leads: watch::Receiver<Option<Arc<Forwarder>>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (_, health) = tonic_health::server::health_reporter();
    let server = Server::builder()
        .layer(Standby::new(leads))
        .add_service(health)
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
    address
}

async fn connect(address: SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

/// The code of a refusal, and its word for programs.
#[track_caller]
fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    let info = status.get_details_error_info();
    (status.code(), info.map(|info| info.reason).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_refusals_and_details_come_through_as_the_leader_gave_them() {
    let world = World::start().await;
    let created = world.create("hello").await.unwrap();
    assert_eq!(created.job.unwrap().definition.unwrap().name, "hello");
    let status = world.create("No Name").await.unwrap_err();
    let mut direct = JobsClient::new(connect(world.leader.address).await);
    let definition = Some(v1::JobDefinition {
        name: "No Name".to_owned(),
        command: vec!["true".to_owned()],
        ..Default::default()
    });
    let same = direct.create_job(v1::CreateJobRequest { definition, dry_run: false }).await;
    let same = same.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, same.message()));
    assert!(!status.details().is_empty());
    assert_eq!(status.details(), same.details());
    // Metadata as well: the caller is who the caller says.
    let mut request =
        tonic::Request::new(v1::ExecuteRequest { job: "hello".to_owned(), ..Default::default() });
    request.metadata_mut().insert("octavius-user", "ada".parse().unwrap());
    let mut executions = ExecutionsClient::new(world.channel.clone());
    let execution = within(executions.execute(request)).await.unwrap().into_inner().execution;
    assert_eq!(execution.unwrap().submitted_by, "ada");
    world.leader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_comes_through_and_ends_with_the_leaders_code() {
    let world = World::start().await;
    let id = world.execution().await;
    let mut executions = ExecutionsClient::new(world.channel.clone());
    let read = v1::ReadLogRequest {
        execution: id.clone(),
        offset: 99,
        follow: true,
        ..Default::default()
    };
    let mut behind = within(executions.read_log(read)).await.unwrap().into_inner();
    assert_eq!(within(behind.message()).await.unwrap_err().code(), Code::OutOfRange);
    // Who leaves is not followed for at the leader any longer.
    let read = v1::ReadLogRequest { execution: id, follow: true, ..Default::default() };
    let following = within(executions.read_log(read)).await.unwrap().into_inner();
    let followers = async |wanted| {
        let began = Instant::now();
        while world.leader.followers() != wanted {
            assert!(began.elapsed() < SOON, "never {wanted} readers");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    followers(1).await;
    drop(following);
    followers(0).await;
    world.leader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_leaves_a_parked_call_takes_it_from_the_leader() {
    let world = World::start().await;
    let parked = world.parked(&world.execution().await).await;
    parked.abort();
    world.parked_are(0).await;
    world.leader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_under_way_ends_at_once_when_the_leader_changes_even_if_that_one_is_frozen() {
    let world = World::start().await;
    let id = world.execution().await;
    let mut executions = ExecutionsClient::new(world.channel.clone());
    let read = v1::ReadLogRequest { execution: id.clone(), follow: true, ..Default::default() };
    let mut following = within(executions.read_log(read)).await.unwrap().into_inner();
    let parked = world.parked(&id).await;
    world.line.send_replace(Line::Frozen);
    let began = Instant::now();
    world.leads.send_replace(None);
    let lost = (Code::Unavailable, "UNCONFIRMED".to_owned());
    assert_eq!(refusal(within(parked).await.unwrap()), lost);
    assert_eq!(refusal(within(following.message()).await), lost);
    // Before a ping could have found out that it is frozen.
    assert!(began.elapsed() < SOON / 4, "{:?}", began.elapsed());
    let none = world.create("other").await;
    let after = none.as_ref().unwrap_err().get_details_retry_info();
    assert!(after.is_some_and(|info| info.retry_delay.is_some()));
    assert_eq!(refusal(none), (Code::Unavailable, "NO_LEADER".to_owned()));
    world.line.send_replace(Line::Open);
    world.leader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_killed_leaves_open_what_it_had_and_certainly_not_done_what_came_after() {
    let world = World::start().await;
    let parked = world.parked(&world.execution().await).await;
    world.line.send_replace(Line::Cut);
    let lost = (Code::Unavailable, "UNCONFIRMED".to_owned());
    assert_eq!(refusal(within(parked).await.unwrap()), lost);
    // Whoever takes its port is asked as soon as it is there.
    world.line.send_replace(Line::Open);
    world.create("other").await.unwrap();
    // Nobody listens there at all, nor takes the port meanwhile.
    let taken = TcpSocket::new_v4().unwrap();
    taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let nobody = Address::parse(&taken.local_addr().unwrap().to_string(), false).unwrap();
    world.leads.send_replace(Some(Arc::new(Forwarder::to(&nobody, None).unwrap())));
    assert_eq!(refusal(world.create("b").await), (Code::Unavailable, "LEADER_AWAY".to_owned()));
    world.leader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_passed_on_once_is_not_passed_on_again_and_hears_who_leads() {
    let world = World::start().await;
    // A second standby that takes the first for the leader.
    let first = Address::parse(&world.standby.to_string(), false).unwrap();
    let forwarder = Arc::new(Forwarder::to(&first, None).unwrap());
    let second = stand_by(watch::channel(Some(forwarder)).1).await;
    let mut jobs = JobsClient::new(connect(second).await);
    let refused = within(jobs.list_jobs(v1::ListJobsRequest::default())).await.unwrap_err();
    let info = refused.get_details_error_info().unwrap();
    assert_eq!((refused.code(), info.reason.as_str()), (Code::Unavailable, "NOT_LEADING"));
    assert_eq!(info.metadata.get(LEADER), Some(&world.relayed.to_string()));
    world.leader.stop().await;
}

#[tokio::test]
async fn what_belongs_to_one_connection_stays_there_and_all_else_goes_on() {
    let request = Request::post("http://standby:1/octavius.v1.Jobs/ListJobs?x=1")
        .header(HOST, "standby:1")
        .header("keep-alive", "timeout=5")
        .header("authorization", "Bearer t")
        .header("grpc-timeout", "5S")
        .body(Body::empty())
        .unwrap();
    let sent = onward(request);
    assert_eq!(sent.uri(), "/octavius.v1.Jobs/ListJobs?x=1");
    let mut names: Vec<_> = sent.headers().keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["authorization", "grpc-timeout", "octavius-forwarded", "te"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_go_on_over_tls_where_the_leader_speaks_it() {
    let world = World::start_with(|folder, leader| {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let [certificate, key] = ["cert.pem", "key.pem"].map(|name| folder.join(name));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        // It signed itself, and so is its own authority.
        let tls = octavius_protocol::reach::tls::trusting(Some(&certificate)).unwrap();
        (leader.tls_cert_file, leader.tls_key_file) = (Some(certificate), Some(key));
        Some(tls)
    })
    .await;
    assert!(world.relayed.is_tls());
    assert_eq!(world.create("hello").await.unwrap().job.unwrap().definition.unwrap().name, "hello");
    world.leader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_the_standbys_own() {
    let world = World::start().await;
    world.leads.send_replace(None);
    let mut health =
        tonic_health::pb::health_client::HealthClient::new(connect(world.standby).await);
    let request = tonic_health::pb::HealthCheckRequest::default();
    assert!(within(health.check(request)).await.is_ok());
    world.leader.stop().await;
}

/// Passes each of our calls on to whoever leads when it comes; others, such as those about this controller's own health,
/// are for the services inside.
#[derive(Clone, Debug)]
struct Standby {
    leader: watch::Receiver<Option<Arc<Forwarder>>>,
}

impl Standby {
    /// One that passes calls on to whom `leader` names; none: nobody leads.
    fn new(leader: watch::Receiver<Option<Arc<Forwarder>>>) -> Self {
        Self { leader }
    }
}

impl<S> Layer<S> for Standby {
    type Service = StandingBy<S>;

    fn layer(&self, inner: S) -> StandingBy<S> {
        StandingBy { inner, leader: self.leader.clone() }
    }
}

/// The services of a controller that does not lead.
#[derive(Clone, Debug)]
struct StandingBy<S> {
    inner: S,
    leader: watch::Receiver<Option<Arc<Forwarder>>>,
}

impl<S> Service<Request<Body>> for StandingBy<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if !request.uri().path().starts_with(PACKAGE) {
            return Box::pin(self.inner.call(request));
        }
        match self.leader.borrow().as_ref().map(|leader| leader.call(request)) {
            Some(answer) => Box::pin(async { Ok(answer.await) }),
            None => Box::pin(async { Ok(Status::from(ForwardError::NoLeader).into_http()) }),
        }
    }
}
