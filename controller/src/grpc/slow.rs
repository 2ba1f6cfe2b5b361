//! Who shows a wrong token waits for the answer, the longer the more of them came from the same address.
//!
//! Right tokens are never held up, whatever others at the same address do: nobody is locked out by somebody else's
//! mistake. Nobody guesses 256 random bits either; what is kept small is what guessing, or an executor whose token was
//! revoked, costs everybody else. A layer around all services, so that no handler can forget it.

use super::Peer;
use http::{Request, Response};
use quick_cache::sync::Cache;
use std::{
    net::{IpAddr, Ipv6Addr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};

/// How long the answer to the first wrong token takes; that to each further one takes twice as long.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest that it takes.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// After so long without a wrong one it begins anew.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);
/// Of how many addresses it is known at a time.
const MOST_ADDRESSES: usize = 4_096;
/// How many answers wait at a time; further ones go at once.
const MOST_WAITING: usize = 1_000;

/// What is known of one address.
#[derive(Clone, Copy, Debug)]
struct Wrong {
    count: u32,
    last: Instant,
}

/// What is known of wrong tokens. Clones share it.
#[derive(Clone, Debug)]
pub struct SlowLayer {
    wrong: Arc<Cache<IpAddr, Wrong>>,
    waiting: Arc<Semaphore>,
}

impl Default for SlowLayer {
    fn default() -> Self {
        let wrong = Arc::new(Cache::new(MOST_ADDRESSES));
        Self { wrong, waiting: Arc::new(Semaphore::new(MOST_WAITING)) }
    }
}

impl SlowLayer {
    /// How long the answer to a wrong token from this address takes.
    fn pause(&self, from: IpAddr) -> Duration {
        let (from, now) = (network(from), Instant::now());
        let known = self.wrong.get(&from);
        let before = known.filter(|known| now.duration_since(known.last) < FORGOTTEN_AFTER);
        let count = before.map_or(0, |known| known.count);
        self.wrong.insert(from, Wrong { count: count.saturating_add(1), last: now });
        FIRST_PAUSE.saturating_mul(1 << count.min(16)).min(LONGEST_PAUSE)
    }
}

/// Of IPv6 one has as many addresses as one likes.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address => address,
    }
}

impl<S> Layer<S> for SlowLayer {
    type Service = Slow<S>;

    fn layer(&self, inner: S) -> Slow<S> {
        Slow { inner, layer: self.clone() }
    }
}

/// A service whose refusals of tokens come slowly.
#[derive(Clone, Debug)]
pub struct Slow<S> {
    inner: S,
    layer: SlowLayer,
}

impl<S, B> Service<Request<B>> for Slow<S>
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
        let from = request.extensions().get::<Peer>().and_then(Peer::address);
        let (layer, answer) = (self.layer.clone(), self.inner.call(request));
        Box::pin(async move {
            let answer = answer.await?;
            let code = answer.headers().get(Status::GRPC_STATUS);
            let is_wrong =
                code.is_some_and(|code| Code::from_bytes(code.as_bytes()) == Code::Unauthenticated);
            if let Some(from) = from.filter(|_| is_wrong) {
                let pause = layer.pause(from);
                if let Ok(_place) = layer.waiting.try_acquire() {
                    sleep(pause).await;
                }
            }
            Ok(answer)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use tower::{ServiceExt, service_fn};

    fn at(address: &str) -> Peer {
        Peer::of(Arc::default(), address.parse().unwrap())
    }

    async fn takes(layer: &SlowLayer, from: &Peer, code: Code) -> Duration {
        let answering = service_fn(move |_: Request<Body>| async move {
            Ok::<_, Infallible>(Status::new(code, "").into_http::<Body>())
        });
        let mut request = Request::new(Body::default());
        request.extensions_mut().insert(from.clone());
        let began = Instant::now();
        layer.layer(answering).oneshot(request).await.unwrap();
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn wrong_tokens_are_answered_ever_more_slowly_and_right_ones_at_once() {
        let layer = SlowLayer::default();
        let (guesser, neighbour) = (at("192.0.2.7"), at("192.0.2.8"));
        let mut last = Duration::ZERO;
        for tries in 1..=12 {
            let took = takes(&layer, &guesser, Code::Unauthenticated).await;
            assert!(took > last || took >= LONGEST_PAUSE, "{tries}: {took:?} after {last:?}");
            last = took;
        }
        assert!(last >= LONGEST_PAUSE && last < LONGEST_PAUSE * 2, "{last:?}");
        for code in [Code::Ok, Code::NotFound, Code::PermissionDenied] {
            assert_eq!(takes(&layer, &guesser, code).await, Duration::ZERO);
        }
        let neighbours = takes(&layer, &neighbour, Code::Unauthenticated).await;
        assert!(neighbours < FIRST_PAUSE * 2, "{neighbours:?}");
        tokio::time::advance(FORGOTTEN_AFTER).await;
        let again = takes(&layer, &guesser, Code::Unauthenticated).await;
        assert!(again < FIRST_PAUSE * 2, "{again:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_known_is_bounded_and_one_network_of_ipv6_is_one_address() {
        let layer = SlowLayer::default();
        for number in 0..10 * MOST_ADDRESSES as u32 {
            layer.pause(IpAddr::from(number.to_be_bytes()));
        }
        // It is kept in several parts, each of which rounds up.
        assert!(layer.wrong.len() <= 2 * MOST_ADDRESSES, "{}", layer.wrong.len());
        let layer = SlowLayer::default();
        let pauses = ["2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::", "2001:db8:0:1::"]
            .map(|address| layer.pause(address.parse().unwrap()));
        assert_eq!(pauses, [1, 2, 4, 1].map(|times| FIRST_PAUSE * times));
    }

    #[tokio::test(start_paused = true)]
    async fn answers_that_wait_are_bounded_and_further_ones_go_at_once() {
        let layer = SlowLayer::default();
        let _all = layer.waiting.clone().try_acquire_many_owned(MOST_WAITING as u32).unwrap();
        let guesser = at("192.0.2.7");
        assert_eq!(takes(&layer, &guesser, Code::Unauthenticated).await, Duration::ZERO);
    }
}
