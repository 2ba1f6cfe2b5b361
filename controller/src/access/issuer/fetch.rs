//! How the keys of an issuer are fetched: its discovery document says where they are. What comes is bounded in size and
//! time, and no redirection is followed: what is named is what is asked.

use super::keys::{self, Key, NoKeys};
use crate::configuration::IssuerUrl;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use octavius_protocol::reach;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use serde::Deserialize;
use std::{error::Error as _, path::Path, sync::Arc, time::Duration};
use tokio::time::timeout;

/// For how long both answers together may take.
pub(crate) const FETCH_WITHIN: Duration = Duration::from_secs(10);
/// For how long a connection may take to come about.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// The most bytes of an answer.
pub(crate) const LARGEST_ANSWER: usize = 64 << 10;

/// Why the keys were not fetched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FetchError {
    /// It took too long.
    #[error("no whole answer within {FETCH_WITHIN:?}")]
    Late,
    /// Nobody answered.
    #[error("{url}: {why}")]
    Unanswered {
        /// What was asked for.
        url: String,
        /// What came in between.
        why: String,
    },
    /// It was answered, but not with what was asked for.
    #[error("{url}: it was answered with {status}, and redirections are not followed")]
    Status {
        /// What was asked for.
        url: String,
        /// With what it was answered.
        status: StatusCode,
    },
    /// It was answered with too much.
    #[error("{url}: the answer has more than {LARGEST_ANSWER} bytes")]
    Large {
        /// What was asked for.
        url: String,
    },
    /// It is no discovery document.
    #[error("{url}: it is no discovery document of OpenID Connect")]
    Document {
        /// What was asked for.
        url: String,
    },
    /// It is that of somebody else.
    #[error("{url}: it is that of the issuer `{named}`: write `oidc_issuer` as the issuer does")]
    Other {
        /// What was asked for.
        url: String,
        /// Whose it is.
        named: String,
    },
    /// The keys would come over a way that anybody can change them on.
    #[error("{url}: its `jwks_uri` is neither `https://…` nor of this machine")]
    Plain {
        /// What was asked for.
        url: String,
    },
    /// There are none.
    #[error("{url}: {why}")]
    Keys {
        /// What was asked for.
        url: String,
        /// What is wrong with them.
        why: NoKeys,
    },
}

/// Why an issuer can never be asked. It continues a sentence that begins with the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`oidc_ca_file` {0}")]
pub struct AuthorityError(String);

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// Asks an issuer.
#[derive(Clone, Debug)]
pub(super) struct Fetch {
    issuer: IssuerUrl,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

impl Fetch {
    /// One that trusts the authorities in the file, or, without one, those of this machine.
    pub(super) fn new(
        issuer: IssuerUrl,
        authorities: Option<&Path>,
    ) -> Result<Self, AuthorityError> {
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| AuthorityError(error.to_string()))?
            .with_root_certificates(trusted(authorities)?)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_WITHIN));
        // What may be asked without TLS is looked at before each question.
        let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        // It is asked once an hour: no connection is worth being kept.
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(https.enable_http1().wrap_connector(tcp));
        Ok(Self { issuer, client })
    }

    /// The keys that it has now.
    pub(super) async fn keys(self) -> Result<Vec<Key>, FetchError> {
        timeout(FETCH_WITHIN, self.asked()).await.unwrap_or(Err(FetchError::Late))
    }

    async fn asked(self) -> Result<Vec<Key>, FetchError> {
        let url = format!(
            "{}/.well-known/openid-configuration",
            self.issuer.as_str().trim_end_matches('/')
        );
        let document = self.get(&url).await?;
        let Ok(Discovery { issuer, jwks_uri }) = serde_json::from_slice(&document) else {
            return Err(FetchError::Document { url });
        };
        if issuer != self.issuer.as_str() {
            return Err(FetchError::Other { url, named: issuer.chars().take(200).collect() });
        }
        let Some(jwks) = IssuerUrl::parse(&jwks_uri) else { return Err(FetchError::Plain { url }) };
        let set = self.get(jwks.as_str()).await?;
        keys::read(&set).map_err(|why| FetchError::Keys { url: jwks_uri, why })
    }

    async fn get(&self, url: &str) -> Result<Bytes, FetchError> {
        let unanswered = |why: String| FetchError::Unanswered { url: url.to_owned(), why };
        let request = Request::get(url).header(header::ACCEPT, "application/json");
        let request = request.body(Empty::new()).map_err(|error| unanswered(error.to_string()))?;
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|error| unanswered(with_causes(&error)))?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Status { url: url.to_owned(), status: answer.status() });
        }
        let body = Limited::new(answer.into_body(), LARGEST_ANSWER).collect().await;
        let body = body.map_err(|error| match error.is::<LengthLimitError>() {
            true => FetchError::Large { url: url.to_owned() },
            false => unanswered(error.to_string()),
        })?;
        Ok(body.to_bytes())
    }
}

fn trusted(authorities: Option<&Path>) -> Result<RootCertStore, AuthorityError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = authorities else {
        // A machine that has none can still ask an issuer of its own.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    };
    // It says what is wrong with a file as for each other key that names one.
    reach::tls::trusting(Some(path)).map_err(AuthorityError)?;
    let unusable = |error: String| {
        AuthorityError(format!(
            "is `{}`, which cannot be used ({error}): give the PEM file of the authority",
            path.display()
        ))
    };
    let certificates =
        CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    Ok(roots)
}

/// A user needs the last of the causes.
fn with_causes(error: &hyper_util::client::legacy::Error) -> String {
    let causes = std::iter::successors(error.source(), |&error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
