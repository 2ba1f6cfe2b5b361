//! Ways to break a running controller on purpose. Only test builds have them.

use super::{office::Actors, roles::Roles};
use crate::grpc::{MOST_FOLLOWERS, TakenRoom, UnwrittenOfAll};
use octavius_service::actor::Unanswered;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Breaks its actors.
#[derive(Clone, Debug)]
pub struct Faults {
    roles: Roles,
    followers: Arc<Semaphore>,
    unwritten: Arc<UnwrittenOfAll>,
}

impl Faults {
    /// The actors, by the names that metrics and errors have.
    pub const ACTORS: [&str; 8] = [
        "Store",
        "LogStore",
        "Registry",
        "Secrets",
        "Access",
        "Audit",
        "JobQueue",
        "LivenessWatcher",
    ];

    pub(super) fn new(
        roles: &Roles,
        followers: &Arc<Semaphore>,
        unwritten: &Arc<UnwrittenOfAll>,
    ) -> Self {
        let (roles, followers, unwritten) = (roles.clone(), followers.clone(), unwritten.clone());
        Self { roles, followers, unwritten }
    }

    /// Takes all but so many bytes of the room for answers that are not written, until it is dropped.
    pub fn take_room_of_answers(&self, but: usize) -> TakenRoom {
        TakenRoom::all_but(self.unwritten.clone(), but)
    }

    /// Takes all the places of those who read logs, until it is dropped; none if somebody has one.
    pub fn take_places_of_followers(&self) -> Option<OwnedSemaphorePermit> {
        let all = u32::try_from(MOST_FOLLOWERS).ok()?;
        self.followers.clone().try_acquire_many_owned(all).ok()
    }

    /// Makes an actor panic. The answer is that it was restarted; none if there is no actor of that name, or another
    /// controller leads.
    pub async fn panic(&self, actor: &str) -> Option<Result<(), Unanswered>> {
        let office = self.roles.office()?;
        let Actors { store, logs, registry, secrets, access, audit, queue, liveness } =
            &office.actors;
        Some(match actor {
            "Store" => store.handle().inject_panic().await,
            "LogStore" => logs.inject_panic().await,
            "Registry" => registry.inject_panic().await,
            "Secrets" => secrets.inject_panic().await,
            "Access" => access.inject_panic().await,
            "Audit" => audit.inject_panic().await,
            "JobQueue" => queue.actor().inject_panic().await,
            "LivenessWatcher" => liveness.inject_panic().await,
            _ => return None,
        })
    }
}
