//! How much of requests is held before anybody has looked at them: a layer around all services, because a message is
//! received and decoded whole before its handler is called, and so before any actor's bound.
//!
//! Two bounds. Calls that are not answered yet: [`MOST_CALLS`]. Bytes that came and are not decoded yet, of all
//! connections together: [`MOST_BYTES`]; what a connection itself may buffer is its window. A call over one of them is
//! refused with `RESOURCE_EXHAUSTED`; one whose message says that it is too large, at once with `INVALID_ARGUMENT`; one
//! of whose message nothing comes for [`NOTHING_FOR`], or not all within [`MESSAGE_WITHIN`], with `DEADLINE_EXCEEDED`.
//! Readers of logs are counted here only until their stream begins.

use super::{door::Rpc, status::RequestError};
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use octavius_protocol::MAX_MESSAGE;
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep_until},
};
use tonic::{Status, body::Body};
use tower::{Layer, Service};

/// The most calls that are not answered yet. 20,000 park for work, for orders and for ends each, 10,000 readers of
/// logs begin, and there is room for 28,304 that do not wait for anything.
pub const MOST_CALLS: usize = 98_304;
/// The most bytes of requests that came and are not decoded yet: some fifty messages of the largest size, and a hundred
/// thousand of the usual ones.
pub const MOST_BYTES: usize = 256 << 20;
/// For how long nothing of a message may come. Else a call that sends none would keep its place for ever.
pub(crate) const NOTHING_FOR: Duration = Duration::from_secs(20);
/// For how long a message may take to come, however steadily it does: the largest over a line of 350 kbit/s, and what
/// an executor appends over one of 70.
pub(crate) const MESSAGE_WITHIN: Duration = Duration::from_secs(120);

/// Bounds the calls, and the bytes, of all services inside together.
#[derive(Clone, Debug)]
pub struct BoundLayer {
    bounds: Bounds,
}

#[derive(Clone, Debug)]
struct Bounds {
    calls: Arc<Semaphore>,
    most_calls: usize,
    bytes: Arc<Semaphore>,
    most_bytes: usize,
}

impl BoundLayer {
    /// A layer that lets in so many calls, and holds so many bytes that are not decoded yet.
    pub fn new(most_calls: usize, most_bytes: usize) -> Self {
        let calls = Arc::new(Semaphore::new(most_calls));
        let bytes = Arc::new(Semaphore::new(most_bytes));
        Self { bounds: Bounds { calls, most_calls, bytes, most_bytes } }
    }
}

impl<S> Layer<S> for BoundLayer {
    type Service = Bound<S>;

    fn layer(&self, inner: S) -> Bound<S> {
        Bound { inner, bounds: self.bounds.clone() }
    }
}

/// Bounds the calls of the service inside.
#[derive(Clone, Debug)]
pub struct Bound<S> {
    inner: S,
    bounds: Bounds,
}

impl<S> Service<Request<Body>> for Bound<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Ok(place) = self.bounds.calls.clone().try_acquire_owned() else {
            let refused = Status::from(RequestError::Calls { limit: self.bounds.most_calls });
            return Box::pin(std::future::ready(Ok(refused.into_http())));
        };
        let bounds = self.bounds.clone();
        let in_time = Rpc::from_path(request.uri().path()).is_some();
        let (held, head) = (None, Head::default());
        let request = request
            .map(|inner| Body::new(Counted { inner, bounds, held, head, in_time, wait: None }));
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            drop(place);
            answer
        })
    }
}

/// A request's body, which is dropped when its message is decoded.
#[derive(Debug)]
struct Counted {
    inner: Body,
    bounds: Bounds,
    /// As many as it has brought so far.
    held: Option<OwnedSemaphorePermit>,
    head: Head,
    /// Whether it is one message, and not a conversation.
    in_time: bool,
    /// Once it is waited for.
    wait: Option<Wait>,
}

/// Until when a message is waited for.
#[derive(Debug)]
struct Wait {
    /// For what comes next of it.
    next: Pin<Box<Sleep>>,
    /// For all of it.
    whole: Instant,
}

impl Wait {
    fn begin() -> Self {
        let now = Instant::now();
        Self { next: Box::pin(sleep_until(now + NOTHING_FOR)), whole: now + MESSAGE_WITHIN }
    }

    /// Something of it came.
    fn goes_on(&mut self) {
        let next = Instant::now() + NOTHING_FOR;
        self.next.as_mut().reset(next.min(self.whole));
    }

    /// Whether that is over, and why.
    fn is_over(&mut self, context: &mut Context<'_>) -> Poll<RequestError> {
        ready!(self.next.as_mut().poll(context));
        Poll::Ready(match self.next.deadline() < self.whole {
            true => RequestError::Stopped { after: NOTHING_FOR },
            false => RequestError::Slow { within: MESSAGE_WITHIN },
        })
    }
}

/// What comes before a message: a byte that says whether it is compressed, and its size in four.
#[derive(Debug, Default)]
struct Head {
    bytes: [u8; 5],
    came: usize,
}

impl Head {
    /// Looks at what comes next of a body. Once the size of its first message is known, it may be too large.
    fn take(&mut self, data: &[u8]) -> Result<(), RequestError> {
        for byte in data.iter().take(self.bytes.len() - self.came) {
            self.bytes[self.came] = *byte;
            self.came += 1;
        }
        let [_, size @ ..] = self.bytes;
        let size = u32::from_be_bytes(size) as usize;
        if self.came == self.bytes.len() && size > MAX_MESSAGE {
            return Err(RequestError::TooLarge { size, limit: MAX_MESSAGE });
        }
        Ok(())
    }
}

impl Counted {
    fn count(&mut self, bytes: usize) -> Result<(), RequestError> {
        let full = RequestError::Bytes { limit: self.bounds.most_bytes };
        let Ok(bytes) = u32::try_from(bytes) else { return Err(full) };
        let more = self.bounds.bytes.clone().try_acquire_many_owned(bytes).map_err(|_| full)?;
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        Ok(())
    }
}

impl http_body::Body for Counted {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) else {
            if !self.in_time {
                return Poll::Pending;
            }
            let over = self.wait.get_or_insert_with(Wait::begin).is_over(context);
            return over.map(|refused| Some(Err(refused.into())));
        };
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
            && !data.is_empty()
        {
            if let Some(wait) = &mut self.wait {
                wait.goes_on();
            }
            let size = data.len();
            let looked = self.head.take(data);
            if let Err(refused) = looked.and_then(|()| self.count(size)) {
                return Poll::Ready(Some(Err(refused.into())));
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{convert::Infallible, future::poll_fn};
    use tokio::{
        sync::{mpsc, watch},
        time::sleep,
    };
    use tonic::Code;
    use tower::{ServiceExt, service_fn};

    fn code(answer: &Response<Body>) -> Option<Code> {
        let status = answer.headers().get(Status::GRPC_STATUS)?;
        Some(Code::from_bytes(status.as_bytes()))
    }

    /// A body of which so many bytes come, one after each pause, and then nothing.
    struct Trickle {
        left: u32,
        pause: Duration,
        next: Pin<Box<Sleep>>,
    }

    impl Trickle {
        fn body(left: u32, pause: Duration) -> Body {
            Body::new(Self { left, pause, next: Box::pin(sleep(pause)) })
        }
    }

    impl http_body::Body for Trickle {
        type Data = bytes::Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
            if self.left == 0 {
                return Poll::Pending;
            }
            ready!(self.next.as_mut().poll(context));
            self.left -= 1;
            let pause = self.pause;
            self.next.set(sleep(pause));
            Poll::Ready(Some(Ok(Frame::data(bytes::Bytes::from_static(b"\0")))))
        }
    }

    #[test]
    fn the_size_of_a_message_is_read_over_any_cuts() {
        let large = (MAX_MESSAGE as u32 + 1).to_be_bytes();
        let fits = (MAX_MESSAGE as u32).to_be_bytes();
        for cut in 0..=5 {
            let taken = |size: [u8; 4]| {
                let [a, b, c, d] = size;
                let bytes = [0, a, b, c, d, 0xff, 0xff, 0xff, 0xff];
                let mut head = Head::default();
                head.take(&bytes[..cut]).and_then(|()| head.take(&bytes[cut..]))
            };
            assert_eq!(taken(fits), Ok(()));
            let refused = RequestError::TooLarge { size: MAX_MESSAGE + 1, limit: MAX_MESSAGE };
            assert_eq!(taken(large), Err(refused));
        }
    }

    #[tokio::test]
    async fn a_call_over_the_bound_is_refused_until_another_one_is_answered() {
        let (answer, answered) = watch::channel(false);
        let slow = service_fn(move |_: Request<Body>| {
            let mut answered = answered.clone();
            async move {
                let _ = answered.wait_for(|answered| *answered).await;
                Ok::<_, Infallible>(Response::new(Body::default()))
            }
        });
        let service = BoundLayer::new(2, 1_000).layer(slow);
        let call = || Box::pin(service.clone().oneshot(Request::new(Body::default())));
        let (mut first, mut second) = (call(), call());
        assert!(futures::poll!(&mut first).is_pending());
        assert!(futures::poll!(&mut second).is_pending());
        assert_eq!(code(&call().await.unwrap()), Some(Code::ResourceExhausted));
        // A caller who leaves makes room, too.
        drop(second);
        let mut third = call();
        assert!(futures::poll!(&mut third).is_pending());
        answer.send_replace(true);
        assert_eq!(code(&first.await.unwrap()), None);
        assert_eq!(code(&third.await.unwrap()), None);
        assert_eq!(code(&call().await.unwrap()), None);
    }

    /// What comes of a call whose message is whole with so many bytes, and after how long; none: it is still waited for
    /// when it should long be over.
    async fn received(path: &str, whole: u32, body: Body) -> Option<(Option<Status>, Duration)> {
        let receiving = service_fn(move |request: Request<Body>| async move {
            let mut body = request.into_body();
            for _ in 0..whole {
                let frame =
                    poll_fn(|context| http_body::Body::poll_frame(Pin::new(&mut body), context));
                if let Err(refused) = frame.await.unwrap() {
                    return Ok(refused.into_http());
                }
            }
            Ok::<_, Infallible>(Response::new(Body::default()))
        });
        let service = BoundLayer::new(2, 1_000).layer(receiving);
        let request = Request::builder().uri(path).body(body).unwrap();
        let began = Instant::now();
        let answer = tokio::time::timeout(3 * MESSAGE_WITHIN, service.oneshot(request)).await;
        let answer = answer.ok()?.unwrap();
        Some((Status::from_header_map(answer.headers()), began.elapsed()))
    }

    const OURS: &str = "/octavius.v1.Jobs/ListJobs";

    #[tokio::test(start_paused = true)]
    async fn a_message_that_comes_steadily_is_waited_for_and_one_that_stops_is_not() {
        let pause = NOTHING_FOR * 3 / 4;
        let (refused, after) = received(OURS, 6, Trickle::body(6, pause)).await.unwrap();
        assert!(refused.is_none(), "{refused:?}");
        assert_eq!(after, 6 * pause);
        for came in [0, 3] {
            let (refused, after) = received(OURS, 6, Trickle::body(came, pause)).await.unwrap();
            let refused = refused.unwrap();
            assert_eq!(refused.code(), Code::DeadlineExceeded);
            assert!(refused.message().contains("for 20s"), "{refused:?}");
            assert_eq!(after, came * pause + NOTHING_FOR);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_comes_for_ever_is_refused_and_a_conversation_is_not() {
        let trickle = || Trickle::body(1_000_000, NOTHING_FOR / 10);
        let (refused, after) = received(OURS, 1_000_000, trickle()).await.unwrap();
        let refused = refused.unwrap();
        assert_eq!(refused.code(), Code::DeadlineExceeded);
        assert!(refused.message().contains("within 120s"), "{refused:?}");
        assert_eq!(after, MESSAGE_WITHIN);
        let conversation = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
        assert!(received(conversation, 1_000_000, trickle()).await.is_none());
        assert!(received(conversation, 1, Trickle::body(0, NOTHING_FOR)).await.is_none());
    }

    #[tokio::test]
    async fn bytes_over_the_bound_are_refused_until_others_are_decoded() {
        let (bodies, mut received) = mpsc::channel(8);
        let receiving = service_fn(move |request: Request<Body>| {
            let bodies = bodies.clone();
            async move {
                let mut body = request.into_body();
                let frame =
                    poll_fn(|context| http_body::Body::poll_frame(Pin::new(&mut body), context));
                let came = frame.await.unwrap().map(|frame| frame.into_data().unwrap().len());
                bodies.send(body).await.unwrap();
                Ok::<_, Infallible>(match came {
                    Ok(_) => Response::new(Body::default()),
                    Err(status) => status.into_http(),
                })
            }
        });
        let service = BoundLayer::new(100, 100).layer(receiving);
        let call =
            |size: usize| service.clone().oneshot(Request::new(Body::new("\0".repeat(size))));
        assert_eq!(code(&call(80).await.unwrap()), None);
        let first = received.recv().await.unwrap();
        assert_eq!(code(&call(21).await.unwrap()), Some(Code::ResourceExhausted));
        assert_eq!(code(&call(20).await.unwrap()), None);
        drop((first, received.recv().await, received.recv().await));
        assert_eq!(code(&call(100).await.unwrap()), None);
        assert_eq!(code(&call(101).await.unwrap()), Some(Code::ResourceExhausted));
    }
}
