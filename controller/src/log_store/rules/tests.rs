//! The promise about logs (P4) as properties: whatever is appended, lost, stored and asked in whatever order, the log
//! at the end is what the executor wrote.

use super::*;
use proptest::{collection::vec, prelude::*};

/// Small, so that a few hundred bytes meet all of them.
fn limits() -> LogLimits {
    LogLimits { segment: 100, waiting: 1500, ..LogLimits::default() }
}

#[derive(Clone, Debug)]
enum Step {
    /// The executor sends `length` bytes from somewhere around where the log is, in chunks of `chunk` bytes.
    Append { from: From, length: usize, chunk: usize },
    /// A flush begins, if one is due; `hurry` makes it due.
    Flush { hurry: bool },
    /// The flush under way ends.
    Flushed { well: bool },
    /// Memory is lost. A flush under way may have reached the index, or not.
    Crash { landed: bool },
    /// Time goes by, in seconds.
    Wait(u64),
    /// Somebody asks to seal it, with a size that is so much too large and maybe a wrong checksum.
    Seal { more: u64, wrong: bool },
    /// Somebody gives up waiting for it.
    Cut,
}

#[derive(Clone, Debug)]
enum From {
    Next,
    Durable,
    Behind(u64),
    Ahead(u64),
    Zero,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let from = prop_oneof![
        6 => Just(From::Next),
        2 => Just(From::Durable),
        2 => (1..150u64).prop_map(From::Behind),
        1 => (1..50u64).prop_map(From::Ahead),
        1 => Just(From::Zero),
    ];
    let append = (from, 0..180usize, 1..60usize);
    let append = append.prop_map(|(from, length, chunk)| Step::Append { from, length, chunk });
    let step = prop_oneof![
        40 => append,
        25 => any::<bool>().prop_map(|hurry| Step::Flush { hurry }),
        25 => prop::bool::weighted(0.8).prop_map(|well| Step::Flushed { well }),
        4 => any::<bool>().prop_map(|landed| Step::Crash { landed }),
        8 => (0..20u64).prop_map(Step::Wait),
        2 => (0..2u64, any::<bool>()).prop_map(|(more, wrong)| Step::Seal { more, wrong }),
        1 => Just(Step::Cut),
    ];
    vec(step, 0..80)
}

/// A log, the index below it, and the executor that writes it.
struct World {
    wrote: Vec<u8>,
    log: Log,
    index: Vec<Flush>,
    end: Option<End>,
    flush: Option<Flush>,
    now: Duration,
    acknowledged: u64,
    cut: bool,
}

impl World {
    fn new(wrote: Vec<u8>) -> Self {
        Self {
            wrote,
            log: Log::default(),
            index: Vec::new(),
            end: None,
            flush: None,
            now: Duration::ZERO,
            acknowledged: 0,
            cut: false,
        }
    }

    fn append(&mut self, from: &From, length: usize, chunk: usize) -> Result<(), TestCaseError> {
        let next = self.log.next().offset;
        let offset = match from {
            From::Next => next,
            From::Durable => self.log.durable().offset,
            From::Behind(back) => next.saturating_sub(*back),
            From::Ahead(more) => next + more,
            From::Zero => 0,
        };
        let start = (offset as usize).min(self.wrote.len());
        let end = (start + length).min(self.wrote.len());
        let chunks = self.wrote[start..end].chunks(chunk);
        let observed_at = Timestamp::from_millisecond(self.now.as_millis() as i64).unwrap();
        let chunks: Vec<_> =
            chunks.map(|data| Chunk { observed_at, data: Bytes::copy_from_slice(data) }).collect();
        let weight = self.log.weight();
        let taken =
            self.log.append(offset, chunks, cursor(end as u64), self.now, usize::MAX, &limits());
        match taken {
            Err(Full { waiting }) => prop_assert!(waiting > 0 && self.log.next().offset == next),
            Ok(()) if offset > next => prop_assert_eq!(self.log.next().offset, next),
            Ok(()) => {}
        }
        let now = self.log.weight();
        prop_assert!(weight == 0 || now == weight || now <= limits().waiting, "{now} wait");
        Ok(())
    }

    fn commit(&mut self, flush: Flush) {
        self.end = flush.end.clone().or(self.end.take());
        if !flush.chunks.is_empty() {
            self.index.push(flush);
        }
    }

    fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Append { from, length, chunk } => self.append(from, *length, *chunk)?,
            Step::Flush { hurry } => {
                let something = self.log.weight() > 0 || self.log.closing.is_some();
                if something && self.log.flush_is_due(self.now, *hurry, &limits()) {
                    prop_assert!(self.flush.is_none(), "two flushes of one log at once");
                    self.flush = Some(self.log.begin_flush(&limits()));
                }
            }
            Step::Flushed { well } => match self.flush.take() {
                Some(flush) if *well => {
                    self.commit(flush);
                    self.log.flushed(None, &limits());
                }
                Some(_) => self.log.not_flushed(self.now, 1.0),
                None => {}
            },
            Step::Crash { landed } => {
                if let Some(flush) = self.flush.take().filter(|_| *landed) {
                    self.commit(flush);
                }
                let durable = self.index.last().map(|last| last.until.clone()).unwrap_or_default();
                let closed = self.end.clone();
                self.log = Log::stored(Stored { durable, closed, ..Stored::default() });
            }
            Step::Wait(seconds) => self.now += Duration::from_secs(*seconds),
            Step::Seal { more, wrong } => {
                let (size, crc) = (self.wrote.len() as u64 + more, crc_after(0, &self.wrote));
                let crc = if *wrong { !crc } else { crc };
                let whole = *more == 0 && !wrong && self.log.next().offset == size;
                let closing = self.log.closing.is_some();
                match self.log.seal(size, crc, "") {
                    None => prop_assert!(whole || closing),
                    Some(Sealed::Whole) => prop_assert!(whole && self.log.is_closed()),
                    Some(Sealed::Missing { .. } | Sealed::Different { .. }) => {
                        prop_assert!(!whole || self.log.is_closed() && self.cut);
                    }
                }
            }
            Step::Cut => {
                self.cut = self.log.cut("given up").is_none() || self.cut;
            }
        }
        self.holds()
    }

    /// What is so after each step.
    fn holds(&mut self) -> Result<(), TestCaseError> {
        let Point { offset, crc, cursor: seen } = self.log.durable().clone();
        prop_assert!(
            offset >= self.acknowledged,
            "{offset} was acknowledged as {}",
            self.acknowledged
        );
        self.acknowledged = offset;
        prop_assert_eq!(crc, crc_after(0, &self.wrote[..offset as usize]));
        let mine = if offset == 0 { Bytes::new() } else { cursor(offset) };
        prop_assert_eq!(seen, mine, "the cursor is not that of {}", offset);
        let stored = self.index.last().map_or(0, |last| last.until.offset);
        prop_assert!(offset <= stored, "{offset} is acknowledged, and the index ends at {stored}");
        let next = self.log.next().offset;
        for at in (offset..=next).step_by(3).chain([next]) {
            match self.log.tail(at, 7) {
                Tail::Bytes(chunk) => {
                    let end = at as usize + chunk.data.len();
                    prop_assert!(at < next && (1..=7).contains(&chunk.data.len()));
                    prop_assert_eq!(&chunk.data[..], &self.wrote[at as usize..end]);
                }
                Tail::CaughtUp => prop_assert!(at == next && !self.log.is_closed()),
                Tail::End(info) => prop_assert!(at == next && info == self.log.info()),
                other => prop_assert!(false, "{other:?} at {at} of {offset} to {next}"),
            }
        }
        prop_assert_eq!(self.log.tail(next + 1, 7), Tail::Beyond(next));
        prop_assert!(offset == 0 || self.log.tail(offset - 1, 7) == Tail::Durable);
        Ok(())
    }

    /// The executor sends what is missing, and the log is sealed.
    fn finish(&mut self) -> Result<(), TestCaseError> {
        let (size, crc) = (self.wrote.len() as u64, crc_after(0, &self.wrote));
        for _ in 0..1000 {
            self.take(&Step::Append { from: From::Next, length: 90, chunk: 30 })?;
            self.take(&Step::Wait(60))?;
            self.take(&Step::Flush { hurry: false })?;
            self.take(&Step::Flushed { well: true })?;
            match self.log.seal(size, crc, "") {
                Some(Sealed::Missing { next }) => prop_assert_eq!(next, self.log.next().offset),
                None => {}
                Some(Sealed::Whole) => return Ok(()),
                Some(Sealed::Different { .. }) => {
                    prop_assert!(self.cut && self.log.is_closed());
                    return Ok(());
                }
            }
        }
        Err(TestCaseError::fail("the log never closed"))
    }

    fn stored(&self) -> Result<Vec<u8>, TestCaseError> {
        let mut all = Vec::new();
        for placed in self.index.iter().flat_map(|segment| &segment.chunks) {
            prop_assert_eq!(placed.offset, all.len() as u64, "a gap, or bytes twice");
            prop_assert!(!placed.chunk.data.is_empty(), "a chunk without bytes");
            all.extend_from_slice(&placed.chunk.data);
        }
        Ok(all)
    }
}

/// The cursor that the executor sends with the bytes up to `offset`.
fn cursor(offset: u64) -> Bytes {
    Bytes::copy_from_slice(&offset.to_le_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn the_log_at_the_end_is_what_the_executor_wrote(
        size in 0..1500usize,
        steps in steps(),
    ) {
        let mut world = World::new((0..size).map(|at| (at * 31 + at / 251) as u8).collect());
        for step in &steps {
            world.take(step)?;
        }
        world.finish()?;
        let (stored, end) = (world.stored()?, world.end.clone());
        let end = end.expect("a closed log has an end in the index");
        prop_assert_eq!(end.size, stored.len() as u64);
        prop_assert_eq!(end.crc, crc_after(0, &stored));
        prop_assert_eq!(&stored[..], &world.wrote[..stored.len()]);
        prop_assert!(stored.len() == world.wrote.len() || world.cut);
        prop_assert_eq!(world.log.is_closed(), true);
        prop_assert_eq!(world.log.weight(), 0);
    }

    #[test]
    fn a_checksum_goes_on_where_it_stopped(data: Vec<u8>, at: prop::sample::Index) {
        let at = at.index(data.len() + 1);
        prop_assert_eq!(crc_after(crc_after(0, &data[..at]), &data[at..]), CRC.checksum(&data));
    }
}

#[test]
fn the_checksum_is_crc_64_xz() {
    assert_eq!(crc_after(0, b""), 0);
    assert_eq!(crc_after(0, b"123456789"), 0x995d_c9bb_df19_39fa);
}

fn log_with(bytes: usize, first_at: i64, last_at: i64) -> Log {
    let time = |at| Some(Timestamp::from_second(at).unwrap());
    let mut log = Log::stored(Stored {
        first_at: time(first_at),
        last_at: time(last_at),
        ..Stored::default()
    });
    let observed_at = Timestamp::from_second(last_at).unwrap();
    let chunk = Chunk { observed_at, data: vec![0; bytes].into() };
    let room = usize::MAX;
    log.append(0, vec![chunk], Bytes::new(), Duration::ZERO, room, &LogLimits::default()).unwrap();
    log
}

#[test]
fn bytes_are_stored_after_ten_seconds_or_sixty_or_one_mebibyte() {
    let limits = LogLimits::default();
    let due = |log: &Log, after: u64| log.flush_is_due(Duration::from_secs(after), false, &limits);
    let young = log_with(1, 1000, 1600);
    assert!(!due(&young, 9) && due(&young, 10));
    let old = log_with(1, 1000, 1601);
    assert!(!due(&old, 59) && due(&old, 60));
    assert!(due(&log_with(1 << 20, 1000, 1000), 0));
    assert!(!due(&log_with((1 << 20) - 1, 1000, 1000), 0));
    assert!(young.flush_is_due(Duration::ZERO, true, &limits), "in a hurry");
    let mut sealed = log_with(1, 1000, 1000);
    sealed.cut("");
    assert!(due(&sealed, 0));
    assert!(!Log::default().flush_is_due(Duration::from_secs(1000), true, &limits));
}

#[test]
fn a_failed_flush_waits_longer_each_time_and_begins_anew_after_a_good_one() {
    let limits = LogLimits::default();
    let mut log = log_with(1 << 20, 0, 0);
    let mut now = Duration::ZERO;
    for pause in [200, 400, 800] {
        log.begin_flush(&limits);
        log.not_flushed(now, 1.0);
        let pause = Duration::from_millis(pause);
        assert!(!log.flush_is_due(now + pause - Duration::from_millis(1), true, &limits));
        now += pause;
        assert!(log.flush_is_due(now, false, &limits));
    }
    log.begin_flush(&limits);
    log.flushed(None, &limits);
    assert_eq!((log.failures, log.durable().offset), (0, 1 << 20));
}

#[test]
fn a_log_does_not_wait_out_its_pause_once_what_failed_works_again() {
    let limits = LogLimits::default();
    let mut log = log_with(1 << 20, 0, 0);
    let now = Duration::from_secs(100);
    for _ in 0..9 {
        log.begin_flush(&limits);
        log.not_flushed(now, 1.0);
    }
    assert!(!log.flush_is_due(now + Duration::from_secs(29), true, &limits));
    log.may_try_again();
    assert!(log.flush_is_due(now, false, &limits));
    log.begin_flush(&limits);
    log.not_flushed(now, 1.0);
    assert!(!log.flush_is_due(now + Duration::from_secs(29), true, &limits), "it failed so often");
}

#[test]
fn a_log_leaves_memory_when_nothing_of_it_is_there_alone() {
    let limits = LogLimits::default();
    let (start, idle) = (Duration::ZERO, Duration::from_secs(15 * 60));
    assert!(Log::default().may_leave(idle, start, &limits));
    assert!(!Log::default().may_leave(idle, Duration::from_secs(1), &limits));
    let mut log = log_with(1, 0, 0);
    assert!(!log.may_leave(idle, start, &limits), "a byte waits");
    log.begin_flush(&limits);
    log.flushed(None, &limits);
    log.cut("");
    assert!(!log.may_leave(idle, start, &limits), "its end waits");
    log.begin_flush(&limits);
    assert!(!log.may_leave(idle, start, &limits), "its end is on its way");
    log.flushed(None, &limits);
    assert!(log.may_leave(Duration::from_secs(5), start, &limits));
}

#[test]
fn what_all_logs_may_hold_bounds_each() {
    let limits = LogLimits::default();
    let chunk = Chunk { observed_at: Timestamp::UNIX_EPOCH, data: Bytes::from_static(&[0; 100]) };
    let mut log = Log::default();
    let now = Duration::ZERO;
    let refused = log.append(0, vec![chunk.clone()], Bytes::new(), now, 163, &limits);
    assert_eq!(refused, Err(Full { waiting: 0 }));
    assert_eq!(log.append(0, vec![chunk], Bytes::new(), now, 164, &limits), Ok(()));
}

#[test]
fn closing_twice_is_once() {
    let limits = LogLimits::default();
    let mut log = log_with(3, 0, 0);
    let crc = crc_after(0, &[0; 3]);
    assert_eq!(log.seal(4, crc, ""), Some(Sealed::Missing { next: 3 }));
    assert_eq!(log.seal(2, crc, ""), Some(Sealed::Different { crc }));
    assert_eq!(log.seal(3, !crc, ""), Some(Sealed::Different { crc }));
    assert_eq!(log.seal(3, crc, "the middle"), None);
    assert_eq!(log.cut("too late"), None, "it is being closed");
    let more = Chunk { observed_at: Timestamp::UNIX_EPOCH, data: Bytes::from_static(b"more") };
    log.append(3, vec![more], Bytes::new(), Duration::ZERO, usize::MAX, &limits).unwrap();
    assert_eq!(log.next().offset, 3, "nothing is taken while it is being closed");
    let end = End { size: 3, crc, cut: "the middle".to_owned(), left_out: None };
    assert_eq!(log.begin_flush(&limits).end, Some(end));
    log.flushed(None, &limits);
    assert_eq!(log.seal(3, crc, ""), Some(Sealed::Whole));
    assert_eq!(log.seal(9, crc, ""), Some(Sealed::Different { crc }));
    let info = LogInfo { size: 3, closed: true, cut: "the middle".to_owned() };
    assert_eq!(log.cut("again"), Some(info));
}

#[test]
fn what_was_closed_before_it_was_whole_takes_the_rest_and_its_end_moves_with_what_is_stored() {
    let limits = LogLimits { segment: 4, ..LogLimits::default() };
    let (mut log, all) = (log_with(3, 0, 0), crc_after(0, &[0; 9]));
    let add = |log: &mut Log, offset, length| {
        let data = Bytes::from(vec![0; length]);
        let chunk = Chunk { observed_at: Timestamp::UNIX_EPOCH, data };
        let cursor = Bytes::from_static(b"here");
        log.extend(offset, vec![chunk], cursor, Duration::ZERO, usize::MAX, &limits).unwrap();
    };
    let end = |size: usize, cut: &str| {
        let crc = crc_after(0, &vec![0; size]);
        End { size: size as u64, crc, cut: cut.to_owned(), left_out: None }
    };
    add(&mut log, 3, 3);
    assert_eq!(log.next().offset, 3, "it is open: nothing is missing at its end");
    assert_eq!(log.complete(3, end(3, "").crc, ""), Some(None), "it has no end to be moved");
    log.cut("its executor was lost");
    while log.flush_is_due(Duration::ZERO, true, &limits) {
        log.begin_flush(&limits);
        log.flushed(None, &limits);
    }
    add(&mut log, 4, 3);
    assert_eq!(log.next().offset, 3, "a gap is not taken");
    add(&mut log, 3, 3);
    add(&mut log, 6, 3);
    assert!(log.is_closed() && log.may_be_extended() && !log.is_at_rest());
    let stale = end(3, "its executor was lost").info();
    assert_eq!(log.info(), stale, "what is not stored is not told");
    assert_eq!((log.tail(3, 9), log.tail(4, 9)), (Tail::End(stale), Tail::Beyond(3)));
    let flush = log.begin_flush(&limits);
    assert_eq!((flush.until.offset, flush.end), (6, Some(end(6, "its executor was lost"))));
    log.flushed(None, &limits);
    assert_eq!(log.info(), end(6, "its executor was lost").info());

    assert_eq!(log.complete(10, all, ""), Some(Some(Sealed::Missing { next: 9 })));
    assert_eq!(log.complete(9, !all, ""), Some(Some(Sealed::Different { crc: all })));
    assert_eq!(log.complete(9, all, ""), None);
    assert!(log.is_closed() && !log.is_settled());
    add(&mut log, 9, 3);
    assert_eq!(log.next().offset, 9, "nothing is taken while it is being closed");
    assert_eq!(log.begin_flush(&limits).end, Some(end(9, "")));
    log.not_flushed(Duration::ZERO, 1.0);
    log.may_try_again();
    assert_eq!(log.begin_flush(&limits).end, Some(end(9, "")), "it is tried again as it was");
    log.flushed(None, &limits);
    assert_eq!((log.is_settled(), log.info()), (true, end(9, "").info()));
    assert_eq!(log.complete(9, all, ""), Some(Some(Sealed::Whole)), "it may be said again");
    assert_eq!(log.complete(10, all, ""), Some(Some(Sealed::Different { crc: all })));
    add(&mut log, 9, 3);
    assert_eq!(log.next().offset, 9, "it is whole: nothing more is taken");
}
