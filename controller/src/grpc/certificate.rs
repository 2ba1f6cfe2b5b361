//! Whether a connection shows the certificate of an executor, where executors have to have one.
//!
//! Whatever certificate is shown is taken when a connection begins, once it is proven that its key is there, and judged
//! when a call comes that executors alone make. So whoever shows a wrong one is told what is wrong with it, and the audit
//! is, too; and people, who need none, are not kept out by theirs. What was judged is judged anew when other authorities
//! are trusted, so that who was signed by one that was taken away is out with the next call, and now and then, because
//! certificates end.

use super::{
    Peer,
    door::{DoorError, Needs, Rpc},
};
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Release},
        },
    },
    time::Duration,
};
use tokio::sync::watch;
use tokio_rustls::rustls::{
    CertificateError, Error,
    pki_types::{CertificateDer, UnixTime},
    server::danger::ClientCertVerifier,
};

/// The most bytes of a certificate and those of the authorities behind it: each connection keeps them.
pub(crate) const MOST_CERTIFICATE_BYTES: usize = 16 << 10;
/// For how long what was judged holds.
pub(crate) const JUDGED_FOR: Duration = Duration::from_secs(10 * 60);

/// Why nobody is believed to be an executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[repr(u64)]
pub enum Uncertified {
    /// There is none.
    #[error("shows none")]
    Missing = 1,
    /// Somebody else signed it.
    #[error(
        "shows one of an authority that is not in the `tls_executor_ca_file` of this controller"
    )]
    Foreign,
    /// It has ended.
    #[error("shows one that has expired")]
    Expired,
    /// It has not begun.
    #[error("shows one that is not valid yet: see whether the clocks of both machines are right")]
    NotYet,
    /// It is for servers alone.
    #[error("shows one that is not for clients (its extended key usage lacks `clientAuth`)")]
    Purpose,
    /// Anything else.
    #[error("shows one that cannot be used")]
    Unusable,
}

impl Uncertified {
    const ALL: [Self; 6] =
        [Self::Missing, Self::Foreign, Self::Expired, Self::NotYet, Self::Purpose, Self::Unusable];

    fn of(error: &Error) -> Self {
        use CertificateError as Why;
        match error {
            // The second: it is trusted by name, and another one signed.
            Error::InvalidCertificate(Why::UnknownIssuer | Why::BadSignature) => Self::Foreign,
            Error::InvalidCertificate(Why::Expired | Why::ExpiredContext { .. }) => Self::Expired,
            Error::InvalidCertificate(Why::NotValidYet | Why::NotValidYetContext { .. }) => {
                Self::NotYet
            }
            Error::InvalidCertificate(Why::InvalidPurpose | Why::InvalidPurposeContext { .. }) => {
                Self::Purpose
            }
            _ => Self::Unusable,
        }
    }
}

/// The authorities whose certificates executors have to show.
#[derive(Debug)]
pub struct Authorities {
    trusted: watch::Sender<Trusted>,
}

#[derive(Clone, Debug)]
struct Trusted {
    verifier: Arc<dyn ClientCertVerifier>,
    /// Grows whenever all has to be judged anew.
    round: u64,
}

impl Authorities {
    /// Those that `verifier` trusts.
    pub fn new(verifier: Arc<dyn ClientCertVerifier>) -> Self {
        Self { trusted: watch::Sender::new(Trusted { verifier, round: 1 }) }
    }

    /// From now on others are trusted.
    pub(crate) fn trust(&self, verifier: Arc<dyn ClientCertVerifier>) {
        self.trusted.send_modify(|trusted| {
            *trusted = Trusted { verifier, round: trusted.round + 1 };
        });
    }

    /// From now on all has to be judged anew.
    pub(crate) fn judge_anew(&self) {
        self.trusted.send_modify(|trusted| trusted.round += 1);
    }

    fn judge(&self, chain: &Chain) -> Result<(), Uncertified> {
        let Trusted { verifier, round } = self.trusted.borrow().clone();
        if let Some(judged) = chain.judged(round) {
            return judged;
        }
        let judged = match chain.certificates.split_first() {
            None => Err(Uncertified::Missing),
            Some((own, others)) => verifier
                .verify_client_cert(own, others, UnixTime::now())
                .map(drop)
                .map_err(|error| Uncertified::of(&error)),
        };
        chain.note(round, judged);
        judged
    }
}

/// The certificates that a connection shows, its own first.
#[derive(Debug)]
struct Chain {
    certificates: Vec<CertificateDer<'static>>,
    /// In which round it was judged, and what came of it; 0: it was not.
    judged: AtomicU64,
}

impl Chain {
    fn judged(&self, in_round: u64) -> Option<Result<(), Uncertified>> {
        let judged = self.judged.load(Acquire);
        let (round, code) = (judged >> 3, judged & 7);
        let why = || Uncertified::ALL.into_iter().find(|why| *why as u64 == code);
        (round == in_round).then(|| why().map_or(Ok(()), Err))
    }

    fn note(&self, round: u64, judged: Result<(), Uncertified>) {
        let code = judged.map_or_else(|why| why as u64, |()| 0);
        self.judged.store(round << 3 | code, Release);
    }
}

/// What a connection has to show, and what it shows.
#[derive(Debug)]
pub(super) struct Certificate {
    authorities: Option<Arc<Authorities>>,
    shown: OnceLock<Chain>,
}

impl Certificate {
    /// Of a connection that has to show one of these where executors call; none: nobody has to.
    pub(super) fn asked_by(authorities: Option<Arc<Authorities>>) -> Self {
        Self { authorities, shown: OnceLock::new() }
    }

    pub(super) fn show(&self, chain: &[CertificateDer<'_>]) {
        if self.authorities.is_some() {
            let certificates = chain.iter().map(|one| one.clone().into_owned()).collect();
            // Of one connection it comes once.
            let _ = self.shown.set(Chain { certificates, judged: AtomicU64::new(0) });
        }
    }

    fn judge(&self) -> Result<(), Uncertified> {
        match (&self.authorities, self.shown.get()) {
            (None, _) => Ok(()),
            (Some(_), None) => Err(Uncertified::Missing),
            (Some(authorities), Some(chain)) => authorities.judge(chain),
        }
    }
}

/// Whether what executors alone call may be called on this connection; `passed_on`: another controller says it for them.
pub(crate) fn certified(rpc: Rpc, peer: Option<&Peer>, passed_on: bool) -> Result<(), DoorError> {
    let (Needs::Joining | Needs::Executor, Some(peer)) = (rpc.needs(), peer) else { return Ok(()) };
    peer.certificate().judge().map_err(|why| match passed_on {
        false => DoorError::Uncertified(why),
        true => DoorError::PassedOnUncertified(why),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::testing::{Authority, verifier};

    fn peer(authorities: &Arc<Authorities>, chain: &[CertificateDer<'_>]) -> Peer {
        let peer = Peer::showing(Arc::default(), None, Some(authorities.clone()));
        peer.show(chain);
        peer
    }

    #[test]
    fn a_connection_is_judged_by_those_who_are_trusted_at_the_moment_of_the_call() {
        let (ours, next) = (Authority::new("ours"), Authority::new("next"));
        let authorities = Arc::new(Authorities::new(verifier(&[&ours])));
        let peer = peer(&authorities, &[ours.executor(|_| {})]);
        let call = || certified(Rpc::Poll, Some(&peer), false);
        assert_eq!(call(), Ok(()));
        authorities.trust(verifier(&[&ours, &next]));
        assert_eq!(call(), Ok(()));
        authorities.trust(verifier(&[&next]));
        assert_eq!(call(), Err(DoorError::Uncertified(Uncertified::Foreign)));
        assert_eq!(call(), Err(DoorError::Uncertified(Uncertified::Foreign)), "as it was judged");
        authorities.trust(verifier(&[&ours]));
        authorities.judge_anew();
        assert_eq!(call(), Ok(()));
    }

    #[test]
    fn what_is_wrong_is_said_and_people_are_asked_for_nothing() {
        use rcgen::{ExtendedKeyUsagePurpose, date_time_ymd};
        let (ours, stranger) = (Authority::new("ours"), Authority::new("stranger"));
        let authorities = Arc::new(Authorities::new(verifier(&[&ours])));
        let ended = ours.executor(|params| {
            (params.not_before, params.not_after) =
                (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        });
        let early = ours.executor(|params| params.not_before = date_time_ymd(4000, 1, 1));
        let servers = ours.executor(|params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        });
        for (chain, wanted) in [
            (vec![], Uncertified::Missing),
            (vec![stranger.executor(|_| {})], Uncertified::Foreign),
            (vec![ended], Uncertified::Expired),
            (vec![early], Uncertified::NotYet),
            (vec![servers], Uncertified::Purpose),
            (vec![CertificateDer::from(b"none".to_vec())], Uncertified::Unusable),
        ] {
            let peer = peer(&authorities, &chain);
            for rpc in Rpc::ALL {
                let comes = certified(*rpc, Some(&peer), false);
                let is_executors = matches!(rpc.needs(), Needs::Joining | Needs::Executor);
                let refused = Err(DoorError::Uncertified(wanted));
                assert_eq!(comes, if is_executors { refused } else { Ok(()) }, "{rpc:?}");
            }
            let passed_on = certified(Rpc::Attend, Some(&peer), true);
            assert_eq!(passed_on, Err(DoorError::PassedOnUncertified(wanted)));
        }
        let nobody_asks = Peer::new(Arc::default());
        assert_eq!(certified(Rpc::Register, Some(&nobody_asks), false), Ok(()));
    }
}
