//! The store: ranges by key, and transactions of compares and writes. A small part of etcd's own model.
//!
//! [`Backend`] is the one trait that a backend implements; `suite` is what each must pass. The actor [`Store`] owns
//! the one connection: it gathers concurrent writes into one transaction (group commit), guards each with the batch
//! sequence key, so that sending a batch again is safe, and fences writers whose actor was built again.
//! Nothing above this module knows which backend it is.
//!
//! Promised: what was answered [`Commit::Done`] is on disk (P1). Decisions land in the order of the calls, whole, and
//! never behind a lost one of the same writer. A read sees all writes that were queued before it.
//! Not here: what the entries mean. Their keys are in [`keys`], their contents with the actors that write them.

mod backend;
mod commit;
#[cfg(any(feature = "bench", feature = "fault-injection"))]
pub mod copies;
mod data;
pub mod embedded;
mod enlist;
#[cfg(feature = "etcd")]
pub mod etcd;
#[cfg(any(test, feature = "fault-injection"))]
pub mod faulty;
mod flight;
mod handle;
pub mod keys;
mod layout;
mod lead;
pub mod packed;
mod read;
mod recent;
pub(crate) mod rules;
mod space;
#[cfg(any(test, feature = "fault-injection"))]
pub mod suite;
mod term;
#[cfg(test)]
mod tests;

pub use backend::{
    Backend, Capacity, CommitError, Compare, LimitError, OpenError, Opener, Outcome, Purpose,
    RangeError, Snapshot, Transaction,
};
pub(crate) use backend::{RESTORING, SCHEMA_VERSION};
pub use data::{Entry, Page, Range, Write};
pub use flight::Patience;
pub use handle::{Commit, ReadError, StartError, StoreHandle, Writer};
pub use layout::page as layout_page;
pub use lead::Lead;
pub use rules::{MOST_BYTES, MOST_WRITES};
pub(crate) use term::raised_generation;
pub use term::{Leadership, TermError, begin_term, installation};

use actix::{Actor, AsyncContext, Context};
use anyhow::Context as _;
use bytes::Bytes;
use flight::{Connection, Flying};
use read::Waiter;
use recent::Recent;
use rules::{BatchLimits, Queue, Ticket};
use space::Space;
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, atomic::AtomicU64},
};
use tokio::sync::{Semaphore, oneshot};

/// How many reads the backend works on at once; further ones wait.
const READS_AT_ONCE: usize = 16;

/// The actor that owns the connection. Others hold a [`StoreHandle`].
pub struct Store {
    opener: Arc<dyn Opener>,
    patience: Patience,
    /// Away while a batch flies or the connection is made anew: nothing else begins meanwhile.
    backend: Option<Arc<dyn Backend>>,
    flying: Flying,
    /// Under which all is written.
    lead: Lead,
    sequence: Sequence,
    /// How much one transaction holds.
    capacity: Capacity,
    queue: Queue<oneshot::Sender<Commit>>,
    /// Who waits until all decisions up to a ticket are settled.
    waiters: BTreeMap<Ticket, Vec<Waiter>>,
    reads: Arc<Semaphore>,
    recent: Recent,
    /// Goes on over all lives of the store, so that no number is used twice.
    incarnations: Arc<AtomicU64>,
    space: Space,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("opener", &self.opener).finish_non_exhaustive()
    }
}

impl Actor for Store {
    type Context = Context<Self>;
}

octavius_service::panics_when_told!(Store);

impl Store {
    /// Connects, unless `backend` is there already, and reads where the batches are. Writers of former lives are
    /// strangers to it.
    async fn build(
        opener: Arc<dyn Opener>,
        backend: Option<Arc<dyn Backend>>,
        patience: Patience,
        lead: Lead,
        incarnations: Arc<AtomicU64>,
        space: Space,
    ) -> anyhow::Result<Self> {
        let flying = Flying::new(None);
        let mut connection = Connection::new(opener.clone(), backend, patience, flying.clone());
        let found = connection.get(keys::SEQUENCE).await.map_err(anyhow::Error::msg)?;
        let sequence = Sequence::found(found, lead.holder())?;
        let backend = connection.backend().await.map_err(anyhow::Error::msg)?;
        let capacity = opener.capacity();
        Ok(Self {
            opener,
            patience,
            flying,
            backend: Some(backend),
            lead,
            sequence,
            queue: Queue::new(batches(capacity)),
            capacity,
            waiters: BTreeMap::new(),
            reads: Arc::new(Semaphore::new(READS_AT_ONCE)),
            recent: Recent::default(),
            incarnations,
            space,
        })
    }

    /// Does what can be done now: lets those read whose writes are settled, then sends the next batch.
    fn go_on(&mut self, context: &mut Context<Self>) {
        let Some(backend) = self.backend.clone() else { return };
        self.release(&backend, context);
        drop(backend); // redb's file can be opened again only when all have let go
        self.take_off(context);
    }

    /// Wakes those whose time has come.
    fn release(&mut self, backend: &Arc<dyn Backend>, context: &mut Context<Self>) {
        let later = self.waiters.split_off(&(self.queue.settled() + 1));
        let ready = std::mem::replace(&mut self.waiters, later);
        for waiter in ready.into_values().flatten() {
            self.wake(waiter, backend, context.address());
        }
    }
}

/// What goes into a batch, so that what goes with it fits into the transaction, too.
fn batches(capacity: Capacity) -> BatchLimits {
    let least = BatchLimits::default();
    let spare = Capacity::default();
    BatchLimits {
        writes: capacity
            .operations
            .saturating_sub(spare.operations - least.writes)
            .max(least.writes),
        bytes: capacity.bytes.saturating_sub(spare.bytes - least.bytes).max(least.bytes),
    }
}

/// Where the batches are.
#[derive(Debug)]
struct Sequence {
    /// The last batch that landed.
    number: u64,
    /// What `v1/seq` holds, byte for byte.
    text: Option<Bytes>,
    /// Which life of which store's actor this is, and under whose lead: two controllers never take each other's batch for
    /// their own.
    life: String,
}

impl Sequence {
    fn found(text: Option<Bytes>, holder: Option<&str>) -> anyhow::Result<Self> {
        let number = match &text {
            None => 0,
            Some(text) => std::str::from_utf8(text)
                .ok()
                .and_then(|text| text.split(' ').next()?.parse().ok())
                .with_context(|| {
                    let key = keys::SEQUENCE;
                    format!("`{key}` holds {text:?}, not the number of a batch: put back a backup")
                })?,
        };
        let life = format!("{:016x}", rand::random::<u64>());
        let life = holder.map_or_else(|| life.clone(), |holder| format!("{life} {holder}"));
        Ok(Self { number, text, life })
    }

    /// What `v1/seq` holds after the next batch.
    fn next(&self) -> Bytes {
        Bytes::from(format!("{} {}", self.number + 1, self.life))
    }

    /// The next batch has landed.
    fn advance(&mut self) {
        self.text = Some(self.next());
        self.number += 1;
    }

    /// What the next batch compares.
    fn guard(&self) -> Compare {
        let key = keys::SEQUENCE.to_owned();
        match &self.text {
            None => Compare::Absent(key),
            Some(text) => Compare::Holds(key, text.clone()),
        }
    }
}
