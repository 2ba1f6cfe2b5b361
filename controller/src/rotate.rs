//! `controller rotate-key`: a new master key for a store whose controllers are stopped.
//!
//! First the new key stands in the file, before the former one: from then on both open. Then each value that is sealed gets
//! its data key sealed under the new one; no value is opened for that. At last the former key goes to a file of its own.
//! Whatever breaks off in between, a controller that starts opens everything, and the next call goes on from there.

use crate::{
    backup::{opener, place},
    configuration::Configuration,
    job_queue, secrets,
    server::vault as of_store,
    store::{
        Backend, CommitError, Compare, Entry, OpenError, Outcome, Purpose, Range, Transaction,
        Write, keys,
    },
    vault::{KeyFileError, Unopened, Vault},
};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::time::timeout;

/// How many entries are read at a time.
const AT_ONCE: usize = 100;
/// The most bytes of one transaction.
const MOST_BYTES: usize = 1 << 20;
/// For how long one transaction may take.
const WITHIN: Duration = Duration::from_secs(10);

/// A master key that was exchanged.
#[derive(Debug)]
pub struct Rotated {
    /// How many values are sealed under the new one that were not before.
    pub values: usize,
    /// Where the former one is; none: there was none any more.
    pub former: Option<PathBuf>,
}

/// Why it was not, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// This program has no etcd.
    #[error("this program was built without etcd: take the `controller` that has it")]
    NoEtcd,
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The key cannot be read or written.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// A controller leads there.
    #[error(
        "a controller leads in {place}, or has led meanwhile: stop all controllers of it, then rotate its key"
    )]
    Led {
        /// Where.
        place: String,
    },
    /// Something does not open under either key.
    #[error(
        "`{key}` in {place} is sealed under no key of `master.key`: {why}. Both keys stay in it"
    )]
    Unopened {
        /// Where.
        place: String,
        /// Which.
        key: String,
        /// Why.
        why: Unopened,
    },
    /// Something cannot be read.
    #[error("`{key}` in {place} cannot be read: {why}. Both keys stay in `master.key`")]
    Unreadable {
        /// Where.
        place: String,
        /// Which.
        key: String,
        /// Why.
        why: String,
    },
    /// The store did not take it.
    #[error("{place} did not take it: {why}. Both keys stay in `master.key`; rotate again")]
    Store {
        /// Where.
        place: String,
        /// What it said.
        why: String,
    },
}

impl RotateError {
    /// Whether the command or the configuration has to be changed. Else it may work later as it is.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::NoEtcd | Self::Key(_) | Self::Led { .. } => true,
            Self::Unopened { .. } | Self::Unreadable { .. } => true,
            Self::Open(error) => !error.is_away(),
            Self::Store { .. } => false,
        }
    }
}

/// What is sealed, and where that is in an entry.
type Sealed = fn(&Entry, &Vault) -> Result<Option<Vec<u8>>, Failed>;

/// Why an entry is not sealed anew.
#[derive(Debug)]
pub(crate) enum Failed {
    /// It does not open.
    Unopened(Unopened),
    /// It is not what it should be.
    Unreadable(String),
}

impl From<Unopened> for Failed {
    fn from(why: Unopened) -> Self {
        Self::Unopened(why)
    }
}

/// All kinds of keys that hold something sealed; the one that tells whether a store and a key belong together comes last.
const SEALED: &[(&str, Sealed)] = &[
    (keys::SECRET_VALUES, secrets::taken_over),
    (keys::SPECS, job_queue::arguments_taken_over),
    (keys::SECRET_ARGUMENTS, |entry, vault| Ok(vault.taken_over(&entry.value)?)),
];

/// Gives the store that the configuration names a new master key. No controller may run on it.
pub async fn rotate(configuration: &Configuration) -> Result<Rotated, RotateError> {
    let place = place(configuration);
    let store = |why: String| RotateError::Store { place: place.clone(), why };
    let opener = opener(configuration, Purpose::Read).ok_or(RotateError::NoEtcd)?;
    let backend = opener.open().await?;
    let get = async |key: &str| {
        let page = backend.range(Range::key(key)).await;
        page.map(|page| page.entries.into_iter().next()).map_err(|error| store(error.to_string()))
    };
    if get(keys::LEADER).await?.is_some() {
        return Err(RotateError::Led { place });
    }
    // Whoever leads meanwhile begins a term, and may have sealed something under the key that they know.
    let term = match get(keys::TERM).await? {
        Some(term) => Compare::Holds(term.key, term.value),
        None => Compare::Absent(keys::TERM.to_owned()),
    };
    let check = get(keys::KEY_CHECK).await?;
    of_store::fits(check.as_ref().map(|check| &check.value[..]), &configuration.data_dir)?;
    let vault = Vault::exchanging(&configuration.data_dir)?;
    let target = Target { backend: &backend, place: &place, term: &term };
    let mut values = 0;
    for (prefix, sealed) in SEALED {
        let mut rest = Range::prefix(prefix, AT_ONCE);
        loop {
            let page =
                backend.range(rest.clone()).await.map_err(|error| store(error.to_string()))?;
            values += target.anew(&vault, *sealed, &page.entries).await?;
            match page.entries.last() {
                Some(last) if page.more => rest = rest.after(&last.key),
                Some(_) | None => break,
            }
        }
    }
    if let Some(check) = check {
        // Written in any case: nothing was sealed by anybody else until here.
        let sealed: Sealed = |entry, vault| {
            Ok(Some(vault.taken_over(&entry.value)?.unwrap_or_else(|| entry.value.to_vec())))
        };
        target.anew(&vault, sealed, &[check]).await?;
    }
    Ok(Rotated { values, former: Vault::exchanged(&configuration.data_dir)? })
}

/// The store whose values are sealed anew.
struct Target<'a> {
    backend: &'a Arc<dyn Backend>,
    place: &'a str,
    /// Holds as long as nobody has led meanwhile.
    term: &'a Compare,
}

impl Target<'_> {
    /// Seals what is in these entries under the new key; how many were not before.
    async fn anew(
        &self,
        vault: &Vault,
        sealed: Sealed,
        entries: &[Entry],
    ) -> Result<usize, RotateError> {
        let (mut writes, mut bytes, mut count) = (Vec::new(), 0, 0);
        for entry in entries {
            let (place, key) = (self.place.to_owned(), entry.key.clone());
            let value = match sealed(entry, vault) {
                Ok(Some(value)) => value,
                Ok(None) => continue,
                Err(Failed::Unopened(why)) => {
                    return Err(RotateError::Unopened { place, key, why });
                }
                Err(Failed::Unreadable(why)) => {
                    return Err(RotateError::Unreadable { place, key, why });
                }
            };
            let write = Write::Put(key, value.into());
            if bytes + write.size() > MOST_BYTES && !writes.is_empty() {
                self.commit(std::mem::take(&mut writes)).await?;
                bytes = 0;
            }
            bytes += write.size();
            writes.push(write);
            count += 1;
        }
        if !writes.is_empty() {
            self.commit(writes).await?;
        }
        Ok(count)
    }

    /// Makes the writes as long as nobody leads, or has led meanwhile.
    async fn commit(&self, writes: Vec<Write>) -> Result<(), RotateError> {
        let place = || self.place.to_owned();
        let store = |why: String| RotateError::Store { place: place(), why };
        let compares = vec![Compare::Absent(keys::LEADER.to_owned()), self.term.clone()];
        let transaction =
            Transaction::new(compares, writes).map_err(|error| store(error.to_string()))?;
        match timeout(WITHIN, self.backend.commit(transaction)).await {
            Ok(Ok(Outcome::Done)) => Ok(()),
            Ok(Ok(Outcome::CompareFailed)) => Err(RotateError::Led { place: place() }),
            Ok(Err(
                error @ (CommitError::Refused(_) | CommitError::Full(_) | CommitError::Unknown(_)),
            )) => Err(store(error.to_string())),
            Err(_) => Err(store(format!("no answer within {WITHIN:?}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::keys::{LAYOUT, Value};

    /// What is forgotten here is lost when the former key goes.
    #[test]
    fn all_kinds_of_keys_that_hold_something_sealed_are_sealed_anew() {
        let is_sealed = |value| {
            matches!(value, Value::Sealed | Value::ProtobufSealed | Value::JsonPackedSealed)
        };
        let mut kinds: Vec<_> =
            LAYOUT.iter().filter(|kind| is_sealed(kind.value)).map(|kind| kind.key).collect();
        let mut known: Vec<_> = SEALED.iter().map(|(key, _)| *key).collect();
        known.push(keys::KEY_CHECK);
        kinds.sort_unstable();
        known.sort_unstable();
        assert_eq!(known, kinds);
    }
}
