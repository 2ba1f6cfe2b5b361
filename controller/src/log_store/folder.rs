//! Where the bytes of the segments are: an object store, and how it is used.
//!
//! Whoever writes is heard by the [`Pulse`], so that it is known since when nothing is taken. A place that the
//! configuration names belongs to one installation, which is written there: another one would sweep its segments.

use super::{
    LogError,
    pulse::{By, Pulse},
    url::{Kind, LogStoreUrl},
};
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::{
    Error, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, local::LocalFileSystem,
    path::Path as ObjectPath,
};
use octavius_service::configuration::Setting;
use std::{
    fmt, io,
    num::NonZero,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{OnceCell, Semaphore, SemaphorePermit},
    task::JoinError,
    time::Instant,
};
use uuid::Uuid;

/// So many segments are made and written at once; others wait.
const WRITES_AT_ONCE: usize = 16;
/// So many segments are packed or unpacked at once, one a core: each takes some MiB while it is.
const MOST_PACKERS: usize = 8;
/// For how long one object may take.
const WITHIN: Duration = Duration::from_secs(60);
/// For how long a start waits for the log store.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// For how long a term waits until it is known whose the log store is.
const OWNER_WITHIN: Duration = Duration::from_secs(1);
/// How often it is looked whether the log store has to be asked.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The object that says whose the others are.
const OWNER: &str = "installation";
/// What the names of small objects begin with that are written to see whether that works.
const PROBE: &str = "probe-";

/// Holds the segments of all logs. What it says it has written survives a crash of the machine.
#[derive(Clone, Debug)]
pub struct LogFolder {
    objects: Arc<dyn ObjectStore>,
    place: Arc<Place>,
    owner: Arc<Owner>,
    pulse: Pulse,
    writes: Arc<Semaphore>,
    packers: Arc<Semaphore>,
}

/// How a user calls it.
#[derive(Debug)]
enum Place {
    /// The folder `logs` in `data_dir`.
    Default(PathBuf),
    /// What `log_store` names.
    Url(LogStoreUrl),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default(folder) => folder.display().fmt(f),
            Self::Url(url) => f.write_str(&url.shown()),
        }
    }
}

const ELSEWHERE: &str = "name the place that the others have in the `log_store` of each controller, or copy all objects from there, `installation` among them";

/// Whose the objects are: an installation's, once that is written there.
#[derive(Debug, Default)]
struct Owner {
    /// None: nobody else can write there.
    installation: Option<String>,
    /// Which of several places it has to be; none: any.
    place: Option<String>,
    /// Which one it is.
    found: OnceCell<String>,
}

/// Why a controller cannot start with this place for its logs.
#[derive(Debug, thiserror::Error)]
pub enum LogStoreError {
    /// A folder cannot be used.
    #[error(
        "the folder of the logs, {}, cannot be used: let this user write there, or give another `{key}`",
        path.display()
    )]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The key that names it.
        key: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// An object store refuses to be used so.
    #[error("`log_store` is `{url}`, and {why}: {remedy}")]
    Refused {
        /// As it was given.
        url: String,
        /// What it says.
        why: String,
        /// What to do.
        remedy: String,
    },
}

/// Why an object store was not used.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Store(#[from] Error),
    #[error("it holds the logs of another installation, {0}")]
    Foreign(String),
    #[error("the logs of this installation are in another place ({0})")]
    Elsewhere(String),
    #[error("it gave back other bytes than were written")]
    Different,
    #[error("it did not answer within {ANSWER_WITHIN:?}")]
    Late,
}

impl Fault {
    /// What a user can do about it; none if it may work later as it is.
    fn remedy(&self, kind: Kind) -> Option<String> {
        match self {
            Self::Store(Error::NotFound { .. }) => {
                Some("make it, or give another `log_store`".to_owned())
            }
            Self::Store(Error::PermissionDenied { .. } | Error::Unauthenticated { .. }) => {
                Some(format!(
                    "its keys must allow to read, write, list and delete there; they come from {}",
                    kind.keys()
                ))
            }
            Self::Foreign(_) => {
                Some("give each installation a prefix of its own in `log_store`".to_owned())
            }
            Self::Elsewhere(_) => Some(ELSEWHERE.to_owned()),
            Self::Store(
                Error::NotSupported { .. }
                | Error::NotImplemented { .. }
                | Error::InvalidPath { .. }
                | Error::UnknownConfigurationKey { .. },
            )
            | Self::Different => Some("give another `log_store`".to_owned()),
            Self::Store(_) | Self::Late => None,
        }
    }
}

impl LogFolder {
    /// What `log_store` names; without it the folder `logs` in `data_dir`. Keys of clouds come from the environment.
    /// Connects to nothing. Call it on the runtime that lives longest.
    pub fn of(log_store: Option<&LogStoreUrl>, data_dir: &Path) -> Result<Self, LogStoreError> {
        let variables = std::env::vars_os();
        let variables = variables.filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Self::with(log_store, data_dir, &variables.collect::<Vec<_>>())
    }

    pub(super) fn with(
        log_store: Option<&LogStoreUrl>,
        data_dir: &Path,
        variables: &[(String, String)],
    ) -> Result<Self, LogStoreError> {
        let Some(url) = log_store else {
            let path = data_dir.join("logs");
            return Self::open(&path).map_err(|source| LogStoreError::Folder {
                path,
                key: "data_dir",
                source,
            });
        };
        let objects = match url.folder() {
            Some(path) => local(&path).map_err(|source| LogStoreError::Folder {
                path,
                key: "log_store",
                source,
            })?,
            None => cloud(url, variables)?,
        };
        Ok(Self::at(objects, Place::Url(url.clone())))
    }

    /// A folder on this machine's disk, made where there is none, for nobody else to read. Files and the folders that
    /// name them are synced before a write counts as done.
    pub fn open(folder: &Path) -> io::Result<Self> {
        Ok(Self::at(local(folder)?, Place::Default(folder.to_owned())))
    }

    fn at(objects: Arc<dyn ObjectStore>, place: Place) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let semaphore = |places| Arc::new(Semaphore::new(places));
        let (writes, packers) = (semaphore(WRITES_AT_ONCE), semaphore(cores.min(MOST_PACKERS)));
        let (place, owner) = (Arc::new(place), Arc::default());
        Self { objects, place, owner, pulse: Pulse::new(), writes, packers }
    }

    /// Tries it: what cannot be used without a change of the configuration is an error. One that cannot be reached may be
    /// reached later: what is to be stored waits for it.
    pub async fn tried(self) -> Result<Self, LogStoreError> {
        match self.probe().await {
            Ok(()) => Ok(self),
            Err(fault) => self.without_cure(fault).map(|()| self),
        }
    }

    /// Says whose it is from now on. An error where it is another installation's, as far as that can be found out at
    /// once; else it is before anything is written or swept.
    pub async fn belonging_to(self, installation: &str) -> Result<Self, LogStoreError> {
        match *self.place {
            Place::Url(_) => self.shared_by(installation, None).await,
            Place::Default(_) => Ok(self),
        }
    }

    /// Which of several places it is; none: it has not answered yet.
    pub fn identity(&self) -> Option<&str> {
        self.owner.found.get().map(String::as_str).filter(|found| !found.is_empty())
    }

    /// The same where several controllers have to have the same: `place` is the one that the first of them had.
    pub async fn shared_by(
        mut self,
        installation: &str,
        place: Option<String>,
    ) -> Result<Self, LogStoreError> {
        let installation = Some(installation.to_owned());
        self.owner = Arc::new(Owner { installation, place, found: OnceCell::new() });
        match tokio::time::timeout(OWNER_WITHIN, self.own()).await {
            Ok(Err(fault @ (Fault::Foreign(_) | Fault::Elsewhere(_)))) => {
                self.without_cure(fault).map(|()| self)
            }
            Ok(Ok(()) | Err(_)) | Err(_) => Ok(self),
        }
    }

    /// The error that a fault is, unless it may be over later.
    fn without_cure(&self, fault: Fault) -> Result<(), LogStoreError> {
        match &*self.place {
            Place::Default(path) if matches!(fault, Fault::Elsewhere(_)) => {
                let (url, remedy) = (path.display().to_string(), ELSEWHERE.to_owned());
                Err(LogStoreError::Refused { url, why: in_words(&fault), remedy })
            }
            Place::Default(path) => {
                let (path, source) = (path.clone(), io::Error::other(fault));
                Err(LogStoreError::Folder { path, key: "data_dir", source })
            }
            Place::Url(url) => match fault.remedy(url.kind()) {
                Some(remedy) => {
                    Err(LogStoreError::Refused { url: url.shown(), why: in_words(&fault), remedy })
                }
                None => {
                    tracing::warn!(log_store = url.shown(), %fault,
                        "the log store is not there: logs wait until it is");
                    Ok(())
                }
            },
        }
    }

    /// Why no segment was taken for `long` or longer although one waits, in words; none if all is well.
    pub(super) fn behind(&self, long: Duration) -> Option<String> {
        let (since, why) = self.pulse.behind().filter(|(since, _)| *since >= long)?;
        let since = Duration::from_secs(since.as_secs()).shown();
        let why = why.unwrap_or_else(|| "it does not answer".to_owned());
        Some(format!("the log store `{}` has not taken a segment for {since}: {why}", self.place))
    }

    /// For how long no segment was taken although one waits.
    pub(super) fn behind_for(&self) -> Duration {
        self.pulse.behind().map_or(Duration::ZERO, |(since, _)| since)
    }

    /// Asks an object store that took nothing, and that no log tries any more, until it does; for ever.
    pub(super) async fn look_after(self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.pulse.must_be_asked() && self.probe().await.is_ok() {
                tracing::info!(log_store = %self.place, "the log store takes segments again");
            }
        }
    }

    /// Writes a small object, reads it, and deletes it.
    async fn probe(&self) -> Result<(), Fault> {
        let write = self.pulse.write();
        let probed = async {
            self.own().await?;
            let (path, bytes) = (probe_name(), Bytes::from_static(b"octavius"));
            self.objects.put(&path, bytes.clone().into()).await?;
            let read = self.objects.get(&path).await?.bytes().await?;
            self.objects.delete(&path).await?;
            if read == bytes { Ok(()) } else { Err(Fault::Different) }
        };
        let probed = tokio::time::timeout(ANSWER_WITHIN, probed).await;
        let probed = probed.unwrap_or(Err(Fault::Late));
        write.end(probed.as_ref().map(drop).map_err(|fault| (By::Probe, fault.to_string())));
        probed
    }

    /// Makes sure that the objects are this installation's.
    async fn own(&self) -> Result<(), Fault> {
        let Some(installation) = &self.owner.installation else { return Ok(()) };
        let claim = || self.claim(installation);
        self.owner.found.get_or_try_init(claim).await.map(drop)
    }

    /// Finds out, or writes down, whose it is, and which of several places.
    async fn claim(&self, installation: &str) -> Result<String, Fault> {
        let path = ObjectPath::from(OWNER);
        let wanted = self.owner.place.as_deref();
        let found = match (self.objects.get(&path).await, wanted) {
            (Err(Error::NotFound { .. }), Some(wanted)) => {
                return Err(Fault::Elsewhere(wanted.to_owned()));
            }
            (Err(Error::NotFound { .. }), None) => {
                let place = Uuid::new_v4().to_string();
                let ours = Bytes::from(format!("{installation} {place}"));
                match self.objects.put_opts(&path, ours.into(), create()).await {
                    // Another one was as quick.
                    Err(Error::AlreadyExists { .. }) => self.objects.get(&path).await?,
                    other => return Ok(other.map(|_| place)?),
                }
            }
            (found, _) => found?,
        };
        let owner = found.bytes().await?;
        let owner = String::from_utf8_lossy(&owner);
        let (owner, place) = owner.split_once(' ').unwrap_or((&owner, ""));
        if owner != installation {
            return Err(Fault::Foreign(owner.chars().take(64).collect()));
        }
        match wanted.filter(|wanted| *wanted != place) {
            Some(wanted) => Err(Fault::Elsewhere(wanted.to_owned())),
            None => Ok(place.to_owned()),
        }
    }

    /// Makes sure that what is there is this installation's to delete.
    pub(super) async fn owned(&self) -> Result<(), LogError> {
        within(OWNER, "read", self.own()).await
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
    pub(crate) async fn put(&self, name: &str, bytes: Bytes) -> Result<(), LogError> {
        let path = ObjectPath::from(name);
        let put = async {
            self.own().await?;
            match self.objects.put_opts(&path, bytes.clone().into(), create()).await {
                // The same bytes, from a try that may have failed before its folder was synced: only a write that is
                // answered is known to be durable. It also makes the object young again for the sweep.
                Err(Error::AlreadyExists { .. }) => {
                    Ok(self.objects.put(&path, bytes.into()).await.map(drop)?)
                }
                other => Ok(other.map(drop)?),
            }
        };
        let write = self.pulse.write();
        let put = within(name, "written", put).await;
        write.end(put.clone().map_err(|error| (By::Log, error.to_string())));
        put
    }

    /// The bytes of an object; none where there is none of that name.
    pub(crate) async fn get(&self, name: &str) -> Result<Option<Bytes>, LogError> {
        let path = ObjectPath::from(name);
        let get = async {
            match self.objects.get(&path).await {
                Ok(found) => Ok(Some(found.bytes().await?)),
                Err(Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(error.into()),
            }
        };
        within(name, "read", get).await
    }

    /// Deletes an object; that it is not there is as well.
    pub(super) async fn delete(&self, name: &ObjectPath) -> Result<(), LogError> {
        let delete = async {
            match self.objects.delete(name).await {
                Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(error.into()),
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

/// An object that must not be there yet.
fn create() -> PutOptions {
    PutOptions { mode: PutMode::Create, ..PutOptions::default() }
}

/// No other probe's.
fn probe_name() -> ObjectPath {
    ObjectPath::from(format!("{PROBE}{:016x}", rand::random::<u64>()))
}

/// Whether it is what a probe that was cut off left.
pub(super) fn is_probe(name: &ObjectPath) -> bool {
    name.as_ref().strip_prefix(PROBE).is_some_and(|rest| u64::from_str_radix(rest, 16).is_ok())
}

/// The fault as it goes behind "and".
fn in_words(fault: &Fault) -> String {
    match fault {
        Fault::Store(Error::NotFound { .. }) => format!("there is no such bucket ({fault})"),
        Fault::Store(Error::PermissionDenied { .. } | Error::Unauthenticated { .. }) => {
            format!("it is not to be used with the keys that the controller has ({fault})")
        }
        other => other.to_string(),
    }
}

async fn within<T>(
    name: &str,
    done: &'static str,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<T, LogError> {
    let began = Instant::now();
    let worked = match tokio::time::timeout(WITHIN, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            Err(LogError::Away(format!("the segment `{name}` could not be {done}: {error}")))
        }
        Err(_) => {
            Err(LogError::Away(format!("the segment `{name}` was not {done} within {WITHIN:?}")))
        }
    };
    let outcome = if worked.is_ok() { "done" } else { "failed" };
    metrics::counter!("octavius_log_store_calls_total", "call" => done, "outcome" => outcome)
        .increment(1);
    metrics::histogram!("octavius_log_store_call_seconds", "call" => done).record(began.elapsed());
    worked
}

#[cfg(feature = "clouds")]
fn cloud(
    url: &LogStoreUrl,
    variables: &[(String, String)],
) -> Result<Arc<dyn ObjectStore>, LogStoreError> {
    super::clouds::open(url, variables).map_err(|error| LogStoreError::Refused {
        url: url.shown(),
        why: format!("it cannot be used so ({error})"),
        remedy: format!("give another `log_store`; its keys come from {}", url.kind().keys()),
    })
}

#[cfg(not(feature = "clouds"))]
fn cloud(url: &LogStoreUrl, _: &[(String, String)]) -> Result<Arc<dyn ObjectStore>, LogStoreError> {
    Err(LogStoreError::Refused {
        url: url.shown(),
        why: "this program was built without the clouds".to_owned(),
        remedy:
            "give a folder, for example `file:///shared/folder`, or start the binary `controller`"
                .to_owned(),
    })
}

/// A folder whose writes are synced.
fn local(folder: &Path) -> io::Result<Arc<dyn ObjectStore>> {
    crate::folder::make(folder)?;
    let objects = LocalFileSystem::new_with_prefix(folder).map_err(io::Error::other)?;
    // Folders of logs that are gone go with them.
    Ok(Arc::new(objects.with_fsync(true).with_automatic_cleanup(true)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::TryStreamExt;
    use std::{fs, os::unix::fs::PermissionsExt};

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
    async fn a_folder_that_is_named_by_its_url_is_written_to_and_says_whose_it_is() {
        let place = tempfile::tempdir().unwrap();
        let text = format!("file://{}/shared/logs", place.path().display());
        let url = LogStoreUrl::from_value(&text.clone().into()).unwrap();
        let open = || LogFolder::of(Some(&url), Path::new("unused")).unwrap();
        let folder = open().tried().await.unwrap().belonging_to("ours").await.unwrap();
        assert!(format!("{folder:?}").contains("fsync: true"), "{folder:?}");
        folder.put("a/1/x", Bytes::from_static(b"bytes")).await.unwrap();
        assert_eq!(fs::read(place.path().join("shared/logs/a/1/x")).unwrap(), b"bytes");
        let owner = fs::read_to_string(place.path().join("shared/logs/installation")).unwrap();
        assert!(owner.starts_with("ours "), "{owner}");
        assert_eq!(fs::read_dir(place.path().join("shared/logs")).unwrap().count(), 2);
        open().belonging_to("ours").await.unwrap();
        let refused = open().belonging_to("theirs").await.unwrap_err().to_string();
        let wanted =
            format!("`log_store` is `{text}`, and it holds the logs of another installation, ours");
        assert!(refused.starts_with(&wanted), "{refused}");
    }

    #[tokio::test]
    async fn a_folder_that_nobody_may_make_is_an_error_that_names_the_key() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("file"), "no folder").unwrap();
        let text = format!("file://{}/file/logs", place.path().display());
        let url = LogStoreUrl::from_value(&text.into()).unwrap();
        let refused = LogFolder::of(Some(&url), Path::new("unused")).unwrap_err().to_string();
        assert!(refused.ends_with("or give another `log_store`"), "{refused}");
        let refused = LogFolder::of(None, &place.path().join("file")).unwrap_err().to_string();
        assert!(refused.ends_with("or give another `data_dir`"), "{refused}");
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
