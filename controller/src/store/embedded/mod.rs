//! The embedded backend: one redb file in the data folder, for a controller on one machine.
//!
//! A commit is on disk before it is answered. redb works with blocking calls, so that everything happens on tokio's
//! blocking threads. After an I/O error redb answers nothing more until the file is opened again; that is for the
//! store's actor, which drops this and asks [`EmbeddedOpener`] for another.

mod mark;
mod open;
mod overlay;
pub(crate) mod room;
#[cfg(test)]
mod tests;

pub(crate) use mark::id as marked_id;
pub use open::EmbeddedOpener;

use super::{
    Entry, Page, Range, Write,
    backend::{Backend, CommitError, Outcome, RangeError, Snapshot, Transaction},
    keys,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use std::{fmt, sync::Arc};
use tokio::sync::mpsc;

/// All entries, by key: redb compares text by its bytes, as etcd does.
const ENTRIES: TableDefinition<&str, &[u8]> = TableDefinition::new("entries");
/// A page ends behind the entry that fills it: memory is bounded also where a thousand large values are asked for.
const PAGE_BYTES: usize = 2 * 1024 * 1024;
/// A part of a snapshot ends behind the entry that fills it.
const PART_BYTES: usize = 256 * 1024;

/// A store in a file. Dropping it closes the file, a moment later.
pub struct Embedded {
    /// Always there until it is dropped.
    database: Option<Arc<Database>>,
    place: String,
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Embedded").field(&self.place).finish()
    }
}

impl Embedded {
    fn new(database: Database, place: String) -> Self {
        Self { database: Some(Arc::new(database)), place }
    }

    /// Runs blocking work off the async threads; a panic in it is a text.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database) -> T + Send + 'static,
    ) -> Result<T, String> {
        let database = self.database.clone().ok_or_else(|| format!("{} is closed", self.place))?;
        let task = tokio::task::spawn_blocking(move || work(&database));
        task.await.map_err(|error| format!("work on {} ended early: {error}", self.place))
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        let database = self.database.take();
        // The last one to let go closes the file, and closing writes.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || drop(database));
        }
    }
}

#[async_trait]
impl Backend for Embedded {
    async fn range(&self, range: Range) -> Result<Page, RangeError> {
        let page = self.blocking(move |database| page(database, &range)).await;
        page.map_err(RangeError)?.map_err(|error| RangeError(format!("{}: {error}", self.place)))
    }

    async fn snapshot(&self) -> Result<Snapshot, RangeError> {
        let (place, database) = (self.place.clone(), self.database.clone());
        let database = database.ok_or_else(|| RangeError(format!("{place} is closed")))?;
        let (parts, mut come) = mpsc::channel(1);
        tokio::task::spawn_blocking(move || {
            let read = read_all(&database, &parts);
            drop(database); // before its reader hears of the end, and closes it
            let end = read.map(|()| None).map_err(|error| RangeError(format!("{place}: {error}")));
            let _ = parts.blocking_send(end); // its reader may have left
        });
        let parts = futures::stream::poll_fn(move |context| come.poll_recv(context));
        let cut = RangeError(format!("reading {} ended early", self.place));
        // A reader that ended without a word has not read all.
        let parts = parts.chain(futures::stream::iter([Err(cut)]));
        let until_the_end = parts.scan(false, |over, part| {
            let next = match part {
                _ if *over => None,
                Ok(None) => None,
                Ok(Some(entries)) => Some(Ok(entries)),
                Err(error) => {
                    *over = true;
                    Some(Err(error))
                }
            };
            std::future::ready(next)
        });
        Ok(until_the_end.boxed())
    }

    async fn commit(&self, transaction: Transaction) -> Result<Outcome, CommitError> {
        let commit = self.blocking(move |database| commit(database, &transaction)).await;
        commit.unwrap_or_else(|why| Err(CommitError::Unknown(why)))
    }
}

fn page(database: &Database, range: &Range) -> Result<Page, redb::Error> {
    let mut page = Page::default();
    if range.start >= range.end {
        return Ok(page);
    }
    let entries = database.begin_read()?.open_table(ENTRIES)?;
    let mut bytes = 0;
    for entry in entries.range(range.start.as_str()..range.end.as_str())? {
        if page.entries.len() >= range.limit.max(1) || bytes >= PAGE_BYTES {
            page.more = true;
            break;
        }
        let (key, value) = entry?;
        let entry =
            Entry { key: key.value().to_owned(), value: Bytes::copy_from_slice(value.value()) };
        bytes += entry.key.len() + entry.value.len();
        page.entries.push(entry);
    }
    Ok(page)
}

/// Reads all entries in one transaction, until nobody takes them any more.
fn read_all(
    database: &Database,
    parts: &mpsc::Sender<Result<Option<Vec<Entry>>, RangeError>>,
) -> Result<(), redb::Error> {
    let entries = database.begin_read()?.open_table(ENTRIES)?;
    let (mut part, mut bytes) = (Vec::new(), 0);
    for entry in entries.range(keys::ALL..)? {
        let (key, value) = entry?;
        let (key, value) = (key.value().to_owned(), Bytes::copy_from_slice(value.value()));
        bytes += key.len() + value.len();
        part.push(Entry { key, value });
        if bytes >= PART_BYTES {
            bytes = 0;
            if parts.blocking_send(Ok(Some(std::mem::take(&mut part)))).is_err() {
                return Ok(());
            }
        }
    }
    let _ = parts.blocking_send(Ok(Some(part))); // its reader may have left
    Ok(())
}

fn commit(database: &Database, transaction: &Transaction) -> Result<Outcome, CommitError> {
    let prepared = prepare(database, transaction).map_err(|error| match &error {
        redb::Error::Io(io) if room::is_want_of_room(io) => {
            CommitError::Full(format!("{io}: make room where `data_dir` is"))
        }
        _ => CommitError::Refused(error.to_string()),
    })?;
    let Some(prepared) = prepared else { return Ok(Outcome::CompareFailed) };
    match prepared.commit() {
        Ok(()) => Ok(Outcome::Done),
        // Whether the last write reached the disk is known only to who opens the file next.
        Err(error) => Err(CommitError::Unknown(error.to_string())),
    }
}

/// All but the commit itself: nothing of it is there before that. None where a compare does not hold.
fn prepare(
    database: &Database,
    transaction: &Transaction,
) -> Result<Option<redb::WriteTransaction>, redb::Error> {
    let prepared = database.begin_write()?;
    let mut entries = prepared.open_table(ENTRIES)?;
    for compare in transaction.compares() {
        let found = entries.get(compare.key())?;
        if !compare.holds(found.as_ref().map(|found| found.value())) {
            return Ok(None);
        }
    }
    for write in transaction.writes() {
        match write {
            Write::Put(key, value) => entries.insert(key.as_str(), value.as_ref())?,
            Write::Delete(key) => entries.remove(key.as_str())?,
        };
    }
    drop(entries);
    Ok(Some(prepared))
}
