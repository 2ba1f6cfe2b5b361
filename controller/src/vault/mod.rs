//! What is sealed before it is stored: secrets, and the arguments of executions.
//!
//! Each sealed value has a data key, which is sealed under the one master key of this `data_dir`: whoever has the store
//! alone has nothing. A value opens only in its own [`Place`]: moved elsewhere in the store it is damaged.
//! Not here: which values there are, and who may have them.

mod envelope;
mod master_key;

pub use envelope::{DataKey, Place, Unopened};
pub use master_key::{FILE, KeyFileError};

use envelope::MasterKey;
use secrecy::zeroize::Zeroizing;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Seals and opens. Cheap to clone; the master key is in memory once.
#[derive(Clone, Debug)]
pub struct Vault {
    master: Arc<MasterKey>,
    /// What is being exchanged for it, if that has not come to its end.
    former: Option<Arc<MasterKey>>,
}

impl Vault {
    /// The vault whose master key is in `data_dir`. One is made only where `may_make`: a store that has sealed values
    /// cannot do with another one. Blocks for a moment.
    pub fn open(data_dir: &Path, may_make: bool) -> Result<Self, KeyFileError> {
        let (master, former) = master_key::open(data_dir, may_make)?;
        Ok(Self { master: Arc::new(master), former: former.map(Arc::new) })
    }

    /// The same with a new master key, which is in the file before the former one from now on; or, where an exchange has
    /// begun before, with what that made. Blocks for a moment.
    pub fn exchanging(data_dir: &Path) -> Result<Self, KeyFileError> {
        master_key::add(data_dir)?;
        Self::open(data_dir, false)
    }

    /// Ends an exchange: the former key goes to a file of its own. Where that is.
    pub fn exchanged(data_dir: &Path) -> Result<Option<PathBuf>, KeyFileError> {
        master_key::set_aside(data_dir)
    }

    /// What was sealed under the former key, under the new one; none: it is already. Nothing is opened.
    pub fn taken_over(&self, sealed: &[u8]) -> Result<Option<Vec<u8>>, Unopened> {
        match &self.former {
            Some(former) if !self.master.has_sealed(sealed) => {
                self.master.taken_over(former, sealed).map(Some)
            }
            Some(_) | None => Ok(None),
        }
    }

    /// A vault with a key of its own that is nowhere else, for tests.
    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        Self { master: Arc::new(MasterKey::generate()), former: None }
    }

    /// A data key for many small values.
    pub fn data_key(&self) -> DataKey {
        self.master.data_key()
    }

    /// Seals one value under a data key of its own.
    pub fn seal(&self, place: &Place<'_>, value: &[u8]) -> Vec<u8> {
        self.data_key().seal(place, value)
    }

    /// Opens what was sealed for this place.
    pub fn open_sealed(
        &self,
        place: &Place<'_>,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Unopened> {
        match &self.former {
            Some(former) if !self.master.has_sealed(sealed) => former.open(place, sealed),
            Some(_) | None => self.master.open(place, sealed),
        }
    }
}
