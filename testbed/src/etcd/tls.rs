//! Certificates that somebody trusts who trusts nobody else.

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// What a client needs: files, in PEM.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Who has signed the servers' certificates.
    pub ca_file: PathBuf,
    /// The client's own certificate.
    pub cert_file: PathBuf,
    /// The key of it.
    pub key_file: PathBuf,
    server_cert_file: PathBuf,
    server_key_file: PathBuf,
}

impl Tls {
    /// Makes them, in a folder.
    pub(super) fn make(folder: &Path) -> Self {
        let write = |name: &str, text: String| {
            let file = folder.join(name);
            fs::write(&file, text).unwrap();
            file
        };
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca_key = KeyPair::generate().unwrap();
        let ca_file = write("ca.pem", ca.self_signed(&ca_key).unwrap().pem());
        let issuer = Issuer::new(ca, ca_key);
        let signed = |name: &str, usages: Vec<ExtendedKeyUsagePurpose>| {
            let names = ["127.0.0.1", "localhost"].map(str::to_owned).to_vec();
            let mut params = CertificateParams::new(names).unwrap();
            params.extended_key_usages = usages;
            let key = KeyPair::generate().unwrap();
            let cert = params.signed_by(&key, &issuer).unwrap();
            let cert_file = write(&format!("{name}.pem"), cert.pem());
            (cert_file, write(&format!("{name}.key"), key.serialize_pem()))
        };
        use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
        // etcd's own gateway goes to etcd with the certificate of the server.
        let (server_cert_file, server_key_file) = signed("server", vec![ServerAuth, ClientAuth]);
        let (cert_file, key_file) = signed("client", vec![ClientAuth]);
        Self { ca_file, cert_file, key_file, server_cert_file, server_key_file }
    }

    pub(super) fn server_flags(&self) -> [String; 4] {
        [
            format!("--cert-file={}", self.server_cert_file.display()),
            format!("--key-file={}", self.server_key_file.display()),
            "--client-cert-auth".to_owned(),
            format!("--trusted-ca-file={}", self.ca_file.display()),
        ]
    }
}
