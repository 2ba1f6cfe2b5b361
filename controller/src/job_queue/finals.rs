//! How many final executions there are.
//!
//! The number lies in the store, and is written with each end and each removal, so that nobody has to look at history to
//! know it. A store of a version that did not write it is counted once.

use crate::store::{Range, ReadError, StoreHandle, Write, keys};
use std::{cell::Cell, time::Duration};

/// How many keys are counted in one step, and what is waited between two.
const AT_ONCE: usize = 1_000;
const PAUSE: Duration = Duration::from_millis(5);

/// The number.
#[derive(Debug)]
pub(super) struct Finals(Cell<Number>);

#[derive(Clone, Copy, Debug)]
enum Number {
    Known(u64),
    /// It has to be counted; so many have come since, and those that went are taken from them.
    Unknown(i64),
}

impl Finals {
    /// The number that the store has. `none` tells that there is no final execution.
    pub(super) async fn load(store: &StoreHandle, none: bool) -> Result<Self, ReadError> {
        let found = store.get(keys::DONE_COUNT).await?;
        let known = found.and_then(|text| std::str::from_utf8(&text).ok()?.parse().ok());
        Ok(Self(Cell::new(match known {
            Some(number) => Number::Known(number),
            None if none => Number::Known(0),
            None => Number::Unknown(0),
        })))
    }

    /// So many more have ended; what is to be written with that.
    pub(super) fn ended(&self, count: usize) -> Option<Write> {
        self.change(i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// So many were removed; what is to be written with that.
    pub(super) fn removed(&self, count: usize) -> Option<Write> {
        self.change(i64::try_from(count).map_or(i64::MIN, i64::saturating_neg))
    }

    fn change(&self, by: i64) -> Option<Write> {
        if by == 0 {
            return None;
        }
        let (number, write) = match self.0.get() {
            Number::Unknown(since) => (Number::Unknown(since.saturating_add(by)), None),
            Number::Known(number) => {
                let number = number.saturating_add_signed(by);
                let write = Write::Put(keys::DONE_COUNT.to_owned(), number.to_string().into());
                (Number::Known(number), Some(write))
            }
        };
        self.0.set(number);
        write
    }

    /// Whether they have to be counted.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self.0.get(), Number::Unknown(_))
    }

    /// They were counted. What ended at that time may be counted twice, or not at all: a few of very many.
    pub(super) fn counted(&self, number: u64) {
        if let Number::Unknown(since) = self.0.get() {
            self.0.set(Number::Known(number.saturating_add_signed(since)));
        }
    }

    /// How many there are beyond `keep`.
    pub(super) fn beyond(&self, keep: u64) -> u64 {
        match self.0.get() {
            Number::Known(number) => number.saturating_sub(keep),
            Number::Unknown(_) => 0,
        }
    }
}

/// Counts all of them, a few at a time.
pub(super) async fn count(store: &StoreHandle) -> Result<u64, ReadError> {
    let (mut rest, mut number) = (Range::prefix(keys::DONE, AT_ONCE), 0);
    loop {
        let page = store.range(rest.clone()).await?;
        number += page.entries.len() as u64;
        match page.entries.last() {
            Some(last) if page.more => rest = rest.after(&last.key),
            Some(_) | None => return Ok(number),
        }
        tokio::time::sleep(PAUSE).await;
    }
}
