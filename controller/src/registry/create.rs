//! New jobs.

use super::{CreateError, Job, JobDefinition, Known, Registry};
use crate::{
    caller::Caller,
    store::{Commit, Write, keys},
};
use actix::{
    ActorContext, ActorFutureExt, Context, Handler, Message, ResponseActFuture, WrapFuture, fut,
};
use jiff::Timestamp;
use octavius_protocol::id::JobName;
use std::sync::Arc;
use tokio::sync::watch;
use uuid::Uuid;

/// What became of a wish to store a job.
#[derive(Clone, Debug, PartialEq)]
pub struct Created {
    /// The job as stored.
    pub job: Arc<Job>,
    /// False where an equal one was there already.
    pub created: bool,
}

/// Stores a new job. The answer comes after it is on disk; of the same content again it changes nothing.
#[derive(Debug, Message)]
#[rtype(result = "Result<Created, CreateError>")]
pub(super) struct Create {
    /// The definition's, read.
    pub(super) name: JobName,
    /// Found to be right.
    pub(super) definition: JobDefinition,
    pub(super) caller: Caller,
}

impl Handler<Create> for Registry {
    type Result = ResponseActFuture<Self, Result<Created, CreateError>>;

    fn handle(&mut self, create: Create, _: &mut Context<Self>) -> Self::Result {
        match self.jobs.get(&create.name) {
            Some(known) => found(known, &create.definition),
            None if self.jobs.len() >= self.most => {
                Box::pin(fut::err(CreateError::Full { limit: self.most }))
            }
            None => self.store(create),
        }
    }
}

/// The answer where the name is taken. What it says of the other job has to be on disk, too.
fn found(
    known: &Known,
    definition: &JobDefinition,
) -> ResponseActFuture<Registry, Result<Created, CreateError>> {
    let job = known.job.clone();
    let answer = if job.definition == *definition {
        Ok(Created { job, created: false })
    } else {
        let created_by = job.created_by.clone();
        Err(CreateError::AlreadyExists { name: job.name.clone(), version: job.version, created_by })
    };
    Box::pin(fut::wrap_future(known.confirmed()).map(|(), _, _| answer))
}

impl Registry {
    fn store(
        &mut self,
        Create { name, definition, caller }: Create,
    ) -> ResponseActFuture<Self, Result<Created, CreateError>> {
        let job = Arc::new(Job {
            name: name.clone(),
            uid: Uuid::new_v4().to_string(),
            version: 1,
            created_at: Timestamp::now(),
            created_by: caller.name().to_owned(),
            definition,
        });
        let value = match serde_json::to_vec(&*job) {
            Ok(value) => bytes::Bytes::from(value),
            Err(error) => return Box::pin(fut::err(CreateError::NotStored(error.to_string()))),
        };
        let (confirm, unconfirmed) = watch::channel(false);
        let known = Known { job: job.clone(), size: value.len(), unconfirmed: Some(unconfirmed) };
        self.jobs.insert(name.clone(), known);
        let decision = vec![
            Write::Put(keys::job(&name), value.clone()),
            Write::Put(keys::job_version(&job.uid, job.version), value),
        ];
        let commit = self.writer.commit(decision).into_actor(self);
        Box::pin(commit.map(move |outcome, registry, context| match outcome {
            Commit::Done => {
                if let Some(known) = registry.jobs.get_mut(&name) {
                    known.unconfirmed = None;
                }
                confirm.send_replace(true);
                tracing::info!(job = %name, by = job.created_by, "a job was created");
                Ok(Created { job, created: true })
            }
            // What is shown here is not what is there: the next incarnation reads it again.
            Commit::Refused(why) => {
                context.stop();
                Err(CreateError::NotStored(why))
            }
            Commit::Unknown(why) => {
                tracing::warn!(job = %name, why, "nobody knows whether a job was stored");
                context.stop();
                Err(CreateError::Unconfirmed(name))
            }
        }))
    }
}
