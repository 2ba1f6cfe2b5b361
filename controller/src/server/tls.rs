//! TLS at the gRPC port: the certificate, the authorities of those that executors show, and the renewal of both while the
//! controller runs.
//!
//! The files are looked at now and then. What is half written, or does not belong together, is not taken: the
//! certificate that is in use stays, and the log says why. Connections that are there keep theirs, and are judged by the
//! authorities of the moment.

use crate::{
    configuration::Configuration,
    grpc::{
        Authorities,
        certificate::{JUDGED_FOR, MOST_CERTIFICATE_BYTES},
    },
};
use octavius_protocol::reach;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::watch, time::Instant};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, CertificateError, DigitallySignedStruct, DistinguishedName, InconsistentKeys,
        RootCertStore, ServerConfig, SignatureScheme,
        client::danger::HandshakeSignatureValid,
        crypto::{self, WebPkiSupportedAlgorithms, ring},
        pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject as _},
        server::{
            ClientHello, ResolvesServerCert, WebPkiClientVerifier,
            danger::{ClientCertVerified, ClientCertVerifier},
        },
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
const EXECUTORS: &str = "give the PEM file of the authorities that sign the certificates of executors, which begins with `-----BEGIN CERTIFICATE-----`";
const KEY: &str = "give the PEM file of the certificate's private key, without a password, which this user may read";

/// The certificate in use, and the files that it comes from.
#[derive(Debug)]
pub(super) struct Certificates {
    certificate: PathBuf,
    key: PathBuf,
    in_use: watch::Sender<Arc<CertifiedKey>>,
    executors: Option<Executors>,
}

/// Whose certificates executors have to show, and the file that it comes from.
#[derive(Debug)]
struct Executors {
    file: PathBuf,
    /// What the file held when it was taken last.
    in_use: watch::Sender<Vec<u8>>,
    authorities: Arc<Authorities>,
}

impl Executors {
    fn open(file: &Path) -> Result<Self, TlsError> {
        let (pem, verifier) = executors(file)?;
        Ok(Self {
            file: file.to_owned(),
            in_use: watch::Sender::new(pem),
            authorities: Arc::new(Authorities::new(verifier)),
        })
    }

    /// Takes what the file holds, if that is something else; whether it was.
    fn look(&self) -> Result<bool, TlsError> {
        let (pem, verifier) = executors(&self.file)?;
        let is_new = self.in_use.send_if_modified(|in_use| {
            let is_new = *in_use != pem;
            *in_use = pem;
            is_new
        });
        if is_new {
            self.authorities.trust(verifier);
        }
        Ok(is_new)
    }
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
        let executors = configuration.tls_executor_ca_file.as_deref();
        let executors = executors.map(Executors::open).transpose()?;
        Ok(Some(Arc::new(Self { certificate, key, in_use, executors })))
    }

    /// Whose certificates executors have to show; none: they need not show any.
    pub(super) fn executors(&self) -> Option<Arc<Authorities>> {
        self.executors.as_ref().map(|executors| executors.authorities.clone())
    }

    /// What goes on whenever another certificate is in use.
    #[cfg(feature = "etcd")]
    pub(super) fn renewed(&self) -> watch::Receiver<Arc<CertifiedKey>> {
        self.in_use.subscribe()
    }

    /// `tls`, and shown with it is this controller's certificate.
    #[cfg(feature = "etcd")]
    pub(super) fn shown_with(
        &self,
        tls: tonic::transport::ClientTlsConfig,
    ) -> Result<tonic::transport::ClientTlsConfig, String> {
        Ok(reach::tls::Own::read(&self.certificate, &self.key)?.shown_with(tls))
    }

    /// What speaks TLS with who connects.
    pub(super) fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, TlsError> {
        let unusable = |error: rustls::Error| TlsError::Unusable(error.to_string());
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?;
        let config = match &self.executors {
            Some(_) => config.with_client_cert_verifier(Arc::new(AnyCertificate::default())),
            None => config.with_no_client_auth(),
        };
        let mut config = config.with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Takes what the files hold whenever that is another certificate, until `ended`.
    pub(super) async fn renew(self: Arc<Self>, ended: CancellationToken) {
        let (mut told, mut told_of_executors) = (None, None);
        let mut judged = Instant::now();
        loop {
            tokio::select! {
                () = ended.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let files = self.clone();
            let look = move || {
                let executors = files.executors.as_ref().map(Executors::look);
                (pair(&files.certificate, &files.key), executors)
            };
            let Ok((pair, executors)) = tokio::task::spawn_blocking(look).await else { continue };
            match pair {
                Ok(pair) => {
                    told = None;
                    if self.in_use.borrow().cert != pair.cert {
                        self.in_use.send_replace(Arc::new(pair));
                        let file = self.certificate.display();
                        tracing::info!(%file, "a new certificate is in use");
                    }
                }
                Err(error) if told.as_ref() != Some(&error) => {
                    tracing::error!(%error, "the certificate in use stays: its files cannot be used");
                    told = Some(error);
                }
                Err(_) => {}
            }
            match executors {
                None => continue,
                Some(Ok(is_new)) => {
                    told_of_executors = None;
                    if is_new {
                        tracing::info!("other authorities are trusted with executors");
                    }
                }
                Some(Err(error)) if told_of_executors.as_ref() != Some(&error) => {
                    tracing::error!(%error, "those who are trusted with executors stay: their file cannot be used");
                    told_of_executors = Some(error);
                }
                Some(Err(_)) => {}
            }
            if judged.elapsed() >= JUDGED_FOR {
                judged = Instant::now();
                if let Some(executors) = &self.executors {
                    executors.authorities.judge_anew();
                }
            }
        }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.in_use.borrow().clone())
    }
}

/// Asks for a certificate, and takes any of which the key is there: it is judged once it is known what is called.
#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms);

impl Default for AnyCertificate {
    fn default() -> Self {
        Self(ring::default_provider().signature_verification_algorithms)
    }
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let bytes = own.len() + others.iter().map(|one| one.len()).sum::<usize>();
        match bytes <= MOST_CERTIFICATE_BYTES {
            true => Ok(ClientCertVerified::assertion()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        crypto::verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        crypto::verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// What the file holds that names whose certificates executors show, and what judges them.
fn executors(file: &Path) -> Result<(Vec<u8>, Arc<dyn ClientCertVerifier>), TlsError> {
    let key = "tls_executor_ca_file";
    let pem = read(key, file, EXECUTORS)?;
    let verifier = trusting(&pem).ok_or_else(|| TlsError::Content {
        key,
        path: file.to_owned(),
        what: "certificate of an authority",
        remedy: EXECUTORS,
    })?;
    Ok((pem, verifier))
}

/// What judges certificates by these authorities; none: something in it is none, or nothing is in it.
pub(super) fn trusting(pem: &[u8]) -> Option<Arc<dyn ClientCertVerifier>> {
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(pem) {
        roots.add(authority.ok()?).ok()?;
    }
    let provider = Arc::new(ring::default_provider());
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().ok()
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
    use crate::server::testing::Authority;
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

    #[test]
    fn authorities_of_executors_that_cannot_be_used_are_not_taken_and_those_in_use_stay() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("executors.pem");
        let told = |file: &Path| Executors::open(file).unwrap_err().to_string();
        assert!(told(&file).starts_with("`tls_executor_ca_file` is"), "{}", told(&file));
        let (first, next) = (Authority::new("first").pem(), Authority::new("next").pem());
        let half = format!("{first}{}", &next[..next.len() / 2]);
        for wrong in ["", "none", &half] {
            fs::write(&file, wrong).unwrap();
            assert!(
                told(&file).contains("holds no certificate of an authority"),
                "{}",
                told(&file)
            );
        }
        fs::write(&file, &first).unwrap();
        let executors = Executors::open(&file).unwrap();
        assert_eq!(executors.look(), Ok(false));
        fs::write(&file, &half).unwrap();
        assert!(executors.look().is_err());
        fs::write(&file, &first).unwrap();
        assert_eq!(executors.look(), Ok(false), "what was half written was taken");
        fs::write(&file, format!("{first}{next}")).unwrap();
        assert_eq!(executors.look(), Ok(true));
    }
}
