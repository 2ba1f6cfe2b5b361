//! The logs that are followed, attempt by attempt: each of one pod, that which runs or ran the program.

use super::{
    log::{Held, KubeLogs, PodLog, PodName, line},
    names::{CONTAINER, text},
    seen::{Seen, own_state, started_at},
};
use crate::runner::{Exit, ExitCause, LogPiece, Phase};
use bytes::Bytes;
use jiff::Timestamp;
use kube::Client;
use octavius_protocol::id::AttemptId;
use std::{collections::BTreeMap, sync::Arc};
use tokio::{sync::watch, time::Instant};

/// The cursor behind the log of what was not started.
const UNSTARTED: &[u8] = b"unstarted-1";

/// The log of what was not started: a line that says why. None: the phase is another one.
pub(super) fn of_unstarted(phase: &Phase, cursor: &Bytes) -> Option<Option<LogPiece>> {
    let Phase::Ended(Exit { cause: ExitCause::NotStarted { why, .. }, .. }) = phase else {
        return None;
    };
    Some(cursor.is_empty().then(|| {
        let words = Bytes::from(line(false, why));
        let chunks = vec![(Timestamp::now().as_millisecond(), words)];
        LogPiece { offset: 0, chunks, cursor: Bytes::from_static(UNSTARTED) }
    }))
}

/// Logs that are read at present.
#[derive(Debug)]
pub(super) struct Logs {
    api: Arc<KubeLogs>,
    held: Held,
    open: watch::Sender<BTreeMap<AttemptId, (PodName, Arc<PodLog>)>>,
}

impl Logs {
    /// None yet.
    pub(super) fn new(client: Client, not_before: watch::Receiver<Option<Instant>>) -> Self {
        let api = Arc::new(KubeLogs::new(client).leaving_alone_until(not_before));
        Self { api, held: Held::default(), open: watch::Sender::new(BTreeMap::new()) }
    }

    /// The log of an attempt's program; none: no program of it ever ran, as far as is known.
    pub(super) fn of(&self, attempt: AttemptId, seen: &Seen, over: bool) -> Option<Arc<PodLog>> {
        let (pod, finished) = match seen.main_pod() {
            Some(pod) => {
                // The kubelet that evicts a pod says nothing of its containers any more.
                let ran = started_at(pod).is_some() || seen.told_pod_name().is_some();
                if !ran && !self.open.borrow().contains_key(&attempt) {
                    return None;
                }
                let name = (text(&pod.metadata.namespace), text(&pod.metadata.name));
                let ended = own_state(pod).and_then(|state| state.terminated.as_ref());
                (name, ended.map(|ended| ended.finished_at.as_ref().map(|time| time.0)))
            }
            // It ran, and was gone before it was seen here: then its log is, too, and the reader says so.
            None => {
                let namespace = text(&seen.any_job()?.metadata.namespace);
                ((namespace, seen.told_pod_name()?), Some(None))
            }
        };
        let name = PodName { namespace: pod.0.to_owned(), name: pod.1.to_owned() };
        let known = self.open.borrow().get(&attempt).cloned().filter(|(known, _)| *known == name);
        let log = known.map(|(_, log)| log).unwrap_or_else(|| {
            let log =
                Arc::new(PodLog::new(self.api.clone(), name.clone(), CONTAINER, self.held.clone()));
            log.container_started();
            self.open.send_modify(|open| {
                open.insert(attempt, (name, log.clone()));
            });
            log
        });
        if seen.main_pod().is_some_and(|pod| started_at(pod).is_some()) {
            log.container_ran();
        }
        match finished {
            Some(at) => log.container_ended(at),
            None if over => log.container_ended(None),
            None => {}
        }
        Some(log)
    }

    /// It is not read any more.
    pub(super) fn forget(&self, attempt: AttemptId) {
        self.open.send_modify(|open| {
            open.remove(&attempt);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::ExitLog;
    use crate::runner::kubernetes::seen::fixtures::{over, running, waits, went};
    use kube::Config;
    use octavius_protocol::id::{AttemptNumber, ExecutionId};

    #[test]
    fn the_log_of_what_was_not_started_says_why_and_is_read_once() {
        let why = "the program did not start within 1m".to_owned();
        let cause = ExitCause::NotStarted { code: "start_timeout", why };
        let end = |cause| {
            let log = ExitLog::Followed;
            Phase::Ended(Exit { cause, code: None, signal: None, log, note: String::new() })
        };
        let unstarted = end(cause);
        let piece = of_unstarted(&unstarted, &Bytes::new()).unwrap().unwrap();
        let text = "[octavius: the program did not start within 1m]\n";
        assert_eq!((piece.offset, &piece.chunks[0].1[..]), (0, text.as_bytes()));
        assert_eq!(of_unstarted(&unstarted, &piece.cursor), Some(None));
        for other in [end(ExitCause::Stopped), Phase::Running, Phase::Vanished(String::new())] {
            assert_eq!(of_unstarted(&other, &Bytes::new()), None, "{other:?}");
        }
    }

    #[tokio::test]
    async fn the_log_of_a_pod_that_was_evicted_is_the_one_that_was_followed() {
        let nobody = Config::new("http://127.0.0.1:1".parse().unwrap());
        let logs =
            Logs::new(Client::try_from(nobody).unwrap(), watch::Sender::new(None).subscribe());
        let attempt =
            AttemptId { execution: ExecutionId::from_bytes([9; 16]), attempt: AttemptNumber(1) };
        let bare = serde_json::json!({"phase": "Failed", "reason": "Evicted"});
        let evicted = went().with("p", 0, bare);
        assert!(logs.of(attempt, &evicted, true).is_none(), "it never ran, as far as is known");
        let followed = logs.of(attempt, &went().with("p", 0, running(1)), false).unwrap();
        let rest = logs.of(attempt, &evicted, true).unwrap();
        assert!(Arc::ptr_eq(&followed, &rest));
        logs.forget(attempt);
        assert!(logs.of(attempt, &evicted.told("p"), true).is_some(), "it is known to have run");
        logs.forget(attempt);
        assert!(logs.of(attempt, &went().with("p", 0, waits("x", "")), false).is_none());
        assert!(logs.of(attempt, &went().with("p", 0, over(0, "", 1, 2)), true).is_some());
    }
}
