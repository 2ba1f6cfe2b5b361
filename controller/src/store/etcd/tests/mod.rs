//! On a real etcd: the suite, members that die or freeze, logins, certificates, want of room, and elections.

mod elections;
mod faults;
mod logins;
mod room;

use super::*;
use crate::store::{
    Commit, Lead, Patience, Range, StoreHandle, Write, Writer, backend::Opener, suite,
};
use bytes::Bytes;
use octavius_service::actor::ActorSystem;
use octavius_testbed::etcd::{Etcd, EtcdOptions};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};
use tokio::time::{Instant, sleep};

/// Longer than anything takes that works.
const SOON: Duration = Duration::from_secs(30);
const PREFIX: &str = "octavius/";

fn settings(endpoints: Vec<String>) -> EtcdSettings {
    EtcdSettings {
        endpoints,
        user: None,
        ca_file: None,
        identity: None,
        dial_timeout: Duration::from_secs(1),
        max_txn_ops: 128,
        max_request_bytes: 1536 * 1024,
        prefix: PREFIX.to_owned(),
    }
}

/// Short enough for a test to wait for it.
fn patience() -> Patience {
    Patience { doubt: Duration::from_secs(30), ..Patience::far() }
}

/// A store's actor on an etcd.
struct World {
    system: ActorSystem,
    store: StoreHandle,
}

impl World {
    async fn start(opener: EtcdOpener, lead: Lead) -> Self {
        let mut system = ActorSystem::start("test").unwrap();
        let store = StoreHandle::start(&mut system, Arc::new(opener), lead, patience());
        let store = store.await.unwrap();
        store.handle().up(SOON).await.unwrap();
        Self { system, store }
    }

    async fn enlist(&self) -> Writer {
        self.store.enlist("a").await.unwrap()
    }

    async fn written(&self) -> BTreeMap<String, Bytes> {
        let all = self.store.all(Range::prefix("t/", 100)).await.unwrap();
        all.into_iter().map(|entry| (entry.key, entry.value)).collect()
    }
}

fn put(key: &str, value: impl Into<Bytes>) -> Vec<Write> {
    vec![Write::Put(format!("t/{key}"), value.into())]
}

async fn until<F: Future<Output = bool>>(wanted: &str, holds: impl Fn() -> F) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < SOON, "it never came: {wanted}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_suite_passes() {
    let etcd = Etcd::start(EtcdOptions::default()).await;
    let places = AtomicUsize::new(0);
    suite::passes(|| {
        let prefix = format!("place-{}/", places.fetch_add(1, Relaxed));
        Arc::new(EtcdOpener::new(EtcdSettings { prefix, ..settings(etcd.endpoints()) }))
    })
    .await;
}

#[tokio::test]
async fn a_prefix_that_is_not_ours_is_left_as_it_is() {
    let etcd = Etcd::start(EtcdOptions::default()).await;
    etcd.put("octavius/other", b"1").await;
    let opener = EtcdOpener::new(settings(etcd.endpoints()));
    let refused = opener.open().await.map(|_| ()).unwrap_err();
    assert!(!refused.is_away(), "{refused}");
    assert!(refused.to_string().contains("`octavius/other`"), "{refused}");
    assert!(refused.to_string().contains("etcd_prefix"), "{refused}");
    assert_eq!(etcd.keys("octavius/").await, ["octavius/other"]);

    etcd.put("newer/v1/schema", b"7").await;
    let prefix = "newer/".to_owned();
    let opener = EtcdOpener::new(EtcdSettings { prefix, ..settings(etcd.endpoints()) });
    let refused = opener.open().await.map(|_| ()).unwrap_err();
    assert!(refused.to_string().contains("schema version 7"), "{refused}");
}

#[tokio::test]
async fn nobody_at_any_endpoint_is_an_error_that_names_them_all() {
    let ports = [octavius_testbed::ports::free_port(), octavius_testbed::ports::free_port()];
    let endpoints: Vec<_> = ports.iter().map(|port| format!("http://127.0.0.1:{port}")).collect();
    let opener = EtcdOpener::new(settings(endpoints.clone()));
    let away = opener.open().await.map(|_| ()).unwrap_err();
    assert!(away.is_away());
    for endpoint in endpoints {
        assert!(away.to_string().contains(&format!("{endpoint}: ")), "{away}");
    }
}

#[tokio::test]
async fn an_etcd_that_takes_more_gets_larger_transactions() {
    let flags = vec!["--max-txn-ops=1000".to_owned(), "--max-request-bytes=8388608".to_owned()];
    let etcd = Etcd::start(EtcdOptions { flags, ..EtcdOptions::default() }).await;
    let more = EtcdSettings {
        max_txn_ops: 1000,
        max_request_bytes: 8 << 20,
        ..settings(etcd.endpoints())
    };
    let world = World::start(EtcdOpener::new(more), Lead::sole()).await;
    let writer = world.enlist().await;
    let text = Bytes::from(vec![7; 100_000]);
    let commits = (0..60).map(|n| writer.commit(put(&format!("{n:02}"), text.clone())));
    let commits = futures::future::join_all(commits).await;
    assert!(commits.iter().all(|commit| *commit == Commit::Done), "{commits:?}");
    assert_eq!(world.written().await.len(), 60);
    // The first flies alone, the other 59 are 5.9 MB: one batch of 7.75 MiB at the most, or a few where they come one by
    // one, and not the six of 1 MiB.
    let batches = etcd.history("octavius/v1/seq").await.unwrap().len();
    assert!(batches < 7, "{batches} batches");
    world.system.stop().await;
}
