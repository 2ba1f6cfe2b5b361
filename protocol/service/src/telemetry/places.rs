//! How many may be connected to the second port: few, since only who keeps watch over a server asks there, and none who
//! only stands there and keeps others out.

use axum::serve::Listener;
use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep},
};

/// The most connections; each further one is closed at once.
pub(crate) const MOST_CONNECTIONS: usize = 64;
/// A connection on which nothing comes or goes for so long is closed.
pub(crate) const IDLE: Duration = Duration::from_secs(90);
/// How often the log tells that connections were closed, at the most.
const TELL_EVERY: Duration = Duration::from_secs(60);

pub(super) struct Places {
    listener: TcpListener,
    free: Arc<Semaphore>,
    told: Option<Instant>,
}

impl Places {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self { listener, free: Arc::new(Semaphore::new(MOST_CONNECTIONS)), told: None }
    }
}

impl Listener for Places {
    type Io = Placed<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, peer) = Listener::accept(&mut self.listener).await;
            if let Ok(place) = self.free.clone().try_acquire_owned() {
                return (Placed::new(stream, place), peer);
            }
            closed("full");
            if self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
                tracing::warn!(
                    "{MOST_CONNECTIONS} connections ask for metrics, and no more are taken"
                );
                self.told = Some(Instant::now());
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

fn closed(why: &'static str) {
    metrics::counter!("octavius_metrics_connections_closed_total", "reason" => why).increment(1);
}

/// A connection that has a place, and ends when it is idle.
pub(super) struct Placed<S> {
    stream: S,
    idle: Pin<Box<Sleep>>,
    /// Whether it was idle for too long.
    is_over: bool,
    _place: OwnedSemaphorePermit,
}

impl<S: Unpin> Placed<S> {
    fn new(stream: S, place: OwnedSemaphorePermit) -> Self {
        Self { stream, idle: Box::pin(sleep(IDLE)), is_over: false, _place: place }
    }

    /// What came of reading or writing; an error if it is idle.
    fn moved<T>(
        &mut self,
        moved: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if moved.is_ready() {
            self.idle.as_mut().reset(Instant::now() + IDLE);
            return moved;
        }
        ready!(self.idle.as_mut().poll(context));
        if !std::mem::replace(&mut self.is_over, true) {
            closed("idle");
        }
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Placed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.moved(read, context)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Placed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, data);
        self.moved(written, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    #[tokio::test(start_paused = true)]
    async fn a_connection_on_which_nothing_moves_ends_and_leaves_its_place() {
        let free = Arc::new(Semaphore::new(1));
        let (mut other, stream) = duplex(8);
        let mut placed = Placed::new(stream, free.clone().try_acquire_owned().unwrap());
        let began = Instant::now();
        for _ in 0..3 {
            sleep(IDLE * 2 / 3).await;
            other.write_all(b"ask").await.unwrap();
            placed.read_exact(&mut [0; 3]).await.unwrap();
        }
        assert!(began.elapsed() > IDLE, "it moves, and stays");
        let read = placed.read_u8().await.unwrap_err();
        let written = placed.write_all(b"more than is taken").await.unwrap_err();
        for error in [read, written] {
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        }
        assert!(free.try_acquire().is_err());
        drop(placed);
        assert!(free.try_acquire().is_ok());
    }
}
