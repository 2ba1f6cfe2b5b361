//! The index: which segments a log has, and how it ended. One key for each segment, so that nothing is rewritten.
//!
//! Only the actor writes it, through its `Writer`; readers read it by themselves, also where no actor holds the log.

use super::{
    LogError, LogInfo, LogLimits,
    end::End,
    middle::LeftOut,
    rules::{Flush, Log, Point, Stored},
    segment::Damaged,
};
use crate::store::{Entry, Range, StoreHandle, Write, keys};
use bytes::Bytes;
use jiff::Timestamp;
use octavius_protocol::id::AttemptId;
use prost::Message;

/// How many entries are read at once: with their inline bytes about 1 MiB at the most.
const PAGE: usize = 256;
/// How many entries a reader has ahead of it.
const AHEAD: usize = 16;

/// One segment.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SegmentEntry {
    /// The place of its first byte.
    #[prost(uint64, tag = "1")]
    pub(super) offset: u64,
    /// Its bytes, as the executor sent them.
    #[prost(uint64, tag = "2")]
    pub(super) size: u64,
    /// CRC-64/XZ of the log up to its end.
    #[prost(fixed64, tag = "3")]
    pub(super) crc: u64,
    /// What the executor said about its end.
    #[prost(bytes = "bytes", tag = "4")]
    pub(super) cursor: Bytes,
    /// When its first chunk was read, in milliseconds since 1970, by the executor's clock.
    #[prost(sint64, tag = "5")]
    pub(super) first_at: i64,
    /// When its last chunk was read.
    #[prost(sint64, tag = "6")]
    pub(super) last_at: i64,
    /// Where its bytes are.
    #[prost(oneof = "Place", tags = "7, 8, 9")]
    pub(super) place: Option<Place>,
}

/// Where the bytes of a segment are.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Place {
    /// In the folder, under this name.
    #[prost(string, tag = "7")]
    Object(String),
    /// Here: small ones need no file.
    #[prost(bytes = "bytes", tag = "8")]
    Inline(Bytes),
    /// Nowhere: the log grew beyond this limit, in bytes.
    #[prost(uint64, tag = "9")]
    LeftOut(u64),
}

impl SegmentEntry {
    pub(super) fn new(flush: &Flush, place: Place) -> Option<Self> {
        let (first, last) = (flush.chunks.first()?, flush.chunks.last()?);
        Some(Self {
            offset: first.offset,
            size: last.end() - first.offset,
            crc: flush.until.crc,
            cursor: flush.until.cursor.clone(),
            first_at: first.chunk.observed_at.as_millisecond(),
            last_at: last.chunk.observed_at.as_millisecond(),
            place: Some(place),
        })
    }

    pub(super) fn end(&self) -> u64 {
        self.offset.saturating_add(self.size)
    }

    /// The object that holds its bytes, if one does.
    pub(super) fn object(self) -> Option<String> {
        match self.place {
            Some(Place::Object(name)) => Some(name),
            Some(Place::Inline(_) | Place::LeftOut(_)) | None => None,
        }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct EndEntry {
    #[prost(uint64, tag = "1")]
    size: u64,
    #[prost(fixed64, tag = "2")]
    crc: u64,
    #[prost(string, tag = "3")]
    cut: String,
    /// The first byte that is left out of the middle.
    #[prost(uint64, tag = "4")]
    gap_from: u64,
    /// The place behind the last one.
    #[prost(uint64, tag = "5")]
    gap_to: u64,
    /// By which limit; 0 where nothing is left out.
    #[prost(uint64, tag = "6")]
    gap_limit: u64,
    /// When the log was closed, in milliseconds since 1970, by the controller's clock; 0 where that was not written.
    #[prost(sint64, tag = "7")]
    closed_at: i64,
}

impl EndEntry {
    fn end(self) -> End {
        let Self { size, crc, cut, gap_from: from, gap_to: to, gap_limit: limit, .. } = self;
        let left_out = (limit > 0).then_some(LeftOut { from, to, limit });
        End { size, crc, cut, left_out }
    }
}

/// The write of one segment.
pub(super) fn segment(attempt: AttemptId, segment: &SegmentEntry) -> Write {
    Write::Put(keys::log_segment(attempt, segment.offset), segment.encode_to_vec().into())
}

/// The write of a log's end.
pub(super) fn closed(attempt: AttemptId, end: End, at: Timestamp) -> Write {
    let End { size, crc, cut, left_out } = end;
    let gap = left_out.unwrap_or(LeftOut { from: 0, to: 0, limit: 0 });
    let entry = EndEntry {
        size,
        crc,
        cut,
        gap_from: gap.from,
        gap_to: gap.to,
        gap_limit: gap.limit,
        closed_at: at.as_millisecond(),
    };
    Write::Put(keys::log_end(attempt), entry.encode_to_vec().into())
}

/// One entry of a log.
enum Indexed {
    Segment(SegmentEntry),
    End(End),
}

fn decoded(entry: Entry) -> Result<Indexed, LogError> {
    let Entry { key, value } = entry;
    let indexed = if key.ends_with("/end") {
        EndEntry::decode(value).map(|entry| Indexed::End(entry.end()))
    } else {
        SegmentEntry::decode(value).map(Indexed::Segment)
    };
    indexed.map_err(|error| damaged(&key, &Damaged(error.to_string())))
}

pub(super) fn damaged(what: &str, why: &Damaged) -> LogError {
    LogError::Damaged(format!("`{what}` cannot be used: {why}"))
}

/// The object that an entry names. What cannot be read names none.
pub(super) fn object_named(entry: &Entry) -> Option<String> {
    match decoded(entry.clone()) {
        Ok(Indexed::Segment(segment)) => segment.object(),
        Ok(Indexed::End(_)) | Err(_) => None,
    }
}

/// A log as far as the index has it; empty and open where it has nothing.
pub(super) async fn load(
    store: &StoreHandle,
    attempt: AttemptId,
    limits: &LogLimits,
) -> Result<Log, LogError> {
    let mut range = Range::prefix(&keys::log(attempt), PAGE);
    let (mut stored, mut first_at, mut last_at) = (Stored::default(), None, None);
    loop {
        let page = store.range(range.clone()).await?;
        let last_key = page.entries.last().map(|entry| entry.key.clone());
        for entry in page.entries {
            match decoded(entry)? {
                Indexed::Segment(segment) if segment.offset == stored.durable.offset => {
                    first_at.get_or_insert(segment.first_at);
                    last_at = Some(segment.last_at);
                    let (offset, crc) = (segment.end(), segment.crc);
                    if let Some(Place::LeftOut(limit)) = segment.place {
                        stored.left_out = Some(LeftOut { from: segment.offset, to: offset, limit });
                    }
                    stored.durable = Point { offset, crc, cursor: segment.cursor };
                    let long_enough = offset >= limits.kept / 2;
                    stored.head = stored.head.or(long_enough.then_some(offset));
                }
                Indexed::Segment(segment) => {
                    return Err(gap(attempt, stored.durable.offset, &segment));
                }
                Indexed::End(ended) => stored.closed = Some(ended),
            }
        }
        match last_key {
            Some(key) if page.more => range = range.after(&key),
            Some(_) | None => break,
        }
    }
    let time = |at: Option<i64>| at.and_then(|at| Timestamp::from_millisecond(at).ok());
    Ok(Log::stored(Stored { first_at: time(first_at), last_at: time(last_at), ..stored }))
}

fn gap(attempt: AttemptId, wanted: u64, found: &SegmentEntry) -> LogError {
    let why = Damaged(format!("no segment begins at {wanted}, the next one at {}", found.offset));
    damaged(&keys::log(attempt), &why)
}

/// How a log ended; none while it is open.
pub(super) async fn end(
    store: &StoreHandle,
    attempt: AttemptId,
) -> Result<Option<LogInfo>, LogError> {
    let key = keys::log_end(attempt);
    let Some(value) = store.get(&key).await? else { return Ok(None) };
    match decoded(Entry { key, value })? {
        Indexed::End(end) => Ok(Some(end.info())),
        Indexed::Segment(_) => Ok(None), // the key says that it is an end
    }
}

/// Whether the index knows a segment at `offset` that has its bytes in the object `name`.
pub(super) async fn refers_to(
    store: &StoreHandle,
    attempt: AttemptId,
    offset: u64,
    name: &str,
) -> Result<bool, LogError> {
    let key = keys::log_segment(attempt, offset);
    let Some(value) = store.get(&key).await? else { return Ok(false) };
    match decoded(Entry { key, value })? {
        Indexed::Segment(segment) => {
            Ok(matches!(segment.place, Some(Place::Object(place)) if place == name))
        }
        Indexed::End(_) => Ok(false),
    }
}

/// What the index has at an offset.
#[derive(Debug)]
pub(super) enum Ahead {
    /// The segments from there on, the first ones of them.
    Segments(Vec<SegmentEntry>),
    /// The end of the log, which may be before the offset.
    End(LogInfo),
    /// Nothing.
    Nothing,
}

/// What is at `offset`. `at_seam`: a segment begins there, if one covers it and none of the middle went meanwhile.
pub(super) async fn at(
    store: &StoreHandle,
    attempt: AttemptId,
    offset: u64,
    at_seam: bool,
) -> Result<Ahead, LogError> {
    if !at_seam && let Some(segment) = containing(store, attempt, offset).await? {
        return Ok(Ahead::Segments(vec![segment]));
    }
    let start = keys::log_segment(attempt, offset);
    let range = Range { start, end: keys::prefix_end(&keys::log(attempt)), limit: AHEAD };
    let mut segments = Vec::new();
    for entry in store.range(range).await?.entries {
        match decoded(entry)? {
            Indexed::Segment(segment) => segments.push(segment),
            Indexed::End(end) if segments.is_empty() => return Ok(Ahead::End(end.info())),
            Indexed::End(_) => {} // read again when the segments are
        }
    }
    match segments.first() {
        None => Ok(Ahead::Nothing),
        Some(first) if first.offset == offset => Ok(Ahead::Segments(segments)),
        // What began there is a part of the gap by now.
        Some(first) => match containing(store, attempt, offset).await? {
            Some(segment) => Ok(Ahead::Segments(vec![segment])),
            None => Err(gap(attempt, offset, first)),
        },
    }
}

/// Up to `most` segments from the one that begins at `offset` on.
pub(super) async fn segments(
    store: &StoreHandle,
    attempt: AttemptId,
    offset: u64,
    most: usize,
) -> Result<Vec<SegmentEntry>, LogError> {
    let start = keys::log_segment(attempt, offset);
    let range = Range { start, end: keys::log_end(attempt), limit: most };
    let mut segments = Vec::new();
    for entry in store.range(range).await?.entries {
        if let Indexed::Segment(segment) = decoded(entry)? {
            segments.push(segment);
        }
    }
    Ok(segments)
}

/// Whether the index has the beginning of a log that has bytes: it goes first when a log is removed.
pub(super) async fn begins(store: &StoreHandle, attempt: AttemptId) -> Result<bool, LogError> {
    Ok(store.get(&keys::log_segment(attempt, 0)).await?.is_some())
}

/// When a log was closed; none while it is open, and the start of time where that was not written.
pub(super) async fn closed_at(
    store: &StoreHandle,
    attempt: AttemptId,
) -> Result<Option<Timestamp>, LogError> {
    let key = keys::log_end(attempt);
    let Some(value) = store.get(&key).await? else { return Ok(None) };
    let entry = EndEntry::decode(value);
    let entry = entry.map_err(|error| damaged(&key, &Damaged(error.to_string())))?;
    Ok(Some(Timestamp::from_millisecond(entry.closed_at).unwrap_or_default()))
}

/// The attempt of the first log at or behind a key, if there is one.
pub(super) async fn first_log(
    store: &StoreHandle,
    start: String,
    end: String,
) -> Result<Option<AttemptId>, LogError> {
    let page = store.range(Range { start, end, limit: 1 }).await?;
    let Some(Entry { key, .. }) = page.entries.into_iter().next() else { return Ok(None) };
    match keys::log_attempt(&key) {
        Some(attempt) => Ok(Some(attempt)),
        None => Err(damaged(&key, &Damaged("its key names no log".to_owned()))),
    }
}

/// The first entries of a log, as writes that delete them, and the objects that they name.
pub(super) async fn removal(
    store: &StoreHandle,
    attempt: AttemptId,
    most: usize,
) -> Result<(Vec<Write>, Vec<String>), LogError> {
    let (mut writes, mut objects) = (Vec::new(), Vec::new());
    for entry in store.range(Range::prefix(&keys::log(attempt), most)).await?.entries {
        writes.push(Write::Delete(entry.key.clone()));
        // What cannot be read is deleted as well; its object has no name, and is swept.
        if let Ok(Indexed::Segment(segment)) = decoded(entry) {
            objects.extend(segment.object());
        }
    }
    Ok((writes, objects))
}

/// The segment that `offset` lies in, if there is one.
pub(super) async fn containing(
    store: &StoreHandle,
    attempt: AttemptId,
    offset: u64,
) -> Result<Option<SegmentEntry>, LogError> {
    let last = up_to(store, attempt, offset).await?;
    Ok(last.filter(|segment| offset < segment.end()))
}

/// The last segment that begins at `offset` or before.
pub(super) async fn up_to(
    store: &StoreHandle,
    attempt: AttemptId,
    offset: u64,
) -> Result<Option<SegmentEntry>, LogError> {
    for start in looking_back(offset) {
        let start = keys::log_segment(attempt, start);
        let end = format!("{}\0", keys::log_segment(attempt, offset));
        // Windows grow slowly enough that all of one is seldom more than a page.
        let Some(last) = store.all(Range { start, end, limit: PAGE }).await?.pop() else {
            continue;
        };
        return match decoded(last)? {
            Indexed::Segment(segment) => Ok(Some(segment)),
            Indexed::End(_) => Ok(None),
        };
    }
    Ok(None)
}

/// Where to look for the last segment that begins at `offset` or before: ever further back, since the store reads
/// forwards alone.
fn looking_back(offset: u64) -> Vec<u64> {
    let (mut starts, mut back) = (Vec::new(), 4096u64);
    loop {
        let start = offset.saturating_sub(back);
        starts.push(start);
        if start == 0 {
            return starts;
        }
        back = back.saturating_mul(8);
    }
}
