//! A real etcd, two controllers, and an executor: each a process of its own.

use crate::{
    user::User,
    world::{PATIENCE, Server, eventually, ready, server},
};
use octavius_client::{Client, LogItem, Settings, v1};
use octavius_testbed::{
    etcd::{Etcd, EtcdOptions},
    http::page,
    leaders,
    ports::free_port,
};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// How long a silent leader stays the leader.
pub(crate) const TTL: Duration = Duration::from_secs(2);

/// One controller of several.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) server: Server,
    pub(crate) address: String,
    metrics_address: String,
}

impl Member {
    /// Status and body of what the port for metrics and health answers; nothing where nobody answers.
    pub(crate) async fn look(&self, path: &str) -> (u16, String) {
        page(&self.metrics_address, path, Duration::from_secs(2)).await
    }

    /// Waits until a page has this status, and these words.
    pub(crate) async fn says(&self, path: &str, status: u16, words: &str) {
        let look = || async {
            let (found, body) = self.look(path).await;
            let is_so = found == status && body.contains(words);
            is_so.then_some(()).ok_or(format!("{path}: {found} {body}"))
        };
        if let Err(last) = eventually(look).await {
            panic!("never {status} with `{words}`: {last}\n{}", self.server.said());
        }
    }
}

/// An installation of two controllers.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) members: [Member; 2],
    pub(crate) executor: Server,
    pub(crate) client: Client,
    /// The addresses of both, for whoever asks them.
    pub(crate) both: String,
    pub(crate) etcd: Etcd,
    executor_config: Value,
    folder: tempfile::TempDir,
}

/// What the controllers are called.
const NAMES: [&str; 2] = ["first", "second"];

impl Cluster {
    /// One in which the first controller leads, the second stands by, and the executor gets work.
    pub(crate) async fn start(etcd: EtcdOptions) -> Self {
        Self::start_on(Etcd::start(etcd).await, json!({})).await
    }

    /// The same on an etcd that is there, with more keys for the controllers.
    pub(crate) async fn start_on(etcd: Etcd, more: Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let members = NAMES.map(|name| member(folder.path(), name, &etcd, more.clone()));
        let both = members.each_ref().map(|member| member.address.clone()).join(",");
        let executor_config = json!({
            "cp_host": both, "id": "test-executor", "ping_interval": 1, "conn_time_out": 4,
            "runner": "process", "state_dir": folder.path().join("state"), "capacity": 8,
        });
        let executor = server("executor", folder.path(), &executor_config);
        let settings = Settings {
            ca_file: None,
            address: both.clone(),
            email: Some("ada@example.com".to_owned()),
            token: None,
            timeout: PATIENCE,
        };
        let client = Client::new(&settings).unwrap().with_patience(PATIENCE);
        let mut cluster = Self { members, executor, client, both, etcd, executor_config, folder };
        cluster.members[0].server.start();
        cluster.members[0].says("/leaderz", 200, "").await;
        // All controllers of one store have the same key.
        let key = cluster.path("first/data/master.key");
        std::fs::create_dir_all(cluster.path("second/data")).unwrap();
        std::fs::copy(key, cluster.path("second/data/master.key")).unwrap();
        cluster.members[1].server.start();
        cluster.members[1].says("/readyz", 200, "").await;
        cluster.executor.start();
        if let Err(last) = ready(&cluster.client).await {
            panic!("never ready: {last}\n{}", cluster.executor.said());
        }
        cluster
    }

    /// A client of both that asks once, and waits five seconds for the answer.
    pub(crate) fn impatient(&self) -> Client {
        let settings = Settings {
            ca_file: None,
            address: self.both.clone(),
            email: None,
            token: None,
            timeout: Duration::from_secs(5),
        };
        Client::new(&settings).unwrap().with_patience(Duration::ZERO)
    }

    /// Waits until an execution's program runs.
    pub(crate) async fn runs(&self, id: &str) {
        let look = || async {
            let found = self.client.execution(id).await.map_err(|error| error.to_string())?;
            let runs = found.state() == v1::ExecutionState::Running;
            if runs { Ok(()) } else { Err(format!("{found:?}")) }
        };
        eventually(look).await.unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn user(&self) -> User {
        User::new().with("CP_HOST", &self.both).with("EMAIL_ID", "ada@example.com")
    }

    /// Registers a job that runs `script` in a shell.
    pub(crate) async fn job(&self, name: &str, script: &str, arguments: &[&str]) {
        let argument = |name: &&str| v1::Argument {
            name: (*name).to_owned(),
            required: true,
            ..v1::Argument::default()
        };
        let definition = v1::JobDefinition {
            name: name.to_owned(),
            command: ["sh", "-c", script].map(str::to_owned).to_vec(),
            arguments: arguments.iter().map(argument).collect(),
            ..v1::JobDefinition::default()
        };
        self.client.create_job(definition).await.unwrap();
    }

    /// Asks to run a job, and answers the execution's id.
    pub(crate) async fn execute(&self, job: &str, arguments: &[(&str, &str)]) -> String {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        self.client.execute(job, arguments.iter().map(owned).collect()).await.unwrap().id
    }

    /// Another executor, which takes so many attempts at once, and is not started yet.
    pub(crate) fn other_executor(&self, id: &str, capacity: usize) -> Server {
        let files = self.path(id);
        std::fs::create_dir(&files).unwrap();
        let mut config = self.executor_config.clone();
        config["id"] = id.into();
        config["capacity"] = capacity.into();
        config["state_dir"] = files.join("state").to_str().into();
        server("executor", &files, &config)
    }

    /// Gives a key of both controllers' files another value, for their next start.
    pub(crate) fn configure_controllers(&self, key: &str, value: &Value) {
        for name in NAMES {
            let file = self.path(name).join("controller_config.json");
            let mut config: Value =
                serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
            config[key] = value.clone();
            std::fs::write(&file, config.to_string()).unwrap();
        }
    }

    /// Waits until an execution is over.
    pub(crate) async fn over(&self, id: &str) -> v1::Execution {
        let look = || async {
            let found = self.client.execution(id).await.map_err(|error| error.to_string())?;
            let is_over = octavius_client::is_final(found.state());
            if is_over { Ok(found) } else { Err(format!("{found:?}")) }
        };
        eventually(look).await.unwrap_or_else(|last| panic!("last seen: {last}"))
    }

    /// An execution's whole log.
    pub(crate) async fn log(&self, id: &str) -> String {
        let mut items = self.client.follow_log(id, 0, 0, false).await.unwrap();
        let mut log = Vec::new();
        while let Some(item) = futures::StreamExt::next(&mut items).await {
            match item.unwrap() {
                LogItem::Bytes { data, .. } => log.extend_from_slice(&data),
                LogItem::End(end) => {
                    assert_eq!((end.size, end.cut.as_str()), (log.len() as u64, ""));
                    return String::from_utf8(log).unwrap();
                }
                LogItem::Notice(notice) => panic!("{notice:?}"),
            }
        }
        panic!("the log has no end");
    }

    /// Every batch was written by who led when it landed, no number stands twice, and nobody took the lead from another.
    pub(crate) async fn one_led_at_a_time(&self) {
        let judged = leaders::look(&self.etcd).await.unwrap();
        assert_eq!(judged.wrong, Vec::<String>::new());
        assert!(judged.batches > 0, "nothing was written");
    }
}

fn member(folder: &Path, name: &str, etcd: &Etcd, more: Value) -> Member {
    let (port, metrics_port) = (free_port(), free_port());
    let metrics_address = format!("127.0.0.1:{metrics_port}");
    let files = folder.join(name);
    std::fs::create_dir_all(&files).unwrap();
    let mut config = json!({
        "app_port": port, "metrics_address": metrics_address, "data_dir": files.join("data"),
        "store": "etcd", "etcd_endpoints": etcd.endpoints(), "leader_ttl": TTL.as_secs(),
        "log_store": format!("file://{}", folder.join("logs").display()),
    });
    for (key, value) in more.as_object().unwrap() {
        config[key] = value.clone();
    }
    let server = server("controller", &files, &config);
    Member { server, address: format!("127.0.0.1:{port}"), metrics_address }
}
