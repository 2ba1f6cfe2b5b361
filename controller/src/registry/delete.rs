//! The end of a job, in two steps: first it is doomed, so that nobody can execute or change it, and whoever doomed it
//! finds out whether anything of it is still to run; then it is deleted, or let live again.
//!
//! Its last version's number stays in the store, so that a later job of its name goes on behind it. Executions of it have
//! what they were submitted with.

use super::{DeleteError, Gone, Job, Known, Registry, Shown};
use crate::{
    audit::About,
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

/// So many names of deleted jobs are remembered with their last versions; beyond it the one deleted first is forgotten.
pub(crate) const MOST_GONE: usize = 10_000;

/// A job that nobody can execute or change as long as this is held. Dropped, it lives again.
#[derive(Debug)]
pub struct Doomed {
    /// The job, as it is on disk.
    pub job: Arc<Job>,
    held: watch::Sender<()>,
}

/// Dooms a job.
#[derive(Debug, Message)]
#[rtype(result = "Result<Doomed, DeleteError>")]
pub(super) struct Doom(pub(super) String);

impl Handler<Doom> for Registry {
    type Result = ResponseActFuture<Self, Result<Doomed, DeleteError>>;

    fn handle(&mut self, Doom(name): Doom, _: &mut Context<Self>) -> Self::Result {
        let known = name.parse::<JobName>().ok().and_then(|name| self.jobs.get_mut(&name));
        let Some(known) = known else {
            return Box::pin(fut::err(DeleteError::LookUp(self.unknown(&name))));
        };
        if known.is_doomed() {
            return Box::pin(fut::err(DeleteError::UnderWay(known.job.name.clone())));
        }
        let (held, doomed) = watch::channel(());
        known.doomed = Some(doomed);
        let doomed = Doomed { job: known.job.clone(), held };
        Box::pin(fut::wrap_future(known.confirmed()).map(|(), _, _| Ok(doomed)))
    }
}

/// Deletes a doomed job. The answer comes after that is on disk.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), DeleteError>")]
pub(super) struct Delete(pub(super) Doomed, pub(super) Caller);

impl Handler<Delete> for Registry {
    type Result = ResponseActFuture<Self, Result<(), DeleteError>>;

    fn handle(&mut self, Delete(doomed, caller): Delete, _: &mut Context<Self>) -> Self::Result {
        let name = doomed.job.name.clone();
        // The registry may have been built again since, and then others may have come in between.
        if !self.jobs.get(&name).is_some_and(|known| known.is_doomed_by(&doomed)) {
            return Box::pin(fut::err(DeleteError::UnderWay(name)));
        }
        let gone = Gone {
            version: doomed.job.version,
            uid: doomed.job.uid.clone(),
            deleted_at: Timestamp::now(),
            deleted_by: caller.name().to_owned(),
            authorized_groups: Some(doomed.job.definition.authorized_groups.clone()),
        };
        let value = match serde_json::to_vec(&gone) {
            Ok(value) => value.into(),
            Err(error) => return Box::pin(fut::err(DeleteError::NotStored(error.to_string()))),
        };
        let mut decision =
            vec![Write::Delete(keys::job(&name)), Write::Put(keys::job_gone(&name), value)];
        let versions = doomed.job.kept_versions();
        decision.extend(
            versions.map(|version| Write::Delete(keys::job_version(&doomed.job.uid, version))),
        );
        decision.extend(caller.did(About::job(&name)));
        let oldest = self.gone.iter().min_by_key(|(_, gone)| gone.deleted_at);
        if let Some((oldest, _)) = oldest.filter(|_| self.gone.len() >= MOST_GONE) {
            let oldest = oldest.clone();
            decision.push(Write::Delete(keys::job_gone(&oldest)));
            self.gone.remove(&oldest);
            self.tell(&oldest, None);
        }
        let commit = self.writer.commit(decision).into_actor(self);
        // Until it is on disk it is shown as before, and stays doomed.
        Box::pin(commit.map(move |outcome, registry, context| match outcome {
            Commit::Done => {
                registry.jobs.remove(&name);
                registry.tell(&name, Some(Shown::from(&gone)));
                tracing::info!(job = %name, version = gone.version, by = gone.deleted_by, "a job was deleted");
                registry.gone.insert(name, gone);
                drop(doomed);
                Ok(())
            }
            // What is shown here is not what is there: the next incarnation reads it again.
            Commit::Refused(why) => {
                context.stop();
                Err(DeleteError::NotStored(why))
            }
            Commit::Unknown(why) => {
                tracing::warn!(job = %name, why, "nobody knows whether a job was deleted");
                context.stop();
                Err(DeleteError::Unconfirmed(name))
            }
        }))
    }
}

impl Known {
    /// Whether somebody is about to delete it.
    pub(super) fn is_doomed(&self) -> bool {
        // Nothing is ever sent: an error says that who doomed it has let go.
        self.doomed.as_ref().is_some_and(|doomed| doomed.has_changed().is_ok())
    }

    fn is_doomed_by(&self, by: &Doomed) -> bool {
        self.doomed.as_ref().is_some_and(|doomed| by.held.subscribe().same_channel(doomed))
    }
}
