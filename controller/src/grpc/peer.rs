//! What is known of each connection: whether it asks for anything, and how many bytes of its answers are not written.
//!
//! The connection itself holds its [`Peer`], and a layer around all services finds it in each request: it counts the
//! calls, and the bytes of answers from when they are made until they are written. Readers of logs, who could be answered
//! without end, wait while too much is not written, of their connection or of all; nobody else does.

use super::{
    accompany::{Accompany, Companion, Part},
    certificate::{Authorities, Certificate},
    unwritten::{UnwrittenOfAll, UnwrittenOfOne},
};
use http::Request;
use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64, AtomicUsize,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{sync::SemaphorePermit, time::Instant};
use tokio_rustls::rustls::pki_types::CertificateDer;

/// For how long a connection may be there before its first call: our own clients call at once.
pub(crate) const FIRST_CALL_WITHIN: Duration = Duration::from_secs(10);
/// For how long a connection may be there without a call after one: longer than anybody waits between two looks. Who
/// calls later connects again, and notices nothing.
pub(crate) const IDLE_FOR: Duration = Duration::from_secs(10 * 60);
/// One connection, as the calls on it see it.
#[derive(Clone, Debug)]
pub struct Peer(Arc<State>);

#[derive(Debug)]
struct State {
    /// From where it comes, if that is known.
    address: Option<IpAddr>,
    certificate: Certificate,
    began: Instant,
    /// Calls that are not answered to their end.
    calls: AtomicUsize,
    asked: AtomicBool,
    /// When the last call ended, in milliseconds after it began.
    last: AtomicU64,
    unwritten: Arc<UnwrittenOfOne>,
    all: Arc<UnwrittenOfAll>,
}

impl Peer {
    /// A connection that begins now.
    pub fn new(all: Arc<UnwrittenOfAll>) -> Self {
        Self::showing(all, None, None)
    }

    /// The same, from this address.
    pub fn of(all: Arc<UnwrittenOfAll>, address: IpAddr) -> Self {
        Self::showing(all, Some(address), None)
    }

    /// The same, where executors have to show a certificate of one of these.
    pub fn showing(
        all: Arc<UnwrittenOfAll>,
        address: Option<IpAddr>,
        authorities: Option<Arc<Authorities>>,
    ) -> Self {
        Self(Arc::new(State {
            address,
            certificate: Certificate::asked_by(authorities),
            began: Instant::now(),
            calls: AtomicUsize::new(0),
            asked: AtomicBool::new(false),
            last: AtomicU64::new(0),
            unwritten: all.connection(),
            all,
        }))
    }

    /// From where it comes, if that is known.
    pub fn address(&self) -> Option<IpAddr> {
        self.0.address
    }

    /// It shows these certificates, its own first, and has proven that it has the key.
    pub fn show(&self, chain: &[CertificateDer<'_>]) {
        self.0.certificate.show(chain);
    }

    pub(super) fn certificate(&self) -> &Certificate {
        &self.0.certificate
    }

    /// Whether it has ever called.
    pub fn has_asked(&self) -> bool {
        self.0.asked.load(Relaxed)
    }

    /// When it was silent for too long, if it stays so; later than now while it is not.
    pub fn silent_at(&self) -> Instant {
        let State { began, calls, last, .. } = &*self.0;
        if calls.load(Acquire) > 0 {
            return Instant::now() + IDLE_FOR;
        }
        let patience = if self.has_asked() { IDLE_FOR } else { FIRST_CALL_WITHIN };
        *began + Duration::from_millis(last.load(Acquire)) + patience
    }

    /// Whether it has to give way to others because it takes nothing; who polls is woken when it has to, and by
    /// [`Peer::wake`].
    pub fn poll_gives_way(&self, context: &mut Context<'_>) -> Poll<()> {
        self.0.unwritten.poll_gives_way(context)
    }

    /// Has its connection look again.
    pub fn wake(&self) {
        self.0.unwritten.wake();
    }

    /// Waits until this connection and all together have room for more, and for a turn to fetch it.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.0.all.turn(&self.0.unwritten).await
    }
}

/// One call of a connection; it lives as long as its answer.
#[derive(Debug)]
pub struct Call(Peer);

impl Call {
    fn begin(peer: Peer) -> Self {
        peer.0.calls.fetch_add(1, AcqRel);
        peer.0.asked.store(true, Relaxed);
        Self(peer)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let State { began, calls, last, .. } = &*self.0.0;
        let now = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        last.fetch_max(now, Release);
        calls.fetch_sub(1, AcqRel);
    }
}

/// Bytes of an answer, which count until they are written or given up.
#[derive(Debug)]
struct Counted {
    data: bytes::Bytes,
    peer: Peer,
}

impl Counted {
    fn new(data: bytes::Bytes, peer: Peer) -> Self {
        peer.0.all.add(&peer.0.unwritten, data.len());
        Self { data, peer }
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.peer.0.all.remove(&self.peer.0.unwritten, self.data.len());
    }
}

/// Counts the calls of each connection, and what is not written of their answers.
#[derive(Clone, Copy, Debug)]
pub struct Peers;

impl Accompany for Peers {
    type Companion = Call;

    fn begin<B>(&self, request: &Request<B>) -> Option<Call> {
        request.extensions().get::<Peer>().cloned().map(Call::begin)
    }
}

impl Companion for Call {
    fn pass(&mut self, part: Part) -> Part {
        let counted = |data| bytes::Bytes::from_owner(Counted::new(data, self.0.clone()));
        part.map(|frame| frame.map_data(counted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_never_calls_is_silent_sooner_than_who_has_called_and_who_waits_for_an_answer_never()
     {
        let peer = Peer::new(Arc::default());
        let began = Instant::now();
        assert_eq!(peer.silent_at(), began + FIRST_CALL_WITHIN);
        tokio::time::advance(FIRST_CALL_WITHIN / 2).await;
        let call = Call::begin(peer.clone());
        tokio::time::advance(3 * IDLE_FOR).await;
        assert!(peer.silent_at() > Instant::now());
        drop(call);
        assert_eq!(peer.silent_at(), Instant::now() + IDLE_FOR);
    }
}
