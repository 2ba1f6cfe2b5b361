//! The secrets of jobs: which are set, by whom, and their sealed values.
//!
//! A secret belongs to a job's uid: a job of the same name that is created later has none of them. Each value has a
//! name of its own, which an execution pins when it is submitted; a value that was replaced or taken away stays until no
//! live execution can need it. Values are in no memory of this actor, and no call gives one back but the grant of an
//! attempt.
//!
//! Owns nothing that the store does not: what is set is read from it at each start. A decision shows at once, and its
//! answer leaves only after the store has confirmed it (P1). Not here: how values are sealed, which is the vault's.

mod error;
mod handle;
mod look;
mod record;
pub mod rules;
mod set;
mod sweep;
#[cfg(test)]
mod tests;

pub use error::{RevealError, SecretError, UnsetSecrets};
pub use handle::SecretsHandle;
pub(crate) use record::taken_over;
pub use rules::SecretState;

use crate::store::{Commit, Range, StoreHandle, Write, Writer, keys};
use actix::prelude::*;
use anyhow::Context as _;
use octavius_protocol::id::{JobName, VariableName};
use record::{SecretRecord, ValueName};
use std::collections::BTreeMap;
use sweep::Sweeping;
use tokio::time::Instant;

/// The actor's name in the store, in metrics and in errors.
pub const NAME: &str = "Secrets";

/// The actor. Talk to it through [`SecretsHandle`].
#[derive(Debug)]
pub struct Secrets {
    /// What is set, by the job's uid and the secret's name.
    set: BTreeMap<(String, VariableName), SecretRecord>,
    /// Values that were replaced or taken away: whose job it was, and since when they are known to be.
    replaced: BTreeMap<ValueName, (JobName, Instant)>,
    sweeping: Sweeping,
    store: StoreHandle,
    writer: Writer,
}

octavius_service::panics_when_told!(Secrets);

impl Actor for Secrets {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.run_interval(self.sweeping.every, Self::sweep);
    }
}

impl Secrets {
    /// What the store has.
    async fn load(store: StoreHandle, sweeping: Sweeping) -> anyhow::Result<Self> {
        // First the writer: what an earlier incarnation had queued is settled then, and the range shows it.
        let writer = store.enlist(NAME).await?;
        let mut set = BTreeMap::new();
        for entry in store.all(Range::prefix(keys::SECRETS, 1000)).await? {
            let (uid, name) = record::names_of(&entry.key)
                .with_context(|| format!("`{}` in the store is no secret's key", entry.key))?;
            let record: SecretRecord = serde_json::from_slice(&entry.value)
                .with_context(|| format!("`{}` in the store is no secret", entry.key))?;
            set.insert((uid, name), record);
        }
        let mut replaced = BTreeMap::new();
        let mut rest = Range::prefix(keys::SECRET_VALUES, 100);
        loop {
            let page = store.range(rest.clone()).await?;
            let last = page.entries.last().map(|entry| entry.key.clone());
            for entry in page.entries {
                let (value, job) = record::value_of(&entry)
                    .with_context(|| format!("`{}` in the store is no value", entry.key))?;
                let current = set.get(&(value.job_uid.clone(), value.name.clone()));
                if current.is_none_or(|record| record.value != value.value) {
                    replaced.insert(value, (job, Instant::now()));
                }
            }
            match last {
                Some(last) if page.more => rest = rest.after(&last),
                Some(_) | None => break,
            }
        }
        tracing::info!(set = set.len(), replaced = replaced.len(), "the secrets are loaded");
        Ok(Self { set, replaced, sweeping, store, writer })
    }

    /// Has the store make these changes. If it does not confirm, the actor ends, and begins again from the store.
    fn commit(&self, writes: Vec<Write>) -> ResponseActFuture<Self, Result<(), SecretError>> {
        let commit = self.writer.commit(writes).into_actor(self);
        Box::pin(commit.map(|outcome, _, context| match outcome {
            Commit::Done => Ok(()),
            Commit::Refused(why) => {
                context.stop();
                Err(SecretError::NotStored(why))
            }
            Commit::Unknown(why) => {
                context.stop();
                Err(SecretError::Unconfirmed(why))
            }
        }))
    }
}
