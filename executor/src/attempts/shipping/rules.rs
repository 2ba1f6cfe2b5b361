//! Where in a log one is: what the controller expects next, and from where it can be read again.

use crate::runner::LogPiece;
use bytes::Bytes;
use crc::{CRC_64_XZ, Crc, Table};
use octavius_protocol::MAX_APPEND;

static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_XZ);

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
    /// CRC-64/XZ of the log up to `next`.
    pub next_crc: u64,
    /// The cursor that came with the bytes up to `next`; empty at 0.
    pub next_cursor: Bytes,
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

/// Where one is. Reading goes on exactly where the controller is, at the cursor that came with what it took last: what a
/// runner reads again may be other bytes, where some are gone meanwhile and words stand for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// What the controller expects.
    next: u64,
    /// CRC-64/XZ of all before that: as it was sent from here, and by the controller's word where it was not.
    crc: u64,
    /// End and CRC-64/XZ of what was given to be sent.
    sent: Option<(u64, u64)>,
    /// Where the next piece begins: before `next` only where nobody knows the cursor.
    reading: u64,
    /// How the runner finds that.
    cursor: Bytes,
}

impl Position {
    /// What the controller expects next.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Where the next piece begins, and the cursor to read behind.
    pub fn place(&self) -> (u64, &Bytes) {
        (self.reading, &self.cursor)
    }

    /// The cursor to read behind.
    #[cfg(test)]
    fn cursor(&self) -> &Bytes {
        &self.cursor
    }

    /// Size and CRC-64/XZ of what the controller has.
    pub fn arrived(&self) -> (u64, u64) {
        (self.next, self.crc)
    }

    /// A piece was read: what of it the controller does not have. An error, and back to the start, where the piece
    /// does not begin at the cursor that it was asked for.
    pub fn read(&mut self, piece: LogPiece) -> Result<Option<Sending>, Misplaced> {
        if piece.offset != self.reading {
            let misplaced = Misplaced { wanted: self.reading, got: piece.offset };
            self.restart();
            return Err(misplaced);
        }
        let end = piece.offset + piece.size() as u64;
        (self.reading, self.cursor) = (end, piece.cursor.clone());
        if end <= self.next {
            return Ok(None);
        }
        let offset = piece.offset.max(self.next);
        let chunks = without_first(piece.chunks, offset - piece.offset);
        let crc = chunks.iter().fold(self.crc, |crc, (_, bytes)| crc_behind(crc, bytes));
        self.sent = Some((end, crc));
        Ok(Some(Sending { offset, end, chunks, cursor: piece.cursor }))
    }

    /// The controller said how far it is: that is where reading goes on.
    pub fn acknowledged(&mut self, answer: &Acknowledged) {
        let Acknowledged { next, next_crc, next_cursor, .. } = answer;
        match self.sent {
            Some((end, crc)) if end == *next => self.crc = crc,
            _ if self.next == *next => {}
            _ => self.crc = *next_crc,
        }
        (self.next, self.sent) = (*next, None);
        if *next == 0 || !next_cursor.is_empty() {
            (self.reading, self.cursor) = (*next, next_cursor.clone());
        } else if self.reading > *next {
            self.restart();
        }
    }

    /// The runner does not know the cursor: from the start, then.
    pub fn restart(&mut self) {
        (self.reading, self.cursor) = (0, Bytes::new());
    }
}

/// CRC-64/XZ of some bytes behind those of which it is `crc`.
pub(super) fn crc_behind(crc: u64, bytes: &[u8]) -> u64 {
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
    use std::{collections::BTreeMap, ops::Range};

    /// A runner's log, of which the beginning goes. Who reads on before what is left gets words that say how much is
    /// missing, so that what is read again may be other bytes, and more or less of them.
    #[derive(Debug)]
    struct Source {
        /// None of them a bracket.
        written: Vec<u8>,
        gone: usize,
    }

    impl Source {
        /// At most `most` bytes, or the words. Cursors are decimal: the offset in the log, and the place in what was
        /// written.
        fn follow(&self, cursor: &Bytes, most: usize) -> Option<LogPiece> {
            let mut numbers =
                str::from_utf8(cursor).unwrap().split(' ').map(|number| number.parse().unwrap());
            let (offset, from): (usize, usize) = match cursor.is_empty() {
                true => (0, 0),
                false => (numbers.next().unwrap(), numbers.next().unwrap()),
            };
            let (bytes, to) = if from < self.gone {
                (format!("[{}]", self.gone - from).into_bytes(), self.gone)
            } else {
                let to = (from + most).min(self.written.len());
                (self.written[from..to].to_vec(), to)
            };
            let (first, second) = bytes.split_at(bytes.len() / 2);
            let chunks = [first, second].map(|part| (0, Bytes::copy_from_slice(part)));
            (!bytes.is_empty()).then(|| LogPiece {
                offset: offset as u64,
                chunks: chunks.to_vec(),
                cursor: Bytes::from(format!("{} {to}", offset + bytes.len())),
            })
        }

        /// Whether `log` has each byte that was written once and in order, or says how many are missing.
        fn is_told_by(&self, log: &[u8]) -> Result<Range<usize>, String> {
            let (mut at, mut place) = (0, 0);
            while place < log.len() {
                if log[place] == b'[' {
                    let end = log[place..].iter().position(|byte| *byte == b']');
                    let end = place + end.ok_or_else(|| format!("words are cut at {place}"))?;
                    let count = str::from_utf8(&log[place + 1..end]).unwrap();
                    at += count.parse::<usize>().map_err(|error| format!("{count}: {error}"))?;
                    place = end + 1;
                } else {
                    if self.written.get(at) != Some(&log[place]) {
                        return Err(format!(
                            "another byte at {place}, of what was written at {at}"
                        ));
                    }
                    (at, place) = (at + 1, place + 1);
                }
            }
            Ok(at..self.written.len())
        }
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
                next_crc: CRC.checksum(&self.bytes),
                next_cursor: self.cursors.get(&self.bytes.len()).cloned().unwrap_or_default(),
                closed: false,
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
        /// So many more bytes are not to be had any more.
        Go(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => (1usize..40).prop_map(Step::Send),
            2 => (1usize..40).prop_map(Step::SendUnheard),
            2 => Just(Step::Sync),
            1 => Just(Step::Crash),
            1 => Just(Step::Restart),
            1 => Just(Step::Ask),
            1 => (1usize..60).prop_map(Step::Go),
        ];
        prop::collection::vec(step, 0..200)
    }

    fn send(
        source: &Source,
        controller: &mut Log,
        position: &mut Position,
        most: usize,
        heard: bool,
    ) {
        let Some(piece) = source.follow(position.cursor(), most) else { return };
        let read = piece.offset;
        let Some(sending) = position.read(piece).unwrap() else { panic!("it was read before") };
        assert_eq!(sending.offset, position.next(), "not sent where the controller expects it");
        assert_eq!(sending.offset, read, "some of it is passed over by its count alone");
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
            written in prop::collection::vec(b'^'.., 0..600),
            steps in steps(),
        ) {
            let mut source = Source { written, gone: 0 };
            let (mut controller, mut position) = (Log::default(), Position::default());
            for step in steps {
                match step {
                    Step::Send(most) => send(&source, &mut controller, &mut position, most, true),
                    Step::SendUnheard(most) => send(&source, &mut controller, &mut position, most, false),
                    Step::Sync => controller.durable = controller.bytes.len(),
                    Step::Crash => controller.bytes.truncate(controller.durable),
                    Step::Restart => {
                        position = Position::default();
                        position.acknowledged(&controller.answer());
                    }
                    Step::Ask => position.acknowledged(&controller.answer()),
                    Step::Go(bytes) => source.gone = (source.gone + bytes).min(source.written.len()),
                }
                let told = source.is_told_by(&controller.bytes);
                prop_assert!(told.is_ok(), "{told:?}");
                let (size, crc) = position.arrived();
                // What a crash took is noticed with the next answer.
                if size == controller.bytes.len() as u64 {
                    prop_assert_eq!(crc, CRC.checksum(&controller.bytes));
                }
            }
            position.acknowledged(&controller.answer());
            for _ in 0..=source.written.len() {
                send(&source, &mut controller, &mut position, 7, true);
            }
            prop_assert_eq!(source.is_told_by(&controller.bytes).map(|left| left.len()), Ok(0));
            let size = controller.bytes.len() as u64;
            prop_assert_eq!(position.arrived(), (size, CRC.checksum(&controller.bytes)));
        }
    }

    #[test]
    fn a_new_executor_goes_on_exactly_where_the_controller_is() {
        let mut position = Position::default();
        let answer = Acknowledged {
            next: 90,
            next_crc: 9,
            next_cursor: Bytes::from_static(b"ninety"),
            closed: false,
        };
        position.acknowledged(&answer);
        assert_eq!((position.cursor(), position.arrived()), (&answer.next_cursor, (90, 9)));
    }

    #[test]
    fn a_cursor_that_the_runner_refuses_means_to_read_again_and_to_send_what_is_behind() {
        let mut position = Position::default();
        let next_cursor = Bytes::from_static(b"ninety");
        position.acknowledged(&Acknowledged { next: 90, next_cursor, ..Acknowledged::default() });
        position.restart();
        assert_eq!(position.cursor(), "");
        let chunks = vec![(1, Bytes::from(vec![b'a'; 80])), (2, Bytes::from(vec![b'b'; 20]))];
        let piece = LogPiece { offset: 0, chunks, cursor: Bytes::from_static(b"hundred") };
        let sending = position.read(piece).unwrap().unwrap();
        let rest = vec![(2, Bytes::from(vec![b'b'; 10]))];
        assert_eq!((sending.offset, sending.end, sending.chunks), (90, 100, rest));
        assert_eq!(position.cursor(), "hundred");
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
