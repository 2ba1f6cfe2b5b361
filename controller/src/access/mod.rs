//! Access: the tokens of people and executors, and the roles that were given.
//!
//! Owns nothing that the store does not, and of tokens only what proves them. A decision shows in the view at once, which
//! the door reads for each call, and its answer leaves only after the store has confirmed it (P1): what is taken away is
//! gone before whoever took it away hears of it. Not here: who may call what, which is the door's table, and which groups
//! a job has, which is the registry's.

mod change;
mod error;
mod handle;
pub mod issuer;
mod join;
mod look;
pub mod record;
pub mod rules;
mod sight;
#[cfg(test)]
mod tests;
pub mod token;
pub mod view;

pub use error::{AccessError, JoinError};
pub(crate) use handle::role_token;
pub use handle::{AccessHandle, MOST_GRANTS, MOST_TOKENS, Made};
pub use join::JoinsWith;
pub(crate) use join::MOST_OF_AN_ACCOUNT;
pub use sight::Sight;
pub use view::AccessView;

use crate::store::{Commit, Range, StoreHandle, Write, Writer, keys};
use actix::prelude::*;
use anyhow::Context as _;
use record::{GrantRecord, TokenRecord};
use tokio::sync::watch;
use view::Known;

/// The actor's name in the store, in metrics and in errors.
pub const NAME: &str = "Access";

/// The actor. Talk to it through [`AccessHandle`].
#[derive(Debug)]
pub struct Access {
    /// What it knows, as the door sees it. There is something from the start on.
    known: watch::Sender<Option<Known>>,
    writer: Writer,
}

impl Actor for Access {
    type Context = Context<Self>;
}

octavius_service::panics_when_told!(Access);

impl Access {
    /// What the store has.
    async fn load(
        store: &StoreHandle,
        view: watch::Sender<Option<Known>>,
        first: Option<TokenRecord>,
    ) -> anyhow::Result<Self> {
        // First the writer: what an earlier incarnation had queued is settled then, and the range shows it.
        let writer = store.enlist(NAME).await?;
        let mut known = Known::default();
        for entry in store.all(Range::prefix(keys::TOKENS, 1_000)).await? {
            let record = TokenRecord::read(&entry)
                .with_context(|| format!("`{}` in the store is no token", entry.key))?;
            known.insert_token(record);
        }
        for entry in store.all(Range::prefix(keys::ROLES, 1_000)).await? {
            let no_role = || format!("`{}` in the store is no role", entry.key);
            let record: GrantRecord = serde_json::from_slice(&entry.value).with_context(no_role)?;
            let subject = record.subject().with_context(no_role)?;
            known.grants.entry(subject).or_default().insert(record.job.clone(), record);
        }
        known.first = first.as_ref().map(|first| first.id.clone());
        if let Some(first) = first {
            known.insert_token(first);
        }
        let (tokens, subjects) = (known.tokens.len(), known.grants.len());
        tracing::info!(tokens, subjects, "tokens and roles are loaded");
        view.send_replace(Some(known));
        Ok(Self { known: view, writer })
    }

    /// Looks at what is known.
    fn known<T>(&self, look: impl FnOnce(&Known) -> T) -> T {
        match &*self.known.borrow() {
            Some(known) => look(known),
            None => look(&Known::default()),
        }
    }

    /// Changes what is known.
    fn change<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        let mut change = Some(change);
        let mut changed = None;
        self.known.send_modify(|known| {
            changed = change.take().map(|change| change(known.get_or_insert_default()));
        });
        #[allow(clippy::expect_used)] // it is called exactly once
        changed.expect("a change that was made")
    }

    /// Has the store make these changes. If it does not confirm, the actor ends, and begins again from the store.
    fn commit(&self, writes: Vec<Write>) -> ResponseActFuture<Self, Result<(), AccessError>> {
        let commit = self.writer.commit(writes).into_actor(self);
        Box::pin(commit.map(|outcome, _, context| match outcome {
            Commit::Done => Ok(()),
            Commit::Refused(why) => {
                context.stop();
                Err(AccessError::NotStored(why))
            }
            Commit::Unknown(why) => {
                context.stop();
                Err(AccessError::Unconfirmed(why))
            }
        }))
    }
}
