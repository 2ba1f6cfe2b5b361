//! A controller and an executor in this process, on the embedded store in one folder: `octavius dev` and `octavius demo`.
//!
//! The one place that knows both servers. Its jobs run on this machine, and end with it.

use crate::exit::Failure;
use octavius_client::{Client, Settings, v1::ExecutorState};
use octavius_controller::{
    configuration::Configuration as ControllerConfiguration,
    server::{Controller, Running as RunningController},
};
use octavius_executor::{
    configuration::Configuration as ExecutorConfiguration,
    runner::process::SupervisorCommand,
    server::{Executor, Running as RunningExecutor},
};
use octavius_service::configuration::from_values;
use serde_json::json;
use std::{fmt::Display, net::SocketAddr, path::Path, time::Duration};
use tokio::time::Instant;

/// How long the executor may take to be heard.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long the jobs may take to end when the installation does: their grace, and a little.
const END_WITHIN: Duration = Duration::from_secs(15);

/// What to start.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    /// The folder of everything.
    pub(crate) folder: &'a Path,
    /// Where the controller listens; port 0 takes a free one.
    pub(crate) address: SocketAddr,
    /// Where the controller's metrics and health are answered; port 0 takes a free one. The executor's are answered at
    /// a free port of the same address.
    pub(crate) metrics_address: SocketAddr,
    /// What is logged to standard error: `warn`, `info`, …
    pub(crate) log_level: &'a str,
}

/// An installation that serves.
#[derive(Debug)]
pub(crate) struct Installation {
    controller: RunningController,
    executor: RunningExecutor,
    client: Client,
    _logging: octavius_service::telemetry::logging::Logging,
}

impl Installation {
    /// Starts both, and waits until a job could run.
    pub(crate) async fn start(plan: &Plan<'_>) -> Result<Self, Failure> {
        let controller = from_values::<ControllerConfiguration>(
            &json!({
                "listen_address": plan.address.ip().to_string(),
                "security": "insecure", // it is for development, and says where it listens
                "app_port": plan.address.port(),
                "metrics_address": plan.metrics_address.to_string(),
                "store": "embedded",
                "data_dir": plan.folder.join("controller"),
                "log_level": plan.log_level,
            })
            .to_string(),
        );
        let controller = controller.map_err(unable)?.section;
        let logging = octavius_service::telemetry::logging::install(&controller.logging());
        let logging = logging.map_err(unable)?;
        let controller = Controller::start(&controller).await.map_err(unable)?;
        let executor = match start_executor(plan, controller.address).await {
            Ok(executor) => executor,
            Err(failure) => {
                controller.stop().await;
                return Err(failure);
            }
        };
        let client = client(controller.address);
        let installation = Self { controller, executor, client: client?, _logging: logging };
        match installation.ready().await {
            Ok(()) => Ok(installation),
            Err(failure) => {
                installation.stop().await;
                Err(failure)
            }
        }
    }

    /// Where the controller listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.controller.address
    }

    /// Where the controller's metrics and health are answered.
    pub(crate) fn metrics_address(&self) -> SocketAddr {
        self.controller.metrics_address
    }

    /// Where the executor's metrics and health are answered.
    pub(crate) fn executor_metrics_address(&self) -> Option<SocketAddr> {
        self.executor.metrics_address()
    }

    /// A client of this installation.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Ends the jobs, the executor and the controller, in this order.
    pub(crate) async fn stop(self) {
        self.executor.stop_and_end_jobs(END_WITHIN).await;
        self.controller.stop().await;
    }

    async fn ready(&self) -> Result<(), Failure> {
        let until = Instant::now() + READY_WITHIN;
        loop {
            let executors = self.client.executors().await?;
            if executors.iter().any(|executor| executor.state() == ExecutorState::Ready) {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(unable(format!("the executor was not heard within {READY_WITHIN:?}")));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn start_executor(
    plan: &Plan<'_>,
    controller: SocketAddr,
) -> Result<RunningExecutor, Failure> {
    let configuration = from_values::<ExecutorConfiguration>(
        &json!({
            "id": "dev",
            "cp_host": controller.to_string(),
            "runner": "process",
            "state_dir": plan.folder.join("executor"),
            "metrics_address": SocketAddr::new(plan.metrics_address.ip(), 0).to_string(),
        })
        .to_string(),
    );
    let configuration = configuration.map_err(unable)?.section;
    let program = std::env::current_exe().map_err(unable)?;
    let supervisor = SupervisorCommand { program, arguments: vec!["supervise".into()] };
    Executor::start(&configuration, supervisor).await.map_err(unable)
}

fn client(controller: SocketAddr) -> Result<Client, Failure> {
    let user = std::env::var("USER").ok().filter(|user| !user.is_empty());
    let settings = Settings {
        ca_file: None,
        address: format!("http://{controller}"),
        email: user,
        token: None,
        timeout: Duration::from_secs(10),
    };
    Ok(Client::new(&settings)?)
}

/// What does not work on this machine, in the user's words.
fn unable(error: impl Display) -> Failure {
    Failure::Usage(error.to_string())
}
