//! Setting a secret, and taking one away.

use super::{
    SecretError, Secrets,
    record::{SecretRecord, ValueName, put_value},
};
use crate::{
    audit::About,
    caller::Caller,
    registry::rules::definition::MOST_SECRETS,
    store::{Write, keys},
};
use actix::prelude::*;
use jiff::Timestamp;
use octavius_protocol::id::{JobName, VariableName};
use tokio::time::Instant;

/// Stores a value that is sealed already. The answer comes after it is on disk.
#[derive(Message)]
#[rtype(result = "Result<(Timestamp, String), SecretError>")]
pub(super) struct Set {
    pub(super) job: JobName,
    pub(super) value: ValueName,
    pub(super) sealed: Vec<u8>,
    pub(super) by: Caller,
}

impl Handler<Set> for Secrets {
    type Result = ResponseActFuture<Self, Result<(Timestamp, String), SecretError>>;

    fn handle(
        &mut self,
        Set { job, value, sealed, by }: Set,
        _: &mut Context<Self>,
    ) -> Self::Result {
        let secret = (value.job_uid.clone(), value.name.clone());
        let of_job = |uid: &String| *uid == value.job_uid;
        let limit = MOST_SECRETS;
        let is_new = !self.set.contains_key(&secret);
        if is_new && self.set.keys().filter(|(uid, _)| of_job(uid)).count() >= limit {
            return Box::pin(fut::err(SecretError::Full { job, limit }));
        }
        if self.replaced.keys().filter(|other| of_job(&other.job_uid)).count() >= limit {
            return Box::pin(fut::err(SecretError::Replaced { job, limit }));
        }
        let set_at = Timestamp::now();
        let record = SecretRecord {
            job: job.clone(),
            value: value.value,
            set_at,
            set_by: by.name().to_owned(),
        };
        let key = keys::secret(&value.job_uid, &value.name);
        let stored = match serde_json::to_vec(&record) {
            Ok(stored) => stored,
            Err(error) => return Box::pin(fut::err(SecretError::NotStored(error.to_string()))),
        };
        let mut writes = vec![Write::Put(key, stored.into()), put_value(&value, &job, sealed)];
        writes.extend(by.did(about(&job, &value.name)));
        if let Some(former) = self.set.insert(secret, record) {
            let former_value = ValueName { value: former.value, ..value.clone() };
            self.replaced.insert(former_value, (former.job, Instant::now()));
        }
        Box::pin(self.commit(writes).map(move |committed, _, _| {
            committed?;
            tracing::info!(%job, name = %value.name, by = by.name(), "a secret was set");
            Ok((set_at, by.name().to_owned()))
        }))
    }
}

/// Takes a secret away. The answer comes after that is on disk. False: it is not set.
#[derive(Debug, Message)]
#[rtype(result = "Result<bool, SecretError>")]
pub(super) struct Unset {
    pub(super) job_uid: String,
    pub(super) name: VariableName,
    pub(super) by: Caller,
}

impl Handler<Unset> for Secrets {
    type Result = ResponseActFuture<Self, Result<bool, SecretError>>;

    fn handle(
        &mut self,
        Unset { job_uid, name, by }: Unset,
        _: &mut Context<Self>,
    ) -> Self::Result {
        let Some(former) = self.set.remove(&(job_uid.clone(), name.clone())) else {
            return Box::pin(
                self.commit(Vec::new()).map(|committed, _, _| committed.map(|()| false)),
            );
        };
        let mut writes = vec![Write::Delete(keys::secret(&job_uid, &name))];
        writes.extend(by.did(about(&former.job, &name)));
        let value = ValueName { job_uid, name: name.clone(), value: former.value };
        self.replaced.insert(value, (former.job.clone(), Instant::now()));
        Box::pin(self.commit(writes).map(move |committed, _, _| {
            committed?;
            tracing::info!(job = %former.job, %name, by = by.name(), "a secret was taken away");
            Ok(true)
        }))
    }
}

fn about(job: &JobName, name: &VariableName) -> About {
    About::job(job).and(format!("secret `{name}`"))
}
