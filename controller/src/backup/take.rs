//! Taking a backup.

use super::{
    file::{Counts, FileError, Head, Part, Reader, Writer},
    place,
    source::Source,
};
use crate::{
    VERSION,
    configuration::Configuration,
    folder,
    log_store::{self, LogFolder},
    store::{OpenError, keys},
};
use futures::StreamExt;
use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io::{self, BufReader, BufWriter, Seek as _},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

/// How often it is begun again where reading breaks off, as where an etcd compacts its history meanwhile.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(500);

/// What is wanted of a backup.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Where it goes.
    pub file: PathBuf,
    /// With the bytes of logs.
    pub logs: bool,
    /// Whatever has that name is replaced.
    pub force: bool,
}

/// A backup that is on disk.
#[derive(Clone, Debug)]
pub struct BackedUp {
    /// What it is of.
    pub head: Head,
    /// How much it has.
    pub counts: Counts,
    /// How many objects of logs went while it was taken, because they were kept long enough.
    pub gone: u64,
    /// Its size in bytes.
    pub bytes: u64,
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Something has its name.
    #[error("{} is there already: give another name, or `--force` to replace it", .0.display())]
    Exists(PathBuf),
    /// This program has no etcd.
    #[error("this program was built without etcd: take the `controller` that has it")]
    NoEtcd,
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is nothing in it.
    #[error("{place} is empty: no controller has ever led there")]
    Empty {
        /// Where.
        place: String,
    },
    /// A controller has it open, and cannot be asked.
    #[error(
        "the store in {folder} is in use, and a controller at {address}, where one of this configuration listens, cannot be asked for it ({cause}): give the configuration that it was started with, or stop it for as long as the backup takes"
    )]
    Controller {
        /// The store's folder.
        folder: String,
        /// Where a controller should be.
        address: String,
        /// What came of it.
        cause: String,
    },
    /// It broke off each time.
    #[error("the store was not read to its end, {TRIES} times: {0}")]
    Source(String),
    /// Another one is being taken.
    #[error("{} is being written by another `controller backup`: wait for it, or give another name", .0.display())]
    Busy(PathBuf),
    /// The file cannot be written.
    #[error("{} cannot be written: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What was just written cannot be read.
    #[error("what was written cannot be read: {0}")]
    Unreadable(#[from] FileError),
    /// The bytes of logs cannot be read.
    #[error("the bytes of logs cannot be read: {0}; without `--logs` they are left out")]
    Logs(String),
}

impl BackupError {
    /// Whether the command or the configuration has to be changed. Else it may work later as it is.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Exists(_) | Self::NoEtcd | Self::Empty { .. } => true,
            Self::Open(error) => !error.is_away(),
            Self::Controller { .. }
            | Self::Source(_)
            | Self::Busy(_)
            | Self::File { .. }
            | Self::Unreadable(_)
            | Self::Logs(_) => false,
        }
    }
}

/// Takes a backup of the store that the configuration names. When this returns, it is on disk, for its owner alone.
pub async fn back_up(
    configuration: &Configuration,
    wanted: &Wanted,
) -> Result<BackedUp, BackupError> {
    let path = &wanted.file;
    let failed = |source| BackupError::File { path: path.clone(), source };
    if !wanted.force && path.try_exists().map_err(failed)? {
        return Err(BackupError::Exists(path.clone()));
    }
    let source = Source::open(configuration).await?;
    let unfinished = Unfinished::make(path)?;
    let mut tries = 1;
    let (head, mut writer) = loop {
        match entries(configuration, wanted, &source, &unfinished).await {
            Ok(taken) => break taken,
            Err(BackupError::Source(_)) if tries < TRIES => {
                tokio::time::sleep((PAUSE * tries).mul_f64(rand::random_range(0.8..1.2))).await;
                tries += 1;
            }
            Err(error) => return Err(error),
        }
    };
    let gone = match wanted.logs {
        true => objects(configuration, &mut writer, &unfinished).await?,
        false => 0,
    };
    let (out, counts) = writer.end().map_err(failed)?;
    let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    if !wanted.force && path.try_exists().map_err(failed)? {
        return Err(BackupError::Exists(path.clone()));
    }
    unfinished.rename(path).map_err(failed)?;
    Ok(BackedUp { head, counts, gone, bytes })
}

/// A file that is not yet what it is to be; removed where it does not come to that.
struct Unfinished {
    path: PathBuf,
    file: File,
    done: bool,
}

impl Unfinished {
    fn make(wanted: &Path) -> Result<Self, BackupError> {
        let mut name = OsString::from(wanted);
        name.push(".unfinished");
        let path = PathBuf::from(name);
        let failed = |source| BackupError::File { path: path.clone(), source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(BackupError::Busy(wanted.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // What an earlier one left may be for others to read.
        file.set_permissions(Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(Self { path, file, done: false })
    }

    /// The file, empty.
    fn empty(&self) -> io::Result<File> {
        self.file.set_len(0)?;
        let mut file = self.file.try_clone()?;
        file.rewind()?;
        Ok(file)
    }

    fn rename(mut self, wanted: &Path) -> io::Result<()> {
        fs::rename(&self.path, wanted)?;
        self.done = true;
        folder::sync_parent(wanted)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.done {
            let _ = fs::remove_file(&self.path); // the next one begins it anew
        }
    }
}

type Begun = Writer<BufWriter<File>>;

/// Writes the entries of one moment.
async fn entries(
    configuration: &Configuration,
    wanted: &Wanted,
    source: &Source,
    unfinished: &Unfinished,
) -> Result<(Head, Begun), BackupError> {
    let failed = |source| BackupError::File { path: unfinished.path.clone(), source };
    let head = Head {
        schema: source.schema(),
        installation: source.installation.clone(),
        taken_at: jiff::Timestamp::now(),
        store: octavius_service::configuration::Setting::shown(&configuration.store()),
        version: VERSION.to_owned(),
        logs: wanted.logs,
    };
    let out = BufWriter::new(unfinished.empty().map_err(failed)?);
    let mut writer = Writer::begin(out, &head).map_err(failed)?;
    let broke = |why| BackupError::Source(format!("{}: {why}", place(configuration)));
    let mut parts = source.read().await.map_err(broke)?;
    while let Some(part) = parts.next().await {
        for entry in part.map_err(broke)? {
            if keys::kind(&entry.key).is_none_or(|kind| kind.backup != keys::Backup::LeftOut) {
                writer.entry(&entry).map_err(failed)?;
            }
        }
    }
    Ok((head, writer))
}

/// Writes the objects that the entries name, and says how many are not there any more. They are never changed, so that
/// they are those of the entries' moment, however much later they are read.
async fn objects(
    configuration: &Configuration,
    writer: &mut Begun,
    unfinished: &Unfinished,
) -> Result<u64, BackupError> {
    let failed = |source| BackupError::File { path: unfinished.path.clone(), source };
    writer.flush().map_err(failed)?;
    let folder = LogFolder::of(configuration.log_store.as_ref(), &configuration.data_dir);
    let folder = folder.map_err(|error| BackupError::Logs(error.to_string()))?;
    let written = File::open(&unfinished.path).map_err(failed)?;
    let mut left = writer.counts().entries;
    let mut reader = Reader::begin(BufReader::new(written))?;
    let mut gone = 0;
    while left > 0 {
        left -= 1;
        let Some(Part::Entry(entry)) = reader.next()? else { break };
        let Some(name) = log_store::object_of(&entry) else { continue };
        match folder.get(&name).await.map_err(|error| BackupError::Logs(error.to_string()))? {
            Some(bytes) => writer.object(&name, &bytes).map_err(failed)?,
            None => gone += 1,
        }
    }
    Ok(gone)
}
