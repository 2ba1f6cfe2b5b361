//! Asks others over HTTP, with TLS or on this machine. What comes is bounded in size and time, and no redirection is
//! followed: what is named is what is asked.

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
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
use std::{
    error::Error as _,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::time::timeout;
use url::{Host, Url};

/// For how long an answer may take.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// For how long a connection may take to come about.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// The most bytes of an answer.
pub(crate) const LARGEST_ANSWER: usize = 64 << 10;

/// A URL at which nobody can change on the way what is answered: over TLS, or on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SafeUrl(String);

impl SafeUrl {
    /// What this text names; none: anybody could change on the way what is answered there, or it is no URL.
    pub fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let is_here = match url.host()? {
            Host::Domain(name) => name == "localhost",
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => IpAddr::V6(address).to_canonical().is_loopback(),
        };
        let is_right = (url.scheme() == "https" || url.scheme() == "http" && is_here)
            && url.username().is_empty()
            && url.password().is_none()
            && url.fragment().is_none();
        is_right.then(|| Self(text.to_owned()))
    }

    /// As it was written: who compares it with what others say does so byte for byte.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why nothing was answered, or not what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebError {
    /// It took too long.
    #[error("{url}: no whole answer within {ANSWER_WITHIN:?}")]
    Late {
        /// What was asked for.
        url: String,
    },
    /// Nobody answered.
    #[error("{url}: {why}")]
    Unanswered {
        /// What was asked for.
        url: String,
        /// What came in between.
        why: String,
    },
    /// It was answered, but not with what was asked for.
    #[error("{url}: it was answered with {status}{}", if status.is_redirection() { ", and redirections are not followed" } else { "" })]
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
    /// Anybody could have changed the answer.
    #[error("{url}: it is neither `https://…` nor of this machine")]
    Plain {
        /// What would have been asked for.
        url: String,
    },
}

/// Why nobody can be asked: the file of an authority. It continues a sentence that begins with what names the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// It is something else.
    #[error("is `{}`, which cannot be used ({why}): give the PEM file of the authority", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// Asks others.
#[derive(Clone, Debug)]
pub struct Web {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Web {
    /// One that trusts the authorities in the file, or, without one, those of this machine.
    ///
    /// # Errors
    /// Where the file cannot be used.
    pub fn new(authorities: Option<&Path>) -> Result<Self, AuthorityError> {
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| AuthorityError::Unreadable(error.to_string()))?
            .with_root_certificates(trusted(authorities)?)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_WITHIN));
        // What may be asked without TLS is looked at before each question.
        let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        // It is asked rarely: no connection is worth being kept.
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(https.enable_http1().wrap_connector(tcp));
        Ok(Self { client })
    }

    /// The document at a URL.
    ///
    /// # Errors
    /// Where there is none, or it does not come as a whole.
    pub async fn get(&self, url: &str) -> Result<Bytes, WebError> {
        let request = Request::get(url).header(header::ACCEPT, "application/json");
        let request = request.body(Bytes::new()).map_err(|error| WebError::Unanswered {
            url: url.to_owned(),
            why: error.to_string(),
        })?;
        let answer = self.ask(request).await?;
        match answer.status() {
            StatusCode::OK => Ok(answer.into_body()),
            status => Err(WebError::Status { url: url.to_owned(), status }),
        }
    }

    /// What is answered to a request, whatever the status.
    ///
    /// # Errors
    /// Where nothing is, or it does not come as a whole.
    pub async fn ask(&self, request: Request<Bytes>) -> Result<Response<Bytes>, WebError> {
        let url = request.uri().to_string();
        if SafeUrl::parse(&url).is_none() {
            return Err(WebError::Plain { url });
        }
        let asked = timeout(ANSWER_WITHIN, self.answer(&url, request)).await;
        asked.unwrap_or(Err(WebError::Late { url }))
    }

    async fn answer(
        &self,
        url: &str,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, WebError> {
        let unanswered = |why: String| WebError::Unanswered { url: url.to_owned(), why };
        let answer = self.client.request(request.map(Full::from)).await;
        let (head, body) = answer.map_err(|error| unanswered(with_causes(&error)))?.into_parts();
        let body = Limited::new(body, LARGEST_ANSWER).collect().await;
        let body = body.map_err(|error| match error.is::<LengthLimitError>() {
            true => WebError::Large { url: url.to_owned() },
            false => unanswered(error.to_string()),
        })?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}

fn trusted(authorities: Option<&Path>) -> Result<RootCertStore, AuthorityError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = authorities else {
        // A machine that has none can still ask where a file names one.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    };
    // It says what is wrong with a file as for each other key that names one.
    reach::tls::trusting(Some(path)).map_err(AuthorityError::Unreadable)?;
    let unusable = |why: String| AuthorityError::Unusable { path: path.to_owned(), why };
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
