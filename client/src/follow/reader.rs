//! What a reader of a log has seen, and what of a new chunk it has not: rules without a connection.
//!
//! Bytes are *durable* or provisional, and become durable while others come. A log is taken up again behind the last
//! byte that is known to be durable, so provisional bytes that were shown come again; they are compared and passed over.
//! After a crash of the controller they may have become others, or have never been: then the reader is told where, and is
//! shown what holds now.

use bytes::{Buf, Bytes, BytesMut};

/// The most provisional bytes that are kept to be compared. What is older is passed over unseen.
const KEPT: usize = 8 << 20;

/// How far one reader is.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    /// Everything before survives a crash: the place to resume at.
    durable: u64,
    /// Everything before was shown.
    shown: u64,
    /// The last bytes that were shown and are not known to be durable, up to `shown`.
    kept: BytesMut,
    most_kept: usize,
}

/// What a chunk comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// Bytes that were shown from here on have become others: the ones to show replace them.
    pub(super) changed_from: Option<u64>,
    /// Bytes are missing from here to the first one to show.
    pub(super) missing_from: Option<u64>,
    /// The place of the first byte to show.
    pub(super) offset: u64,
    /// What is to be shown now; often nothing after a cut.
    pub(super) show: Bytes,
}

impl Reader {
    pub(super) fn new(offset: u64) -> Self {
        Self { durable: offset, shown: offset, kept: BytesMut::new(), most_kept: KEPT }
    }

    /// Where to resume.
    pub(super) fn resume_at(&self) -> u64 {
        self.durable
    }

    /// How far was shown.
    pub(super) fn shown(&self) -> u64 {
        self.shown
    }

    /// Takes a chunk that begins at `offset`, which came with the word that everything before `durable` survives a crash.
    pub(super) fn take(&mut self, offset: u64, data: Bytes, durable: u64) -> Taken {
        let end = offset + data.len() as u64;
        let mut taken = Taken::default();
        let fresh = self.compare(offset, data, &mut taken);
        if offset > self.shown {
            taken.missing_from = Some(self.shown);
            self.kept.clear();
            self.shown = offset;
        }
        // Both sides of what was compared are gone; what is left begins where the shown bytes end.
        taken.offset = self.shown;
        self.shown += fresh.len() as u64;
        self.keep(&fresh);
        // What was shown behind this chunk is not compared yet with what is durable there now.
        self.settle(durable.min(end));
        taken.show = fresh;
        taken
    }

    /// What is before `to` is not kept: the first byte of it that was not shown, if there is one.
    pub(super) fn pass(&mut self, to: u64) -> Option<u64> {
        let from = self.shown;
        if from < to {
            self.kept.clear();
            self.shown = to;
        }
        self.settle(to);
        (from < to).then_some(from)
    }

    /// Everything before `durable` was shown as it is: it need not come again, nor be kept.
    fn settle(&mut self, durable: u64) {
        self.durable = self.durable.max(durable);
        let kept_from = self.shown - self.kept.len() as u64;
        let settled = self.durable.saturating_sub(kept_from).min(self.kept.len() as u64);
        self.kept.advance(usize::try_from(settled).unwrap_or(self.kept.len()));
    }

    /// Passes over the part of a chunk that was shown, if it is still the same, and returns the rest.
    fn compare(&mut self, offset: u64, mut data: Bytes, taken: &mut Taken) -> Bytes {
        let kept_from = self.shown - self.kept.len() as u64;
        let known = usize::try_from(self.shown.saturating_sub(offset)).unwrap_or(usize::MAX);
        let known = known.min(data.len());
        let unseen = usize::try_from(kept_from.saturating_sub(offset)).unwrap_or(usize::MAX);
        let unseen = unseen.min(known);
        data.advance(unseen);
        let from = offset + unseen as u64;
        let compared = known - unseen;
        if compared > 0 {
            let start = usize::try_from(from - kept_from).unwrap_or(0);
            let before = &self.kept[start..start + compared];
            let same = before.iter().zip(&data[..compared]).take_while(|(a, b)| a == b).count();
            data.advance(same);
            if same < compared {
                // Nothing that was shown behind the first difference is worth comparing with.
                self.kept.truncate(start + same);
                self.shown = from + same as u64;
                taken.changed_from = Some(self.shown);
            }
        }
        data
    }

    fn keep(&mut self, fresh: &[u8]) {
        self.kept.extend_from_slice(fresh);
        let surplus = self.kept.len().saturating_sub(self.most_kept);
        self.kept.advance(surplus);
    }

    /// The log ends at `size`: whether more was shown than there is.
    pub(super) fn ends_below(&self, size: u64) -> bool {
        size < self.shown
    }
}

#[cfg(test)]
mod tests;
