//! Where one read of the API goes on behind another: what of it was taken already, and whether something is missing.

use super::{
    cursor::{Place, Taken},
    decode::Item,
};
use bytes::Buf;
use std::{mem, time::Duration};

/// Two rotations of a log are at least so far apart: the kubelet looks every 10 s.
pub(super) const ROTATIONS_APART: Duration = Duration::from_secs(9);

/// The most bytes that are held until it is known whether they were taken.
const MOST_HELD: usize = 256 << 10;

/// What comes of one piece of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// What was taken last is not in this read: it was rotated away. What follows is new.
    Rotated,
    /// The rest of the piece that was taken last.
    Rest(Item),
    /// A new piece.
    New(Item),
    /// Here were more new pieces than are held.
    Dropped,
}

/// The first pieces before the one that is looked for.
#[derive(Debug, Default)]
pub(super) struct Held {
    items: Vec<Item>,
    bytes: usize,
    /// There were more.
    is_cut: bool,
}

impl Held {
    fn hold(&mut self, item: Item) {
        self.is_cut |= self.bytes + item.content.len() > MOST_HELD;
        if !self.is_cut {
            self.bytes += item.content.len();
            self.items.push(item);
        }
    }

    /// All of them are new.
    fn see(self, mut see: impl FnMut(Seen)) {
        self.items.into_iter().for_each(|item| see(Seen::New(item)));
        if self.is_cut {
            see(Seen::Dropped);
        }
    }
}

/// Passes one read through.
#[derive(Debug)]
pub(super) enum Seam {
    /// What was taken last has not come yet. The first that came are held: they are new if it does not come.
    Looking { taken: Taken, left: u32, held: Held },
    /// The peak came; so many more were taken.
    Skipping { behind: u64, left: u32 },
    /// What begins here was found missing before.
    Gap(i64),
    /// All is new.
    Through,
}

impl Seam {
    /// For a read that goes on at `place`.
    pub(super) fn at(place: Place) -> Self {
        match place {
            Place::Start | Place::Over => Self::Through,
            Place::Behind { taken, left } => Self::Looking { taken, left, held: Held::default() },
            Place::Gap { until, .. } => Self::Gap(until.0),
        }
    }

    /// Whether what was taken last has not come, and nothing newer either.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Looking { .. } | Self::Gap(_))
    }

    /// Whether not all has come that is known to be there.
    pub(super) fn is_skipping(&self) -> bool {
        matches!(self, Self::Skipping { .. })
    }

    /// What comes of the next piece: often nothing, or itself.
    pub(super) fn pass(&mut self, item: Item, mut see: impl FnMut(Seen)) {
        match self {
            Self::Through => see(Seen::New(item)),
            Self::Looking { taken, left, .. } if taken.is_peak(&item) => {
                let (behind, left) = (taken.behind, *left);
                self.skipped(item, behind, left, see);
            }
            Self::Looking { taken, held, .. } if item.stamp < taken.peak => {
                // Where the peak is still there, much may stand before it, and all of that was taken.
                held.hold(item);
            }
            Self::Looking { held, .. } => {
                let held = mem::take(held);
                *self = Self::Through;
                see(Seen::Rotated);
                held.see(&mut see);
                see(Seen::New(item));
            }
            Self::Skipping { behind, left } => {
                let (behind, left) = (*behind - 1, *left);
                self.skipped(item, behind, left, see);
            }
            Self::Gap(until) => {
                if item.stamp.0 != *until {
                    see(Seen::Rotated);
                }
                *self = Self::Through;
                see(Seen::New(item));
            }
        }
    }

    /// The read is over, and nothing more will come behind it: what was held is new if the peak did not come.
    pub(super) fn finish(&mut self, mut see: impl FnMut(Seen)) {
        let held = match self {
            Self::Looking { held, .. } => mem::take(held),
            Self::Gap(_) => Held::default(),
            Self::Skipping { .. } | Self::Through => return,
        };
        *self = Self::Through;
        see(Seen::Rotated);
        held.see(see);
    }

    fn skipped(&mut self, mut item: Item, behind: u64, left: u32, mut see: impl FnMut(Seen)) {
        if behind > 0 {
            *self = Self::Skipping { behind, left };
            return;
        }
        *self = Self::Through;
        let left = usize::try_from(left).unwrap_or(usize::MAX).min(item.content.len());
        if left > 0 {
            item.content.advance(item.content.len() - left);
            see(Seen::Rest(item));
        }
    }
}

/// What is known where a read does not contain what was taken last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rotation {
    /// The read before was listening, at the end of its file, until this one was opened.
    pub(super) drained: bool,
    /// From the stamp of what was taken last to that of the first that is there now; none: nothing is.
    pub(super) between: Option<Duration>,
    /// From the opening of the read before to that of this one.
    pub(super) unseen: Duration,
    /// The read before was of a file that was empty, and nothing was missing before that.
    pub(super) clear: bool,
}

impl Rotation {
    /// Whether something may be missing. A listener gets all of the file that it listens to, also when that is rotated
    /// away, and nothing of the next file. So nothing is missing if there was one rotation since, and no more:
    /// that is certain if there was no time for two. An empty file is not rotated.
    pub(super) fn is_lossy(self) -> bool {
        let at_once = |time: Duration| time < ROTATIONS_APART;
        !self.drained || !(self.clear || at_once(self.unseen) || self.between.is_some_and(at_once))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::kubernetes::log::{
        cursor::Cursor,
        decode::tests::decoded,
        recorded::{content, sent, written},
    };
    use proptest::prelude::*;

    /// What a read gives that goes on at `cursor`, and how often it was rotated.
    fn resume(cursor: &mut Cursor, bytes: &[u8], most: usize) -> (Vec<u8>, usize) {
        let mut seam = Seam::at(cursor.place);
        let (mut taken, mut rotated) = (Vec::new(), 0);
        let (mut items, mut decoder) = decoded(bytes, &[997]);
        items.extend(decoder.rest(None));
        for item in items {
            seam.pass(item, |seen| {
                if taken.len() >= most {
                    return;
                }
                let content = match seen {
                    Seen::Rotated => {
                        rotated += 1;
                        return;
                    }
                    Seen::Dropped => return,
                    Seen::Rest(item) => item.content,
                    Seen::New(item) => {
                        cursor.place = cursor.place.behind(&item);
                        item.content
                    }
                };
                let length = content.len().min(most - taken.len());
                taken.extend_from_slice(&content[..length]);
                if let Place::Behind { left, .. } = &mut cursor.place {
                    *left = (content.len() - length) as u32;
                }
            });
        }
        (taken, rotated)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// P4: wherever a read is left, inside a piece as well, the next one goes on there, through a cursor's bytes, with
        /// stamps that are equal or out of order.
        #[test]
        fn any_cut_and_resume_gives_each_byte_once(
            pieces in written(0..60),
            parts in prop::collection::vec(1usize..20_000, 1..12),
        ) {
            let (mut cursor, mut taken) = (Cursor::START, Vec::new());
            for most in parts.into_iter().chain([usize::MAX]) {
                cursor = Cursor::from_bytes(&cursor.to_bytes()).unwrap();
                let since = cursor.place.since().map_or(i64::MIN, |since| since);
                let (bytes, rotated) = resume(&mut cursor, &sent(&pieces, since), most);
                prop_assert_eq!(rotated, 0);
                taken.extend(bytes);
                prop_assert!(content(&pieces).starts_with(&taken));
            }
            prop_assert!(taken == content(&pieces));
        }

        /// Of a file from which what was taken last is rotated away all is taken, and that is said.
        #[test]
        fn behind_a_rotation_all_is_new_and_that_is_known(
            pieces in written(2..40),
            share in 0.0..1.0,
        ) {
            let whole = content(&pieces);
            let first = ((pieces.len() - 1) as f64 * share) as usize;
            let (old, new) = pieces.split_at(first + 1);
            // Two pieces with the same bytes in the same nanosecond are one to us.
            prop_assume!(!new.iter().any(|piece| old.contains(piece)));
            let mut cursor = Cursor::START;
            resume(&mut cursor, &sent(old, i64::MIN), usize::MAX);
            let since = cursor.place.since().unwrap();
            let (taken, rotated) = resume(&mut cursor, &sent(new, since), usize::MAX);
            let latest = old.iter().map(|piece| piece.stamp).max();
            // Where all stamps are earlier, that they are new is known only at the end of the read.
            if new.iter().any(|piece| Some(piece.stamp) >= latest) {
                prop_assert!(rotated == 1);
                prop_assert!(whole.ends_with(&taken) && taken == content(new));
            } else {
                prop_assert!(taken.is_empty());
            }
        }
    }

    #[test]
    fn what_may_be_missing_is_told_from_what_cannot() {
        let short = Duration::from_secs(2);
        let long = Duration::from_secs(40);
        let at = |drained, between, unseen, clear| Rotation { drained, between, unseen, clear };
        for (rotation, lossy, why) in [
            (at(true, Some(short), long, false), false, "no time for two between the two stamps"),
            (at(true, Some(long), short, false), false, "quiet, and looked at meanwhile"),
            (at(true, None, short, false), false, "nothing written since"),
            (at(true, Some(long), long, true), false, "the file was empty the last time"),
            (at(true, Some(long), long, false), true, "there was time for two"),
            (at(true, None, long, false), true, "there was time for two, and the last is empty"),
            (at(false, Some(short), short, false), true, "nobody listened"),
            (
                at(false, Some(short), short, true),
                true,
                "nobody listened to what was an empty file",
            ),
        ] {
            assert_eq!(rotation.is_lossy(), lossy, "{why}");
        }
    }
}
