//! When to register, when to attend, and how long to wait in between.

use octavius_protocol::id::Session;
use std::time::Duration;

/// The pause after an answer that brought nothing new before its time.
const SETTLE: Duration = Duration::from_millis(250);

/// The pause after a registration that was refused for good: until somebody changes something.
pub const REFUSED: Duration = Duration::from_secs(30);

/// The times that a beat is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rhythm {
    /// How long the controller is asked to wait for an order.
    pub wait: Duration,
    /// How long an answer may take: whoever takes longer is not waited for.
    pub patience: Duration,
}

impl Rhythm {
    /// From the configured `ping_interval` and deadline of a call, and the controller's ping deadline. Three beats
    /// fit into that, so that one that hangs does not end new work here; an answer has a third of a beat to arrive.
    pub fn new(ping_interval: Duration, call_deadline: Duration, ping_deadline: Duration) -> Self {
        let patience = ping_deadline / 3;
        let wait = ping_interval.min(patience * 2 / 3).min(call_deadline / 2);
        Self { wait, patience }
    }
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Open a session.
    Register,
    /// Say what is held here, and wait for orders.
    Attend(Session, Rhythm),
}

/// How long to wait before that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// Not at all.
    No,
    /// After this many failures in a row: longer from time to time.
    Growing(u32),
    /// So long.
    For(Duration),
}

/// What came of the last step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// A session, with the controller's ping deadline.
    Registered(Session, Duration),
    /// The controller does not want this executor until somebody changes something.
    Refused,
    /// An answer: with whether any of it was new, and how long it took.
    Answered {
        /// Whether it brought anything that was not known.
        news: bool,
        /// Whether it brought anything at all.
        empty: bool,
        /// How long it took.
        after: Duration,
    },
    /// The session is gone.
    SessionGone,
    /// Nothing that counts: it may work later.
    Failed,
}

/// How the executor stands with its controller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beat {
    session: Option<(Session, Rhythm)>,
    failures: u32,
}

impl Beat {
    /// How many failures there were in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// What is to be done now.
    pub fn step(&self) -> Step {
        match self.session {
            None => Step::Register,
            Some((session, rhythm)) => Step::Attend(session, rhythm),
        }
    }

    /// Takes notice of what came of a step, and says how long to pause.
    pub fn after(&mut self, came: Came, rhythm: impl FnOnce(Duration) -> Rhythm) -> Pause {
        match came {
            Came::Registered(session, ping_deadline) => {
                // No success yet: a session that is gone again at once is opened more and more rarely.
                self.session = Some((session, rhythm(ping_deadline)));
                Pause::No
            }
            Came::Answered { news, empty, after } => {
                self.failures = 0;
                let early = self.session.is_some_and(|(_, rhythm)| after < rhythm.wait / 2);
                // What is known is repeated until it is seen to be done: that is not asked for in a circle.
                if early && !news {
                    let wait = self.session.map_or(SETTLE, |(_, rhythm)| rhythm.wait);
                    Pause::For(if empty { wait - after } else { SETTLE.min(wait) })
                } else {
                    Pause::No
                }
            }
            Came::SessionGone => {
                self.session = None;
                self.failures = self.failures.saturating_add(1);
                // The first time at once; but a session that is gone again and again is no reason to hurry.
                if self.failures == 1 { Pause::No } else { Pause::Growing(self.failures - 1) }
            }
            Came::Refused => {
                self.failures = self.failures.saturating_add(1);
                Pause::For(REFUSED)
            }
            Came::Failed => {
                self.failures = self.failures.saturating_add(1);
                Pause::Growing(self.failures)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn rhythm(ping_deadline: Duration) -> Rhythm {
        Rhythm::new(2 * SECOND, 10 * SECOND, ping_deadline)
    }

    fn came() -> impl Strategy<Value = Came> {
        let answered = (any::<bool>(), any::<bool>(), prop_oneof![Just(0u64), 0u64..9000])
            .prop_map(|(news, empty, after)| Came::Answered {
                news: news && !empty,
                empty,
                after: Duration::from_millis(after),
            });
        prop_oneof![
            1 => (1u64..9, 1u64..60).prop_map(|(session, deadline)| {
                Came::Registered(Session(session), Duration::from_secs(deadline))
            }),
            4 => answered,
            1 => Just(Came::SessionGone),
            1 => Just(Came::Refused),
            2 => Just(Came::Failed),
        ]
    }

    proptest! {
        #[test]
        fn three_beats_fit_into_the_ping_deadline(interval in 1u64..60_000, call in 1u64..60_000, deadline in 3u64..600_000) {
            let ms = Duration::from_millis;
            let rhythm = Rhythm::new(ms(interval), ms(call), ms(deadline));
            prop_assert!(rhythm.patience * 3 <= ms(deadline));
            prop_assert!(rhythm.wait < rhythm.patience, "an answer has no time to arrive: {rhythm:?}");
            prop_assert!(rhythm.wait <= ms(interval) && rhythm.wait * 2 <= ms(call));
        }

        #[test]
        fn attends_only_in_its_newest_session_and_never_asks_in_a_circle(all in prop::collection::vec(came(), 0..60)) {
            let (mut beat, mut open, mut in_a_row) = (Beat::default(), None, 0);
            for came in all {
                let pause = beat.after(came, rhythm);
                match came {
                    Came::Registered(session, _) => open = Some(session),
                    Came::SessionGone => open = None,
                    Came::Refused | Came::Failed | Came::Answered { .. } => {}
                }
                let attends = match beat.step() {
                    Step::Attend(session, _) => Some(session),
                    Step::Register => None,
                };
                prop_assert_eq!(attends, open);
                match came {
                    Came::Failed | Came::Refused | Came::SessionGone => {
                        in_a_row += 1;
                        prop_assert!(in_a_row == 1 || pause != Pause::No);
                    }
                    Came::Answered { .. } => in_a_row = 0,
                    Came::Registered(..) => {}
                }
                if let Came::Answered { news: false, after: Duration::ZERO, .. } = came {
                    prop_assert!(open.is_none() || pause != Pause::No);
                }
            }
        }
    }
}
