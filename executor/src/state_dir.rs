//! The executor's own folder: what must outlive the process, and belongs to one process at a time.
//!
//! Holds the place (a UUID that is made once), the installation that this place belongs to, the credential that this
//! executor got for its token, and a lock. What the
//! runner keeps below it is the runner's.

use secrecy::{ExposeSecret, SecretString};
use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};
use uuid::Uuid;

const LOCK: &str = "lock";
const PLACE: &str = "place";
const INSTALLATION: &str = "installation";
const CREDENTIAL: &str = "credential";

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// Another process has it.
    #[error(
        "`state_dir` is `{}`, where another executor runs: stop that one, or give this one a `state_dir` of its own",
        .0.display()
    )]
    Locked(PathBuf),
    /// What is in it is not what this executor writes.
    #[error("`{}` holds `{text}`, which is no UUID: put the right one back, or take the file away", path.display())]
    NotUuid {
        /// The file.
        path: PathBuf,
        /// What it holds, up to 80 characters.
        text: String,
    },
    /// The folder, or a file in it, cannot be used.
    #[error("{what} `{}` did not work: let this user write there, or give another `state_dir`", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// What came of it.
        source: io::Error,
    },
}

/// The folder, locked as long as this lives.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    place: Uuid,
    _lock: File,
}

impl StateDir {
    /// Opens the folder, makes it if it is not there, and locks it. Blocks for a moment.
    pub fn open(path: &Path) -> Result<Self, StateDirError> {
        let making = DirBuilder::new().recursive(true).mode(0o700).create(path);
        making.map_err(failed("making", path))?;
        let path = path.canonicalize().map_err(failed("finding", path))?;
        let lock_path = path.join(LOCK);
        let mut options = OpenOptions::new();
        let lock = options.write(true).create(true).truncate(false).mode(0o600).open(&lock_path);
        let lock = lock.map_err(failed("opening", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StateDirError::Locked(path)),
            Err(TryLockError::Error(source)) => {
                return Err(StateDirError::Io { what: "locking", path: lock_path, source });
            }
        }
        let place = match read(&path, PLACE)? {
            Some(place) => place,
            None => {
                let place = Uuid::new_v4();
                write(&path, PLACE, &place.to_string())?;
                place
            }
        };
        Ok(Self { path, place, _lock: lock })
    }

    /// Where it is, as an absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names this place for ever.
    pub fn place(&self) -> Uuid {
        self.place
    }

    /// The installation that this place belongs to; none before the first registration.
    pub async fn installation(self: &Arc<Self>) -> Result<Option<String>, StateDirError> {
        let folder = self.clone();
        let read = tokio::task::spawn_blocking(move || read(&folder.path, INSTALLATION));
        let installation: Option<Uuid> = self.joined(read.await)?;
        Ok(installation.map(|installation| installation.to_string()))
    }

    /// From now on this place belongs to that installation.
    pub async fn keep_installation(
        self: &Arc<Self>,
        installation: &str,
    ) -> Result<(), StateDirError> {
        let (folder, text) = (self.clone(), installation.to_owned());
        let write = tokio::task::spawn_blocking(move || {
            parse(&folder.path.join(INSTALLATION), &text)?;
            write(&folder.path, INSTALLATION, &text)
        });
        self.joined(write.await)
    }

    /// What proves this executor; none: it has not joined.
    pub async fn credential(self: &Arc<Self>) -> Result<Option<SecretString>, StateDirError> {
        let folder = self.clone();
        let read = tokio::task::spawn_blocking(move || {
            let path = folder.path.join(CREDENTIAL);
            match fs::read_to_string(&path) {
                Ok(text) => Ok(Some(SecretString::from(text.trim()))),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(failed("reading", &path)(error)),
            }
        });
        self.joined(read.await)
    }

    /// Keeps what proves this executor from now on, in a file for its user alone.
    pub async fn keep_credential(
        self: &Arc<Self>,
        credential: SecretString,
    ) -> Result<(), StateDirError> {
        let folder = self.clone();
        let write = tokio::task::spawn_blocking(move || {
            write(&folder.path, CREDENTIAL, credential.expose_secret())
        });
        self.joined(write.await)
    }

    fn joined<T>(
        &self,
        done: Result<Result<T, StateDirError>, tokio::task::JoinError>,
    ) -> Result<T, StateDirError> {
        done.unwrap_or_else(|error| Err(failed("using", &self.path)(io::Error::other(error))))
    }
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateDirError {
    let path = path.to_owned();
    move |source| StateDirError::Io { what, path, source }
}

fn read(folder: &Path, name: &str) -> Result<Option<Uuid>, StateDirError> {
    let path = folder.join(name);
    match fs::read_to_string(&path) {
        Ok(text) => parse(&path, &text).map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("reading", &path)(error)),
    }
}

fn parse(path: &Path, text: &str) -> Result<Uuid, StateDirError> {
    text.trim().parse().map_err(|_| StateDirError::NotUuid {
        path: path.to_owned(),
        text: text.trim().chars().take(80).collect(),
    })
}

/// Writes a file so that after a crash it is there whole or not at all.
fn write(folder: &Path, name: &str, text: &str) -> Result<(), StateDirError> {
    let (path, making) = (folder.join(name), folder.join(format!(".{name}.new")));
    let written = || {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&making)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&making, &path)?;
        File::open(folder)?.sync_all()
    };
    written().map_err(failed("writing", &path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_made_once_and_belongs_to_one_process_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/state");
        let first = StateDir::open(&path).unwrap();
        let place = first.place();
        let second = StateDir::open(&path).unwrap_err();
        assert!(matches!(second, StateDirError::Locked(_)));
        assert!(
            second.to_string().contains("where another executor runs: stop that one"),
            "{second}"
        );
        drop(first);
        assert_eq!(StateDir::open(&path).unwrap().place(), place);
    }

    #[tokio::test]
    async fn the_installation_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let state = Arc::new(StateDir::open(folder.path()).unwrap());
        assert_eq!(state.installation().await.unwrap(), None);
        let installation = Uuid::new_v4().to_string();
        state.keep_installation(&installation).await.unwrap();
        assert_eq!(state.installation().await.unwrap(), Some(installation.clone()));
        drop(state);
        let state = Arc::new(StateDir::open(folder.path()).unwrap());
        assert_eq!(state.installation().await.unwrap(), Some(installation));
        assert!(state.keep_installation("nonsense").await.is_err());
    }

    #[tokio::test]
    async fn the_credential_is_kept_for_this_user_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let state = Arc::new(StateDir::open(folder.path()).unwrap());
        assert!(state.credential().await.unwrap().is_none());
        for credential in ["octe_first", "octe_second"] {
            state.keep_credential(credential.into()).await.unwrap();
            let kept = state.credential().await.unwrap().unwrap();
            assert_eq!(kept.expose_secret(), credential);
        }
        let mode = fs::metadata(folder.path().join(CREDENTIAL)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_place_that_is_none_is_named_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("place"), "here").unwrap();
        let error = StateDir::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("place` holds `here`, which is no UUID"), "{error}");
    }
}
