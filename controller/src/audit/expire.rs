//! Entries that were kept long enough.

use super::entry::newest_before;
use crate::{
    store::{Commit, Range, ReadError, StoreHandle, Write, Writer, keys},
    timekeeper::{Timekeeper, Told},
};
use jiff::Timestamp;
use octavius_service::actor::Unanswered;
use std::time::Duration;

/// How many are removed in one transaction.
const AT_ONCE: usize = 100;
/// What is waited between two transactions, so that this is never what the store is busy with.
const PAUSE: Duration = Duration::from_millis(5);
/// How often it is looked for them.
const EVERY: Duration = Duration::from_mins(10);

/// Why some were left.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExpireError {
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("{0}")]
    NotStored(String),
}

/// Removes now, and again and again, for ever, the entries that were made more than `keep_for` ago.
pub(super) async fn now_and_then(store: StoreHandle, keep_for: Duration) {
    let mut ages = None;
    loop {
        match expire(&store, &mut ages, keep_for).await {
            Ok(0) => {}
            Ok(removed) => {
                tracing::info!(removed, "removed entries of the audit that were kept long enough");
            }
            Err(error) => {
                ages = None;
                tracing::warn!(%error, "entries of the audit that were kept long enough were left for later");
            }
        }
        tokio::time::sleep(EVERY.mul_f64(rand::random_range(0.9..1.1))).await;
    }
}

/// Says how late it is.
#[derive(Debug)]
struct Ages {
    timekeeper: Timekeeper,
    writer: Writer,
}

async fn expire(
    store: &StoreHandle,
    ages: &mut Option<Ages>,
    keep_for: Duration,
) -> Result<usize, ExpireError> {
    let Ages { timekeeper, writer } = match ages {
        Some(ages) => ages,
        None => ages.insert(Ages {
            writer: store.enlist("Audit (ages)").await?,
            timekeeper: Timekeeper::load(store, keys::TIME_FOR_AUDIT).await?,
        }),
    };
    // To delete takes room, too.
    if store.full().is_some() {
        return Ok(0);
    }
    let Told { time, write } = timekeeper.look();
    committed(writer.commit(write.into_iter().collect()).await)?;
    removed_before(store, writer, time.saturating_sub(keep_for).unwrap_or(Timestamp::MIN)).await
}

/// Removes all that were made before this time; how many.
pub(super) async fn removed_before(
    store: &StoreHandle,
    writer: &Writer,
    before: Timestamp,
) -> Result<usize, ExpireError> {
    let end = keys::prefix_end(keys::AUDIT);
    let old = Range { start: newest_before(before), end, limit: AT_ONCE };
    let mut removed = 0;
    loop {
        let page = store.range(old.clone()).await?;
        removed += page.entries.len();
        let deletes = page.entries.into_iter().map(|entry| Write::Delete(entry.key));
        committed(writer.commit(deletes.collect()).await)?;
        if !page.more {
            return Ok(removed);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn committed(commit: Commit) -> Result<(), ExpireError> {
    match commit {
        Commit::Done => Ok(()),
        Commit::Refused(why) | Commit::Unknown(why) => Err(ExpireError::NotStored(why)),
    }
}
