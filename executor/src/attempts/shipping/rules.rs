//! Where in a log one is: what the controller expects next, and from where it can be read again.

use crate::runner::LogPiece;
use bytes::Bytes;
use crc::{CRC_64_XZ, Crc, Table};
use octavius_protocol::MAX_APPEND;
use std::collections::BTreeMap;

static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_XZ);

/// The most places that are remembered. More would only save reading again.
const MOST_MARKS: usize = 64;

/// What all logs of an executor together may have on its way to the controller, in bytes, unless there are so many that
/// each has [`LEAST_PIECE`]. Each byte is there up to three times: as it was read, in a message, and in the connection.
const IN_FLIGHT: usize = 8 << 20;

/// The least that a piece of one log may have, in bytes, where there is so much to read.
const LEAST_PIECE: usize = 64 << 10;

/// The most that is read of one log at once, in bytes, where there are so many `logs`.
pub(super) fn largest_piece(logs: usize) -> usize {
    (IN_FLIGHT / logs.max(1)).clamp(LEAST_PIECE, MAX_APPEND)
}

/// How far the controller has a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acknowledged {
    /// The offset that the next append must carry.
    pub next: u64,
    /// Everything before is durable.
    pub durable: u64,
    /// CRC-64/XZ of the log up to `durable`.
    pub durable_crc: u64,
    /// The cursor that came with the bytes up to `durable`; empty at 0.
    pub durable_cursor: Bytes,
    /// Nothing more is taken, and nothing is missing.
    pub closed: bool,
}

/// What is to be sent of a piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sending {
    /// The place of the first byte.
    pub offset: u64,
    /// The place behind the last byte.
    pub end: u64,
    /// Times and bytes.
    pub chunks: Vec<(i64, Bytes)>,
    /// How the runner finds `end` again.
    pub cursor: Bytes,
}

/// Where one is. Cursors are the runner's: only those that are known, and the start, are ever read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// What the controller expects.
    next: u64,
    /// Where the next piece begins.
    reading: u64,
    /// Known places by offset; always has the start and the one that is read from.
    marks: BTreeMap<u64, Mark>,
}

/// A place in a log that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Mark {
    /// How the runner finds it.
    cursor: Bytes,
    /// CRC-64/XZ of all before it.
    crc: u64,
}

impl Default for Position {
    fn default() -> Self {
        Self { next: 0, reading: 0, marks: BTreeMap::from([(0, Mark::default())]) }
    }
}

impl Position {
    /// What the controller expects next.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The cursor to read behind.
    pub fn cursor(&self) -> &Bytes {
        static START: Bytes = Bytes::new();
        self.marks.get(&self.reading).map_or(&START, |mark| &mark.cursor)
    }

    /// Size and CRC-64/XZ of what the controller has; none where it has more than was read here.
    pub fn arrived(&self) -> Option<(u64, u64)> {
        self.marks.get(&self.next).map(|mark| (self.next, mark.crc))
    }

    /// A piece was read: what of it the controller does not have. An error, and back to the start, where the piece
    /// does not begin at the cursor that it was asked for.
    pub fn read(&mut self, piece: LogPiece) -> Result<Option<Sending>, Misplaced> {
        if piece.offset != self.reading {
            let misplaced = Misplaced { wanted: self.reading, got: piece.offset };
            self.reading = 0;
            self.marks.retain(|offset, _| *offset == 0);
            return Err(misplaced);
        }
        let end = piece.offset + piece.size() as u64;
        let before = self.marks.get(&self.reading).map_or(0, |mark| mark.crc);
        let crc = piece.chunks.iter().fold(before, |crc, (_, bytes)| crc_behind(crc, bytes));
        self.remember(end, Mark { cursor: piece.cursor.clone(), crc });
        self.reading = end;
        if end <= self.next {
            return Ok(None);
        }
        let offset = piece.offset.max(self.next);
        let chunks = without_first(piece.chunks, offset - piece.offset);
        Ok(Some(Sending { offset, end, chunks, cursor: piece.cursor }))
    }

    /// The controller said how far it is: what is read next begins where it can be, at or before that.
    pub fn acknowledged(&mut self, answer: &Acknowledged) {
        self.next = answer.next;
        if answer.durable > 0 && answer.durable <= answer.next && !answer.durable_cursor.is_empty()
        {
            let mark = Mark { cursor: answer.durable_cursor.clone(), crc: answer.durable_crc };
            self.marks.entry(answer.durable).or_insert(mark);
            // The controller goes back behind what is durable only if it was restored: then the start will do.
            let durable = answer.durable;
            self.marks
                .retain(|offset, _| *offset == 0 || *offset >= durable || *offset == self.reading);
        }
        let nearest = self.marks.range(..=self.next).next_back().map_or(0, |(offset, _)| *offset);
        if self.reading > self.next || nearest > self.reading {
            self.reading = nearest;
        }
    }

    /// The runner does not know the cursor: from the start, then.
    pub fn restart(&mut self) {
        self.reading = 0;
        self.marks.retain(|offset, _| *offset == 0);
    }

    fn remember(&mut self, offset: u64, mark: Mark) {
        // The place that is read from next is always remembered; of the others the oldest go, the start never.
        if self.marks.len() >= MOST_MARKS
            && let Some(oldest) =
                self.marks.keys().copied().find(|mark| *mark > 0 && *mark > self.durable())
        {
            self.marks.remove(&oldest);
        }
        self.marks.insert(offset, mark);
    }

    /// The first mark behind the start: what is durable, if anything is.
    fn durable(&self) -> u64 {
        self.marks.keys().copied().nth(1).unwrap_or(0)
    }
}

/// CRC-64/XZ of some bytes behind those of which it is `crc`.
fn crc_behind(crc: u64, bytes: &[u8]) -> u64 {
    // The crate begins with the reflected register; what it gives at the end is the register's complement.
    let mut digest = CRC.digest_with_initial((!crc).reverse_bits());
    digest.update(bytes);
    digest.finalize()
}

/// A piece that does not begin where it was asked for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a piece of the log begins at {got} and not at {wanted}, where it was asked for")]
pub struct Misplaced {
    wanted: u64,
    got: u64,
}

fn without_first(chunks: Vec<(i64, Bytes)>, mut bytes: u64) -> Vec<(i64, Bytes)> {
    let mut rest = Vec::with_capacity(chunks.len());
    for (observed, mut chunk) in chunks {
        let skipped = bytes.min(chunk.len() as u64);
        bytes -= skipped;
        let chunk =
            chunk.split_off(usize::try_from(skipped).unwrap_or(usize::MAX).min(chunk.len()));
        if !chunk.is_empty() {
            rest.push((observed, chunk));
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A runner that has `log`, and whose cursors are decimal offsets.
    fn follow(log: &[u8], cursor: &Bytes, most: usize) -> Option<LogPiece> {
        let offset: usize = match cursor.is_empty() {
            true => 0,
            false => std::str::from_utf8(cursor).unwrap().parse().unwrap(),
        };
        let end = (offset + most).min(log.len());
        let half = offset + (end - offset) / 2;
        let piece = |from: usize, to: usize| (0, Bytes::copy_from_slice(&log[from..to]));
        (offset < end).then(|| LogPiece {
            offset: offset as u64,
            chunks: vec![piece(offset, half), piece(half, end)],
            cursor: Bytes::from(end.to_string()),
        })
    }

    /// A controller that takes bytes at the right offset alone, and forgets in a crash what is not durable.
    #[derive(Debug, Default)]
    struct Log {
        bytes: Vec<u8>,
        durable: usize,
        cursors: BTreeMap<usize, Bytes>,
    }

    impl Log {
        fn append(&mut self, sending: &Sending) -> Acknowledged {
            if sending.offset == self.bytes.len() as u64 {
                for (_, bytes) in &sending.chunks {
                    self.bytes.extend_from_slice(bytes);
                }
                assert_eq!(self.bytes.len() as u64, sending.end);
                self.cursors.insert(self.bytes.len(), sending.cursor.clone());
            }
            self.answer()
        }

        fn answer(&self) -> Acknowledged {
            Acknowledged {
                next: self.bytes.len() as u64,
                durable: self.durable as u64,
                durable_crc: CRC.checksum(&self.bytes[..self.durable]),
                durable_cursor: self.cursors.get(&self.durable).cloned().unwrap_or_default(),
                ..Acknowledged::default()
            }
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Send(usize),
        /// The append lands, its answer does not.
        SendUnheard(usize),
        Sync,
        /// The controller loses what is not durable.
        Crash,
        /// This side begins again.
        Restart,
        Ask,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => (1usize..40).prop_map(Step::Send),
            2 => (1usize..40).prop_map(Step::SendUnheard),
            2 => Just(Step::Sync),
            1 => Just(Step::Crash),
            1 => Just(Step::Restart),
            1 => Just(Step::Ask),
        ];
        prop::collection::vec(step, 0..200)
    }

    fn send(log: &[u8], controller: &mut Log, position: &mut Position, most: usize, heard: bool) {
        let Some(piece) = follow(log, position.cursor(), most) else { return };
        let Some(sending) = position.read(piece).unwrap() else { return };
        assert_eq!(sending.offset, position.next(), "not sent where the controller expects it");
        let answer = controller.append(&sending);
        if heard {
            position.acknowledged(&answer);
        } else {
            // The same piece is sent again, and that answer is heard.
            position.acknowledged(&controller.append(&sending));
        }
    }

    #[test]
    fn many_logs_share_what_one_may_have() {
        assert_eq!([0, 1, 8].map(largest_piece), [MAX_APPEND; 3]);
        assert!(largest_piece(20) < MAX_APPEND && largest_piece(20) * 20 <= IN_FLIGHT);
        assert_eq!([200, 10_000].map(largest_piece), [LEAST_PIECE; 2]);
    }

    proptest! {
        #[test]
        fn each_byte_arrives_once_and_in_order_whatever_is_lost(
            log in prop::collection::vec(any::<u8>(), 0..600),
            steps in steps(),
        ) {
            let (mut controller, mut position) = (Log::default(), Position::default());
            for step in steps {
                match step {
                    Step::Send(most) => send(&log, &mut controller, &mut position, most, true),
                    Step::SendUnheard(most) => send(&log, &mut controller, &mut position, most, false),
                    Step::Sync => controller.durable = controller.bytes.len(),
                    Step::Crash => controller.bytes.truncate(controller.durable),
                    Step::Restart => {
                        position = Position::default();
                        position.acknowledged(&controller.answer());
                    }
                    Step::Ask => position.acknowledged(&controller.answer()),
                }
                prop_assert!(log.starts_with(&controller.bytes), "something else arrived");
                prop_assert!(position.marks.len() <= MOST_MARKS + 1);
                prop_assert!(position.marks.contains_key(&position.reading));
                if let Some((size, crc)) = position.arrived() {
                    prop_assert_eq!(crc, CRC.checksum(&log[..usize::try_from(size).unwrap()]));
                }
            }
            for _ in 0..=2 * log.len() + 2 {
                position.acknowledged(&controller.answer());
                send(&log, &mut controller, &mut position, 7, true);
            }
            prop_assert_eq!(position.arrived(), Some((log.len() as u64, CRC.checksum(&log))));
            prop_assert_eq!(controller.bytes, log);
        }
    }

    #[test]
    fn after_a_restart_reading_goes_on_at_the_durable_cursor() {
        let mut position = Position::default();
        let answer = Acknowledged {
            next: 90,
            durable: 60,
            durable_cursor: Bytes::from_static(b"sixty"),
            ..Acknowledged::default()
        };
        position.acknowledged(&answer);
        assert_eq!(position.cursor(), "sixty");
        let chunks = vec![(1, Bytes::from(vec![b'a'; 20])), (2, Bytes::from(vec![b'b'; 20]))];
        let piece = LogPiece { offset: 60, chunks, cursor: Bytes::from_static(b"hundred") };
        let sending = position.read(piece).unwrap().unwrap();
        let rest = vec![(2, Bytes::from(vec![b'b'; 10]))];
        assert_eq!((sending.offset, sending.end, sending.chunks), (90, 100, rest));
    }

    #[test]
    fn a_piece_from_elsewhere_is_refused_and_reading_begins_again() {
        let mut position = Position::default();
        let piece = |offset| LogPiece {
            offset,
            chunks: vec![(0, Bytes::from_static(b"x"))],
            cursor: Bytes::new(),
        };
        assert_eq!(position.read(piece(5)), Err(Misplaced { wanted: 0, got: 5 }));
        assert!(position.read(piece(0)).unwrap().is_some());
    }
}
