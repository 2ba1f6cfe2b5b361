//! The object stores of clouds, spoken to through hyper and rustls, which are here already: `object_store` brings an
//! HTTP client of its own only with a second provider of cryptography.

use super::url::{Kind, LogStoreUrl};
use async_trait::async_trait;
use http_body_util::BodyExt;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector as Tcp},
    rt::{TokioExecutor, TokioTimer},
};
use object_store::{
    BackoffConfig, ClientConfigKey, ClientOptions, Error, ObjectStore, Result, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    azure::{AzureConfigKey, MicrosoftAzureBuilder},
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
        HttpResponse, HttpResponseBody, HttpService,
    },
    gcp::{GoogleCloudStorageBuilder, GoogleConfigKey},
    path::Path,
    prefix::PrefixStore,
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use std::{str::FromStr, sync::Arc, time::Duration};
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

/// For how long a connection may take to come about.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// For how long a request may take, with the bytes of its answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// A connection that nobody uses is closed after this time, before most servers do it.
const KEEP_IDLE: Duration = Duration::from_secs(15);

/// How often one call is tried before its log, or its reader, is told; they have pauses of their own.
fn retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(2),
            base: 2.0,
        },
        max_retries: 3,
        retry_timeout: Duration::from_secs(20),
    }
}

/// The bucket that a URL names, below its prefix, with the keys that `variables` hold. Connects to nothing.
pub(super) fn open(
    url: &LogStoreUrl,
    variables: &[(String, String)],
) -> Result<Arc<dyn ObjectStore>> {
    let bare = url.bare();
    let prefix = Path::from_url_path(bare.path())?;
    let connector = Connector { runtime: Handle::current() };
    let endpoint = url.parameter("endpoint");
    // Whoever writes `http` means it.
    let plain = endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http:"));
    let plain = plain.then(|| (ClientConfigKey::AllowHttp, "true".to_owned()));
    let store: Arc<dyn ObjectStore> = match url.kind() {
        Kind::Folder => {
            let source = "a folder is no cloud".into();
            return Err(Error::NotSupported { source });
        }
        Kind::S3 => {
            let given = [
                endpoint.map(|value| (AmazonS3ConfigKey::Endpoint, value)),
                url.parameter("region").map(|value| (AmazonS3ConfigKey::Region, value)),
                plain.map(|(key, value)| (AmazonS3ConfigKey::Client(key), value)),
            ];
            let builder = AmazonS3Builder::new().with_url(bare);
            let builder = named("AWS_", variables)
                .chain(given.into_iter().flatten())
                .fold(builder, |builder, (key, value)| builder.with_config(key, value));
            let builder = builder.with_http_connector(connector).with_retry(retry());
            Arc::new(PrefixStore::new(builder.build()?, prefix))
        }
        Kind::Google => {
            let given = [
                endpoint.map(|value| (GoogleConfigKey::BaseUrl, value)),
                plain.map(|(key, value)| (GoogleConfigKey::Client(key), value)),
            ];
            let builder = GoogleCloudStorageBuilder::new().with_url(bare);
            let builder = named("GOOGLE_", variables)
                .chain(given.into_iter().flatten())
                .fold(builder, |builder, (key, value)| builder.with_config(key, value));
            let builder = builder.with_http_connector(connector).with_retry(retry());
            Arc::new(PrefixStore::new(builder.build()?, prefix))
        }
        Kind::Azure => {
            let given = [
                endpoint.map(|value| (AzureConfigKey::Endpoint, value)),
                url.parameter("account").map(|value| (AzureConfigKey::AccountName, value)),
                plain.map(|(key, value)| (AzureConfigKey::Client(key), value)),
            ];
            let builder = MicrosoftAzureBuilder::new().with_url(bare);
            let builder = named("AZURE_", variables)
                .chain(given.into_iter().flatten())
                .fold(builder, |builder, (key, value)| builder.with_config(key, value));
            let builder = builder.with_http_connector(connector).with_retry(retry());
            Arc::new(PrefixStore::new(builder.build()?, prefix))
        }
    };
    Ok(store)
}

/// Those of the variables that are keys of a cloud's own.
fn named<K: FromStr>(
    prefix: &'static str,
    variables: &[(String, String)],
) -> impl Iterator<Item = (K, String)> {
    variables.iter().filter_map(move |(name, value)| {
        let known = name.starts_with(prefix).then(|| name.to_ascii_lowercase().parse().ok());
        Some((known.flatten()?, value.clone()))
    })
}

/// Makes clients. Their connections live on this runtime, not on that of whichever actor asks first.
#[derive(Debug)]
struct Connector {
    runtime: Handle,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> Result<HttpClient> {
        let mut roots = RootCertStore::empty();
        // Of a machine that has none, a server without TLS can still be reached.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions();
        let tls = tls.map_err(|error| Error::Generic { store: "TLS", source: Box::new(error) })?;
        let tls = tls.with_root_certificates(roots).with_no_client_auth();
        let plain = options.get_config_value(&ClientConfigKey::AllowHttp);
        let https = HttpsConnectorBuilder::new().with_tls_config(tls);
        let https = match plain.as_deref() == Some("true") {
            true => https.https_or_http(),
            false => https.https_only(),
        };
        let mut tcp = Tcp::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_WITHIN));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEEP_IDLE)
            .build(https.enable_http1().wrap_connector(tcp));
        Ok(HttpClient::new(Http { client, runtime: self.runtime.clone() }))
    }
}

/// Asks and answers.
#[derive(Clone, Debug)]
struct Http {
    client: Client<HttpsConnector<Tcp>, HttpRequestBody>,
    runtime: Handle,
}

#[async_trait]
impl HttpService for Http {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let client = self.client.clone();
        let asking = self.runtime.spawn(async move {
            tokio::time::timeout(ANSWER_WITHIN, asked(client, request)).await.unwrap_or_else(|_| {
                let late = std::io::Error::other(format!("no answer within {ANSWER_WITHIN:?}"));
                Err(HttpError::new(HttpErrorKind::Timeout, late))
            })
        });
        let asking = AbortOnDropHandle::new(asking);
        asking.await.unwrap_or_else(|error| Err(HttpError::new(HttpErrorKind::Unknown, error)))
    }
}

/// One question and its whole answer: what is asked for is a segment, or a page of a list.
async fn asked(
    client: Client<HttpsConnector<Tcp>, HttpRequestBody>,
    request: HttpRequest,
) -> Result<HttpResponse, HttpError> {
    let answer = client.request(request).await.map_err(|error| {
        let kind = match error.is_connect() {
            true => HttpErrorKind::Connect,
            false => HttpErrorKind::Request,
        };
        HttpError::new(kind, Because::of(&error))
    })?;
    let (head, body) = answer.into_parts();
    let body = body.collect().await;
    let body =
        body.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, Because::of(&error)))?;
    let body = body.to_bytes();
    Ok(HttpResponse::from_parts(head, HttpResponseBody::from(body)))
}

/// An error with its causes in one text: a user needs the last of them.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Because(String);

impl Because {
    fn of(error: &dyn std::error::Error) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        Self(text)
    }
}
