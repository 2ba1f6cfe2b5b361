//! One connection, and what was heard through it.

use super::{
    Address,
    error::{self, What},
    tls,
};
use hyper_util::rt::TokioIo;
use std::{
    error::Error as StdError,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{
            AtomicUsize,
            Ordering::{AcqRel, Acquire},
        },
    },
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::watch,
};
use tonic::transport::{Channel, Endpoint, Uri};

/// What is known of a connection from its bytes alone.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// How many there are: none, or, with one that is being replaced, two.
    there: Arc<AtomicUsize>,
    /// The first byte that came.
    heard: Arc<watch::Sender<Option<u8>>>,
}

impl Default for Line {
    fn default() -> Self {
        Self { there: Arc::default(), heard: Arc::new(watch::Sender::new(None)) }
    }
}

impl Line {
    /// Whether the connection has not ended.
    pub(super) fn is_there(&self) -> bool {
        self.there.load(Acquire) > 0
    }

    /// Why nothing could come of it, where one side speaks TLS and the other does not.
    pub(super) fn explain(&self, address: &Address, ca_key: &str) -> Option<What> {
        let first = (*self.heard.borrow())?;
        tls::mismatch(address, first, ca_key)
    }
}

/// Opens a connection to `socket`; `hears`: and waits until something came through it.
pub(super) async fn open(
    endpoint: &Endpoint,
    address: &Address,
    socket: SocketAddr,
    line: &Line,
    (hears, ca_key): (bool, &str),
) -> Result<Channel, What> {
    let watched = line.clone();
    let connector = tower::service_fn(move |_: Uri| {
        let line = watched.clone();
        async move {
            let stream = TcpStream::connect(socket).await?;
            let _ = stream.set_nodelay(true); // without it it is slower, and right
            line.there.fetch_add(1, AcqRel);
            Ok::<_, io::Error>(TokioIo::new(Watched { stream, line }))
        }
    });
    let opened = endpoint.connect_with_connector(connector).await;
    let opened = opened.map_err(|error| {
        let error: &(dyn StdError + 'static) = &error;
        let mismatch = || line.explain(address, ca_key);
        let faulty = || tls::faulty(error, address, ca_key);
        mismatch().or_else(faulty).unwrap_or_else(|| What::Other(error::root(error)))
    })?;
    let mut heard = line.heard.subscribe();
    while hears && heard.borrow_and_update().is_none() {
        if !line.is_there() || heard.changed().await.is_err() {
            return Err(What::Other("the connection was closed at once".to_owned()));
        }
    }
    line.explain(address, ca_key).map_or(Ok(opened), Err)
}

/// A connection whose first byte is noted.
#[derive(Debug)]
struct Watched {
    stream: TcpStream,
    line: Line,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.line.there.fetch_sub(1, AcqRel);
        self.line.heard.send_if_modified(|_| true); // who waits for it looks again
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if let Some(first) = buffer.filled().get(before) {
            self.line.heard.send_if_modified(|heard| {
                let is_first = heard.is_none();
                heard.get_or_insert(*first);
                is_first
            });
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
