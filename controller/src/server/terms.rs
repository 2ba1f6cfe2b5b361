//! The terms of a controller: one for its whole life on an embedded store; on an etcd one each time that it is elected.

use super::{
    StartError,
    office::{Office, Plan},
    roles::{Role, Roles},
};
use crate::{
    configuration::StoreKind,
    store::{Lead, Opener, Patience, embedded::EmbeddedOpener},
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

#[cfg(feature = "etcd")]
use elected::Candidacy;

/// An office that is to be ended in order.
#[derive(Debug)]
pub(super) struct InOffice {
    pub(super) office: Office,
    #[cfg(feature = "etcd")]
    elected: Option<crate::store::etcd::Elected>,
}

/// For how long logs may take to become durable at the end. What is left, executors still have.
const FLUSH_WITHIN: Duration = Duration::from_secs(3);
/// The same where another controller waits to lead.
#[cfg(feature = "etcd")]
const FLUSH_BEFORE_NEXT: Duration = Duration::from_millis(300);

impl InOffice {
    /// Makes the logs durable, and lets another one lead at once.
    pub(super) async fn hand_over(self) -> Office {
        #[cfg(feature = "etcd")]
        if let Some(elected) = self.elected {
            self.office.flush(FLUSH_BEFORE_NEXT).await;
            elected.resign().await;
            return self.office;
        }
        self.office.flush(FLUSH_WITHIN).await;
        self.office
    }
}

/// How a controller begins: what is wrong with its store is found here, before anybody is served.
pub(super) enum Begin {
    /// It has the store for itself.
    Sole(Box<Office>),
    /// It is one of several.
    #[cfg(feature = "etcd")]
    Candidate(Box<Candidacy>),
}

impl Begin {
    /// `address` is where this controller listens.
    pub(super) async fn new(plan: Plan, address: SocketAddr) -> Result<Self, StartError> {
        match plan.configuration.store() {
            StoreKind::Embedded => {
                let opener: Arc<dyn Opener> =
                    Arc::new(EmbeddedOpener::new(&plan.configuration.data_dir));
                let office = Office::open(&plan, opener, Patience::default(), Lead::sole());
                Ok(Self::Sole(Box::new(office.await?)))
            }
            #[cfg(feature = "etcd")]
            StoreKind::Etcd => Ok(Self::Candidate(Box::new(Candidacy::new(plan, address).await?))),
            #[cfg(not(feature = "etcd"))]
            StoreKind::Etcd => {
                let _ = address;
                Err(StartError::NoEtcd)
            }
        }
    }

    /// Ends what has begun, because of this error.
    pub(super) async fn give_up(self, error: StartError) -> StartError {
        match self {
            Self::Sole(office) => office.close().await,
            #[cfg(feature = "etcd")]
            Self::Candidate(_) => {}
        }
        error
    }

    /// Waits until calls can be answered, by whomever.
    pub(super) async fn ready(self, roles: &Roles) -> Result<Self, StartError> {
        match self {
            Self::Sole(office) => {
                let office = office.up().await?;
                roles.set(Role::Leading(office.seen.clone()));
                Ok(Self::Sole(Box::new(office)))
            }
            #[cfg(feature = "etcd")]
            Self::Candidate(_) => Ok(self),
        }
    }

    /// Holds the office, again and again where there are elections, until `ending`.
    pub(super) async fn go_on(self, roles: Roles, ending: CancellationToken) -> Option<InOffice> {
        match self {
            Self::Sole(office) => {
                drop(roles); // it stays what it is
                ending.cancelled().await;
                Some(InOffice {
                    office: *office,
                    #[cfg(feature = "etcd")]
                    elected: None,
                })
            }
            #[cfg(feature = "etcd")]
            Self::Candidate(candidacy) => candidacy.go_on(roles, ending).await,
        }
    }
}

#[cfg(feature = "etcd")]
mod elected {
    use super::super::{roles::Leader, tls::Certificates, vault};
    use super::*;
    use crate::store::etcd::{Election, EtcdOpener, Standing, compact_while};
    use crate::{grpc::Forwarder, pauses::Pauses};
    use octavius_protocol::reach::{Address, tls};
    use std::{path::PathBuf, sync::OnceLock};
    use tokio::{
        task::JoinHandle,
        time::{Instant, sleep_until},
    };
    use tonic::transport::ClientTlsConfig;

    /// After an election that came to nothing another controller has its turn first.
    const FIRST_PAUSE: Duration = Duration::from_secs(1);
    const LONGEST_PAUSE: Duration = Duration::from_secs(30);
    /// History of etcd that is kept for whoever reads at an earlier moment.
    const HISTORY: Duration = Duration::from_secs(10 * 60);

    /// A controller that takes part in elections.
    pub(in super::super) struct Candidacy {
        plan: Plan,
        opener: EtcdOpener,
        election: Election,
    }

    impl Candidacy {
        pub(super) async fn new(plan: Plan, address: SocketAddr) -> Result<Self, StartError> {
            let configuration = &plan.configuration;
            let opener = EtcdOpener::new(configuration.etcd());
            // An etcd that is away may come back; all else a person has to look at.
            if let Err(error) = opener.open().await {
                if !error.is_away() {
                    return Err(StartError::Store(error.into()));
                }
                tracing::warn!(%error, "the store is away: this controller waits for it");
            }
            let address = configuration.advertised(address);
            let data_dir = configuration.data_dir.clone();
            let known: OnceLock<Vec<u8>> = OnceLock::new();
            let fitness = move |check: Option<&[u8]>| {
                // It is asked every two seconds, and the file is read once.
                if check.is_some() && known.get().map(Vec::as_slice) == check {
                    return Ok(());
                }
                vault::fits(check, &data_dir).map_err(|error| error.to_string())?;
                if let Some(check) = check {
                    let _ = known.set(check.to_vec()); // another check is looked at again
                }
                Ok(())
            };
            let election = Election::new(&opener, address, configuration.leader_ttl, fitness);
            Ok(Self { plan, opener, election })
        }

        pub(super) async fn go_on(
            self,
            roles: Roles,
            ending: CancellationToken,
        ) -> Option<InOffice> {
            let certificates = self.plan.certificates.clone();
            let tls = Tls {
                authorities: self.plan.configuration.tls_ca_file.clone(),
                // Else nobody asks for it.
                shown: certificates.filter(|certificates| certificates.executors().is_some()),
            };
            let standing = self.election.standing();
            tokio::spawn(show(standing, roles.clone(), tls, ending.clone()));
            let mut pauses = Pauses::new(FIRST_PAUSE, LONGEST_PAUSE);
            let mut closing: Option<JoinHandle<()>> = None;
            loop {
                let elected = tokio::select! {
                    elected = self.election.win() => elected,
                    () = ending.cancelled() => return None,
                };
                roles.set(Role::Loading);
                if let Some(closing) = closing.take() {
                    let _ = closing.await; // it has its deadline
                }
                let opener: Arc<dyn Opener> = Arc::new(self.opener.clone());
                let opened = async {
                    let lead = elected.lead.clone();
                    Office::open(&self.plan, opener, Patience::far(), lead).await?.up().await
                };
                // Who has to go does not load first what another one will.
                let opened = tokio::select! {
                    opened = opened => opened,
                    () = elected.lead.ended() => {
                        roles.set(Role::Standby { leader: None, trouble: None });
                        continue;
                    }
                    () = ending.cancelled() => {
                        elected.resign().await;
                        return None;
                    }
                };
                let mut office = match opened {
                    Ok(office) => office,
                    Err(error) => {
                        tracing::error!(%error, "this controller was elected, and cannot lead");
                        let trouble = Some(format!("it was elected, and cannot lead: {error}"));
                        roles.set(Role::Standby { leader: None, trouble });
                        self.election.hold_back(pauses.next());
                        elected.resign().await;
                        continue;
                    }
                };
                pauses = Pauses::new(FIRST_PAUSE, LONGEST_PAUSE);
                roles.set(Role::Leading(office.seen.clone()));
                let lead = office.seen.lead.clone();
                let compacting = async {
                    if self.plan.configuration.compacts_etcd() {
                        compact_while(&self.opener, HISTORY).await;
                    }
                    std::future::pending::<()>().await;
                };
                let holding = async {
                    loop {
                        lead.uncertain().await;
                        // Who reads along, or waits, would hear nothing of what another one may do.
                        office.cut();
                        lead.settled().await;
                        roles.set(Role::Leading(office.seen.clone()));
                    }
                };
                tokio::select! {
                    biased;
                    () = lead.ended() => {}
                    () = ending.cancelled() => {
                        return Some(InOffice { office, elected: Some(elected) });
                    }
                    () = holding => {}
                    () = compacting => {}
                }
                tracing::warn!("this controller does not lead any more");
                roles.set(Role::Standby { leader: None, trouble: None });
                drop(elected);
                // Meanwhile calls are passed on already: what is left of it writes nothing.
                closing = Some(tokio::spawn(office.close()));
            }
        }
    }

    /// What TLS is spoken with to the leader.
    #[derive(Clone, Debug, Default)]
    struct Tls {
        /// The file of those that its certificate is checked with; without one those of this machine are.
        authorities: Option<PathBuf>,
        /// What this controller shows, so that executors' calls that it passes on are taken.
        shown: Option<Arc<Certificates>>,
    }

    impl Tls {
        fn client(&self) -> Result<ClientTlsConfig, String> {
            let tls = tls::trusting(self.authorities.as_deref())?;
            match &self.shown {
                Some(certificates) => certificates.shown_with(tls),
                None => Ok(tls),
            }
        }

        /// Shows the leader another certificate from now on.
        fn renew(&self, roles: &Roles) {
            let Role::Standby { leader: Some(way), .. } = roles.now() else { return };
            let renewed =
                self.client().and_then(|tls| way.renew(tls).map_err(|error| error.to_string()));
            if let Err(why) = renewed {
                tracing::error!(why, "the leader is shown the certificate that was in use before");
            }
        }
    }

    /// The way to the leader; else what says why there is none.
    fn way(leader: &str, tls: &Tls) -> Forwarder {
        let to = || {
            let address = Address::parse(leader, false).map_err(|error| error.to_string())?;
            let tls = address.is_tls().then(|| tls.client()).transpose()?;
            Forwarder::to(&address, tls).map_err(|error| error.to_string())
        };
        to().unwrap_or_else(|why| {
            tracing::error!(leader, why, "no way to the leader: it is tried again");
            Forwarder::none(leader, why)
        })
    }

    /// Keeps the role of a standby at what the election knows.
    async fn show(
        mut standing: tokio::sync::watch::Receiver<Standing>,
        roles: Roles,
        tls: Tls,
        ending: CancellationToken,
    ) {
        let mut renewed = tls.shown.as_ref().map(|certificates| certificates.renewed());
        let showing = async {
            let (mut life, mut pauses) = (None, Pauses::new(FIRST_PAUSE, LONGEST_PAUSE));
            // A way that could not be made is tried again then: a file of authorities may be half written.
            let mut due = None::<Instant>;
            loop {
                let is_due = async {
                    match due {
                        Some(due) => sleep_until(due).await,
                        None => std::future::pending().await,
                    }
                };
                let is_renewed = async {
                    let changed = match &mut renewed {
                        Some(renewed) => renewed.changed().await.is_ok(),
                        None => false,
                    };
                    if !changed {
                        std::future::pending::<()>().await;
                    }
                };
                tokio::select! {
                    changed = standing.changed() => if changed.is_err() { return },
                    () = is_due => {}
                    () = is_renewed => {
                        tls.renew(&roles);
                        continue;
                    }
                }
                let Standing { leader, trouble } = standing.borrow_and_update().clone();
                let now = leader.as_ref().map(|leader| leader.life.clone());
                let another = now != life;
                life = now;
                if another {
                    pauses = Pauses::new(FIRST_PAUSE, LONGEST_PAUSE);
                }
                let again = due.is_some_and(|due| due <= Instant::now());
                let leads = match leader {
                    _ if !another && !again => Leader::AsBefore,
                    None => {
                        due = None;
                        Leader::Nobody
                    }
                    Some(leader) => {
                        let way = way(&leader.address, &tls);
                        due = way.missing().map(|_| Instant::now() + pauses.next());
                        Leader::Another(Arc::new(way))
                    }
                };
                roles.stand_by(leads, trouble);
            }
        };
        tokio::select! {
            () = showing => {}
            () = ending.cancelled() => {}
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use crate::store::etcd::LeaderRecord;
        use tokio::time::sleep;

        fn standing(life: &str, address: &str) -> Standing {
            let leader = LeaderRecord { life: life.to_owned(), address: address.to_owned() };
            Standing { leader: Some(leader), trouble: None }
        }

        fn way_of(roles: &Roles) -> Option<Arc<Forwarder>> {
            match roles.now() {
                Role::Standby { leader, .. } => leader,
                Role::Starting | Role::Loading | Role::Leading(_) => None,
            }
        }

        async fn until(wanted: &str, holds: impl Fn() -> bool) {
            let began = Instant::now();
            while !holds() {
                assert!(began.elapsed() < LONGEST_PAUSE, "never {wanted}");
                sleep(Duration::from_millis(10)).await;
            }
        }

        #[tokio::test(start_paused = true)]
        async fn one_life_of_a_leader_has_one_way_and_what_goes_there_ends_with_it() {
            let ending = CancellationToken::new();
            let _end = ending.clone().drop_guard();
            let roles = Roles::new(ending.clone());
            let (tell, seen) = tokio::sync::watch::channel(Standing::default());
            tokio::spawn(show(seen, roles.clone(), Tls::default(), ending));
            tell.send_replace(standing("a", "127.0.0.1:1"));
            until("a way", || roles.serves()).await;
            let first = way_of(&roles).unwrap();
            let trouble = Some("it cannot lead".to_owned());
            tell.send_replace(Standing { trouble, ..standing("a", "127.0.0.1:1") });
            until("told", || roles.ready() == Err("it cannot lead".to_owned())).await;
            assert!(Arc::ptr_eq(&first, &way_of(&roles).unwrap()), "calls under way were ended");
            // The same controller, started again: what the one before had will not be answered.
            tell.send_replace(standing("b", "127.0.0.1:1"));
            until("another", || way_of(&roles).is_some_and(|way| !Arc::ptr_eq(&first, &way))).await;
            assert_eq!(Arc::strong_count(&first), 1, "somebody keeps the way to one who is gone");
            tell.send_replace(Standing::default());
            until("nobody", || way_of(&roles).is_none()).await;
            assert_eq!(roles.ready(), Err(crate::grpc::ForwardError::NoLeader.to_string()));
        }

        #[tokio::test(start_paused = true)]
        async fn a_way_that_cannot_be_made_is_told_and_made_as_soon_as_it_can_be() {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("ca.pem");
            let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
            let whole = made.cert.pem();
            std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
            let ending = CancellationToken::new();
            let _end = ending.clone().drop_guard();
            let roles = Roles::new(ending.clone());
            let (tell, seen) = tokio::sync::watch::channel(Standing::default());
            let tls = Tls { authorities: Some(file.clone()), shown: None };
            tokio::spawn(show(seen, roles.clone(), tls, ending));
            tell.send_replace(standing("a", "https://127.0.0.1:1"));
            let told = "the way to the leader at https://127.0.0.1:1 cannot be made: ";
            let began = Instant::now();
            while !roles.ready().is_err_and(|why| why.contains(told)) {
                assert!(began.elapsed() < LONGEST_PAUSE, "never told: {:?}", roles.ready());
                sleep(Duration::from_millis(10)).await;
            }
            assert!(!roles.serves());
            std::fs::write(&file, whole).unwrap();
            while !roles.serves() {
                assert!(began.elapsed() < LONGEST_PAUSE, "never made: {:?}", roles.ready());
                sleep(Duration::from_millis(10)).await;
            }
            assert_eq!(roles.ready(), Ok(()));
        }
    }
}
