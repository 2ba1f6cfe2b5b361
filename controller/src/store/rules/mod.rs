//! Which decisions go into which batch, who may still write, and what a read has to wait for.
//!
//! Decisions land in the order in which they came, whole, and never behind a hole: once a decision of a writer is
//! lost or refused, all later ones of that writer are refused, because its actor made them on a view that holds the
//! lost one. The writer is of use again when its actor was built anew and has enlisted.

use super::{Write, keys};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// The most writes of a decision, and of a batch where the backend takes no more.
pub const MOST_WRITES: usize = 120;
/// The most bytes of keys and values of a decision, and of a batch where the backend takes no more: 1 MiB.
pub const MOST_BYTES: usize = 1024 * 1024;
/// The most bytes that wait: 256 MiB. Admission bounds how many decisions wait, this bounds what they weigh.
pub(crate) const MOST_WAITING_BYTES: usize = 256 * 1024 * 1024;

/// One life of one actor, as the store sees it. Numbers are never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Incarnation {
    pub(super) owner: &'static str,
    pub(super) number: u64,
}

/// The place of a decision in the order in which all came, from 1.
pub(super) type Ticket = u64;

/// Why a decision is not taken. The text is for whoever reads the log of the actor that made it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error(
        "fenced: {0} was built again, or lost an earlier write, since it enlisted: only its next life writes"
    )]
    Fenced(&'static str),
    #[error("a decision of {0} writes is over the limit of {MOST_WRITES}: make several")]
    Writes(usize),
    #[error(
        "a decision of {0} bytes of keys and values is over the limit of {MOST_BYTES}: store less at once"
    )]
    Bytes(usize),
    #[error("the key `{0}` is written by the store alone: choose another")]
    Reserved(String),
    #[error("a write has an empty key: a key has at least one character")]
    EmptyKey,
    #[error(
        "{0} bytes wait for the store, and it holds {MOST_WAITING_BYTES} at the most: write less, or wait for answers"
    )]
    Full(usize),
}

/// A decision that waits, and who gets its answer.
#[derive(Debug)]
struct Decision<R> {
    by: Incarnation,
    ticket: Ticket,
    writes: Batch,
    reply: R,
}

/// What one transaction writes: the last of several writes to one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    writes: BTreeMap<String, Write>,
    bytes: usize,
}

impl Batch {
    fn add(&mut self, write: Write) {
        self.bytes += write.size();
        if let Some(former) = self.writes.insert(write.key().to_owned(), write) {
            self.bytes -= former.size();
        }
    }

    /// Whether it stays within `most` with `more`.
    fn has_room_for(&self, more: &Self, most: BatchLimits) -> bool {
        let replaced: Vec<_> =
            more.writes.keys().filter_map(|key| self.writes.get(key)).map(Write::size).collect();
        let writes = self.writes.len() + more.writes.len() - replaced.len();
        let bytes = self.bytes + more.bytes - replaced.iter().sum::<usize>();
        writes <= most.writes && bytes <= most.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    pub(super) fn into_writes(self) -> Vec<Write> {
        self.writes.into_values().collect()
    }
}

/// How much goes into one batch; never less than one decision may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchLimits {
    pub(super) writes: usize,
    pub(super) bytes: usize,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { writes: MOST_WRITES, bytes: MOST_BYTES }
    }
}

/// Decisions that wait and those in flight; `R` is whom to answer.
#[derive(Debug)]
pub(super) struct Queue<R> {
    most: BatchLimits,
    writers: HashMap<&'static str, u64>,
    waiting: VecDeque<Decision<R>>,
    waiting_bytes: usize,
    flying: Vec<(Incarnation, Ticket, R)>,
    last: Ticket,
}

/// Who has to be told that a batch did not land.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lost<R> {
    /// Those whose decision was in the batch.
    pub(super) flown: Vec<R>,
    /// Those behind them that certainly did not happen.
    pub(super) dropped: Vec<R>,
}

impl<R> Queue<R> {
    pub(super) fn new(most: BatchLimits) -> Self {
        Self {
            most,
            writers: HashMap::new(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            flying: Vec::new(),
            last: 0,
        }
    }

    /// From now on only this life of its owner writes. What waits of former lives is dropped; the answer says whom to
    /// tell. What flies is to be waited for: see [`Self::flying_until`].
    pub(super) fn enlist(&mut self, new: Incarnation) -> Vec<R> {
        self.writers.insert(new.owner, new.number);
        self.drop_waiting(|by| by.owner == new.owner)
    }

    /// Takes a decision, or says why not, and then takes no further one of its writer.
    pub(super) fn push(
        &mut self,
        by: Incarnation,
        decision: Vec<Write>,
        reply: R,
    ) -> Result<(), (Refusal, R)> {
        match self.checked(by, decision) {
            Ok(writes) => {
                self.last += 1;
                self.waiting_bytes += writes.bytes;
                self.waiting.push_back(Decision { by, ticket: self.last, writes, reply });
                Ok(())
            }
            Err(refusal) => {
                self.end(by);
                Err((refusal, reply))
            }
        }
    }

    fn checked(&self, by: Incarnation, decision: Vec<Write>) -> Result<Batch, Refusal> {
        if self.writers.get(by.owner) != Some(&by.number) {
            return Err(Refusal::Fenced(by.owner));
        }
        let mut writes = Batch::default();
        for write in decision {
            match write.key() {
                "" => return Err(Refusal::EmptyKey),
                key @ (keys::SEQUENCE | keys::SCHEMA | keys::STORE_ID | keys::LEADER) => {
                    return Err(Refusal::Reserved(key.to_owned()));
                }
                _ => writes.add(write),
            }
        }
        if writes.writes.len() > MOST_WRITES {
            return Err(Refusal::Writes(writes.writes.len()));
        }
        if writes.bytes > MOST_BYTES {
            return Err(Refusal::Bytes(writes.bytes));
        }
        let waiting = self.waiting_bytes + writes.bytes;
        if waiting > MOST_WAITING_BYTES {
            return Err(Refusal::Full(waiting));
        }
        Ok(writes)
    }

    /// The next batch, if decisions wait and none is in flight: the longest row of whole decisions within the limits.
    pub(super) fn take_off(&mut self) -> Option<Batch> {
        if !self.flying.is_empty() {
            return None;
        }
        let mut batch = Batch::default();
        while let Some(next) = self.waiting.pop_front() {
            if !batch.has_room_for(&next.writes, self.most) {
                self.waiting.push_front(next);
                break;
            }
            self.waiting_bytes -= next.writes.bytes;
            next.writes.writes.into_values().for_each(|write| batch.add(write));
            self.flying.push((next.by, next.ticket, next.reply));
        }
        (!self.flying.is_empty()).then_some(batch)
    }

    /// The batch in flight is on disk: whom to tell.
    pub(super) fn land(&mut self) -> Vec<R> {
        self.flying.drain(..).map(|(_, _, reply)| reply).collect()
    }

    /// The batch in flight is lost, or nobody knows: its writers are at an end, and what waits of them is dropped.
    pub(super) fn lose(&mut self) -> Lost<R> {
        let flying = std::mem::take(&mut self.flying);
        let mut lost = Lost { flown: Vec::new(), dropped: Vec::new() };
        for (by, _, reply) in flying {
            self.end(by);
            lost.dropped.extend(self.drop_waiting(|other| other == by));
            lost.flown.push(reply);
        }
        lost
    }

    /// As [`Self::lose`], and nobody writes any more.
    pub(super) fn lose_all(&mut self) -> Lost<R> {
        let mut lost = self.lose();
        self.writers.clear();
        lost.dropped.extend(self.drop_waiting(|_| true));
        lost
    }

    fn end(&mut self, by: Incarnation) {
        if self.writers.get(by.owner) == Some(&by.number) {
            self.writers.remove(by.owner);
        }
    }

    fn drop_waiting(&mut self, dropped: impl Fn(Incarnation) -> bool) -> Vec<R> {
        let waiting = std::mem::take(&mut self.waiting);
        let (gone, kept): (Vec<_>, _) =
            waiting.into_iter().partition(|decision| dropped(decision.by));
        self.waiting = kept.into();
        self.waiting_bytes = self.waiting.iter().map(|decision| decision.writes.bytes).sum();
        gone.into_iter().map(|decision| decision.reply).collect()
    }

    /// The last decision that came. What a read has to wait for.
    pub(super) fn last(&self) -> Ticket {
        self.last
    }

    /// The last decision in flight; 0 where none flies. What a new life of a writer has to wait for.
    pub(super) fn flying_until(&self) -> Ticket {
        self.flying.last().map_or(0, |(_, ticket, _)| *ticket)
    }

    /// All decisions up to this one have landed, or never will.
    pub(super) fn settled(&self) -> Ticket {
        let flying = self.flying.first().map(|(_, ticket, _)| *ticket);
        let waiting = self.waiting.front().map(|decision| decision.ticket);
        flying.or(waiting).map_or(self.last, |first| first - 1)
    }
}

/// What `v1/seq` says of a batch that nobody knows of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It is on disk.
    Landed,
    /// It is not, and may be sent again.
    NotYet,
    /// It is not, and never will be: another controller has its number.
    Foreign,
    /// Other controllers have written since, perhaps behind it.
    Passed,
}

/// Judges by what `v1/seq` holds, held before the batch, and holds after it.
pub(super) fn seen(found: Option<&[u8]>, before: Option<&[u8]>, after: &[u8]) -> Seen {
    if found == Some(after) {
        Seen::Landed
    } else if found == before {
        Seen::NotYet
    } else if number(found) > number(Some(after)) {
        Seen::Passed
    } else {
        Seen::Foreign
    }
}

/// The number of the batch that `v1/seq` names; 0 before the first.
fn number(found: Option<&[u8]>) -> u64 {
    let text = found.and_then(|found| std::str::from_utf8(found).ok());
    text.and_then(|text| text.split(' ').next()?.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
