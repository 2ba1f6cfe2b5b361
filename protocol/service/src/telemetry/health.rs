//! The second port of a server: `/metrics`, `/healthz`, `/readyz`, and pages of the server's own.
//!
//! `/healthz` is 200 while the process serves. `/readyz` is 200 only while every actor is up and the server itself says
//! so; otherwise 503, with who is not ready and why. Gauges are set when somebody looks. A process may have several
//! (`octavius dev` has two); they share the recorder of metrics. At most 64 may be connected to it.

use super::{
    metrics::{Metrics, observe},
    places::Places,
};
use crate::actor::Vitals;
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use futures::future::BoxFuture;
use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// For how long a scrape waits for the server's own gauges; then it has the last ones.
const COLLECT_WITHIN: Duration = Duration::from_secs(2);

/// For how long answers in flight may take at the end.
const END_WITHIN: Duration = Duration::from_secs(2);

type Ready = dyn Fn() -> Result<(), String> + Send + Sync;
type Actors = dyn Fn() -> Vec<Arc<Vitals>> + Send + Sync;
type Collect = dyn Fn() -> BoxFuture<'static, ()> + Send + Sync;

/// What is asked when somebody looks at a server.
#[derive(Clone)]
pub struct Health {
    metrics: Metrics,
    actors: Arc<Actors>,
    ready: Arc<Ready>,
    pages: Vec<(&'static str, Arc<Ready>)>,
    collect: Arc<Collect>,
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").finish_non_exhaustive()
    }
}

impl Health {
    /// Looks at these actors alone.
    pub fn new(metrics: Metrics, actors: &[Arc<Vitals>]) -> Self {
        let actors = actors.to_vec();
        Self::of(metrics, move || actors.clone())
    }

    /// The same where the actors are others from time to time.
    pub fn of(
        metrics: Metrics,
        actors: impl Fn() -> Vec<Arc<Vitals>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            metrics,
            actors: Arc::new(actors),
            ready: Arc::new(|| Ok(())),
            pages: Vec::new(),
            collect: Arc::new(|| Box::pin(async {})),
        }
    }

    /// What else must hold to be ready; the error says what is missing. It must answer at once.
    #[must_use]
    pub fn ready(mut self, ready: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Self {
        self.ready = Arc::new(ready);
        self
    }

    /// One more page: 200 while this holds, else 503 with what is missing. It must answer at once.
    #[must_use]
    pub fn page(
        mut self,
        path: &'static str,
        holds: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.pages.push((path, Arc::new(holds)));
        self
    }

    /// Sets the server's own gauges, before each scrape.
    #[must_use]
    pub fn collect<F>(mut self, collect: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.collect = Arc::new(move || Box::pin(collect()));
        self
    }

    /// Answers at `address` until `cancel`.
    pub async fn serve(
        self,
        address: SocketAddr,
        cancel: CancellationToken,
    ) -> Result<HealthServer, AddressError> {
        let listen = async {
            let listener = TcpListener::bind(address).await?;
            Ok((listener.local_addr()?, listener))
        };
        let (address, listener) =
            listen.await.map_err(|source| AddressError { address, source })?;
        let mut router = Router::new()
            .route("/metrics", get(scrape))
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(readiness));
        for (path, holds) in self.pages.clone() {
            router = router.route(path, get(async move || answer(holds().err())));
        }
        let router = router.with_state(self);
        let ended = cancel.clone().cancelled_owned();
        let serving = axum::serve(Places::new(listener), router).with_graceful_shutdown(ended);
        let task = tokio::spawn(async move {
            let late = async {
                cancel.cancelled().await;
                tokio::time::sleep(END_WITHIN).await;
            };
            tokio::select! {
                _ = serving.into_future() => {} // it has no error but that of a listener, which is retried
                () = late => tracing::warn!(%address, "metrics ended with answers in flight"),
            }
        });
        Ok(HealthServer { address, task })
    }
}

/// A port that answers.
#[derive(Debug)]
pub struct HealthServer {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl HealthServer {
    /// Where it answers; the real port if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for its end, which comes within 2 seconds of the cancel.
    pub async fn ended(self) {
        let _ = self.task.await; // a panic in a handler was contained there, and none of ours does
    }
}

/// Why nobody answers at `metrics_address`.
#[derive(Debug, thiserror::Error)]
#[error("`metrics_address` is `{address}`, {}", remedy(source))]
pub struct AddressError {
    address: SocketAddr,
    source: io::Error,
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "where another process listens: stop that, or give `metrics_address` another port"
        }
        io::ErrorKind::AddrNotAvailable => {
            "which is no address of this machine: give `metrics_address` one that is, for example `127.0.0.1:9600`"
        }
        io::ErrorKind::PermissionDenied => {
            "where this user may not listen: give `metrics_address` a port above 1023"
        }
        _ => "where nothing can listen: give `metrics_address` another address",
    }
}

async fn scrape(State(health): State<Health>) -> impl IntoResponse {
    observe(&(health.actors)());
    if tokio::time::timeout(COLLECT_WITHIN, (health.collect)()).await.is_err() {
        tracing::warn!(
            "gauges were not collected within {COLLECT_WITHIN:?}: the scrape has the last ones"
        );
    }
    let text = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, text)], health.metrics.render())
}

async fn readiness(State(health): State<Health>) -> impl IntoResponse {
    let actors = (health.actors)();
    let down = actors.iter().filter(|vitals| !vitals.is_up());
    let mut missing: Vec<_> = down.map(|vitals| format!("{} is starting", vitals.name())).collect();
    missing.extend((health.ready)().err());
    answer((!missing.is_empty()).then(|| missing.join("; ")))
}

fn answer(missing: Option<String>) -> (StatusCode, String) {
    match missing {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(missing) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {missing}\n")),
    }
}
