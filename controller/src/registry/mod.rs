//! The registry: which jobs exist, and their versions.
//!
//! Owns nothing that the store does not: the newest version of each job is read from it at each start, and as many
//! older ones as are kept stay there. A decision shows at once and its answer leaves only after the store has confirmed it (P1);
//! who is shown a job waits for that, too. Of two who create one name at once exactly one does. Whether anything of a
//! job is still to run is the queue's to say, which deletes it here.
//! Not here: who may run a job, and what becomes of a run.

mod change;
pub(crate) mod delete;
mod error;
pub(crate) mod handle;
mod job;
mod order;
mod pinned;
mod read;
pub mod rules;
#[cfg(test)]
mod tests;
mod view;
pub(crate) mod violation;

pub use change::Changed;
pub use delete::Doomed;
pub use error::{ChangeError, DeleteError, LookUpError, PinError};
pub use handle::RegistryHandle;
pub(crate) use job::MOST_VERSIONS;
pub use job::{Argument, ArgumentType, Gone, Job, JobDefinition, Resources, Retry, SecretName};
pub use order::{HIGHEST_PRIORITY, OnLimit, OnLost, USUAL_PRIORITY};
pub use pinned::{MOST_ATTEMPTS, NoSuchEnd, Pinned, RetryOn, RetryPolicy};
pub use read::{Described, ListedJobs};
pub use view::JobsView;
pub use violation::{MOST_NAMED, Violation, Violations, no_id, quoted};

use crate::store::{Range, StoreHandle, Writer, keys};
use actix::{Actor, Context};
use anyhow::Context as _;
use octavius_protocol::id::JobName;
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::watch;
use view::{Shown, Told};

/// The actor's name in the store, in metrics and in errors.
pub const NAME: &str = "Registry";

/// The actor. Talk to it through [`RegistryHandle`].
#[derive(Debug)]
pub struct Registry {
    jobs: BTreeMap<JobName, Known>,
    /// The last versions of jobs that were deleted, where there is no other job of their name.
    gone: BTreeMap<JobName, Gone>,
    /// With so many jobs no more are taken. What the store has is shown in any case.
    most: usize,
    /// What others see of the groups of jobs.
    told: Told,
    writer: Writer,
    store: StoreHandle,
}

/// A job, and whether the store has it.
#[derive(Debug)]
struct Known {
    job: Arc<Job>,
    /// The size of its definition in bytes, so that a page stays within what a message holds.
    size: usize,
    /// There while the store has not confirmed it; then it turns true.
    unconfirmed: Option<watch::Receiver<bool>>,
    /// There while somebody may be about to delete it: closed, nobody is.
    doomed: Option<watch::Receiver<()>>,
}

impl Registry {
    /// The registry as the store has it.
    async fn load(store: &StoreHandle, most: usize, told: Told) -> anyhow::Result<Self> {
        // First the writer: what an earlier incarnation had queued is settled then, and the range shows it.
        let writer = store.enlist(NAME).await?;
        let mut jobs = BTreeMap::new();
        for entry in store.all(Range::prefix(keys::JOBS, 100)).await? {
            let job: Job = serde_json::from_slice(&entry.value)
                .with_context(|| format!("`{}` in the store is no job", entry.key))?;
            let size = entry.value.len();
            let known = Known { size, job: Arc::new(job), unconfirmed: None, doomed: None };
            jobs.insert(known.job.name.clone(), known);
        }
        let mut gone: BTreeMap<JobName, Gone> = BTreeMap::new();
        for entry in store.all(Range::prefix(keys::JOBS_GONE, 1_000)).await? {
            let unreadable = || format!("`{}` in the store is no deleted job", entry.key);
            let name = entry.key.strip_prefix(keys::JOBS_GONE).unwrap_or_default().parse();
            let one: Gone = serde_json::from_slice(&entry.value).with_context(unreadable)?;
            gone.insert(name.with_context(unreadable)?, one);
        }
        tracing::info!(jobs = jobs.len(), "the registry is loaded");
        let there = jobs.iter().map(|(name, known)| (name.clone(), Shown::from(&known.job)));
        let gone_ones = gone.iter().map(|(name, gone)| (name.clone(), Shown::from(gone)));
        told.send_replace(gone_ones.chain(there).collect());
        Ok(Self { jobs, gone, most, told, writer, store: store.clone() })
    }

    /// Tells what is seen of a job from now on; none: nothing.
    fn tell(&self, name: &JobName, shown: Option<Shown>) {
        self.told.send_modify(|told| {
            match shown {
                Some(shown) => told.insert(name.clone(), shown),
                None => told.remove(name),
            };
        });
    }
}

impl Actor for Registry {
    type Context = Context<Self>;
}

octavius_service::panics_when_told!(Registry);

impl Known {
    /// Waits until the store has the job. If it never will, the actor goes away, and this with it.
    fn confirmed(&self) -> impl Future<Output = ()> + use<> {
        let unconfirmed = self.unconfirmed.clone();
        async move {
            let Some(mut unconfirmed) = unconfirmed else { return };
            if unconfirmed.wait_for(|confirmed| *confirmed).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
