//! Who is let in to the gRPC port: so many connections, and none that only stands there.
//!
//! A connection costs memory and an open file before anybody knows what it wants, and without open files the controller
//! could neither answer nor write. So the number of all is bounded, and, far lower, that of those who never called: for
//! each further one of them the first gives way, so that who does call gets in also while thousands of others do not.

use super::{MOST_EXECUTORS, stream::Stream};
use crate::grpc::{Authorities, MOST_FOLLOWERS, Peer, UnwrittenOfAll};
use futures::stream;
use rustix::process::{Resource, getrlimit};
use std::{
    collections::VecDeque,
    io,
    pin::{Pin, pin},
    sync::{
        Arc, Weak,
        atomic::{
            AtomicBool,
            Ordering::{Acquire, Release},
        },
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep},
};
use tokio_rustls::TlsAcceptor;
use tonic::transport::server::Connected;

/// The most connections: two of each executor, one of each reader of logs, and 4,576 others. Fewer where the system
/// allows fewer open files: [`KEPT_FILES`] are left for the store and the logs.
pub(crate) const MOST_CONNECTIONS: usize = 2 * MOST_EXECUTORS + MOST_FOLLOWERS + 4_576;
/// So many open files are not given to connections, and never more than half of all.
pub(super) const KEPT_FILES: u64 = 1_024;
/// The most connections that never called: as many as wait to be taken.
pub(crate) const MOST_SILENT: usize = 1_024;
/// For how long a connection may take nothing of what is written to it.
pub(crate) const STUCK_FOR: Duration = Duration::from_secs(20);
/// How often the log tells that connections were closed or refused, at the most.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// The pause after a connection that could not be taken: for want of open files the next one cannot be, either.
const PAUSE: Duration = Duration::from_millis(100);

/// How many connections there may be where there may be so many open files; none: any number.
fn most(files: Option<u64>) -> usize {
    let Some(files) = files else { return MOST_CONNECTIONS };
    let rest = files.saturating_sub(KEPT_FILES.min(files / 2));
    usize::try_from(rest).unwrap_or(usize::MAX).min(MOST_CONNECTIONS)
}

/// The connections that are let in, which speak TLS where `tls` is there, and on which executors have to show a
/// certificate of one of the authorities where those are. It never ends.
pub(super) fn incoming(
    listener: TcpListener,
    unwritten: Arc<UnwrittenOfAll>,
    (tls, authorities): (Option<TlsAcceptor>, Option<Arc<Authorities>>),
) -> impl futures::Stream<Item = io::Result<Connection>> {
    let entrance = Entrance::new(listener, most(getrlimit(Resource::Nofile).current), unwritten);
    let entrance = Entrance { tls, authorities, ..entrance };
    stream::unfold(entrance, async |mut entrance| Some((Ok(entrance.next().await), entrance)))
}

struct Entrance {
    listener: TcpListener,
    places: Arc<Semaphore>,
    most: usize,
    /// Those who had not called when it was looked last, the first in front. What is closed keeps no place by being here.
    silent: VecDeque<Weak<Seat>>,
    unwritten: Arc<UnwrittenOfAll>,
    tls: Option<TlsAcceptor>,
    authorities: Option<Arc<Authorities>>,
    /// When the log was told last that not all get what they want, and how many since.
    told: Option<Instant>,
    untold: u64,
}

impl Entrance {
    fn new(listener: TcpListener, most: usize, unwritten: Arc<UnwrittenOfAll>) -> Self {
        Self {
            listener,
            places: Arc::new(Semaphore::new(most)),
            most,
            silent: VecDeque::new(),
            unwritten,
            tls: None,
            authorities: None,
            told: None,
            untold: 0,
        }
    }

    async fn next(&mut self) -> Connection {
        loop {
            let (stream, from) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) if of_one(&error) => continue,
                Err(error) => {
                    self.tell(&format!("a connection could not be taken: {error}"));
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let Ok(place) = self.places.clone().try_acquire_owned() else {
                closed("full");
                let most = self.most;
                self.tell(&format!("there are {most} connections, the most that are taken"));
                continue;
            };
            let _ = stream.set_nodelay(true); // without it it is slower, and right
            let seat = Arc::new(Seat {
                peer: Peer::showing(
                    self.unwritten.clone(),
                    Some(from.ip()),
                    self.authorities.clone(),
                ),
                gives_way: AtomicBool::new(false),
                _place: place,
            });
            self.make_room();
            self.silent.push_back(Arc::downgrade(&seat));
            return Connection {
                stream: Stream::new(stream, self.tls.as_ref(), &seat.peer),
                seat,
                silent_at: Box::pin(sleep(Duration::ZERO)),
                stuck: None,
            };
        }
    }

    /// Room for one more who may never call.
    fn make_room(&mut self) {
        if self.silent.len() < MOST_SILENT {
            return;
        }
        self.silent.retain(|seat| seat.upgrade().is_some_and(|seat| !seat.peer.has_asked()));
        if self.silent.len() < MOST_SILENT {
            return;
        }
        if let Some(first) = self.silent.pop_front().and_then(|first| first.upgrade()) {
            first.gives_way.store(true, Release);
            first.peer.wake();
            self.tell(&format!("{MOST_SILENT} connections never called, and give way to others"));
        }
    }

    /// Says it, or that it happened, once in a while: what comes in floods must not flood the log.
    fn tell(&mut self, what: &str) {
        self.untold += 1;
        if self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            tracing::warn!(times = self.untold, "{what}");
            (self.told, self.untold) = (Some(Instant::now()), 0);
        }
    }
}

/// Whether only this one connection could not be taken.
fn of_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, TimedOut};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | TimedOut)
}

pub(super) fn closed(why: &'static str) {
    metrics::counter!("octavius_connections_closed_total", "reason" => why).increment(1);
}

/// A connection's place, and what is known of it.
#[derive(Debug)]
struct Seat {
    peer: Peer,
    /// Because it never called.
    gives_way: AtomicBool,
    _place: OwnedSemaphorePermit,
}

/// A connection, which ends when it is silent or stuck for too long.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Stream,
    seat: Arc<Seat>,
    silent_at: Pin<Box<Sleep>>,
    /// While what is to be written is not taken: until when it may last.
    stuck: Option<Pin<Box<Sleep>>>,
}

impl Connection {
    /// Why it has to be closed while nothing comes of it; none: it has not.
    fn is_over(&mut self, context: &mut Context<'_>) -> Option<&'static str> {
        // Before anything else is looked at: whoever changes it wakes.
        let gives_way = self.seat.peer.poll_gives_way(context);
        if self.is_silent(context) {
            return Some("silent");
        }
        gives_way.is_ready().then_some("paused")
    }

    fn is_silent(&mut self, context: &mut Context<'_>) -> bool {
        if self.seat.gives_way.load(Acquire) && !self.seat.peer.has_asked() {
            return true;
        }
        while self.silent_at.as_mut().poll(context).is_ready() {
            let at = self.seat.peer.silent_at();
            if at <= Instant::now() {
                return true;
            }
            self.silent_at.as_mut().reset(at);
        }
        false
    }

    /// What came of writing, unless that lasts for too long.
    fn written(
        &mut self,
        written: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stuck = None;
            return written;
        }
        let gave_up =
            || Err(io::Error::new(io::ErrorKind::TimedOut, "nobody reads at the other end"));
        if self.seat.peer.poll_gives_way(context).is_ready() {
            closed("paused");
            return Poll::Ready(gave_up());
        }
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(sleep(STUCK_FOR)));
        ready!(stuck.as_mut().poll(context));
        closed("stuck");
        Poll::Ready(gave_up())
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.seat.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = pin!(&mut self.stream).poll_read(context, buffer);
        if read.is_pending()
            && let Some(why) = self.is_over(context)
        {
            closed(why);
            return Poll::Ready(Ok(())); // as if it had ended
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = pin!(&mut self.stream).poll_write(context, data);
        self.written(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = pin!(&mut self.stream).poll_write_vectored(context, data);
        self.written(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        pin!(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        pin!(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpStream;

    #[test]
    fn open_files_are_left_for_others() {
        assert_eq!(most(None), MOST_CONNECTIONS);
        assert_eq!(most(Some(1 << 20)), MOST_CONNECTIONS);
        assert_eq!(most(Some(20_000)), 18_976);
        assert_eq!(most(Some(1_024)), 512);
        assert_eq!(most(Some(0)), 0);
    }

    #[tokio::test]
    async fn what_is_closed_leaves_its_place_to_others() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut entrance = Entrance::new(listener, 2, Arc::default());
        for _ in 0..5 {
            let _caller = TcpStream::connect(address).await.unwrap();
            let next = tokio::time::timeout(Duration::from_secs(20), entrance.next());
            drop(next.await.expect("the places of closed connections are not free"));
        }
    }
}
