//! What a store holds and is asked for: entries, ranges, pages and writes.

use super::keys;
use bytes::Bytes;

/// One key and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key: `v1/…`, see [`keys`].
    pub key: String,
    /// What it holds.
    pub value: Bytes,
}

/// Which keys a read wants: `start <= key < end`, in ascending order of their bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first key.
    pub start: String,
    /// The first key that is too late.
    pub end: String,
    /// How many at the most: from 1; 0 is read as 1.
    pub limit: usize,
}

impl Range {
    /// All keys that begin with `prefix`, which ends in `/`.
    pub fn prefix(prefix: &str, limit: usize) -> Self {
        Self { start: prefix.to_owned(), end: keys::prefix_end(prefix), limit }
    }

    /// The one key.
    pub fn key(key: &str) -> Self {
        Self { start: key.to_owned(), end: format!("{key}\0"), limit: 1 }
    }

    /// Whether it is of one key alone.
    pub(super) fn is_key(&self) -> bool {
        self.end.strip_suffix('\0').is_some_and(|key| key == self.start)
    }

    /// The rest of this range, behind `key`.
    pub fn after(mut self, key: &str) -> Self {
        self.start = format!("{key}\0");
        self
    }
}

/// A part of a range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// In ascending order of their keys. Never empty where there is more; a page of large values ends before its
    /// range's limit.
    pub entries: Vec<Entry>,
    /// Whether the range goes on behind the last entry.
    pub more: bool,
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// The key holds this value.
    Put(String, Bytes),
    /// The key is not there.
    Delete(String),
}

impl Write {
    /// The key that it changes.
    pub fn key(&self) -> &str {
        match self {
            Self::Put(key, _) | Self::Delete(key) => key,
        }
    }

    /// What it weighs in a transaction: the bytes of its key and its value.
    pub fn size(&self) -> usize {
        match self {
            Self::Put(key, value) => key.len() + value.len(),
            Self::Delete(key) => key.len(),
        }
    }
}
