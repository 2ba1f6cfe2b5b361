//! What others hold of the attempts: a way to hand over grants and orders, and a view of what is held.

use super::{Attempts, Resume, StandDown, StopAll, Take};
use crate::lease::{Held, HeldPhase};
use octavius_service::actor::{Handle, Priority, Unanswered, Vitals};
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// All attempts that are held here; none while nobody knows, because the runner was not asked yet.
pub type HeldHere = Option<Arc<[Held]>>;

/// The way in to the attempts.
#[derive(Clone, Debug)]
pub struct AttemptsHandle {
    actor: Handle<Attempts>,
    held: watch::Receiver<HeldHere>,
}

impl AttemptsHandle {
    /// A handle to this actor, which publishes what is held through `held`.
    pub fn new(actor: Handle<Attempts>, held: watch::Receiver<HeldHere>) -> Self {
        Self { actor, held }
    }

    /// Hands over grants and orders. Whether any of it was new.
    pub async fn take(&self, take: Take) -> Result<bool, Unanswered> {
        self.actor.mutate(Priority::Report, take).await
    }

    /// Stops all that is held here.
    pub async fn stop_all(&self, reason: &str) -> Result<(), Unanswered> {
        let stop = StopAll { reason: reason.to_owned() };
        self.actor.mutate(Priority::Report, stop).await
    }

    /// Lets all alone that is held here, because a newer process drives it.
    pub async fn stand_down(&self) -> Result<(), Unanswered> {
        self.actor.mutate(Priority::Report, StandDown).await
    }

    /// Goes on with what is here, if it was let alone.
    pub async fn resume(&self) -> Result<(), Unanswered> {
        self.actor.mutate(Priority::Report, Resume).await
    }

    /// What is held here, as it changes.
    pub fn held(&self) -> watch::Receiver<HeldHere> {
        self.held.clone()
    }

    /// Waits until of what is held nothing is left for which `awaited` holds, `within` at the most. How much is left.
    pub async fn wait_until_none(&self, awaited: fn(HeldPhase) -> bool, within: Duration) -> usize {
        let left = |held: &HeldHere| {
            held.iter().flat_map(|held| held.iter()).filter(|held| awaited(held.phase)).count()
        };
        let mut watched = self.held.clone();
        let gone = watched.wait_for(|held| held.is_some() && left(held) == 0);
        match tokio::time::timeout(within, gone).await {
            Ok(Ok(_)) => 0,
            Ok(Err(_)) | Err(_) => left(&self.held.borrow()),
        }
    }

    /// What is seen of the actor from outside.
    pub fn vitals(&self) -> &Arc<Vitals> {
        self.actor.vitals()
    }

    /// Makes the actor panic; for tests of supervision.
    #[cfg(feature = "fault-injection")]
    pub async fn inject_panic(&self) -> Result<(), Unanswered> {
        self.actor.inject_panic().await
    }
}
