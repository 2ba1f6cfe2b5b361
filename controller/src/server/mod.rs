//! A whole controller in this process: its actors, its gRPC port, and its port for metrics and health.
//!
//! [`Controller::start`] wires them, the one below first; [`Running::stop`] ends them, the one above first, each step
//! with a deadline and a line in the log. Not here: signals, exit codes, the log itself. A process may have several.

pub(crate) mod connections;
mod error;
#[cfg(feature = "fault-injection")]
mod faults;
mod office;
pub(crate) mod roles;
mod stop;
mod stream;
mod terms;
#[cfg(test)]
pub(crate) mod testing;
mod tls;
pub(crate) mod vault;

pub use error::StartError;
#[cfg(feature = "fault-injection")]
pub use faults::Faults;
pub use tls::TlsError;

use crate::{
    access::issuer::Issuers,
    configuration::Configuration,
    grpc::{self, BoundLayer, KeysLayer, Meter, Peers, UnwrittenOfAll, With},
    metrics::METRICS,
    store::Leadership,
};
use connections::Connection;
use futures::Stream;
use octavius_service::{
    raise_open_files,
    telemetry::{
        health::{Health, HealthServer},
        metrics,
    },
};
use office::Plan;
use roles::Roles;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use terms::{Begin, InOffice};
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::Semaphore,
    task::JoinHandle,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::Server;

/// The most executors that a controller knows.
pub(crate) const MOST_EXECUTORS: usize = 10_000;
/// How many connections may wait until they are taken.
const BACKLOG: u32 = 1_024;
/// Small messages in one frame each use up a budget that is half of this window; ours come in floods.
const WINDOW: u32 = 8 << 20;
/// Calls at a time on one connection; further ones wait at the caller's. An executor's carries two parked calls and an
/// append for each log that grows, a client's a few; a proxy that needs more for its many opens another connection.
pub(crate) const MOST_STREAMS: u32 = 1_024;
/// The most bytes of a request's metadata: our own tokens and a name are a few hundred, an identity token some thousands.
pub(crate) const MOST_HEADER_BYTES: u32 = 16 << 10;
/// Parked calls cross gateways that forget silent connections.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Starts controllers.
#[derive(Clone, Copy, Debug)]
pub struct Controller;

/// A controller that serves.
#[derive(Debug)]
pub struct Running {
    /// Where clients and executors dial; the real port if 0 was asked for.
    pub address: SocketAddr,
    /// Where metrics and health are answered; the real port if 0 was asked for.
    pub metrics_address: SocketAddr,
    roles: Roles,
    /// Ends with `ending`, and gives back what is to be ended in order.
    terms: JoinHandle<Option<InOffice>>,
    /// None: it has ended by itself.
    serving: Option<JoinHandle<Result<(), tonic::transport::Error>>>,
    health: HealthServer,
    /// A place for each reader of a log.
    followers: Arc<Semaphore>,
    #[cfg(feature = "fault-injection")]
    unwritten: Arc<UnwrittenOfAll>,
    /// Ends all calls that wait, and takes no new ones.
    ending: CancellationToken,
    /// Ends the port for metrics and health.
    ended: CancellationToken,
    /// Who drops it without ending it in order leaves nothing behind that goes on.
    _undo: (DropGuard, DropGuard),
}

impl Controller {
    /// Serves. When this returns, calls are answered: on an embedded store it leads, on an etcd it takes part in the
    /// election. Call it on a multi-threaded tokio runtime.
    pub async fn start(configuration: &Configuration) -> Result<Running, StartError> {
        raise_open_files();
        let certificates = tls::Certificates::open(configuration)?;
        let (issuers, fetching) = Issuers::open(configuration)?;
        let socket = bind(configuration.address())?;
        let address = socket.local_addr().map_err(StartError::Thread)?;
        let (ending, ended) = (CancellationToken::new(), CancellationToken::new());
        // Whatever fails from here on, nothing of it goes on alone.
        let undo = (ending.clone().drop_guard(), ended.clone().drop_guard());
        // Before the first actor starts: it counts from its first moment.
        let metrics = metrics::install(ended.clone())?;
        metrics::describe(&[metrics::METRICS, METRICS]);
        let followers = Arc::new(Semaphore::new(grpc::MOST_FOLLOWERS));
        for issuer in fetching {
            // It goes on while nobody leads, too: who is elected knows the keys.
            tokio::spawn(issuer.run(ending.clone()));
        }
        let (of_readers, of_calls) = (followers.clone(), ending.clone());
        let plan = Plan::new(configuration, issuers.clone(), of_readers, of_calls).await?;
        #[cfg(feature = "etcd")]
        let plan = Plan { certificates: certificates.clone(), ..plan };
        let begin = Begin::new(plan, address).await?;
        let unwritten = Arc::<UnwrittenOfAll>::default();
        let roles = Roles::new(ending.clone());
        let (of_actors, of_ready, of_leader) = (roles.clone(), roles.clone(), roles.clone());
        let health = Health::of(metrics, move || of_actors.actors())
            .ready(move || of_ready.ready())
            .page("/leaderz", move || of_leader.leads());
        let health = match health.serve(configuration.metrics_address, ended.clone()).await {
            Ok(health) => health,
            Err(error) => return Err(begin.give_up(error.into()).await),
        };
        let begun = begin.ready(&roles).await?;
        let listening = || {
            let tls = certificates.as_ref().map(tls::Certificates::acceptor).transpose()?;
            let authorities =
                certificates.as_ref().and_then(|certificates| certificates.executors());
            let connections = listen(socket, address)?;
            let connections =
                connections::incoming(connections, unwritten.clone(), (tls, authorities));
            serve(connections, &roles, issuers, ending.clone())
        };
        let serving = match listening() {
            Ok(serving) => serving,
            Err(error) => return Err(begun.give_up(error).await),
        };
        let terms = tokio::spawn(begun.go_on(roles.clone(), ending.clone()));
        if let Some(certificates) = certificates {
            tokio::spawn(certificates.renew(ended.clone()));
        }
        let metrics_address = health.address();
        tracing::info!(%address, %metrics_address, "the controller serves");
        Ok(Running {
            address,
            metrics_address,
            roles,
            terms,
            serving: Some(serving),
            health,
            followers,
            #[cfg(feature = "fault-injection")]
            unwritten,
            ending,
            ended,
            _undo: undo,
        })
    }
}

impl Running {
    /// The installation's id, and which term of it this is; none where another controller leads.
    pub fn leadership(&self) -> Option<Leadership> {
        self.roles.office().map(|office| office.leadership.clone())
    }

    /// How many read logs at present.
    pub fn followers(&self) -> usize {
        grpc::MOST_FOLLOWERS.saturating_sub(self.followers.available_permits())
    }

    /// Ways to break it on purpose.
    #[cfg(feature = "fault-injection")]
    pub fn faults(&self) -> Faults {
        Faults::new(&self.roles, &self.followers, &self.unwritten)
    }
}

/// Gives the socket its address, and finds out whether it can have it: not where another process listens. Who dials is
/// refused until [`listen`], else all who dial while the store is opened would be let in at once. Until then the port
/// is nobody's: another one who binds it the same way may listen first, and then [`listen`] fails.
fn bind(address: SocketAddr) -> Result<TcpSocket, StartError> {
    let bound = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?; // connections of the controller before this one may linger
        socket.bind(address)?;
        Ok(socket)
    };
    bound().map_err(|source| StartError::Address { address, source })
}

fn listen(socket: TcpSocket, address: SocketAddr) -> Result<TcpListener, StartError> {
    socket.listen(BACKLOG).map_err(|source| StartError::Address { address, source })
}

/// Serves gRPC until `ending`, and then until the calls in flight are answered.
fn serve(
    connections: impl Stream<Item = io::Result<Connection>> + Send + 'static,
    roles: &Roles,
    issuers: Issuers,
    ending: CancellationToken,
) -> Result<JoinHandle<Result<(), tonic::transport::Error>>, StartError> {
    let reporter = tonic_health::server::HealthReporter::new();
    let health = tonic_health::server::HealthService::from_health_reporter(reporter.clone());
    let own = grpc::own_routes(health)?;
    tokio::spawn(grpc::watch_health(reporter, roles.clone(), ending.clone()));
    let server = Server::builder()
        .layer(With(Peers))
        .layer(With(Meter))
        .layer(grpc::SlowLayer::default())
        .layer(KeysLayer::new(issuers, roles.clone()))
        .layer(BoundLayer::new(grpc::MOST_CALLS, grpc::MOST_BYTES))
        .initial_connection_window_size(WINDOW)
        .initial_stream_window_size(WINDOW)
        .max_concurrent_streams(MOST_STREAMS)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .http2_max_header_list_size(MOST_HEADER_BYTES)
        .add_routes(roles::switched(roles, own))
        .serve_with_incoming_shutdown(connections, ending.cancelled_owned());
    Ok(tokio::spawn(server))
}
