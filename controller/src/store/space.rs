//! Whether the store takes writes: known before anything is decided, so that nothing that was decided has to be undone.
//!
//! The gate shuts when the backend says that there is little room left, or that it is not let in, or when a commit failed
//! for want of room. While it is shut no actor decides anything that it would have to write; what is on disk is answered. Who looks is the store,
//! every second; nobody has to start anything again once there is room.

use super::Opener;
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(1);
/// For how long a commit that failed keeps the gate shut, whatever the backend says: a backend that does not know of
/// the limit that was hit, such as a quota, does not make everybody begin again every second.
const AT_LEAST: Duration = Duration::from_secs(5);

/// Both ends of the gate.
#[derive(Clone, Debug)]
pub(super) struct Space(Arc<watch::Sender<Option<Arc<str>>>>);

impl Space {
    /// A gate that shows how it stands now, and a task that keeps looking until all receivers are gone.
    pub(super) async fn watched(opener: Arc<dyn Opener>) -> Self {
        let space = Self(Arc::default());
        space.set(opener.full(false).await);
        let (gate, mut failures) = (Arc::downgrade(&space.0), space.0.subscribe());
        tokio::spawn(async move {
            loop {
                let failed = tokio::time::timeout(EVERY, failures.changed()).await;
                match failed {
                    Ok(Ok(())) if failures.borrow_and_update().is_some() => {
                        tokio::time::sleep(AT_LEAST).await;
                    }
                    Ok(Err(_)) => return,
                    Ok(Ok(())) | Err(_) => {}
                }
                let thoroughly = failures.borrow().is_some();
                let full = opener.full(thoroughly).await;
                let Some(gate) = gate.upgrade() else { return };
                Self(gate).set(full);
                failures.mark_unchanged();
            }
        });
        space
    }

    /// A commit failed for want of room.
    pub(super) fn shut(&self, why: &str) {
        let why = format!(
            "the store is full, and nothing is written until there is room ({why}); what is stored is shown meanwhile, executors keep what they have to say, and everything goes on by itself"
        );
        self.set(Some(why));
    }

    pub(super) fn gate(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.0.subscribe()
    }

    fn set(&self, full: Option<String>) {
        metrics::gauge!("octavius_store_full").set(if full.is_some() { 1.0 } else { 0.0 });
        self.0.send_if_modified(|now| {
            let changes = now.is_some() != full.is_some();
            match (&full, changes) {
                (Some(why), true) => tracing::error!(why, "no writes are taken"),
                (None, true) => tracing::info!("writes are taken again"),
                (_, false) => {}
            }
            *now = full.map(Arc::from);
            changes
        });
    }
}
