//! The one trait that a backend implements, and the limits that hold for all of them.
//!
//! A small part of etcd's own model, with etcd's limits, so that what passes on one machine passes on etcd too. The
//! limits are checked where a [`Transaction`] is made: a backend never sees one that is over them.

use super::{Entry, Page, Range, Write};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use std::{collections::HashSet, fmt, sync::Arc};

/// The most compares and writes of one transaction, together.
pub(super) const MOST_OPERATIONS: usize = 128;
/// The most bytes of one transaction: all its keys and values, those of the compares too. 1.25 MiB: etcd takes 1.5 MiB,
/// and counts what stands around them.
pub(super) const MOST_BYTES: usize = 1280 * 1024;

/// How much one transaction of a backend holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Compares and writes, together.
    pub operations: usize,
    /// Bytes of all keys and values.
    pub bytes: usize,
}

impl Default for Capacity {
    fn default() -> Self {
        Self { operations: MOST_OPERATIONS, bytes: MOST_BYTES }
    }
}
/// The layout of the keys that this version reads and writes.
pub(crate) const SCHEMA_VERSION: u64 = 1;

/// A connection to where the data is.
#[async_trait]
pub trait Backend: Send + Sync + fmt::Debug {
    /// Reads a part of a range as it is now: all of a page at one moment.
    async fn range(&self, range: Range) -> Result<Page, RangeError>;

    /// Reads all that is there at one moment, whatever is written meanwhile. What it holds of the backend it holds until
    /// it is read or dropped: whoever reads it does so within a bound of time.
    async fn snapshot(&self) -> Result<Snapshot, RangeError>;

    /// Makes all writes or none, if all compares hold. `Done` means that they survive a loss of power.
    async fn commit(&self, transaction: Transaction) -> Result<Outcome, CommitError>;
}

/// All entries of one moment in ascending order, a part of some at a time. It is whole only if no part is an error.
pub type Snapshot = BoxStream<'static, Result<Vec<Entry>, RangeError>>;

/// What somebody wants to open a store for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// To serve from it: it is made where there is none.
    #[default]
    Serve,
    /// To read it: there has to be one.
    Read,
    /// To put a backup into it: it is made where there is none, and one whose restore has not ended is taken.
    Restore,
}

/// Makes connections to one place. After an error the old connection is dropped and a new one is made.
#[async_trait]
pub trait Opener: Send + Sync + fmt::Debug {
    /// Connects, and checks that what is there is ours and of a version that we know.
    async fn open(&self) -> Result<Arc<dyn Backend>, OpenError>;

    /// Whether a second connection is refused while one is open.
    fn is_exclusive(&self) -> bool;

    /// How much one transaction holds.
    fn capacity(&self) -> Capacity {
        Capacity::default()
    }

    /// Why nothing more should be written, and what to do: there is no room, or we are not let in. None: all is well.
    /// `thoroughly` means that it was full, and has to prove that it is not.
    async fn full(&self, thoroughly: bool) -> Option<String>;
}

/// What must hold, or the transaction changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The key is not there.
    Absent(String),
    /// The key holds exactly this.
    Holds(String, Bytes),
}

impl Compare {
    /// The key that it looks at.
    pub fn key(&self) -> &str {
        match self {
            Self::Absent(key) | Self::Holds(key, _) => key,
        }
    }

    /// Whether it holds, given what the key holds.
    pub fn holds(&self, found: Option<&[u8]>) -> bool {
        match self {
            Self::Absent(_) => found.is_none(),
            Self::Holds(_, value) => found == Some(value.as_ref()),
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Absent(key) => key.len(),
            Self::Holds(key, value) => key.len() + value.len(),
        }
    }
}

/// Compares and writes that happen together, within the limits. Cheap to clone, so that it can be sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction(Arc<Parts>);

#[derive(Debug, PartialEq, Eq)]
struct Parts {
    compares: Vec<Compare>,
    writes: Vec<Write>,
}

impl Transaction {
    /// Checks the limits that every backend has.
    pub fn new(compares: Vec<Compare>, writes: Vec<Write>) -> Result<Self, LimitError> {
        Self::within(Capacity::default(), compares, writes)
    }

    /// The same for a backend that takes more.
    pub fn within(
        most: Capacity,
        compares: Vec<Compare>,
        writes: Vec<Write>,
    ) -> Result<Self, LimitError> {
        let operations = compares.len() + writes.len();
        if operations > most.operations {
            return Err(LimitError::Operations { operations, most: most.operations });
        }
        let bytes = compares.iter().map(Compare::size).sum::<usize>()
            + writes.iter().map(Write::size).sum::<usize>();
        if bytes > most.bytes {
            return Err(LimitError::Bytes { bytes, most: most.bytes });
        }
        let mut written = HashSet::new();
        for write in &writes {
            if !written.insert(write.key()) {
                return Err(LimitError::Twice { key: write.key().to_owned() });
            }
        }
        let mut keys = compares.iter().map(Compare::key).chain(written);
        if keys.any(str::is_empty) {
            return Err(LimitError::EmptyKey);
        }
        Ok(Self(Arc::new(Parts { compares, writes })))
    }

    /// What must hold.
    pub fn compares(&self) -> &[Compare] {
        &self.0.compares
    }

    /// What is changed then; no key twice.
    pub fn writes(&self) -> &[Write] {
        &self.0.writes
    }
}

/// Why a transaction could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// Too many operations.
    #[error(
        "a transaction of {operations} compares and writes is over the limit of {most}: make several"
    )]
    Operations {
        /// How many there were.
        operations: usize,
        /// How many there may be.
        most: usize,
    },
    /// Too many bytes.
    #[error(
        "a transaction of {bytes} bytes of keys and values is over the limit of {most}: store less at once"
    )]
    Bytes {
        /// How many there were.
        bytes: usize,
        /// How many there may be.
        most: usize,
    },
    /// Two writes to one key.
    #[error("a transaction writes the key `{key}` twice: keep the last of the two")]
    Twice {
        /// The key.
        key: String,
    },
    /// A key without a name.
    #[error("a transaction has an empty key: a key has at least one character")]
    EmptyKey,
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All writes are on disk.
    Done,
    /// A compare did not hold, and nothing was changed.
    CompareFailed,
}

/// Why a transaction has no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// It certainly did not happen, and never will.
    #[error("the store refused the write: {0}")]
    Refused(String),
    /// The same, for want of room; the text says where to make some.
    #[error("the store is full: {0}")]
    Full(String),
    /// It may have happened, or may yet happen.
    #[error("nobody knows whether the store has the write: {0}")]
    Unknown(String),
}

/// A range could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RangeError(
    /// What happened, where.
    pub String,
);

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Somebody else has it open.
    #[error(
        "the store in `{place}` is in use by another controller: stop that one, or give this one a `data_dir` of its own"
    )]
    InUse {
        /// The folder or the address.
        place: String,
    },
    /// What is there is not a store of ours, or is damaged. It was left as it is.
    #[error(
        "`{place}` is not a usable store of Octavius ({why}), and was left as it is: move it away to start empty, or put back a backup"
    )]
    Foreign {
        /// The file or the address.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// It was written by a later version.
    #[error(
        "the store in `{place}` has schema version {found}, and this controller knows versions up to {SCHEMA_VERSION}: start the newer controller that wrote it, or put back a backup from before the upgrade"
    )]
    Newer {
        /// The file or the address.
        place: String,
        /// Its version.
        found: u64,
    },
    /// A restore has begun there and not ended.
    #[error(
        "the store in `{place}` is that of a restore which has not ended, and holds a part of it alone: let it end, or run `controller restore` again, which begins anew"
    )]
    Unfinished {
        /// The file or the address.
        place: String,
    },
    /// There is none.
    #[error(
        "there is no store in `{place}`: no controller was ever started with this configuration"
    )]
    Missing {
        /// The folder or the address.
        place: String,
    },
    /// It does not let us in.
    #[error("the store in `{place}` refuses this controller: {why}")]
    Denied {
        /// The address.
        place: String,
        /// What it says, and what to look at.
        why: String,
    },
    /// It could not be reached, read or made.
    #[error("the store in `{place}` could not be opened: {why}")]
    Away {
        /// The file or the address.
        place: String,
        /// What happened.
        why: String,
    },
}

impl OpenError {
    /// Whether it may be there later, without anybody's doing.
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Away { .. })
    }
}

/// What `v1/schema` begins with until a restore has ended.
pub(crate) const RESTORING: &str = "restoring ";

/// Checks what `v1/schema` holds in the store at `place`.
pub(super) fn check_schema(
    place: &str,
    found: Option<&[u8]>,
    purpose: Purpose,
) -> Result<(), OpenError> {
    let foreign = |why: String| OpenError::Foreign { place: place.to_owned(), why };
    let Some(found) = found else {
        return Err(foreign("it has no schema version".to_owned()));
    };
    let text = String::from_utf8_lossy(found);
    if text.starts_with(RESTORING) {
        return match purpose {
            Purpose::Restore => Ok(()),
            Purpose::Serve | Purpose::Read => {
                Err(OpenError::Unfinished { place: place.to_owned() })
            }
        };
    }
    match text.parse() {
        Ok(SCHEMA_VERSION) => Ok(()),
        Ok(newer) if newer > SCHEMA_VERSION => {
            Err(OpenError::Newer { place: place.to_owned(), found: newer })
        }
        Ok(_) | Err(_) => Err(foreign(format!("its schema version is `{text}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_schema_is_refused_and_both_versions_are_named() {
        let check_schema = |place, found| check_schema(place, found, Purpose::Serve);
        assert_eq!(check_schema("here", Some(b"1")), Ok(()));
        let text = check_schema("here", Some(b"7")).unwrap_err().to_string();
        assert!(text.contains("`here` has schema version 7"), "{text}");
        assert!(text.contains("up to 1"), "{text}");
        for odd in [None, Some(&b""[..]), Some(b"0"), Some(b"one"), Some(b"\xff")] {
            let refused = check_schema("here", odd);
            assert!(matches!(refused, Err(OpenError::Foreign { .. })), "{odd:?}: {refused:?}");
        }
    }

    #[test]
    fn what_a_restore_has_not_ended_is_taken_by_another_restore_alone() {
        let check = |purpose| check_schema("here", Some(b"restoring 2f"), purpose);
        assert_eq!(check(Purpose::Restore), Ok(()));
        for purpose in [Purpose::Serve, Purpose::Read] {
            let text = check(purpose).unwrap_err().to_string();
            assert!(text.contains("`controller restore` again"), "{text}");
        }
    }
}
