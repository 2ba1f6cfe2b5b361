//! Whether a read went on, by itself, from one file of a log into the next.
//!
//! A kubelet that notices the rotation while its reader waits for more (always from Kubernetes 1.29 on, before that only
//! if it is late) opens the next file at once, and passes over what came into the old one meanwhile. The read shows
//! nothing of that, and nobody can have those bytes any more. So it is looked now and then with which stamp the newest
//! file begins: a read that has pieces from before that stamp, and from behind it, went through a change of files. A look is
//! a call for each log, so it is taken where much came, or after a while.

use super::{seam::ROTATIONS_APART, stamp::Stamp};
use std::time::Duration;
use tokio::time::Instant;

/// How often it is looked while the log grows fast: between two such looks there is at most one rotation.
const EVERY: Duration = Duration::from_secs(5);

/// How often it is looked while it grows slowly.
const SELDOM: Duration = Duration::from_secs(60);

/// So many bytes between two looks are fast: a tenth of what is rotated at by default.
const MUCH: usize = 1 << 20;

/// A file of less is not rotated, in bytes.
const SMALL: usize = 64 << 10;

/// The most stamps that are remembered. With more, every other one goes, and every other one is not taken.
const MOST_MARKS: usize = 4_096;

/// A read went through a change of files: what was written between these two may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Passage {
    /// Some of the last that is there from before.
    pub(super) from: Stamp,
    /// The first of the new file.
    pub(super) to: Stamp,
}

/// What is remembered of the reads of one log.
#[derive(Debug, Default)]
pub(super) struct Passed {
    /// The first piece of this read, taken before or not.
    first: Option<Stamp>,
    latest: Option<Stamp>,
    /// Stamps since the last look, in the order of the read.
    marks: Vec<Stamp>,
    /// One in so many is taken, less one, and so many were left out since the last.
    sparse: usize,
    left_out: usize,
    /// Bytes that came so far, and since the last look.
    came: usize,
    unlooked: usize,
    looked: Option<Instant>,
    tried: Option<Instant>,
    /// The beginning of the file into which a read was last known to have gone on.
    told: Option<Stamp>,
}

impl Passed {
    /// Another read begins.
    pub(super) fn opened(&mut self) {
        (self.first, self.latest) = (None, None);
        self.marks.clear();
    }

    /// Pieces came, with so many bytes if there were new ones, the first and the last with these stamps.
    pub(super) fn saw(&mut self, first: Stamp, last: Stamp, bytes: usize) {
        self.first.get_or_insert(first);
        self.latest = self.latest.max(Some(last));
        if self.left_out < self.sparse {
            self.left_out += 1;
        } else {
            self.marks.extend([first, last]);
            self.left_out = 0;
        }
        if self.marks.len() > MOST_MARKS {
            self.sparse = 2 * self.sparse + 1;
            let mut keep = false;
            self.marks.retain(|_| {
                keep = !keep;
                keep
            });
        }
        self.came = self.came.saturating_add(bytes);
        self.unlooked = self.unlooked.saturating_add(bytes);
    }

    /// Whether it is time to look.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let every = if self.unlooked >= MUCH { EVERY } else { SELDOM };
        let late = self.tried.is_none_or(|tried| now.duration_since(tried) >= every);
        self.is_unlooked() && late
    }

    /// Whether there is something to look for before another read begins.
    pub(super) fn is_unlooked(&self) -> bool {
        self.came >= SMALL && self.unlooked > 0
    }

    /// The newest file begins with this stamp; none: that was not to be had.
    pub(super) fn looked(&mut self, newest: Option<Stamp>, now: Instant) -> Option<Passage> {
        self.tried = Some(now);
        let newest = newest?;
        let before = self.looked.replace(now);
        let came = std::mem::take(&mut self.unlooked);
        let passed = self.first.is_some_and(|first| first < newest)
            && self.latest.is_some_and(|latest| latest >= newest)
            && self.told != Some(newest);
        let last_before = self.marks.iter().rev().find(|mark| **mark < newest).copied();
        // With time and bytes for two rotations, when the first was is not known, but that it was behind the last look.
        let at_once = before.is_some_and(|before| now.duration_since(before) < ROTATIONS_APART);
        let once = at_once || (before.is_some() && came < SMALL);
        let from = if once { last_before } else { self.marks.first().copied() }.or(self.first);
        if let Some(last) = self.marks.last().copied() {
            self.marks = vec![last];
            self.sparse = 0;
        }
        if !passed {
            return None;
        }
        self.told = Some(newest);
        from.map(|from| Passage { from, to: newest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(stamps: &[i64]) -> Passed {
        let mut passed = Passed::default();
        passed.looked(Some(Stamp(0)), Instant::now());
        passed.opened();
        stamps.iter().for_each(|stamp| passed.saw(Stamp(*stamp), Stamp(*stamp), SMALL));
        passed
    }

    #[test]
    fn a_read_with_pieces_of_two_files_went_through_a_change() {
        let now = Instant::now();
        for (stamps, newest, expected) in [
            (&[10, 20, 30][..], 10, None),
            (&[20, 30], 10, None), // the beginning of the file was not asked for
            (&[10, 20, 30], 40, None), // it still reads the old file
            (&[10, 20, 30], 30, Some((20, 30))),
            (&[10, 20, 30], 25, Some((20, 25))),
            (&[], 10, None),
        ] {
            let passage = passed(stamps).looked(Some(Stamp(newest)), now);
            let expected = expected.map(|(from, to)| Passage { from: Stamp(from), to: Stamp(to) });
            assert_eq!(passage, expected, "{stamps:?} {newest}");
        }
    }

    #[test]
    fn it_is_told_once_also_where_the_next_file_is_seen_before_its_bytes() {
        let mut passed = passed(&[10, 20]);
        let now = Instant::now();
        assert_eq!(passed.looked(Some(Stamp(25)), now), None);
        passed.saw(Stamp(25), Stamp(30), 1);
        let passage = Passage { from: Stamp(20), to: Stamp(25) };
        assert_eq!(passed.looked(Some(Stamp(25)), now), Some(passage));
        passed.saw(Stamp(31), Stamp(35), 1);
        assert_eq!(passed.looked(Some(Stamp(25)), now), None);
    }

    #[test]
    fn what_is_small_is_not_looked_at_and_what_is_quiet_is_not_looked_at_again() {
        let (mut passed, now) = (Passed::default(), Instant::now());
        passed.saw(Stamp(1), Stamp(1), SMALL - 1);
        assert!(!passed.is_due(now) && !passed.is_unlooked());
        passed.saw(Stamp(1), Stamp(1), 1);
        assert!(passed.is_due(now));
        passed.looked(Some(Stamp(1)), now);
        assert!(!passed.is_due(now + SELDOM) && !passed.is_unlooked());
        passed.saw(Stamp(1), Stamp(1), 0);
        assert!(!passed.is_unlooked(), "what was sent again is looked for");
        passed.saw(Stamp(2), Stamp(2), 1);
        assert!(!passed.is_due(now + EVERY) && passed.is_due(now + SELDOM));
        passed.saw(Stamp(3), Stamp(3), MUCH);
        assert!(!passed.is_due(now) && passed.is_due(now + EVERY));
    }

    /// How often it is looked in an hour, at so many bytes each second.
    fn looks(rate: usize) -> usize {
        let (mut passed, mut now, mut looks) = (Passed::default(), Instant::now(), 0);
        for second in 0..3_600 {
            passed.saw(Stamp(second), Stamp(second), rate);
            now += Duration::from_secs(1);
            if passed.is_due(now) {
                passed.looked(Some(Stamp(0)), now);
                looks += 1;
            }
        }
        looks
    }

    #[test]
    fn a_log_costs_looks_only_where_files_may_be_changed() {
        assert_eq!(looks(10), 0, "36 KB");
        assert!((45..=60).contains(&looks(100)), "{}", looks(100));
        assert!((50..=60).contains(&looks(10_000)), "{}", looks(10_000));
        assert!((700..=720).contains(&looks(1_000_000)), "{}", looks(1_000_000));
    }

    #[test]
    fn what_was_lost_is_behind_the_last_look_however_long_that_is_ago() {
        for (bytes, from) in [(1, 30), (SMALL, 20)] {
            let (mut passed, now) = (passed(&[10, 20]), Instant::now());
            assert_eq!(passed.looked(Some(Stamp(5)), now), None);
            for stamp in [25, 30, 40] {
                passed.saw(Stamp(stamp), Stamp(stamp), bytes);
            }
            let passage = passed.looked(Some(Stamp(35)), now + SELDOM);
            assert_eq!(passage, Some(Passage { from: Stamp(from), to: Stamp(35) }), "{bytes}");
        }
    }

    #[test]
    fn no_more_stamps_are_remembered_than_a_bound() {
        let mut passed = Passed::default();
        (0..100_000).for_each(|stamp| passed.saw(Stamp(stamp), Stamp(stamp), SMALL));
        assert!((MOST_MARKS / 4..=MOST_MARKS).contains(&passed.marks.len()));
        passed.looked = Some(Instant::now());
        let passage = passed.looked(Some(Stamp(50_000)), Instant::now()).unwrap();
        assert!((49_000..50_000).contains(&passage.from.0), "{passage:?}");
    }
}
