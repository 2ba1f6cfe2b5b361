//! The whole of Octavius over TLS, and what its users are told where that does not come about.

use crate::{
    user::{Ran, User},
    world::{Server, World, eventually},
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Somebody who makes certificates, and the file that says so.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn new(name: &str, file: PathBuf) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        std::fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(params, key), file }
    }

    /// Writes a certificate of this machine, which `change` may change, and its key.
    fn certify(&self, to: &Files, change: impl FnOnce(&mut CertificateParams)) {
        let key = KeyPair::generate().unwrap();
        let names = ["127.0.0.1", "localhost"].map(str::to_owned);
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(&to.key, key.serialize_pem()).unwrap();
        std::fs::write(&to.certificate, certificate.pem()).unwrap();
    }

    fn path(&self) -> &str {
        self.file.to_str().unwrap()
    }
}

/// What the controller is told to show.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// A world whose controller speaks TLS with a certificate of the authority, and is not started.
fn world(change: impl FnOnce(&mut CertificateParams)) -> (World, Authority, Files) {
    let mut world = World::new(8);
    let authority = Authority::new("ours", world.path("ca.pem"));
    let files = Files { certificate: world.path("cert.pem"), key: world.path("key.pem") };
    authority.certify(&files, change);
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    world.configure_controller("tls_cert_file", text(&files.certificate).into());
    world.configure_controller("tls_key_file", text(&files.key).into());
    (world, authority, files)
}

/// What the command says once somebody listens.
async fn heard(user: &User, words: &[&str]) -> Ran {
    let there = async || {
        let ran = user.run(words).await;
        if ran.err.contains("Connection refused") { Err(ran.err) } else { Ok(ran) }
    };
    eventually(there).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_runs_where_all_parts_speak_tls() {
    let (mut world, authority, _) = world(|_| {});
    world.configure_executor("tls_ca_file", authority.path().into());
    let (host, port) = world.address.split_once(':').unwrap();
    assert_eq!(host, "127.0.0.1");
    let named = format!("https://localhost:{port}");
    world.configure_executor("cp_host", named.as_str().into());
    world.start_all();
    // As a user does it: written down once.
    let user = User::new();
    let words = ["config", "--cp-host", &named, "--ca-cert-file", authority.path(), "--yes"];
    assert_eq!(user.run(&words).await.status, Some(0));
    assert_eq!(heard(&user, &["version"]).await.status, Some(0));
    let definition = json!({ "name": "hello", "command": ["echo", "hello"] });
    user.file("metadata.json", &definition);
    user.says(&["create", "-f", "metadata.json"]).await;
    let ran = user.run(&["execute", "hello", "--follow"]).await;
    assert_eq!((ran.status, ran.text().as_str()), (Some(0), "hello\n"), "{}", ran.err);
    // Without a scheme an authority is enough to have TLS spoken.
    let other = User::new().with("CP_HOST", &world.address).with("CA_CERT_FILE", authority.path());
    assert_eq!(other.says(&["executors", "-o", "name"]).await, "test-executor\n");
    assert!(world.controller.said().contains("the controller serves over TLS at"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_trust_the_certificate_is_told_which_and_what_to_set() {
    let (mut world, _, _) = world(|_| {});
    let stranger = Authority::new("stranger", world.path("stranger.pem"));
    let secure = format!("https://{}", world.address);
    world.configure_executor("cp_host", secure.as_str().into());
    world.configure_executor("tls_ca_file", stranger.path().into());
    world.start_all();
    let user = User::new().with("CP_HOST", &secure).with("CA_CERT_FILE", stranger.path());
    let ran = heard(&user, &["version"]).await;
    let wanted = |key: &str| {
        let address = &world.address;
        format!(
            "the certificate of {address} is from no authority that is trusted here: give the PEM file of its authority with `{key}`"
        )
    };
    assert_eq!(ran.status, Some(4), "{ran:?}");
    assert!(ran.err.contains(&wanted("CA_CERT_FILE")), "{}", ran.err);
    let told = async || {
        let said = world.executor.said();
        if said.contains(&wanted("tls_ca_file")) { Ok(()) } else { Err(said) }
    };
    eventually(told).await.unwrap();
    // Who trusts this machine's authorities does not trust ours.
    let ran = User::new().with("CP_HOST", &secure).run(&["version"]).await;
    assert!(ran.err.contains("CA_CERT_FILE"), "{}", ran.err);
    assert_ne!(ran.status, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_has_expired_or_has_another_name_is_called_so() {
    let (mut world, authority, _) = world(|params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    world.controller.start();
    let user = User::new().with("CP_HOST", &world.address).with("CA_CERT_FILE", authority.path());
    let ran = heard(&user, &["version"]).await;
    assert!(ran.err.contains("has expired: renew the files"), "{}", ran.err);
    assert_eq!(ran.status, Some(4), "{ran:?}");
    world.controller.kill();

    let (mut world, authority, _) = self::world(|params| {
        *params = CertificateParams::new(["elsewhere.example.com".to_owned()]).unwrap();
    });
    world.controller.start();
    let user = User::new().with("CP_HOST", &world.address).with("CA_CERT_FILE", authority.path());
    let ran = heard(&user, &["version"]).await;
    assert!(ran.err.contains("is not for the name `127.0.0.1`"), "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_speaks_tls_and_who_does_not_are_told_of_the_other() {
    let (mut secure, authority, _) = world(|_| {});
    secure.controller.start();
    let ran = heard(&User::of(&secure), &["version"]).await;
    assert_eq!(ran.status, Some(4), "{ran:?}");
    let wanted = format!("it speaks TLS: write `https://{}`", secure.address);
    assert!(ran.err.contains(&wanted) && ran.err.contains("`CA_CERT_FILE`"), "{}", ran.err);

    let mut plain = World::new(8);
    plain.controller.start();
    plain.serves().await;
    let user = User::of(&plain).with("CA_CERT_FILE", authority.path());
    let ran = user.run(&["version"]).await;
    assert_eq!(ran.status, Some(4), "{ran:?}");
    let wanted = format!("it does not speak TLS: write `http://{}`", plain.address);
    assert!(ran.err.contains(&wanted) && ran.err.contains("`tls_cert_file`"), "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_certificate_is_shown_without_a_restart_and_a_broken_one_never() {
    let (mut world, authority, files) = world(|_| {});
    world.controller.start();
    let user = |authority: &Authority| {
        User::new().with("CP_HOST", &world.address).with("CA_CERT_FILE", authority.path())
    };
    assert_eq!(heard(&user(&authority), &["version"]).await.status, Some(0));
    std::fs::write(&files.certificate, "-----BEGIN CERTIFICATE-----\nMIIB").unwrap();
    let said = |wanted: &'static str| {
        let controller = &world.controller;
        eventually(move || async move {
            let said = controller.said();
            if said.contains(wanted) { Ok(()) } else { Err(said) }
        })
    };
    said("the certificate in use stays").await.unwrap();
    assert_eq!(user(&authority).run(&["version"]).await.status, Some(0));
    // Renewed itself, as well: it has its name, and another key.
    let next = Authority::new("ours", world.path("next.pem"));
    next.certify(&files, |_| {});
    said("a new certificate is in use").await.unwrap();
    assert_eq!(user(&next).run(&["version"]).await.status, Some(0));
    let ran = user(&authority).run(&["version"]).await;
    assert!(ran.err.contains("from no authority that is trusted here"), "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_executor_shows_its_certificate_and_the_next_one_without_a_restart() {
    let (mut world, authority, _) = world(|_| {});
    let (first, next) =
        (Authority::new("first", world.path("1.pem")), Authority::new("next", world.path("2.pem")));
    let of = |authority: &Authority| std::fs::read_to_string(&authority.file).unwrap();
    let trusted = world.path("executors.pem");
    std::fs::write(&trusted, of(&first)).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    world.configure_controller("tls_executor_ca_file", text(&trusted).into());
    world.configure_executor("tls_ca_file", authority.path().into());
    world.start_all();
    let user = User::new().with("CP_HOST", &world.address).with("CA_CERT_FILE", authority.path());
    assert_eq!(heard(&user, &["version"]).await.status, Some(0), "people need none");
    let says = |server: &Server, wanted: &'static str| {
        let said = server.said();
        if said.contains(wanted) { Ok(()) } else { Err(said) }
    };
    let remedy = "`tls_cert_file`, with its key as `tls_key_file`, in `executor_config.json`";
    eventually(async || says(&world.executor, remedy)).await.unwrap();
    world.executor.end().await;

    let shown = Files { certificate: world.path("e.pem"), key: world.path("e-key.pem") };
    first.certify(&shown, |_| {});
    world.configure_executor("tls_cert_file", text(&shown.certificate).into());
    world.configure_executor("tls_key_file", text(&shown.key).into());
    world.executor.start();
    user.job("hello", "echo hello", json!({})).await;
    let runs = async || {
        let ran = user.run(&["execute", "hello", "--follow"]).await;
        assert_eq!((ran.status, ran.text().as_str()), (Some(0), "hello\n"), "{}", ran.err);
    };
    runs().await;
    let refused = || world.executor.said().matches("asks executors for a certificate").count();
    let before = refused();
    // As an authority is replaced: both are trusted, executors are renewed, and the first is trusted no more.
    std::fs::write(&trusted, of(&first) + &of(&next)).unwrap();
    let other = "other authorities are trusted with executors";
    eventually(async || says(&world.controller, other)).await.unwrap();
    next.certify(&shown, |_| {});
    eventually(async || says(&world.executor, "a new certificate is shown")).await.unwrap();
    std::fs::write(&trusted, of(&next)).unwrap();
    let twice = async || {
        let said = world.controller.said();
        if said.matches(other).count() == 2 { Ok(()) } else { Err(said) }
    };
    eventually(twice).await.unwrap();
    runs().await;
    assert_eq!(refused(), before, "it was refused meanwhile");
}
