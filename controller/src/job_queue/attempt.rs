//! One attempt's life as a pure function: which event may follow which state, every pair decided.
//!
//! Two facts stand beside the state, because neither is one: that somebody wants it to end (`cancelling`), and how it
//! ended while its log is still on its way (`ending`). It is over when both the end and the log are here.

use octavius_protocol::id::Epoch;
use serde::{Deserialize, Serialize};

/// How an attempt ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The program exited with 0.
    Succeeded,
    /// The program exited otherwise, or never started.
    Failed,
    /// Stopped because somebody asked.
    Cancelled,
    /// Stopped by a time limit.
    TimedOut,
    /// Nobody can say how it ended.
    Lost,
}

impl Outcome {
    /// The state's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
            Self::Lost => "lost",
        }
    }
}

/// Which limit of time an attempt passed, as the controller counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
#[serde(rename_all = "snake_case")]
pub enum Late {
    /// Its program did not run in time.
    Start,
    /// Its program ran for too long, and its holder did not end it.
    Run,
}

/// Where an attempt is. Each holder has an epoch of its own; `last` is the newest that was ever granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waits for a holder.
    Pending {
        /// The epoch of the last grant; 0 before the first.
        last: Epoch,
    },
    /// Granted. Nothing that could run is known to exist.
    Leased(Epoch),
    /// Prepared: from here on it is never made again.
    Starting(Epoch),
    /// Its program runs.
    Running(Epoch),
    /// Over, for good.
    Ended {
        /// The epoch of the holder that ended it, or of the last one.
        epoch: Epoch,
        /// How.
        outcome: Outcome,
    },
}

/// What can happen to an attempt. Events of a holder carry its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub enum Event {
    /// It is given to a holder, with the next epoch.
    #[cfg_attr(test, proptest(weight = 9))]
    Grant,
    /// The grant is taken back, because the holder never took notice of it.
    #[cfg_attr(test, proptest(weight = 2))]
    Release(#[cfg_attr(test, proptest(strategy = "tests::epoch()"))] Epoch),
    /// The holder has made what cannot run yet.
    #[cfg_attr(test, proptest(weight = 9))]
    Prepare(#[cfg_attr(test, proptest(strategy = "tests::epoch()"))] Epoch),
    /// The holder's program runs.
    #[cfg_attr(test, proptest(weight = 9))]
    Start(#[cfg_attr(test, proptest(strategy = "tests::epoch()"))] Epoch),
    /// The holder says how it ended; its log may still be on its way.
    #[cfg_attr(test, proptest(weight = 6))]
    End(#[cfg_attr(test, proptest(strategy = "tests::epoch()"))] Epoch, Outcome),
    /// The log of what ended is whole, or known to be cut.
    #[cfg_attr(test, proptest(weight = 6))]
    Seal(#[cfg_attr(test, proptest(strategy = "tests::epoch()"))] Epoch),
    /// Somebody wants it to end.
    Cancel,
    /// The holder was silent for so long that it is given up.
    Lose(#[cfg_attr(test, proptest(strategy = "tests::epoch()"))] Epoch),
    /// The holder was told to stop, and is silent: nobody waits any longer for its word.
    Unconfirmed(#[cfg_attr(test, proptest(strategy = "tests::epoch()"))] Epoch),
    /// It waited for a holder for too long.
    NotStarted,
    /// It passed a limit of time with its holder.
    Late(#[cfg_attr(test, proptest(strategy = "tests::epoch()"))] Epoch, Late),
    /// The holder was told to stop what is late, and nothing came of it.
    GiveUp(#[cfg_attr(test, proptest(strategy = "tests::epoch()"))] Epoch),
    /// The holder says how it ended, after it was lost. That is kept beside the attempt, and changes nothing of it.
    Afterwards(#[cfg_attr(test, proptest(strategy = "tests::epoch()"))] Epoch),
}

/// An event that does not apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} does not apply to an attempt that is {state:?}")]
pub struct Refused {
    state: State,
    event: Event,
}

/// An attempt's state, and what stands beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attempt {
    /// Where it is.
    pub state: State,
    /// Whether somebody wants it to end.
    pub cancelling: bool,
    /// How it ended, while its log is still on its way.
    pub ending: Option<Outcome>,
    /// Which limit it passed, while its holder is told to stop it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late: Option<Late>,
}

impl Attempt {
    /// An attempt that was never granted.
    pub const NEW: Self = Self {
        state: State::Pending { last: Epoch(0) },
        cancelling: false,
        ending: None,
        late: None,
    };

    /// The epoch of the holder, while there is one.
    pub fn held(&self) -> Option<Epoch> {
        match self.state {
            State::Leased(epoch) | State::Starting(epoch) | State::Running(epoch) => Some(epoch),
            State::Pending { .. } | State::Ended { .. } => None,
        }
    }

    /// The newest epoch that was ever granted.
    pub fn newest(&self) -> Epoch {
        match self.state {
            State::Pending { last: epoch }
            | State::Leased(epoch)
            | State::Starting(epoch)
            | State::Running(epoch)
            | State::Ended { epoch, .. } => epoch,
        }
    }

    /// Whether it is held, and its program does not run yet as far as is known.
    pub fn starts(&self) -> bool {
        matches!(self.state, State::Leased(_) | State::Starting(_))
    }

    /// Whether it takes one of its holder's places: held, and not known to have ended.
    pub fn occupies(&self) -> bool {
        self.held().is_some() && self.ending.is_none()
    }

    /// Whether its holder is to stop it.
    pub fn to_be_stopped(&self) -> bool {
        (self.cancelling || self.late.is_some()) && self.held().is_some() && self.ending.is_none()
    }

    /// How it ended, once it did for good.
    pub fn outcome(&self) -> Option<Outcome> {
        match self.state {
            State::Ended { outcome, .. } => Some(outcome),
            State::Pending { .. } | State::Leased(_) | State::Starting(_) | State::Running(_) => {
                None
            }
        }
    }

    /// The attempt after `event`. Saying the same thing twice is not an error: reports are sent again.
    pub fn after(self, event: Event) -> Result<Self, Refused> {
        let refused = Err(Refused { state: self.state, event });
        match event {
            Event::Grant => match self.state {
                State::Pending { last } => Ok(self.at(State::Leased(Epoch(last.0 + 1)))),
                State::Leased(_) | State::Starting(_) | State::Running(_) | State::Ended { .. } => {
                    refused
                }
            },
            Event::Cancel => Ok(self.cancelled()),
            Event::End(epoch, outcome) => {
                self.ended(epoch, outcome).ok_or(Refused { state: self.state, event })
            }
            Event::Release(epoch) => match self.state {
                State::Leased(held) if held == epoch && self.ending.is_none() => {
                    Ok(self.released(epoch))
                }
                _ => refused,
            },
            Event::Prepare(epoch) => match self.state {
                State::Leased(held) if held == epoch && self.ending.is_none() => {
                    Ok(self.at(State::Starting(epoch)))
                }
                State::Starting(held) | State::Running(held) if held == epoch => Ok(self),
                _ => refused,
            },
            Event::Start(epoch) => match self.state {
                State::Starting(held) | State::Running(held) if held == epoch => {
                    Ok(self.at(State::Running(epoch)))
                }
                _ => refused,
            },
            Event::Seal(epoch) => match (self.state, self.ending) {
                (State::Ended { epoch: held, .. }, _) if held == epoch => Ok(self),
                (_, Some(outcome)) if self.held() == Some(epoch) => Ok(self.over(epoch, outcome)),
                _ => refused,
            },
            Event::Lose(epoch) if self.held() == Some(epoch) => Ok(self.lost(epoch)),
            Event::Unconfirmed(epoch) if self.cancelling && self.held() == Some(epoch) => {
                Ok(Self { ending: self.ending.or(Some(Outcome::Cancelled)), ..self })
            }
            Event::NotStarted => match self.state {
                State::Pending { last } => Ok(self.over(last, Outcome::Failed)),
                State::Leased(_) | State::Starting(_) | State::Running(_) | State::Ended { .. } => {
                    refused
                }
            },
            Event::Late(epoch, late) if self.held() == Some(epoch) => {
                self.passed(late).ok_or(Refused { state: self.state, event })
            }
            Event::GiveUp(epoch) if self.to_be_stopped() && self.held() == Some(epoch) => {
                match self.late {
                    // What began at the last moment may run; what never did has failed.
                    Some(Late::Start) if !matches!(self.state, State::Running(_)) => {
                        Ok(Self { ending: Some(Outcome::Failed), ..self })
                    }
                    Some(Late::Start | Late::Run) => {
                        Ok(Self { ending: Some(Outcome::Lost), ..self })
                    }
                    None => refused,
                }
            }
            Event::Afterwards(epoch) => match (self.state, self.ending) {
                (State::Ended { epoch: held, outcome: Outcome::Lost }, _) if held == epoch => {
                    Ok(self)
                }
                (_, Some(Outcome::Lost)) if self.held() == Some(epoch) => Ok(self),
                _ => refused,
            },
            Event::Lose(_) | Event::Unconfirmed(_) | Event::Late(..) | Event::GiveUp(_) => refused,
        }
    }

    fn at(self, state: State) -> Self {
        Self { state, ..self }
    }

    fn over(self, epoch: Epoch, outcome: Outcome) -> Self {
        Self { state: State::Ended { epoch, outcome }, cancelling: false, ending: None, late: None }
    }

    /// What was never prepared has failed; what may run is to be stopped first. A wish that came before stands.
    fn passed(self, late: Late) -> Option<Self> {
        if self.cancelling || self.ending.is_some() || self.late.is_some() {
            return None;
        }
        match (self.state, late) {
            (State::Leased(_), Late::Start) => Some(Self { ending: Some(Outcome::Failed), ..self }),
            (State::Starting(_), Late::Start) | (State::Running(_), Late::Run) => {
                Some(Self { late: Some(late), ..self })
            }
            _ => None,
        }
    }

    /// What waits ends at once; what may run gets a wish; what has a result keeps it.
    fn cancelled(self) -> Self {
        match self.state {
            State::Pending { last } => self.over(last, Outcome::Cancelled),
            State::Leased(_) | State::Starting(_) | State::Running(_) if self.ending.is_none() => {
                Self { cancelling: true, ..self }
            }
            State::Leased(_) | State::Starting(_) | State::Running(_) | State::Ended { .. } => self,
        }
    }

    fn ended(self, epoch: Epoch, outcome: Outcome) -> Option<Self> {
        match self.state {
            State::Ended { epoch: held, outcome: was } => {
                (held == epoch && was == outcome).then_some(self)
            }
            State::Pending { .. } => None,
            State::Leased(held) | State::Starting(held) | State::Running(held) => {
                // What was never prepared cannot have run.
                let ran = matches!(outcome, Outcome::Succeeded | Outcome::TimedOut | Outcome::Lost);
                let possible = !(ran && matches!(self.state, State::Leased(_)));
                let first = self.ending.is_none_or(|was| was == outcome);
                (held == epoch && possible && first)
                    .then_some(Self { ending: Some(outcome), ..self })
            }
        }
    }

    fn released(self, epoch: Epoch) -> Self {
        if self.cancelling {
            self.over(epoch, Outcome::Cancelled)
        } else {
            self.at(State::Pending { last: epoch })
        }
    }

    /// What was never prepared goes back; what was prepared is never made again.
    fn lost(self, epoch: Epoch) -> Self {
        if self.ending.is_some() {
            return self;
        }
        match self.state {
            State::Leased(_) => self.released(epoch),
            _ if self.cancelling => Self { ending: Some(Outcome::Cancelled), ..self },
            _ => Self { ending: Some(Outcome::Lost), ..self },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(super) fn epoch() -> impl Strategy<Value = Epoch> {
        (0..3u64).prop_map(Epoch)
    }

    /// Grows with every step of a life; final above all.
    fn rank(state: State) -> (u64, u8) {
        match state {
            State::Pending { last } => (last.0 + 1, 0),
            State::Leased(epoch) => (epoch.0, 1),
            State::Starting(epoch) => (epoch.0, 2),
            State::Running(epoch) => (epoch.0, 3),
            State::Ended { .. } => (u64::MAX, 0),
        }
    }

    fn lives(events: &[Event]) -> Vec<Attempt> {
        let mut lives = vec![Attempt::NEW];
        for event in events {
            let now = lives[lives.len() - 1];
            lives.push(now.after(*event).unwrap_or(now));
        }
        lives
    }

    proptest! {
        /// P2, P4.
        #[test]
        fn an_attempt_only_moves_forward_and_ends_once(events: Vec<Event>) {
            for pair in lives(&events).windows(2) {
                let (was, now) = (pair[0], pair[1]);
                prop_assert!(rank(now.state) >= rank(was.state), "{was:?} went back to {now:?}");
                prop_assert!(was.outcome().is_none() || was == now, "{was:?} became {now:?}");
                prop_assert!(now.ending.is_none() || was.ending.is_none() || was.ending == now.ending);
            }
        }

        /// P2: only the holder of the newest grant changes anything.
        #[test]
        fn an_old_epoch_changes_nothing(events: Vec<Event>, old in epoch(), outcome: Outcome) {
            let attempt = *lives(&events).last().unwrap();
            let newest = match attempt.state {
                State::Pending { last } => last,
                State::Leased(epoch) | State::Starting(epoch) | State::Running(epoch) => epoch,
                State::Ended { .. } => return Ok(()),
            };
            prop_assume!(old < newest);
            for event in [
                Event::Release(old), Event::Prepare(old), Event::Start(old), Event::End(old, outcome),
                Event::Seal(old), Event::Lose(old), Event::Unconfirmed(old), Event::GiveUp(old),
                Event::Late(old, Late::Start), Event::Late(old, Late::Run), Event::Afterwards(old),
            ] {
                prop_assert!(attempt.after(event).is_err(), "{event:?} was taken by {attempt:?}");
            }
        }

        /// P2: what was prepared once is never granted again.
        #[test]
        fn what_was_prepared_is_never_pending_again(events: Vec<Event>) {
            let mut prepared = false;
            for attempt in lives(&events) {
                let again = matches!(attempt.state, State::Pending { .. } | State::Leased(_));
                prop_assert!(!(prepared && again), "prepared, and then {attempt:?}");
                prepared |= matches!(attempt.state, State::Starting(_) | State::Running(_));
            }
        }

        /// P3: what is said of a lost attempt afterwards is taken of no other, from nobody else, and changes nothing.
        #[test]
        fn what_is_said_afterwards_is_taken_of_what_is_lost_alone_and_changes_nothing(
            events: Vec<Event>, epoch in epoch(),
        ) {
            for attempt in lives(&events) {
                let lost = attempt.outcome().or(attempt.ending) == Some(Outcome::Lost);
                match attempt.after(Event::Afterwards(epoch)) {
                    Ok(after) => prop_assert!(lost && after == attempt && epoch == attempt.newest()),
                    Err(_) => prop_assert!(!lost || epoch != attempt.newest(), "{attempt:?}"),
                }
            }
        }

        /// P1: what was acknowledged once can be said again.
        #[test]
        fn saying_it_twice_is_not_an_error(events: Vec<Event>, event: Event) {
            // These are not said by anybody: the clock, or the queue itself, brings them about once.
            let said = !matches!(
                event,
                Event::Grant | Event::Release(_) | Event::Lose(_)
                    | Event::NotStarted | Event::Late(..) | Event::GiveUp(_)
            );
            prop_assume!(said);
            let attempt = *lives(&events).last().unwrap();
            if let Ok(once) = attempt.after(event)
                && !(matches!(event, Event::Unconfirmed(_)) && once.outcome().is_some())
            {
                prop_assert_eq!(once.after(event), Ok(once));
            }
        }
    }

    proptest! {
        /// P3: nothing that may run is said to be over because of the time, before its holder was told to stop it.
        #[test]
        fn what_may_run_is_stopped_before_it_is_late_for_good(events: Vec<Event>) {
            let mut was = Attempt::NEW;
            for event in events {
                let Ok(now) = was.after(event) else { continue };
                let prepared = matches!(was.state, State::Starting(_) | State::Running(_));
                let ended = was.ending.is_none() && now.ending.is_some();
                if prepared && ended && matches!(event, Event::Late(..) | Event::GiveUp(_)) {
                    prop_assert!(was.late.is_some(), "{event:?} ended {was:?}");
                }
                was = now;
            }
        }
    }

    /// A property that seldom leaves the start proves little: this says how often it gets there.
    #[test]
    fn the_strategy_reaches_all_that_the_properties_are_about() {
        use proptest::strategy::ValueTree;
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let (mut running, mut ended, mut again) = (0, 0, 0);
        for _ in 0..1000 {
            let events = any::<Vec<Event>>().new_tree(&mut runner).unwrap().current();
            let lives = lives(&events);
            let any = |wanted: fn(&Attempt) -> bool| u32::from(lives.iter().any(wanted));
            running += any(|attempt| matches!(attempt.state, State::Running(_)));
            ended += any(|attempt| attempt.outcome().is_some());
            again += any(|attempt| attempt.held() == Some(Epoch(2)));
        }
        assert!(
            running > 300 && ended > 550 && again > 80,
            "of 1000: {running} ran, {ended} ended, {again} were granted twice"
        );
    }
}
