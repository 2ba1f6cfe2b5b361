use super::*;
use proptest::prelude::*;

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

#[test]
fn shown_bytes_that_come_again_are_passed_over() {
    let mut reader = Reader::new(0);
    assert_eq!(reader.take(0, bytes("one\n"), 4).show, "one\n");
    assert_eq!(reader.take(4, bytes("two\n"), 4).show, "two\n");
    assert_eq!(reader.resume_at(), 4);
    let again = reader.take(4, bytes("two\nthree\n"), 14);
    assert_eq!((again.offset, again.show.as_ref()), (8, "three\n".as_bytes()));
    assert_eq!((again.changed_from, again.missing_from), (None, None));
    assert_eq!(reader.resume_at(), 14);
}

#[test]
fn bytes_that_became_others_are_shown_again_with_a_notice() {
    let mut reader = Reader::new(0);
    reader.take(0, bytes("sure;"), 5);
    reader.take(5, bytes("maybe this"), 5);
    let now = reader.take(5, bytes("maybe that"), 15);
    assert_eq!(now.changed_from, Some(13));
    assert_eq!((now.offset, now.show.as_ref()), (13, "at".as_bytes()));
    assert_eq!(reader.shown(), 15);
}

#[test]
fn a_hole_is_named() {
    let mut reader = Reader::new(0);
    reader.take(0, bytes("head"), 4);
    let tail = reader.take(100, bytes("tail"), 104);
    assert_eq!((tail.missing_from, tail.offset), (Some(4), 100));
    assert_eq!(tail.show, "tail");
}

#[test]
fn what_is_left_out_is_named_once_and_not_where_it_was_shown() {
    let mut reader = Reader::new(0);
    reader.take(0, bytes("head"), 4);
    assert_eq!(reader.pass(100), Some(4));
    assert_eq!((reader.resume_at(), reader.pass(100)), (100, None));
    assert_eq!(reader.take(100, bytes("tail, live"), 100).missing_from, None);
    // After a cut: what was shown live is a part of the gap by now, and so is more.
    assert_eq!(reader.pass(108), None);
    assert_eq!((reader.resume_at(), reader.shown()), (108, 110));
    assert_eq!(reader.take(108, bytes("ve."), 111).show, ".");
    assert_eq!(reader.pass(200), Some(111));
}

#[test]
fn a_log_that_ends_below_what_was_shown_is_noticed() {
    let mut reader = Reader::new(0);
    reader.take(0, bytes("ab"), 0);
    assert!(reader.ends_below(1));
    assert!(!reader.ends_below(2));
}

#[test]
fn what_is_kept_to_compare_has_a_bound() {
    let mut reader = Reader { most_kept: 4, ..Reader::new(0) };
    reader.take(0, bytes("abcdefgh"), 0);
    assert_eq!(reader.kept.as_ref(), b"efgh");
    // Only the last four can be seen to differ.
    assert_eq!(reader.take(0, bytes("xxxxefgh"), 0), Taken { offset: 8, ..Taken::default() });
    assert_eq!(reader.take(0, bytes("abcdefgX"), 8).changed_from, Some(7));
}

#[test]
fn a_live_follower_resumes_where_the_log_was_last_known_to_be_durable() {
    let mut reader = Reader::new(0);
    reader.take(0, bytes("one\n"), 0);
    reader.take(4, bytes("two\n"), 0);
    assert_eq!((reader.resume_at(), reader.kept.as_ref()), (0, &b"one\ntwo\n"[..]));
    // Each chunk is provisional, and tells what became of those before it.
    reader.take(8, bytes("three\n"), 4);
    assert_eq!((reader.resume_at(), reader.kept.as_ref()), (4, &b"two\nthree\n"[..]));
    reader.take(14, bytes("four\n"), 14);
    assert_eq!((reader.resume_at(), reader.kept.as_ref()), (14, &b"four\n"[..]));
}

#[test]
fn what_is_durable_behind_a_chunk_is_not_taken_for_what_was_shown_there() {
    let mut reader = Reader::new(0);
    reader.take(0, bytes("maybe this"), 0);
    // After a crash the log is another one, and durable further than this connection came.
    reader.take(0, bytes("maybe"), 10);
    assert_eq!(reader.resume_at(), 5);
    assert_eq!(reader.take(5, bytes(" that"), 10).changed_from, Some(8));
    assert_eq!(reader.resume_at(), 10);
}

/// A connection: how long its chunks are, and how many bytes each says to be durable: of all that there are by then,
/// in hundredths.
#[derive(Clone, Debug)]
struct Connection {
    chunks: Vec<(usize, usize)>,
}

fn connection() -> impl Strategy<Value = Connection> {
    prop::collection::vec((1..9_usize, 0..=100_usize), 0..6)
        .prop_map(|chunks| Connection { chunks })
}

/// What somebody has on paper who takes each notice to heart.
#[derive(Default)]
struct Paper {
    text: Vec<u8>,
    corrections: usize,
}

impl Paper {
    /// Reads over one connection from where the reader resumes. `known` is what is durable of `log`, and only grows.
    fn read(
        &mut self,
        reader: &mut Reader,
        log: &[u8],
        connection: &Connection,
        known: &mut usize,
    ) {
        let mut place = reader.resume_at() as usize;
        for &(length, hundredths) in &connection.chunks {
            let end = (place + length).min(log.len());
            *known = (*known).max(log.len() * hundredths / 100);
            let data = Bytes::copy_from_slice(&log[place..end]);
            let taken = reader.take(place as u64, data, *known as u64);
            assert_eq!(taken.missing_from, None);
            if let Some(from) = taken.changed_from {
                self.text.truncate(from as usize);
                self.corrections += 1;
            }
            assert_eq!(taken.offset as usize, self.text.len());
            self.text.extend_from_slice(&taken.show);
            let resume = reader.resume_at();
            assert!(resume >= end.min(*known) as u64, "reads again what it has for certain");
            assert!(resume <= reader.shown());
            place = end;
        }
    }
}

/// A connection that lasts to the end of any log.
fn whole(log: &[u8]) -> Connection {
    Connection { chunks: vec![(log.len() + 1, 100)] }
}

proptest! {
    #[test]
    fn every_byte_is_shown_once_and_in_order_over_any_cuts(
        log in prop::collection::vec(any::<u8>(), 0..60),
        start in 0..20_usize,
        cuts in prop::collection::vec(connection(), 0..6),
    ) {
        let start = start.min(log.len());
        let mut reader = Reader::new(start as u64);
        let mut paper = Paper { text: log[..start].to_vec(), corrections: 0 };
        let mut known = 0;
        for connection in cuts.iter().chain([&whole(&log)]) {
            paper.read(&mut reader, &log, connection, &mut known);
        }
        prop_assert_eq!(paper.corrections, 0);
        prop_assert_eq!(paper.text, log);
    }

    #[test]
    fn after_any_crash_what_was_kept_of_the_output_is_the_log(
        durable in prop::collection::vec(0..3_u8, 0..20),
        lost in prop::collection::vec(0..3_u8, 0..20),
        instead in prop::collection::vec(0..3_u8, 0..40),
        before in prop::collection::vec(connection(), 1..4),
        after in prop::collection::vec(connection(), 0..4),
    ) {
        let (mut paper, mut reader) = (Paper::default(), Reader::new(0));
        let first = [durable.as_slice(), &lost].concat();
        for connection in &before {
            // No more becomes durable before the crash than what is there after it.
            let share = |hundredths: usize| hundredths * durable.len() / first.len().max(1);
            let chunks = connection.chunks.iter();
            let chunks = chunks.map(|&(length, hundredths)| (length, share(hundredths))).collect();
            paper.read(&mut reader, &first, &Connection { chunks }, &mut 0);
        }
        prop_assert!(reader.resume_at() as usize <= durable.len());
        let log = [durable.as_slice(), &instead].concat();
        let mut known = durable.len();
        for connection in after.iter().chain([&whole(&log)]) {
            paper.read(&mut reader, &log, connection, &mut known);
        }
        let mut text = paper.text;
        if reader.ends_below(log.len() as u64) {
            text.truncate(log.len());
        }
        prop_assert_eq!(text, log);
    }
}
