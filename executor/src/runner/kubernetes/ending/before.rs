//! Whether a program had ended before somebody ended it: two clocks tell of that, its node's and the API server's.

use super::super::{
    object,
    seen::{Seen, Stop, StopWhy},
};
use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod};

/// How far the clock of a node may be behind, in seconds, and nothing shows it: kubelets take up a pod within that time.
const BEHIND: i64 = 3;

/// Whether the program had ended by itself when it was asked to, or its time was up: its kubelet was away meanwhile, and
/// says so afterwards. A node whose clock is seen to be behind is not believed, for there a program that was cut short
/// looks the same.
pub(super) fn was_over_before(
    seen: &Seen,
    pod: &Pod,
    over: &ContainerStateTerminated,
    stop: &Stop,
) -> bool {
    let Some(finished) = over.finished_at.as_ref().map(|time| time.0.as_second()) else {
        return false;
    };
    let taken_up = pod.status.as_ref().and_then(|status| status.start_time.as_ref());
    let is_behind = taken_up.zip(pod.metadata.creation_timestamp.as_ref());
    if is_behind.is_some_and(|(taken_up, made)| taken_up < made)
        || finished.saturating_add(BEHIND) > stop.at
    {
        return false;
    }
    match stop.why {
        StopWhy::Asked => true,
        StopWhy::TimedOut => {
            let made = seen.any_job().and_then(|job| object::kept::decode(job).ok());
            let limit = made.and_then(|made| made.work.timeout);
            let started = over.started_at.as_ref().map(|time| time.0.as_second());
            limit.zip(started).is_some_and(|(limit, started)| {
                let ran = u64::try_from(finished.saturating_sub(started)).unwrap_or_default();
                u128::from(ran) * 1000 < limit.as_millis()
            })
        }
        StopWhy::NotStarted | StopWhy::PodDeleted => false,
    }
}

/// Whether the pod was told to go before its program ended.
pub(super) fn was_deleted_before(pod: &Pod, over: &ContainerStateTerminated) -> bool {
    let meta = &pod.metadata;
    let Some(gone_by) = &meta.deletion_timestamp else { return false };
    let grace = meta.deletion_grace_period_seconds.unwrap_or_default();
    let asked = gone_by.0.as_second().saturating_sub(grace);
    // Whole seconds: in the same one, the program's own exit is believed if it says that all went well.
    over.finished_at.as_ref().is_some_and(|finished| {
        let finished = finished.0.as_second();
        finished > asked || (finished == asked && over.exit_code != 0)
    })
}
