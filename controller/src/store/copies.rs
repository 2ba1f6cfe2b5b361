//! A long history without running it: copies of one final execution, each with an id of its own. For the bench, and for
//! tests.

use super::{Backend, Entry, Outcome, Range, Transaction, Write, keys, packed};
use anyhow::{Result, ensure};
use futures::StreamExt as _;
use octavius_protocol::id::ExecutionId;
use std::borrow::Cow;

/// How much one transaction of a store takes.
const AT_ONCE: usize = 120;

/// A final execution: all its keys, with its log.
#[derive(Clone, Debug)]
pub struct Template {
    id: ExecutionId,
    entries: Vec<Entry>,
}

impl Template {
    /// The execution of this id, as a store has it.
    ///
    /// # Errors
    /// Where the store cannot be read, or has no such final execution.
    pub async fn of(backend: &dyn Backend, id: &str) -> Result<Self> {
        let id: ExecutionId = id.parse()?;
        let names = names(id);
        let mut entries = Vec::new();
        let mut parts = backend.snapshot().await?;
        while let Some(part) = parts.next().await {
            let of_it = |entry: &Entry| names.iter().any(|name| entry.key.contains(name));
            entries.extend(part?.into_iter().filter(of_it));
        }
        let is_final = entries.iter().any(|entry| entry.key == keys::done(id));
        ensure!(is_final && entries.len() >= 6, "not all keys of {id} are there: {entries:?}");
        Ok(Self { id, entries })
    }

    /// Its keys, and what they hold.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Writes so many copies to a store that nobody else uses, each 100 ms older than the one before, the first one than
    /// this. `user` names who submitted each in the place of `was`.
    ///
    /// # Errors
    /// Where the store does not take them.
    pub async fn copy(
        &self,
        backend: &dyn Backend,
        count: usize,
        was: &str,
        user: impl Fn(usize) -> String,
    ) -> Result<Vec<ExecutionId>> {
        let (mut ids, mut writes) = (Vec::new(), Vec::new());
        for number in 0..count {
            let id = earlier(self.id, number as u64 + 1);
            ids.push(id);
            for entry in &self.entries {
                writes.push(self.copied(entry, id, was, &user(number))?);
            }
            if writes.len() + self.entries.len() >= AT_ONCE || number + 1 == count {
                commit(backend, std::mem::take(&mut writes)).await?;
            }
        }
        let counted = backend.range(Range::key(keys::DONE_COUNT)).await?;
        let counted = counted.entries.first().map(|entry| entry.value.clone());
        let before: usize = std::str::from_utf8(&counted.unwrap_or_default())?.parse()?;
        let all = (before + count).to_string();
        commit(backend, vec![Write::Put(keys::DONE_COUNT.to_owned(), all.into())]).await?;
        Ok(ids)
    }

    fn copied(&self, entry: &Entry, id: ExecutionId, was: &str, user: &str) -> Result<Write> {
        let (before, after) = (names(self.id), names(id));
        let changed = |bytes: &[u8]| -> Vec<u8> {
            // What is not text has no id of this form in it.
            let Ok(text) = std::str::from_utf8(bytes) else { return bytes.to_vec() };
            let mut text = text.replace(was, user);
            for (before, after) in before.iter().zip(&after) {
                text = text.replace(before, after);
            }
            text.into_bytes()
        };
        let key = String::from_utf8(changed(entry.key.as_bytes()))?;
        let value = packed::unpack(&entry.value)?;
        let value = match &value {
            Cow::Owned(json) => packed::pack(changed(json)),
            Cow::Borrowed(value) => changed(value).into(),
        };
        Ok(Write::Put(key, value))
    }
}

/// The id of an execution that came so many tenths of a second before this one.
fn earlier(id: ExecutionId, tenths: u64) -> ExecutionId {
    let time = ExecutionId::first_at(id.made_at().saturating_sub(tenths * 100));
    let mut bytes = *time.as_bytes();
    bytes[6..].copy_from_slice(&id.as_bytes()[6..]);
    ExecutionId::from_bytes(bytes)
}

/// An id as keys have it: as it is, its complement, and backwards.
fn names(id: ExecutionId) -> [String; 3] {
    let text = id.to_string();
    let backwards = text.chars().rev().collect();
    [text, id.inverse().to_string(), backwards]
}

async fn commit(backend: &dyn Backend, writes: Vec<Write>) -> Result<()> {
    let outcome = backend.commit(Transaction::new(Vec::new(), writes)?).await?;
    ensure!(outcome == Outcome::Done, "the store did not take it");
    Ok(())
}
