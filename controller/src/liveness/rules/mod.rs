//! What liveness decides: plain functions over [`Executors`], without I/O, clocks or actors.
//!
//! Times are since the actor's start, by a clock that never goes backwards. Silence is counted from that start, from the
//! last sign of life, or from when signs of life could be heard again, whichever is latest: a controller that was away
//! does not hold its own silence against anybody.

mod register;
mod silence;
#[cfg(test)]
mod tests;

pub use register::{RegisterRefused, Registered, Registration};
pub use silence::{Silence, Silent};

use super::record::{Drained, ExecutorRecord};
use octavius_protocol::id::{ExecutorId, Session};
use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    time::Duration,
};

/// The bounds and waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LivenessLimits {
    /// The most executors.
    pub executors: usize,
    /// Silence for so long ends new work.
    pub ping_deadline: Duration,
    /// Silence for so long ends attempts.
    pub lost_after: Duration,
}

/// Whether an executor is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExecutorState {
    /// Heard within the ping deadline.
    Ready,
    /// Silent for longer than the ping deadline: gets no work; what it runs is not touched.
    Expired,
    /// Silent for so long that its attempts end as lost.
    Lost,
    /// Not heard since this controller started, and not for long.
    Unknown,
}

impl ExecutorState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ready, Self::Expired, Self::Lost, Self::Unknown];

    /// The state as a metric's label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Expired => "expired",
            Self::Lost => "lost",
            Self::Unknown => "unknown",
        }
    }
}

/// The session is none of this controller's, or an older one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("session {0} is not open: register again")]
pub struct SessionUnknown(pub Session);

/// Why an executor is not to be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotForgotten {
    /// There is none of that id.
    Unknown,
    /// It is there.
    Heard,
}

/// What whoever gave a sign of life is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// How many executors are known.
    pub executors: usize,
    /// Whether this one gets no new work because somebody said so.
    pub is_drained: bool,
}

/// An executor as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// As it registered.
    pub record: ExecutorRecord,
    /// Whether it is heard.
    pub state: ExecutorState,
    /// How long ago it was heard; none: not since this controller started.
    pub silent_for: Option<Duration>,
    /// What it could not see when it was heard, in words; empty: it saw all.
    pub unseen: String,
}

/// One executor, and what is known of it only here.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    record: ExecutorRecord,
    /// When it was last heard; none: not since the start.
    heard: Option<Duration>,
    /// What it said then that it cannot see.
    unseen: String,
    /// What the queue was told of its silence.
    told: Option<Silence>,
}

/// Who lives.
#[derive(Clone, Debug)]
pub struct Executors {
    limits: LivenessLimits,
    installation: String,
    known: BTreeMap<ExecutorId, Known>,
    sessions: HashMap<Session, ExecutorId>,
    last_session: Session,
    /// Until then nobody could be heard.
    deaf_until: Duration,
}

impl Executors {
    /// The executors of the store. None is heard yet, and each has its full time from now on.
    pub fn load(
        limits: LivenessLimits,
        installation: String,
        records: Vec<ExecutorRecord>,
        last_session: Session,
    ) -> Self {
        let newest = records.iter().map(|record| record.session).max().unwrap_or_default();
        let sessions = records.iter().map(|record| (record.session, record.id.clone())).collect();
        let known = records.into_iter().map(|record| {
            (record.id.clone(), Known { record, heard: None, unseen: String::new(), told: None })
        });
        Self {
            limits,
            installation,
            known: known.collect(),
            sessions,
            last_session: last_session.max(newest),
            deaf_until: Duration::ZERO,
        }
    }

    /// Until now nobody could be heard, whatever they said: silence is counted from here.
    pub fn deaf(&mut self, now: Duration) {
        self.deaf_until = now;
    }

    /// Takes a sign of life. With the id if the queue had been told that this executor is silent.
    pub fn heard(
        &mut self,
        session: Session,
        now: Duration,
    ) -> Result<Option<&ExecutorId>, SessionUnknown> {
        let executor = self.sessions.get(&session).ok_or(SessionUnknown(session))?;
        let known = self.known.get_mut(executor).ok_or(SessionUnknown(session))?;
        known.heard = Some(now);
        Ok(known.told.take().map(|_| &known.record.id))
    }

    /// What whoever gave a sign of life is told.
    pub fn standing(&self, session: Session) -> Standing {
        let executor = self.sessions.get(&session).and_then(|executor| self.known.get(executor));
        let is_drained = executor.is_some_and(|known| known.record.drained.is_some());
        Standing { executors: self.known.len(), is_drained }
    }

    /// Ends new work for an executor, or begins it again where nobody wants that any more. Its record, to be stored before
    /// anybody hears of it; none: there is no such executor.
    pub fn drain(
        &mut self,
        executor: &ExecutorId,
        drained: Option<Drained>,
    ) -> Option<ExecutorRecord> {
        let record = &mut self.known.get_mut(executor)?.record;
        record.drained = match drained {
            // Who said so first is who can be asked why.
            Some(drained) => record.drained.take().or(Some(drained)),
            None => None,
        };
        Some(record.clone())
    }

    /// One executor.
    pub fn one(&self, executor: &ExecutorId, now: Duration) -> Option<Seen> {
        self.known.get(executor).map(|known| self.seen(known, now))
    }

    /// The executor of a session said what it cannot see; empty: it sees all.
    pub fn sees(&mut self, session: Session, unseen: String) {
        let executor = self.sessions.get(&session);
        if let Some(known) = executor.and_then(|executor| self.known.get_mut(executor)) {
            known.unseen = unseen;
        }
    }

    /// Up to `most` executors behind `after`, in the order of their ids, and whether there are more.
    pub fn page(
        &self,
        after: Option<&ExecutorId>,
        most: usize,
        now: Duration,
    ) -> (Vec<Seen>, bool) {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.known.range::<ExecutorId, _>((start, Bound::Unbounded));
        let page: Vec<Seen> =
            rest.by_ref().take(most).map(|(_, known)| self.seen(known, now)).collect();
        (page, rest.next().is_some())
    }

    /// How many executors are known.
    pub fn known(&self) -> usize {
        self.known.len()
    }

    /// The number of the newest session; later ones have higher ones.
    pub fn last_session(&self) -> Session {
        self.last_session
    }

    /// How many executors are in each state.
    pub fn count(&self, now: Duration) -> [(ExecutorState, usize); 4] {
        let mut counts = ExecutorState::ALL.map(|state| (state, 0));
        for known in self.known.values() {
            let state = self.state(known, now);
            for (counted, count) in &mut counts {
                *count += usize::from(*counted == state);
            }
        }
        counts
    }

    /// The session of an executor that is not heard, and may be forgotten; none: there is no such executor, or it is heard.
    pub fn forgettable(
        &self,
        executor: &ExecutorId,
        now: Duration,
    ) -> Result<Session, NotForgotten> {
        let known = self.known.get(executor).ok_or(NotForgotten::Unknown)?;
        match self.state(known, now) {
            ExecutorState::Ready => Err(NotForgotten::Heard),
            ExecutorState::Expired | ExecutorState::Lost | ExecutorState::Unknown => {
                Ok(known.record.session)
            }
        }
    }

    /// An executor is forgotten, if it is still in that session.
    pub fn forget(&mut self, executor: &ExecutorId, session: Session) {
        if self.known.get(executor).is_some_and(|known| known.record.session == session) {
            self.known.remove(executor);
            self.sessions.remove(&session);
        }
    }

    /// How many get no new work because somebody said so, whatever their state.
    pub fn drained(&self) -> usize {
        self.known.values().filter(|known| known.record.drained.is_some()).count()
    }

    fn seen(&self, known: &Known, now: Duration) -> Seen {
        Seen {
            record: known.record.clone(),
            state: self.state(known, now),
            silent_for: known.heard.map(|heard| now.saturating_sub(heard)),
            unseen: known.unseen.clone(),
        }
    }

    fn state(&self, known: &Known, now: Duration) -> ExecutorState {
        let silent = now.saturating_sub(known.heard.unwrap_or_default().max(self.deaf_until));
        if silent > self.limits.lost_after {
            ExecutorState::Lost
        } else if silent > self.limits.ping_deadline {
            ExecutorState::Expired
        } else if known.heard.is_none() {
            ExecutorState::Unknown
        } else {
            ExecutorState::Ready
        }
    }
}
