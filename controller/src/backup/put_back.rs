//! Putting a backup back into a store that is empty.
//!
//! First all of the file is read, and nothing is written before it is found whole. Then the store's version is replaced
//! by a word that no controller takes for one; each batch compares it, and the last one puts the version. So what was
//! left in the middle is known for that by everybody, and begun anew by the next restore.

use super::{
    file::{Counts, FileError, Head, Part, Reader},
    opener, place,
};
use crate::{
    configuration::Configuration,
    log_store::{self, LogError, LogFolder, LogStoreError},
    server::vault,
    store::{
        Backend, CommitError, Compare, MOST_BYTES, MOST_WRITES, OpenError, Opener, Outcome,
        Purpose, RESTORING, Range, SCHEMA_VERSION, TermError, Transaction, Write, keys,
        raised_generation,
    },
    vault::KeyFileError,
};
use bytes::Bytes;
use std::{
    fs::File,
    io::{self, BufReader, Seek as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use uuid::Uuid;

/// How often a batch of which nobody knows is sent again.
const TRIES: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// For how long one batch may take.
const BATCH_WITHIN: Duration = Duration::from_secs(10);
/// So many sessions are not given out in the time between two backups.
const SESSIONS: u64 = 1_000_000;
/// How many keys of what an earlier restore left are removed at a time.
const CLEARED: usize = 100;

/// A backup that is in a store.
#[derive(Debug)]
pub struct Restored {
    /// What it is of.
    pub head: Head,
    /// How much of it there is.
    pub counts: Counts,
    /// Whether it began anew what an earlier restore had left.
    pub again: bool,
    /// Why the store's secrets cannot be opened yet; none: its master key is there.
    pub master_key: Option<KeyFileError>,
}

/// Why a backup was not put back.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The file cannot be opened.
    #[error("{} cannot be opened: {source}", path.display())]
    NoFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is no backup that can be used. Nothing was written.
    #[error("{} cannot be restored: {why}. Nothing was written", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: FileError,
    },
    /// It was taken from a store of a newer layout.
    #[error("{} is of a store with schema version {found}, and this controller knows versions up to {SCHEMA_VERSION}: restore it with the `controller` that took it, or a newer one. Nothing was written", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
    /// It was changed while it was read.
    #[error("{} is not what it was a moment ago ({why}): the store holds a part of it, which no controller takes; restore it again", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it now.
        why: FileError,
    },
    /// What it says of the term cannot be raised.
    #[error("the backup cannot be restored: {0}. Nothing was written")]
    Term(#[from] TermError),
    /// What it says of sessions cannot be raised.
    #[error(
        "the backup cannot be restored: its `{}` is no number. Nothing was written",
        keys::LAST_SESSION
    )]
    Sessions,
    /// This program has no etcd.
    #[error("this program was built without etcd: take the `controller` that has it")]
    NoEtcd,
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Something is there.
    #[error(
        "{place} is not empty, it has the key `{key}`: a backup is put into an empty store alone, so give another `data_dir` or `etcd_prefix`, or move away what is there. Nothing was written"
    )]
    NotEmpty {
        /// Where.
        place: String,
        /// A key that is there.
        key: String,
    },
    /// A controller leads there.
    #[error("a controller leads in {place}: stop all controllers of it, then restore")]
    Led {
        /// Where.
        place: String,
    },
    /// Somebody else writes there.
    #[error("somebody else writes to {place}: let one restore run at a time, and no controller")]
    Taken {
        /// Where.
        place: String,
    },
    /// The store did not take it.
    #[error(
        "{place} did not take it: {why}. It holds a part of the backup, which no controller takes; restore again"
    )]
    Store {
        /// Where.
        place: String,
        /// What it said.
        why: String,
    },
    /// The bytes of logs were not stored.
    #[error(
        "the bytes of logs were not stored: {0}. The store holds a part of the backup, which no controller takes; restore again"
    )]
    Logs(String),
}

impl RestoreError {
    /// Whether the command or the configuration has to be changed. Else it may work later as it is.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::NoFile { .. }
            | Self::File { .. }
            | Self::Newer { .. }
            | Self::Term(_)
            | Self::Sessions
            | Self::NoEtcd
            | Self::NotEmpty { .. }
            | Self::Led { .. } => true,
            Self::Open(error) => !error.is_away(),
            Self::Changed { .. } | Self::Taken { .. } | Self::Store { .. } | Self::Logs(_) => false,
        }
    }
}

/// Puts a backup into the store that the configuration names.
pub async fn restore(configuration: &Configuration, path: &Path) -> Result<Restored, RestoreError> {
    let no_file = |source| RestoreError::NoFile { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(no_file)?;
    let seconds = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default();
    let checked = check(&file, path, seconds)?;
    file.rewind().map_err(no_file)?;

    let opener = opener(configuration, Purpose::Restore).ok_or(RestoreError::NoEtcd)?;
    let mut target = Target::open(opener, place(configuration)).await?;
    let again = target.begin().await?;
    let changed = |why| RestoreError::Changed { path: path.to_owned(), why };
    let mut reader = Reader::begin(BufReader::new(&file)).map_err(changed)?;
    let logs = |error: LogError| RestoreError::Logs(error.to_string());
    let unusable = |error: LogStoreError| RestoreError::Logs(error.to_string());
    let mut folder = None;
    while let Some(part) = reader.next().map_err(changed)? {
        match part {
            Part::Entry(entry) => {
                let value = raised(&entry.key, &entry.value, seconds)?;
                target.put(entry.key, value.unwrap_or(entry.value)).await?;
            }
            Part::Object(name, bytes) => {
                let folder = match &mut folder {
                    Some(folder) => folder,
                    none => {
                        let named = LogFolder::of(
                            configuration.log_store.as_ref(),
                            &configuration.data_dir,
                        );
                        let named = named.map_err(unusable)?.tried().await.map_err(unusable)?;
                        let owner = &checked.head.installation;
                        none.insert(named.belonging_to(owner).await.map_err(unusable)?)
                    }
                };
                folder.put(&name, bytes).await.map_err(logs)?;
            }
        }
    }
    target.end().await?;
    let check = checked.key_check.as_deref();
    let master_key = vault::fits(check, &configuration.data_dir).err();
    Ok(Restored { head: checked.head, counts: checked.counts, again, master_key })
}

/// What all of a file says.
struct Checked {
    head: Head,
    counts: Counts,
    key_check: Option<Bytes>,
}

/// Reads all of it, and finds it whole.
fn check(file: &File, path: &Path, seconds: u64) -> Result<Checked, RestoreError> {
    let wrong = |why| RestoreError::File { path: path.to_owned(), why };
    let mut reader = Reader::begin(BufReader::new(file)).map_err(wrong)?;
    let head = reader.head().clone();
    if head.schema > SCHEMA_VERSION {
        return Err(RestoreError::Newer { path: path.to_owned(), found: head.schema });
    }
    let mut key_check = None;
    while let Some(part) = reader.next().map_err(wrong)? {
        match part {
            Part::Entry(entry) => {
                raised(&entry.key, &entry.value, seconds)?;
                if entry.key == keys::KEY_CHECK {
                    key_check = Some(entry.value);
                }
            }
            Part::Object(name, bytes) if log_store::is_object(&name, &bytes) => {}
            Part::Object(name, _) => {
                let why = format!("the object `{name}` is not what its name says");
                return Err(wrong(FileError::Damaged { at: 0, why }));
            }
        }
    }
    Ok(Checked { head, counts: reader.counts(), key_check })
}

/// What is put back higher than it was.
fn raised(key: &str, value: &[u8], seconds: u64) -> Result<Option<Bytes>, RestoreError> {
    Ok(match key {
        keys::TERM => Some(raised_generation(value, seconds)?.into()),
        keys::LAST_SESSION => {
            let last = std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok());
            let last = last.and_then(|last| last.checked_add(SESSIONS));
            Some(last.ok_or(RestoreError::Sessions)?.to_string().into())
        }
        _ => None,
    })
}

/// The store that it goes into.
struct Target {
    opener: Arc<dyn Opener>,
    place: String,
    /// None: nobody knows what became of the last batch there.
    backend: Option<Arc<dyn Backend>>,
    /// What the store's version holds until the end.
    mark: Bytes,
    waiting: Vec<Write>,
    bytes: usize,
}

impl Target {
    async fn open(opener: Arc<dyn Opener>, place: String) -> Result<Self, RestoreError> {
        let backend = Some(opener.open().await?);
        let mark = Bytes::from(format!("{RESTORING}{}", Uuid::new_v4()));
        Ok(Self { opener, place, backend, mark, waiting: Vec::new(), bytes: 0 })
    }

    fn failed(&self, why: impl ToString) -> RestoreError {
        RestoreError::Store { place: self.place.clone(), why: why.to_string() }
    }

    async fn backend(&mut self) -> Result<&Arc<dyn Backend>, RestoreError> {
        let backend = match self.backend.take() {
            Some(backend) => backend,
            None => self.opener.open().await?,
        };
        Ok(self.backend.insert(backend))
    }

    async fn first(&mut self, limit: usize) -> Result<Vec<crate::store::Entry>, RestoreError> {
        let backend = self.backend().await?.clone();
        let page = backend.range(Range::prefix(keys::ALL, limit)).await;
        page.map(|page| page.entries).map_err(|error| self.failed(error))
    }

    async fn get(&mut self, key: &str) -> Result<Option<Bytes>, RestoreError> {
        let backend = self.backend().await?.clone();
        let page = backend.range(Range::key(key)).await.map_err(|error| self.failed(error))?;
        Ok(page.entries.into_iter().next().map(|entry| entry.value))
    }

    /// Marks the store as one whose restore has begun, and removes what an earlier one left. Whether there was such.
    async fn begin(&mut self) -> Result<bool, RestoreError> {
        let schema = self.get(keys::SCHEMA).await?;
        let again = schema.as_ref().is_some_and(|found| found.starts_with(RESTORING.as_bytes()));
        if self.get(keys::LEADER).await?.is_some() {
            return Err(RestoreError::Led { place: self.place.clone() });
        }
        if !again {
            let own = |key: &str| [keys::SCHEMA, keys::STORE_ID].contains(&key);
            let found = self.first(3).await?.into_iter().find(|entry| !own(&entry.key));
            if let Some(entry) = found {
                return Err(RestoreError::NotEmpty { place: self.place.clone(), key: entry.key });
            }
        }
        let holds = match schema {
            Some(schema) => Compare::Holds(keys::SCHEMA.to_owned(), schema),
            None => Compare::Absent(keys::SCHEMA.to_owned()),
        };
        let mark = self.mark.clone();
        self.commit(holds, vec![Write::Put(keys::SCHEMA.to_owned(), mark.clone())], &mark).await?;
        if again {
            self.clear().await?;
        }
        Ok(again)
    }

    /// Removes all but what says what it is.
    async fn clear(&mut self) -> Result<(), RestoreError> {
        loop {
            let left = self.first(CLEARED + 2).await?.into_iter().map(|entry| entry.key);
            let left = left.filter(|key| ![keys::SCHEMA, keys::STORE_ID].contains(&key.as_str()));
            let writes: Vec<_> = left.map(Write::Delete).collect();
            if writes.is_empty() {
                return Ok(());
            }
            self.batch(writes).await?;
        }
    }

    /// Puts an entry, with others in one batch.
    async fn put(&mut self, key: String, value: Bytes) -> Result<(), RestoreError> {
        let write = Write::Put(key, value);
        let full = self.waiting.len() >= MOST_WRITES || self.bytes + write.size() > MOST_BYTES;
        if full && !self.waiting.is_empty() {
            self.flush().await?;
        }
        self.bytes += write.size();
        self.waiting.push(write);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), RestoreError> {
        self.bytes = 0;
        let writes = std::mem::take(&mut self.waiting);
        self.batch(writes).await
    }

    async fn batch(&mut self, writes: Vec<Write>) -> Result<(), RestoreError> {
        let mark = self.mark.clone();
        let holds = Compare::Holds(keys::SCHEMA.to_owned(), mark.clone());
        self.commit(holds, writes, &mark).await
    }

    /// Gives the store its version: from now on controllers take it.
    async fn end(&mut self) -> Result<(), RestoreError> {
        self.flush().await?;
        let version = Bytes::from(SCHEMA_VERSION.to_string());
        let holds = Compare::Holds(keys::SCHEMA.to_owned(), self.mark.clone());
        let writes = vec![Write::Put(keys::SCHEMA.to_owned(), version.clone())];
        self.commit(holds, writes, &version).await
    }

    /// Makes the writes as long as nobody leads, again and again where nobody knows. After it `v1/schema` holds `then`.
    async fn commit(
        &mut self,
        holds: Compare,
        writes: Vec<Write>,
        then: &Bytes,
    ) -> Result<(), RestoreError> {
        let compares = vec![holds, Compare::Absent(keys::LEADER.to_owned())];
        let transaction = Transaction::new(compares, writes).map_err(|error| self.failed(error))?;
        let (mut why, mut pause) = (String::new(), FIRST_PAUSE);
        for try_ in 0..TRIES {
            if try_ > 0 {
                tokio::time::sleep(pause.mul_f64(rand::random_range(0.8..1.2))).await;
                pause *= 2;
            }
            let backend = match self.backend().await {
                Ok(backend) => backend.clone(),
                Err(RestoreError::Open(error)) if error.is_away() => {
                    why = error.to_string();
                    continue;
                }
                Err(error) => return Err(error),
            };
            let commit = backend.commit(transaction.clone());
            let outcome = match tokio::time::timeout(BATCH_WITHIN, commit).await {
                Ok(outcome) => outcome,
                Err(_) => Err(CommitError::Unknown(format!("no answer within {BATCH_WITHIN:?}"))),
            };
            match outcome {
                Ok(Outcome::Done) => return Ok(()),
                Ok(Outcome::CompareFailed) => {
                    // One that was sent before, and of which nobody knew, may have landed.
                    if try_ > 0 && self.get(keys::SCHEMA).await?.as_ref() == Some(then) {
                        return Ok(());
                    }
                    let place = self.place.clone();
                    return Err(match self.get(keys::LEADER).await? {
                        Some(_) => RestoreError::Led { place },
                        None => RestoreError::Taken { place },
                    });
                }
                Err(CommitError::Unknown(text)) => {
                    self.backend = None;
                    drop(backend);
                    why = text;
                }
                Err(error @ (CommitError::Refused(_) | CommitError::Full(_))) => {
                    return Err(self.failed(error));
                }
            }
        }
        Err(self.failed(format!("{TRIES} tries: {why}")))
    }
}
