//! How much of a log is kept: its beginning, and its end; the middle goes when there is too much.

use std::{collections::VecDeque, mem};

/// The end of a log that is kept, at most.
const TAIL: u64 = 1 << 20;

/// Says of each byte where it goes: to the file at once, or into a ring that holds the last bytes so far.
#[derive(Debug)]
pub(in crate::runner::process) struct Bound {
    head_left: u64,
    tail_most: usize,
    tail: VecDeque<u8>,
    /// Time of the bytes from a place in the tail on; the place counts what went through the ring in all.
    marks: VecDeque<(u64, i64)>,
    through: u64,
}

/// What the ring holds when the log is over.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::runner::process) struct Rest {
    /// Bytes between the head and these that are kept nowhere.
    pub(in crate::runner::process) left_out: u64,
    /// The last bytes, with the wall clock of each piece.
    pub(in crate::runner::process) pieces: Vec<(i64, Vec<u8>)>,
}

impl Bound {
    /// Keeps `most` bytes, of which the last MiB (the last half, if that is less) is kept from the end.
    pub(in crate::runner::process) fn new(most: u64) -> Self {
        let tail = TAIL.min(most / 2);
        Self {
            head_left: most - tail,
            tail_most: usize::try_from(tail).unwrap_or(usize::MAX),
            tail: VecDeque::new(),
            marks: VecDeque::new(),
            through: 0,
        }
    }

    /// How many of `bytes` that come now go to the file; the others go into the ring.
    pub(in crate::runner::process) fn room(&self, bytes: usize) -> usize {
        usize::try_from(self.head_left).unwrap_or(usize::MAX).min(bytes)
    }

    /// So many of the bytes that had room are in the file. If that is not all of them, the file ends there.
    pub(in crate::runner::process) fn wrote(&mut self, bytes: usize, of: usize) {
        self.head_left = if bytes < of { 0 } else { self.head_left.saturating_sub(of as u64) };
    }

    /// The bytes of the ring, for the end of the file.
    pub(in crate::runner::process) fn take_rest(&mut self) -> Rest {
        let left_out = self.through - self.tail.len() as u64;
        Rest { left_out, pieces: self.pieces() }
    }

    /// Takes bytes that came at `wall` into the ring. Its oldest ones make room.
    pub(in crate::runner::process) fn keep(&mut self, bytes: &[u8], wall: i64) {
        if bytes.is_empty() {
            return;
        }
        if self.marks.back().is_none_or(|&(_, last)| last != wall) {
            self.marks.push_back((self.through, wall));
        }
        self.through += bytes.len() as u64;
        let fits = &bytes[bytes.len().saturating_sub(self.tail_most)..];
        let over = (self.tail.len() + fits.len()).saturating_sub(self.tail_most);
        self.tail.drain(..over);
        self.tail.extend(fits);
        let start = self.start();
        while self.marks.get(1).is_some_and(|&(second, _)| second <= start) {
            self.marks.pop_front();
        }
    }

    /// How many bytes went through the ring before the first that it holds.
    fn start(&self) -> u64 {
        self.through - self.tail.len() as u64
    }

    fn pieces(&mut self) -> Vec<(i64, Vec<u8>)> {
        let mut at = self.start();
        let marks = mem::take(&mut self.marks);
        let ends = marks.iter().skip(1).map(|&(place, _)| place).chain([self.through]);
        let mut pieces = Vec::new();
        for (&(_, wall), end) in marks.iter().zip(ends) {
            let length = usize::try_from(end - at).unwrap_or(usize::MAX).min(self.tail.len());
            pieces.push((wall, self.tail.drain(..length).collect()));
            at = end;
        }
        pieces
    }
}

/// Why bytes are missing from the middle of a log that grew beyond `most` bytes.
pub(in crate::runner::process) fn too_long(left_out: u64, most: u64) -> String {
    format!(
        "{left_out} bytes are left out, the log grew beyond the {most} bytes of `spool_max` in the executor's \
         configuration"
    )
}

/// The line that stands in a log, visible to its reader, where bytes are missing.
pub(in crate::runner::process) fn marker(why: &str) -> String {
    format!("[octavius: {why}]\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes that differ from their neighbours, so that a shift shows.
    fn writes(lengths: &[usize]) -> Vec<(i64, Vec<u8>)> {
        let mut next = 0u8;
        let mut write = |length: usize| -> Vec<u8> {
            (0..length)
                .map(|_| {
                    next = next.wrapping_add(1);
                    next
                })
                .collect()
        };
        (1..).zip(lengths).map(|(time, &length)| (time, write(length))).collect()
    }

    proptest! {
        /// P4 and P6: up to the bound the log is the log; beyond it the beginning and the end are, the number between
        /// is told, and never more than the bound is held.
        #[test]
        fn the_middle_goes_and_is_counted(
            most in 2u64..200,
            lengths in prop::collection::vec(0usize..60, 0..20),
            fail_at in prop::option::weighted(0.3, 0usize..20),
        ) {
            let mut bound = Bound::new(most);
            let mut file = Vec::new();
            let mut all: Vec<(u8, i64)> = Vec::new();
            for (number, (time, bytes)) in writes(&lengths).into_iter().enumerate() {
                all.extend(bytes.iter().map(|&byte| (byte, time)));
                let room = bound.room(bytes.len());
                let written = if fail_at == Some(number) { room / 2 } else { room };
                file.extend(bytes[..written].iter().map(|&byte| (byte, time)));
                bound.wrote(written, room);
                bound.keep(&bytes[written..], time);
                prop_assert!(bound.tail.len() as u64 <= most / 2);
                prop_assert!(bound.marks.len() <= bound.tail.len() + 1);
            }
            let rest = bound.take_rest();
            prop_assert!(rest.pieces.iter().all(|(_, bytes)| !bytes.is_empty()));
            let tail: Vec<(u8, i64)> = rest.pieces.iter()
                .flat_map(|(time, bytes)| bytes.iter().map(|&byte| (byte, *time)))
                .collect();
            prop_assert!((file.len() + tail.len()) as u64 <= most);
            prop_assert_eq!((file.len() + tail.len()) as u64 + rest.left_out, all.len() as u64);
            prop_assert!(rest.left_out == 0 || tail.len() as u64 == most / 2);
            prop_assert_eq!(&all[..file.len()], &file[..]);
            prop_assert_eq!(&all[all.len() - tail.len()..], &tail[..]);
            if fail_at.is_none() && all.len() as u64 <= most {
                prop_assert_eq!(rest.left_out, 0);
            }
        }
    }

    #[test]
    fn the_marker_names_the_number_and_the_key() {
        let marker = marker(&too_long(17, 1 << 30));
        assert!(marker.contains("17 bytes") && marker.contains("`spool_max`"), "{marker}");
        assert_eq!(marker.find('\n'), Some(marker.len() - 1), "one line: {marker}");
    }
}
