//! For how much work there is room.

use crate::lease::{Held, HeldPhase};
use octavius_protocol::MAX_HELD;

/// How many attempts more there is room for. What has ended takes no place while its state and log are on their way,
/// unless as much waits to be sent as there are places: then the controller is slower than the work.
pub fn free(capacity: u32, held: &[Held]) -> u32 {
    let count =
        |ended| held.iter().filter(|held| (held.phase == HeldPhase::Ended) == ended).count();
    let alive = u32::try_from(count(false)).unwrap_or(u32::MAX);
    let ended = u32::try_from(count(true)).unwrap_or(u32::MAX);
    let nameable = u32::try_from(MAX_HELD.saturating_sub(held.len())).unwrap_or(u32::MAX);
    capacity.saturating_sub(alive.saturating_add(ended.saturating_sub(capacity))).min(nameable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::LeaseName;
    use octavius_protocol::id::{AttemptId, AttemptNumber, Epoch, ExecutionId};
    use proptest::prelude::*;

    fn held(phase: HeldPhase, count: usize) -> Vec<Held> {
        let attempt =
            AttemptId { execution: ExecutionId::from_bytes([1; 16]), attempt: AttemptNumber(1) };
        let lease = LeaseName { attempt, epoch: Epoch(1) };
        vec![Held { lease, phase, lacks_secrets: false }; count]
    }

    #[test]
    fn no_more_is_held_than_can_be_named() {
        assert_eq!(free(10_000, &held(HeldPhase::Ended, 9_990)), 10);
        assert_eq!(free(10_000, &held(HeldPhase::Ended, 10_000)), 0);
    }

    proptest! {
        #[test]
        fn what_is_asked_for_fits_and_what_is_held_stays_bounded(
            capacity in 1u32..50,
            accepted in 0usize..60,
            running in 0usize..60,
            ended in 0usize..120,
        ) {
            let all = [
                held(HeldPhase::Accepted, accepted),
                held(HeldPhase::Running, running),
                held(HeldPhase::Ended, ended),
            ].concat();
            let free = free(capacity, &all) as usize;
            let capacity = capacity as usize;
            prop_assert!(free == 0 || accepted + running + free <= capacity);
            prop_assert!(free == 0 || all.len() + free <= 2 * capacity, "ended ones pile up");
            if ended <= capacity {
                prop_assert_eq!(free, capacity.saturating_sub(accepted + running));
            }
        }
    }
}
