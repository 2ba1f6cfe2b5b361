//! Temporary: the log of a pod's container, read whole each time. What reads it as it is written takes its place.

use crate::runner::{LogPiece, RunnerError};
use bytes::Bytes;
use futures::AsyncReadExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::LogParams};
use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// How often it is read while nothing new comes.
const AGAIN: Duration = Duration::from_millis(300);

/// A pod, by its name in its namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PodName {
    pub(super) namespace: String,
    pub(super) name: String,
}

/// Who reads.
#[derive(Clone)]
pub(super) struct KubeLogs(Client);

impl KubeLogs {
    pub(super) fn new(client: Client) -> Self {
        Self(client)
    }
}

impl fmt::Debug for KubeLogs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KubeLogs")
    }
}

/// The log of one attempt's container.
#[derive(Debug)]
pub(super) struct PodLog {
    api: Arc<KubeLogs>,
    pod: PodName,
    container: &'static str,
    ended: AtomicBool,
    over: AtomicBool,
}

impl PodLog {
    pub(super) fn new(api: Arc<KubeLogs>, pod: PodName, container: &'static str) -> Self {
        Self { api, pod, container, ended: AtomicBool::new(false), over: AtomicBool::new(false) }
    }

    pub(super) async fn follow(
        &self,
        cursor: &Bytes,
        most: usize,
        within: Duration,
    ) -> Result<Option<LogPiece>, RunnerError> {
        let place = std::str::from_utf8(cursor).ok().and_then(|text| match text {
            "" => Some(0),
            text => text.parse::<usize>().ok(),
        });
        let Some(place) = place else {
            return Err(RunnerError::Refused("this cursor is not of a pod's log".to_owned()));
        };
        let deadline = Instant::now() + within;
        loop {
            let ended = self.ended.load(Relaxed);
            let log = self.read().await?;
            let end = log.len().min(place.saturating_add(most));
            if place < end {
                let bytes = Bytes::copy_from_slice(&log[place..end]);
                let chunks = vec![(Timestamp::now().as_millisecond(), bytes)];
                let cursor = Bytes::from(end.to_string());
                return Ok(Some(LogPiece { offset: place as u64, chunks, cursor }));
            }
            self.over.store(ended, Relaxed);
            if ended || Instant::now() >= deadline {
                return Ok(None);
            }
            sleep(AGAIN.min(deadline.saturating_duration_since(Instant::now()))).await;
        }
    }

    async fn read(&self) -> Result<Vec<u8>, RunnerError> {
        let failed = |error: String| RunnerError::Failed {
            what: format!("reading the log of the pod {}/{}", self.pod.namespace, self.pod.name),
            source: io::Error::other(error),
        };
        let parameters =
            LogParams { container: Some(self.container.to_owned()), ..LogParams::default() };
        let pods: Api<Pod> = Api::namespaced(self.api.0.clone(), &self.pod.namespace);
        let stream = pods.log_stream(&self.pod.name, &parameters).await;
        let mut log = Vec::new();
        let mut stream = std::pin::pin!(stream.map_err(|error| failed(error.to_string()))?);
        stream.read_to_end(&mut log).await.map_err(|error| failed(error.to_string()))?;
        Ok(log)
    }

    pub(super) fn container_started(&self) {}

    pub(super) fn container_ended(&self, _at: Option<Timestamp>) {
        self.ended.store(true, Relaxed);
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }
}
