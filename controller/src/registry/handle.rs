//! What others hold of the registry: its bounds and deadlines are settled here.

use super::{
    ChangeError, Changed, DeleteError, Described, Doomed, JobDefinition, JobsView, ListedJobs,
    LookUpError, NAME, PinError, Pinned, Registry,
    change::Change,
    delete::{Delete, Doom},
    read::{Describe, List, Pin},
    rules::{Wish, check_definition},
};
use crate::{access::Sight, caller::Caller, limits::LARGEST_PAGE, store::StoreHandle};
use octavius_protocol::id::{JobName, VariableName};
use octavius_service::actor::{
    ActorSystem, Handle, Limits, Priority, RestartPolicy, Unanswered, Vitals,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
    time::Duration,
};
use tokio::sync::watch;

/// The most jobs. All are in memory, and a name that is none is compared with all of them.
pub(crate) const MOST_JOBS: usize = 10_000;

/// The way in to the registry.
#[derive(Clone, Debug)]
pub struct RegistryHandle(Handle<Registry>, JobsView);

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
        let gate = store.gate();
        let (told, view) = watch::channel(BTreeMap::new());
        let build = move || {
            let (store, told) = (store.clone(), told.clone());
            async move { Registry::load(&store, most, told).await }
        };
        let actor = system.supervise(NAME, Limits::default(), RestartPolicy::default(), build)?;
        Ok(Self(actor.behind(gate), JobsView(view)))
    }

    /// Stores a new job. Equal content again succeeds and changes nothing.
    pub async fn create(
        &self,
        definition: JobDefinition,
        caller: Caller,
    ) -> Result<Changed, ChangeError> {
        self.change(definition, Wish::Create, false, caller).await
    }

    /// Stores a job, or a version of it, as `wish` says; with `dry_run` it answers what would be stored, and stores
    /// nothing. The answer comes after it is on disk. Equal content again succeeds and changes nothing.
    pub async fn change(
        &self,
        definition: JobDefinition,
        wish: Wish,
        dry_run: bool,
        caller: Caller,
    ) -> Result<Changed, ChangeError> {
        // Here and not in the actor: it takes no state, and a large one would hold up the others.
        let violations = check_definition(&definition);
        let name = match definition.name.parse::<JobName>() {
            Ok(name) if violations.is_empty() => name,
            Ok(_) | Err(_) => return Err(ChangeError::Invalid(violations)),
        };
        let change = Change { name: name.clone(), definition, wish, dry_run, caller };
        match self.0.mutate(Priority::Submit, change).await {
            Ok(answer) => answer,
            Err(why) if dry_run || why.certainly_nothing() => Err(ChangeError::Unanswered(why)),
            Err(_) => Err(ChangeError::Unconfirmed(name)),
        }
    }

    /// Keeps everybody from executing or changing a job as long as the answer is held. For who deletes it then.
    pub async fn doom(&self, name: String) -> Result<Doomed, DeleteError> {
        self.0.query(Priority::Submit, Doom(name)).await?
    }

    /// Deletes a doomed job. The answer comes after that is on disk.
    pub async fn delete(&self, doomed: Doomed, caller: Caller) -> Result<(), DeleteError> {
        let name = doomed.job.name.clone();
        match self.0.mutate(Priority::Submit, Delete(doomed, caller)).await {
            Ok(answer) => answer,
            Err(why) if why.certainly_nothing() => Err(DeleteError::Unanswered(why)),
            Err(_) => Err(DeleteError::Unconfirmed(name)),
        }
    }

    /// One version of a job; 0: the newest.
    pub async fn describe(&self, name: String, version: u64) -> Result<Described, LookUpError> {
        self.0.query(Priority::Read, Describe { name, version }).await?
    }

    /// Which groups may use which jobs.
    pub fn view(&self) -> JobsView {
        self.1.clone()
    }

    /// Jobs by name, from 1 to 1,000 of them, behind the page that ended with `page_token`.
    pub async fn list(&self, most: usize, page_token: &str) -> Result<ListedJobs, LookUpError> {
        self.list_seen(most, page_token, Sight::All).await
    }

    /// The same, of those that somebody may see.
    pub async fn list_seen(
        &self,
        most: usize,
        page_token: &str,
        sight: Sight,
    ) -> Result<ListedJobs, LookUpError> {
        let after = match page_token {
            "" => None,
            token => Some(
                token
                    .parse()
                    .map_err(|_| LookUpError::PageToken(token.chars().take(80).collect()))?,
            ),
        };
        let list = List { most: most.clamp(1, LARGEST_PAGE), after, sight };
        Ok(self.0.query(Priority::Read, list).await?)
    }

    /// The job's version (0: the newest), with these arguments checked against it.
    pub async fn pin(
        &self,
        job: String,
        version: u64,
        arguments: BTreeMap<String, String>,
    ) -> Result<Pinned, PinError> {
        self.pin_again(job, version, arguments, BTreeSet::new()).await
    }

    /// The same for an execution that is run again: of what it was given then, the values of these arguments are not kept
    /// any more.
    pub async fn pin_again(
        &self,
        job: String,
        version: u64,
        arguments: BTreeMap<String, String>,
        not_kept: BTreeSet<VariableName>,
    ) -> Result<Pinned, PinError> {
        self.0.query(Priority::Submit, Pin { job, version, arguments, not_kept }).await?
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
