//! The actor on the real embedded backend, with faults put between the two.

mod doubt;
mod fence;
mod flow;
mod panics;
mod space;

use super::{
    Commit, Lead, Patience, StoreHandle, Write, Writer,
    embedded::EmbeddedOpener,
    faulty::{Faults, FaultyOpener},
};
use bytes::Bytes;
use octavius_service::actor::ActorSystem;
use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::{task::JoinHandle, time::Instant};

const SOON: Duration = Duration::from_secs(30);
/// So long that no call is given up, and no doubt ends, because a machine is busy. Who waits for that has less.
const PATIENCE: Patience = Patience {
    call: Duration::from_secs(20),
    open: Duration::from_secs(30),
    doubt: Duration::from_secs(20),
    first_pause: Duration::from_millis(5),
    longest_pause: Duration::from_millis(50),
};

/// One store, with its folder and its faults.
struct World {
    system: ActorSystem,
    store: StoreHandle,
    faults: Faults,
    folder: TempDir,
}

impl World {
    async fn start() -> Self {
        Self::start_with(PATIENCE).await
    }

    async fn start_with(patience: Patience) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut system = ActorSystem::start("test").unwrap();
        let (opener, faults) = FaultyOpener::new(Arc::new(EmbeddedOpener::new(folder.path())));
        let store = StoreHandle::start(&mut system, opener, Lead::sole(), patience).await.unwrap();
        store.handle().up(SOON).await.unwrap();
        Self { system, store, faults, folder }
    }

    /// Enlists as soon as the store serves.
    async fn enlist(&self, owner: &'static str) -> Writer {
        let began = Instant::now();
        loop {
            match self.store.enlist(owner).await {
                Ok(writer) => return writer,
                Err(why) => assert!(began.elapsed() < SOON, "never enlisted: {why}"),
            }
            let _ = self.store.handle().up(SOON).await;
        }
    }

    /// What the store holds of `t/`, read as soon as it serves.
    async fn written(&self) -> BTreeMap<String, Bytes> {
        let began = Instant::now();
        loop {
            match self.store.all(super::Range::prefix("t/", 100)).await {
                Ok(all) => return all.into_iter().map(|entry| (entry.key, entry.value)).collect(),
                Err(why) => assert!(began.elapsed() < SOON, "never read: {why}"),
            }
            let _ = self.store.handle().up(SOON).await;
        }
    }

    async fn stop(self) {
        self.system.stop().await;
    }
}

/// Waits until it holds, and says what was wanted where it never does.
async fn until(wanted: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < SOON, "it never came: {wanted}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Waits until as many calls of the store wait as are wanted.
async fn until_waiting(world: &World, calls: usize) {
    until("calls wait", || world.store.vitals().waiting() == calls).await;
}

fn put(key: &str, value: impl Into<Bytes>) -> Write {
    Write::Put(format!("t/{key}"), value.into())
}

fn delete(key: &str) -> Write {
    Write::Delete(format!("t/{key}"))
}

/// Queues a decision and answers with a task that ends when it is committed.
fn queue(writer: &Writer, decision: Vec<Write>) -> JoinHandle<Commit> {
    tokio::spawn(writer.commit(decision))
}

async fn answer<T>(task: impl Future<Output = Result<T, tokio::task::JoinError>>) -> T {
    tokio::time::timeout(SOON, task).await.unwrap().unwrap()
}

fn refused(commit: Commit) -> String {
    match commit {
        Commit::Refused(why) => why,
        other => panic!("not refused: {other:?}"),
    }
}
