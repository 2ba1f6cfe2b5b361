//! Opening the file: who may, what is accepted, and how a new one comes to be.
//!
//! A new file is made under another name and renamed when it is whole, so that a crash on the first start leaves
//! nothing that the second would have to refuse. Who makes it holds its lock all the while.

use super::{super::backend, ENTRIES, Embedded, mark, overlay::Overlay, room};
use crate::store::{
    backend::{Backend, OpenError, Opener, Purpose, SCHEMA_VERSION},
    keys,
};
use async_trait::async_trait;
use redb::{Database, DatabaseError, ReadableDatabase, StorageError};
use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::Instant;
use uuid::Uuid;

const FILE: &str = "octavius.redb";
const UNFINISHED: &str = "octavius.redb.new";
const UNREADABLE: &str = "its file could not be read";
/// redb's own default is 1 GiB. What falls out of it is mostly in the kernel's cache of the file.
const CACHE_BYTES: usize = 16 * 1024 * 1024;
/// For how long a lock is waited for: one that our own former connection, which still closes the file, lets go of.
const LOCK_WITHIN: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// Opens the store in one data folder.
#[derive(Clone, Debug)]
pub struct EmbeddedOpener {
    folder: PathBuf,
    /// Once it was there it is never made again: an empty store in its place would be a loss without an error.
    was_there: Arc<AtomicBool>,
    purpose: Purpose,
}

impl EmbeddedOpener {
    /// The store is `octavius.redb` in `data_dir`, which is made, for its owner alone, where it is missing.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self::for_purpose(data_dir, Purpose::Serve)
    }

    /// The same, for this purpose.
    pub fn for_purpose(data_dir: impl Into<PathBuf>, purpose: Purpose) -> Self {
        Self { folder: data_dir.into(), was_there: Arc::default(), purpose }
    }
}

#[async_trait]
impl Opener for EmbeddedOpener {
    async fn open(&self) -> Result<Arc<dyn Backend>, OpenError> {
        let place = self.folder.display().to_string();
        let deadline = Instant::now() + LOCK_WITHIN;
        let mut pause = FIRST_PAUSE;
        loop {
            let folder = self.folder.clone();
            let may_make = !self.was_there.load(Relaxed);
            let purpose = self.purpose;
            let opening = tokio::task::spawn_blocking(move || open(&folder, may_make, purpose));
            let opened = opening.await.unwrap_or_else(|error| {
                if error.is_panic() {
                    // redb may panic over a file that was damaged from outside.
                    return Err(foreign(&self.folder, &"reading it failed"));
                }
                Err(away(&self.folder, "opening it was cut off", &error))
            });
            match opened {
                Ok(database) => {
                    self.was_there.store(true, Relaxed);
                    return Ok(Arc::new(Embedded::new(database, place)));
                }
                Err(OpenError::InUse { .. }) if Instant::now() + pause < deadline => {
                    tokio::time::sleep(pause.mul_f64(rand::random_range(0.8..1.2))).await;
                    pause *= 2;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn is_exclusive(&self) -> bool {
        true
    }

    async fn full(&self, thoroughly: bool) -> Option<String> {
        let folder = self.folder.clone();
        let looking = tokio::task::spawn_blocking(move || room::full(&folder, thoroughly));
        looking.await.unwrap_or_default()
    }
}

fn file_name(folder: &Path) -> String {
    folder.join(FILE).display().to_string()
}

fn open(folder: &Path, may_make: bool, purpose: Purpose) -> Result<Database, OpenError> {
    if folder.is_file() {
        let why = "it is a file, and `data_dir` is a folder".to_owned();
        return Err(OpenError::Foreign { place: folder.display().to_string(), why });
    }
    let file = folder.join(FILE);
    // A folder that is missing or no folder is an error where it is made, and not here.
    if file.exists() {
        return open_existing(folder, &file, purpose);
    }
    if purpose == Purpose::Read {
        return Err(OpenError::Missing { place: folder.display().to_string() });
    }
    if !may_make {
        let remedy = "put it back, or start the controller again to begin with an empty store";
        return Err(away(folder, "its file was there and is gone", &remedy));
    }
    crate::folder::make(folder)
        .map_err(|error| away(folder, "its folder could not be made", &error))?;
    create(folder, &file, purpose)
}

/// Opening for writing writes, so that first it is only read: what is not ours is left as it is.
fn open_existing(folder: &Path, file: &Path, purpose: Purpose) -> Result<Database, OpenError> {
    match builder(folder).open_read_only(file) {
        Ok(database) => check_schema(folder, &database, purpose)?,
        // It was not closed properly, and the check of a large one takes its time: once is enough for one that is ours.
        Err(DatabaseError::RepairAborted) if mark::counts_for(folder, file) => {}
        Err(DatabaseError::RepairAborted) => check_in_memory(folder, file, purpose)?,
        Err(error) => return Err(refused(folder, error)),
    }
    let database = builder(folder).open(file).map_err(|error| refused(folder, error))?;
    check_schema(folder, &database, purpose)?; // whoever put another file there meanwhile
    let id = read(&database, keys::STORE_ID).map_err(|error| refused_table(folder, error))?;
    // No mark counts for a store without an id.
    if let Some(id) = id.and_then(|id| Uuid::try_parse_ascii(&id).ok()) {
        mark::put(folder, id);
    }
    Ok(database)
}

/// Tells whose a store is that was not closed properly. That can be told after a repair alone: of what is here in memory.
fn check_in_memory(folder: &Path, file: &Path, purpose: Purpose) -> Result<(), OpenError> {
    let unreadable = |error| away(folder, UNREADABLE, &error);
    let file = File::open(file).map_err(unreadable)?;
    match file.try_lock_shared() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(in_use(folder)),
        Err(TryLockError::Error(error)) => return Err(away(folder, "no lock", &error)),
    }
    let copy = Overlay::over(file).map_err(unreadable)?;
    let copy = builder(folder).create_with_backend(copy);
    check_schema(folder, &copy.map_err(|error| refused(folder, error))?, purpose)
}

fn check_schema(
    folder: &Path,
    database: &impl ReadableDatabase,
    purpose: Purpose,
) -> Result<(), OpenError> {
    let schema = read(database, keys::SCHEMA).map_err(|error| refused_table(folder, error))?;
    backend::check_schema(&file_name(folder), schema.as_deref(), purpose)
}

fn create(folder: &Path, file: &Path, purpose: Purpose) -> Result<Database, OpenError> {
    let failed = |what: &'static str| move |error: io::Error| away(folder, what, &error);
    let unfinished = folder.join(UNFINISHED);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let made = options.open(&unfinished).map_err(failed("its file could not be made"))?;
    match made.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(in_use(folder)),
        Err(TryLockError::Error(error)) => return Err(away(folder, "no lock", &error)),
    }
    // Whoever held the lock before may have finished meanwhile.
    if file.try_exists().map_err(failed("no look at it"))? {
        drop(made);
        return open_existing(folder, file, purpose);
    }
    made.set_len(0).map_err(failed("a half-made file could not be emptied"))?;
    let made = redb::backends::FileBackend::new(made).map_err(|error| refused(folder, error))?;
    let database =
        builder(folder).create_with_backend(made).map_err(|error| refused(folder, error))?;
    let first = write_schema(&database);
    let id = first.map_err(|error| away(folder, "its first write failed", &error))?;
    std::fs::rename(&unfinished, file).map_err(failed("its file could not be renamed"))?;
    crate::folder::sync(folder).map_err(failed("its folder could not be synced"))?;
    mark::put(folder, id);
    Ok(database)
}

fn builder(folder: &Path) -> redb::Builder {
    let place = file_name(folder);
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder.set_repair_callback(move |repair| {
        let percent = repair.progress() * 100.0;
        tracing::info!(file = place, percent, "the store was not closed properly and is checked");
    });
    builder
}

fn read(database: &impl ReadableDatabase, key: &str) -> Result<Option<Vec<u8>>, redb::Error> {
    let entries = database.begin_read()?.open_table(ENTRIES)?;
    Ok(entries.get(key)?.map(|found| found.value().to_vec()))
}

/// Makes a store of nothing; its id.
fn write_schema(database: &Database) -> Result<Uuid, redb::Error> {
    let first = database.begin_write()?;
    let (version, id) = (SCHEMA_VERSION.to_string(), Uuid::new_v4());
    let mut entries = first.open_table(ENTRIES)?;
    entries.insert(keys::SCHEMA, version.as_bytes())?;
    entries.insert(keys::STORE_ID, id.to_string().as_bytes())?;
    drop(entries);
    first.commit()?;
    Ok(id)
}

fn in_use(folder: &Path) -> OpenError {
    OpenError::InUse { place: folder.display().to_string() }
}

fn away(folder: &Path, what: &str, error: &impl std::fmt::Display) -> OpenError {
    OpenError::Away { place: folder.display().to_string(), why: format!("{what}: {error}") }
}

fn foreign(folder: &Path, why: &impl std::fmt::Display) -> OpenError {
    OpenError::Foreign { place: file_name(folder), why: why.to_string() }
}

fn refused(folder: &Path, error: DatabaseError) -> OpenError {
    use io::ErrorKind::{InvalidData, UnexpectedEof};
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => in_use(folder),
        DatabaseError::Storage(StorageError::Io(error))
            if !matches!(error.kind(), InvalidData | UnexpectedEof) =>
        {
            away(folder, UNREADABLE, &error)
        }
        other => foreign(folder, &other),
    }
}

fn refused_table(folder: &Path, error: redb::Error) -> OpenError {
    match error {
        redb::Error::Io(error) => away(folder, UNREADABLE, &error),
        redb::Error::TableDoesNotExist(_) => foreign(folder, &"another program made it"),
        other => foreign(folder, &other),
    }
}
