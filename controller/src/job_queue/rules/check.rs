//! What holds of a view after each event: tests ask for it.

use super::{
    Span, View,
    lines::{LOOKS, Lines},
    pausing::Pausing,
};

/// At how many kinds of what is asked for this looks, or at what leads there.
pub(crate) fn looks<T>(decision: impl FnOnce() -> T) -> (usize, T) {
    let before = LOOKS.get();
    let decided = decision();
    (LOOKS.get() - before, decided)
}

impl View {
    /// Whether every execution is in exactly the one place where its record says that it is.
    pub(crate) fn check(&self) -> Result<(), String> {
        for (id, live) in &self.live {
            let record = &live.record;
            let queued = self.lines.has(&self.spot(record), *id);
            let pausing = self.is_pausing(record);
            let timed = live.due.is_none_or(|due| self.timers.contains(&(due, *id)));
            let newer = live.waits.as_ref().is_some_and(|waits| waits.newer.is_some());
            let held = record.attempt.held().is_some();
            let silent = record.waits_for.is_empty() && !newer;
            if newer != self.unwritten.contains(id) || !(held || silent) {
                return Err(format!("{record:?} waits for something, unwritten: {newer}"));
            }
            let seats = self.seats.iter().filter(|(_, seat)| seat.holds.contains(id));
            let seated: Vec<_> = seats.map(|(executor, _)| executor).collect();
            let right = match record.attempt.held() {
                Some(_) => !queued && seated == record.executor.iter().collect::<Vec<_>>(),
                None => queued != pausing && seated.is_empty(),
            };
            if !(right && timed) {
                return Err(format!("{record:?} is queued: {queued}, and seated at {seated:?}"));
            }
        }
        let kept = self.waiting() + self.leases() + self.pausing();
        let due = self.live.values().filter(|live| live.due.is_some()).count();
        let records = || self.newest_first(Span::default());
        let mut lines = Lines::default();
        for record in records().filter(|record| record.attempt.occupies()) {
            lines.count(record, false, true);
        }
        for record in records().filter(|record| self.lines.has(&self.spot(record), record.id)) {
            lines.enter(self.spot(record), record.id);
        }
        let mut paused = Pausing::default();
        records().filter(|record| self.is_pausing(record)).for_each(|record| paused.insert(record));
        if paused != self.pausing {
            return Err(format!("{:?} are paused, not {paused:?}", self.pausing));
        }
        if kept == self.live.len() && due == self.timers.len() && lines == self.lines.unpassed() {
            Ok(())
        } else {
            Err(format!(
                "{kept} are queued or seated and {due} are timed of {}, lines: {:?}",
                self.live.len(),
                self.lines
            ))
        }
    }
}
