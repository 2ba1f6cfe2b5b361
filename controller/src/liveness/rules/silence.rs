//! Silence, and what the queue is told of it until it has taken notice.

use super::{ExecutorState, Executors, Known};
use octavius_protocol::id::{ExecutorId, Session};
use std::time::Duration;

/// How silent an executor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Silence {
    /// It gets no more work.
    Expire,
    /// Its attempts are given up.
    Lose,
}

/// Something that the queue has to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silent {
    /// Who is silent.
    pub executor: ExecutorId,
    /// In which session.
    pub session: Session,
    /// How silent it is.
    pub silence: Silence,
    /// When it was last heard: it is another silence if it was heard since.
    heard: Option<Duration>,
}

impl Executors {
    /// What the queue has to be told now. The same again until [`Executors::told`].
    pub fn tick(&self, now: Duration) -> Vec<Silent> {
        self.known.values().filter_map(|known| self.owed(known, now)).collect()
    }

    /// That the queue has to be told to give up this executor, before it hears of a newer session.
    pub fn owed_loss(&self, executor: &ExecutorId, now: Duration) -> Option<Silent> {
        let owed = self.known.get(executor).and_then(|known| self.owed(known, now));
        owed.filter(|silent| silent.silence == Silence::Lose)
    }

    /// The queue took notice. Who was heard meanwhile is told about anew.
    pub fn told(&mut self, silent: &Silent) {
        if let Some(known) = self.known.get_mut(&silent.executor)
            && known.record.session == silent.session
            && known.heard == silent.heard
        {
            known.told = known.told.max(Some(silent.silence));
        }
    }

    fn owed(&self, known: &Known, now: Duration) -> Option<Silent> {
        let silence = match self.state(known, now) {
            ExecutorState::Ready | ExecutorState::Unknown => return None,
            ExecutorState::Expired => Silence::Expire,
            ExecutorState::Lost => Silence::Lose,
        };
        let (executor, session) = (known.record.id.clone(), known.record.session);
        let heard = known.heard;
        (known.told < Some(silence)).then_some(Silent { executor, session, silence, heard })
    }
}
