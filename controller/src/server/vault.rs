//! The vault of a store: before anything is decided, the store and the master key are found to belong together.

use super::StartError;
use crate::{
    store::{Commit, StoreHandle, Write, Writer, keys},
    vault::{FILE, KeyFileError, Place, Vault},
};
use std::path::Path;

/// What is sealed to tell keys apart.
const KNOWN: &[u8] = b"octavius";

/// Whether the master key in `data_dir` is that of a store, by what the store holds to tell that; none: it has no key yet.
pub(crate) fn fits(check: Option<&[u8]>, data_dir: &Path) -> Result<(), KeyFileError> {
    let Some(check) = check else { return Ok(()) };
    checked(&Vault::open(data_dir, false)?, check, data_dir)
}

fn checked(vault: &Vault, check: &[u8], data_dir: &Path) -> Result<(), KeyFileError> {
    let opened = vault.open_sealed(&Place::KeyCheck, check);
    let known = opened.is_ok_and(|opened| opened.as_slice() == KNOWN);
    known.then_some(()).ok_or_else(|| KeyFileError::Other(data_dir.join(FILE)))
}

/// Opens the master key in `data_dir`. It is made where the store holds nothing that is sealed; else a missing one, or
/// another one, is refused, and nothing is written.
pub(super) async fn open(
    store: &StoreHandle,
    writer: &Writer,
    data_dir: &Path,
) -> Result<Vault, StartError> {
    let unsettled = |why: String| StartError::KeyCheck(why);
    let check = store.get(keys::KEY_CHECK).await.map_err(|error| unsettled(error.to_string()))?;
    let (folder, may_make) = (data_dir.to_owned(), check.is_none());
    let opened = tokio::task::spawn_blocking(move || Vault::open(&folder, may_make));
    let vault = opened.await.map_err(|error| unsettled(error.to_string()))??;
    if let Some(check) = check {
        checked(&vault, &check, data_dir)?;
        return Ok(vault);
    }
    let sealed = vault.seal(&Place::KeyCheck, KNOWN);
    match writer.commit(vec![Write::Put(keys::KEY_CHECK.to_owned(), sealed.into())]).await {
        Commit::Done => Ok(vault),
        Commit::Refused(why) | Commit::Unknown(why) => Err(unsettled(why)),
    }
}
