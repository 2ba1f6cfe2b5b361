//! The bytes of one connection, with TLS or without.
//!
//! What TLS takes to come about is done when the connection is first read or written, so that who is slow at it holds up
//! nobody, and is bound by whatever bounds a connection.

use crate::grpc::Peer;
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{Accept, TlsAcceptor, server::TlsStream};

/// One connection's bytes.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<Tls>),
}

/// A connection that speaks TLS, or is about to.
pub(super) enum Tls {
    Beginning(Accept<TcpStream>, Peer),
    Open(TlsStream<TcpStream>),
    /// It did not come about.
    Over,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Tls(_) => "Tls",
        })
    }
}

impl Stream {
    /// A connection that speaks TLS where there is what does.
    pub(super) fn new(stream: TcpStream, tls: Option<&TlsAcceptor>, peer: &Peer) -> Self {
        match tls {
            Some(tls) => Self::Tls(Box::new(Tls::Beginning(tls.accept(stream), peer.clone()))),
            None => Self::Plain(stream),
        }
    }
}

impl Tls {
    fn poll_open(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Pin<&mut TlsStream<TcpStream>>>> {
        if let Self::Beginning(accept, peer) = self {
            match ready!(Pin::new(accept).poll(context)) {
                Ok(stream) => {
                    if let Some(chain) = stream.get_ref().1.peer_certificates() {
                        peer.show(chain);
                    }
                    *self = Self::Open(stream);
                }
                Err(error) => {
                    tracing::debug!(%error, "TLS with one who connected did not come about");
                    super::connections::closed("tls");
                    *self = Self::Over;
                    return Poll::Ready(Err(error));
                }
            }
        }
        match self {
            Self::Open(stream) => Poll::Ready(Ok(Pin::new(stream))),
            Self::Beginning(..) | Self::Over => {
                Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(tls) => ready!(tls.poll_open(context))?.poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, data),
            Self::Tls(tls) => ready!(tls.poll_open(context))?.poll_write(context, data),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, data),
            Self::Tls(tls) => ready!(tls.poll_open(context))?.poll_write_vectored(context, data),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(tls) => ready!(tls.poll_open(context))?.poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(tls) => match &mut **tls {
                Tls::Open(stream) => Pin::new(stream).poll_shutdown(context),
                Tls::Beginning(..) | Tls::Over => Poll::Ready(Ok(())),
            },
        }
    }
}
