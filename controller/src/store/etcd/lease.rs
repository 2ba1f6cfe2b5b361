//! Leases: kept alive for as long as somebody leads by them, and given back.

use super::{
    dial::{Connected, Dialer},
    election::FIRST_PAUSE,
    errors,
};
use crate::{
    pauses::{Pauses, Reminder},
    timekeeper::since_boot,
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// For how long giving a lease back may take; it runs out by itself.
pub(super) const RESIGN_WITHIN: Duration = Duration::from_secs(2);

/// Keeps a lease alive.
pub(super) struct Keeper {
    pub(super) dialer: Arc<Dialer>,
    pub(super) lease: i64,
    pub(super) ttl: Duration,
    pub(super) until: watch::Sender<Duration>,
    pub(super) lost: CancellationToken,
}

impl Keeper {
    pub(super) async fn keep(self, connected: Connected, resign: CancellationToken) {
        let mut connected = Some(connected);
        let mut pauses = Pauses::new(FIRST_PAUSE, self.ttl / 10);
        let mut reminder = Reminder::default();
        let keeping = async {
            loop {
                let using = match connected.take() {
                    Some(connected) => Ok(connected),
                    None => self.dialer.dial().await,
                };
                let why = match using {
                    Ok(using) => match self.keep_with(&using).await {
                        Kept::Lost => return,
                        Kept::Failed(why, worked) => {
                            using.failed();
                            if worked {
                                pauses = Pauses::new(FIRST_PAUSE, self.ttl / 10);
                                reminder = Reminder::default();
                            }
                            why
                        }
                    },
                    Err(error) => error.to_string(),
                };
                if reminder.is_due() {
                    tracing::warn!(why, "the leader's lease was not renewed: it is tried again");
                }
                sleep(pauses.next()).await;
            }
        };
        tokio::select! {
            () = keeping => self.lost.cancel(),
            // Somebody found out that another one writes.
            () = self.lost.cancelled() => self.give_back().await,
            // Nobody leads by it any more.
            () = self.until.closed() => self.give_back().await,
            () = resign.cancelled() => self.give_back().await,
        }
    }

    /// Renews it until that fails.
    async fn keep_with(&self, using: &Connected) -> Kept {
        let within = self.ttl / 3;
        let failed =
            |error: String, worked| Kept::Failed(format!("{}: {error}", using.endpoint), worked);
        let late = || format!("no answer within {within:?}");
        let mut sent = since_boot();
        let lease = self.lease;
        let opening = using.call(|client| {
            let mut leases = client.lease_client();
            async move { leases.keep_alive(lease).await }
        });
        let (mut keeper, mut answers) = match timeout(within, opening).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(etcd_client::Error::LeaseKeepAliveError(why))) if why == "lease not found" => {
                return Kept::Lost;
            }
            Ok(Err(error)) => return failed(errors::said(&error), false),
            Err(_) => return failed(late(), false),
        };
        loop {
            self.until.send_replace(sent + self.ttl);
            sleep(within).await;
            sent = since_boot();
            if let Err(error) = keeper.keep_alive().await {
                return failed(errors::said(&error), true);
            }
            match timeout(within, answers.message()).await {
                Ok(Ok(Some(answer))) if answer.ttl() > 0 => {}
                Ok(Ok(Some(_))) => return Kept::Lost,
                Ok(Ok(None)) => return failed("the stream ended".to_owned(), true),
                Ok(Err(error)) => return failed(errors::said(&error), true),
                Err(_) => return failed(late(), true),
            }
        }
    }

    async fn give_back(&self) {
        self.lost.cancel();
        match revoke(&self.dialer, self.lease).await {
            true => tracing::info!("the lead was given back"),
            false => tracing::warn!("the lead was not given back: it runs out by itself"),
        }
    }
}

/// Ends a lease, with the key that hangs on it, and says whether that is certain.
async fn revoke(dialer: &Arc<Dialer>, lease: i64) -> bool {
    let revoke = async {
        let connected = dialer.dial().await.ok()?;
        let revoke = connected.call(|client| {
            let mut leases = client.lease_client();
            async move { leases.revoke(lease).await }
        });
        revoke.await.ok()
    };
    matches!(timeout(RESIGN_WITHIN, revoke).await, Ok(Some(_)))
}

/// A lease that is given back unless it is kept.
pub(super) struct Granted {
    pub(super) dialer: Arc<Dialer>,
    pub(super) lease: Option<i64>,
}

impl Granted {
    pub(super) fn keep(mut self) {
        self.lease = None;
    }
}

impl Drop for Granted {
    fn drop(&mut self) {
        if let Some(lease) = self.lease {
            let dialer = self.dialer.clone();
            tokio::spawn(async move { revoke(&dialer, lease).await });
        }
    }
}

enum Kept {
    /// etcd does not know the lease any more.
    Lost,
    /// It may live; the text says what happened, and the other whether it was renewed here before.
    Failed(String, bool),
}
