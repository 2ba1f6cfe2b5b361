//! The mark: a file beside the store that says which store was ours, and of which schema.
//!
//! A store that was not closed properly can be read only after a repair, which writes to it. The mark spares the check of
//! a copy in memory before that. It counts for its own store alone: the store's id is in both, and in the store's file
//! it is found without a repair, among the bytes.

use crate::store::backend::SCHEMA_VERSION;
use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};
use uuid::Uuid;

/// Its name.
pub(super) const FILE: &str = "octavius.schema";
/// How much of the store's file is looked through at a time.
const BLOCK: usize = 1 << 20;

/// Marks the store with this id in `folder` as ours.
pub(super) fn put(folder: &Path, id: Uuid) {
    let (file, mark) = (folder.join(FILE), text(id));
    let known = std::fs::read_to_string(&file).is_ok_and(|known| known == mark);
    if !known && let Err(error) = std::fs::write(&file, mark) {
        tracing::warn!(file = FILE, %error, "the store is not marked: after a crash its start takes longer");
    }
}

/// The id of the store that the mark in `folder` is of.
pub(crate) fn id(folder: &Path) -> Option<Uuid> {
    let mark = std::fs::read_to_string(folder.join(FILE)).unwrap_or_default();
    let id = Uuid::parse_str(mark.split_once(' ')?.1).ok()?;
    (mark == text(id)).then_some(id)
}

/// Whether the mark in `folder` is that of the store in `file`. One that names no store is none.
pub(super) fn counts_for(folder: &Path, file: &Path) -> bool {
    id(folder).is_some_and(|id| File::open(file).is_ok_and(|file| has(file, id).unwrap_or(false)))
}

fn text(id: Uuid) -> String {
    format!("{SCHEMA_VERSION} {id}")
}

/// Whether the bytes have the id somewhere. What was freed is not erased, so that it is found early.
fn has(mut bytes: impl Read, id: Uuid) -> io::Result<bool> {
    let id = id.to_string().into_bytes();
    let (first, rest) = (id[0], &id[1..]);
    let mut block = Vec::with_capacity(BLOCK + id.len());
    loop {
        let read = bytes.by_ref().take(BLOCK as u64).read_to_end(&mut block)?;
        let mut behind = block.as_slice();
        while let Some(at) = behind.iter().position(|byte| *byte == first) {
            behind = &behind[at + 1..];
            if behind.starts_with(rest) {
                return Ok(true);
            }
        }
        if read == 0 {
            return Ok(false);
        }
        // It may begin at the end of this block.
        block.drain(..block.len().saturating_sub(rest.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_wherever_it_is_and_no_other() {
        let (id, other) = (Uuid::new_v4(), Uuid::new_v4());
        let text = id.to_string();
        for before in [0, 1, 35, BLOCK - 36, BLOCK - 20, BLOCK - 1, BLOCK, 2 * BLOCK - 7] {
            // Its own first character is before it, again and again.
            let mut bytes = vec![text.as_bytes()[0]; before];
            bytes.extend(text.as_bytes());
            assert!(has(&bytes[..], id).unwrap(), "behind {before} bytes");
            assert!(!has(&bytes[..], other).unwrap());
            assert!(!has(&bytes[..bytes.len() - 1], id).unwrap(), "cut after {before} bytes");
            bytes.resize(bytes.len() + BLOCK, 0);
            assert!(has(&bytes[..], id).unwrap(), "before others, behind {before} bytes");
        }
        assert!(!has(&b""[..], id).unwrap());
    }
}
