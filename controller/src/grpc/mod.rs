//! The boundary that serves gRPC: a request becomes a message to an actor, and the reply becomes an answer.
//!
//! No rule lives here. [`door`] says who asks and whether that may be asked, `convert` turns texts into types and
//! back, `status` alone knows the codes, and the files of the services put these together. Every call that waits ends
//! when the controller does, and with its caller.

mod access;
mod accompany;
pub(crate) mod bound;
pub(crate) mod certificate;
pub(crate) mod convert;
pub mod door;
mod executions;
pub(crate) mod executors;
#[cfg_attr(not(feature = "etcd"), expect(dead_code, reason = "without an etcd nobody stands by"))]
pub(crate) mod forward;
mod health;
mod jobs;
pub(crate) mod keys;
mod meter;
pub(crate) mod pace;
pub(crate) mod peer;
mod read_log;
mod secrets;
mod sight;
mod slow;
mod spread;
pub(crate) mod status;
pub(crate) mod system;
pub(crate) mod unwritten;

pub use accompany::With;
pub use bound::{BoundLayer, MOST_BYTES, MOST_CALLS};
pub use certificate::{Authorities, Uncertified};
pub(crate) use forward::{ForwardError, Forwarder};
pub(crate) use health::watch_health;
pub use keys::KeysLayer;
pub use meter::Meter;
pub use pace::Pace;
pub use peer::{Peer, Peers};
pub use slow::SlowLayer;
pub(crate) use status::RoleError;
#[cfg(feature = "fault-injection")]
pub use unwritten::TakenRoom;
pub use unwritten::UnwrittenOfAll;

use crate::{
    access::AccessHandle,
    audit::AuditHandle,
    job_queue::QueueHandle,
    liveness::LivenessHandle,
    log_store::LogHandle,
    registry::RegistryHandle,
    secrets::SecretsHandle,
    store::{Leadership, StoreHandle},
};
use door::Door;
use octavius_protocol::{DESCRIPTORS, MAX_MESSAGE, v1};
use status::RequestError;
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

/// The most readers of logs at a time.
pub const MOST_FOLLOWERS: usize = 10_000;

/// What the services are made with.
#[derive(Clone, Debug)]
pub struct Parts {
    /// All that there is, for backups alone.
    pub store: StoreHandle,
    /// Jobs.
    pub registry: RegistryHandle,
    /// What jobs want and nobody may see.
    pub secrets: SecretsHandle,
    /// Who may do what.
    pub access: AccessHandle,
    /// Who did what.
    pub audit: AuditHandle,
    /// Executions.
    pub queue: QueueHandle,
    /// Executors.
    pub liveness: LivenessHandle,
    /// Logs.
    pub logs: LogHandle,
    /// Who this controller is.
    pub leadership: Leadership,
    /// Silence for so long ends new work for an executor.
    pub ping_deadline: Duration,
    /// Ends all calls that wait.
    pub over: Over,
    /// Who may ask for what.
    pub door: Door,
    /// How fast each person calls; none: as fast as they like.
    pub pace: Option<Arc<Pace>>,
    /// A place for each reader of a log.
    pub followers: Arc<Semaphore>,
}

/// Ends the calls that wait, and says why.
#[derive(Clone, Debug)]
pub struct Over {
    /// The controller ends, or does not lead any more.
    pub ending: CancellationToken,
    /// It may not lead any more.
    pub uncertain: CancellationToken,
}

impl Over {
    async fn comes(&self) -> tonic::Status {
        tokio::select! {
            biased;
            () = self.ending.cancelled() => RequestError::Ending.into(),
            () = self.uncertain.cancelled() => RoleError::Uncertain.into(),
        }
    }
}

/// What the services share.
#[derive(Clone, Debug)]
struct Services {
    parts: Arc<Parts>,
    /// A place for each backup that is taken.
    backups: Arc<Semaphore>,
}

impl Services {
    fn term(&self) -> Option<v1::Term> {
        let crate::store::Leadership { generation, revision, .. } = self.parts.leadership;
        Some(v1::Term { generation, revision })
    }

    /// Waits for `call`, and no longer than the controller serves.
    async fn while_serving<T, E>(
        &self,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, tonic::Status>
    where
        tonic::Status: From<E>,
    {
        tokio::select! {
            biased;
            why = self.parts.over.comes() => Err(why),
            answer = call => Ok(answer?),
        }
    }
}

/// Why the services cannot describe themselves.
#[derive(Debug, thiserror::Error)]
#[error("the descriptors of the protocol are damaged")]
pub struct DescriptorError(#[from] tonic_reflection::server::Error);

/// gRPC's own services, for health and reflection, which each controller answers for itself. `health` is told by
/// [`watch_health`].
pub(crate) fn own_routes(
    health: tonic_health::server::HealthService,
) -> Result<Routes, DescriptorError> {
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    Ok(Routes::new(tonic_health::pb::health_server::HealthServer::new(health))
        .add_service(reflection))
}

/// Our services, which the leader answers.
pub(crate) fn routes(parts: Parts) -> Routes {
    let backups = Arc::new(Semaphore::new(system::MOST_BACKUPS));
    let services = Services { parts: Arc::new(parts), backups };
    macro_rules! bounded {
        ($server:path) => {
            <$server>::new(services.clone())
                .max_decoding_message_size(MAX_MESSAGE)
                .max_encoding_message_size(MAX_MESSAGE)
        };
    }
    Routes::new(bounded!(v1::jobs_server::JobsServer<Services>))
        .add_service(bounded!(v1::executions_server::ExecutionsServer<Services>))
        .add_service(bounded!(v1::executors_server::ExecutorsServer<Services>))
        .add_service(bounded!(v1::secrets_server::SecretsServer<Services>))
        .add_service(bounded!(v1::access_server::AccessServer<Services>))
        .add_service(bounded!(v1::system_server::SystemServer<Services>))
}
