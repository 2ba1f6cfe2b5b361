//! etcd keeps every former value of every key until somebody compacts its history: we do, where nobody else does.

use super::{
    dial::{Connected, EtcdOpener},
    errors,
};
use etcd_client::{Error, GetOptions};
use std::{collections::VecDeque, time::Duration};
use tokio::time::{Instant, sleep, timeout};

/// How often the revision is noted.
const STEPS: u32 = 10;

/// Compacts the history of the etcd behind `opener` until it is dropped: what is older than `kept`. Where a read at a
/// revision of that age is refused, somebody else compacts, and nothing is done.
pub async fn compact_while(opener: &EtcdOpener, kept: Duration) {
    let mut revisions: VecDeque<(Instant, i64)> = VecDeque::new();
    loop {
        if let Ok(connected) = opener.dialer.dial().await {
            step(&connected, &mut revisions, kept).await;
        }
        sleep(kept / STEPS).await;
    }
}

/// Notes the revision of now, and compacts up to the last one that is old.
async fn step(connected: &Connected, revisions: &mut VecDeque<(Instant, i64)>, kept: Duration) {
    if let Some(Ok(now)) = look(connected, None).await {
        revisions.push_back((Instant::now(), now));
    }
    let mut old = None;
    while revisions.front().is_some_and(|(noted, _)| noted.elapsed() >= kept) {
        old = revisions.pop_front().map(|(_, revision)| revision);
    }
    if let Some(old) = old {
        compact(connected, old).await;
    }
}

/// Reads nothing, as it was at a revision or is now; the revision of now. None: no answer in time.
async fn look(connected: &Connected, at: Option<i64>) -> Option<Result<i64, Error>> {
    let nothing = GetOptions::new().with_count_only().with_revision(at.unwrap_or_default());
    let read = connected.call(|client| {
        let (mut kv, key) = (client.kv_client(), connected.dialer.key(""));
        let nothing = nothing.clone();
        async move { kv.get(key, Some(nothing)).await }
    });
    let found = timeout(connected.dialer.settings.dial_timeout, read).await.ok()?;
    Some(found.map(|found| found.header().map_or(0, etcd_client::ResponseHeader::revision)))
}

async fn compact(connected: &Connected, revision: i64) {
    match look(connected, Some(revision)).await {
        Some(Err(error)) if errors::is_compacted(&error) => {
            tracing::debug!(revision, "somebody else compacts etcd's history");
            return;
        }
        Some(Ok(_)) => {}
        Some(Err(_)) | None => return,
    }
    let within = connected.dialer.settings.dial_timeout;
    let compacting = connected.call(|client| {
        let mut kv = client.kv_client();
        async move { kv.compact(revision, None).await }
    });
    match timeout(within, compacting).await {
        Ok(Ok(_)) => tracing::info!(revision, "compacted etcd's history"),
        Ok(Err(error)) if errors::is_compacted(&error) => {}
        Ok(Err(error)) => tracing::warn!(
            error = errors::said(&error),
            "etcd's history was not compacted: let its user do that, or set `etcd_compaction` to `off` and compact it yourself"
        ),
        Err(_) => tracing::warn!("etcd's history was not compacted within {within:?}"),
    }
}
