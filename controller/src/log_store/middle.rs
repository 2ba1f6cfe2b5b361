//! What is left out of a log that grows beyond its limit: whole segments of its middle.
//!
//! The first half of the limit and the last half are kept, each up to a seam between two segments, so that a little more
//! is kept than the limit says. Offsets go on counting the whole log. There is one gap, which only grows, at its end.

use super::index::{Place, SegmentEntry};

/// Which bytes of a log are kept nowhere, and by which limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// The place of the first one.
    pub(super) from: u64,
    /// The place behind the last one.
    pub(super) to: u64,
    /// The limit in bytes.
    pub(super) limit: u64,
}

impl LeftOut {
    pub(super) fn size(&self) -> u64 {
        self.to.saturating_sub(self.from)
    }

    /// Why they are not kept, for people.
    pub(super) fn reason(&self) -> String {
        reason(self.limit)
    }

    /// Why the log is not whole, for people.
    pub(super) fn cut(&self) -> String {
        let Self { from, .. } = self;
        format!("{} bytes are left out, from byte {from} on: {}", self.size(), self.reason())
    }
}

/// Why bytes are left out, for people.
pub(super) fn reason(limit: u64) -> String {
    format!(
        "the log grew beyond the {limit} bytes of `log_limit` in the controller's configuration"
    )
}

/// Which segments go when the log is durable up to some place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Thinning {
    /// Where the gap begins.
    pub(super) from: u64,
    /// Where the first segment behind the gap begins; where the head ends, if there is no gap yet.
    pub(super) at: u64,
    /// Segments that end here or before go.
    pub(super) before: u64,
    /// The limit in bytes.
    pub(super) limit: u64,
}

impl Thinning {
    /// What is to go once the log is durable up to `until`; none if all of it may stay. `head`: where the kept beginning
    /// ends, once it is that long.
    pub(super) fn wanted(
        head: Option<u64>,
        left_out: Option<LeftOut>,
        until: u64,
        limit: u64,
    ) -> Option<Self> {
        let from = left_out.map(|gap| gap.from).or(head)?;
        let at = left_out.map_or(from, |gap| gap.to);
        let before = until.saturating_sub(limit - limit / 2);
        (before > at).then_some(Self { from, at, before, limit })
    }

    /// How many of the segments behind the gap go, and the gap that stands for them then, with what was there before.
    /// `segments` begin at `at`, in order.
    pub(super) fn gap(&self, segments: &[SegmentEntry]) -> (usize, Option<SegmentEntry>) {
        let mut at = self.at;
        let goes = |segment: &&SegmentEntry| {
            let goes = segment.offset == at && segment.end() <= self.before;
            at = segment.end();
            goes
        };
        let count = segments.iter().take_while(goes).count();
        let gap =
            count.checked_sub(1).and_then(|last| segments.get(last)).map(|last| SegmentEntry {
                offset: self.from,
                size: last.end().saturating_sub(self.from),
                crc: last.crc,
                cursor: last.cursor.clone(),
                first_at: segments.first().map_or(last.first_at, |first| first.first_at),
                last_at: last.last_at,
                place: Some(Place::LeftOut(self.limit)),
            });
        (count, gap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::{collection::vec, prelude::*};

    fn segment(offset: u64, size: u64) -> SegmentEntry {
        let place = Some(Place::Inline(Bytes::new()));
        let cursor = Bytes::from(format!("{}", offset + size));
        let crc = offset + size;
        SegmentEntry { offset, size, crc, cursor, first_at: 0, last_at: 0, place }
    }

    proptest! {
        /// P4 and P6: whatever the segments are, the beginning and the end are kept, the rest is one gap that is
        /// counted, and no more is kept than the limit and a segment at each seam.
        #[test]
        fn the_head_and_the_tail_are_kept_and_one_gap_is_between(
            sizes in vec(1..50u64, 0..120),
            limit in 2..400u64,
            a_page in 1..6usize,
        ) {
            let mut kept: Vec<SegmentEntry> = Vec::new();
            let (mut head, mut left_out, mut until) = (None, None::<LeftOut>, 0);
            for size in sizes {
                let new = segment(until, size);
                until = new.end();
                kept.push(new);
                while let Some(thinning) = Thinning::wanted(head, left_out, until, limit) {
                    let first = kept.iter().position(|one| one.offset == thinning.at).unwrap();
                    let page = &kept[first..(first + a_page).min(kept.len())];
                    let (count, gap) = thinning.gap(page);
                    let Some(gap) = gap else { break };
                    prop_assert_eq!((gap.crc, gap.end()), (gap.end(), page[count - 1].end()));
                    left_out = Some(LeftOut { from: gap.offset, to: gap.end(), limit });
                    kept.drain(first..first + count);
                    kept.retain(|one| one.offset != gap.offset);
                    let place = kept.partition_point(|one| one.offset < gap.offset);
                    kept.insert(place, gap);
                }
                if head.is_none() && until >= limit / 2 {
                    head = Some(until);
                }
                // One gap, no hole beside it.
                let gaps: Vec<_> =
                    kept.iter().filter(|one| matches!(one.place, Some(Place::LeftOut(_)))).collect();
                prop_assert!(gaps.len() <= 1);
                let mut at = 0;
                for one in &kept {
                    prop_assert_eq!(one.offset, at);
                    at = one.end();
                }
                prop_assert_eq!(at, until);
                let missing = left_out.map_or(0, |gap| gap.size());
                prop_assert_eq!(missing, gaps.first().map_or(0, |gap| gap.size));
                prop_assert!(until - missing <= limit + 2 * 50, "{} are kept", until - missing);
                if let Some(gap) = left_out {
                    prop_assert!(gap.from >= limit / 2, "the head is {}", gap.from);
                    prop_assert!(until - gap.to >= limit - limit / 2, "the tail is {}", until - gap.to);
                }
            }
            prop_assert!(until > limit || left_out.is_none(), "what fits is whole");
        }
    }

    #[test]
    fn the_words_name_the_number_and_the_key() {
        let cut = LeftOut { from: 10, to: 27, limit: 64 }.cut();
        assert!(cut.starts_with("17 bytes are left out, from byte 10 on"), "{cut}");
        assert!(cut.contains("64 bytes of `log_limit`"), "{cut}");
    }
}
