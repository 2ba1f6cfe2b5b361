//! The installation: a folder with everything in it.

use super::{
    binaries::{Binaries, VARIABLE},
    disk::Disk,
    processes::{Processes, Server},
};
use anyhow::{Context as _, Result, bail};
use octavius_client::{Client, Settings, v1};
use octavius_testbed::ports::free_port;
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use tokio::time::Instant;

const START_WITHIN: Duration = Duration::from_secs(60);
/// For how long a client of ours waits for one answer, over outages.
const PATIENCE: Duration = Duration::from_secs(90);

/// All of it.
#[derive(Debug)]
pub(super) struct World {
    pub(super) processes: Processes,
    pub(super) disk: Disk,
    pub(super) client: Client,
    pub(super) address: String,
    /// Each execution that begins writes its attempt's number to a file of its name here.
    pub(super) ran: PathBuf,
    /// Where the executors keep what they run.
    pub(super) states: Vec<PathBuf>,
    folder: Option<tempfile::TempDir>,
}

impl World {
    /// Makes it; nothing runs yet.
    pub(super) fn new(binaries: &Binaries) -> Result<Self> {
        let temporary = tempfile::Builder::new().prefix("octavius-chaos-").tempdir()?;
        let folder = temporary.path();
        for name in ["bin", "disk", "ran"] {
            fs::create_dir(folder.join(name))?;
        }
        binaries.copy(&folder.join("bin"))?;
        let disk = Disk::new(&folder.join("disk"), &folder.join("faults.json"))?;
        let (port, metrics) = (free_port(), free_port());
        let address = format!("127.0.0.1:{port}");
        let controller = json!({
            "app_port": port,
            "metrics_address": format!("127.0.0.1:{metrics}"),
            "store": "embedded",
            "data_dir": folder.join("disk/data"),
            "executor_ping_deadline": 9,
            "log_level": "info",
        });
        let executor = |id: &str| {
            json!({
                "cp_host": address,
                "id": id,
                "ping_interval": 1,
                "conn_time_out": 5,
                "runner": "process",
                "state_dir": folder.join(id),
                "capacity": 6,
                "log_level": "info",
            })
        };
        let servers = vec![
            server(folder, "controller", "controller", &controller)?,
            server(folder, "one", "executor", &executor("one"))?,
            server(folder, "two", "executor", &executor("two"))?,
        ];
        let settings = Settings {
            ca_file: None,
            address: format!("http://{address}"),
            email: Some("ada@example.com".to_owned()),
            token: None,
            timeout: PATIENCE,
        };
        let client = Client::new(&settings);
        let client = client.map_err(|error| anyhow::anyhow!("{error}"))?;
        let ran = folder.join("ran");
        let states = ["one", "two"].map(|id| folder.join(id)).to_vec();
        Ok(Self {
            processes: Processes { servers },
            disk,
            client: client.with_patience(PATIENCE),
            address,
            ran,
            states,
            folder: Some(temporary),
        })
    }

    /// Where everything is.
    pub(super) fn folder(&self) -> &Path {
        self.folder.as_ref().map_or(Path::new(""), tempfile::TempDir::path)
    }

    /// Starts all, and waits until there is work for both executors.
    pub(super) async fn start(&mut self) -> Result<()> {
        for server in &mut self.processes.servers {
            server.start()?;
        }
        let until = Instant::now() + START_WITHIN;
        loop {
            let executors = self.client.executors().await;
            let ready = |executor: &v1::Executor| executor.state() == v1::ExecutorState::Ready;
            match &executors {
                Ok(found) if found.iter().filter(|found| ready(found)).count() == 2 => {
                    return Ok(());
                }
                _ if Instant::now() > until => bail!("it did not start: {executors:?}"),
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Ends all, and keeps the folder.
    pub(super) fn keep(mut self) -> Result<PathBuf> {
        self.processes.servers.clear();
        let folder = self.folder.take().context("the folder is gone")?.keep();
        self.disk.end(Some(&folder.join("data-kept")))?;
        Ok(folder)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.processes.servers.clear();
        let _ = self.disk.end(None); // what is kept was unmounted before
    }
}

fn server(folder: &Path, name: &'static str, binary: &str, config: &Value) -> Result<Server> {
    let file = folder.join(format!("{name}.json"));
    fs::write(&file, config.to_string())?;
    let mut command = Command::new(folder.join("bin").join(binary));
    command.args(["start".as_ref(), "--config".as_ref(), file.as_os_str()]);
    command.current_dir(folder).env("RUST_BACKTRACE", "0");
    command.env(VARIABLE, folder.join("faults.json"));
    Server::new(name, command, &folder.join(format!("{name}.out")))
}
