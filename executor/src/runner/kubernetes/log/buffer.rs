//! What was read ahead of whoever asks.

use super::cursor::{Cursor, Place};
use crate::runner::LogPiece;
use bytes::{Bytes, BytesMut};
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

/// The most bytes of one log that are read ahead.
pub(super) const AHEAD: usize = 1 << 20;

/// The same, once all logs together have [`AHEAD_IN_ALL`].
const AHEAD_OF_MANY: usize = 64 << 10;

/// What all logs of an executor may have together before each is held to less.
const AHEAD_IN_ALL: usize = 16 << 20;

/// What the logs of an executor have read ahead together.
#[derive(Clone, Debug, Default)]
pub struct Held(Arc<AtomicUsize>);

impl Held {
    /// The most of one log.
    fn limit(&self) -> usize {
        if self.0.load(Relaxed) < AHEAD_IN_ALL { AHEAD } else { AHEAD_OF_MANY }
    }
}

/// What a piece costs besides its bytes.
const COST: usize = size_of::<Entry>();

/// A chunk of a log spans at most so many milliseconds.
const SPAN: u64 = Duration::from_millis(100).as_millis() as u64;

/// One piece of the log, or words of ours about it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    /// The place of its first byte.
    offset: u64,
    /// When it was written, in milliseconds since 1970.
    millis: i64,
    bytes: Bytes,
    /// How the log continues behind it.
    place: Place,
    /// Words of ours, which are given as a whole.
    is_ours: bool,
}

impl Entry {
    fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }

    fn cost(&self) -> usize {
        self.bytes.len() + COST
    }

    /// The cursor behind its first `length` bytes, which are some.
    fn cursor(&self, length: usize) -> Cursor {
        let mut place = self.place;
        if let Place::Behind { left, .. } = &mut place {
            // What was cut off before is no part of this entry, and what is left here is at most a piece.
            *left = u32::try_from(self.bytes.len() - length).unwrap_or(u32::MAX);
        }
        let mid_line = self.bytes.get(length - 1) != Some(&b'\n');
        Cursor { offset: self.offset + length as u64, mid_line, place }
    }
}

/// A stretch of the log. What was given stays for as long as there is room, for whoever asks again.
#[derive(Debug)]
pub(super) struct Buffer {
    /// Before the first entry.
    start: Cursor,
    entries: VecDeque<Entry>,
    cost: usize,
    /// Of that, what was not given yet.
    fresh: usize,
    /// Up to here it was given.
    given: u64,
    /// Nothing comes behind the last entry.
    is_over: bool,
    held: Held,
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.held.0.fetch_sub(self.cost, Relaxed);
    }
}

/// What there is behind a cursor.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Behind {
    /// This.
    Piece(LogPiece),
    /// Nothing yet.
    Nothing,
    /// Nothing, and nothing will be.
    Over,
    /// It is not a place of this stretch.
    Elsewhere,
}

impl Buffer {
    /// Nothing yet, from `start` on.
    pub(super) fn new(start: Cursor, held: Held) -> Self {
        let (is_over, given) = (start.place == Place::Over, start.offset);
        Self { start, entries: VecDeque::new(), cost: 0, fresh: 0, given, is_over, held }
    }

    /// Whether more may be read.
    pub(super) fn has_room(&self) -> bool {
        self.fresh < self.held.limit()
    }

    /// Takes what was read next: when it was written, its bytes, and how the log continues behind it.
    pub(super) fn push(&mut self, millis: i64, bytes: Bytes, place: Place, is_ours: bool) {
        if bytes.is_empty() {
            return;
        }
        let entry = Entry { offset: self.end().offset, millis, bytes, place, is_ours };
        self.cost += entry.cost();
        self.fresh += entry.cost();
        self.held.0.fetch_add(entry.cost(), Relaxed);
        self.entries.push_back(entry);
        self.forget();
    }

    /// Forgets what was given, as far as there is no room for it.
    fn forget(&mut self) {
        while self.cost > self.held.limit()
            && let Some(first) = self.entries.front()
            && first.end() <= self.given
        {
            self.cost -= first.cost();
            self.held.0.fetch_sub(first.cost(), Relaxed);
            self.start = first.cursor(first.bytes.len());
            self.entries.pop_front();
        }
    }

    /// Nothing comes any more.
    pub(super) fn end_here(&mut self) {
        self.is_over = true;
    }

    /// Whether all is here.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// The place behind the last entry.
    pub(super) fn end(&self) -> Cursor {
        self.entries.back().map_or(self.start, |entry| entry.cursor(entry.bytes.len()))
    }

    /// At most `most` bytes behind `cursor`.
    pub(super) fn behind(&mut self, cursor: Cursor, most: usize) -> Behind {
        self.forget(); // others may have read much since
        let Some((first, skipped)) = self.find(cursor) else { return Behind::Elsewhere };
        let mut chunks: Vec<(i64, BytesMut)> = Vec::new();
        let (mut room, mut skipped) = (most, skipped);
        let mut last = None;
        for entry in self.entries.range(first..) {
            if room == 0 || (entry.is_ours && entry.bytes.len() > room && last.is_some()) {
                break;
            }
            let rest = entry.bytes.len() - skipped;
            let length = if entry.is_ours { rest } else { rest.min(room) };
            let bytes = &entry.bytes[skipped..skipped + length];
            match chunks.last_mut() {
                Some((millis, chunk)) if millis.abs_diff(entry.millis) < SPAN => {
                    chunk.extend_from_slice(bytes);
                }
                _ => chunks.push((entry.millis, BytesMut::from(bytes))),
            }
            last = Some((entry, skipped + length));
            room = room.saturating_sub(length);
            skipped = 0;
        }
        match last.map(|(entry, length)| entry.cursor(length)) {
            Some(last) => {
                self.given = last.offset;
                let fresh = self.entries.iter().rev().take_while(|entry| entry.end() > last.offset);
                self.fresh = fresh.map(Entry::cost).sum();
                let chunks = chunks.into_iter().map(|(millis, chunk)| (millis, chunk.freeze()));
                Behind::Piece(LogPiece {
                    offset: cursor.offset,
                    chunks: chunks.collect(),
                    cursor: last.to_bytes(),
                })
            }
            None if self.is_over => Behind::Over,
            None => Behind::Nothing,
        }
    }

    /// Which entry a cursor is before, or so many bytes in.
    fn find(&self, cursor: Cursor) -> Option<(usize, usize)> {
        if cursor == self.start {
            return Some((0, 0));
        }
        let after = self.entries.partition_point(|entry| entry.end() < cursor.offset);
        let entry = self.entries.get(after).filter(|entry| entry.offset < cursor.offset)?;
        let length = usize::try_from(cursor.offset - entry.offset).ok()?;
        let is_whole = length == entry.bytes.len();
        (entry.cursor(length) == cursor).then_some(if is_whole {
            (after + 1, 0)
        } else {
            (after, length)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::kubernetes::log::{decode::Item, stamp::Stamp};
    use proptest::prelude::*;

    fn filled(pieces: &[(i64, Vec<u8>)]) -> Buffer {
        let mut buffer = Buffer::new(Cursor::START, Held::default());
        for (millis, bytes) in pieces {
            let stamp = Stamp(millis * 1_000_000);
            let item = Item { stamp, content: Bytes::from(bytes.clone()) };
            let place = buffer.end().place.behind(&item);
            buffer.push(*millis, item.content, place, false);
        }
        buffer
    }

    proptest! {
        /// P4: whatever is asked for at once, and wherever one begins again, each byte comes once, and none more than
        /// the span after the time of its chunk.
        #[test]
        fn what_was_read_is_given_in_any_parts(
            pieces in prop::collection::vec((0i64..600, prop::collection::vec(any::<u8>(), 1..40)), 0..40),
            parts in prop::collection::vec((1usize..90, any::<bool>()), 1..20),
        ) {
            let whole: Vec<u8> = pieces.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
            let times: Vec<i64> = pieces.iter().flat_map(|(millis, bytes)| vec![*millis; bytes.len()]).collect();
            let mut buffer = filled(&pieces);
            let mut cursor = Cursor::START;
            for (most, again) in parts.into_iter().cycle() {
                let Behind::Piece(piece) = buffer.behind(cursor, most) else { break };
                prop_assert_eq!(piece.offset, cursor.offset);
                let mut at = piece.offset as usize;
                for (millis, bytes) in &piece.chunks {
                    for byte in bytes {
                        prop_assert_eq!(*byte, whole[at]);
                        prop_assert!(times[at].abs_diff(*millis) < SPAN);
                        at += 1;
                    }
                }
                let length = at - piece.offset as usize;
                prop_assert!(length == most || at == whole.len(), "{} of {}", length, most);
                if again {
                    let Behind::Piece(same) = buffer.behind(cursor, most) else { panic!("gone") };
                    prop_assert_eq!(&same, &piece);
                }
                cursor = Cursor::from_bytes(&piece.cursor).unwrap();
            }
            prop_assert_eq!(cursor.offset as usize, whole.len());
            prop_assert_eq!(buffer.behind(cursor, 1), Behind::Nothing);
            buffer.end_here();
            prop_assert_eq!(buffer.behind(cursor, 1), Behind::Over);
        }
    }

    #[test]
    fn what_was_given_stays_while_there_is_room_and_what_was_not_is_bounded() {
        let mut buffer = filled(&[(0, b"first\n".to_vec())]);
        assert!(matches!(buffer.behind(Cursor::START, 100), Behind::Piece(_)));
        assert!(
            matches!(buffer.behind(Cursor::START, 100), Behind::Piece(_)),
            "it was thrown away"
        );
        let mut pushed = 0;
        while buffer.has_room() {
            let item = Item { stamp: Stamp(0), content: Bytes::from(vec![b'x'; 1_000]) };
            let place = buffer.end().place.behind(&item);
            buffer.push(0, item.content, place, false);
            pushed += 1_000;
        }
        assert!((AHEAD / 2..AHEAD).contains(&pushed), "{pushed} bytes ahead");
        assert!(buffer.cost <= AHEAD + 2_000);
        assert_eq!(buffer.behind(Cursor::START, 100), Behind::Elsewhere);
    }

    #[test]
    fn many_logs_share_what_they_read_ahead_and_a_few_have_more() {
        let (held, mut buffers) = (Held::default(), Vec::new());
        let fill = |buffer: &mut Buffer| {
            while buffer.has_room() {
                let item = Item { stamp: Stamp(0), content: Bytes::from(vec![b'x'; 1_000]) };
                let place = buffer.end().place.behind(&item);
                buffer.push(0, item.content, place, false);
            }
            buffer.cost
        };
        for number in 0..200 {
            let mut buffer = Buffer::new(Cursor::START, held.clone());
            let cost = fill(&mut buffer);
            assert_eq!(cost > AHEAD_OF_MANY + 2_000, number < AHEAD_IN_ALL / AHEAD, "{number}");
            buffers.push(buffer);
        }
        let all = held.0.load(Relaxed);
        assert!(all < AHEAD_IN_ALL + 200 * (AHEAD_OF_MANY + 2_000), "{all}");
        // What one has read and given goes when it is asked for more, and with the log.
        assert!(matches!(buffers[0].behind(Cursor::START, AHEAD), Behind::Piece(_)));
        let end = buffers[0].end();
        assert_eq!(buffers[0].behind(end, 1), Behind::Nothing);
        assert!(buffers[0].cost <= AHEAD_OF_MANY);
        buffers.clear();
        assert_eq!(held.0.load(Relaxed), 0);
        assert!(fill(&mut Buffer::new(Cursor::START, held)) >= AHEAD);
    }

    #[test]
    fn a_place_of_another_history_is_not_taken_for_one_of_this() {
        let mut buffer = filled(&[(5, b"first\n".to_vec()), (7, b"second\n".to_vec())]);
        let mut other = filled(&[(5, b"FIRST\n".to_vec())]).end();
        assert_eq!(buffer.behind(other, 10), Behind::Elsewhere);
        other.offset = 99;
        assert_eq!(buffer.behind(other, 10), Behind::Elsewhere);
    }

    #[test]
    fn words_of_ours_are_given_as_a_whole() {
        let mut buffer = filled(&[(5, b"first\n".to_vec())]);
        buffer.push(5, Bytes::from_static(b"[octavius]\n"), Place::Over, true);
        let Behind::Piece(first) = buffer.behind(Cursor::START, 8) else { panic!() };
        assert_eq!(first.chunks[0].1, "first\n");
        let cursor = Cursor::from_bytes(&first.cursor).unwrap();
        let Behind::Piece(second) = buffer.behind(cursor, 8) else { panic!() };
        assert_eq!(second.chunks[0].1, "[octavius]\n");
        assert_eq!(Cursor::from_bytes(&second.cursor).unwrap().place, Place::Over);
    }
}
