//! gRPC's own health service: says that we serve while every actor is up.

use octavius_protocol::v1;
use octavius_service::actor::Vitals;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tonic_health::{ServingStatus, server::HealthReporter};

/// How often the actors are looked at.
const LOOK: Duration = Duration::from_millis(200);

/// The names that health can be asked about; the empty one is the whole server.
const NAMES: [&str; 5] = [
    "",
    <v1::jobs_server::JobsServer<super::Services> as NamedService>::NAME,
    <v1::executions_server::ExecutionsServer<super::Services> as NamedService>::NAME,
    <v1::executors_server::ExecutorsServer<super::Services> as NamedService>::NAME,
    <v1::system_server::SystemServer<super::Services> as NamedService>::NAME,
];

/// Tells the health service how the actors are, until `ending`; then that nobody serves.
pub async fn watch_health(
    reporter: HealthReporter,
    actors: Vec<Arc<Vitals>>,
    ending: CancellationToken,
) {
    let mut told = None;
    loop {
        let serving = !ending.is_cancelled() && actors.iter().all(|actor| actor.is_up());
        if told != Some(serving) {
            told = Some(serving);
            let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
            for name in NAMES {
                reporter.set_service_status(name, status).await;
            }
        }
        if ending.is_cancelled() {
            return;
        }
        tokio::select! {
            () = ending.cancelled() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}
