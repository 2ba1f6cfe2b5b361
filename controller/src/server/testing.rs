//! Authorities and certificates for tests.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use std::sync::Arc;
use tokio_rustls::rustls::{pki_types::CertificateDer, server::danger::ClientCertVerifier};

/// Somebody who makes certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    own: rcgen::Certificate,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let own = params.self_signed(&key).unwrap();
        Self { issuer: Issuer::new(params, key), own }
    }

    pub(crate) fn pem(&self) -> String {
        self.own.pem()
    }

    /// An executor's certificate, which `change` may change.
    pub(crate) fn executor(
        &self,
        change: impl FnOnce(&mut CertificateParams),
    ) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, &self.issuer).unwrap().der().clone()
    }
}

/// What trusts these.
pub(crate) fn verifier(trusted: &[&Authority]) -> Arc<dyn ClientCertVerifier> {
    let pem: String = trusted.iter().map(|authority| authority.pem()).collect();
    super::tls::trusting(pem.as_bytes()).unwrap()
}
