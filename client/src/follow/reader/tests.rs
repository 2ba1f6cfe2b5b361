use super::*;
use proptest::prelude::*;

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

#[test]
fn shown_bytes_that_come_again_are_passed_over() {
    let mut reader = Reader::new(0);
    assert_eq!(reader.take(0, bytes("one\n"), true).show, "one\n");
    assert_eq!(reader.take(4, bytes("two\n"), false).show, "two\n");
    assert_eq!(reader.resume_at(), 4);
    let again = reader.take(4, bytes("two\nthree\n"), true);
    assert_eq!((again.offset, again.show.as_ref()), (8, "three\n".as_bytes()));
    assert_eq!((again.changed_from, again.missing_from), (None, None));
    assert_eq!(reader.resume_at(), 14);
}

#[test]
fn bytes_that_became_others_are_shown_again_with_a_notice() {
    let mut reader = Reader::new(0);
    reader.take(0, bytes("sure;"), true);
    reader.take(5, bytes("maybe this"), false);
    let now = reader.take(5, bytes("maybe that"), true);
    assert_eq!(now.changed_from, Some(13));
    assert_eq!((now.offset, now.show.as_ref()), (13, "at".as_bytes()));
    assert_eq!(reader.shown(), 15);
}

#[test]
fn a_hole_is_named() {
    let mut reader = Reader::new(0);
    reader.take(0, bytes("head"), true);
    let tail = reader.take(100, bytes("tail"), true);
    assert_eq!((tail.missing_from, tail.offset), (Some(4), 100));
    assert_eq!(tail.show, "tail");
}

#[test]
fn a_log_that_ends_below_what_was_shown_is_noticed() {
    let mut reader = Reader::new(0);
    reader.take(0, bytes("ab"), false);
    assert!(reader.ends_below(1));
    assert!(!reader.ends_below(2));
}

#[test]
fn what_is_kept_to_compare_has_a_bound() {
    let mut reader = Reader { most_kept: 4, ..Reader::new(0) };
    reader.take(0, bytes("abcdefgh"), false);
    assert_eq!(reader.kept.as_ref(), b"efgh");
    // Only the last four can be seen to differ.
    assert_eq!(reader.take(0, bytes("xxxxefgh"), false), Taken { offset: 8, ..Taken::default() });
    assert_eq!(reader.take(0, bytes("abcdefgX"), true).changed_from, Some(7));
}

/// A connection: where its chunks are cut, how many come before it breaks, and which are durable.
#[derive(Clone, Debug)]
struct Connection {
    lengths: Vec<(usize, bool)>,
}

fn connection() -> impl Strategy<Value = Connection> {
    prop::collection::vec((1..9_usize, any::<bool>()), 0..6)
        .prop_map(|lengths| Connection { lengths })
}

proptest! {
    #[test]
    fn every_byte_is_shown_once_and_in_order_over_any_cuts(
        log in prop::collection::vec(any::<u8>(), 0..60),
        start in 0..20_usize,
        cuts in prop::collection::vec(connection(), 0..6),
    ) {
        let log = Bytes::from(log);
        let start = start.min(log.len());
        let mut reader = Reader::new(start as u64);
        let mut shown = Vec::new();
        let last = Connection { lengths: vec![(log.len().max(1), true)] };
        for connection in cuts.iter().chain([&last]) {
            let mut place = reader.resume_at() as usize;
            for &(length, durable) in &connection.lengths {
                let end = (place + length).min(log.len());
                let taken = reader.take(place as u64, log.slice(place..end), durable);
                prop_assert_eq!((taken.changed_from, taken.missing_from), (None, None));
                prop_assert_eq!(taken.offset as usize, start + shown.len());
                shown.extend_from_slice(&taken.show);
                place = end;
            }
            prop_assert!(reader.resume_at() <= reader.shown());
        }
        prop_assert_eq!(shown.as_slice(), &log[start..]);
    }

    #[test]
    fn after_any_crash_what_was_kept_of_the_output_is_the_log(
        durable in prop::collection::vec(0..3_u8, 0..20),
        lost in prop::collection::vec(0..3_u8, 0..20),
        instead in prop::collection::vec(0..3_u8, 0..40),
        length in 1..9_usize,
    ) {
        // What a reader has who takes each notice to heart.
        let mut output: Vec<u8> = Vec::new();
        let mut reader = Reader::new(0);
        let mut feed = |reader: &mut Reader, from: usize, log: &[u8], is_durable: bool| {
            let mut place = from;
            for piece in log.chunks(length) {
                let taken = reader.take(place as u64, Bytes::copy_from_slice(piece), is_durable);
                if let Some(from) = taken.changed_from {
                    output.truncate(from as usize);
                }
                output.extend_from_slice(&taken.show);
                place += piece.len();
            }
            output.clone()
        };
        feed(&mut reader, 0, &durable, true);
        feed(&mut reader, durable.len(), &lost, false);
        let resumed = reader.resume_at() as usize;
        prop_assert_eq!(resumed, durable.len());
        let mut output = feed(&mut reader, resumed, &instead, true);
        let log = [durable.as_slice(), &instead].concat();
        if reader.ends_below(log.len() as u64) {
            output.truncate(log.len());
        }
        prop_assert_eq!(output, log);
    }
}
