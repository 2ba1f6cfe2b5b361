//! What attempts wait for until their programs run, and why those that run are not seen, as their holders say.
//!
//! People are shown the newest at once. It is written with every other change of its record, and else about once a second
//! at the most: a thousand attempts whose words change all the time cost the store a thousand small writes a second.

use super::{
    super::{
        attempt::State,
        record::{Change, Record},
    },
    Live, Moment, Reported, Verdict, View,
};
use octavius_protocol::id::ExecutionId;
use std::time::Duration;

/// How often what one attempt waits for is written at the most.
const SELDOM: Duration = Duration::from_secs(1);

/// What is known of what an attempt waits for, besides its record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Waits {
    /// When the record got its words, by the monotonic clock.
    written: Duration,
    /// Newer words; none: the record has the newest.
    pub(super) newer: Option<String>,
}

impl Live {
    /// Takes words into the record.
    fn write(&mut self, waits_for: String, now: Moment) -> Change {
        self.record.waits_for = waits_for;
        self.waits = Some(Box::new(Waits { written: now.elapsed, newer: None }));
        Change::Live(Box::new(self.record.clone()))
    }
}

impl View {
    /// The newest that is known of what an execution waits for; empty: nothing.
    pub fn waits_for<'a>(&'a self, record: &'a Record) -> &'a str {
        let live = self.live.get(&record.id).filter(|live| live.record.number == record.number);
        let newer = live.and_then(|live| live.waits.as_ref()?.newer.as_deref());
        newer.unwrap_or(&record.waits_for)
    }

    /// Takes what its holder says that it waits for. What was said before its program ran, and is heard later, means
    /// nothing.
    pub(super) fn waits(&mut self, id: ExecutionId, waits_for: String, now: Moment) -> Reported {
        let Some(record) = self.live(id) else { return Reported::AskHistory };
        let changes = match record.attempt.starts() {
            true => self.said(id, waits_for, now),
            false => Vec::new(),
        };
        Reported::Verdict(changes, Verdict::Recorded)
    }

    /// Takes why it is not known whether what runs still does; empty: it is known.
    pub(super) fn unseen(&mut self, id: ExecutionId, why: String, now: Moment) -> Vec<Change> {
        let runs = |record: &Record| matches!(record.attempt.state, State::Running(_));
        if self.live(id).is_some_and(runs) { self.said(id, why, now) } else { Vec::new() }
    }

    /// Takes words of what has not ended: what is to be written now.
    fn said(&mut self, id: ExecutionId, words: String, now: Moment) -> Vec<Change> {
        let mut changes = Vec::new();
        let live = self.live.get_mut(&id).filter(|live| live.record.attempt.ending.is_none());
        let Some(live) = live else { return changes };
        let is_news = live.record.waits_for != words;
        match &mut live.waits {
            Some(waits) if !is_news || now.elapsed < waits.written + SELDOM => {
                waits.newer = is_news.then_some(words);
            }
            Some(_) | None if is_news => changes.push(live.write(words, now)),
            Some(_) | None => {}
        }
        match live.waits.as_ref().is_some_and(|waits| waits.newer.is_some()) {
            true => self.unwritten.insert(id),
            false => self.unwritten.remove(&id),
        };
        changes
    }

    /// Writes what was said too soon after what was said before.
    pub(super) fn write_words(&mut self, now: Moment) -> Vec<Change> {
        let mut changes = Vec::new();
        let live = &mut self.live;
        self.unwritten.retain(|id| {
            let Some(live) = live.get_mut(id) else { return false };
            let Some(waits) = live.waits.as_mut() else { return false };
            if now.elapsed < waits.written + SELDOM {
                return true;
            }
            let newer = waits.newer.take();
            changes.extend(newer.map(|waits_for| live.write(waits_for, now)));
            false
        });
        changes
    }
}
