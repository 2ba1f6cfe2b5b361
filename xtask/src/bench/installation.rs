//! A controller of its own, on free ports and in a temporary folder, and an executor if one is wanted.

use super::{idle_executor::Invitation, place::Place};
use anyhow::{Context as _, Result, bail, ensure};
use octavius_client::{Client, Settings, v1};
use octavius_controller::init;
use octavius_testbed::ports::free_port;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// How long anything may take that is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);
/// The job that does nothing.
pub(super) const NOTHING: &str = "nothing";
/// Who asks, unless somebody else does.
const ASKS: &str = "bench@example.com";

/// A server that runs, until it is dropped.
#[derive(Debug)]
pub(super) struct Server(Child);

impl Server {
    /// Starts a server in a folder, where its file is written and what it says is kept.
    pub(super) fn start(
        binaries: &Path,
        name: &str,
        folder: &Path,
        config: &Value,
        variables: &[(String, String)],
    ) -> Result<Self> {
        let file = folder.join(format!("{name}_config.json"));
        std::fs::write(&file, config.to_string())?;
        let output = File::options().append(true).create(true).open(folder.join("output"))?;
        let child = Command::new(binaries.join(name))
            .args(["start".as_ref(), "--config".as_ref(), file.as_os_str()])
            .current_dir(folder)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn();
        Ok(Self(child.with_context(|| format!("{name} cannot be started"))?))
    }

    /// What it holds of the machine's memory, in MB.
    pub(super) fn memory(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
        Ok(kib.context("the kernel does not say how much memory it holds")? * 1024.0 / 1e6)
    }

    /// How long it has had a core so far, its children that ended not counted.
    pub(super) fn worked(&self) -> Result<Duration> {
        worked(self.0.id())
    }

    /// Asks it to end, and does not wait.
    pub(super) fn ask_to_end(&self) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.0), Signal::TERM)?)
    }

    /// Asks it to end, and waits until it has.
    pub(super) async fn end(mut self) -> Result<()> {
        self.ask_to_end()?;
        let until = Instant::now() + PATIENCE;
        while self.0.try_wait()?.is_none() {
            ensure!(Instant::now() < until, "a server did not end");
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended
        let _ = self.0.wait();
    }
}

/// How long a process has had a core so far, its children that ended not counted.
fn worked(process: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, rest) = stat.rsplit_once(") ").context("the kernel's line is another one")?;
    let ticks = rest.split(' ').skip(11).take(2).map(str::parse::<u64>);
    let ticks: u64 = ticks.sum::<Result<_, _>>()?;
    let a_second = rustix::param::clock_ticks_per_second().max(1);
    Ok(Duration::from_millis(ticks * 1000 / a_second))
}

/// The same of the bench itself.
pub(super) fn worked_itself() -> Result<Duration> {
    worked(std::process::id())
}

/// A controller, and who asks it.
#[derive(Debug)]
pub(super) struct Installation {
    pub(super) controller: Server,
    pub(super) client: Client,
    /// Host and port.
    pub(super) address: String,
    /// What `client` asks with.
    settings: Settings,
    binaries: PathBuf,
    configuration: Value,
    variables: Vec<(String, String)>,
    folder: tempfile::TempDir,
}

impl Installation {
    /// A controller that serves, has its state and logs there, and has the job [`NOTHING`].
    pub(super) async fn start(binaries: &Path, place: &Place) -> Result<Self> {
        Self::serving(binaries, place, tempfile::tempdir()?, json!({}), None).await
    }

    /// The same as `controller init` sets it up: it speaks TLS, takes tokens, and records who did what. Who asks is its
    /// first administrator; executors take an [`Invitation`].
    pub(super) async fn secured(binaries: &Path, place: &Place) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let made = folder.path().join("init");
        let said = Command::new(binaries.join("controller"))
            .args(["init", "--administrator", ASKS])
            .arg(&made)
            .stdin(Stdio::null())
            .output()
            .context("controller cannot be started")?;
        ensure!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        let read = |name: &str| std::fs::read_to_string(made.join(name));
        let mut configuration: Value = serde_json::from_str(&read(init::CONFIGURATION)?)?;
        configuration["listen_address"] = "127.0.0.1".into();
        // One person asks for all, and nothing is to bound that.
        configuration["calls_per_second"] = 100_000.into();
        let proof = (made.join(init::CA), read(init::TOKEN)?);
        Self::serving(binaries, place, folder, configuration, Some(proof)).await
    }

    /// Adds to the configuration what is the same for all, and starts. With `proof` TLS is spoken with whom this authority
    /// names, and this token is shown.
    async fn serving(
        binaries: &Path,
        place: &Place,
        folder: tempfile::TempDir,
        mut configuration: Value,
        proof: Option<(PathBuf, String)>,
    ) -> Result<Self> {
        let (port, metrics_port) = (free_port(), free_port());
        configuration["app_port"] = port.into();
        configuration["metrics_address"] = format!("127.0.0.1:{metrics_port}").into();
        configuration["data_dir"] = folder.path().join("data").display().to_string().into();
        // More than the largest log that is measured: none is to be cut.
        configuration["log_limit"] = "256MiB".into();
        place.configure(port, &mut configuration);
        let variables = place.variables();
        let controller =
            Server::start(binaries, "controller", folder.path(), &configuration, &variables)?;
        let address = format!("127.0.0.1:{port}");
        let mut settings = settings(&address);
        if let Some((authority, token)) = proof {
            settings.address = format!("https://{address}");
            settings.ca_file = Some(authority);
            settings.token = Some(token.trim().into());
        }
        let (client, binaries) = (Client::new(&settings)?, binaries.canonicalize()?);
        let this = Self {
            controller,
            client,
            address,
            settings,
            binaries,
            configuration,
            variables,
            folder,
        };
        this.serves().await.with_context(|| this.output())?;
        this.job(NOTHING, &["true"]).await?;
        Ok(this)
    }

    /// Starts a real executor of the kind `process`, and waits until it gets work.
    pub(super) async fn executor(&self, capacity: usize) -> Result<Server> {
        let config = json!({ "id": "process", "runner": "process", "capacity": capacity });
        self.ready(config, &[]).await
    }

    /// The same of the kind `kubernetes`, with the rights that the kubeconfig gives in this namespace.
    pub(super) async fn kubernetes_executor(
        &self,
        kubeconfig: &Path,
        namespace: &str,
        capacity: usize,
    ) -> Result<Server> {
        let config = json!({
            "id": "kubernetes",
            "runner": "kubernetes",
            "capacity": capacity,
            "kube_config": "out-of-cluster",
            "default_namespace": namespace,
        });
        let variables = [("KUBECONFIG".to_owned(), kubeconfig.display().to_string())];
        self.ready(config, &variables).await
    }

    /// Starts an executor, and waits until it gets work.
    async fn ready(&self, mut config: Value, variables: &[(String, String)]) -> Result<Server> {
        config["cp_host"] = self.address.clone().into();
        config["state_dir"] = self.folder.path().join("state").display().to_string().into();
        let folder = self.folder.path();
        let executor = Server::start(&self.binaries, "executor", folder, &config, variables)?;
        let until = Instant::now() + PATIENCE;
        let is_ready = |executor: &v1::Executor| executor.state() == v1::ExecutorState::Ready;
        while !self.client.executors().await?.iter().any(is_ready) {
            ensure!(Instant::now() < until, "the executor is not ready: {}", self.output());
            sleep(Duration::from_millis(10)).await;
        }
        Ok(executor)
    }

    /// Registers a job.
    pub(super) async fn job(&self, name: &str, command: &[&str]) -> Result<()> {
        let definition = v1::JobDefinition {
            name: name.to_owned(),
            command: command.iter().map(|&word| word.to_owned()).collect(),
            ..v1::JobDefinition::default()
        };
        self.client.create_job(definition).await?;
        Ok(())
    }

    /// Submits the job without arguments, and answers the execution's id.
    pub(super) async fn submit(&self, job: &str) -> Result<String> {
        Ok(self.client.execute(job, [].into()).await?.id)
    }

    /// Another client, with a connection of its own.
    pub(super) fn another_client(&self) -> Result<Client> {
        Ok(Client::new(&self.settings)?)
    }

    /// A client of somebody else, who may execute, with a connection of its own; where tokens are taken, with a token of
    /// its own, too.
    pub(super) async fn client_of(&self, name: &str) -> Result<Client> {
        let mut settings = Settings { email: Some(name.to_owned()), ..self.settings.clone() };
        if settings.token.is_some() {
            let request = v1::CreateTokenRequest { name: name.to_owned(), ..Default::default() };
            settings.token = Some(self.client.create_token(request).await?.token.into());
            let is = Some(v1::subject::Is::Person(name.to_owned()));
            let role = v1::Role::Operator.into();
            let subject = Some(v1::Subject { is });
            let request = v1::GrantRoleRequest { subject, role, ..Default::default() };
            self.client.grant_role(request).await?;
        }
        Ok(Client::new(&settings)?)
    }

    /// What it takes to join as one executor; none: whoever comes may.
    pub(super) async fn invitation(&self) -> Result<Option<Invitation>> {
        let Some(authority) = &self.settings.ca_file else { return Ok(None) };
        let expires_in = Some(prost_types::Duration { seconds: 3600, nanos: 0 });
        let request = v1::InviteExecutorsRequest { uses: 1, expires_in, ..Default::default() };
        let token = self.client.invite_executors(request).await?.token;
        Invitation::new(authority, &token).map(Some)
    }

    /// Ends the controller in order, starts it again, and answers how long that took until it answered a call.
    pub(super) async fn restart(self) -> Result<(Self, Duration)> {
        self.controller.end().await?;
        let (binaries, folder) = (&self.binaries, self.folder.path());
        let began = Instant::now();
        let controller =
            Server::start(binaries, "controller", folder, &self.configuration, &self.variables)?;
        let this = Self { controller, client: Client::new(&self.settings)?, ..self };
        this.serves().await.with_context(|| this.output())?;
        Ok((this, began.elapsed()))
    }

    /// Ends the controller in order, and leaves its folder; its state is in `data` there.
    pub(super) async fn end(self) -> Result<tempfile::TempDir> {
        self.controller.end().await?;
        Ok(self.folder)
    }

    async fn serves(&self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        // Asks for what only a queue that has loaded knows.
        while let Err(error) = self.client.executions(None, Some(1)).await {
            if Instant::now() > until {
                bail!("the controller does not serve: {error}");
            }
            sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    /// A program of ours, told where the controller is.
    pub(super) fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.binaries.join(name));
        command.env("CP_HOST", &self.address).env("EMAIL_ID", ASKS);
        command.current_dir(self.folder.path());
        command
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the servers have said at last.
    fn output(&self) -> String {
        let said = std::fs::read_to_string(self.folder.path().join("output")).unwrap_or_default();
        let lines: Vec<_> = said.lines().rev().take(20).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

/// What a client asks the open controller at `host:port` with.
fn settings(address: &str) -> Settings {
    let (address, email) = (format!("http://{address}"), Some(ASKS.to_owned()));
    Settings { ca_file: None, address, email, token: None, timeout: PATIENCE }
}

/// A client of the open controller at `host:port`.
pub(super) fn client(address: &str) -> Result<Client> {
    Ok(Client::new(&settings(address))?)
}

/// Where the tests' own build has put the servers; they are built if they are not there.
#[cfg(test)]
pub(super) fn built_for_tests() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(Path::parent).unwrap().to_owned();
    for name in ["controller", "executor"] {
        if !folder.join(name).exists() {
            let package = format!("octavius-{name}");
            let build = Command::new(env!("CARGO")).args(["build", "--package", &package]).status();
            assert!(build.unwrap().success(), "{name} could not be built");
        }
    }
    folder
}
