//! Trying again: whether an end is followed by another attempt, and when.

use super::super::{
    attempt::{Attempt, Outcome},
    record::{Earlier, Record, Step},
};
use crate::registry::{MOST_ATTEMPTS, RetryOn, RetryPolicy};
use jiff::Timestamp;
use octavius_protocol::id::{AttemptNumber, ExecutionId};
use octavius_service::text::cut;
use std::time::Duration;

/// The code of an attempt whose program did not run in time.
pub(super) const START_TIMEOUT: &str = "start_timeout";
/// The most bytes of a text that is kept of an earlier attempt.
pub(super) const MOST_KEPT_TEXT: usize = 256;

impl Record {
    /// How many attempts it has at the most, as far as is known: an executor may add some with its grant.
    pub fn max_attempts(&self) -> u32 {
        if self.last_try {
            return self.number.0;
        }
        self.terms.retry(&self.offer).0.attempts.clamp(1, MOST_ATTEMPTS)
    }

    /// Whether another attempt follows this one if it is lost.
    pub(super) fn is_tried_again_if_lost(&self) -> bool {
        let (policy, _) = self.terms.retry(&self.offer);
        self.number.0 < self.max_attempts() && policy.on.contains(&RetryOn::Lost)
    }

    /// Whether another attempt follows this one, which has just ended. `was` is what it was before.
    pub(super) fn is_tried_again(&self, was: Attempt) -> bool {
        let Some(outcome) = self.attempt.outcome() else { return false };
        let held = was.held().is_some(); // what no executor ever had did not fail: nobody took it
        held && !was.cancelling
            && self.number.0 < self.max_attempts()
            && self.ends_as_asked(outcome)
    }

    fn ends_as_asked(&self, outcome: Outcome) -> bool {
        let ending = self.ending.as_ref();
        let failed_as =
            |code| outcome == Outcome::Failed && ending.is_some_and(|ending| ending.code == code);
        let late_start = failed_as(START_TIMEOUT);
        let exit_code = ending.and_then(|ending| ending.exit_code);
        self.terms.retry(&self.offer).0.on.iter().any(|on| match on {
            RetryOn::Failed => outcome == Outcome::Failed && !late_start,
            RetryOn::StartTimeout => late_start,
            // As executors call them.
            RetryOn::Image => failed_as("image"),
            RetryOn::Evicted => failed_as("evicted"),
            RetryOn::Preempted => failed_as("preempted"),
            RetryOn::PodDeleted => failed_as("pod_deleted"),
            RetryOn::TimedOut => outcome == Outcome::TimedOut,
            RetryOn::Lost => outcome == Outcome::Lost,
            RetryOn::ExitCode(code) => {
                outcome == Outcome::Failed && exit_code == Some(i32::from(*code))
            }
        })
    }

    /// Becomes its next attempt, which waits for its time. What is over is kept in short.
    pub(super) fn try_again(&mut self, outcome: Outcome, at: Timestamp) {
        let (code, reason) = self.why_ended();
        let note = self.ending.as_ref().map(|ending| ending.note.clone()).unwrap_or_default();
        // What its holder told has a log, and needs no other word.
        let given_up = outcome == Outcome::Lost
            && self.ending.as_ref().is_some_and(|ending| ending.log.is_none());
        let pause = pause(&self.terms.retry(&self.offer).0, self.number, self.id);
        self.earlier.push(Earlier {
            number: self.number,
            outcome,
            code,
            reason: cut(reason, MOST_KEPT_TEXT),
            exit_code: self.ending.as_ref().and_then(|ending| ending.exit_code),
            executor: self.executor.take(),
            note: cut(note, MOST_KEPT_TEXT),
            log_size: std::mem::take(&mut self.log_size),
            log_cut: cut(std::mem::take(&mut self.log_cut), MOST_KEPT_TEXT),
            given_up: given_up.then(|| self.attempt.newest()),
            afterwards: self.afterwards.take().map(|known| Box::new(known.in_short())),
            history: std::mem::take(&mut self.history),
        });
        // Wall clocks are set back now and then; what is shown never goes backwards.
        let ended = self.earlier.last().and_then(|earlier| Some(earlier.history.last()?.1));
        let at = ended.map_or(at, |ended| at.max(ended));
        self.number = AttemptNumber(self.number.0 + 1);
        self.attempt = Attempt::NEW;
        self.runner = None;
        self.identity = None;
        self.ending = None;
        self.ending_heard = None;
        self.history = vec![(Step::Pending, at)];
        self.retry_at = Some(at.saturating_add(pause).unwrap_or(Timestamp::MAX));
    }
}

/// How long to wait before the attempt that follows `number`: between 80 and 100 percent of what the policy says, so
/// that those that failed together do not come back together. Each execution and attempt has its own share.
pub(super) fn pause(policy: &RetryPolicy, number: AttemptNumber, id: ExecutionId) -> Duration {
    let most = Duration::from_millis(policy.max_pause_ms);
    let growth = f64::from(policy.factor_percent) / 100.0;
    let exponent = i32::try_from(number.0.saturating_sub(1)).unwrap_or(i32::MAX);
    let seconds = Duration::from_millis(policy.pause_ms).as_secs_f64() * growth.powi(exponent);
    let full = Duration::try_from_secs_f64(seconds).unwrap_or(most).min(most);
    full.mul_f64(0.8 + 0.2 * share(number, id))
}

/// Spread evenly from 0 to 1, and always the same for one attempt: a crash does not change it.
fn share(number: AttemptNumber, id: ExecutionId) -> f64 {
    let mut mixed = id.as_bytes().iter().fold(u64::from(number.0), |mixed, byte| {
        (mixed ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3) // FNV-1a
    });
    mixed ^= mixed >> 29;
    f64::from(u32::try_from(mixed >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Pauses grow up to their ceiling, and are at most a fifth shorter than the policy says.
        #[test]
        fn pauses_grow_to_their_ceiling_and_never_beyond(
            pause_ms in 0..100_000u64,
            factor_percent in 100..1000u32,
            max_pause_ms in 0..1_000_000u64,
            id: [u8; 16],
        ) {
            let policy = RetryPolicy { pause_ms, factor_percent, max_pause_ms, ..RetryPolicy::of(20) };
            let mut full = pause_ms.min(max_pause_ms) as f64;
            for number in 1..20 {
                let pause = pause(&policy, AttemptNumber(number), ExecutionId::from_bytes(id));
                let ms = pause.as_secs_f64() * 1000.0;
                prop_assert!(ms <= full + 1.0 && ms >= full * 0.8 - 1.0, "{ms} of {full} before {number}");
                full = (full * f64::from(factor_percent) / 100.0).min(max_pause_ms as f64);
            }
        }
    }

    #[test]
    fn those_that_fail_together_do_not_come_back_together() {
        let policy = RetryPolicy::of(2);
        let pauses = (0..=255).map(|n| {
            pause(&policy, AttemptNumber(1), ExecutionId::from_bytes([n; 16])).as_millis() / 100
        });
        let tenths: std::collections::BTreeSet<_> = pauses.collect();
        assert!(tenths.len() >= 15, "of twenty tenths of a second only {tenths:?} are used");
    }
}
