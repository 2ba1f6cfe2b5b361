//! `octavius dev`: a whole installation in this process.

use crate::{
    context::Context,
    exit::{Exit, Failure},
    installation::{Installation, Plan},
};
use clap::Args;
use octavius_service::signals::{End, Signals};
use serde_json::json;
use std::{net::SocketAddr, path::PathBuf};
use tokio_util::sync::CancellationToken;

/// Run a controller and an executor in this process, until Ctrl-C
///
/// Its state is kept in a folder and found again. Its jobs run on this machine, as this user, and end with it.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  octavius dev
  CP_HOST=127.0.0.1:3000 octavius create -f metadata.json    in another terminal")]
pub(crate) struct Dev {
    /// The folder of its state; made if it is not there
    #[arg(long, value_name = "FOLDER", default_value = "octavius-dev")]
    data_dir: PathBuf,
    /// Where it listens
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
    /// Where the controller's metrics and health are answered; the executor's are at a free port beside it
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:3001")]
    metrics: SocketAddr,
    /// Which lines are logged to standard error
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: String,
}

impl Dev {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let mut signals = Signals::listen()?;
        let plan = Plan {
            folder: &self.data_dir,
            address: self.listen,
            metrics_address: self.metrics,
            log_level: &self.log_level,
        };
        let installation = Installation::start(&plan).await?;
        let (address, metrics) = (installation.address(), installation.metrics_address());
        let executor = installation.executor_metrics_address();
        let executor = executor.map(|address| address.to_string()).unwrap_or_default();
        let output = &context.output;
        if output.format().is_document() {
            let (address, metrics) = (address.to_string(), metrics.to_string());
            output.document(&json!({
                "address": address,
                "metrics_address": metrics,
                "executor_metrics_address": executor,
            }))?;
        } else {
            let folder = self.data_dir.display();
            output.text(&format!(
                "Octavius serves at {address}, with its state in {folder}. In another terminal:\n\n  \
                 export CP_HOST={address}\n  octavius create -f metadata.json\n\n\
                 Metrics and health: http://{metrics}/metrics, and of the executor http://{executor}/metrics. \
                 Ctrl-C ends it, and its jobs.\n"
            ))?;
        }
        let cancel = CancellationToken::new();
        let server = async {
            cancel.cancelled().await;
            installation.stop().await;
        };
        Ok(match signals.run(&cancel, server).await {
            End::Ended(()) => Exit::Done,
            End::Left(_) => Exit::Interrupted,
        })
    }
}
