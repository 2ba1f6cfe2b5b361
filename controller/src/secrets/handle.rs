//! What others hold of the secrets: bounds, deadlines, and the sealing, which needs no state.

use super::{
    NAME, RevealError, SecretError, SecretState, Secrets, UnsetSecrets,
    look::{Known, Look},
    record::{StoredValue, ValueName},
    rules,
    set::{Set, Unset},
    sweep::Sweeping,
};
use crate::{
    caller::Caller,
    registry::{Job, quoted},
    store::StoreHandle,
    vault::{Unopened, Vault},
};
use octavius_protocol::{
    id::{JobName, VariableName},
    secret::SecretValues,
};
use octavius_service::actor::{
    ActorSystem, Handle, Limits, Priority, RestartPolicy, Unanswered, Vitals,
};
use prost::Message as _;
use std::{collections::BTreeMap, io, sync::Arc, time::Duration};
use uuid::Uuid;

/// The way in to the secrets.
#[derive(Clone, Debug)]
pub struct SecretsHandle {
    actor: Handle<Secrets>,
    store: StoreHandle,
    vault: Vault,
}

impl SecretsHandle {
    /// Starts the actor on a thread of its own.
    pub fn start(system: &mut ActorSystem, store: StoreHandle, vault: Vault) -> io::Result<Self> {
        Self::start_sweeping(system, store, vault, Sweeping::USUAL)
    }

    /// Starts it with a sweep of this kind.
    pub(super) fn start_sweeping(
        system: &mut ActorSystem,
        store: StoreHandle,
        vault: Vault,
        sweeping: Sweeping,
    ) -> io::Result<Self> {
        let loaded = store.clone();
        let build = move || Secrets::load(loaded.clone(), sweeping);
        let gate = store.gate();
        let actor = system.supervise(NAME, Limits::default(), RestartPolicy::default(), build)?;
        let actor = actor.behind(gate);
        Ok(Self { actor, store, vault })
    }

    /// Sets a secret that `job` declares. The answer comes after it is on disk.
    pub async fn set(
        &self,
        job: &Job,
        name: &str,
        value: Vec<u8>,
        unmasked: bool,
        caller: &Caller,
    ) -> Result<SecretState, SecretError> {
        let checked = rules::check(&job.definition, name, value, unmasked);
        let (name, value) = checked.map_err(SecretError::Invalid)?;
        let job_uid = job.uid.clone();
        let to = ValueName { job_uid, name: name.clone(), value: Uuid::new_v4() };
        let sealed = self.vault.seal(&to.place(), value.as_bytes());
        let set = Set { job: job.name.clone(), value: to, sealed, by: caller.clone() };
        let set = self.sure(self.actor.mutate(Priority::Submit, set).await)?;
        Ok(SecretState { name, set: Some(set) })
    }

    /// What may be known of a job's secrets.
    pub async fn list(&self, job: &Job) -> Result<Vec<SecretState>, SecretError> {
        let known = self.actor.query(Priority::Read, Look(job.uid.clone())).await??;
        let shown = |(name, Known { set_at, set_by, .. })| (name, (set_at, set_by));
        Ok(rules::states(&job.definition, known.into_iter().map(shown).collect()))
    }

    /// Takes a secret of a job away. The answer comes after that is on disk.
    pub async fn unset(&self, job: &Job, name: &str, caller: &Caller) -> Result<(), SecretError> {
        let not_set = || SecretError::NotSet { job: job.name.clone(), name: quoted(name) };
        let known = name.parse().map_err(|_| not_set())?;
        let unset = Unset { job_uid: job.uid.clone(), name: known, by: caller.clone() };
        let was_set = self.sure(self.actor.mutate(Priority::Submit, unset).await)?;
        if was_set { Ok(()) } else { Err(not_set()) }
    }

    /// The values that an execution gets that is submitted now, or which are missing.
    pub(crate) async fn pin(
        &self,
        job: &JobName,
        job_uid: &str,
        wanted: &[VariableName],
    ) -> Result<Result<BTreeMap<VariableName, Uuid>, UnsetSecrets>, SecretError> {
        if wanted.is_empty() {
            return Ok(Ok(BTreeMap::new()));
        }
        let known = self.actor.query(Priority::Submit, Look(job_uid.to_owned())).await??;
        let names = rules::missing(wanted, &known);
        if !names.is_empty() {
            return Ok(Err(UnsetSecrets { job: job.clone(), names }));
        }
        let pinned = known.into_iter().filter(|(name, _)| wanted.contains(name));
        Ok(Ok(pinned.map(|(name, known)| (name, known.value)).collect()))
    }

    /// The values that were pinned, for whoever was granted the execution.
    pub(crate) async fn reveal(
        &self,
        job_uid: &str,
        pinned: &BTreeMap<VariableName, Uuid>,
    ) -> Result<SecretValues, RevealError> {
        let mut values = SecretValues::default();
        for (name, value) in pinned {
            let at = ValueName { job_uid: job_uid.to_owned(), name: name.clone(), value: *value };
            let found = self.store.get(&at.key()).await?;
            let found = found.ok_or_else(|| RevealError::Gone(name.clone()))?;
            let unopened = |why| RevealError::Unopened(name.clone(), why);
            let stored = StoredValue::decode(&found[..]);
            let stored = stored.map_err(|_| unopened(Unopened::Damaged))?;
            let opened = self.vault.open_sealed(&at.place(), &stored.sealed).map_err(unopened)?;
            let text = std::str::from_utf8(&opened).map_err(|_| unopened(Unopened::Damaged))?;
            values.insert(name.as_str(), text.to_owned());
        }
        Ok(values)
    }

    /// What opens and seals.
    pub(crate) fn vault(&self) -> &Vault {
        &self.vault
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

    /// What came of a change: whoever got no answer does not know whether it was made.
    fn sure<T>(
        &self,
        answer: Result<Result<T, SecretError>, Unanswered>,
    ) -> Result<T, SecretError> {
        match answer {
            Ok(answer) => answer,
            Err(why) if why.certainly_nothing() => Err(SecretError::Unanswered(why)),
            Err(why) => Err(SecretError::Unconfirmed(why.to_string())),
        }
    }
}
