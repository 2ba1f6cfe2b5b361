//! A backup: all that a store holds at one moment, in a file, and the way back into a store that is empty. It is also the
//! way from the embedded store to an etcd, and from there.
//!
//! What is taken is one snapshot of the backend: at one revision of an etcd, in one transaction of the embedded store's
//! file; where a controller has that file open, through that controller. What is sealed stays sealed; the master key is
//! never in it. Nothing is written to the file's name before all of it is on disk, and nothing to a store before all of
//! the file was read and found whole.
//!
//! Not here: what a snapshot is (the backends), which keys go along ([`keys::LAYOUT`](crate::store::keys::LAYOUT)).

mod file;
mod put_back;
mod source;
mod take;

pub use file::{Counts, FileError, Head};
pub use put_back::{RestoreError, Restored, restore};
pub use take::{BackedUp, BackupError, Wanted, back_up};

use crate::{
    configuration::{Configuration, StoreKind},
    store::{Opener, Purpose, embedded::EmbeddedOpener},
};
use std::sync::Arc;

/// The way to the store that a configuration names.
pub(crate) fn opener(configuration: &Configuration, purpose: Purpose) -> Option<Arc<dyn Opener>> {
    match configuration.store() {
        StoreKind::Embedded => {
            Some(Arc::new(EmbeddedOpener::for_purpose(&configuration.data_dir, purpose)))
        }
        #[cfg(feature = "etcd")]
        StoreKind::Etcd => Some(Arc::new(crate::store::etcd::EtcdOpener::for_purpose(
            configuration.etcd(),
            purpose,
        ))),
        #[cfg(not(feature = "etcd"))]
        StoreKind::Etcd => None,
    }
}

/// Where that store is, for texts.
pub(crate) fn place(configuration: &Configuration) -> String {
    match configuration.store() {
        StoreKind::Embedded => {
            format!("the embedded store in {}", configuration.data_dir.display())
        }
        #[cfg(feature = "etcd")]
        StoreKind::Etcd => {
            let etcd = configuration.etcd();
            format!("`{}` in the etcd at {}", etcd.prefix, etcd.place())
        }
        #[cfg(not(feature = "etcd"))]
        StoreKind::Etcd => "an etcd".to_owned(),
    }
}
