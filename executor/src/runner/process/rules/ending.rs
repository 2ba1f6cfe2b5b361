//! When the supervisor sends which signal, and what ended the program.
//!
//! The program's own exit is the truth, if it was seen before we sent anything. What it started does not outlive it:
//! terminate, a moment, kill, until none is left. Time is the machine's since boot, so it also passes while nobody
//! but the supervisor is there.

use crate::runner::ExitCause;
use std::time::Duration;

/// What outlives the program has this long between terminate and kill.
pub(in crate::runner::process) const LEFTOVER_GRACE: Duration = Duration::from_millis(500);

/// What a kill does not end in this time is left alone, and told: a process of another user, or one that the kernel
/// does not let go. The program itself is waited for without limit, for its end is the attempt's.
pub(in crate::runner::process) const PATIENCE: Duration = Duration::from_secs(60);

/// How a process ended: by its own code, or by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::runner::process) struct Status {
    /// Exit code.
    pub(in crate::runner::process) code: Option<i32>,
    /// Number of the signal.
    pub(in crate::runner::process) signal: Option<i32>,
}

/// That somebody wants an attempt to end. A later one is the more urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::runner::process) enum Wish {
    /// Terminate, grace, kill.
    Terminate,
    /// Kill at once.
    Kill,
}

/// What the supervisor sees at one moment.
#[derive(Clone, Copy, Debug)]
pub(in crate::runner::process) struct Seen {
    /// How the program ended, if it did.
    pub(in crate::runner::process) program: Option<Status>,
    /// Whether the program or anything that it started is left.
    pub(in crate::runner::process) left: bool,
    /// What somebody wants.
    pub(in crate::runner::process) wish: Option<Wish>,
}

/// What the supervisor does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::runner::process) enum Order {
    /// Wait for the next event, or until [`Ending::due`].
    Wait,
    /// Send a terminate to all that is left.
    Terminate,
    /// Send a kill to all that is left.
    Kill,
    /// It is over.
    End {
        /// What ended the program.
        cause: ExitCause,
        /// How it ended.
        status: Status,
        /// Something could not be killed and is left.
        survivors: bool,
    },
}

/// The way of one program to its end.
#[derive(Debug)]
pub(in crate::runner::process) struct Ending {
    /// When its time is up.
    deadline: Option<Duration>,
    grace: Duration,
    program: Option<Status>,
    cause: Option<ExitCause>,
    kill_at: Option<Duration>,
    killed_at: Option<Duration>,
}

impl Ending {
    /// Of a program that started at `start` and may run for `timeout`.
    pub(in crate::runner::process) fn new(
        start: Duration,
        timeout: Option<Duration>,
        grace: Duration,
    ) -> Self {
        let deadline = timeout.map(|timeout| start.saturating_add(timeout));
        Self { deadline, grace, program: None, cause: None, kill_at: None, killed_at: None }
    }

    /// What to do now.
    pub(in crate::runner::process) fn step(&mut self, now: Duration, seen: Seen) -> Order {
        let mut terminate = false;
        if self.program.is_none() && seen.program.is_some() {
            self.program = seen.program;
            // Who was sent a terminate with the program has had its warning.
            terminate = self.kill_at.is_none();
            self.cause.get_or_insert(ExitCause::Exited);
            self.kill_no_later_than(now.saturating_add(LEFTOVER_GRACE));
        }
        if let (Some(status), false) = (self.program, seen.left) {
            return self.end(status, false);
        }
        if let Some(cause) = self.stop(now, seen.wish) {
            self.cause = Some(cause);
            self.kill_at = Some(now.saturating_add(self.grace));
            terminate = true;
        }
        if seen.wish == Some(Wish::Kill) {
            self.kill_no_later_than(now);
        }
        if self.kill_at.is_some_and(|at| at <= now) {
            let killed_at = *self.killed_at.get_or_insert(now);
            return match self.program {
                Some(status) if now.saturating_sub(killed_at) >= PATIENCE => self.end(status, true),
                Some(_) | None => Order::Kill,
            };
        }
        if terminate { Order::Terminate } else { Order::Wait }
    }

    /// When there is something to do though nothing happens.
    pub(in crate::runner::process) fn due(&self) -> Option<Duration> {
        self.kill_at.or(self.deadline)
    }

    /// Whether signals were sent, so that processes may end from which no event comes.
    pub(in crate::runner::process) fn has_begun(&self) -> bool {
        self.cause.is_some()
    }

    /// Why to stop the program now, if nothing was sent yet and it still runs.
    fn stop(&self, now: Duration, wish: Option<Wish>) -> Option<ExitCause> {
        if self.cause.is_some() {
            return None;
        }
        let late = self.deadline.is_some_and(|deadline| deadline <= now);
        wish.map(|_| ExitCause::Stopped).or(late.then_some(ExitCause::TimedOut))
    }

    fn kill_no_later_than(&mut self, at: Duration) {
        self.kill_at = Some(self.kill_at.map_or(at, |already| already.min(at)));
    }

    fn end(&self, status: Status, survivors: bool) -> Order {
        let cause = self.cause.clone().unwrap_or(ExitCause::Exited);
        Order::End { cause, status, survivors }
    }
}

#[cfg(test)]
mod tests;
