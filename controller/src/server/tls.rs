//! TLS at the gRPC port: the certificate, and its renewal while the controller runs.
//!
//! The files are looked at now and then. What is half written, or does not belong together, is not taken: the
//! certificate that is in use stays, and the log says why. Connections that are there keep theirs.

use crate::configuration::Configuration;
use octavius_protocol::reach;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::watch;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, InconsistentKeys, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
        server::{ClientHello, ResolvesServerCert},
        sign::CertifiedKey,
    },
};
use tokio_util::sync::CancellationToken;

/// How often it is looked whether there is a new certificate.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Why no TLS is spoken with the files that are named.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("`{key}` is `{}`, which cannot be read ({cause}): {remedy}", path.display())]
    File {
        /// The key that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A file holds something else.
    #[error("`{key}` is `{}`, which holds no {what}: {remedy}", path.display())]
    Content {
        /// The key that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// The two do not belong together.
    #[error(
        "the private key in `tls_key_file` is not that of the first certificate in `tls_cert_file`: give the two that belong together, the controller's own certificate before those of its authorities"
    )]
    Pair,
    /// The library takes them not.
    #[error("`tls_cert_file` and `tls_key_file` cannot be used: {0}")]
    Unusable(String),
    /// The authorities that are trusted cannot be used.
    #[error("`tls_ca_file` {0}")]
    Authority(String),
}

const CERTIFICATE: &str = "give the PEM file of the controller's certificate, which begins with `-----BEGIN CERTIFICATE-----`";
const KEY: &str = "give the PEM file of the certificate's private key, without a password, which this user may read";

/// The certificate in use, and the files that it comes from.
#[derive(Debug)]
pub(super) struct Certificates {
    certificate: PathBuf,
    key: PathBuf,
    in_use: watch::Sender<Arc<CertifiedKey>>,
}

impl Certificates {
    /// Those that `configuration` names; none: no TLS is spoken.
    pub(super) fn open(configuration: &Configuration) -> Result<Option<Arc<Self>>, TlsError> {
        let authority = configuration.tls_ca_file.as_deref();
        authority
            .map(|path| reach::tls::trusting(Some(path)))
            .transpose()
            .map_err(TlsError::Authority)?;
        let (Some(certificate), Some(key)) =
            (configuration.tls_cert_file.clone(), configuration.tls_key_file.clone())
        else {
            return Ok(None);
        };
        let in_use = watch::Sender::new(Arc::new(pair(&certificate, &key)?));
        Ok(Some(Arc::new(Self { certificate, key, in_use })))
    }

    /// What speaks TLS with who connects.
    pub(super) fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, TlsError> {
        let unusable = |error: rustls::Error| TlsError::Unusable(error.to_string());
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?;
        let mut config = config.with_no_client_auth().with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Takes what the files hold whenever that is another certificate, until `ended`.
    pub(super) async fn renew(self: Arc<Self>, ended: CancellationToken) {
        let mut told = None;
        loop {
            tokio::select! {
                () = ended.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let files = self.clone();
            let look = move || pair(&files.certificate, &files.key);
            match tokio::task::spawn_blocking(look).await {
                Ok(Ok(pair)) => {
                    told = None;
                    if self.in_use.borrow().cert != pair.cert {
                        self.in_use.send_replace(Arc::new(pair));
                        let file = self.certificate.display();
                        tracing::info!(%file, "a new certificate is in use");
                    }
                }
                Ok(Err(error)) if told.as_ref() != Some(&error) => {
                    tracing::error!(%error, "the certificate in use stays: its files cannot be used");
                    told = Some(error);
                }
                Ok(Err(_)) | Err(_) => {}
            }
        }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.in_use.borrow().clone())
    }
}

/// What the two files hold, if it belongs together.
fn pair(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let chain = read("tls_cert_file", certificate, CERTIFICATE)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&chain).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(|| TlsError::Content {
        key: "tls_cert_file",
        path: certificate.to_owned(),
        what: "certificate",
        remedy: CERTIFICATE,
    })?;
    let private = PrivateKeyDer::from_pem_slice(&read("tls_key_file", key, KEY)?);
    let private = private.ok().and_then(|private| ring::sign::any_supported_type(&private).ok());
    let private = private.ok_or_else(|| TlsError::Content {
        key: "tls_key_file",
        path: key.to_owned(),
        what: "private key that can be used",
        remedy: KEY,
    })?;
    let pair = CertifiedKey::new(chain, private);
    match pair.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(pair),
        Err(rustls::Error::InconsistentKeys(_)) => Err(TlsError::Pair),
        Err(error) => Err(TlsError::Unusable(error.to_string())),
    }
}

fn read(key: &'static str, path: &Path, remedy: &'static str) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|error| {
        let (path, cause) = (path.to_owned(), error.to_string());
        TlsError::File { key, path, cause, remedy }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertifiedKey as Made, KeyPair, generate_simple_self_signed};

    #[test]
    fn files_that_cannot_be_used_are_refused_with_their_key() {
        let folder = tempfile::tempdir().unwrap();
        let [certificate, key] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
        let told = || pair(&certificate, &key).unwrap_err().to_string();
        assert!(told().starts_with("`tls_cert_file` is"), "{}", told());
        fs::write(&certificate, "").unwrap();
        assert!(told().contains("holds no certificate"), "{}", told());
        let Made { cert, signing_key } = generate_simple_self_signed(["a".to_owned()]).unwrap();
        fs::write(&certificate, cert.pem()).unwrap();
        assert!(told().starts_with("`tls_key_file` is"), "{}", told());
        fs::write(&key, cert.pem()).unwrap();
        assert!(told().contains("holds no private key"), "{}", told());
        fs::write(&key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
        assert!(told().contains("belong together"), "{}", told());
        fs::write(&key, signing_key.serialize_pem()).unwrap();
        assert!(pair(&certificate, &key).is_ok());
        // What is being written is not taken.
        let pem = cert.pem();
        fs::write(&certificate, &pem[..pem.len() / 2]).unwrap();
        assert!(told().contains("holds no certificate"), "{}", told());
    }
}
