//! Certificates of executors, asked of a whole controller over TLS: who has to show which, and when others are taken.

use crate::{
    askers::{Asker, guarded_with},
    world::{World, registration, until},
};
use octavius_controller::{configuration::Configuration, grpc::door::Rpc};
use octavius_protocol::v1;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use std::{fs, net::SocketAddr, path::PathBuf};
use tempfile::TempDir;
use tonic::{
    Code, Status,
    transport::{Certificate, Channel, ClientTlsConfig, Identity},
};
use tonic_types::StatusExt;

/// Somebody who makes certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key.
struct Made {
    pem: String,
    key: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn sign(&self, names: &[&str], usages: &[ExtendedKeyUsagePurpose]) -> Made {
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = usages.to_vec();
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        Made { pem, key: key.serialize_pem() }
    }

    fn executor(&self) -> Made {
        self.sign(&[], &[ExtendedKeyUsagePurpose::ClientAuth])
    }

    /// A controller's, which is for clients as well.
    fn controller(&self) -> Made {
        use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
        self.sign(&["127.0.0.1"], &[ServerAuth, ClientAuth])
    }
}

/// The files of one controller.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new(shown: &Made, executors: &str) -> Self {
        let files = Self { folder: tempfile::tempdir().unwrap() };
        files.show(shown);
        files.trust(executors);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn show(&self, shown: &Made) {
        // The key first: what does not belong together is not taken.
        fs::write(self.path("key.pem"), &shown.key).unwrap();
        fs::write(self.path("cert.pem"), &shown.pem).unwrap();
    }

    fn trust(&self, executors: &str) {
        fs::write(self.path("executors.pem"), executors).unwrap();
    }

    fn configure(&self, configuration: &mut Configuration) {
        configuration.tls_cert_file = Some(self.path("cert.pem"));
        configuration.tls_key_file = Some(self.path("key.pem"));
        configuration.tls_executor_ca_file = Some(self.path("executors.pem"));
    }
}

/// A connection over TLS to a controller that `trusted` signed, on which this is shown.
async fn channel(address: SocketAddr, trusted: &Authority, shown: Option<&Made>) -> Channel {
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&trusted.pem));
    let tls = match shown {
        Some(Made { pem, key }) => tls.identity(Identity::from_pem(pem, key)),
        None => tls,
    };
    let endpoint = Channel::from_shared(format!("https://{address}")).unwrap();
    endpoint.tls_config(tls).unwrap().connect().await.unwrap()
}

/// What a registration comes to.
async fn register(asker: &Asker, id: &str) -> Result<v1::RegisterResponse, Status> {
    asker.ask(Rpc::Register, registration(id, 1, 1)).await
}

#[track_caller]
fn uncertified<T: std::fmt::Debug>(answer: Result<T, Status>, wanted: &str) {
    let status = answer.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    assert_eq!(status.get_details_error_info().unwrap().reason, "NO_CERTIFICATE");
    for words in [wanted, "`tls_cert_file`"] {
        assert!(status.message().contains(words), "no {words}: {status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn executors_show_a_certificate_of_the_authority_and_people_need_none() {
    let (ours, servers, stranger) =
        (Authority::new("ours"), Authority::new("servers"), Authority::new("stranger"));
    let files = Files::new(&servers.controller(), &ours.pem);
    let (world, admin) = guarded_with(
        |configuration| files.configure(configuration),
        async |world: &World| channel(world.running.address, &servers, None).await,
    )
    .await;
    let (invitation, _) = admin.invite(3, &[]).await;
    let address = world.running.address;
    let of = async |shown: Option<&Made>, token: &str| Asker {
        channel: channel(address, &servers, shown).await,
        token: Some(token.to_owned()),
    };
    let (good, foreign) = (ours.executor(), stranger.executor());
    let joined = register(&of(Some(&good), &invitation).await, "one").await.unwrap();
    let admin_token = admin.token.clone().unwrap();
    let attend = || v1::AttendRequest { session: joined.session, ..Default::default() };
    let none = "the connection shows none: give one that an authority of `tls_executor_ca_file`";
    for (shown, wanted) in [
        (None, Some(none)),
        (Some(&foreign), Some("shows one of an authority that is not in the")),
        (Some(&good), None),
    ] {
        // People, whatever they show.
        let person = of(shown, &admin_token).await;
        let listed =
            person.ask::<v1::ListJobsResponse>(Rpc::ListJobs, v1::ListJobsRequest::default());
        listed.await.unwrap();
        let executor = of(shown, &joined.credential).await;
        let attended = executor.ask::<v1::AttendResponse>(Rpc::Attend, attend()).await;
        let joins = register(&of(shown, &invitation).await, "two").await;
        match wanted {
            Some(wanted) => {
                uncertified(attended, wanted);
                uncertified(joins, wanted);
            }
            None => {
                attended.unwrap();
                joins.unwrap();
            }
        }
    }
    // It is in addition to the credential, and not in its place.
    let nobody = Asker { channel: channel(address, &servers, Some(&good)).await, token: None };
    let refused = nobody.ask::<v1::AttendResponse>(Rpc::Attend, attend()).await.unwrap_err();
    assert_eq!(refused.get_details_error_info().unwrap().reason, "NO_TOKEN");
    let refusals = || async {
        let wanted = v1::ListAuditRequest { page_size: 100, refused: true, ..Default::default() };
        let page: v1::ListAuditResponse = admin.ask(Rpc::ListAudit, wanted).await.unwrap();
        page.entries
    };
    let by_it = |entries: &Vec<v1::AuditEntry>| {
        entries.iter().any(|entry| {
            let text = format!("{entry:?}");
            text.contains("executor one") && text.contains("asks executors for a certificate")
        })
    };
    until("in the audit", refusals, by_it).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_authorities_are_trusted_without_a_restart_and_count_for_connections_that_are_there()
{
    let (first, next, servers) =
        (Authority::new("first"), Authority::new("next"), Authority::new("servers"));
    let files = Files::new(&servers.controller(), &first.pem);
    let world = World::start_with(|configuration| files.configure(configuration)).await;
    let address = world.running.address;
    let of = async |shown: &Authority| Asker {
        channel: channel(address, &servers, Some(&shown.executor())).await,
        token: None,
    };
    let (old, new) = (of(&first).await, of(&next).await);
    register(&old, "one").await.unwrap();
    uncertified(register(&new, "one").await, "is not in the `tls_executor_ca_file`");
    files.trust(&format!("{}{}", first.pem, next.pem));
    let _ = until("trusted", || register(&new, "one"), Result::is_ok).await;
    register(&old, "one").await.unwrap();
    files.trust(&next.pem);
    let refused = until("not trusted any more", || register(&old, "one"), Result::is_err).await;
    uncertified(refused, "is not in the `tls_executor_ca_file`");
    register(&new, "one").await.unwrap();
    world.stop().await;
}

#[cfg(feature = "etcd")]
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_looks_at_certificates_itself_and_shows_the_leader_its_own() {
    use crate::world::{SOON, look, on};
    use octavius_controller::server::Controller;
    use octavius_testbed::etcd::{Etcd, EtcdOptions};

    let (ours, stranger) = (Authority::new("ours"), Authority::new("stranger"));
    let (etcd, folder) = (Etcd::start(EtcdOptions::default()).await, tempfile::tempdir().unwrap());
    let leaders = Files::new(&ours.controller(), &ours.pem);
    let standbys = Files::new(&stranger.controller(), &ours.pem);
    let of = |files: &Files| {
        let mut configuration = on(&etcd, &folder);
        files.configure(&mut configuration);
        fs::write(files.path("ca.pem"), &ours.pem).unwrap();
        configuration.tls_ca_file = Some(files.path("ca.pem"));
        configuration
    };
    let answers = async |address, path| look(address, path).await.0;
    let leader = Controller::start(&of(&leaders)).await.unwrap();
    let at = leader.metrics_address;
    until("the leader", || answers(at, "/leaderz"), |code| *code == 200).await;
    let standby = Controller::start(&of(&standbys)).await.unwrap();
    let at = standby.metrics_address;
    until("ready", || answers(at, "/readyz"), |code| *code == 200).await;
    let by = async |trusted: &Authority, shown: Option<&Made>| Asker {
        channel: channel(standby.address, trusted, shown).await,
        token: None,
    };
    let good = ours.executor();
    // Whoever shows none, or says that another controller has looked at it, does not get through by this one.
    let nobody = by(&stranger, None).await;
    uncertified(register(&nobody, "one").await, "the connection shows none");
    let mut request = nobody.request(registration("one", 1, 1));
    request.metadata_mut().insert("octavius-forwarded", "1".parse().unwrap());
    let mut executors =
        v1::executors_client::ExecutorsClient::new(channel(leader.address, &ours, None).await);
    uncertified(executors.register(request).await, "passed this call on shows none");
    // The leader takes no word of a controller whose certificate is not of the authority; people's calls it does take.
    let executor = by(&stranger, Some(&good)).await;
    let unsure = register(&executor, "one").await;
    uncertified(unsure, "the controller that passed this call on shows one of an authority");
    let list = || nobody.ask::<v1::ListJobsResponse>(Rpc::ListJobs, v1::ListJobsRequest::default());
    list().await.unwrap();
    // With the right one it goes on at once, over connections that were not there before.
    standbys.show(&ours.controller());
    let _ = until("passed on", || register(&executor, "one"), Result::is_ok).await;
    list().await.unwrap();
    uncertified(register(&nobody, "one").await, "the connection shows none");
    tokio::time::timeout(SOON, standby.stop()).await.unwrap();
    tokio::time::timeout(SOON, leader.stop()).await.unwrap();
}
