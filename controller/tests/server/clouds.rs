//! A controller whose logs are in a bucket, as a process of its own that can be killed.

use crate::world::{Executor, SOON, job, look, registration, until};
use octavius_protocol::v1::{
    self, executions_client::ExecutionsClient, executors_client::ExecutorsClient,
    jobs_client::JobsClient, read_log_response::Part,
};
use octavius_testbed::{
    etcd::{Etcd, EtcdOptions},
    ports::free_port,
    proxy::Way,
    s3::{Fault, S3},
};
use rand::{RngExt, SeedableRng, distr::Alphanumeric, rngs::StdRng};
use std::{net::SocketAddr, path::Path, process::Stdio, time::Duration};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::Instant,
};
use tonic::transport::{Channel, Endpoint};

struct Process {
    child: Child,
    ports: (u16, u16),
    folder: TempDir,
}

/// Its variables, without the prefix.
type Keys = Vec<(&'static str, String)>;

fn embedded(log_store: &str) -> Keys {
    vec![("STORE", "embedded".to_owned()), ("LOG_STORE", log_store.to_owned())]
}

fn on(etcd: &Etcd, log_store: &str) -> Keys {
    vec![
        ("STORE", "etcd".to_owned()),
        ("ETCD_ENDPOINTS", etcd.endpoints().join(",")),
        ("LEADER_TTL", "6s".to_owned()),
        ("LOG_STORE", log_store.to_owned()),
    ]
}

fn begin(folder: &Path, (port, metrics): (u16, u16), keys: &Keys) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_controller"));
    command.arg("start").current_dir(folder).env_clear().kill_on_drop(true);
    command.env("OCTAVIUS_CONTROLLER_APP_PORT", port.to_string());
    command.env("OCTAVIUS_CONTROLLER_METRICS_ADDRESS", format!("127.0.0.1:{metrics}"));
    command.envs(keys.iter().map(|(key, value)| (format!("OCTAVIUS_CONTROLLER_{key}"), value)));
    command.envs(S3::variables());
    command.env("OCTAVIUS_CONTROLLER_LOG_FILE_PATH", "controller.log");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

impl Process {
    async fn start(keys: &Keys) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), keys).await
    }

    async fn start_in(folder: TempDir, keys: &Keys) -> Self {
        std::fs::write(folder.path().join("controller_config.json"), "{}").unwrap();
        let ports = (free_port(), free_port());
        let mut child = begin(folder.path(), ports, keys);
        serves(&mut child).await;
        Self { child, ports, folder }
    }

    /// Kills it, and starts the next one in its place.
    async fn killed(mut self, keys: &Keys) -> Self {
        self.child.kill().await.unwrap();
        self.child = begin(self.folder.path(), self.ports, keys);
        serves(&mut self.child).await;
        self
    }

    async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{}", self.ports.0)).unwrap();
        endpoint.connect().await.unwrap()
    }

    async fn ready(&self) -> (u16, String) {
        self.look("/readyz").await
    }

    async fn leads(&self) {
        until("the leader", || self.look("/leaderz"), |(status, _)| *status == 200).await;
    }

    async fn look(&self, path: &str) -> (u16, String) {
        look(SocketAddr::from(([127, 0, 0, 1], self.ports.1)), path).await
    }

    /// An execution that runs at this executor.
    async fn running(&self) -> (String, Executor, v1::LeaseName) {
        JobsClient::new(self.channel().await)
            .create_job(v1::CreateJobRequest { definition: Some(job("hello")), dry_run: false })
            .await
            .unwrap();
        let request =
            v1::ExecuteRequest { job: "hello".to_owned(), ..v1::ExecuteRequest::default() };
        let executed = ExecutionsClient::new(self.channel().await).execute(request).await;
        let id = executed.unwrap().into_inner().execution.unwrap().id;
        let mut executor = self.executor().await;
        let lease = executor.granted().await.name.unwrap();
        executor.run(&lease).await;
        (id, executor, lease)
    }

    async fn executor(&self) -> Executor {
        let mut client = ExecutorsClient::new(self.channel().await);
        let registered = client.register(registration("e", 1, 1)).await.unwrap().into_inner();
        Executor { client, session: registered.session, registered }
    }

    /// All that there is from `offset` on, and how the log ends.
    async fn read(&self, execution: &str, offset: u64) -> (String, v1::LogEnd) {
        let request = v1::ReadLogRequest {
            execution: execution.to_owned(),
            offset,
            ..v1::ReadLogRequest::default()
        };
        let mut client = ExecutionsClient::new(self.channel().await);
        let mut log = client.read_log(request).await.unwrap().into_inner();
        let mut text = Vec::new();
        loop {
            let message = tokio::time::timeout(SOON, log.message()).await.expect("no end");
            match message.unwrap().and_then(|message| message.part) {
                Some(Part::Chunk(chunk)) => text.extend_from_slice(&chunk.data),
                Some(Part::End(end)) => return (String::from_utf8(text).unwrap(), end),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Waits until it says that it serves.
async fn serves(child: &mut Child) {
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let (began, mut said) = (Instant::now(), String::new());
    loop {
        let line = tokio::time::timeout(SOON, lines.next_line()).await.expect("it says nothing");
        let line = line.unwrap().unwrap_or_else(|| panic!("it ended: {said}"));
        if line.starts_with("the controller serves at") {
            // It is read on, so that nobody waits for it.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return;
        }
        said = format!("{said}{line}\n");
        assert!(began.elapsed() < SOON, "{said}");
    }
}

/// Appends what is not there yet, and answers with how far the log is durable.
async fn ship(executor: &mut Executor, lease: &v1::LeaseName, text: &str) -> u64 {
    let (began, mut next) = (Instant::now(), 0);
    loop {
        let end = (next + 700_000).min(text.len());
        if let Ok(answer) = executor.append(lease, next as u64, &text[next..end]).await {
            next = usize::try_from(answer.next_offset).unwrap();
            if next == text.len() {
                return answer.durable_offset;
            }
        }
        assert!(began.elapsed() < SOON * 2, "it is at {next}");
    }
}

/// 5 MB of text that does not compress well, always the same.
fn noise() -> String {
    StdRng::seed_from_u64(11).sample_iter(Alphanumeric).take(5_000_000).map(char::from).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_a_bucket_survives_an_outage_and_a_kill_and_readyz_says_what_is_wrong() {
    let s3 = S3::start().await;
    let url = s3.url("installations/one");
    let controller = Process::start(&embedded(&url)).await;
    let (id, mut executor, lease) = controller.running().await;
    assert_eq!(controller.ready().await, (200, "ready\n".to_owned()));

    let text = noise();
    s3.often(4, &[Fault::Status(503), Fault::Cut, Fault::Unanswered]);
    let half = 2_500_000;
    ship(&mut executor, &lease, &text[..half]).await;
    let asking = executor.clone();
    let asked = || async { asking.clone().append(&lease, 0, "").await.unwrap().durable_offset };
    let before = until("stored", asked, |durable| *durable > 1_000_000).await;

    s3.way(Way::Refuses);
    ship(&mut executor, &lease, &text[..half + 1_000_000]).await;
    let (_, why) = until("not ready", || controller.ready(), |(status, _)| *status == 503).await;
    let wanted = format!("not ready: the log store `{url}` has not taken a segment for 1");
    assert!(why.starts_with(&wanted) && why.contains("could not be written"), "{why}");
    let durable = asked().await;
    let (seen, end) = controller.read(&id, durable).await;
    let from = usize::try_from(durable).unwrap();
    assert!(end.unfinished && seen == text[from..half + 1_000_000], "in memory meanwhile");

    // What was not acknowledged is the executor's to send again.
    let controller = controller.killed(&embedded(&url)).await;
    let mut executor = controller.executor().await;
    let kept = executor.append(&lease, 0, "").await.unwrap();
    assert!(kept.next_offset == kept.durable_offset && kept.durable_offset >= before, "{kept:?}");
    assert!(kept.durable_offset < half as u64 + 1_000_000, "{kept:?}");
    s3.way(Way::Open(Duration::ZERO));
    ship(&mut executor, &lease, &text).await;
    until("ready again", || controller.ready(), |(status, _)| *status == 200).await;
    s3.often(1, &[]);
    executor.succeed(&lease, &text).await;
    let (kept, end) = controller.read(&id, 0).await;
    assert!(kept == text, "{} of {} bytes", kept.len(), text.len());
    assert_eq!((end.size, end.cut.as_str(), end.unfinished), (5_000_000, "", false));
    assert!(!controller.folder.path().join("octavius-data/logs").exists(), "a folder of logs");
    assert!(s3.objects("installations/one").len() >= 5, "{:?}", s3.objects("installations/one"));
}

#[cfg(feature = "etcd")]
#[tokio::test(flavor = "multi_thread")]
async fn the_next_leader_goes_on_with_a_log_in_the_bucket_where_it_is_durable() {
    let (s3, etcd) = (S3::start().await, Etcd::start(EtcdOptions::default()).await);
    let keys = on(&etcd, &s3.url("shared"));
    let first = Process::start(&keys).await;
    first.leads().await;
    let (id, mut executor, lease) = first.running().await;
    // They have nothing in common but the master key, the etcd and the bucket.
    let folder = tempfile::tempdir().unwrap();
    let (theirs, ours) =
        (first.folder.path().join("octavius-data"), folder.path().join("octavius-data"));
    std::fs::create_dir(&ours).unwrap();
    std::fs::copy(theirs.join("master.key"), ours.join("master.key")).unwrap();
    let second = Process::start_in(folder, &keys).await;

    let (text, half) = (noise(), 2_500_000);
    s3.often(5, &[Fault::Status(503), Fault::Unanswered]);
    ship(&mut executor, &lease, &text[..half]).await;
    let asking = executor.clone();
    let asked = || async { asking.clone().append(&lease, 0, "").await.unwrap().durable_offset };
    let before = until("stored", asked, |durable| *durable > 1_000_000).await;
    let Process { mut child, .. } = first;
    child.kill().await.unwrap();

    second.leads().await;
    let mut executor = second.executor().await;
    let kept = executor.append(&lease, 0, "").await.unwrap();
    assert!(kept.next_offset == kept.durable_offset && kept.durable_offset >= before, "{kept:?}");
    let next = usize::try_from(kept.next_offset).unwrap();
    executor.append(&lease, kept.next_offset, &text[next..next + 1_000]).await.unwrap();
    // From what the first one stored into what the second one has in memory.
    let (seen, end) = second.read(&id, 500_000).await;
    assert!(end.unfinished && seen == text[500_000..next + 1_000], "{} bytes", seen.len());
    ship(&mut executor, &lease, &text).await;
    executor.succeed(&lease, &text).await;
    let (kept, end) = second.read(&id, 0).await;
    assert!(kept == text, "{} of {} bytes", kept.len(), text.len());
    assert_eq!((end.size, end.cut.as_str(), end.unfinished), (5_000_000, "", false));
    let terms = |name: &String| name.split('-').nth(1).map(str::to_owned);
    let terms: std::collections::BTreeSet<_> =
        s3.objects("shared").iter().filter_map(terms).collect();
    assert!(terms.len() >= 2, "both wrote: {terms:?}");
}
