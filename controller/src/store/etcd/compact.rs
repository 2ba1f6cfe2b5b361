//! etcd keeps every former value of every key until somebody compacts its history: we do, where nobody else does.

use super::dial::{Dialer, EtcdOpener};
use super::errors;
use etcd_client::GetOptions;
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep, timeout};

/// How often the revision is noted.
const STEPS: u32 = 10;

/// Compacts the history of the etcd behind `opener` until it is dropped: what is older than `kept`. Where a read at a
/// revision of that age is refused, somebody else compacts, and nothing is done.
pub async fn compact_while(opener: &EtcdOpener, kept: Duration) {
    let dialer = Arc::new(Dialer::new(opener.dialer.settings.clone()));
    let mut revisions: VecDeque<(Instant, i64)> = VecDeque::new();
    loop {
        if let Some(revision) = revision(&dialer).await {
            revisions.push_back((Instant::now(), revision));
        }
        let mut old = None;
        while revisions.front().is_some_and(|(noted, _)| noted.elapsed() >= kept) {
            old = revisions.pop_front().map(|(_, revision)| revision);
        }
        if let Some(old) = old {
            compact(&dialer, old).await;
        }
        sleep(kept / STEPS).await;
    }
}

async fn revision(dialer: &Arc<Dialer>) -> Option<i64> {
    let mut connected = dialer.dial().await.ok()?;
    let none = GetOptions::new().with_count_only();
    let read = connected.client.get(dialer.key(""), Some(none));
    let found = timeout(dialer.settings.dial_timeout, read).await.ok()?.ok()?;
    found.header().map(etcd_client::ResponseHeader::revision)
}

async fn compact(dialer: &Arc<Dialer>, revision: i64) {
    let Ok(mut connected) = dialer.dial().await else { return };
    let within = dialer.settings.dial_timeout;
    let at = GetOptions::new().with_count_only().with_revision(revision);
    match timeout(within, connected.client.get(dialer.key(""), Some(at))).await {
        Ok(Err(error)) if errors::is_compacted(&error) => {
            tracing::debug!(revision, "somebody else compacts etcd's history");
            return;
        }
        Ok(Ok(_)) => {}
        Ok(Err(_)) | Err(_) => return,
    }
    match timeout(within, connected.client.compact(revision, None)).await {
        Ok(Ok(_)) => tracing::info!(revision, "compacted etcd's history"),
        Ok(Err(error)) if errors::is_compacted(&error) => {}
        Ok(Err(error)) => tracing::warn!(
            error = errors::said(&error),
            "etcd's history was not compacted: let its user do that, or set `etcd_compaction` to `off` and compact it yourself"
        ),
        Err(_) => tracing::warn!("etcd's history was not compacted within {within:?}"),
    }
}
