//! What is asked of the API about a pod's log.

use crate::runner::kubernetes::client::{IN_BETWEEN, NOT_FOUND, chain, left_alone};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, StreamExt, stream, stream::BoxStream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::LogParams, core::Status};
use std::{fmt, io, time::Duration};
use tokio::{sync::watch, time::Instant};

/// A pod, by its name in its namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodName {
    /// The namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
}

impl fmt::Display for PodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The bytes of one read, as they come. An error: it was cut. An end means nothing: a kubelet that is killed ends it, too.
pub type LogBytes = BoxStream<'static, io::Result<Bytes>>;

/// Why the API does not give a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogRefusal {
    /// The container has not started, or its node does not have its log.
    #[error("{0}")]
    NotThere(String),
    /// We have no right to it; with the name of who asked, where the API says it.
    #[error("{0}")]
    Forbidden(String),
    /// There is no such pod.
    #[error("{0}")]
    Gone(String),
    /// Something on the way does not work, or has too much to do.
    #[error("{why}")]
    Failed {
        /// What does not work, in the words of who noticed.
        why: String,
        /// How long it asks to be left alone.
        after: Option<Duration>,
    },
}

/// What is asked of the API: one read.
#[async_trait]
pub trait LogApi: Send + Sync + 'static {
    /// Opens the log of a container, with a stamp before each piece, from a second since 1970 on, or from its start.
    /// `follow`: it does not end before the container does.
    async fn open(
        &self,
        pod: &PodName,
        container: &str,
        since: Option<i64>,
        follow: bool,
    ) -> Result<LogBytes, LogRefusal>;

    /// The first bytes of the newest file of the log, at least a stamp's if there are any.
    async fn first(&self, pod: &PodName, container: &str) -> Result<Bytes, LogRefusal>;
}

/// More than a stamp has.
const STAMP: i64 = 64;

/// The real one.
#[derive(Clone)]
pub struct KubeLogs {
    client: Client,
    /// Before when nothing is to be asked.
    not_before: Option<watch::Receiver<Option<Instant>>>,
}

impl KubeLogs {
    /// Asks through this client.
    pub fn new(client: Client) -> Self {
        Self { client, not_before: None }
    }

    /// Asks nothing before what is said there.
    #[must_use]
    pub fn leaving_alone_until(self, not_before: watch::Receiver<Option<Instant>>) -> Self {
        Self { not_before: Some(not_before), ..self }
    }

    async fn ask(
        &self,
        pod: &PodName,
        parameters: LogParams,
    ) -> Result<impl AsyncBufRead + use<>, LogRefusal> {
        if let Some(not_before) = &self.not_before {
            left_alone(not_before).await;
        }
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace);
        pods.log_stream(&pod.name, &parameters).await.map_err(refusal)
    }
}

impl fmt::Debug for KubeLogs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KubeLogs")
    }
}

#[async_trait]
impl LogApi for KubeLogs {
    async fn open(
        &self,
        pod: &PodName,
        container: &str,
        since: Option<i64>,
        follow: bool,
    ) -> Result<LogBytes, LogRefusal> {
        let reader = self
            .ask(
                pod,
                LogParams {
                    container: Some(container.to_owned()),
                    follow,
                    timestamps: true,
                    since_time: since.and_then(|second| Timestamp::from_second(second).ok()),
                    ..LogParams::default()
                },
            )
            .await?;
        // Bytes come as the connection has them: nothing waits for a newline, and nothing is read as text.
        let bytes = stream::try_unfold(Box::pin(reader), |mut reader| async move {
            let bytes = Bytes::copy_from_slice(reader.fill_buf().await?);
            reader.consume_unpin(bytes.len());
            Ok((!bytes.is_empty()).then_some((bytes, reader)))
        });
        Ok(bytes.boxed())
    }

    async fn first(&self, pod: &PodName, container: &str) -> Result<Bytes, LogRefusal> {
        let reader = self
            .ask(
                pod,
                LogParams {
                    container: Some(container.to_owned()),
                    timestamps: true,
                    limit_bytes: Some(STAMP),
                    ..LogParams::default()
                },
            )
            .await?;
        let mut bytes = Vec::new();
        let read = Box::pin(reader).take(STAMP.unsigned_abs()).read_to_end(&mut bytes).await;
        let failed = |error: io::Error| LogRefusal::Failed { why: error.to_string(), after: None };
        read.map_err(failed).map(|_| bytes.into())
    }
}

fn refusal(error: kube::Error) -> LogRefusal {
    let kube::Error::Api(status) = error else {
        return LogRefusal::Failed { why: chain(&error), after: None };
    };
    let after = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    let Status { code, reason, message: why, .. } = *status;
    match code {
        400 => LogRefusal::NotThere(why),
        403 => LogRefusal::Forbidden(why),
        404 if reason == NOT_FOUND => LogRefusal::Gone(why),
        404 => LogRefusal::Failed { why: format!("{IN_BETWEEN}{why}"), after: None },
        _ => LogRefusal::Failed {
            why,
            after: (after > 0).then(|| Duration::from_secs(u64::from(after))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: u16, reason: &str, retry: u32) -> LogRefusal {
        let text = format!(
            r#"{{"message": "no", "code": {code}, "reason": "{reason}", "details": {{"retryAfterSeconds": {retry}}}}}"#
        );
        let status: Status = serde_json::from_str(&text).unwrap();
        refusal(kube::Error::Api(status.boxed()))
    }

    #[test]
    fn refusals_are_told_apart_by_their_code() {
        let failed = |after| LogRefusal::Failed { why: "no".to_owned(), after };
        for (code, retry, expected) in [
            (400, 0, LogRefusal::NotThere("no".to_owned())),
            (401, 0, failed(None)),
            (403, 0, LogRefusal::Forbidden("no".to_owned())),
            (429, 7, failed(Some(Duration::from_secs(7)))),
            (500, 0, failed(None)),
            (503, 1, failed(Some(Duration::from_secs(1)))),
        ] {
            assert_eq!(of(code, "", retry), expected, "{code}");
        }
        assert_eq!(of(404, "NotFound", 0), LogRefusal::Gone("no".to_owned()));
        let page = of(404, "Failed to parse error data", 0);
        assert!(matches!(page, LogRefusal::Failed { .. }), "a proxy's page: {page:?}");
    }
}
