//! What TLS to a controller takes, and what is said where it does not come about.

use super::{Address, error::What};
use std::{error::Error as StdError, fmt, io, path::Path};
use tokio_rustls::rustls::{
    CertificateError, Error, InconsistentKeys,
    crypto::ring::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

/// What TLS is spoken with: trusted are the authorities in the PEM file `ca`, or, without one, those of this machine.
///
/// # Errors
/// A text that says what is wrong with the file; it continues a sentence that begins with its key.
pub fn trusting(ca: Option<&Path>) -> Result<ClientTlsConfig, String> {
    let Some(path) = ca else { return Ok(ClientTlsConfig::new().with_native_roots()) };
    let shown = path.display();
    let pem = std::fs::read(path).map_err(|error| {
        format!("is `{shown}`, which cannot be read ({error}): give the PEM file of the authority")
    })?;
    let begins = b"-----BEGIN CERTIFICATE-----";
    if !pem.windows(begins.len()).any(|window| window == begins) {
        return Err(format!(
            "is `{shown}`, which holds no certificate: give the PEM file of the authority, which begins with `-----BEGIN CERTIFICATE-----`"
        ));
    }
    Ok(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)))
}

/// The certificate that this side shows, and its key, as their files hold them.
#[derive(Clone, PartialEq, Eq)]
pub struct Own {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Own").finish_non_exhaustive()
    }
}

impl Own {
    /// What the files of `tls_cert_file` and `tls_key_file` hold, if it belongs together.
    ///
    /// # Errors
    /// A text that says what is wrong with which.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, String> {
        let read = |name: &str, path: &Path| {
            let shown = path.display();
            std::fs::read(path).map_err(|error| {
                format!("`{name}` is `{shown}`, which cannot be read ({error}): give the PEM file of the certificate, or of its key, which this user may read")
            })
        };
        let own = Self {
            certificate: read("tls_cert_file", certificate)?,
            key: read("tls_key_file", key)?,
        };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&own.certificate).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(|| {
            let shown = certificate.display();
            format!("`tls_cert_file` is `{shown}`, which holds no certificate: give the PEM file of the certificate, which begins with `-----BEGIN CERTIFICATE-----`")
        })?;
        let private = PrivateKeyDer::from_pem_slice(&own.key).ok();
        let private = private.and_then(|private| any_supported_type(&private).ok());
        let private = private.ok_or_else(|| {
            let shown = key.display();
            format!("`tls_key_file` is `{shown}`, which holds no private key that can be used: give the PEM file of the certificate's private key, without a password")
        })?;
        match CertifiedKey::new(chain, private).keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(own),
            Err(Error::InconsistentKeys(_)) => Err("the private key in `tls_key_file` is not that of the first certificate in `tls_cert_file`: give the two that belong together".to_owned()),
            Err(error) => Err(format!("`tls_cert_file` cannot be used: {error}")),
        }
    }

    /// `tls`, and this is shown to whoever asks for it.
    #[must_use]
    pub fn shown_with(&self, tls: ClientTlsConfig) -> ClientTlsConfig {
        tls.identity(Identity::from_pem(&self.certificate, &self.key))
    }
}

/// What a first byte says that one side would send only if it speaks TLS and the other does not, or the other way round.
pub(super) fn mismatch(address: &Address, first: u8, ca_key: &str) -> Option<What> {
    // TLS answers what it does not understand with an alert; HTTP/2 begins with a frame of settings, HTTP/1 with a letter.
    let speaks_tls = (20..=23).contains(&first);
    let (host, port) = (address.host(), address.port());
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    match (address.is_tls(), speaks_tls) {
        (false, true) => Some(What::Tls(format!(
            "it speaks TLS: write `https://{host}:{port}`, and give the authority of its certificate with `{ca_key}` unless this machine trusts it anyway"
        ))),
        (true, false) => Some(What::Tls(format!(
            "it does not speak TLS: write `http://{host}:{port}`, or give that controller `tls_cert_file` and `tls_key_file`"
        ))),
        (false, false) | (true, true) => None,
    }
}

/// What is said of TLS that did not come about; none: the error is about something else.
pub(super) fn faulty(
    error: &(dyn StdError + 'static),
    address: &Address,
    ca_key: &str,
) -> Option<What> {
    let mut chain = std::iter::successors(Some(error), |&error| error.source());
    let found = chain.find_map(|error| {
        // An error of the system shows what is in it to whoever asks for that alone.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        inner.and_then(|inner| inner.downcast_ref()).or_else(|| error.downcast_ref::<Error>())
    })?;
    let (host, port) = (address.host(), address.port());
    let text = match found {
        // The second: it is trusted by name, and another one signed.
        Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => format!(
            "the certificate of {host}:{port} is from no authority that is trusted here: give the PEM file of its authority with `{ca_key}`"
        ),
        Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => format!(
            "the certificate of {host}:{port} has expired: renew the files that its `tls_cert_file` and `tls_key_file` name, which it reads again by itself"
        ),
        Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => format!(
            "the certificate of {host}:{port} is not valid yet: see whether the clocks of both machines are right"
        ),
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => format!(
            "the certificate of {host}:{port} is not for the name `{host}`: use a name that it is for, or have one made for this name"
        ),
        other => format!("TLS to {host}:{port} did not come about: {other}"),
    };
    Some(What::Tls(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_names_no_authority_is_refused_with_the_form_that_is_wanted() {
        let missing = trusting(Some(Path::new("/nowhere/ca.pem"))).unwrap_err();
        assert!(
            missing.contains("/nowhere/ca.pem") && missing.contains("cannot be read"),
            "{missing}"
        );
        let other = trusting(Some(Path::new("Cargo.toml"))).unwrap_err();
        assert!(other.contains("holds no certificate"), "{other}");
    }

    #[test]
    fn the_first_byte_tells_who_speaks_tls() {
        let [plain, tls] =
            ["http://a:1", "https://[::1]:2"].map(|text| Address::parse(text, false).unwrap());
        let told =
            |address: &Address, first| mismatch(address, first, "KEY").map(|what| what.to_string());
        assert_eq!((told(&plain, 0), told(&tls, 22)), (None, None));
        assert!(told(&plain, 21).unwrap().contains("write `https://a:1`"));
        for plain in [0, b'H'] {
            assert!(told(&tls, plain).unwrap().contains("write `http://[::1]:2`"));
        }
    }
}
