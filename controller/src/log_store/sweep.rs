//! Objects that the index does not know: what a crash left between writing a segment and committing its entry.

use super::{LogError, LogFolder, folder::is_probe, index, segment::ObjectName};
use crate::store::StoreHandle;
use futures::StreamExt;
use jiff::Timestamp;
use std::time::Duration;

/// Sweeps now, and again after each `every`, for ever.
pub(super) async fn now_and_then(
    store: StoreHandle,
    folder: LogFolder,
    term: u64,
    age: Duration,
    every: Duration,
) {
    loop {
        match sweep(&store, &folder, term, age).await {
            Ok(0) => {}
            Ok(deleted) => tracing::info!(deleted, "deleted segments that no log knows"),
            Err(error) => tracing::warn!(%error, "segments that no log knows were left for later"),
        }
        tokio::time::sleep(every.mul_f64(rand::random_range(0.9..1.1))).await;
    }
}

/// Deletes the objects of earlier terms that are older than `age` and unknown to the index, and probes of that age, and
/// says how many. Objects of this term are left alone: a flush may be about to commit one; those of a later one are that
/// leader's.
pub(super) async fn sweep(
    store: &StoreHandle,
    folder: &LogFolder,
    term: u64,
    age: Duration,
) -> Result<usize, LogError> {
    folder.owned().await?;
    let mut deleted = 0;
    let mut objects = folder.list();
    while let Some(object) = objects.next().await {
        let object = object.map_err(|error| {
            LogError::Away(format!("the segments could not be listed: {error}"))
        })?;
        // Both times are this machine's, or the object store's against a day.
        let written = Timestamp::from_second(object.last_modified.timestamp()).unwrap_or_default();
        let old = Duration::try_from(Timestamp::now().duration_since(written));
        if !old.is_ok_and(|old| old >= age) {
            continue;
        }
        let unknown = match ObjectName::parse(object.location.as_ref()) {
            Some(name) if name.term < term => {
                let (attempt, offset) = (name.attempt, name.offset);
                !index::refers_to(store, attempt, offset, object.location.as_ref()).await?
            }
            Some(_) => false,
            None => is_probe(&object.location),
        };
        if unknown {
            folder.delete(&object.location).await?;
            deleted += 1;
        }
    }
    Ok(deleted)
}
