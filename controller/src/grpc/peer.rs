//! What is known of each connection: whether it asks for anything, and how many bytes of its answers are not written.
//!
//! The connection itself holds its [`Peer`], and a layer around all services finds it in each request: it counts the
//! calls, and the bytes of answers from when they are made until they are written. Readers of logs, who could be answered
//! without end, wait while too much is not written, of their connection or of all; nobody else does.

use super::accompany::{Accompany, Companion, Part};
use http::Request;
use std::{
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64, AtomicUsize,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, Semaphore, SemaphorePermit},
    time::Instant,
};

/// For how long a connection may be there before its first call: our own clients call at once.
pub(crate) const FIRST_CALL_WITHIN: Duration = Duration::from_secs(10);
/// For how long a connection may be there without a call after one: longer than anybody waits between two looks. Who
/// calls later connects again, and notices nothing.
pub(crate) const IDLE_FOR: Duration = Duration::from_secs(10 * 60);
/// The most bytes of answers that wait to be written to one connection before its logs are read on: several pieces of
/// a log, which keep a far client busy.
pub(crate) const MOST_UNWRITTEN_OF_ONE: usize = 1 << 20;
/// The same of all connections together: of those who do not read, 256 have to take all that one may.
pub(crate) const MOST_UNWRITTEN: usize = 256 << 20;
/// The most readers of logs that fetch their next piece at the same time: by so many pieces the bounds above may be
/// exceeded.
pub(super) const MOST_FETCHING: usize = 128;

/// What all connections share.
#[derive(Debug)]
pub struct Answers {
    unwritten: Unwritten,
    fetching: Semaphore,
}

impl Default for Answers {
    fn default() -> Self {
        let unwritten = Unwritten::new(MOST_UNWRITTEN);
        Self { unwritten, fetching: Semaphore::new(MOST_FETCHING) }
    }
}

/// One connection, as the calls on it see it.
#[derive(Clone, Debug)]
pub struct Peer(Arc<State>);

#[derive(Debug)]
struct State {
    began: Instant,
    /// Calls that are not answered to their end.
    calls: AtomicUsize,
    asked: AtomicBool,
    /// When the last call ended, in milliseconds after it began.
    last: AtomicU64,
    unwritten: Unwritten,
    all: Arc<Answers>,
}

/// Bytes that wait to be written.
#[derive(Debug)]
struct Unwritten {
    bytes: AtomicUsize,
    most: usize,
    less: Notify,
}

impl Unwritten {
    fn new(most: usize) -> Self {
        Self { bytes: AtomicUsize::new(0), most, less: Notify::new() }
    }

    fn is_full(&self) -> bool {
        self.bytes.load(Acquire) >= self.most
    }

    fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, AcqRel);
    }

    fn remove(&self, bytes: usize) {
        let before = self.bytes.fetch_sub(bytes, AcqRel);
        if before >= self.most && before - bytes < self.most {
            self.less.notify_waiters();
        }
    }

    async fn room(&self) {
        let mut less = std::pin::pin!(self.less.notified());
        while self.is_full() {
            less.as_mut().enable(); // what is written from here on is not missed
            if !self.is_full() {
                return;
            }
            less.as_mut().await;
            less.set(self.less.notified());
        }
    }
}

impl Peer {
    /// A connection that begins now.
    pub fn new(all: Arc<Answers>) -> Self {
        Self(Arc::new(State {
            began: Instant::now(),
            calls: AtomicUsize::new(0),
            asked: AtomicBool::new(false),
            last: AtomicU64::new(0),
            unwritten: Unwritten::new(MOST_UNWRITTEN_OF_ONE),
            all,
        }))
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

    /// Waits until this connection and all together have room for more, and for a turn to fetch it.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        let State { unwritten, all, .. } = &*self.0;
        loop {
            unwritten.room().await;
            all.unwritten.room().await;
            let turn = all.fetching.acquire().await.ok()?;
            // Those before it may have filled what was free.
            if !unwritten.is_full() && !all.unwritten.is_full() {
                return Some(turn);
            }
        }
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
        peer.0.unwritten.add(data.len());
        peer.0.all.unwritten.add(data.len());
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
        self.peer.0.unwritten.remove(self.data.len());
        self.peer.0.all.unwritten.remove(self.data.len());
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

    #[tokio::test]
    async fn a_reader_gets_no_turn_while_too_much_is_unwritten_of_its_connection_or_of_all() {
        let all: Arc<Answers> = Arc::default();
        let [one, other] = [(); 2].map(|()| Peer::new(all.clone()));
        let bytes = |size: usize| bytes::Bytes::from(vec![0; size]);
        let full = Counted::new(bytes(MOST_UNWRITTEN_OF_ONE), one.clone());
        let mut waits = Box::pin(one.turn());
        assert!(futures::poll!(&mut waits).is_pending());
        assert!(futures::poll!(Box::pin(other.turn())).is_ready(), "the other one pays for it");
        drop(full);
        assert!(futures::poll!(&mut waits).is_ready());
        all.unwritten.add(MOST_UNWRITTEN);
        let mut waits = Box::pin(other.turn());
        assert!(futures::poll!(&mut waits).is_pending());
        all.unwritten.remove(1);
        assert!(futures::poll!(&mut waits).is_ready());
    }
}
