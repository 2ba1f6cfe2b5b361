//! A whole controller in this process: its actors, its gRPC port, and its port for metrics and health.
//!
//! [`Controller::start`] wires them, the one below first; [`Running::stop`] ends them, the one above first, each step
//! with a deadline and a line in the log. Not here: signals, exit codes, the log itself. A process may have several.

pub(crate) mod connections;
mod error;
#[cfg(feature = "fault-injection")]
mod faults;
mod stop;
mod stream;
mod tls;
mod vault;

pub use error::StartError;
#[cfg(feature = "fault-injection")]
pub use faults::Faults;
pub use tls::TlsError;

use crate::{
    configuration::{Configuration, StoreKind},
    grpc::{self, BoundLayer, Meter, Peers, UnwrittenOfAll, With, door},
    job_queue::{self, QueueHandle, Retention, rules::QueueLimits},
    liveness::{self, LivenessHandle, LivenessLimits},
    log_store::{LogFolder, LogHandle, LogLimits},
    metrics::METRICS,
    registry::RegistryHandle,
    secrets::SecretsHandle,
    store::{Leadership, Opener, Patience, StoreHandle, begin_term, embedded::EmbeddedOpener},
};
use connections::Connection;
use futures::Stream;
use octavius_service::{
    actor::ActorSystem,
    raise_open_files,
    telemetry::{
        health::{Health, HealthServer},
        metrics,
    },
};
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::Semaphore,
    task::JoinHandle,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::Server;

/// The most executors that a controller knows.
pub(crate) const MOST_EXECUTORS: usize = 10_000;
/// For how long the actors may take to load what is in the store.
const START_WITHIN: Duration = Duration::from_secs(60);
/// How many connections may wait until they are taken.
const BACKLOG: u32 = 1_024;
/// Small messages in one frame each use up a budget that is half of this window; ours come in floods.
const WINDOW: u32 = 8 << 20;
/// Calls at a time on one connection; further ones wait at the caller's. An executor's carries two parked calls and an
/// append for each log that grows, a client's a few; a proxy that needs more for its many opens another connection.
pub(crate) const MOST_STREAMS: u32 = 1_024;
/// The most bytes of a request's metadata: a token and a name are a few hundred.
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
    /// The installation's id, and which term of it this is.
    pub leadership: Leadership,
    actors: Actors,
    system: ActorSystem,
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

/// The ways in to the actors.
#[derive(Clone, Debug)]
struct Actors {
    store: StoreHandle,
    logs: LogHandle,
    registry: RegistryHandle,
    secrets: SecretsHandle,
    queue: QueueHandle,
    liveness: LivenessHandle,
}

impl Controller {
    /// Opens the store, begins a term, starts the actors, and serves. When this returns, calls are answered. Call it on
    /// a multi-threaded tokio runtime.
    pub async fn start(configuration: &Configuration) -> Result<Running, StartError> {
        if configuration.store() == StoreKind::Etcd {
            return Err(StartError::NoEtcd);
        }
        raise_open_files();
        let certificates = tls::Certificates::open(configuration)?;
        let socket = bind(configuration.address())?;
        let address = socket.local_addr().map_err(StartError::Thread)?;
        let (ending, ended) = (CancellationToken::new(), CancellationToken::new());
        // Whatever fails from here on, nothing of it goes on alone.
        let undo = (ending.clone().drop_guard(), ended.clone().drop_guard());
        // Before the first actor starts: it counts from its first moment.
        let metrics = metrics::install(ended.clone())?;
        metrics::describe(&[metrics::METRICS, METRICS]);
        let mut system = ActorSystem::start("octavius-controller").map_err(StartError::Thread)?;
        let (leadership, actors) = match Actors::start(&mut system, configuration).await {
            Ok(started) => started,
            Err(error) => {
                system.stop().await; // so that the store is closed when its user hears of it
                return Err(error);
            }
        };
        let followers = Arc::new(Semaphore::new(grpc::MOST_FOLLOWERS));
        let unwritten = Arc::<UnwrittenOfAll>::default();
        let serves = Arc::new(AtomicBool::new(false));
        let (is_serving, is_ending) = (serves.clone(), ending.clone());
        let store = actors.store.clone();
        let health = Health::new(metrics, system.actors()).ready(move || {
            if let Some(why) = store.full() {
                return Err(why.to_string());
            }
            match (is_serving.load(Relaxed), is_ending.is_cancelled()) {
                (_, true) => Err("the controller is ending".to_owned()),
                (false, _) => Err("the controller is starting".to_owned()),
                (true, false) => Ok(()),
            }
        });
        let started = async {
            let health = health.serve(configuration.metrics_address, ended.clone()).await?;
            actors.up().await?;
            let parts = grpc::Parts {
                registry: actors.registry.clone(),
                secrets: actors.secrets.clone(),
                queue: actors.queue.clone(),
                liveness: actors.liveness.clone(),
                logs: actors.logs.clone(),
                leadership: leadership.clone(),
                ping_deadline: configuration.executor_ping_deadline,
                ending: ending.clone(),
                door: door::Door::new(door::Policy::Open),
                followers: followers.clone(),
            };
            let tls = certificates.as_ref().map(tls::Certificates::acceptor).transpose()?;
            let connections = listen(socket, address)?;
            let connections = connections::incoming(connections, unwritten.clone(), tls);
            let serving = serve(connections, parts, &system, ending.clone())?;
            Ok::<_, StartError>((health, serving))
        };
        let (health, serving) = match started.await {
            Ok(started) => started,
            Err(error) => {
                system.stop().await;
                return Err(error);
            }
        };
        serves.store(true, Relaxed);
        if let Some(certificates) = certificates {
            tokio::spawn(certificates.renew(ended.clone()));
        }
        let metrics_address = health.address();
        tracing::info!(%address, %metrics_address, installation = leadership.installation,
            revision = leadership.revision, "the controller serves");
        Ok(Running {
            address,
            metrics_address,
            leadership,
            actors,
            system,
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
    /// How many read logs at present.
    pub fn followers(&self) -> usize {
        grpc::MOST_FOLLOWERS.saturating_sub(self.followers.available_permits())
    }

    /// Ways to break it on purpose.
    #[cfg(feature = "fault-injection")]
    pub fn faults(&self) -> Faults {
        Faults::new(&self.actors, &self.followers, &self.unwritten)
    }
}

impl Actors {
    /// Starts them, the one below first. A store that is in use or damaged is an error here.
    async fn start(
        system: &mut ActorSystem,
        configuration: &Configuration,
    ) -> Result<(Leadership, Self), StartError> {
        let opener: Arc<dyn Opener> = Arc::new(EmbeddedOpener::new(&configuration.data_dir));
        #[cfg(feature = "fault-injection")]
        let opener = crate::store::faulty::outside::from_environment(opener);
        let store = StoreHandle::start(system, opener, Patience::default()).await?;
        store.handle().up(START_WITHIN).await?;
        let writer = store.enlist("Controller").await?;
        let vault = vault::open(&store, &writer, &configuration.data_dir).await?;
        let leadership = begin_term(&store, &writer).await?;
        let folder = configuration.data_dir.join("logs");
        let folder = LogFolder::open(&folder)
            .map_err(|source| StartError::LogFolder { path: folder, source })?;
        let logs = LogHandle::start(
            system,
            store.clone(),
            folder,
            leadership.revision,
            LogLimits {
                kept: configuration.log_limit.0,
                keep_for: configuration.keep_logs_for,
                ..LogLimits::default()
            },
        );
        let logs = logs.map_err(StartError::Thread)?;
        let registry = RegistryHandle::start(system, store.clone()).map_err(StartError::Thread)?;
        let secrets = SecretsHandle::start(system, store.clone(), vault);
        let secrets = secrets.map_err(StartError::Thread)?;
        let parts = job_queue::Parts {
            store: store.clone(),
            registry: registry.clone(),
            secrets: secrets.clone(),
            logs: logs.clone(),
            limits: QueueLimits::default(),
            retention: Retention::of(configuration.keep_executions_for),
        };
        let queue = QueueHandle::start(system, parts).map_err(StartError::Thread)?;
        let limits = LivenessLimits {
            executors: MOST_EXECUTORS,
            ping_deadline: configuration.executor_ping_deadline,
            lost_after: configuration.executor_lost_after,
        };
        let installation = leadership.installation.clone();
        let parts =
            liveness::Parts { store: store.clone(), queue: queue.clone(), installation, limits };
        let liveness = LivenessHandle::start(system, parts).map_err(StartError::Thread)?;
        Ok((leadership, Self { store, logs, registry, secrets, queue, liveness }))
    }

    /// Waits until all have loaded what is theirs.
    async fn up(&self) -> Result<(), StartError> {
        self.store.handle().up(START_WITHIN).await?;
        self.logs.up(START_WITHIN).await?;
        self.registry.up(START_WITHIN).await?;
        self.secrets.up(START_WITHIN).await?;
        self.queue.actor().up(START_WITHIN).await?;
        self.liveness.up(START_WITHIN).await?;
        Ok(())
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
    parts: grpc::Parts,
    system: &ActorSystem,
    ending: CancellationToken,
) -> Result<JoinHandle<Result<(), tonic::transport::Error>>, StartError> {
    let reporter = tonic_health::server::HealthReporter::new();
    let health = tonic_health::server::HealthService::from_health_reporter(reporter.clone());
    let routes = grpc::routes(parts, health)?;
    tokio::spawn(grpc::watch_health(reporter, system.actors().to_vec(), ending.clone()));
    let server = Server::builder()
        .layer(With(Peers))
        .layer(With(Meter))
        .layer(BoundLayer::new(grpc::MOST_CALLS, grpc::MOST_BYTES))
        .initial_connection_window_size(WINDOW)
        .initial_stream_window_size(WINDOW)
        .max_concurrent_streams(MOST_STREAMS)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .http2_max_header_list_size(MOST_HEADER_BYTES)
        .add_routes(routes)
        .serve_with_incoming_shutdown(connections, ending.cancelled_owned());
    Ok(tokio::spawn(server))
}
