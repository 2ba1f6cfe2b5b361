//! How long each RPC took, and how it ended: a layer around all services, so that no handler can forget it.

use super::door::Rpc;
use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use octavius_protocol::code_name;
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::time::Instant;
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};

/// Measures every call.
#[derive(Clone, Copy, Debug, Default)]
pub struct MeterLayer;

impl<S> Layer<S> for MeterLayer {
    type Service = Meter<S>;

    fn layer(&self, inner: S) -> Meter<S> {
        Meter { inner }
    }
}

/// Measures every call of the service inside.
#[derive(Clone, Debug)]
pub struct Meter<S> {
    inner: S,
}

impl<S, B> Service<Request<B>> for Meter<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut call = Call::begin(request.uri().path());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            call.note(answer.headers());
            // What streams is over when its last part is sent.
            Ok(answer.map(|inner| Body::new(Measured { inner, call })))
        })
    }
}

/// One call; recorded when it is dropped.
#[derive(Debug)]
struct Call {
    method: &'static str,
    began: Instant,
    /// None: nobody waited for its end.
    code: Option<Code>,
}

impl Call {
    fn begin(path: &str) -> Self {
        // Paths are the callers' own, and would never end as labels.
        let method = Rpc::from_path(path).map_or("other", Rpc::name);
        Self { method, began: Instant::now(), code: None }
    }

    fn note(&mut self, headers: &HeaderMap) {
        if let Some(status) = headers.get(Status::GRPC_STATUS) {
            self.code = Some(Code::from_bytes(status.as_bytes()));
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let code = code_name(self.code.unwrap_or(Code::Cancelled));
        metrics::histogram!("octavius_rpc_seconds", "method" => self.method, "code" => code)
            .record(self.began.elapsed());
    }
}

/// An answer's body that tells when it ends, and how.
#[derive(Debug)]
struct Measured {
    inner: Body,
    call: Call,
}

impl http_body::Body for Measured {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    self.call.note(trailers);
                }
            }
            Some(Err(status)) => self.call.code = Some(status.code()),
            None => {}
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
