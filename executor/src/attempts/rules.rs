//! What is done next with one attempt: a pure function of what is known about it.
//!
//! Three things are kept apart: what the controller wants, what the runner has, and what the controller has
//! acknowledged. Whoever drives an attempt asks [`Facts::next`], does it, and tells what came of it; a crash at any
//! point only means that some of it is learned again. The promises that hold over every path:
//! nothing goes before the controller has acknowledged what was prepared; nothing is prepared when the controller
//! knows, or may know, of something prepared; and every path ends in a removal after an acknowledged end, unless the
//! controller took the attempt back.

use super::{ending::Over, shipping::Until};
use crate::{
    lease::{Grant, HeldPhase},
    runner::{Exit, ExitLog, Found, Identity, Phase},
};
use octavius_protocol::id::Epoch;

/// What the controller wants of an attempt: its newest grant, and its orders. Only ever grows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// The newest grant; none: found here, and not granted since.
    pub grant: Option<Grant>,
    /// To be stopped, by whom this grant was given, and why.
    pub stop: Option<(Epoch, String)>,
    /// To be forgotten, if held by this grant or an older one.
    pub release: Option<Epoch>,
}

/// What the runner has of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Here {
    /// Nobody looked, or something was tried whose outcome is not known.
    Unknown,
    /// Nothing.
    Nothing,
    /// Something.
    Kept {
        /// Its name.
        identity: Identity,
        /// The grant under which it was made.
        epoch: Epoch,
        /// How far it is.
        phase: Phase,
    },
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask the runner what there is.
    Look,
    /// Make what cannot run yet.
    Prepare,
    /// Tell the controller what was made.
    ReportPrepared(Identity),
    /// Let it run.
    Go,
    /// Ask the runner to end it.
    Stop,
    /// Wait until its phase is another than this.
    Watch(Phase),
    /// Tell the controller what it waits for.
    ReportStarting(String),
    /// Tell the controller that the program runs.
    ReportRunning,
    /// Tell the controller why it is not known whether the program still runs.
    ReportUnseen(String),
    /// Give its log time to reach the controller.
    Ship(Over),
    /// Tell the controller how it ended.
    ReportEnded(Over),
    /// Remove what is kept of it.
    Remove,
    /// It is no longer held here.
    Forget,
}

/// How the log of what is over stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shipping {
    /// It is on its way, and what is next waits for it.
    Waited,
    /// It is on its way, and what is next does not wait for it.
    Late,
    /// The controller has as much of it as there is.
    Done,
}

/// What is known about one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    epoch: Epoch,
    here: Here,
    /// What the controller knows, or may know, to be prepared.
    identity: Option<Identity>,
    prepared_acknowledged: bool,
    /// Why it could not be prepared when that was last tried; empty: it was not tried, or it could.
    not_prepared: String,
    /// What the controller was last told that it waits for.
    waits_told: String,
    running_acknowledged: bool,
    /// What the controller was last told of why it is not known whether the program still runs; empty: it is known.
    unseen_told: String,
    shipping: Shipping,
    end_acknowledged: bool,
    refused: Option<String>,
    stop_wanted: bool,
    stop_asked: bool,
    /// Its secrets were in the memory of an earlier process, and its grant has not come again. Without them it cannot go,
    /// and nothing that may show them is told.
    lacks_secrets: bool,
    /// What was left by a keeper that is gone is ended.
    leavings_stopped: bool,
    /// Taken back by the controller: nothing is reported any more.
    released: bool,
    removed: bool,
}

impl Facts {
    /// What is known of a grant that is new here.
    pub fn granted(grant: &Grant) -> Self {
        // What the controller knows to be prepared may be here; what it does not know of was not here at the start.
        let here = if grant.identity.is_some() { Here::Unknown } else { Here::Nothing };
        Self::new(grant.work.epoch, here, grant.identity.clone())
    }

    /// What is known of an attempt that an earlier process, or an earlier incarnation, left behind.
    pub fn found(found: &Found) -> Self {
        let here = Here::Kept {
            identity: found.identity.clone(),
            epoch: found.work.epoch,
            phase: found.phase.clone(),
        };
        // What went was acknowledged before: should it vanish, it is lost, and never made again.
        let went = found.phase != Phase::Prepared;
        let known = went.then(|| found.identity.clone());
        let lacks_secrets = found.work.secrets.is_none();
        let facts = Self::new(found.work.epoch, here, known);
        Self { prepared_acknowledged: went, lacks_secrets, ..facts }
    }

    fn new(epoch: Epoch, here: Here, identity: Option<Identity>) -> Self {
        Self {
            epoch,
            here,
            identity,
            prepared_acknowledged: false,
            not_prepared: String::new(),
            waits_told: String::new(),
            running_acknowledged: false,
            unseen_told: String::new(),
            shipping: Shipping::Waited,
            end_acknowledged: false,
            refused: None,
            stop_wanted: false,
            stop_asked: false,
            lacks_secrets: false,
            leavings_stopped: false,
            released: false,
            removed: false,
        }
    }

    /// The grant that it is held by.
    #[cfg(test)]
    fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// How far it is, for the controller.
    pub fn held(&self) -> HeldPhase {
        match &self.here {
            Here::Unknown | Here::Nothing if self.over().is_some() || self.removed => {
                HeldPhase::Ended
            }
            Here::Unknown | Here::Nothing => HeldPhase::Accepted,
            Here::Kept { phase: Phase::Prepared, .. } if self.lacks_secrets => HeldPhase::Bare,
            Here::Kept { phase: Phase::Prepared, .. } => HeldPhase::Prepared,
            Here::Kept {
                phase: Phase::Starting(_) | Phase::Running | Phase::Unseen(_), ..
            } => HeldPhase::Running,
            Here::Kept { phase: Phase::Ended(_) | Phase::Vanished(_), .. } => HeldPhase::Ended,
        }
    }

    /// Whether its values are to be sent again, so that they can be masked in its log.
    pub fn lacks_secrets(&self) -> bool {
        self.lacks_secrets && !self.is_prepared()
    }

    fn is_prepared(&self) -> bool {
        matches!(self.here, Here::Kept { phase: Phase::Prepared, .. })
    }

    /// What is to be done next.
    pub fn next(&self) -> Action {
        if self.released || self.end_acknowledged {
            return if self.removed { Action::Forget } else { Action::Remove };
        }
        if let Some(over) = self.over() {
            return self.finish(over);
        }
        match &self.here {
            Here::Unknown | Here::Nothing
                if !self.not_prepared.is_empty() && self.not_prepared != self.waits_told =>
            {
                Action::ReportStarting(self.not_prepared.clone())
            }
            Here::Unknown => Action::Look,
            Here::Nothing => Action::Prepare,
            Here::Kept { phase, .. } if self.stop_wanted && self.stop_asked => {
                Action::Watch(phase.clone())
            }
            Here::Kept { .. } if self.stop_wanted => Action::Stop,
            Here::Kept { epoch, phase: Phase::Prepared, .. }
                if *epoch < self.epoch && self.identity.is_none() =>
            {
                Action::Prepare // again: so that the newer grant is kept with it
            }
            Here::Kept { identity, phase: Phase::Prepared, .. } if !self.prepared_acknowledged => {
                Action::ReportPrepared(identity.clone())
            }
            Here::Kept { phase: Phase::Prepared, .. } if self.lacks_secrets => {
                Action::Watch(Phase::Prepared)
            }
            Here::Kept { phase: Phase::Prepared, .. } => Action::Go,
            Here::Kept { phase: Phase::Starting(words), .. }
                if *words != self.waits_told && !self.lacks_secrets =>
            {
                Action::ReportStarting(words.clone())
            }
            Here::Kept { phase: Phase::Running, .. }
                if !self.running_acknowledged || !self.unseen_told.is_empty() =>
            {
                Action::ReportRunning
            }
            Here::Kept { phase: Phase::Unseen(why), .. }
                if *why != self.unseen_told && !self.lacks_secrets =>
            {
                Action::ReportUnseen(why.clone())
            }
            Here::Kept { phase, .. } => Action::Watch(phase.clone()),
        }
    }

    fn finish(&self, over: Over) -> Action {
        if matches!(over, Over::KeeperGone(_)) && !self.leavings_stopped {
            Action::Stop // what the program left is not yet ended, and `lost` says that nothing runs any more
        } else if over.ran() && !self.running_acknowledged {
            Action::ReportRunning
        } else if self.shipping == Shipping::Waited && self.log_wanted().is_some() {
            Action::Ship(over)
        } else {
            Action::ReportEnded(over)
        }
    }

    /// What there is to say of an end, once it is over here.
    fn over(&self) -> Option<Over> {
        match (&self.here, &self.identity) {
            (Here::Unknown, _) => None,
            (Here::Nothing, Some(_)) => Some(Over::PreparedGone),
            (Here::Nothing, None) => match &self.refused {
                Some(why) => Some(Over::Refused(why.clone())),
                None => self.stop_wanted.then_some(Over::NeverMade),
            },
            (Here::Kept { identity, .. }, Some(known)) if identity != known => {
                Some(Over::PreparedGone)
            }
            (Here::Kept { phase: Phase::Ended(exit), .. }, _) => Some(Over::Exited(exit.clone())),
            (Here::Kept { phase: Phase::Vanished(why), .. }, _) => {
                Some(Over::KeeperGone(why.clone()))
            }
            (
                Here::Kept {
                    phase: Phase::Prepared | Phase::Starting(_) | Phase::Running | Phase::Unseen(_),
                    ..
                },
                _,
            ) => None,
        }
    }

    /// Whether its program is to be stopped when the controller is not heard any more.
    pub fn is_at_risk(&self) -> bool {
        let runs = matches!(
            self.here,
            Here::Kept { phase: Phase::Starting(_) | Phase::Running | Phase::Unseen(_), .. }
        );
        runs && !self.stop_wanted && !self.released
    }

    /// The controller was not heard for so long that the program may not run on.
    pub fn unheard(&mut self) {
        self.stop_wanted |= self.is_at_risk();
    }

    /// Takes notice of what the controller wants. Whether a newer grant took the place of the one that it was held
    /// by: that happens only while nothing that was prepared is acknowledged, because afterwards the controller gives
    /// the attempt to nobody else.
    pub fn hear(&mut self, wishes: &Wishes) -> bool {
        let newer = wishes.grant.as_ref().filter(|grant| grant.work.epoch > self.epoch);
        let adopted = newer.is_some() && self.may_be_granted_anew();
        if let Some(grant) = newer.filter(|_| adopted) {
            self.epoch = grant.work.epoch;
            self.identity = grant.identity.clone();
        }
        self.lacks_secrets &=
            wishes.grant.as_ref().is_none_or(|grant| grant.work.epoch != self.epoch);
        self.stop_wanted |= wishes.stop.as_ref().is_some_and(|(epoch, _)| *epoch == self.epoch);
        self.released |= wishes.release.is_some_and(|epoch| epoch >= self.epoch);
        adopted
    }

    fn may_be_granted_anew(&self) -> bool {
        let runnable = match &self.here {
            Here::Unknown | Here::Nothing => false,
            Here::Kept { phase, .. } => *phase != Phase::Prepared,
        };
        !(self.prepared_acknowledged || runnable || self.released || self.end_acknowledged)
    }

    /// The runner was asked what there is.
    pub fn looked(&mut self, found: Option<&Found>) {
        if found.is_some() {
            self.not_prepared.clear();
        }
        self.here = match found {
            None => Here::Nothing,
            Some(found) => Here::Kept {
                identity: found.identity.clone(),
                epoch: found.work.epoch,
                phase: found.phase.clone(),
            },
        };
    }

    /// Something was tried, and nobody knows what came of it.
    pub fn unsure(&mut self) {
        self.here = Here::Unknown;
    }

    /// It was made, or found made, under the grant that it is held by.
    pub fn prepared(&mut self, identity: Identity) {
        self.not_prepared.clear();
        self.here = Here::Kept { identity, epoch: self.epoch, phase: Phase::Prepared };
    }

    /// It cannot be made now, and perhaps later; nobody knows what came of it.
    pub fn not_prepared_yet(&mut self, why: String) {
        self.not_prepared = why;
        self.unsure();
    }

    /// It was not made, and perhaps it can be later.
    pub fn not_made_yet(&mut self, why: String) {
        self.not_prepared = why;
        self.here = Here::Nothing;
    }

    /// It cannot be made, now or later.
    pub fn refused(&mut self, why: String) {
        self.here = Here::Nothing;
        self.refused = Some(why);
    }

    /// The controller is about to be told what was made: from now on it may know.
    pub fn reporting_prepared(&mut self, identity: Identity) {
        self.identity = Some(identity);
    }

    /// The controller has what was made on disk.
    pub fn prepared_acknowledged(&mut self) {
        self.prepared_acknowledged = true;
    }

    /// It was let go.
    pub fn went(&mut self) {
        self.phase(Phase::Starting(String::new()));
    }

    /// The runner was asked to end it.
    pub fn stop_asked(&mut self) {
        self.stop_asked = true;
        self.leavings_stopped |= self.vanished();
    }

    fn vanished(&self) -> bool {
        matches!(self.here, Here::Kept { phase: Phase::Vanished(_), .. })
    }

    /// The runner says how far it is.
    pub fn phase(&mut self, now: Phase) {
        // What is prepared and waits for its secrets is not named to the controller, so that it hears of no order: it
        // says again that it is prepared, and learns whether that is still wanted.
        self.prepared_acknowledged &= !(self.lacks_secrets && self.is_prepared());
        if let Here::Kept { phase, .. } = &mut self.here {
            *phase = now;
        }
    }

    /// The controller knows what it waits for.
    pub fn starting_acknowledged(&mut self, words: String) {
        self.waits_told = words;
    }

    /// The controller knows that the program runs.
    pub fn running_acknowledged(&mut self) {
        self.unseen_acknowledged(String::new());
    }

    /// The controller knows why it is not known whether the program still runs.
    pub fn unseen_acknowledged(&mut self, why: String) {
        self.running_acknowledged = true;
        self.unseen_told = why;
    }

    /// The controller has as much of the log as there is.
    pub fn shipped(&mut self) {
        self.shipping = Shipping::Done;
    }

    /// The log takes long: the end is told before it, so that a log that cannot be stored holds up no place.
    pub fn shipping_takes_long(&mut self) {
        self.shipping = Shipping::Late;
    }

    /// The controller has the end on disk, and misses some of the log.
    pub fn log_incomplete(&mut self) {
        self.shipping = Shipping::Waited;
    }

    /// The controller has the end and the log.
    pub fn end_acknowledged(&mut self) {
        self.end_acknowledged = true;
    }

    /// The attempt is somebody else's, or over otherwise.
    pub fn superseded(&mut self) {
        self.released = true;
    }

    /// Nothing is kept of it any more.
    pub fn removed(&mut self) {
        self.here = Here::Nothing;
        self.removed = true;
    }

    /// What of its log is to be sent by now; none: there is no log, or not yet.
    pub fn log_wanted(&self) -> Option<Until> {
        match (self.over(), &self.here) {
            (Some(Over::Exited(Exit { log: ExitLog::Whole { size, .. }, .. })), _) => {
                (size > 0).then_some(Until::Whole(size))
            }
            (Some(Over::Exited(Exit { log: ExitLog::Followed, .. })), _) => Some(Until::Followed),
            (Some(Over::KeeperGone(_)), _) => Some(Until::Rest),
            (Some(Over::PreparedGone), _) => Some(Until::Arrived),
            (Some(Over::NeverMade | Over::Refused(_)), _) => None,
            (
                None,
                Here::Kept {
                    phase: Phase::Starting(_) | Phase::Running | Phase::Unseen(_), ..
                },
            ) => Some(Until::Stopped),
            (None, _) => None,
        }
    }
}

#[cfg(test)]
mod tests;
