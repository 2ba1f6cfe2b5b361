//! Who gets a session: one process of one place at a time.

use super::{
    super::record::{Drained, ExecutorRecord},
    ExecutorState, Executors, Known,
};
use crate::job_queue::{rules::RunnerKind, terms::ExecutorTerms};
use jiff::Timestamp;
use octavius_protocol::{
    LEVEL,
    id::{ExecutorId, Session},
};
use std::{collections::BTreeMap, time::Duration};
use uuid::Uuid;

/// How many processes that were taken over from are remembered.
const MOST_REPLACED: usize = 8;

/// What an executor says of itself when it asks for a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Its id.
    pub executor: ExecutorId,
    /// Where it runs: the id of its state folder.
    pub place: Uuid,
    /// This process.
    pub instance: Uuid,
    /// Its version, for people.
    pub version: String,
    /// The level of the protocol that it speaks.
    pub protocol_level: u32,
    /// What it runs.
    pub runner: RunnerKind,
    /// For the placement of jobs.
    pub labels: BTreeMap<String, String>,
    /// How many attempts it takes at once.
    pub capacity: usize,
    /// What it adds to the terms of what it runs.
    pub offer: ExecutorTerms,
    /// The installation that it belonged to so far; empty: none.
    pub installation: String,
}

impl Registration {
    fn into_record(
        self,
        session: Session,
        registered_at: Timestamp,
        replaced: Vec<Uuid>,
        drained: Option<Drained>,
    ) -> ExecutorRecord {
        ExecutorRecord {
            id: self.executor,
            place: self.place,
            instance: self.instance,
            session,
            runner: self.runner,
            capacity: self.capacity,
            labels: self.labels,
            offer: self.offer,
            version: self.version,
            registered_at,
            replaced,
            drained,
        }
    }
}

/// A session that was given, to be stored before anybody hears of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The executor with its session.
    pub record: ExecutorRecord,
    /// Whether the session is new, and an older one ended with it if there was one.
    pub opened: bool,
}

/// Why no session was given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterRefused {
    /// It speaks another protocol.
    #[error(
        "executor {executor} speaks protocol level {theirs} and this controller level {LEVEL}: upgrade the {older}"
    )]
    Level {
        /// Who asked.
        executor: ExecutorId,
        /// Its level.
        theirs: u32,
        /// Who is behind: `executor` or `controller`.
        older: &'static str,
    },
    /// It belongs to others.
    #[error(
        "executor {executor} belongs to installation {theirs}, and this controller is installation {ours}: point `cp_host` at the controller that it belongs to, or give it a `state_dir` of its own"
    )]
    Installation {
        /// Who asked.
        executor: ExecutorId,
        /// Where it belongs.
        theirs: String,
        /// Whom it asked.
        ours: String,
    },
    /// Another one has the id, and has work.
    #[error(
        "executor {executor} runs at another place ({place}) since {since:.0}, where it holds work (attempts: {held}), and this place is {ours} (as the file `place` in each `state_dir` says, or in a cluster the uid of the ConfigMap `octavius-{executor}`): give this one an `id` of its own, or stop the other and wait until its work is over or lost"
    )]
    OtherPlace {
        /// Who asked.
        executor: ExecutorId,
        /// Where the first one is.
        place: Uuid,
        /// Since when it is registered there.
        since: Timestamp,
        /// Where who asked is.
        ours: Uuid,
        /// What it holds.
        held: usize,
    },
    /// A newer process took over.
    #[error(
        "a newer process of executor {executor} took over from this one at {since:.0} (its place is {place}): stop this one, or give it an `id` of its own"
    )]
    Replaced {
        /// Who asked.
        executor: ExecutorId,
        /// Where the newer one is.
        place: Uuid,
        /// Since when it is registered.
        since: Timestamp,
    },
    /// There are too many.
    #[error(
        "there are {limit} executors, the most that this controller knows: give those that replace others the id of the one that they replace"
    )]
    Full {
        /// The bound.
        limit: usize,
    },
}

impl Executors {
    /// Whether it has to be known what this executor holds, before it can be given a session.
    pub fn asks_what_it_holds(&self, registration: &Registration) -> bool {
        let known = self.known.get(&registration.executor);
        known.is_some_and(|known| known.record.place != registration.place)
    }

    /// Gives a session. `held` is how many attempts the queue says that the executor holds.
    pub fn register(
        &mut self,
        registration: Registration,
        held: usize,
        at: Timestamp,
        now: Duration,
    ) -> Result<Registered, RegisterRefused> {
        self.admit(&registration, held, now)?;
        let Some(Known { record, .. }) = self.known.get(&registration.executor) else {
            return Ok(self.open(registration, Vec::new(), None, at, now));
        };
        if record.place == registration.place && record.instance == registration.instance {
            let (session, since) = (record.session, record.registered_at);
            let (replaced, drained) = (record.replaced.clone(), record.drained.clone());
            let record = registration.into_record(session, since, replaced, drained);
            self.keep(record.clone(), now);
            return Ok(Registered { record, opened: false });
        }
        let (mut replaced, drained) = (record.replaced.clone(), record.drained.clone());
        replaced.retain(|older| *older != registration.instance);
        replaced.push(record.instance);
        replaced.drain(..replaced.len().saturating_sub(MOST_REPLACED));
        Ok(self.open(registration, replaced, drained, at, now))
    }

    /// Whether an executor would be given a session. `held` is how many attempts the queue says that it holds.
    pub fn admit(
        &self,
        registration: &Registration,
        held: usize,
        now: Duration,
    ) -> Result<(), RegisterRefused> {
        self.check_kind(registration)?;
        let Registration { executor, instance, place: ours, .. } = registration;
        let Some(known) = self.known.get(executor) else {
            let limit = self.limits.executors;
            let is_full = self.known.len() >= limit;
            return if is_full { Err(RegisterRefused::Full { limit }) } else { Ok(()) };
        };
        let (record, state) = (&known.record, self.state(known, now));
        let (place, since) = (record.place, record.registered_at);
        let same_place = place == *ours;
        if same_place && record.instance == *instance {
            return Ok(());
        }
        let heard = match state {
            ExecutorState::Ready | ExecutorState::Unknown => true,
            ExecutorState::Expired | ExecutorState::Lost => false,
        };
        let executor = || executor.clone();
        if heard && record.replaced.contains(instance) {
            return Err(RegisterRefused::Replaced { executor: executor(), place, since });
        }
        if !same_place && held > 0 && state != ExecutorState::Lost {
            let (executor, ours) = (executor(), *ours);
            return Err(RegisterRefused::OtherPlace { executor, place, since, ours, held });
        }
        Ok(())
    }

    fn check_kind(&self, registration: &Registration) -> Result<(), RegisterRefused> {
        let Registration { executor, protocol_level: theirs, installation, .. } = registration;
        // A controller serves its own level and the one before; there is none before the first.
        if *theirs == 0 || !(LEVEL - 1..=LEVEL).contains(theirs) {
            let older = if *theirs < LEVEL { "executor" } else { "controller" };
            let (executor, theirs) = (executor.clone(), *theirs);
            return Err(RegisterRefused::Level { executor, theirs, older });
        }
        if !installation.is_empty() && *installation != self.installation {
            return Err(RegisterRefused::Installation {
                executor: executor.clone(),
                theirs: installation.clone(),
                ours: self.installation.clone(),
            });
        }
        Ok(())
    }

    /// A new session; an older one of this executor ends.
    fn open(
        &mut self,
        registration: Registration,
        replaced: Vec<Uuid>,
        drained: Option<Drained>,
        at: Timestamp,
        now: Duration,
    ) -> Registered {
        self.last_session = Session(self.last_session.0 + 1);
        let record = registration.into_record(self.last_session, at, replaced, drained);
        self.keep(record.clone(), now);
        Registered { record, opened: true }
    }

    fn keep(&mut self, record: ExecutorRecord, now: Duration) {
        let (id, session) = (record.id.clone(), record.session);
        let known = Known { record, heard: Some(now), unseen: String::new(), told: None };
        if let Some(before) = self.known.insert(id.clone(), known) {
            self.sessions.remove(&before.record.session);
        }
        self.sessions.insert(session, id);
    }
}
