//! Logins: made anew where etcd takes the old one no more, and not tried again and again where it refuses them.
//!
//! A login runs out, is forgotten by a member that restarts, or is older than the last change of any user, where etcd
//! signs what it gives out. That costs the call one more try, and the connection one login, however many calls wait
//! for it. A password that was changed is a matter for a person: to look at a wrong one costs etcd as much as to look
//! at a right one, so that all connections of a controller share the pauses between two tries.

use super::{
    dial::{Connected, Dialer},
    errors,
};
use crate::{pauses::Pauses, store::backend::OpenError};
use etcd_client::{Client, Error};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::{
    sync::{Mutex, watch},
    time::Instant,
};
use tonic::Status;

/// The pause after a refusal; each further one is twice as long, up to the other.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The logins of one connection.
#[derive(Debug, Default)]
pub(super) struct Logins {
    /// How many were made since the first.
    made: AtomicU64,
    making: Mutex<()>,
}

/// What etcd said when it refused us, until it lets us in. One for all connections of a controller.
#[derive(Clone, Debug, Default)]
pub(super) struct Refusals(Arc<watch::Sender<Option<Refusal>>>);

#[derive(Clone, Debug)]
struct Refusal {
    place: String,
    why: String,
    /// Nothing is tried before.
    until: Instant,
    pauses: Pauses,
}

impl Refusal {
    fn error(&self) -> OpenError {
        OpenError::Denied { place: self.place.clone(), why: self.why.clone() }
    }
}

impl Refusals {
    /// The last one that no success followed.
    pub(super) fn last(&self) -> Option<OpenError> {
        self.0.borrow().as_ref().map(Refusal::error)
    }

    /// Whether to try now, which may take `within`: nobody else does meanwhile. Else why it is too early.
    pub(super) fn may_try(&self, within: Duration) -> Result<(), OpenError> {
        let mut too_early = None;
        self.0.send_if_modified(|refusal| {
            if let Some(refusal) = refusal {
                let now = Instant::now();
                match now < refusal.until {
                    true => too_early = Some(refusal.error()),
                    false => refusal.until = now + within,
                }
            }
            false
        });
        too_early.map_or(Ok(()), Err)
    }

    /// The member at `place` refused us.
    pub(super) fn note(&self, place: &str, why: String) -> OpenError {
        let place = place.to_owned();
        self.0.send_modify(|refusal| {
            let before = refusal.as_ref().map(|before| before.pauses);
            let mut pauses = before.unwrap_or_else(|| Pauses::new(FIRST_PAUSE, LONGEST_PAUSE));
            let until = Instant::now() + pauses.next();
            *refusal = Some(Refusal { place: place.clone(), why: why.clone(), until, pauses });
            if before.is_none() {
                tracing::error!(place, why, "etcd refuses this controller");
            }
        });
        OpenError::Denied { place, why }
    }

    /// We were let in.
    pub(super) fn forget(&self) {
        if self.0.send_if_modified(|refusal| refusal.take().is_some()) {
            tracing::info!("etcd lets this controller in again");
        }
    }
}

impl Dialer {
    /// The member at `endpoint` refused us with this.
    pub(super) fn refused(&self, endpoint: &str, error: &Error) -> OpenError {
        let said = errors::said(error);
        let why = match &self.settings.user {
            Some((user, _)) => format!(
                "{said}: look at `etcd_user`, which is `{user}`, and `etcd_password`, and whether that user may read and write keys that begin with `{}`",
                self.settings.prefix
            ),
            None => format!("{said}: give `etcd_user` and `etcd_password`"),
        };
        self.refusals.note(endpoint, why)
    }
}

impl Connected {
    /// Makes a call, and once more with another login where that was all that it wanted.
    pub(super) async fn call<T, F: Future<Output = Result<T, Error>>>(
        &self,
        call: impl Fn(&Client) -> F,
    ) -> Result<T, Error> {
        let login = self.logins.made.load(SeqCst);
        match call(&self.client).await {
            Err(error) if errors::wants_login(&error) && self.dialer.settings.user.is_some() => {
                self.log_in_after(login).await?;
                call(&self.client).await
            }
            answer => answer,
        }
    }

    /// Makes the login after the one of this number, unless another call has.
    async fn log_in_after(&self, login: u64) -> Result<(), Error> {
        let _alone = self.logins.making.lock().await;
        if self.logins.made.load(SeqCst) != login {
            return Ok(());
        }
        let refusals = &self.dialer.refusals;
        let refused = match refusals.may_try(self.dialer.settings.dial_timeout) {
            Err(refused) => refused,
            Ok(()) => match self.client.refresh_token().await {
                Ok(()) => {
                    self.logins.made.fetch_add(1, SeqCst);
                    refusals.forget();
                    return Ok(());
                }
                Err(error) if errors::is_denied(&error) => {
                    self.dialer.refused(&self.endpoint, &error)
                }
                Err(error) => return Err(error),
            },
        };
        Err(Error::GRpcStatus(Status::unauthenticated(refused.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_between_logins_grow_until_one_is_taken() {
        let (refusals, within) = (Refusals::default(), Duration::from_secs(3));
        assert!(refusals.last().is_none() && refusals.may_try(within).is_ok());
        let mut pauses = Vec::new();
        for _ in 0..6 {
            refusals.note("here", "wrong".to_owned());
            let began = Instant::now();
            while refusals.may_try(within).is_err() {
                tokio::time::advance(Duration::from_millis(100)).await;
            }
            assert!(refusals.may_try(within).is_err(), "two try at once");
            assert!(refusals.last().is_some(), "it is told until somebody is let in");
            pauses.push(began.elapsed());
        }
        assert!(pauses[0] >= FIRST_PAUSE.mul_f64(0.8), "{pauses:?}");
        assert!(pauses[..4].is_sorted() && pauses[3] > pauses[0] * 4, "{pauses:?}");
        assert!(pauses.iter().all(|pause| *pause < LONGEST_PAUSE.mul_f64(1.3)), "{pauses:?}");
        refusals.forget();
        assert!(refusals.last().is_none());
        refusals.note("here", "wrong again".to_owned());
        tokio::time::advance(FIRST_PAUSE * 2).await;
        assert!(refusals.may_try(within).is_ok(), "pauses begin anew");
        tokio::time::advance(within).await;
        assert!(refusals.may_try(within).is_ok(), "nobody came back from the last try");
    }
}
