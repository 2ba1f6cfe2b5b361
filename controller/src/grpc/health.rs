//! gRPC's own health service: the whole server serves while calls are answered, also by the leader through a standby;
//! our services do where this controller leads, and every actor is up.

use crate::server::roles::Roles;
use octavius_protocol::v1;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tonic_health::{ServingStatus, server::HealthReporter};

/// How often the actors are looked at.
const LOOK: Duration = Duration::from_millis(200);

/// The name of the whole server.
const SERVER: &str = "";
/// The names that say whether this controller leads.
const NAMES: [&str; 5] = [
    "octavius.v1",
    <v1::jobs_server::JobsServer<super::Services> as NamedService>::NAME,
    <v1::executions_server::ExecutionsServer<super::Services> as NamedService>::NAME,
    <v1::executors_server::ExecutorsServer<super::Services> as NamedService>::NAME,
    <v1::system_server::SystemServer<super::Services> as NamedService>::NAME,
];

/// Tells the health service how things are, until `ending`; then that nobody serves.
pub(crate) async fn watch_health(
    reporter: HealthReporter,
    roles: Roles,
    ending: CancellationToken,
) {
    let mut told = None;
    loop {
        let up = !ending.is_cancelled() && roles.actors().iter().all(|actor| actor.is_up());
        let serving = (up && roles.serves(), up && roles.leads().is_ok());
        if told != Some(serving) {
            told = Some(serving);
            let status = |serves| match serves {
                true => ServingStatus::Serving,
                false => ServingStatus::NotServing,
            };
            reporter.set_service_status(SERVER, status(serving.0)).await;
            for name in NAMES {
                reporter.set_service_status(name, status(serving.1)).await;
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
