//! What goes with each call until the last of its answer is sent, or nobody waits for it any more: a layer around all
//! services, so that no handler can forget it.

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};
use tonic::{Status, body::Body};
use tower::{Layer, Service};

/// Lets something go with calls.
pub trait Accompany {
    /// What goes with one call; it is dropped when that is over.
    type Companion: Companion;

    /// A call begins. None: nothing goes with this one.
    fn begin<B>(&self, request: &Request<B>) -> Option<Self::Companion>;
}

/// What goes with one call.
pub trait Companion: Send + Unpin + 'static {
    /// Its answer begins.
    fn answered(&mut self, _headers: &HeaderMap) {}

    /// A part of its answer comes, and is passed on.
    fn pass(&mut self, part: Part) -> Part;
}

/// A part of an answer, or what ended it.
pub(super) type Part = Result<Frame<Bytes>, Status>;

/// Lets this go with every call.
#[derive(Clone, Copy, Debug)]
pub struct With<A>(pub A);

impl<S, A: Clone> Layer<S> for With<A> {
    type Service = Accompanied<S, A>;

    fn layer(&self, inner: S) -> Accompanied<S, A> {
        Accompanied { inner, by: self.0.clone() }
    }
}

/// A service whose calls are accompanied.
#[derive(Clone, Debug)]
pub struct Accompanied<S, A> {
    inner: S,
    by: A,
}

impl<S, A, B> Service<Request<B>> for Accompanied<S, A>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    A: Accompany,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let companion = self.by.begin(&request);
        let answer = self.inner.call(request);
        let Some(mut companion) = companion else { return Box::pin(answer) };
        Box::pin(async move {
            let answer = answer.await?;
            companion.answered(answer.headers());
            // What streams is over when its last part is sent.
            Ok(answer.map(|inner| Body::new(Answer { inner, companion })))
        })
    }
}

/// An answer's body.
#[derive(Debug)]
struct Answer<C> {
    inner: Body,
    companion: C,
}

impl<C: Companion> http_body::Body for Answer<C> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Part>> {
        let part = ready!(Pin::new(&mut self.inner).poll_frame(context));
        Poll::Ready(part.map(|part| self.companion.pass(part)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
