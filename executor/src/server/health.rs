//! The port that says how an executor is, from the first moment of its start: it lives, and is not ready before it has
//! started, however long that waits for others.

use super::StartError;
use crate::metrics::METRICS;
use octavius_service::{
    actor::Vitals,
    telemetry::{
        self,
        health::{Health, HealthServer},
    },
};
use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, OnceLock},
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// What is asked once it has started.
struct Started {
    actors: Vec<Arc<Vitals>>,
    ready: Box<dyn Fn() -> Result<(), String> + Send + Sync>,
}

/// A port that answers while an executor starts; dropped, it answers no more.
pub(super) struct Answering {
    server: Option<HealthServer>,
    started: Arc<OnceLock<Started>>,
    ended: DropGuard,
}

impl fmt::Debug for Answering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answering").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Answering {
    /// Answers at `address`, if there is one.
    pub(super) async fn start(address: Option<SocketAddr>) -> Result<Self, StartError> {
        let (started, ended) = (Arc::new(OnceLock::<Started>::new()), CancellationToken::new());
        let mut server = None;
        if let Some(address) = address {
            let metrics = telemetry::metrics::install(ended.clone())?;
            telemetry::metrics::describe(&[telemetry::metrics::METRICS, METRICS]);
            let (of_actors, of_ready) = (started.clone(), started.clone());
            let actors = move || of_actors.get().map_or_else(Vec::new, |it| it.actors.clone());
            let health = Health::of(metrics, actors).ready(move || match of_ready.get() {
                Some(started) => (started.ready)(),
                None => {
                    Err("it is starting, and waits for its cluster or its controller".to_owned())
                }
            });
            server = Some(health.serve(address, ended.clone()).await?);
        }
        Ok(Self { server, started, ended: ended.drop_guard() })
    }

    /// It has started: these are its actors, and what must hold to be ready. The port, if there is one, and what ends it.
    pub(super) fn started(
        self,
        actors: &[Arc<Vitals>],
        ready: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) -> (Option<HealthServer>, CancellationToken) {
        let started = Started { actors: actors.to_vec(), ready: Box::new(ready) };
        let _ = self.started.set(started); // nobody else does
        (self.server, self.ended.disarm())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
    };

    async fn answer(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let asked = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(asked.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn what_starts_lives_and_is_not_ready_before_it_has_started() {
        let answering = Answering::start(Some("127.0.0.1:0".parse().unwrap())).await.unwrap();
        let address = answering.server.as_ref().unwrap().address();
        assert!(answer(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        let starting = answer(address, "/readyz").await;
        assert!(starting.starts_with("HTTP/1.1 503"), "{starting}");
        assert!(starting.contains("it is starting"), "{starting}");
        let (server, ended) = answering.started(&[], || Ok(()));
        assert!(answer(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        ended.cancel();
        server.unwrap().ended().await;
        TcpStream::connect(address).await.unwrap_err();
    }

    #[tokio::test]
    async fn what_does_not_start_answers_no_more() {
        let answering = Answering::start(Some("127.0.0.1:0".parse().unwrap())).await.unwrap();
        let address = answering.server.as_ref().unwrap().address();
        let server = answering.server.map(HealthServer::ended);
        drop(answering.ended);
        server.unwrap().await;
        TcpStream::connect(address).await.unwrap_err();
    }
}
