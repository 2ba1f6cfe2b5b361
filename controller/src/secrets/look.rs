//! What is known of a job's secrets, and which of their values an execution gets.

use super::{SecretError, Secrets};
use actix::prelude::*;
use jiff::Timestamp;
use octavius_protocol::id::VariableName;
use std::collections::BTreeMap;
use uuid::Uuid;

/// What is known of a secret that is set.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) value: Uuid,
    pub(super) set_at: Timestamp,
    pub(super) set_by: String,
}

/// The secrets of one job that are set, once that is on disk.
#[derive(Debug, Message)]
#[rtype(result = "Result<BTreeMap<VariableName, Known>, SecretError>")]
pub(super) struct Look(pub(super) String);

impl Handler<Look> for Secrets {
    type Result = ResponseActFuture<Self, Result<BTreeMap<VariableName, Known>, SecretError>>;

    fn handle(&mut self, Look(job_uid): Look, _: &mut Context<Self>) -> Self::Result {
        let of_job = self.set.iter().filter(|((uid, _), _)| *uid == job_uid);
        let known: BTreeMap<_, _> = of_job
            .map(|((_, name), record)| {
                let (value, set_at, set_by) = (record.value, record.set_at, record.set_by.clone());
                (name.clone(), Known { value, set_at, set_by })
            })
            .collect();
        // Whoever is shown a value's name may rest on it: it has to be on disk.
        Box::pin(self.commit(Vec::new()).map(|committed, _, _| committed.map(|()| known)))
    }
}
