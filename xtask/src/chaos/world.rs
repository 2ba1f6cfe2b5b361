//! The installation: a folder with everything in it.

use super::{
    Store,
    binaries::{Binaries, VARIABLE},
    disk::Disk,
    network::Link,
    processes::{Kind, Processes, Server},
};
use anyhow::{Context as _, Result, bail};
use octavius_client::{Client, Settings, v1};
use octavius_testbed::{
    etcd::{Etcd, EtcdOptions},
    leaders::Record,
    ports::free_port,
};
use serde_json::{Value, json};
use std::{
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
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
    /// The disk of the one controller, where there is one.
    pub(super) disk: Option<Disk>,
    /// What several controllers share.
    pub(super) etcd: Option<Etcd>,
    /// What they wrote there.
    pub(super) record: Record,
    /// The ways between all of those, the members of etcd among them.
    pub(super) links: Vec<Link>,
    pub(super) client: Client,
    /// Where clients ask: one address, or several with commas.
    pub(super) address: String,
    /// Each execution that begins writes its attempt's number to a file of its name here.
    pub(super) ran: PathBuf,
    /// Where the executors keep what they run.
    pub(super) states: Vec<PathBuf>,
    folder: Option<tempfile::TempDir>,
}

/// What differs from one store to the other.
#[derive(Debug, Default)]
struct Parts {
    servers: Vec<Server>,
    disk: Option<Disk>,
    etcd: Option<Etcd>,
    links: Vec<Link>,
    address: String,
    executors: &'static [&'static str],
}

impl World {
    /// Makes it; no server of ours runs yet.
    pub(super) async fn new(binaries: &Binaries, store: Store) -> Result<Self> {
        let temporary = tempfile::Builder::new().prefix("octavius-chaos-").tempdir()?;
        let folder = temporary.path();
        for name in ["bin", "disk", "ran"] {
            fs::create_dir(folder.join(name))?;
        }
        binaries.copy(&folder.join("bin"))?;
        let parts = match store {
            Store::Embedded => embedded(folder)?,
            Store::Etcd => on_etcd(folder).await?,
        };
        let uris: Vec<_> = parts.address.split(',').map(|at| format!("http://{at}")).collect();
        let settings = Settings {
            ca_file: None,
            address: uris.join(","),
            email: Some("ada@example.com".to_owned()),
            token: None,
            timeout: PATIENCE,
        };
        let client = Client::new(&settings);
        let client = client.map_err(|error| anyhow::anyhow!("{error}"))?;
        Ok(Self {
            processes: Processes { servers: parts.servers },
            disk: parts.disk,
            etcd: parts.etcd,
            record: Record::default(),
            links: parts.links,
            client: client.with_patience(PATIENCE),
            address: parts.address,
            ran: folder.join("ran"),
            states: parts.executors.iter().map(|id| folder.join(id)).collect(),
            folder: Some(temporary),
        })
    }

    /// Where everything is.
    pub(super) fn folder(&self) -> &Path {
        self.folder.as_ref().map_or(Path::new(""), tempfile::TempDir::path)
    }

    /// Starts all, and waits until there is work for every executor.
    pub(super) async fn start(&mut self) -> Result<()> {
        for server in &mut self.processes.servers {
            server.start()?;
        }
        let until = Instant::now() + START_WITHIN;
        loop {
            let executors = self.client.executors().await;
            let ready = |executor: &v1::Executor| executor.state() == v1::ExecutorState::Ready;
            match &executors {
                Ok(found)
                    if found.iter().filter(|found| ready(found)).count() == self.states.len() =>
                {
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
        if let Some(disk) = &self.disk {
            disk.end(Some(&folder.join("data-kept")))?;
        }
        Ok(folder)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.processes.servers.clear();
        if let Some(disk) = &self.disk {
            let _ = disk.end(None); // what is kept was unmounted before
        }
    }
}

fn embedded(folder: &Path) -> Result<Parts> {
    let orders = folder.join("faults.json");
    let disk = Disk::new(&folder.join("disk"), &orders)?;
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let mut config = controller(port);
    config["store"] = "embedded".into();
    config["data_dir"] = folder.join("disk/data").to_str().into();
    let mut servers =
        vec![server(folder, Kind::Controller, "controller", &config, &[(VARIABLE, &orders)])?];
    let executors = &["one", "two"];
    for id in executors {
        servers.push(server(folder, Kind::Executor, id, &executor(folder, id, &address), &[])?);
    }
    Ok(Parts { servers, disk: Some(disk), address, executors, ..Parts::default() })
}

const MEMBERS: [&str; 3] = ["m0", "m1", "m2"];
const CONTROLLERS: [&str; 2] = ["controller-1", "controller-2"];

async fn on_etcd(folder: &Path) -> Result<Parts> {
    let members = MEMBERS.len();
    let options = EtcdOptions { members, with_ways: true, ..EtcdOptions::default() };
    let mut etcd = Etcd::start(options).await;
    let mut parts = Parts { executors: &["one", "two", "three"], ..Parts::default() };
    // All others come to a member by the same way: their addresses are what members agree about.
    let to_members = etcd.ways().into_iter().zip(MEMBERS);
    parts.links.extend(to_members.map(|(way, member)| Link::between("members", member, way)));
    let logs = folder.join("logs");
    fs::create_dir(&logs)?;
    let ports = CONTROLLERS.map(|name| (name, free_port()));
    for (name, port) in ports {
        let mut ways = Vec::new();
        for (member, endpoint) in MEMBERS.iter().zip(etcd.endpoints()) {
            let address = endpoint.trim_start_matches("http://");
            let link = Link::new(name, member, address).await;
            ways.push(format!("http://{}", link.address()));
            parts.links.push(link);
        }
        let mut config = controller(port);
        config["store"] = "etcd".into();
        config["etcd_endpoints"] = ways.into();
        config["etcd_compaction"] = "off".into(); // what it forgets is looked at before
        config["log_store"] = format!("file://{}", logs.display()).into();
        config["data_dir"] = data_dir(folder, name)?.to_str().into();
        for (other, _) in ports.iter().filter(|(other, _)| *other != name) {
            // There are two of them: only the other one goes there.
            let link = Link::new(other, name, &format!("127.0.0.1:{port}")).await;
            config["advertise_address"] = link.address().into();
            parts.links.push(link);
        }
        parts.servers.push(server(folder, Kind::Controller, name, &config, &[])?);
    }
    for id in parts.executors {
        let address = ways(&mut parts.links, id, &ports).await;
        let config = executor(folder, id, &address);
        parts.servers.push(server(folder, Kind::Executor, id, &config, &[])?);
    }
    parts.address = ways(&mut parts.links, "clients", &ports).await;
    Ok(Parts { etcd: Some(etcd), ..parts })
}

/// A folder of its own for a controller, with the master key that all of them have.
fn data_dir(folder: &Path, name: &str) -> Result<PathBuf> {
    let data = folder.join(format!("{name}-data"));
    fs::create_dir(&data)?;
    let mut key = fs::File::options();
    let mut key = key.write(true).create_new(true).mode(0o600).open(data.join("master.key"))?;
    writeln!(key, "octavius-master-key-1 {}=", "A".repeat(43))?;
    Ok(data)
}

/// Ways from one to each controller; where they begin.
async fn ways(links: &mut Vec<Link>, from: &'static str, ports: &[(&'static str, u16)]) -> String {
    let mut addresses = Vec::new();
    for (to, port) in ports {
        let link = Link::new(from, to, &format!("127.0.0.1:{port}")).await;
        addresses.push(link.address().to_owned());
        links.push(link);
    }
    addresses.join(",")
}

fn controller(port: u16) -> Value {
    json!({
        "app_port": port,
        "metrics_address": format!("127.0.0.1:{}", free_port()),
        "executor_ping_deadline": 9,
        "log_level": "info",
    })
}

fn executor(folder: &Path, id: &str, address: &str) -> Value {
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
}

fn server(
    folder: &Path,
    kind: Kind,
    name: &'static str,
    config: &Value,
    variables: &[(&str, &PathBuf)],
) -> Result<Server> {
    let file = folder.join(format!("{name}.json"));
    fs::write(&file, config.to_string())?;
    let binary = match kind {
        Kind::Controller => "controller",
        Kind::Executor => "executor",
    };
    let mut command = Command::new(folder.join("bin").join(binary));
    command.args(["start".as_ref(), "--config".as_ref(), file.as_os_str()]);
    command.current_dir(folder).env("RUST_BACKTRACE", "0");
    command.envs(variables.iter().copied());
    Server::new(kind, name, command, &folder.join(format!("{name}.out")))
}
