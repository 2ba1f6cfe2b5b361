//! Who shows a token of an issuer with a key that is not known waits until that was asked for it: after an issuer has
//! changed its key, the first who shows a token with the new one is let in as those after them are.
//!
//! A layer around all services, so that the door itself never waits. It is outside of the bound of calls, and has one of
//! its own: whoever invents keys holds up nobody. Who cannot wait, or has waited for long, is told to ask again, and not
//! that there is no such key. A controller that passes calls on leaves the waiting to the one that leads.

use super::door::{AUTHORIZATION, DoorError, bearer};
use crate::{
    access::issuer::{IssuerView, Issuers, NotIssued, has_form},
    server::roles::Roles,
};
use futures::{StreamExt as _, stream::FuturesUnordered};
use http::{Request, Response};
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::sync::Semaphore;
use tonic::{Status, body::Body};
use tower::{Layer, Service};

/// How many calls wait at a time; further ones are refused at once.
pub(crate) const MOST_WAITING: usize = 1_000;

/// Has calls wait for keys.
#[derive(Clone, Debug)]
pub struct KeysLayer {
    issuers: Issuers,
    roles: Roles,
    waiting: Arc<Semaphore>,
}

impl KeysLayer {
    /// A layer that waits for the keys of these issuers, where this controller leads.
    pub(crate) fn new(issuers: Issuers, roles: Roles) -> Self {
        Self { issuers, roles, waiting: Arc::new(Semaphore::new(MOST_WAITING)) }
    }

    /// Those who are to be waited for, and the token that is shown.
    fn shown<B>(&self, request: &Request<B>) -> Option<(Vec<IssuerView>, String)> {
        if self.issuers.is_empty() {
            return None;
        }
        let token = bearer(request.headers().get(AUTHORIZATION)?.as_bytes())?;
        if !has_form(token) || self.roles.leads().is_err() {
            return None;
        }
        let issuers = self.issuers.to_be_asked(token);
        (!issuers.is_empty()).then(|| (issuers, token.to_owned()))
    }
}

impl<S> Layer<S> for KeysLayer {
    type Service = Waiting<S>;

    fn layer(&self, inner: S) -> Waiting<S> {
        Waiting { inner, layer: self.clone() }
    }
}

/// A service that is called once the key of the token is known, or is known to be nobody's.
#[derive(Clone, Debug)]
pub struct Waiting<S> {
    inner: S,
    layer: KeysLayer,
}

impl<S, B> Service<Request<B>> for Waiting<S>
where
    S: Service<Request<B>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Some((issuers, token)) = self.layer.shown(&request) else {
            return Box::pin(self.inner.call(request));
        };
        let waiting = self.layer.waiting.clone();
        // The one that is ready is called, and its clone gets ready for the next call.
        let next = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, next);
        Box::pin(async move {
            let settled = match waiting.try_acquire() {
                Ok(_place) => settled(&issuers, &token).await,
                Err(_) => issuers.first().map_or(Ok(()), |issuer| Err(issuer.not_settled())),
            };
            match settled {
                Ok(()) => ready.call(request).await,
                Err(why) => Ok(Status::from(DoorError::from(why)).into_http()),
            }
        })
    }
}

/// Waits until one of these has the key of a token, or all were asked for it.
async fn settled(issuers: &[IssuerView], token: &str) -> Result<(), NotIssued> {
    let mut all: FuturesUnordered<_> = issuers.iter().map(|issuer| issuer.settled(token)).collect();
    let mut late = Ok(());
    while let Some(settled) = all.next().await {
        if issuers.iter().any(|issuer| issuer.knows(token)) {
            return Ok(());
        }
        late = late.and(settled);
    }
    late
}
