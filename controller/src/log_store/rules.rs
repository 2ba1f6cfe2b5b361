//! One log, and everything that is decided about it: what an append adds, when bytes are stored, when it may close.
//!
//! Offsets count the bytes that the executor sent. `durable` never moves back while the state lives, and a state that
//! is made again from the index begins at the last `durable` that was committed: whoever sends on from there loses
//! nothing. No clock here: `now` is the time since the actor began.

use super::{
    Chunk, LogInfo, Sealed,
    end::{End, in_words},
    limits::{LogLimits, retry_pause},
    middle::{LeftOut, Thinning},
};
use bytes::Bytes;
use crc::{CRC_64_XZ, Crc, Table};
use jiff::Timestamp;
use std::{collections::VecDeque, time::Duration};

static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_XZ);

/// What a chunk costs beside its bytes, roughly: so that a flood of tiny ones meets the bound, too.
const CHUNK_OVERHEAD: usize = 64;

/// A place in a log, and what belongs to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Point {
    /// How many bytes are before it.
    pub(super) offset: u64,
    /// CRC-64/XZ of those bytes.
    pub(super) crc: u64,
    /// What the executor said about it.
    pub(super) cursor: Bytes,
}

impl Point {
    /// The point behind `data`, with no cursor of its own yet.
    fn behind(&self, data: &[u8]) -> Self {
        Self {
            offset: self.offset + data.len() as u64,
            crc: crc_after(self.crc, data),
            cursor: self.cursor.clone(),
        }
    }
}

/// CRC-64/XZ of what had the checksum `crc`, followed by `data`.
pub(super) fn crc_after(crc: u64, data: &[u8]) -> u64 {
    // The register behind a finished checksum, the way round in which the crate takes it.
    let mut digest = CRC.digest_with_initial((!crc).reverse_bits());
    digest.update(data);
    digest.finalize()
}

/// A chunk and the place of its first byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) offset: u64,
    pub(super) chunk: Chunk,
}

impl Placed {
    pub(super) fn end(&self) -> u64 {
        self.offset + self.chunk.data.len() as u64
    }

    /// What of it lies at and behind `offset`, `most` bytes of it.
    pub(super) fn from(&self, offset: u64, most: usize) -> Chunk {
        let skip = usize::try_from(offset.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let skip = skip.min(self.chunk.data.len());
        let end = skip.saturating_add(most).min(self.chunk.data.len());
        Chunk { observed_at: self.chunk.observed_at, data: self.chunk.data.slice(skip..end) }
    }
}

/// A segment that is not durable yet. It ends where an append ended, so that its end has a cursor.
#[derive(Clone, Debug)]
struct Pending {
    chunks: Vec<Placed>,
    until: Point,
    bytes: usize,
    /// When its first byte came.
    since: Duration,
}

impl Pending {
    fn weight(&self) -> usize {
        self.bytes + self.chunks.len() * CHUNK_OVERHEAD
    }
}

/// What one flush stores: bytes, the end, or both in one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flush {
    /// Empty where only the end is left to write.
    pub(super) chunks: Vec<Placed>,
    /// The place behind the chunks.
    pub(super) until: Point,
    /// How the log ends, if this is the last of it.
    pub(super) end: Option<End>,
    /// What of its middle goes with it.
    pub(super) thinning: Option<Thinning>,
    /// What was left out of its middle before.
    pub(super) left_out: Option<LeftOut>,
}

/// What a flush that has begun will have stored.
#[derive(Clone, Debug)]
struct Storing {
    /// The first pending segment.
    bytes: bool,
    /// The end, or how far the end moves of a log that was closed before it was whole.
    end: Option<End>,
    /// Whether that is the end that was asked for.
    closes: bool,
}

/// An append was not taken: so many bytes wait already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full {
    pub(super) waiting: usize,
}

/// What there is at an offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// Durable bytes: they are read from the index and the folder.
    Durable,
    /// These bytes, which are not durable yet.
    Bytes(Chunk),
    /// Nothing yet.
    CaughtUp,
    /// The end.
    End(LogInfo),
    /// Nothing: the log ends before.
    Beyond(u64),
}

/// A log as the index has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stored {
    /// How far it is durable.
    pub(super) durable: Point,
    /// When its first chunk was read.
    pub(super) first_at: Option<Timestamp>,
    /// When its last chunk was read.
    pub(super) last_at: Option<Timestamp>,
    /// Where the beginning that is always kept ends, once it is that long.
    pub(super) head: Option<u64>,
    /// What is left out of its middle.
    pub(super) left_out: Option<LeftOut>,
    /// How it ended.
    pub(super) closed: Option<End>,
}

/// One live log.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    durable: Point,
    head: Option<u64>,
    left_out: Option<LeftOut>,
    pending: VecDeque<Pending>,
    /// What is on its way to disk.
    storing: Option<Storing>,
    first_at: Option<Timestamp>,
    last_at: Option<Timestamp>,
    closing: Option<End>,
    closed: Option<End>,
    failures: u32,
    not_before: Duration,
}

impl Log {
    pub(super) fn stored(stored: Stored) -> Self {
        let Stored { durable, first_at, last_at, head, left_out, closed } = stored;
        Self { durable, first_at, last_at, head, left_out, closed, ..Self::default() }
    }

    pub(super) fn durable(&self) -> &Point {
        &self.durable
    }

    pub(super) fn next(&self) -> &Point {
        self.pending.back().map_or(&self.durable, |last| &last.until)
    }

    /// How far it will be durable once what is stored next is.
    pub(super) fn next_durable(&self) -> u64 {
        self.pending.front().map_or(self.durable.offset, |first| first.until.offset)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// Whether it is closed, and nobody waits for another end.
    pub(super) fn is_settled(&self) -> bool {
        self.closed.is_some() && self.closing.is_none()
    }

    /// Whether it was closed before it was whole: what was missing may come yet.
    pub(super) fn may_be_extended(&self) -> bool {
        self.closed
            .as_ref()
            .is_some_and(|end| !end.cut.is_empty() && end.size == self.durable.offset)
    }

    /// Whether all of it is on disk, and nothing is about to be written.
    pub(super) fn is_at_rest(&self) -> bool {
        self.pending.is_empty() && self.storing.is_none() && self.closing.is_none()
    }

    /// What is held until it is durable, in bytes.
    pub(super) fn weight(&self) -> usize {
        self.pending.iter().map(Pending::weight).sum()
    }

    pub(super) fn info(&self) -> LogInfo {
        let cut = || in_words(self.left_out, "");
        let open = || LogInfo { size: self.next().offset, closed: false, cut: cut() };
        self.closed.as_ref().map_or_else(open, End::info)
    }

    /// Adds what is not here yet. Nothing changes where `offset` leaves a gap or the log ends; `room` is what all
    /// logs together may still take.
    pub(super) fn append(
        &mut self,
        offset: u64,
        chunks: Vec<Chunk>,
        cursor: Bytes,
        now: Duration,
        room: usize,
        limits: &LogLimits,
    ) -> Result<(), Full> {
        if self.closing.is_some() || self.closed.is_some() {
            return Ok(());
        }
        self.add(offset, chunks, cursor, now, room, limits)
    }

    /// The same behind the end of a log that was closed before it was whole.
    pub(super) fn extend(
        &mut self,
        offset: u64,
        chunks: Vec<Chunk>,
        cursor: Bytes,
        now: Duration,
        room: usize,
        limits: &LogLimits,
    ) -> Result<(), Full> {
        if self.closing.is_some() || !self.may_be_extended() {
            return Ok(());
        }
        self.add(offset, chunks, cursor, now, room, limits)
    }

    fn add(
        &mut self,
        offset: u64,
        chunks: Vec<Chunk>,
        cursor: Bytes,
        now: Duration,
        room: usize,
        limits: &LogLimits,
    ) -> Result<(), Full> {
        let next = self.next().clone();
        if offset > next.offset {
            return Ok(());
        }
        let (fresh, mut until) = behind(&next, offset, chunks);
        let bytes: usize = fresh.iter().map(|placed| placed.chunk.data.len()).sum();
        if bytes == 0 {
            return Ok(());
        }
        let (waiting, weight) = (self.weight(), bytes + fresh.len() * CHUNK_OVERHEAD);
        // A single append is taken whatever it weighs: its bytes are bounded where requests are.
        if weight > room || (waiting > 0 && waiting + weight > limits.waiting) {
            return Err(Full { waiting });
        }
        until.cursor = cursor;
        self.first_at = self.first_at.or_else(|| fresh.first().map(|one| one.chunk.observed_at));
        self.last_at = fresh.last().map(|one| one.chunk.observed_at);
        let fixed = usize::from(self.storing.is_some()); // the first is on its way to disk as it is
        let open = self.pending.len() > fixed;
        match self.pending.back_mut().filter(|last| open && last.bytes + bytes <= limits.segment) {
            Some(last) => {
                last.chunks.extend(fresh);
                last.until = until;
                last.bytes += bytes;
            }
            None => {
                self.pending.push_back(Pending { chunks: fresh, until, bytes, since: now });
            }
        }
        Ok(())
    }

    /// Whether something must be stored now. `hurry`: all that there is, for memory is short or the end is near.
    pub(super) fn flush_is_due(&self, now: Duration, hurry: bool, limits: &LogLimits) -> bool {
        if self.storing.is_some() || now < self.not_before {
            return false;
        }
        let Some(first) = self.pending.front() else { return self.closing.is_some() };
        let whole = self.pending.len() > 1 || first.bytes >= limits.segment;
        let late = now.saturating_sub(first.since) >= self.flush_after(limits);
        hurry || whole || late || self.closing.is_some()
    }

    fn flush_after(&self, limits: &LogLimits) -> Duration {
        // Two times of the executor's clock: no other clock is compared with it.
        let age = match (self.first_at, self.last_at) {
            (Some(first), Some(last)) => last.duration_since(first),
            (None, _) | (_, None) => jiff::SignedDuration::ZERO,
        };
        let old = Duration::try_from(age).is_ok_and(|age| age > limits.old_after);
        if old { limits.flush_after_when_old } else { limits.flush_after }
    }

    /// Begins to store what comes next. Ends with `flushed` or `not_flushed`.
    pub(super) fn begin_flush(&mut self, limits: &LogLimits) -> Flush {
        let end = self.closing.clone().filter(|_| self.pending.len() <= 1);
        let first = self.pending.front();
        let until = first.map_or_else(|| self.durable.clone(), |first| first.until.clone());
        let closes = end.is_some();
        // So that the index never says that a log is open of which nobody may bring the rest.
        let end = end.or_else(|| self.closed.as_ref().map(|end| end.moved_to(&until)));
        self.storing = Some(Storing { bytes: first.is_some(), end: end.clone(), closes });
        Flush {
            chunks: first.map(|first| first.chunks.clone()).unwrap_or_default(),
            thinning: Thinning::wanted(self.head, self.left_out, until.offset, limits.kept),
            left_out: self.left_out,
            until,
            end,
        }
    }

    /// What was begun is durable; with it, `left_out` is all that is left out of the middle.
    pub(super) fn flushed(&mut self, left_out: Option<LeftOut>, limits: &LogLimits) {
        let Some(stored) = self.storing.take() else { return };
        self.failures = 0;
        self.left_out = left_out;
        if stored.bytes
            && let Some(first) = self.pending.pop_front()
        {
            self.durable = first.until;
            let long_enough = self.durable.offset >= limits.kept / 2;
            self.head = self.head.or(long_enough.then_some(self.durable.offset));
        }
        if let Some(end) = stored.end {
            self.closed = Some(End { left_out, ..end });
        }
        if stored.closes {
            self.closing = None;
        }
    }

    /// What was begun is not durable, and is tried again after a pause, which is `jitter` times the usual one.
    pub(super) fn not_flushed(&mut self, now: Duration, jitter: f64) {
        self.storing = None;
        self.failures = self.failures.saturating_add(1);
        self.not_before = now + retry_pause(self.failures).mul_f64(jitter);
    }

    /// Does not wait out the pause after a failure: what failed works again.
    pub(super) fn may_try_again(&mut self) {
        self.not_before = Duration::ZERO;
    }

    /// Closes the log if it is `size` bytes with this checksum: the answer, or none while it is being closed.
    pub(super) fn seal(&mut self, size: u64, crc: u64, cut: &str) -> Option<Sealed> {
        if let Some(end) = &self.closed {
            let same = (end.size, end.crc) == (size, crc);
            return Some(if same { Sealed::Whole } else { Sealed::Different { crc: end.crc } });
        }
        if self.closing.is_some() {
            return None;
        }
        let next = self.next();
        if next.offset < size {
            return Some(Sealed::Missing { next: next.offset });
        }
        if (next.offset, next.crc) != (size, crc) {
            return Some(Sealed::Different { crc: next.crc });
        }
        self.closing = Some(End { size, crc, cut: cut.to_owned(), left_out: None });
        None
    }

    /// Closes a log again that was closed before it was whole, if it is `size` bytes with this checksum now: the answer, or
    /// none while it is being closed. No log: it is not kept any more.
    pub(super) fn complete(&mut self, size: u64, crc: u64, cut: &str) -> Option<Option<Sealed>> {
        let Some(end) = &self.closed else { return Some(None) };
        if self.closing.is_some() {
            return None;
        }
        let next = self.next();
        let same = (next.offset, next.crc) == (size, crc);
        if end.size == size && same && (end.cut.is_empty() || end.cut == cut) {
            return Some(Some(Sealed::Whole));
        }
        if !self.may_be_extended() {
            return Some(Some(Sealed::Different { crc: end.crc }));
        }
        if next.offset < size {
            return Some(Some(Sealed::Missing { next: next.offset }));
        }
        if !same {
            return Some(Some(Sealed::Different { crc: next.crc }));
        }
        self.closing = Some(End { size, crc, cut: cut.to_owned(), left_out: None });
        None
    }

    /// Closes the log as it is: what became of it, or none while it is being closed.
    pub(super) fn cut(&mut self, why: &str) -> Option<LogInfo> {
        if let Some(end) = &self.closed {
            return Some(end.info());
        }
        let next = self.next();
        let end =
            End { size: next.offset, crc: next.crc, cut: why.to_owned(), left_out: self.left_out };
        self.closing.get_or_insert(end);
        None
    }

    /// What a reader at `offset` gets, `most` bytes of it.
    pub(super) fn tail(&self, offset: u64, most: usize) -> Tail {
        let next = self.next().offset;
        if offset < self.durable.offset {
            return Tail::Durable;
        }
        if let Some(end) = &self.closed {
            // What comes behind the end is there with the next reading, when it is stored.
            let at_end = offset == self.durable.offset;
            return if at_end { Tail::End(end.info()) } else { Tail::Beyond(self.durable.offset) };
        }
        if offset == next {
            return Tail::CaughtUp;
        }
        let pending = self.pending.iter().find(|pending| offset < pending.until.offset);
        let chunk = pending.and_then(|pending| {
            let index = pending.chunks.partition_point(|placed| placed.end() <= offset);
            pending.chunks.get(index)
        });
        chunk.map_or(Tail::Beyond(next), |placed| Tail::Bytes(placed.from(offset, most)))
    }

    /// All that is not durable yet.
    pub(super) fn pending(&self) -> Vec<Placed> {
        self.pending.iter().flat_map(|pending| pending.chunks.iter().cloned()).collect()
    }

    /// Whether nobody misses it when it leaves memory: all of it is on disk, and it was not asked for since `touched`.
    pub(super) fn may_leave(&self, now: Duration, touched: Duration, limits: &LogLimits) -> bool {
        let after = if self.is_closed() { limits.linger } else { limits.idle };
        self.is_at_rest() && now.saturating_sub(touched) >= after
    }
}

/// What of `chunks`, which begin at `offset`, lies behind `next`, and the point behind it.
fn behind(next: &Point, offset: u64, chunks: Vec<Chunk>) -> (Vec<Placed>, Point) {
    let (mut at, mut until, mut fresh) = (offset, next.clone(), Vec::with_capacity(chunks.len()));
    for chunk in chunks {
        let placed = Placed { offset: at, chunk };
        at = placed.end();
        if at <= until.offset {
            continue;
        }
        let mut chunk = placed.from(until.offset, usize::MAX);
        if placed.offset < until.offset {
            chunk = chunk.of_its_own(); // what is left of it
        }
        chunk.observed_at = whole_milliseconds(chunk.observed_at);
        let offset = until.offset;
        until = until.behind(&chunk.data);
        fresh.push(Placed { offset, chunk });
    }
    (fresh, until)
}

/// As precise as it is stored: a reader sees one time, whether it reads from memory or from disk.
fn whole_milliseconds(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at)
}

#[cfg(test)]
mod tests;
