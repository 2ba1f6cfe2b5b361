//! An installation of its own for each test: a controller and an executor on free ports, in a temporary folder.

use octavius_client::{Client, LogItem, Settings, is_final, v1};
pub(crate) use octavius_testbed::server::Server;
use octavius_testbed::{
    etcd::{Etcd, EtcdOptions},
    ports::free_port,
    server::built_beside,
};
use secrecy::SecretString;
use std::{
    collections::BTreeMap,
    future::Future,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};

/// For how long a test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Which store the worlds of this run have: `embedded`, or `etcd`, one for each world.
const STORE: &str = "OCTAVIUS_TEST_STORE";

/// An etcd, if that is what this run is about.
fn etcd_of_this_run() -> Option<Etcd> {
    match std::env::var(STORE).as_deref() {
        Err(_) | Ok("embedded") => None,
        Ok("etcd") => Some(Etcd::start_here(EtcdOptions::default())),
        Ok(other) => panic!("{STORE} is `{other}`: `embedded` or `etcd`"),
    }
}

/// An installation.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) controller: Server,
    pub(crate) executor: Server,
    pub(crate) client: Client,
    pub(crate) address: String,
    pub(crate) metrics_address: String,
    controller_config: serde_json::Value,
    executor_config: serde_json::Value,
    /// After the controller: it has its state there, if this run is on etcd.
    etcd: Option<Etcd>,
    folder: tempfile::TempDir,
}

impl World {
    /// An installation whose controller and executor serve.
    pub(crate) async fn start() -> Self {
        let mut world = Self::new(8);
        world.controller.start();
        world.executor.start();
        world.ready().await;
        world
    }

    /// An installation that was not started, whose servers say all that they can say, each in a file of its own.
    pub(crate) fn traced() -> Self {
        Self::with(8, |folder, name, config| {
            config["log_level"] = "trace,octavius=trace".into(); // libraries, too
            config["log_file_path"] = folder.join(format!("{name}.log")).to_str().unwrap().into();
        })
    }

    /// An installation that was not started.
    pub(crate) fn new(capacity: usize) -> Self {
        Self::with(capacity, |_, _, _| {})
    }

    fn with(capacity: usize, change: impl Fn(&Path, &str, &mut serde_json::Value)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (port, metrics_port) = (free_port(), free_port());
        let address = format!("127.0.0.1:{port}");
        let metrics_address = format!("127.0.0.1:{metrics_port}");
        let mut controller = serde_json::json!({
            "app_port": port,
            "metrics_address": &metrics_address,
            "store": "embedded",
            "data_dir": folder.path().join("data"),
            "executor_ping_deadline": 9,
            "log_level": "info",
        });
        let mut executor = serde_json::json!({
            "cp_host": address,
            "id": "test-executor",
            "ping_interval": 1,
            "conn_time_out": 10,
            "runner": "process",
            "state_dir": folder.path().join("state"),
            "capacity": capacity,
            "log_level": "info",
        });
        let etcd = etcd_of_this_run();
        if let Some(etcd) = &etcd {
            controller["store"] = "etcd".into();
            controller["etcd_endpoints"] = etcd.endpoints().into();
        }
        change(folder.path(), "controller", &mut controller);
        change(folder.path(), "executor", &mut executor);
        let settings = Settings {
            ca_file: None,
            address: format!("http://{address}"),
            email: Some("ada@example.com".to_owned()),
            token: None,
            timeout: PATIENCE,
        };
        Self {
            controller: server("controller", folder.path(), &controller),
            executor: server("executor", folder.path(), &executor),
            client: Client::new(&settings).unwrap().with_patience(PATIENCE),
            address,
            metrics_address,
            controller_config: controller,
            executor_config: executor,
            etcd,
            folder,
        }
    }

    /// Whether the controller has to be elected before it serves.
    pub(crate) fn is_on_etcd(&self) -> bool {
        self.etcd.is_some()
    }

    /// The etcd that the state is in, if this run is on one.
    pub(crate) fn etcd(&self) -> Option<&Etcd> {
        self.etcd.as_ref()
    }

    /// From now on it is asked with this token.
    pub(crate) fn show_token(&mut self, token: &str) {
        let settings = Settings {
            ca_file: None,
            address: format!("http://{}", self.address),
            email: None,
            token: Some(SecretString::from(token)),
            timeout: PATIENCE,
        };
        self.client = Client::new(&settings).unwrap().with_patience(PATIENCE);
    }

    /// Gives a key of the executor's file another value, before it is started.
    pub(crate) fn configure_executor(&mut self, key: &str, value: serde_json::Value) {
        self.executor_config[key] = value;
        self.executor = server("executor", self.folder.path(), &self.executor_config);
    }

    /// Starts what does not run.
    pub(crate) fn start_all(&mut self) {
        for server in [&mut self.controller, &mut self.executor] {
            if !server.runs() {
                server.start();
            }
        }
    }

    /// Gives a key of the controller's file another value, before it is started.
    pub(crate) fn configure_controller(&mut self, key: &str, value: serde_json::Value) {
        self.controller_config[key] = value;
        self.controller = server("controller", self.folder.path(), &self.controller_config);
    }

    /// A path in the installation's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The controller's metrics.
    pub(crate) async fn metrics(&self) -> String {
        let mut stream = TcpStream::connect(&self.metrics_address).await.unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    }

    /// Another process that has the executor's id, and keeps its state in `folder`.
    pub(crate) fn executor_at(&self, folder: &str) -> Server {
        let mut config = self.executor_config.clone();
        config["state_dir"] = self.path(folder).to_str().unwrap().into();
        let files = self.path(&format!("{folder}-files"));
        std::fs::create_dir(&files).unwrap();
        server("executor", &files, &config)
    }

    /// Another controller of the same installation, whose state begins as that of the first, which has to have ended; and
    /// its address.
    pub(crate) fn other_controller(&self, name: &str) -> (Server, String) {
        let files = self.path(name);
        copy(&self.path("data"), &files.join("data"));
        let mut config = self.controller_config.clone();
        let port = free_port();
        config["app_port"] = port.into();
        config["metrics_address"] = format!("127.0.0.1:{}", free_port()).into();
        config["data_dir"] = files.join("data").to_str().unwrap().into();
        (server("controller", &files, &config), format!("127.0.0.1:{port}"))
    }

    /// An executor of its own, with this id and these labels.
    pub(crate) fn other_executor(&self, id: &str, labels: serde_json::Value) -> Server {
        let mut config = self.executor_config.clone();
        config["id"] = id.into();
        config["labels"] = labels;
        config["state_dir"] = self.path(&format!("{id}-state")).to_str().unwrap().into();
        let files = self.path(id);
        std::fs::create_dir(&files).unwrap();
        server("executor", &files, &config)
    }

    /// Waits until the controller answers.
    pub(crate) async fn serves(&self) {
        let ask = || async { self.client.version().await.map_err(|error| error.to_string()) };
        if let Err(last) = eventually(ask).await {
            panic!("never there: {last}\ncontroller: {}", self.controller.said());
        }
    }

    /// Waits until the executor gets work.
    pub(crate) async fn ready(&self) {
        if let Err(last) = ready(&self.client).await {
            let (controller, executor) = (self.controller.said(), self.executor.said());
            panic!("never ready: {last}\ncontroller: {controller}\nexecutor: {executor}");
        }
    }

    /// What the executor got when it joined: it is registered before it has kept that.
    pub(crate) async fn credential(&self) -> String {
        let path = self.path("state/credential");
        let kept = || async { std::fs::read_to_string(&path).map_err(|error| error.to_string()) };
        eventually(kept).await.unwrap()
    }

    /// Registers a job that runs `script` in a shell, with arguments of these names.
    pub(crate) async fn job(&self, name: &str, script: &str, arguments: &[&str]) {
        let argument = |name: &&str| v1::Argument {
            name: (*name).to_owned(),
            description: String::new(),
            required: true,
            ..v1::Argument::default()
        };
        let definition = v1::JobDefinition {
            name: name.to_owned(),
            image_name: "busybox".to_owned(),
            command: ["sh", "-c", script].map(str::to_owned).to_vec(),
            arguments: arguments.iter().map(argument).collect(),
            ..v1::JobDefinition::default()
        };
        self.client.create_job(definition).await.unwrap();
    }

    /// Asks to run a job, and answers the execution's id.
    pub(crate) async fn execute(&self, job: &str, arguments: &[(&str, &str)]) -> String {
        let arguments: BTreeMap<String, String> = arguments
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        self.client.execute(job, arguments).await.unwrap().id
    }

    /// Waits until an execution is over.
    pub(crate) async fn over(&self, id: &str) -> v1::Execution {
        self.reaches(id, |execution| is_final(execution.state())).await
    }

    /// Waits until an execution is as wanted.
    pub(crate) async fn reaches(
        &self,
        id: &str,
        wanted: impl Fn(&v1::Execution) -> bool,
    ) -> v1::Execution {
        let look = || async {
            let found = self.client.execution(id).await.map_err(|error| error.to_string())?;
            if wanted(&found) { Ok(found) } else { Err(format!("{found:?}")) }
        };
        match eventually(look).await {
            Ok(execution) => execution,
            Err(last) => {
                let (controller, executor) = (self.controller.said(), self.executor.said());
                panic!("last seen: {last}\ncontroller: {controller}\nexecutor: {executor}");
            }
        }
    }

    /// An execution's whole log.
    pub(crate) async fn log(&self, id: &str) -> Vec<u8> {
        let mut log = Vec::new();
        let mut items = self.client.follow_log(id, 0, 0, false).await.unwrap();
        loop {
            match futures::StreamExt::next(&mut items).await {
                Some(Ok(LogItem::Bytes { offset, data, .. })) => {
                    assert_eq!(offset, log.len() as u64, "a gap, or a repetition");
                    log.extend_from_slice(&data);
                }
                Some(Ok(LogItem::Notice(notice))) => panic!("{notice:?}"),
                Some(Ok(LogItem::End(end))) => {
                    assert_eq!((end.size, end.cut.as_str()), (log.len() as u64, ""));
                    return log;
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Waits until an executor gets work; else what was seen last.
pub(crate) async fn ready(client: &Client) -> Result<(), String> {
    let what = || async {
        let executors = client.executors().await.map_err(|error| error.to_string())?;
        let ready = v1::ExecutorState::Ready;
        let is_ready = executors.iter().any(|executor| executor.state() == ready);
        if is_ready { Ok(()) } else { Err(format!("{executors:?}")) }
    };
    eventually(what).await
}

/// Asks again and again until it is so; else what was seen last.
pub(crate) async fn eventually<T, F: Future<Output = Result<T, String>>>(
    mut look: impl FnMut() -> F,
) -> Result<T, String> {
    let until = Instant::now() + PATIENCE;
    loop {
        match look().await {
            Ok(seen) => return Ok(seen),
            Err(last) if Instant::now() >= until => return Err(last),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// Whether a program of this process id runs.
pub(crate) fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat"));
    // What stands behind the name in brackets is the state; a zombie has ended.
    let state =
        stat.ok().and_then(|stat| stat.rsplit_once(") ").map(|(_, rest)| rest.chars().next()));
    state.flatten().is_some_and(|state| state != 'Z')
}

/// The `controller` or `executor` that reads `config` in `folder`, and is not started yet.
pub(crate) fn server(name: &str, folder: &Path, config: &serde_json::Value) -> Server {
    Server::new(&binary_path(name), folder, config)
}

/// Where a binary of ours was built; it is built where it is missing.
pub(crate) fn binary_path(name: &str) -> PathBuf {
    built_beside(env!("CARGO_BIN_EXE_octavius").as_ref(), name)
}
