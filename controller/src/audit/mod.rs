//! The audit: who did what, with which token, from where, about what; and who was refused.
//!
//! What changes something is recorded in the transaction that changes it, by whoever makes that: an entry is there exactly
//! where the change is. What is refused at the door, and the taking of a backup, this actor records. With an open door
//! nothing is recorded, for nobody proves who they are. No call changes or removes an entry; they go once they were kept
//! for `keep_audit_for`.
//!
//! An entry has names alone: of executions, jobs, executors, tokens and secrets. No value of an argument or a secret comes
//! near it.

mod entry;
mod error;
mod expire;
mod handle;
mod look;
mod refusals;
#[cfg(test)]
mod tests;

pub use entry::About;
pub use error::AuditError;
pub use handle::AuditHandle;
pub use look::{AuditPage, Wanted};

use crate::{
    caller::Caller,
    store::{Commit, StoreHandle, Write, Writer},
};
use actix::prelude::*;
use refusals::Refusals;
use std::time::Duration;
use tokio::time::Instant;

/// The actor's name in the store, in metrics and in errors.
pub const NAME: &str = "Audit";

/// How many refusals of callers with a right token are recorded at once, and how often one more.
const OF_CALLERS: (u32, Duration) = (1_000, Duration::from_secs(1));
/// The same of calls whose token was not taken.
const OF_STRANGERS: (u32, Duration) = (100, Duration::from_secs(10));

/// The actor. Talk to it through [`AuditHandle`].
#[derive(Debug)]
pub struct Audit {
    store: StoreHandle,
    writer: Writer,
    keep_for: Duration,
    of_callers: Refusals,
    of_strangers: Refusals,
}

impl Actor for Audit {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let expiring = expire::now_and_then(self.store.clone(), self.keep_for);
        context.spawn(expiring.into_actor(self));
    }
}

octavius_service::panics_when_told!(Audit);

impl Audit {
    async fn load(store: StoreHandle, keep_for: Duration) -> anyhow::Result<Self> {
        let writer = store.enlist(NAME).await?;
        let [of_callers, of_strangers] =
            [OF_CALLERS, OF_STRANGERS].map(|(most, every)| Refusals::new(most, every));
        Ok(Self { store, writer, keep_for, of_callers, of_strangers })
    }
}

/// Records what changes nothing itself. The answer comes after it is on disk.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), AuditError>")]
struct Keep(Write);

impl Handler<Keep> for Audit {
    type Result = ResponseActFuture<Self, Result<(), AuditError>>;

    fn handle(&mut self, Keep(entry): Keep, _: &mut Context<Self>) -> Self::Result {
        self.keep(entry)
    }
}

/// Records that a caller was refused, unless too many were just before.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), AuditError>")]
struct Refused {
    caller: Caller,
    about: About,
    why: String,
}

impl Handler<Refused> for Audit {
    type Result = ResponseActFuture<Self, Result<(), AuditError>>;

    fn handle(&mut self, refused: Refused, _: &mut Context<Self>) -> Self::Result {
        let Refused { caller, about, why } = refused;
        let bucket = match caller.token() {
            Some(_) => &mut self.of_callers,
            None => &mut self.of_strangers,
        };
        match bucket.take(Instant::now()) {
            Some(left_out) => self.keep(caller.was_refused(about, &with_others(why, left_out))),
            None => Box::pin(fut::ok(())),
        }
    }
}

fn with_others(why: String, left_out: u64) -> String {
    match left_out {
        0 => why,
        others => format!(
            "{why} (and {others} more since the entry before, which are not recorded one by one)"
        ),
    }
}

impl Audit {
    fn keep(&self, entry: Write) -> ResponseActFuture<Self, Result<(), AuditError>> {
        let commit = self.writer.commit(vec![entry]).into_actor(self);
        Box::pin(commit.map(|outcome, _, context| match outcome {
            Commit::Done => Ok(()),
            Commit::Refused(why) | Commit::Unknown(why) => {
                context.stop();
                Err(AuditError::NotStored(why))
            }
        }))
    }
}
