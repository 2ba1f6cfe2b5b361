//! What others hold of the audit.

use super::{Audit, AuditError, Keep, NAME, Refused, entry::About};
use crate::{caller::Caller, store::StoreHandle};
use octavius_service::actor::{
    ActorSystem, Handle, Limits, Priority, RestartPolicy, Unanswered, Vitals,
};
use std::{io, sync::Arc, time::Duration};

/// The way in to the audit.
#[derive(Clone, Debug)]
pub struct AuditHandle {
    actor: Handle<Audit>,
    pub(super) store: StoreHandle,
}

impl AuditHandle {
    /// Starts the actor on a thread of its own. Entries are kept for so long.
    pub fn start(
        system: &mut ActorSystem,
        store: StoreHandle,
        keep_for: Duration,
    ) -> io::Result<Self> {
        let (gate, loaded) = (store.gate(), store.clone());
        let build = move || Audit::load(loaded.clone(), keep_for);
        let actor = system.supervise(NAME, Limits::default(), RestartPolicy::default(), build)?;
        Ok(Self { actor: actor.behind(gate), store })
    }

    /// Records what changes nothing itself. The answer comes after it is on disk.
    pub async fn did(&self, caller: &Caller, about: About) -> Result<(), AuditError> {
        match caller.did(about) {
            Some(entry) => self.actor.mutate(Priority::Submit, Keep(entry)).await?,
            None => Ok(()),
        }
    }

    /// Records that a caller was refused; where nobody has to prove who they are nobody is. It holds nobody up.
    pub(crate) fn refused(&self, caller: &Caller, about: About, why: &str) {
        let (caller, why) = (caller.clone(), why.to_owned());
        let kept = self.actor.mutate(Priority::Poll, Refused { caller, about, why });
        tokio::spawn(async move {
            if let Err(error) = kept.await.map_err(AuditError::from).flatten() {
                metrics::counter!("octavius_audit_refusals_lost_total").increment(1);
                tracing::debug!(%error, "a refusal is not in the audit");
            }
        });
    }

    /// Waits until the actor serves, `within` at the most.
    pub async fn up(&self, within: Duration) -> Result<(), Unanswered> {
        self.actor.up(within).await
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
