//! One unary call: who asks, until when, and what is asked again.

use super::Client;
use crate::{
    error::{self, Error, Silence},
    pause::{self, Pauses},
    settings::Settings,
};
use octavius_protocol::UNCONFIRMED;
use secrecy::ExposeSecret;
use std::{error::Error as _, future::Future, time::Duration};
use tokio::time::Instant;
use tonic::{
    Code, Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    service::Interceptor,
};

/// A call is not made again with less time than this: cut off before anything came of it, it would only tell less than
/// the try before.
const SHORTEST_TRY: Duration = Duration::from_millis(200);

/// What goes with each call: who asks, and what proves it.
#[derive(Clone)]
pub(crate) struct Credentials {
    user: MetadataValue<Ascii>,
    bearer: Option<MetadataValue<Ascii>>,
}

impl Credentials {
    /// None where a value cannot be sent.
    pub(super) fn new(settings: &Settings) -> Option<Self> {
        let user = settings.user().parse().ok()?;
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
    /// Where a controller is there, and nothing was done: done twice, it would be answered otherwise the second time.
    IfNothingDone,
    /// Where a controller is there: it was busy starting an actor again, or went away in the middle, and the next one
    /// may come. Where there was none from the beginning, the caller wants to know at once.
    IfBroken,
    /// Also where there is none: what is asked for should come about.
    Always,
}

impl Repeat {
    /// Whether a call that met with `silence` is made again; `open`: it may have been done; `met`: a try before this
    /// one met a controller.
    fn covers(self, silence: &Silence, open: bool, met: bool) -> bool {
        match silence {
            Silence::NoConnection(_) => met || self == Repeat::Always,
            Silence::Broken(_) | Silence::Unavailable(_) => !open || self != Repeat::IfNothingDone,
            Silence::Late(_) | Silence::Tls(_) => false,
        }
    }
}

/// Whether what was asked for may have been done, although `status`, which is `error`, is all that came of it.
fn is_open(error: &Error, status: &Status) -> bool {
    let Error::Unanswered { silence, .. } = error else { return false };
    match silence {
        Silence::NoConnection(_) | Silence::Tls(_) => false,
        Silence::Broken(_) => !was_not_sent(status),
        // What stands between here and the controller does not know what that did.
        Silence::Unavailable(_) => error::reason(status).is_none_or(|why| why == UNCONFIRMED),
        Silence::Late(_) => true,
    }
}

/// What the tries before the last one came to.
#[derive(Debug, Default)]
struct Tried {
    /// One met a controller.
    met: bool,
    /// The last one that left open what became of it, else the last one; and whether it did.
    before: Option<(Error, bool)>,
}

impl Tried {
    fn add(&mut self, error: Error, open: bool) {
        let nobody = matches!(error, Error::Unanswered { silence: Silence::NoConnection(_), .. });
        self.met |= !nobody;
        if open || !matches!(self.before, Some((_, true))) {
            self.before = Some((error, open));
        }
    }

    /// What the caller is told, where the last try came to `error`: that nothing was done only if that is certain of
    /// each.
    fn told(self, error: Error, open: bool) -> Error {
        let Some((before, may_be_done)) = self.before else { return error };
        let late = matches!(error, Error::Unanswered { silence: Silence::Late(_), .. });
        match &error {
            // It leaves as much open, and says more than that the time is over.
            _ if late && may_be_done => before,
            // It knows nothing of the try before.
            Error::Refused(refusal) if refusal.passes() && may_be_done => before,
            Error::Unanswered { .. } if late || (may_be_done && !open) => error.after(&before),
            _ => error,
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
        let mut tried = Tried::default();
        loop {
            let mut request = Request::new(message.clone());
            request.set_timeout(deadline.saturating_duration_since(Instant::now()));
            let status = match tokio::time::timeout_at(deadline, send(request)).await {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) => status,
                Err(_) => {
                    self.reach.leave().await; // it may be frozen: another one is asked next time
                    Status::deadline_exceeded("")
                }
            };
            let error = Error::from_status(&self.address, &status, within);
            let open = is_open(&error, &status);
            let hint = pause::hint(&status);
            let own = pauses.next();
            let pause =
                hint.map_or(own, |hint| own.max(pause::hinted(hint, rand::random_range(0.0..1.0))));
            let again = match &error {
                Error::Unanswered { silence, .. } => repeat.covers(silence, open, tried.met),
                // What was refused for want of room certainly did not happen.
                Error::Refused(refusal) if refusal.code == Code::ResourceExhausted => {
                    hint.is_some_and(|hint| hint <= Client::LONGEST_TURN)
                }
                _ => false,
            };
            if !again || Instant::now() + pause + SHORTEST_TRY > deadline {
                return Err(tried.told(error, open));
            }
            tokio::time::sleep(pause).await;
            tried.add(error, open);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_happen_is_asked_again_and_what_may_have_happened_only_where_that_does_no_harm()
    {
        use Repeat::{Always, IfBroken, IfNothingDone};
        let text = || "x".to_owned();
        let again = |silence: Silence, open, met| {
            [IfNothingDone, IfBroken, Always].map(|repeat| repeat.covers(&silence, open, met))
        };
        for met in [false, true] {
            assert_eq!(again(Silence::NoConnection(text()), false, met), [met, met, true]);
            assert_eq!(again(Silence::Late(Duration::ZERO), true, met), [false; 3]);
            assert_eq!(again(Silence::Tls(text()), false, met), [false; 3]);
            for silence in [Silence::Broken(text()), Silence::Unavailable(text())] {
                assert_eq!(again(silence.clone(), true, met), [false, true, true]);
                assert_eq!(again(silence, false, met), [true; 3]);
            }
        }
    }

    #[test]
    fn a_controller_was_met_unless_no_connection_came_about() {
        let of = |silence| Error::Unanswered { address: "a".to_owned(), silence, earlier: None };
        let mut tried = Tried::default();
        tried.add(of(Silence::NoConnection("x".to_owned())), false);
        assert!(!tried.met && tried.before.is_some());
        tried.add(of(Silence::Broken("x".to_owned())), true);
        tried.add(of(Silence::NoConnection("x".to_owned())), false);
        assert!(tried.met && matches!(tried.before, Some((_, true))));
    }
}
