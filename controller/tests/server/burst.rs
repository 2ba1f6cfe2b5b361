//! Many writes at the same moment, gathered into few transactions of the store: the real controller, and its log.

use crate::world::{Executor, SOON, job, registration};
use futures::future::{join, join_all, join4};
use octavius_protocol::v1::{
    self, executions_client::ExecutionsClient, executors_client::ExecutorsClient,
    jobs_client::JobsClient, report_request::Event,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Stdio,
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, Command},
    time::Instant,
};
use tonic::{Code, transport::Channel};

const ROUNDS: usize = 10;
const EXECUTIONS: usize = 500;

struct Real {
    child: Child,
    channel: Channel,
}

impl Real {
    /// The binary on this folder. Who is silent for two seconds is lost, where `strict`.
    async fn start(folder: &Path, strict: bool) -> Self {
        let (deadline, lost_after) = if strict { (1, "2s") } else { (60, "1h") };
        let configuration = serde_json::json!({
            "app_port": 0, "metrics_address": "127.0.0.1:0", "log_file_path": "c.log", "store": "embedded",
            "executor_ping_deadline": deadline, "executor_lost_after": lost_after, "log_level": "debug",
        });
        std::fs::write(folder.join("controller_config.json"), configuration.to_string()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_controller"));
        command.arg("start").current_dir(folder).env_clear().kill_on_drop(true);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut first = String::new();
        tokio::time::timeout(SOON, lines.read_line(&mut first)).await.unwrap().unwrap();
        tokio::spawn(async move { lines.read_to_end(&mut Vec::new()).await }); // or it would wait for a reader
        let address = first.split_once("serves at ").unwrap().1;
        let end = address.find(|sign: char| !(sign.is_ascii_digit() || ".:".contains(sign)));
        let address = format!("http://{}", address[..end.unwrap()].trim_end_matches(['.', ':']));
        let channel = Channel::from_shared(address).unwrap().connect().await.unwrap();
        Self { child, channel }
    }

    /// No goodbye.
    async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    fn executions(&self) -> ExecutionsClient<Channel> {
        ExecutionsClient::new(self.channel.clone())
    }

    async fn executor(&self, id: &str, instance: u128) -> Executor {
        let mut client = ExecutorsClient::new(self.channel.clone());
        let request = v1::RegisterRequest { capacity: 1, ..registration(id, 1, instance) };
        let registered = client.register(request).await.unwrap().into_inner();
        Executor { client, session: registered.session, registered }
    }

    async fn execute(&self, number: usize) -> v1::Execution {
        let arguments = NAMES.map(|name| (name.to_owned(), format!("{name} of {number}"))).into();
        let request = v1::ExecuteRequest {
            job: "five".to_owned(),
            arguments,
            request_id: format!("wish {number}"),
            ..v1::ExecuteRequest::default()
        };
        let answer = self.executions().execute(request).await.unwrap().into_inner();
        assert!(answer.created);
        answer.execution.unwrap()
    }

    async fn get(&self, id: &str) -> v1::Execution {
        let request = v1::GetExecutionRequest { id: id.to_owned(), wait: None, explain: false };
        self.executions().get_execution(request).await.unwrap().into_inner().execution.unwrap()
    }

    /// The version that this description got.
    async fn describe_as(&self, description: String) -> (u64, String) {
        let definition = v1::JobDefinition { description: description.clone(), ..job("busy") };
        let request = v1::UpdateJobRequest {
            definition: Some(definition),
            create: true,
            ..v1::UpdateJobRequest::default()
        };
        let answer = JobsClient::new(self.channel.clone()).update_job(request).await.unwrap();
        (answer.into_inner().job.unwrap().version, description)
    }

    async fn described(&self, version: u64) -> String {
        let request = v1::DescribeJobRequest { name: "busy".to_owned(), version };
        let answer = JobsClient::new(self.channel.clone()).describe_job(request).await.unwrap();
        answer.into_inner().job.unwrap().definition.unwrap().description
    }

    async fn all(&self) -> BTreeSet<String> {
        let (mut all, mut page_token) = (BTreeSet::new(), String::new());
        loop {
            let request =
                v1::ListExecutionsRequest { page_size: 1_000, page_token, ..Default::default() };
            let page = self.executions().list_executions(request).await.unwrap().into_inner();
            all.extend(page.executions.into_iter().map(|execution| execution.id));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return all;
            }
        }
    }
}

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// What one holder says at once: its state, its log, and that it lives. Twenty of them are appends, one behind the other.
async fn reports(executor: &Executor, lease: &v1::LeaseName, offset: u64) {
    let holder = || (executor.clone(), lease.clone());
    let states = (0..60).map(|_| {
        let (mut executor, lease) = holder();
        async move {
            let answer =
                executor.report(&lease, Event::Running(v1::Running::default())).await.unwrap();
            assert_eq!(answer.verdict(), v1::ReportVerdict::Recorded);
        }
    });
    let lives = (0..60).map(|_| {
        let (mut executor, lease) = holder();
        async move {
            let answer = executor.attend(&[lease], Duration::ZERO).await.unwrap();
            assert_eq!((answer.orders.len(), answer.grants.len()), (0, 0), "{answer:?}");
        }
    });
    let asks = (0..60).map(|_| {
        let (mut executor, lease) = holder();
        async move {
            let answer = executor.append(&lease, offset, "").await.unwrap();
            assert!(!answer.closed && answer.next_offset >= offset, "{answer:?}");
        }
    });
    let appends = async {
        let (mut executor, lease) = holder();
        for number in 0..20 {
            let at = offset + number * 2;
            assert_eq!(executor.append(&lease, at, "x\n").await.unwrap().next_offset, at + 2);
        }
    };
    join4(join_all(states), join_all(lives), join_all(asks), appends).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_writes_at_once_each_that_is_right_is_acknowledged_and_the_wrong_ones_alone_are_not()
 {
    let folder: TempDir = tempfile::tempdir().unwrap();
    let real = Real::start(folder.path(), true).await;
    let argument = |name| v1::Argument { name: String::from(name), ..v1::Argument::default() };
    let arguments = NAMES.map(argument).to_vec();
    let definition = Some(v1::JobDefinition { arguments, ..job("five") });
    let create = v1::CreateJobRequest { definition, dry_run: false };
    JobsClient::new(real.channel.clone()).create_job(create).await.unwrap();
    let first = real.execute(usize::MAX).await.id;
    // Whoever was granted it first is lost: the next one has it by another epoch.
    let old = real.executor("old", 1).await.granted().await.name.unwrap();
    let began = Instant::now();
    while real.get(&first).await.state() != v1::ExecutionState::Pending {
        assert!(began.elapsed() < SOON, "the grant was never taken back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    real.kill().await;
    let real = Real::start(folder.path(), false).await;
    let closed = real.executor("e", 1).await;
    let mut executor = real.executor("e", 2).await;
    executor.attend(&[], Duration::ZERO).await.unwrap();
    let lease = executor.granted().await.name.unwrap();
    assert!(lease.epoch > old.epoch && lease.execution == old.execution, "{lease:?} {old:?}");
    executor.run(&lease).await;

    let (mut ids, mut versions) = (BTreeSet::from([first.clone()]), BTreeMap::new());
    for round in 0..ROUNDS {
        let executes = (0..EXECUTIONS).map(|number| real.execute(round * EXECUTIONS + number));
        // Many writes of one key.
        let changes = (0..20).map(|number| real.describe_as(format!("{number} of {round}")));
        let refused = async {
            let running = || Event::Running(v1::Running::default());
            let superseded = executor.clone().report(&old, running()).await.unwrap();
            assert_eq!(superseded.verdict(), v1::ReportVerdict::Superseded);
            assert!(executor.clone().append(&old, 0, "no\n").await.unwrap().closed);
            let refused = closed.clone().report(&lease, running()).await.unwrap_err();
            assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
        };
        let reports = reports(&executor, &lease, round as u64 * 40);
        let written = join(join_all(executes), join_all(changes));
        let ((executed, changed), _) = join(written, join(reports, refused)).await;
        ids.extend(executed.into_iter().map(|execution| execution.id));
        versions.extend(changed);
    }
    assert_eq!(ids.len(), ROUNDS * EXECUTIONS + 1);
    let newest = ROUNDS as u64 * 20;
    assert!(versions.keys().copied().eq(1..=newest), "{versions:?}");
    real.kill().await;

    let real = Real::start(folder.path(), false).await;
    let kept = versions.iter().rev().take(100);
    for (version, description) in kept {
        assert_eq!(real.described(*version).await, *description, "version {version}");
    }
    assert_eq!(real.described(0).await, versions[&newest], "the last one is what stands");
    assert_eq!(real.all().await, ids);
    let running = real.get(&first).await;
    assert_eq!(running.state(), v1::ExecutionState::Running, "{running:?}");
    let whole = "x\n".repeat(ROUNDS * 20);
    let mut executor = real.executor("e", 2).await;
    let durable = executor.append(&lease, whole.len() as u64, "").await.unwrap();
    if durable.next_offset < whole.len() as u64 {
        // What was not durable is sent again, as an executor does.
        let rest = &whole[durable.next_offset as usize..];
        executor.append(&lease, durable.next_offset, rest).await.unwrap();
    }
    executor.succeed(&lease, &whole).await;
    assert_eq!(real.get(&first).await.state(), v1::ExecutionState::Succeeded);
    real.kill().await;
    let log = std::fs::read_to_string(folder.path().join("c.log")).unwrap();
    for wrong in ["over the limit", "twice", "too many operations", "duplicate key", "built again"]
    {
        let line = log.lines().find(|line| line.contains(wrong));
        assert_eq!(line, None, "{wrong}");
    }
}
