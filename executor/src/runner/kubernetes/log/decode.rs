//! What the pod log API sends with `timestamps=true`, taken apart into what the container wrote, piece by piece.
//!
//! The runtime keeps a line of more than 16,384 bytes in pieces, and each piece has a stamp of its own: in the middle
//! of the line, with no newline before it. What stands where a stamp should and has none was written by the kubelet,
//! which tells its own errors in the log's stream; it is left out. One read always begins with a whole piece, so
//! that nothing has to be known of the read before.
//!
//! A stamp in the middle of a line at any other place stays there, though it may be one: the runtime writes one behind
//! what an output that is closed left without a newline while the other output goes on. A program that prints times
//! would lose them otherwise. Only behind the last newline of all can the two be told apart: see [`Decoder::rest`].

use super::stamp::{Begins, Stamp};
use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;
use std::mem;

/// The most bytes of a line that the runtime keeps in one piece.
pub(super) const PIECE: usize = 16_384;

/// How much of what the kubelet says is kept, for our own log.
const WORDS: usize = 512;

/// How the kubelet begins to say that the runtime does not answer.
const KUBELET: [&[u8]; 3] = [b"rpc error: code = ", b"failed to ", b"unable to retrieve "];

/// What the container wrote, as the runtime kept it: at most [`PIECE`] bytes and a newline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// When it was written. Not in order: the two outputs are stamped apart.
    pub(super) stamp: Stamp,
    /// What was written, with its newline if it has one. Never empty.
    pub(super) content: Bytes,
}

/// Where in the stream one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// A stamp comes next, or the kubelet's own words.
    Start,
    /// A piece of the greatest length went before, stamped so: a stamp comes next, or more of it.
    Piece(Stamp),
    /// In the kubelet's own words, up to the next newline.
    Words,
}

/// Takes one read of the API apart. Holds at most two pieces.
#[derive(Debug)]
pub(super) struct Decoder {
    held: Bytes,
    /// So much of what is held has no newline, counted from behind its stamp.
    searched: usize,
    at: At,
    words: Vec<u8>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { held: Bytes::new(), searched: 0, at: At::Start, words: Vec::new() }
    }
}

impl Decoder {
    /// More bytes of the read.
    pub(super) fn push(&mut self, bytes: Bytes) {
        if self.held.is_empty() {
            self.held = bytes;
            return;
        }
        let mut both = BytesMut::with_capacity(self.held.len() + bytes.len());
        both.extend_from_slice(&self.held);
        both.extend_from_slice(&bytes);
        self.held = both.freeze();
    }

    /// The next that the container wrote, once it is there as a whole.
    pub(super) fn next(&mut self) -> Option<Item> {
        loop {
            let begins = Stamp::at_start(&self.held);
            let (stamp, head) = match (self.at, begins) {
                (At::Words, _) => {
                    let end = memchr(b'\n', &self.held);
                    self.hear(end.map_or(self.held.len(), |end| end + 1));
                    end?;
                    self.at = At::Start;
                    continue;
                }
                (_, Begins::Unclear) => return None,
                (_, Begins::With(stamp, head)) => (stamp, head),
                (At::Start, Begins::Otherwise) => {
                    self.at = At::Words;
                    continue;
                }
                (At::Piece(stamp), Begins::Otherwise) => (stamp, 0),
            };
            let content = &self.held[head..];
            let unsearched = &content[self.searched..content.len().min(PIECE + 1)];
            let newline = memchr(b'\n', unsearched);
            let (length, next) = match newline {
                Some(place) => (self.searched + place + 1, At::Start),
                // A newline may be the next byte, so that one is waited for.
                None if content.len() > PIECE => (PIECE, At::Piece(stamp)),
                None => {
                    self.searched = content.len();
                    return None;
                }
            };
            self.searched = 0;
            self.at = next;
            self.held.advance(head);
            return Some(Item { stamp, content: self.held.split_to(length) });
        }
    }

    /// Whether nothing of the next piece has come.
    pub(super) fn is_between(&self) -> bool {
        self.held.is_empty()
    }

    /// What the kubelet said in between, if it said something.
    pub(super) fn words(&self) -> Option<String> {
        (!self.words.is_empty()).then(|| String::from_utf8_lossy(&self.words).trim().to_owned())
    }

    /// What stands behind the last whole piece at the end of a read: the end of the log if the container ended without
    /// a newline, and what a cut connection left of a piece if not. `ended`: the container did so before this time.
    ///
    /// Both outputs may have ended without a newline, and then a stamp stands in the middle. It is one if it is no
    /// earlier than the one before and no later than the container's end: who prints the time is earlier, if only
    /// by little, than the runtime that stamps it.
    pub(super) fn rest(&mut self, ended: Option<Stamp>) -> Vec<Item> {
        let mut items = Vec::new();
        let held = mem::take(&mut self.held);
        let (mut stamp, mut rest) = match (self.at, Stamp::at_start(&held)) {
            (At::Words, _) => (Stamp(0), Bytes::new()),
            (_, Begins::With(stamp, head)) => (stamp, held.slice(head..)),
            (At::Piece(stamp), Begins::Otherwise | Begins::Unclear)
                if !KUBELET.iter().any(|words| held.starts_with(words)) =>
            {
                (stamp, held)
            }
            (_, begins) => {
                if begins == Begins::Otherwise {
                    self.words.extend_from_slice(&held[..held.len().min(WORDS)]);
                }
                (Stamp(0), Bytes::new())
            }
        };
        let mut at = 1;
        while let Some(ended) = ended
            && at < rest.len()
        {
            match Stamp::at_start(&rest[at..]) {
                Begins::With(next, head) if stamp <= next && next <= ended => {
                    let content = rest.split_to(at);
                    items.push(Item { stamp: mem::replace(&mut stamp, next), content });
                    rest.advance(head);
                    at = 1;
                }
                _ => at += 1,
            }
        }
        if !rest.is_empty() {
            items.push(Item { stamp, content: rest });
        }
        items
    }

    fn hear(&mut self, length: usize) {
        let room = WORDS.saturating_sub(self.words.len());
        self.words.extend_from_slice(&self.held[..length.min(room)]);
        self.held.advance(length);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::runner::kubernetes::log::recorded::{Written, content, sent, written};
    use proptest::prelude::*;

    /// All that is decoded of `bytes`, which come in chunks of these sizes.
    pub(in super::super) fn decoded(bytes: &[u8], sizes: &[usize]) -> (Vec<Item>, Decoder) {
        let (mut decoder, mut items, mut rest) = (Decoder::default(), Vec::new(), bytes);
        for size in sizes.iter().cycle().take_while(|_| !bytes.is_empty()) {
            let (chunk, behind) = rest.split_at((*size).min(rest.len()));
            decoder.push(Bytes::copy_from_slice(chunk));
            items.extend(std::iter::from_fn(|| decoder.next()));
            assert!(decoder.held.len() <= 2 * PIECE + chunk.len());
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        (items, decoder)
    }

    fn joined(items: &[Item]) -> Vec<u8> {
        items.iter().flat_map(|item| item.content.to_vec()).collect()
    }

    /// So many, unless `PROPTEST_CASES` says more.
    fn at_least(cases: u32) -> ProptestConfig {
        let usual = ProptestConfig::default();
        ProptestConfig { cases: usual.cases.max(cases), ..usual }
    }

    proptest! {
        #![proptest_config(at_least(200))]

        /// Whatever an API server sends, nothing is read twice, and nothing that did not come.
        #[test]
        fn no_bytes_break_the_reader(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(b' ')], 0..300),
            stamps in prop::collection::vec(("[0-9]{4}-11-28T20:31:26.123456789Z ", 0usize..300), 0..4),
            sizes in prop::collection::vec(1usize..90, 1..20),
        ) {
            let mut bytes = bytes;
            for (stamp, at) in stamps {
                let at = at.min(bytes.len());
                bytes.splice(at..at, stamp.bytes());
            }
            let (mut items, mut decoder) = decoded(&bytes, &sizes);
            items.extend(decoder.rest(None));
            let mut rest = bytes.iter();
            prop_assert!(joined(&items).iter().all(|byte| rest.any(|one| one == byte)));
        }

        /// P4: any content, in any chunks.
        #[test]
        fn what_was_written_comes_out_whatever_it_is(
            pieces in written(0..40),
            sizes in prop::collection::vec(1usize..9_000, 1..20),
        ) {
            let bytes = sent(&pieces, i64::MIN);
            let (mut items, mut decoder) = decoded(&bytes, &sizes);
            prop_assert!(items.iter().all(|item| !item.content.is_empty()));
            prop_assert_eq!(decoder.words(), None);
            items.extend(decoder.rest(None));
            prop_assert!(joined(&items) == content(&pieces));
            let stamps = |items: &[Item]| items.iter().map(|item| (item.stamp, item.content.len())).collect::<Vec<_>>();
            let expected: Vec<_> = pieces.iter().map(|piece| (piece.stamp, piece.content.len())).collect();
            prop_assert_eq!(stamps(&items), expected);
        }

        /// A read that is cut gives whole pieces up to there.
        #[test]
        fn of_a_read_that_is_cut_whole_pieces_come_out(
            pieces in written(0..40),
            sizes in prop::collection::vec(1usize..9_000, 1..20),
            cut in 0.0..1.0,
        ) {
            let mut bytes = sent(&pieces, i64::MIN);
            bytes.truncate((bytes.len() as f64 * cut) as usize);
            let (items, _) = decoded(&bytes, &sizes);
            prop_assert!(content(&pieces).starts_with(&joined(&items)));
            for (item, piece) in items.iter().zip(&pieces) {
                prop_assert_eq!(&item.content, &piece.content);
            }
        }

        /// The kubelet's words are told from the program's, wherever they come.
        #[test]
        fn the_kubelets_own_words_are_left_out(
            pieces in written(0..20),
            sizes in prop::collection::vec(1usize..9_000, 1..20),
            newline: bool,
        ) {
            let words = "rpc error: code = Unavailable desc = connection error: connection refused";
            // Behind the end of an output without a newline nobody can tell them.
            prop_assume!(pieces.last().is_none_or(|last| last.content.ends_with(b"\n") || last.content.len() == PIECE));
            let mut bytes = sent(&pieces, i64::MIN);
            bytes.extend(words.bytes());
            bytes.extend(newline.then_some(b'\n'));
            let split = pieces.last().is_some_and(|last| !last.content.ends_with(b"\n"));
            let (mut items, mut decoder) = decoded(&bytes, &sizes);
            if split && newline {
                return Ok(()); // only unterminated words are told from the rest of a line without a stamp
            }
            items.extend(decoder.rest(None));
            prop_assert!(joined(&items) == content(&pieces));
            prop_assert_eq!(decoder.words(), Some(words.to_owned()));
        }
    }

    #[test]
    fn lines_at_the_limit_of_a_piece_are_whole() {
        for length in [PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 1 << 20] {
            let pieces = Written::line(Stamp(7), &vec![b'x'; length], true);
            let (items, _) = decoded(&sent(&pieces, 0), &[4_096]);
            assert_eq!(joined(&items).len(), length + 1, "{length}");
            assert_eq!(items.len(), length.div_ceil(PIECE), "{length}");
        }
    }

    #[test]
    fn a_line_that_a_runtime_keeps_whole_is_one_line_too() {
        let mut bytes = sent(&Written::line(Stamp(7), b"", true), 0);
        bytes.pop();
        bytes.extend(vec![b'x'; 50_000]);
        bytes.push(b'\n');
        let (items, _) = decoded(&bytes, &[1_000]);
        assert_eq!(joined(&items), [vec![b'x'; 50_000], b"\n".to_vec()].concat());
    }

    #[test]
    fn two_outputs_without_a_newline_are_told_apart_at_the_end_alone() {
        let second = |number: i64| Stamp(number * 1_000_000_000);
        let bare =
            |number, text| Written { stamp: second(number), content: Bytes::from_static(text) };
        let bytes = sent(&[bare(5, b"out"), bare(6, b"err")], 0);
        let texts = |ended| {
            let (_, mut decoder) = decoded(&bytes, &[7]);
            decoder.rest(ended).into_iter().map(|item| item.content).collect::<Vec<_>>()
        };
        assert_eq!(texts(Some(second(6))), ["out", "err"]);
        assert_eq!(texts(None).concat().len(), bytes.len() - 31, "without an end nothing is known");
        assert_eq!(texts(Some(second(5))).len(), 1, "a time in the future is the program's own");
    }
}
