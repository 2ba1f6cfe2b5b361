//! Who may write: the one controller that leads, for as long as it does.
//!
//! Each batch compares the leader's key with what its holder wrote there, so that one who was deposed, and has not heard
//! of it, writes nothing. What it still knows it may tell only while [`Lead::is_certain`].

use super::Compare;
use crate::timekeeper::since_boot;
use std::{fmt, time::Duration};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

/// The right to write, held by one controller at a time.
#[derive(Clone, Debug)]
pub struct Lead {
    claim: Option<Claim>,
    lost: CancellationToken,
}

/// What a lead among several controllers rests on.
#[derive(Clone)]
pub(super) struct Claim {
    /// Holds for as long as nobody else leads.
    pub(super) guard: Compare,
    /// Who holds it: stands in each batch, for whoever reads the history.
    pub(super) holder: String,
    /// Until when nobody else can lead, as time since this machine started: that goes on while it is suspended.
    pub(super) until: watch::Receiver<Duration>,
    /// So much earlier it is not certain any more: what is told then takes time to arrive.
    pub(super) margin: Duration,
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("holder", &self.holder).finish_non_exhaustive()
    }
}

impl Claim {
    /// For how long it is certain.
    fn left(&self) -> Duration {
        self.until.borrow().saturating_sub(self.margin).saturating_sub(since_boot())
    }
}

impl Lead {
    /// Of a store that lets in one controller at a time.
    pub fn sole() -> Self {
        Self { claim: None, lost: CancellationToken::new() }
    }

    #[cfg(feature = "etcd")]
    pub(super) fn claimed(claim: Claim, lost: CancellationToken) -> Self {
        Self { claim: Some(claim), lost }
    }

    /// Whether nobody else can lead at this moment. Else what is known here may be out of date, although it is not known
    /// to be.
    pub fn is_certain(&self) -> bool {
        !self.lost.is_cancelled() && self.claim.as_ref().is_none_or(|claim| !claim.left().is_zero())
    }

    /// Waits until it is not certain.
    pub async fn uncertain(&self) {
        let Some(claim) = &self.claim else { return self.ended().await };
        while self.is_certain() {
            tokio::select! {
                () = sleep(claim.left()) => {}
                () = self.ended() => return,
            }
        }
    }

    /// Waits until it is certain again, or has ended.
    #[cfg(feature = "etcd")]
    pub(crate) async fn settled(&self) {
        let Some(claim) = &self.claim else { return };
        let mut until = claim.until.clone();
        while !self.is_certain() && !self.lost.is_cancelled() {
            tokio::select! {
                renewed = until.changed() => if renewed.is_err() { return },
                () = self.ended() => return,
            }
        }
    }

    /// Waits until it is known that another one leads, or may.
    pub async fn ended(&self) {
        self.lost.cancelled().await;
    }

    /// It is known that another one writes. Who has the store for himself has no one to give way to.
    pub(super) fn depose(&self) {
        if self.claim.is_some() {
            self.lost.cancel();
        }
    }

    pub(super) fn guard(&self) -> Option<&Compare> {
        self.claim.as_ref().map(|claim| &claim.guard)
    }

    pub(super) fn holder(&self) -> Option<&str> {
        self.claim.as_ref().map(|claim| claim.holder.as_str())
    }
}
