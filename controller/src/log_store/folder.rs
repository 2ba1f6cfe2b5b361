//! Where the bytes of the segments are: an object store, and how it is used.

use super::LogError;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::{
    Error, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, local::LocalFileSystem,
    path::Path as ObjectPath,
};
use std::{fs, io, num::NonZero, path::Path, sync::Arc, time::Duration};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    task::JoinError,
};

/// So many segments are made and written at once; others wait.
const WRITES_AT_ONCE: usize = 16;
/// So many segments are packed or unpacked at once, one a core: each takes some MiB while it is.
const MOST_PACKERS: usize = 8;
/// For how long one object may take.
const WITHIN: Duration = Duration::from_secs(60);

/// Holds the segments of all logs. What it says it has written survives a crash of the machine.
#[derive(Clone, Debug)]
pub struct LogFolder {
    objects: Arc<dyn ObjectStore>,
    writes: Arc<Semaphore>,
    packers: Arc<Semaphore>,
}

impl LogFolder {
    /// A folder on this machine's disk, made where there is none, for nobody else to read. Files and the folders that
    /// name them are synced before a write counts as done.
    pub fn open(folder: &Path) -> io::Result<Self> {
        make(folder)?;
        let objects = LocalFileSystem::new_with_prefix(folder).map_err(io::Error::other)?;
        // Folders of logs that are gone go with them.
        Ok(Self::on(Arc::new(objects.with_fsync(true).with_automatic_cleanup(true))))
    }

    /// Any object store whose writes are durable when they are answered.
    pub fn on(objects: Arc<dyn ObjectStore>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let semaphore = |places| Arc::new(Semaphore::new(places));
        let (writes, packers) = (semaphore(WRITES_AT_ONCE), semaphore(cores.min(MOST_PACKERS)));
        Self { objects, writes, packers }
    }

    /// Waits for a turn to make and write a segment, which ends when it is dropped: thousands of logs that are due at
    /// once do not become thousands of threads.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.writes.acquire().await.ok() // it is never closed
    }

    /// Packs or unpacks on a thread of its own, when it is its turn: it takes milliseconds of a core, and would hold up
    /// whoever else the caller's thread serves.
    pub(super) async fn packing<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let turn = self.packers.clone().acquire_owned().await;
        let worked = tokio::task::spawn_blocking(move || {
            let _turn = turn; // also where the caller leaves
            work()
        });
        worked.await
    }

    /// Writes an object whose name contains a hash of its bytes.
    pub(super) async fn put(&self, name: &str, bytes: Bytes) -> Result<(), LogError> {
        let path = ObjectPath::from(name);
        let put = async {
            let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            match self.objects.put_opts(&path, bytes.clone().into(), create).await {
                // The same bytes, from a try that may have failed before its folder was synced: only a write that is
                // answered is known to be durable. It also makes the object young again for the sweep.
                Err(Error::AlreadyExists { .. }) => {
                    self.objects.put(&path, bytes.into()).await.map(|_| ())
                }
                other => other.map(|_| ()),
            }
        };
        within(name, "written", put).await
    }

    /// The bytes of an object; none where there is none of that name.
    pub(super) async fn get(&self, name: &str) -> Result<Option<Bytes>, LogError> {
        let path = ObjectPath::from(name);
        let get = async {
            match self.objects.get(&path).await {
                Ok(found) => found.bytes().await.map(Some),
                Err(Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        };
        within(name, "read", get).await
    }

    /// Deletes an object; that it is not there is as well.
    pub(super) async fn delete(&self, name: &ObjectPath) -> Result<(), LogError> {
        let delete = async {
            match self.objects.delete(name).await {
                Err(Error::NotFound { .. }) => Ok(()),
                other => other,
            }
        };
        within(name.as_ref(), "deleted", delete).await
    }

    /// Deletes objects that the index does not know any more. What cannot be deleted is left to the sweep.
    pub(super) async fn delete_all(&self, names: Vec<String>) {
        for name in names {
            if let Err(error) = self.delete(&ObjectPath::from(name)).await {
                tracing::warn!(%error, "a segment that no log knows any more stays until it is swept");
            }
        }
    }

    pub(super) fn list(&self) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.objects.list(None)
    }
}

async fn within<T>(
    name: &str,
    done: &str,
    work: impl Future<Output = object_store::Result<T>>,
) -> Result<T, LogError> {
    match tokio::time::timeout(WITHIN, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            Err(LogError::Away(format!("the segment `{name}` could not be {done}: {error}")))
        }
        Err(_) => {
            Err(LogError::Away(format!("the segment `{name}` was not {done} within {WITHIN:?}")))
        }
    }
}

/// Makes the folder, and syncs the one that names it.
fn make(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)?;
    match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => fs::File::open(parent)?.sync_all(),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::TryStreamExt;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn an_object_is_synced_private_and_written_once() {
        let place = tempfile::tempdir().unwrap();
        let folder = LogFolder::open(&place.path().join("logs")).unwrap();
        assert!(format!("{folder:?}").contains("fsync: true"), "{folder:?}");
        let mode = fs::metadata(place.path().join("logs")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);

        folder.put("a/1/x", Bytes::from_static(b"bytes")).await.unwrap();
        folder.put("a/1/x", Bytes::from_static(b"bytes")).await.unwrap();
        assert_eq!(folder.get("a/1/x").await.unwrap().unwrap(), "bytes");
        let all: Vec<_> = folder.list().try_collect().await.unwrap();
        assert_eq!(all.len(), 1, "no second object, and nothing half written: {all:?}");

        folder.delete(&all[0].location).await.unwrap();
        folder.delete(&all[0].location).await.unwrap();
        assert_eq!(folder.get("a/1/x").await.unwrap(), None);
        assert!(!place.path().join("logs/a").exists(), "its folder goes with it");
    }

    #[tokio::test]
    async fn a_disk_that_refuses_is_an_error_that_names_the_segment() {
        let place = tempfile::tempdir().unwrap();
        let folder = LogFolder::open(place.path()).unwrap();
        fs::write(place.path().join("a"), "a file where a folder should be").unwrap();
        let refused = folder.put("a/1/x", Bytes::from_static(b"bytes")).await.unwrap_err();
        assert!(refused.to_string().contains("`a/1/x` could not be written"), "{refused}");
    }
}
