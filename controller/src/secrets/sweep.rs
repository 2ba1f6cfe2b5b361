//! Deleting the values that nobody needs any more, and the secrets of jobs that are gone.

use super::{
    Secrets,
    record::{SecretRecord, ValueName},
};
use crate::{
    job_queue::{pins, record::Record},
    registry::Job,
    store::{Range, ReadError, StoreHandle, Write, keys},
};
use actix::prelude::*;
use octavius_protocol::id::{JobName, VariableName};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::time::Instant;
use uuid::Uuid;

/// When values are deleted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sweeping {
    /// How often it looks.
    pub(super) every: Duration,
    /// For how long a value stays in any case: longer than any submission that pinned it takes to come to the store.
    pub(super) at_least: Duration,
}

impl Sweeping {
    /// The usual times.
    pub(super) const USUAL: Self =
        Self { every: Duration::from_secs(60), at_least: Duration::from_secs(300) };
}

/// The most deletes of one decision.
const AT_ONCE: usize = 100;

impl Secrets {
    pub(super) fn sweep(&mut self, context: &mut Context<Self>) {
        let now = Instant::now();
        let due = |since: &Instant| now.duration_since(*since) >= self.sweeping.at_least;
        let old = self.replaced.iter().filter(|(_, (_, since))| due(since));
        let old: BTreeMap<ValueName, JobName> =
            old.map(|(value, (job, _))| (value.clone(), job.clone())).collect();
        let jobs: BTreeMap<String, JobName> =
            self.set.iter().map(|((uid, _), record)| (uid.clone(), record.job.clone())).collect();
        let store = self.store.clone();
        let looked = async move {
            Ok::<_, ReadError>((unneeded(&store, old).await?, gone(&store, jobs).await?))
        };
        context.spawn(looked.into_actor(self).then(|looked, secrets, _| match looked {
            Ok((unneeded, gone)) => secrets.delete(unneeded, &gone),
            Err(error) => {
                tracing::debug!(%error, "nothing is swept for now");
                Box::pin(fut::ready(()))
            }
        }));
    }

    fn delete(
        &mut self,
        unneeded: Vec<ValueName>,
        gone: &BTreeSet<String>,
    ) -> ResponseActFuture<Self, ()> {
        let of_gone: Vec<_> =
            self.set.keys().filter(|(uid, _)| gone.contains(uid)).take(AT_ONCE).cloned().collect();
        let mut writes = Vec::new();
        for (job_uid, name) in of_gone {
            let key = (job_uid, name);
            let Some(SecretRecord { job, value, .. }) = self.set.remove(&key) else { continue };
            let (job_uid, name) = key;
            writes.push(Write::Delete(keys::secret(&job_uid, &name)));
            self.replaced.insert(ValueName { job_uid, name, value }, (job, Instant::now()));
        }
        for value in unneeded.into_iter().take(AT_ONCE.saturating_sub(writes.len())) {
            self.replaced.remove(&value);
            writes.push(Write::Delete(value.key()));
        }
        if writes.is_empty() {
            return Box::pin(fut::ready(()));
        }
        tracing::debug!(deleted = writes.len(), "what nobody needs of secrets is deleted");
        Box::pin(self.commit(writes).map(|_, _, _| ()))
    }
}

/// Which of these no live execution has pinned. Each was replaced so long ago that nobody pins it any more.
async fn unneeded(
    store: &StoreHandle,
    old: BTreeMap<ValueName, JobName>,
) -> Result<Vec<ValueName>, ReadError> {
    if old.is_empty() {
        return Ok(Vec::new());
    }
    let jobs: BTreeSet<&JobName> = old.values().collect();
    let mut pinned: BTreeSet<ValueName> = BTreeSet::new();
    for entry in store.all(Range::prefix(keys::LIVE, 1000)).await? {
        let Ok(record) = serde_json::from_slice::<Record>(&entry.value) else {
            return Ok(Vec::new()); // what cannot be read may need anything
        };
        if !jobs.contains(&record.job) {
            continue;
        }
        let Some(pins) = pins(store, record.id).await? else { return Ok(Vec::new()) };
        let job_uid = pins.job_uid.clone();
        let of_job = |(name, value): (VariableName, Uuid)| ValueName {
            job_uid: job_uid.clone(),
            name,
            value,
        };
        pinned.extend(pins.into_secrets().into_iter().map(of_job));
    }
    Ok(old.into_keys().filter(|value| !pinned.contains(value)).collect())
}

/// The uids of which there is no job any more.
async fn gone(
    store: &StoreHandle,
    jobs: BTreeMap<String, JobName>,
) -> Result<BTreeSet<String>, ReadError> {
    let mut gone = BTreeSet::new();
    for (uid, name) in jobs {
        let job = store.get(&keys::job(&name)).await?;
        let is_there = job.is_some_and(|job| match serde_json::from_slice::<Job>(&job) {
            Ok(job) => job.uid == uid,
            Err(_) => true, // what cannot be read may be it
        });
        if !is_there {
            gone.insert(uid);
        }
    }
    Ok(gone)
}
