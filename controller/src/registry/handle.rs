//! What others hold of the registry: its bounds and deadlines are settled here.

use super::{
    CreateError, Created, Job, JobDefinition, ListedJobs, LookUpError, NAME, PinError, Pinned,
    Registry,
    create::Create,
    read::{Describe, List, Pin},
    rules::check_definition,
};
use crate::{caller::Caller, store::StoreHandle};
use octavius_protocol::id::JobName;
use octavius_service::actor::{
    ActorSystem, Handle, Limits, Priority, RestartPolicy, Unanswered, Vitals,
};
use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

/// The most jobs. All are in memory, and a name that is none is compared with all of them.
const MOST_JOBS: usize = 10_000;

/// The most jobs in one page.
const MOST_LISTED: usize = 1_000;

/// The way in to the registry.
#[derive(Clone, Debug)]
pub struct RegistryHandle(Handle<Registry>);

impl RegistryHandle {
    /// Starts the actor on a thread of its own.
    pub fn start(system: &mut ActorSystem, store: StoreHandle) -> io::Result<Self> {
        Self::start_for(system, store, MOST_JOBS)
    }

    /// Starts it for so many jobs.
    pub(super) fn start_for(
        system: &mut ActorSystem,
        store: StoreHandle,
        most: usize,
    ) -> io::Result<Self> {
        let build = move || {
            let store = store.clone();
            async move { Registry::load(&store, most).await }
        };
        system.supervise(NAME, Limits::default(), RestartPolicy::default(), build).map(Self)
    }

    /// Stores a new job. The answer comes after it is on disk. Equal content again succeeds and changes nothing.
    pub async fn create(
        &self,
        definition: JobDefinition,
        caller: Caller,
    ) -> Result<Created, CreateError> {
        // Here and not in the actor: it takes no state, and a large one would hold up the others.
        let violations = check_definition(&definition);
        let name = match definition.name.parse::<JobName>() {
            Ok(name) if violations.is_empty() => name,
            Ok(_) | Err(_) => return Err(CreateError::Invalid(violations)),
        };
        let create = Create { name: name.clone(), definition, caller };
        match self.0.mutate(Priority::Submit, create).await {
            Ok(answer) => answer,
            Err(why) if why.certainly_nothing() => Err(CreateError::Unanswered(why)),
            Err(_) => Err(CreateError::Unconfirmed(name)),
        }
    }

    /// A job's newest version.
    pub async fn describe(&self, name: String) -> Result<Arc<Job>, LookUpError> {
        self.0.query(Priority::Read, Describe(name)).await?
    }

    /// Jobs by name, from 1 to 1,000 of them, behind the page that ended with `page_token`.
    pub async fn list(&self, most: usize, page_token: &str) -> Result<ListedJobs, LookUpError> {
        let after = match page_token {
            "" => None,
            token => Some(
                token
                    .parse()
                    .map_err(|_| LookUpError::PageToken(token.chars().take(80).collect()))?,
            ),
        };
        Ok(self.0.query(Priority::Read, List { most: most.clamp(1, MOST_LISTED), after }).await?)
    }

    /// The job's newest version, with these arguments checked against it.
    pub async fn pin(
        &self,
        job: String,
        arguments: BTreeMap<String, String>,
    ) -> Result<Pinned, PinError> {
        self.0.query(Priority::Submit, Pin { job, arguments }).await?
    }

    /// Waits until the actor serves, `within` at the most.
    pub async fn up(&self, within: Duration) -> Result<(), Unanswered> {
        self.0.up(within).await
    }

    /// What is seen of the actor from outside.
    pub fn vitals(&self) -> &Arc<Vitals> {
        self.0.vitals()
    }

    /// Makes the actor panic; for tests of supervision.
    #[cfg(feature = "fault-injection")]
    pub async fn inject_panic(&self) -> Result<(), Unanswered> {
        self.0.inject_panic().await
    }
}
