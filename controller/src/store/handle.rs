//! What others hold of the store.

use super::{
    Entry, Lead, OpenError, Opener, Page, Patience, Range, Snapshot, Store, Write,
    commit::Decide,
    enlist::Enlist,
    read::{Read, ReadAll, ReadLanded},
    rules::Incarnation,
    space::Space,
};
use bytes::Bytes;
use futures::FutureExt;
use octavius_service::actor::{
    ActorSystem, Gate, Handle, Limits, Priority, RestartPolicy, Unanswered, Vitals,
};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// The actor's name, as metrics and errors call it.
pub(super) const ACTOR: &str = "Store";
/// Its callers are actors with bounds of their own, so that these are generous.
const MOST_WAITING: usize = 16_384;
/// The least time for an answer.
const ANSWER: Duration = Duration::from_secs(30);
/// Everything waits for the store: it is tried again more often than other actors.
const RESTARTS: Duration = Duration::from_secs(5);

/// What can come of a write. `Unknown` is not a kind of failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Commit {
    /// It is on disk.
    Done,
    /// It certainly did not happen; the text says why.
    Refused(String),
    /// It may or may not have happened; the text says why.
    Unknown(String),
}

/// Why a read has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// The store's actor did not answer.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
    /// The backend could not read.
    #[error("the store could not be read: {0}")]
    Backend(String),
}

/// Why a store was not started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It cannot be opened; a person has to look.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Its actor has no thread.
    #[error("the store's actor could not be started: {0}")]
    Thread(#[from] io::Error),
}

/// The way in to the store.
#[derive(Clone, Debug)]
pub struct StoreHandle {
    store: Handle<Store>,
    gate: Gate,
}

impl StoreHandle {
    /// Opens the store and keeps its actor alive. A store that cannot be opened now is an error here; one that is lost
    /// later is opened again and again by the supervisor. Writes only under `lead`.
    pub async fn start(
        system: &mut ActorSystem,
        opener: Arc<dyn Opener>,
        lead: Lead,
        patience: Patience,
    ) -> Result<Self, StartError> {
        let mut first = Some(opener.open().await?);
        let incarnations = Arc::new(AtomicU64::new(1));
        let space = Space::watched(opener.clone()).await;
        let gate = space.gate();
        let build = move || {
            let incarnations = incarnations.clone();
            let (first, lead) = (first.take(), lead.clone());
            Store::build(opener.clone(), first, patience, lead, incarnations, space.clone())
        };
        let usual = RestartPolicy::default();
        let build_within = usual.build_within + patience.open;
        let policy = RestartPolicy { longest: RESTARTS, build_within, ..usual };
        // Whoever is told before the doubt has ended begins again for nothing.
        let limits = Limits { waiting: MOST_WAITING, answer: ANSWER.max(patience.doubt * 2) };
        Ok(Self { store: system.supervise(ACTOR, limits, policy, build)?, gate })
    }

    /// Makes a writer for the actor `owner`, and ends all that it had before: what they have queued is dropped, and
    /// the batch in flight is waited for, so that a read after this sees all that they ever wrote.
    pub async fn enlist(&self, owner: &'static str) -> Result<Writer, Unanswered> {
        let number = self.store.query(Priority::Report, Enlist { owner }).await??;
        let by = Incarnation { owner, number };
        Ok(Writer { store: self.store.clone(), by, ended: Arc::default() })
    }

    /// Reads a page. Sees every write that was queued before it.
    pub async fn range(&self, range: Range) -> Result<Page, ReadError> {
        self.store.query(Priority::Read, Read(range)).await?
    }

    /// Reads a whole range, a page of `range.limit` at a time. Each page is of one moment, not the whole.
    pub async fn all(&self, range: Range) -> Result<Vec<Entry>, ReadError> {
        let mut entries = Vec::new();
        let take = |entry| {
            entries.push(entry);
            Ok::<_, ReadError>(())
        };
        self.each(range, take).await?;
        Ok(entries)
    }

    /// The same, one entry after the other: no more than a page of them is held. Ends with the first error.
    pub(crate) async fn each<E: From<ReadError>>(
        &self,
        range: Range,
        mut take: impl FnMut(Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = range;
        loop {
            let page = self.range(rest.clone()).await?;
            let last = page.entries.last().map(|last| last.key.clone());
            page.entries.into_iter().try_for_each(&mut take)?;
            match last {
                Some(last) if page.more => rest = rest.after(&last),
                Some(_) | None => return Ok(()),
            }
        }
    }

    /// Reads one key.
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>, ReadError> {
        let page = self.range(Range::key(key)).await?;
        Ok(page.entries.into_iter().next().map(|entry| entry.value))
    }

    /// Reads one key as it is on disk, without waiting for what is on its way: for who knows that nothing on its way is
    /// about that key, or does not ask for it.
    pub async fn get_landed(&self, key: &str) -> Result<Option<Bytes>, ReadError> {
        let page = self.store.query(Priority::Read, ReadLanded(Range::key(key))).await??;
        Ok(page.entries.into_iter().next().map(|entry| entry.value))
    }

    /// Reads all that has landed, as of one moment. The store cannot be opened anew until it is read or dropped, so that
    /// whoever reads it does that within a bound of time.
    pub async fn snapshot(&self) -> Result<Snapshot, ReadError> {
        self.store.query(Priority::Read, ReadAll).await?
    }

    /// Shut while nothing can be written. Who decides what would have to be written looks here before.
    pub fn gate(&self) -> Gate {
        self.gate.clone()
    }

    /// Why nothing is written at present; none: there is room.
    pub fn full(&self) -> Option<Arc<str>> {
        self.gate.borrow().clone()
    }

    /// Waits until all of these keys are there: what actors write by themselves when they start would else take the
    /// faults that a test has in mind for something else.
    #[cfg(test)]
    pub(crate) async fn has_all(&self, keys: &[&str]) -> bool {
        let all = async {
            for key in keys {
                while self.get(key).await.is_ok_and(|value| value.is_none()) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), all).await.is_ok()
    }

    /// The actor's own handle: to wait until it serves, and for tests that make it panic.
    pub fn handle(&self) -> &Handle<Store> {
        &self.store
    }

    /// What is seen of the actor from outside.
    pub fn vitals(&self) -> &Arc<Vitals> {
        self.store.vitals()
    }
}

/// Writes for one incarnation of one actor.
///
/// After the first answer that is not [`Commit::Done`] it is at an end, and refuses everything: what its actor decided
/// since rests on a write that is not there. The actor stops, is built again, and enlists.
#[derive(Clone, Debug)]
pub struct Writer {
    store: Handle<Store>,
    by: Incarnation,
    ended: Arc<AtomicBool>,
}

impl Writer {
    /// Commits the writes of one decision: all or none, in the order of the calls (it is queued when this returns).
    /// At most 120 writes and 1 MiB; of two writes to one key in a batch the last one counts. A decision without a
    /// write is done when those before it are. Call it on a tokio runtime.
    pub fn commit(
        &self,
        decision: Vec<Write>,
    ) -> impl Future<Output = Commit> + Send + 'static + use<> {
        let Self { store, by, ended } = self.clone();
        let queued = (!ended.load(Relaxed)).then(|| {
            let mut answer = Box::pin(store.mutate(Priority::Report, Decide { by, decision }));
            // Looked at here and now: if it was not let in, those after it must not be, either.
            let at_once = (&mut answer).now_or_never();
            if matches!(at_once, Some(Err(_))) {
                ended.store(true, Relaxed);
            }
            (answer, at_once)
        });
        async move {
            let owner = by.owner;
            let Some((answer, at_once)) = queued else {
                let why = format!("fenced: an earlier write of {owner} failed: enlist again");
                return Commit::Refused(why);
            };
            let answer = match at_once {
                Some(answer) => answer,
                None => answer.await,
            };
            let commit = match answer {
                Ok(commit) => commit,
                Err(why) if why.certainly_nothing() => Commit::Refused(why.to_string()),
                Err(why) => Commit::Unknown(why.to_string()),
            };
            if commit != Commit::Done {
                ended.store(true, Relaxed);
            }
            commit
        }
    }
}
