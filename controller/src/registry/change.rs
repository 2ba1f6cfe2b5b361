//! New jobs, and new versions of those that there are.

use super::{
    ChangeError, Job, JobDefinition, Known, Registry, Shown,
    rules::{Decision, NotDecided, Wish, decide},
};
use crate::{
    audit::About,
    caller::Caller,
    store::{Commit, Write, keys},
};
use actix::{
    ActorContext, ActorFutureExt, Context, Handler, Message, ResponseActFuture, WrapFuture, fut,
};
use bytes::Bytes;
use jiff::Timestamp;
use octavius_protocol::id::JobName;
use std::sync::Arc;
use tokio::sync::watch;
use uuid::Uuid;

/// What became of a wish to store a job.
#[derive(Clone, Debug, PartialEq)]
pub struct Changed {
    /// The job as it is stored; of a dry run, as it would be.
    pub job: Arc<Job>,
    /// Whether there is a new version; false where it has this content already.
    pub changed: bool,
    /// Whether there was no job of this name before.
    pub created: bool,
}

/// Stores a job, or a version of it. The answer comes after it is on disk.
#[derive(Debug, Message)]
#[rtype(result = "Result<Changed, ChangeError>")]
pub(super) struct Change {
    /// The definition's, read.
    pub(super) name: JobName,
    /// Found to be right.
    pub(super) definition: JobDefinition,
    pub(super) wish: Wish,
    /// Stores nothing, and answers what would be stored.
    pub(super) dry_run: bool,
    pub(super) caller: Caller,
}

type Answer = ResponseActFuture<Registry, Result<Changed, ChangeError>>;

impl Handler<Change> for Registry {
    type Result = Answer;

    fn handle(&mut self, change: Change, _: &mut Context<Self>) -> Self::Result {
        let known = self.jobs.get(&change.name);
        if known.is_some_and(Known::is_doomed) {
            return Box::pin(fut::err(ChangeError::Doomed(change.name)));
        }
        let before = self.gone.get(&change.name).map_or(0, |gone| gone.version);
        let job = known.map(|known| &*known.job);
        match (known, decide(job, before, &change.definition, change.wish)) {
            (Some(known), Ok(Decision::Keep)) => kept(known),
            (_, Err(why)) => self.not_decided(&change, why),
            (None, _) if self.jobs.len() >= self.most => {
                Box::pin(fut::err(ChangeError::Full { limit: self.most }))
            }
            (_, Ok(Decision::Begin(version) | Decision::Follow(version))) => {
                let created = known.is_none();
                let first = known.map(|known| (known.job.uid.clone(), known.job.first_version));
                let (uid, first_version) =
                    first.unwrap_or_else(|| (Uuid::new_v4().to_string(), version));
                let job = Arc::new(Job {
                    name: change.name,
                    uid,
                    version,
                    first_version,
                    created_at: Timestamp::now(),
                    created_by: change.caller.name().to_owned(),
                    definition: change.definition,
                });
                let changed = Changed { job, changed: true, created };
                if change.dry_run {
                    Box::pin(fut::ok(changed))
                } else {
                    self.store(changed, &change.caller)
                }
            }
            (None, Ok(Decision::Keep)) => {
                Box::pin(fut::err(self.unknown(change.name.as_str()).into()))
            }
        }
    }
}

/// The answer where nothing changes. What it says of the job has to be on disk, too.
fn kept(known: &Known) -> Answer {
    let changed = Changed { job: known.job.clone(), changed: false, created: false };
    Box::pin(fut::wrap_future(known.confirmed()).map(|(), _, _| Ok(changed)))
}

impl Registry {
    fn not_decided(&self, change: &Change, why: NotDecided) -> Answer {
        let Some(known) = self.jobs.get(&change.name) else {
            let error = match (why, change.wish) {
                (NotDecided::OtherVersion, Wish::Update { expected_version, .. }) => {
                    ChangeError::OtherVersion {
                        name: change.name.clone(),
                        expected: expected_version,
                        newest: 0,
                    }
                }
                _ => ChangeError::LookUp(self.unknown(change.name.as_str())),
            };
            return Box::pin(fut::err(error));
        };
        let job = known.job.clone();
        let error = match change.wish {
            Wish::Create => ChangeError::AlreadyExists {
                name: job.name.clone(),
                version: job.version,
                created_by: job.created_by.clone(),
            },
            Wish::Update { expected_version, .. } => ChangeError::OtherVersion {
                name: job.name.clone(),
                expected: expected_version,
                newest: job.version,
            },
        };
        Box::pin(fut::wrap_future(known.confirmed()).map(|(), _, _| Err(error)))
    }

    fn store(&mut self, changed: Changed, caller: &Caller) -> Answer {
        let job = changed.job.clone();
        let name = job.name.clone();
        let value = match serde_json::to_vec(&*job) {
            Ok(value) => Bytes::from(value),
            Err(error) => return Box::pin(fut::err(ChangeError::NotStored(error.to_string()))),
        };
        let (confirm, unconfirmed) = watch::channel(false);
        let size = value.len();
        let known = Known { job: job.clone(), size, unconfirmed: Some(unconfirmed), doomed: None };
        self.jobs.insert(name.clone(), known);
        self.tell(&name, Some(Shown::from(&job)));
        let mut decision = vec![
            Write::Put(keys::job(&name), value.clone()),
            Write::Put(keys::job_version(&job.uid, job.version), value),
        ];
        if self.gone.remove(&name).is_some() {
            decision.push(Write::Delete(keys::job_gone(&name)));
        }
        let too_old = job.kept_versions().start().checked_sub(1);
        if let Some(too_old) = too_old.filter(|version| *version >= job.first_version) {
            decision.push(Write::Delete(keys::job_version(&job.uid, too_old)));
        }
        let about = About::job(&name).and(format!("version {}", job.version));
        decision.extend(caller.did(about));
        let commit = self.writer.commit(decision).into_actor(self);
        Box::pin(commit.map(move |outcome, registry, context| match outcome {
            Commit::Done => {
                // A newer version may be on its way already.
                let known = registry.jobs.get_mut(&name);
                if let Some(known) = known.filter(|known| Arc::ptr_eq(&known.job, &job)) {
                    known.unconfirmed = None;
                }
                confirm.send_replace(true);
                tracing::info!(job = %name, version = job.version, by = job.created_by, "a job was stored");
                Ok(changed)
            }
            // What is shown here is not what is there: the next incarnation reads it again.
            Commit::Refused(why) => {
                context.stop();
                Err(ChangeError::NotStored(why))
            }
            Commit::Unknown(why) => {
                tracing::warn!(job = %name, why, "nobody knows whether a job was stored");
                context.stop();
                Err(ChangeError::Unconfirmed(name))
            }
        }))
    }
}
