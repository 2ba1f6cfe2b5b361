//! One unary call: who asks, until when, and what is asked again.

use super::Client;
use crate::{
    error::{Error, Silence},
    pause::{self, Pauses},
    settings::Settings,
};
use secrecy::ExposeSecret;
use std::{error::Error as _, future::Future, time::Duration};
use tokio::time::Instant;
use tonic::{
    Code, Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    service::Interceptor,
};

/// What goes with each call: who asks, and what proves it.
#[derive(Clone)]
pub(crate) struct Credentials {
    user: MetadataValue<Ascii>,
    bearer: Option<MetadataValue<Ascii>>,
}

impl Credentials {
    /// None where a value cannot be sent.
    pub(super) fn new(settings: &Settings) -> Option<Self> {
        let user = settings.email.as_deref().unwrap_or("anonymous").parse().ok()?;
        let bearer = match &settings.token {
            Some(token) => {
                let mut bearer: MetadataValue<Ascii> =
                    format!("Bearer {}", token.expose_secret()).parse().ok()?;
                bearer.set_sensitive(true);
                Some(bearer)
            }
            None => None,
        };
        Some(Self { user, bearer })
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("octavius-user", self.user.clone());
        if let Some(bearer) = &self.bearer {
            request.metadata_mut().insert("authorization", bearer.clone());
        }
        Ok(request)
    }
}

/// When a call that nobody answered is made again, until its time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Never, once it was sent: done twice, it would be answered otherwise the second time.
    Never,
    /// Where a controller is there: it was busy starting an actor again, or went away in the middle, and the next one
    /// may come. Where there was none from the beginning, the caller wants to know at once.
    IfBroken,
    /// Where a controller says that it cannot answer at present: a second try may not find what the first one did.
    IfUnavailable,
    /// Also where there is none: what is asked for should come about.
    Always,
}

impl Repeat {
    /// Whether a call that met with `silence` is made again; `met`: a try before this one met a controller.
    fn covers(self, silence: &Silence, met: bool) -> bool {
        match silence {
            // What was not sent did not happen, whatever it is.
            Silence::NoConnection(_) => met || self == Repeat::Always,
            _ if self == Repeat::Never => false,
            Silence::Unavailable(_) => true,
            Silence::Broken(_) => self != Repeat::IfUnavailable,
            Silence::Late(_) => false,
        }
    }
}

/// Whether a call ended before anything of it was sent: its connection was about to be closed when it came. A controller
/// that ends tells so on each of its connections.
fn was_not_sent(status: &Status) -> bool {
    let mut chain = std::iter::successors(status.source(), |&error| error.source());
    chain.any(|error| error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled))
}

impl Client {
    /// Sends `message`, again where `repeat` says so, and answers within the client's time-out.
    pub(super) async fn call<M: Clone, T, F>(
        &self,
        message: M,
        repeat: Repeat,
        send: impl Fn(Request<M>) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        self.call_within(self.timeout, message, repeat, send).await
    }

    /// The same within another time, for a call that waits on the other side.
    pub(super) async fn call_within<M: Clone, T, F>(
        &self,
        within: Duration,
        message: M,
        repeat: Repeat,
        send: impl Fn(Request<M>) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let deadline = Instant::now() + within;
        let mut pauses = Pauses::new(Duration::from_millis(100), Duration::from_secs(2));
        // What a try before this one came to: says more than that the time is over.
        let mut before = None;
        loop {
            let mut request = Request::new(message.clone());
            request.set_timeout(deadline.saturating_duration_since(Instant::now()));
            let status = match tokio::time::timeout_at(deadline, send(request)).await {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded(""),
            };
            let error = Error::from_status(&self.address, &status, within);
            let hint = pause::hint(&status);
            let own = pauses.next();
            let pause =
                hint.map_or(own, |hint| own.max(pause::hinted(hint, rand::random_range(0.0..1.0))));
            match &error {
                Error::Unanswered { silence: Silence::Late(_), .. } => {
                    return Err(before.unwrap_or(error));
                }
                Error::Unanswered { silence, .. }
                    if (repeat.covers(silence, before.is_some()) || was_not_sent(&status))
                        && Instant::now() + pause < deadline =>
                {
                    tokio::time::sleep(pause).await;
                }
                // What was refused for want of room certainly did not happen.
                Error::Refused(refusal)
                    if refusal.code == Code::ResourceExhausted
                        && hint.is_some_and(|hint| hint <= Client::LONGEST_TURN)
                        && Instant::now() + pause < deadline =>
                {
                    tokio::time::sleep(pause).await;
                }
                _ => return Err(error),
            }
            before = Some(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_happen_is_asked_again_and_what_may_have_happened_only_where_that_does_no_harm()
    {
        use Repeat::{Always, IfBroken, IfUnavailable, Never};
        let text = || "x".to_owned();
        let again = |silence: Silence, met| {
            [Never, IfUnavailable, IfBroken, Always].map(|repeat| repeat.covers(&silence, met))
        };
        for met in [false, true] {
            assert_eq!(again(Silence::NoConnection(text()), met), [met, met, met, true]);
            assert_eq!(again(Silence::Broken(text()), met), [false, false, true, true]);
            assert_eq!(again(Silence::Unavailable(text()), met), [false, true, true, true]);
            assert_eq!(again(Silence::Late(Duration::ZERO), met), [false; 4]);
        }
    }
}
