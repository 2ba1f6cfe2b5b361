//! What a controller that does not lead does with calls: it passes them on to the one that leads, as they are.
//!
//! Path, metadata, and the bytes of request and answer go through unread, so that the leader answers as if it had been
//! called itself, trailers and details included. Who calls is what the metadata say; what only the connection would
//! tell, such as the caller's own address, does not get there, because nothing that is sent could prove it. To the
//! leader all calls of one connection belong to one peer: its bound for bytes that wait to be written counts them
//! together. Where executors have to show certificates, theirs are looked at before their calls come here, and the
//! leader looks at the one that this controller shows.
//!
//! A call that was passed on once is not passed on again. When the leader changes, its [`Forwarder`] is dropped, and
//! everything under way through it ends at once.

mod pool;
#[cfg(test)]
mod tests;

use super::{door::Rpc, unwritten::MOST_UNWRITTEN_OF_ONE};
use crate::{log_store::PIECE, server::MOST_STREAMS};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, Uri,
    header::{CONNECTION, HOST, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE},
};
use http_body::{Frame, SizeHint};
use octavius_protocol::{
    FORWARDED,
    reach::{Address, KEEP_ALIVE, KEEP_ALIVE_WITHIN},
};
use pool::{Place, Pool};
use std::{
    error::Error as StdError,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};
use tonic::{
    Status,
    body::Body,
    transport::{ClientTlsConfig, Endpoint},
};
use tower::{Service as _, ServiceExt as _};

/// The most calls that are passed on at a time, but for readers of logs: as many as 10,000 executors park, twice, and
/// what they and others ask meanwhile.
pub(crate) const MOST_FORWARDED: usize = 49_152;
/// How long a connection to the leader may take to come about.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// How much may be under way on one connection before the other side has to wait; see the server's.
const WINDOW: u32 = 8 << 20;
/// How much of that one reader of a log may take up: who has paused keeps it. All who share its connection together stay
/// far below [`WINDOW`], so that a paused one takes nothing from the others; and all readers that there may be, paused,
/// keep 640 MB here.
const WINDOW_OF_A_READER: u32 = 64 << 10;
/// How many calls one connection carries before another one is opened: half of what it can, so that none waits for room
/// while calls come in a rush.
const CALLS_EACH: usize = MOST_STREAMS as usize / 2;
/// The same for readers of logs. The leader reads no log on for a connection of which too much is not written; by so many
/// paused readers, of each of which it keeps a piece, that much does not come together.
const READERS_EACH: usize = 6;
/// A piece, and others before it that tonic writes with it.
const KEPT_OF_A_READER: usize = PIECE + (32 << 10);
const _: () = assert!(READERS_EACH * KEPT_OF_A_READER < MOST_UNWRITTEN_OF_ONE);
const _: () = assert!(READERS_EACH * (WINDOW_OF_A_READER as usize) < WINDOW as usize);

/// What means something between two ends of one connection alone.
const OF_ONE_CONNECTION: [HeaderName; 7] = [
    CONNECTION,
    HOST,
    PROXY_AUTHORIZATION,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Why a call was not answered by the controller that leads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ForwardError {
    /// It came from another controller already.
    #[error("this controller does not lead: the one at {leader} does")]
    NotLeading {
        /// Where the leader is.
        leader: String,
    },
    /// There is nobody to pass it on to.
    #[error(
        "no controller leads right now: one is elected within seconds, so try again in a moment"
    )]
    NoLeader,
    /// What it takes to connect to it is not there: nothing was sent.
    #[error("the way to the leader at {leader} cannot be made: {cause}")]
    NoWay {
        /// Where the leader is.
        leader: String,
        /// What is missing.
        cause: String,
    },
    /// No connection came about: nothing was sent.
    #[error(
        "the controller that leads, at {leader}, cannot be reached from here ({cause}): try again in a moment"
    )]
    Away {
        /// Where the leader is.
        leader: String,
        /// What the system said.
        cause: String,
    },
    /// The leader has it, and does not answer any more.
    #[error(
        "the controller that led, at {leader}, is gone before it answered: it may or may not have happened"
    )]
    Lost {
        /// Where the leader was.
        leader: String,
    },
    /// Too many are under way.
    #[error("{limit} calls are being passed on, the most at a time: try again in a moment")]
    Calls {
        /// The bound.
        limit: usize,
    },
}

/// The way to one leader. Who drops it ends everything that is under way.
#[derive(Debug)]
pub(crate) struct Forwarder {
    leader: String,
    way: Result<Arc<Way>, ForwardError>,
    _end: Option<DropGuard>,
}

#[derive(Debug)]
struct Way {
    address: Address,
    leader: String,
    calls: Pool,
    /// Apart, and few on each connection, because who reads slowly may hold up what shares it.
    readers: Pool,
    ended: CancellationToken,
}

impl Forwarder {
    /// The way to the controller at `leader`. Nothing is sent yet. `tls` is needed where the address says `https`. Call
    /// it on a tokio runtime.
    ///
    /// # Errors
    /// Where TLS cannot be set up.
    pub(crate) fn to(
        leader: &Address,
        tls: Option<ClientTlsConfig>,
    ) -> Result<Self, tonic::transport::Error> {
        let [calls, readers] = endpoints(leader, tls)?;
        let ended = CancellationToken::new();
        let way = Way {
            address: leader.clone(),
            leader: leader.to_string(),
            calls: Pool::new(calls, MOST_FORWARDED, CALLS_EACH),
            readers: Pool::new(readers, super::MOST_FOLLOWERS, READERS_EACH),
            ended: ended.clone(),
        };
        let leader = way.leader.clone();
        Ok(Self { leader, way: Ok(Arc::new(way)), _end: Some(ended.drop_guard()) })
    }

    /// From now on TLS is spoken with this; what is under way goes on as it is.
    ///
    /// # Errors
    /// Where TLS cannot be set up: then nothing changes.
    #[cfg(feature = "etcd")]
    pub(crate) fn renew(&self, tls: ClientTlsConfig) -> Result<(), tonic::transport::Error> {
        if let Ok(way) = &self.way
            && way.address.is_tls()
        {
            let [calls, readers] = endpoints(&way.address, Some(tls))?;
            way.calls.renew(calls);
            way.readers.renew(readers);
        }
        Ok(())
    }

    /// In the place of a way to `leader`, where none can be made: it says why.
    #[cfg(feature = "etcd")]
    pub(crate) fn none(leader: &str, cause: String) -> Self {
        let leader = leader.to_owned();
        let error = ForwardError::NoWay { leader: leader.clone(), cause };
        Self { leader, way: Err(error), _end: None }
    }

    /// Why there is no way, if there is none.
    pub(crate) fn missing(&self) -> Option<&ForwardError> {
        self.way.as_ref().err()
    }

    /// Where the leader is, as a URI.
    pub(crate) fn leader(&self) -> &str {
        &self.leader
    }

    /// Passes a call on, and gives the answer back. What comes out is always an answer: where the leader gave none, a
    /// status that says so.
    pub(crate) fn call(
        &self,
        request: Request<Body>,
    ) -> impl Future<Output = Response<Body>> + Send + 'static + use<> {
        let way = self.way.clone(); // and not this itself: its drop has to end the call
        async move {
            let answer = match way {
                Ok(way) => way.pass_on(request).await,
                Err(missing) => Err(missing.into()),
            };
            answer.unwrap_or_else(Status::into_http)
        }
    }
}

/// For calls, and for readers of logs.
fn endpoints(
    leader: &Address,
    tls: Option<ClientTlsConfig>,
) -> Result<[Endpoint; 2], tonic::transport::Error> {
    let mut endpoint = Endpoint::from(leader.uri().clone())
        .connect_timeout(CONNECT_WITHIN)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_WITHIN)
        .keep_alive_while_idle(true)
        .initial_connection_window_size(WINDOW);
    if let Some(tls) = tls {
        endpoint = endpoint.tls_config(tls)?;
    }
    Ok([WINDOW, WINDOW_OF_A_READER]
        .map(|window| endpoint.clone().initial_stream_window_size(window)))
}

impl Way {
    async fn pass_on(&self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let leader = || self.leader.clone();
        if request.headers().contains_key(FORWARDED) {
            return Err(ForwardError::NotLeading { leader: leader() }.into());
        }
        if self.ended.is_cancelled() {
            return Err(ForwardError::NoLeader.into());
        }
        let rpc = Rpc::from_path(request.uri().path());
        let reads = matches!(rpc, Some(Rpc::ReadLog | Rpc::Backup));
        let pool = if reads { &self.readers } else { &self.calls };
        let place = pool.place()?;
        let mut channel = place.channel();
        let request = onward(request);
        let answer = async { channel.ready().await?.call(request).await };
        let answer = tokio::select! {
            biased;
            () = self.ended.cancelled() => return Err(ForwardError::Lost { leader: leader() }.into()),
            answer = answer => answer,
        };
        let answer = answer.map_err(|error| failed(&error, leader()))?;
        Ok(answer.map(|inner| {
            let ended = Box::pin(self.ended.clone().cancelled_owned());
            Body::new(Answer { inner, ended, over: false, leader: leader(), _place: place })
        }))
    }
}

/// The request as the leader gets it.
fn onward(request: Request<Body>) -> Request<Body> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().cloned().map(Uri::from);
    let mut onward = Request::new(body);
    *onward.method_mut() = parts.method;
    *onward.uri_mut() = path.unwrap_or_default();
    *onward.headers_mut() = parts.headers;
    for name in OF_ONE_CONNECTION {
        onward.headers_mut().remove(name);
    }
    // Ours to say anew: this connection takes trailers, too.
    onward.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
    onward.headers_mut().insert(FORWARDED, HeaderValue::from_static("1"));
    onward
}

/// What came of a call that the connection did not carry.
fn failed(error: &(dyn StdError + 'static), leader: String) -> Status {
    let mut chain = std::iter::successors(Some(error), |&error| error.source());
    if chain.clone().any(|error| error.is::<tonic::TimeoutExpired>()) {
        return Status::cancelled("Timeout expired"); // as the leader says it at the caller's deadline
    }
    if !chain.any(|error| error.is::<tonic::ConnectError>()) {
        return ForwardError::Lost { leader }.into();
    }
    let root = std::iter::successors(Some(error), |&error| error.source()).last();
    ForwardError::Away { leader, cause: root.unwrap_or(error).to_string() }.into()
}

/// An answer's body; it ends with a status of ours where the leader is lost in the middle.
struct Answer {
    inner: Body,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    over: bool,
    leader: String,
    _place: Place,
}

impl Answer {
    fn lost(&mut self) -> Frame<Bytes> {
        self.over = true;
        let status = Status::from(ForwardError::Lost { leader: self.leader.clone() });
        let mut trailers = HeaderMap::new();
        // What cannot be written as headers is left out of them; text and details of ours can.
        let _ = status.add_header(&mut trailers);
        Frame::trailers(trailers)
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.over {
            return Poll::Ready(None);
        }
        if self.ended.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Ok(self.lost())));
        }
        match Pin::new(&mut self.inner).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                self.over = frame.is_trailers();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Ok(self.lost()))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default() // trailers of ours may come at any time
    }
}
