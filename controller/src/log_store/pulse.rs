//! Whether the log store takes segments, and since when it does not.

use std::time::Duration;
use tokio::{sync::watch, time::Instant};

/// A log whose segment was not taken tries again within this time, as long as there is such a log.
const LOGS_TRY_WITHIN: Duration = Duration::from_secs(60);
/// Where no log tries, it is asked again after this time.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// Who found out that nothing is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// A log, which tries again by itself.
    Log,
    /// A probe.
    Probe,
}

/// What is known of the log store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    /// How many writes are under way.
    writing: usize,
    /// Since when something was to be written and nothing was.
    since: Option<Instant>,
    /// Why not, and when it is asked again if nobody writes until then.
    trouble: Option<(String, Instant)>,
}

impl State {
    fn begun(&mut self, now: Instant) {
        self.writing += 1;
        self.since.get_or_insert(now);
    }

    fn ended(&mut self, result: Result<(), (By, String)>, now: Instant) {
        self.writing = self.writing.saturating_sub(1);
        match result {
            Ok(()) => {
                self.since = (self.writing > 0).then_some(now);
                self.trouble = None;
            }
            Err((by, why)) => {
                let pause = match by {
                    By::Log => LOGS_TRY_WITHIN,
                    By::Probe => ASK_EVERY,
                };
                self.trouble = Some((why, now + pause));
            }
        }
    }

    /// Who wrote went away, and nobody knows what came of it.
    fn left(&mut self) {
        self.writing = self.writing.saturating_sub(1);
        if self.writing == 0 && self.trouble.is_none() {
            self.since = None;
        }
    }
}

/// Hears of each write.
#[derive(Clone, Debug)]
pub(super) struct Pulse(watch::Sender<State>);

impl Pulse {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(State::default()))
    }

    /// A write begins.
    pub(super) fn write(&self) -> Write<'_> {
        self.0.send_modify(|state| state.begun(Instant::now()));
        Write { pulse: self, ended: false }
    }

    /// For how long nothing was taken although something waits, and why, as far as that is known.
    pub(super) fn behind(&self) -> Option<(Duration, Option<String>)> {
        let state = self.0.borrow();
        let since = state.since?;
        Some((since.elapsed(), state.trouble.as_ref().map(|(why, _)| why.clone())))
    }

    /// Whether nothing was taken, and nobody tries: it has to be asked.
    pub(super) fn must_be_asked(&self) -> bool {
        let state = self.0.borrow();
        let due = |(_, again): &(String, Instant)| *again <= Instant::now();
        state.writing == 0 && state.trouble.as_ref().is_some_and(due)
    }
}

/// A write that is under way.
#[derive(Debug)]
pub(super) struct Write<'a> {
    pulse: &'a Pulse,
    ended: bool,
}

impl Write<'_> {
    /// It is over.
    pub(super) fn end(mut self, result: Result<(), (By, String)>) {
        self.ended = true;
        self.pulse.0.send_modify(|state| state.ended(result, Instant::now()));
    }
}

impl Drop for Write<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.pulse.0.send_modify(State::left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    const SECOND: Duration = Duration::from_secs(1);

    fn failed(by: By) -> Result<(), (By, String)> {
        Err((by, "no route".to_owned()))
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_is_counted_from_when_something_was_to_be_written_and_nothing_was() {
        let pulse = Pulse::new();
        assert_eq!(pulse.behind(), None);
        let (first, second) = (pulse.write(), pulse.write());
        advance(3 * SECOND).await;
        assert_eq!(pulse.behind(), Some((3 * SECOND, None)), "slow, and nobody knows why");
        first.end(Ok(()));
        assert_eq!(pulse.behind(), Some((Duration::ZERO, None)), "one was taken");
        advance(2 * SECOND).await;
        second.end(failed(By::Log));
        advance(2 * SECOND).await;
        let third = pulse.write();
        assert_eq!(pulse.behind(), Some((4 * SECOND, Some("no route".to_owned()))));
        third.end(Ok(()));
        assert_eq!(pulse.behind(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_asked_where_no_log_tries_again() {
        let pulse = Pulse::new();
        pulse.write().end(failed(By::Probe));
        assert!(!pulse.must_be_asked(), "not at once");
        advance(ASK_EVERY).await;
        assert!(pulse.must_be_asked());
        let log = pulse.write();
        assert!(!pulse.must_be_asked(), "a log does it");
        log.end(failed(By::Log));
        advance(ASK_EVERY).await;
        assert!(!pulse.must_be_asked(), "the log tries again");
        advance(LOGS_TRY_WITHIN).await;
        assert!(pulse.must_be_asked(), "the log is gone");
        pulse.write().end(Ok(()));
        assert!(!pulse.must_be_asked());
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_while_writing_is_not_waited_for() {
        let pulse = Pulse::new();
        drop(pulse.write());
        advance(SECOND).await;
        assert_eq!(pulse.behind(), None);
        pulse.write().end(failed(By::Log));
        drop(pulse.write());
        assert!(pulse.behind().is_some(), "nothing was taken since");
    }
}
