//! A controller with a folder of its own, and those who ask it.

use octavius_controller::{
    configuration::Configuration,
    server::{Controller, Running},
    store::{Lead, Patience, StoreHandle, embedded::EmbeddedOpener},
};
use octavius_protocol::v1::{
    self, executions_client::ExecutionsClient, executors_client::ExecutorsClient,
    jobs_client::JobsClient,
};
use octavius_service::{actor::ActorSystem, configuration::from_values};
#[cfg(feature = "etcd")]
use octavius_testbed::etcd::Etcd;
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt;

/// Longer than anything takes that works.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) struct World {
    pub(crate) running: Running,
    pub(crate) configuration: Configuration,
    pub(crate) folder: TempDir,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Configuration)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut configuration = configuration(&folder);
        change(&mut configuration);
        let running = Controller::start(&configuration).await.unwrap();
        Self { running, configuration, folder }
    }

    /// Ends the controller in order, and starts the next one on the same folder.
    pub(crate) async fn restart(self) -> Self {
        let Self { running, configuration, folder } = self;
        running.stop().await;
        let running = Controller::start(&configuration).await.unwrap();
        Self { running, configuration, folder }
    }

    /// The same, and before the next one starts `meanwhile` has the store for itself.
    pub(crate) async fn restart_after(self, meanwhile: impl AsyncFnOnce(StoreHandle)) -> Self {
        let Self { running, configuration, folder } = self;
        running.stop().await;
        let mut system = ActorSystem::start("test").unwrap();
        let opener = Arc::new(EmbeddedOpener::new(&configuration.data_dir));
        let store = StoreHandle::start(&mut system, opener, Lead::sole(), Patience::default())
            .await
            .unwrap();
        store.handle().up(SOON).await.unwrap();
        meanwhile(store).await;
        system.stop().await;
        let running = Controller::start(&configuration).await.unwrap();
        Self { running, configuration, folder }
    }

    pub(crate) async fn stop(self) {
        self.running.stop().await;
    }

    pub(crate) async fn channel(&self) -> Channel {
        let address = format!("http://{}", self.running.address);
        Channel::from_shared(address).unwrap().connect().await.unwrap()
    }

    pub(crate) async fn jobs(&self) -> JobsClient<Channel> {
        JobsClient::new(self.channel().await)
    }

    pub(crate) async fn executions(&self) -> ExecutionsClient<Channel> {
        ExecutionsClient::new(self.channel().await)
    }

    pub(crate) async fn create(&self, definition: v1::JobDefinition) -> v1::CreateJobResponse {
        let request = v1::CreateJobRequest { definition: Some(definition), dry_run: false };
        self.jobs().await.create_job(request).await.unwrap().into_inner()
    }

    pub(crate) async fn execute(&self, job: &str) -> v1::Execution {
        let request = v1::ExecuteRequest { job: job.to_owned(), ..v1::ExecuteRequest::default() };
        self.executions().await.execute(request).await.unwrap().into_inner().execution.unwrap()
    }

    pub(crate) async fn get(&self, id: &str) -> v1::Execution {
        let request = v1::GetExecutionRequest { id: id.to_owned(), wait: None, explain: false };
        let answer = self.executions().await.get_execution(request).await;
        answer.unwrap().into_inner().execution.unwrap()
    }

    /// A registered executor with room for `capacity` attempts.
    pub(crate) async fn executor(&self, id: &str, capacity: u32) -> Executor {
        self.register(v1::RegisterRequest { capacity, ..registration(id, 1, 1) }).await
    }

    /// A registered executor with these labels, and room for one attempt.
    pub(crate) async fn executor_with(
        &self,
        id: &str,
        labels: BTreeMap<String, String>,
    ) -> Executor {
        self.register(v1::RegisterRequest { labels, ..registration(id, 1, 1) }).await
    }

    pub(crate) async fn register(&self, request: v1::RegisterRequest) -> Executor {
        let mut client = ExecutorsClient::new(self.channel().await);
        let registered = client.register(request).await.unwrap().into_inner();
        Executor { client, session: registered.session, registered }
    }

    /// Status and body of what the port for metrics and health answers.
    pub(crate) async fn look(&self, path: &str) -> (u16, String) {
        look(self.running.metrics_address, path).await
    }
}

pub(crate) async fn look(address: SocketAddr, path: &str) -> (u16, String) {
    let asking = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = tokio::time::timeout(SOON, asking).await.expect("no answer");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Free ports of loopback, and a folder of its own.
pub(crate) fn configuration(folder: &TempDir) -> Configuration {
    let text = r#"{"app_port": 0, "metrics_address": "127.0.0.1:0"}"#;
    let configuration = from_values::<Configuration>(text).unwrap().section;
    Configuration { data_dir: folder.path().to_owned(), ..configuration }
}

/// A configuration on this etcd. Who shares the folder shares the master key and the logs, too.
#[cfg(feature = "etcd")]
pub(crate) fn on(etcd: &Etcd, folder: &TempDir) -> Configuration {
    // Who led is followed soon, and no machine that stands still for a moment costs somebody the lead.
    let values = serde_json::json!({ "store": "etcd", "etcd_endpoints": etcd.endpoints(), "leader_ttl": "6s" });
    let values = from_values::<Configuration>(&values.to_string()).unwrap().section;
    let own = configuration(folder);
    Configuration {
        app_port: own.app_port,
        metrics_address: own.metrics_address,
        data_dir: own.data_dir,
        ..values
    }
}

pub(crate) fn job(name: &str) -> v1::JobDefinition {
    v1::JobDefinition {
        name: name.to_owned(),
        command: vec!["true".to_owned()],
        ..v1::JobDefinition::default()
    }
}

pub(crate) fn registration(id: &str, place: u128, instance: u128) -> v1::RegisterRequest {
    v1::RegisterRequest {
        executor: id.to_owned(),
        place: uuid::Uuid::from_u128(place).to_string(),
        instance: uuid::Uuid::from_u128(instance).to_string(),
        version: "test".to_owned(),
        protocol_level: 1,
        runner: "process".to_owned(),
        labels: BTreeMap::new(),
        capacity: 1,
        ..v1::RegisterRequest::default()
    }
}

/// The code of a refusal, its word for programs, and its faults as `field: description`.
#[track_caller]
pub(crate) fn refusal<T: std::fmt::Debug>(
    answer: Result<T, Status>,
) -> (Code, String, Vec<String>) {
    let status = answer.unwrap_err();
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.clone()).unwrap_or_default();
    let faults = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
    let faults = faults.into_iter().map(|fault| format!("{}: {}", fault.field, fault.description));
    (status.code(), reason, faults.collect())
}

/// Asks again until it holds, and says what it saw last where it never does.
pub(crate) async fn until<T: std::fmt::Debug, F: Future<Output = T>>(
    wanted: &str,
    mut look: impl FnMut() -> F,
    holds: impl Fn(&T) -> bool,
) -> T {
    let began = Instant::now();
    loop {
        let seen = look().await;
        if holds(&seen) {
            return seen;
        }
        assert!(began.elapsed() < SOON, "never {wanted}: {seen:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// An executor's side of the protocol, one call at a time.
#[derive(Clone)]
pub(crate) struct Executor {
    pub(crate) client: ExecutorsClient<Channel>,
    pub(crate) session: u64,
    pub(crate) registered: v1::RegisterResponse,
}

impl Executor {
    pub(crate) async fn poll(&mut self, wait: Duration) -> Result<Vec<v1::Lease>, Status> {
        let request = v1::PollRequest {
            session: self.session,
            free: 1,
            wait: Some(span(wait)),
            held: Vec::new(),
        };
        Ok(self.client.poll(request).await?.into_inner().grants)
    }

    /// The one grant that there is, or that comes soon.
    pub(crate) async fn granted(&mut self) -> v1::Lease {
        let began = Instant::now();
        loop {
            if let Some(lease) = self.poll(Duration::from_secs(5)).await.unwrap().pop() {
                return lease;
            }
            assert!(began.elapsed() < SOON, "nothing was granted");
        }
    }

    pub(crate) async fn attend(
        &mut self,
        held: &[v1::LeaseName],
        wait: Duration,
    ) -> Result<v1::AttendResponse, Status> {
        self.attend_and_ask(held, false, wait).await
    }

    /// The same; the secrets of what is held are asked for, if it `lacks_secrets`.
    pub(crate) async fn attend_and_ask(
        &mut self,
        held: &[v1::LeaseName],
        lacks_secrets: bool,
        wait: Duration,
    ) -> Result<v1::AttendResponse, Status> {
        let held = held.iter().map(|lease| v1::HeldAttempt {
            lease: Some(lease.clone()),
            phase: v1::HeldPhase::Running.into(),
            lacks_secrets,
        });
        let request = v1::AttendRequest {
            session: self.session,
            held: held.collect(),
            wait: Some(span(wait)),
            unseen: String::new(),
        };
        Ok(self.client.attend(request).await?.into_inner())
    }

    pub(crate) async fn report(
        &mut self,
        lease: &v1::LeaseName,
        event: v1::report_request::Event,
    ) -> Result<v1::ReportResponse, Status> {
        let (session, lease, event) = (self.session, Some(lease.clone()), Some(event));
        Ok(self.client.report(v1::ReportRequest { session, lease, event }).await?.into_inner())
    }

    /// Prepares and starts.
    pub(crate) async fn run(&mut self, lease: &v1::LeaseName) {
        use v1::report_request::Event;
        let prepared = v1::Prepared { identity: "made".to_owned() };
        for event in [Event::Prepared(prepared), Event::Running(v1::Running::default())] {
            let answer = self.report(lease, event).await.unwrap();
            assert_eq!(answer.verdict(), v1::ReportVerdict::Recorded);
        }
    }

    pub(crate) async fn append(
        &mut self,
        lease: &v1::LeaseName,
        offset: u64,
        text: &str,
    ) -> Result<v1::AppendResponse, Status> {
        let chunk = v1::AppendChunk {
            observed_at: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 }),
            data: text.to_owned().into(),
        };
        let request = v1::AppendRequest {
            session: self.session,
            lease: Some(lease.clone()),
            offset,
            chunks: vec![chunk],
            cursor: Vec::new(),
        };
        Ok(self.client.append(request).await?.into_inner())
    }

    /// Ends with exit code 0 and this log, all of which was appended.
    pub(crate) async fn succeed(&mut self, lease: &v1::LeaseName, log: &str) {
        self.end(lease, v1::ExecutionState::Succeeded, 0, log).await;
    }

    /// Ends with exit code 1 and this log, all of which was appended.
    pub(crate) async fn fail(&mut self, lease: &v1::LeaseName, log: &str) {
        self.end(lease, v1::ExecutionState::Failed, 1, log).await;
    }

    async fn end(
        &mut self,
        lease: &v1::LeaseName,
        state: v1::ExecutionState,
        exit_code: i32,
        log: &str,
    ) {
        let ended = exited(state, exit_code, log);
        let answer = self.report(lease, v1::report_request::Event::Ended(ended)).await.unwrap();
        assert_eq!(answer.verdict(), v1::ReportVerdict::Recorded, "{answer:?}");
    }
}

/// How a program ended that exited, and had written this.
pub(crate) fn exited(state: v1::ExecutionState, exit_code: i32, log: &str) -> v1::Ended {
    v1::Ended {
        state: state.into(),
        reason_code: "exit_code".to_owned(),
        reason: format!("the program exited with {exit_code}"),
        exit_code: Some(exit_code),
        log_size: log.len() as u64,
        log_crc: crc::Crc::<u64>::new(&crc::CRC_64_XZ).checksum(log.as_bytes()),
        ..v1::Ended::default()
    }
}

pub(crate) fn span(span: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(span).unwrap()
}
