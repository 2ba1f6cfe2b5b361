//! The table of what is seen: attempt by attempt, kept up by the watches, and read by all who wait.

use super::{
    names::{Owner, attempt_of, text},
    seen::{Seen, Warning, own_state},
};
use k8s_openapi::{
    api::{
        batch::v1::Job,
        core::v1::{Event, Pod},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use octavius_protocol::id::AttemptId;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};
use tokio::sync::{mpsc, watch};

/// The most removed Jobs that are remembered, so that a late word of one brings nothing back.
const MOST_FORGOTTEN: usize = 10_000;
/// The most warnings that are kept of objects whose attempt is not seen yet.
const MOST_EARLY: usize = 1000;

/// What is seen of all attempts.
#[derive(Debug)]
pub(super) struct Table {
    owner: Owner,
    inner: watch::Sender<Inner>,
    /// Attempts that are seen for the first time.
    appeared: mpsc::UnboundedSender<AttemptId>,
}

#[derive(Debug)]
struct Inner {
    attempts: BTreeMap<AttemptId, watch::Sender<Seen>>,
    /// The namespaces of attempts of which nothing needs to be seen yet.
    places: BTreeMap<AttemptId, String>,
    /// The Secrets that this process has made.
    gates: BTreeMap<AttemptId, Gate>,
    /// Uids of Jobs that were removed.
    forgotten: VecDeque<String>,
    /// Warnings that came before what they are about, oldest first.
    early: VecDeque<(String, Warning)>,
}

/// A Secret as it was made: of it nothing has to be asked again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gate {
    /// The uid of the Job that it was made for.
    pub(super) job: String,
    /// Its own.
    pub(super) uid: String,
}

impl Table {
    /// An empty table of what belongs to `owner`, and who appears in it.
    pub(super) fn new(owner: Owner) -> (Self, mpsc::UnboundedReceiver<AttemptId>) {
        let (appeared, appearing) = mpsc::unbounded_channel();
        let inner = Inner {
            attempts: BTreeMap::new(),
            places: BTreeMap::new(),
            gates: BTreeMap::new(),
            forgotten: VecDeque::new(),
            early: VecDeque::new(),
        };
        (Self { owner, inner: watch::Sender::new(inner), appeared }, appearing)
    }

    /// Whose objects are ours.
    pub(super) fn owner(&self) -> &Owner {
        &self.owner
    }

    /// What is seen of an attempt, as it changes; none: nothing.
    pub(super) fn of(&self, attempt: AttemptId) -> Option<watch::Receiver<Seen>> {
        self.inner.borrow().attempts.get(&attempt).map(watch::Sender::subscribe)
    }

    /// What is seen of an attempt now.
    pub(super) fn seen(&self, attempt: AttemptId) -> Option<Seen> {
        self.inner.borrow().attempts.get(&attempt).map(|seen| seen.borrow().clone())
    }

    /// All attempts of which something is seen.
    pub(super) fn all(&self) -> Vec<AttemptId> {
        self.inner.borrow().attempts.keys().copied().collect()
    }

    /// Says in which namespace an attempt is, if it is anywhere.
    pub(super) fn expect(&self, attempt: AttemptId, namespace: &str) {
        self.inner.send_modify(|inner| {
            inner.places.insert(attempt, namespace.to_owned());
        });
    }

    /// The Secret of a Job was made.
    pub(super) fn gate_made(&self, attempt: AttemptId, gate: Gate) {
        self.inner.send_modify(|inner| {
            inner.gates.insert(attempt, gate);
        });
    }

    /// The Secret of a Job, if this process has made it.
    pub(super) fn gate(&self, attempt: AttemptId, job: &Job) -> Option<Gate> {
        let gate = self.inner.borrow().gates.get(&attempt).cloned();
        gate.filter(|gate| Some(&gate.job) == job.metadata.uid.as_ref())
    }

    /// The namespace of an attempt, as far as it is known.
    pub(super) fn place(&self, attempt: AttemptId) -> Option<String> {
        let inner = self.inner.borrow();
        let seen = inner.attempts.get(&attempt).and_then(|seen| {
            seen.borrow().any_job().map(|job| text(&job.metadata.namespace).to_owned())
        });
        seen.or_else(|| inner.places.get(&attempt).cloned())
    }

    /// A Job is there, as it is now.
    pub(super) fn job(&self, mut job: Job) {
        job.metadata.managed_fields = None;
        self.inner.send_modify(|inner| {
            let Some(attempt) = self.owner.attempt(&job.metadata) else { return };
            if inner.is_forgotten(text(&job.metadata.uid)) {
                return;
            }
            let job = Arc::new(job);
            self.change(inner, attempt, |seen| {
                let other = seen.any_job().filter(|other| other.metadata.uid != job.metadata.uid);
                if other.is_some() {
                    // Somebody made another Job of the same name: what was seen belongs to the former.
                    *seen = Seen::default();
                }
                let newer =
                    seen.job.as_ref().is_none_or(|old| is_newer(&job.metadata, &old.metadata));
                if newer && seen.gone.is_none() {
                    seen.job = Some(job.clone());
                }
                newer
            });
        });
    }

    /// A Job is gone; as it last was.
    pub(super) fn job_gone(&self, mut job: Job) {
        job.metadata.managed_fields = None;
        self.inner.send_modify(|inner| {
            let Some(attempt) = self.owner.attempt(&job.metadata) else { return };
            inner.change_known(attempt, |seen| {
                let same =
                    seen.job.as_ref().is_some_and(|old| old.metadata.uid == job.metadata.uid);
                if same {
                    seen.job = None;
                    seen.gone = Some(Arc::new(job));
                }
                same
            });
        });
    }

    /// All Jobs of a namespace, as they were at `version`.
    pub(super) fn jobs(&self, namespace: &str, jobs: Vec<Job>, version: &str) {
        let names: Vec<String> =
            jobs.iter().map(|job| text(&job.metadata.name).to_owned()).collect();
        for job in jobs {
            self.job(job);
        }
        for attempt in self.all() {
            let Some(Seen { job: Some(job), .. }) = self.seen(attempt) else { continue };
            let meta = &job.metadata;
            let listed = names.iter().any(|name| name == text(&meta.name));
            if text(&meta.namespace) == namespace && !listed && !is_behind(version, meta) {
                self.job_gone(Arc::unwrap_or_clone(job));
            }
        }
    }

    /// A pod is there, as it is now.
    pub(super) fn pod(&self, mut pod: Pod) {
        pod.metadata.managed_fields = None;
        self.inner.send_modify(|inner| {
            let Some(attempt) = self.owner.attempt(&pod.metadata) else { return };
            if inner.is_forgotten(job_uid(&pod)) {
                return;
            }
            self.change(inner, attempt, |seen| {
                let uid = text(&pod.metadata.uid).to_owned();
                if seen.gone_pods.contains_key(&uid) || !belongs(seen, &pod) {
                    return false;
                }
                let old = seen.pods.get(&uid);
                let newer = old.is_none_or(|old| is_newer(&pod.metadata, &old.metadata));
                if newer {
                    let pod = remembering(pod, old.map(AsRef::as_ref));
                    seen.pods.insert(uid, Arc::new(pod));
                }
                newer
            });
        });
    }

    /// A pod is gone; as it last was.
    pub(super) fn pod_gone(&self, mut pod: Pod) {
        pod.metadata.managed_fields = None;
        self.inner.send_modify(|inner| {
            let Some(attempt) = self.owner.attempt(&pod.metadata) else { return };
            let uid = text(&pod.metadata.uid).to_owned();
            inner.change_known(attempt, |seen| match seen.pods.remove(&uid) {
                None => false,
                Some(old) => {
                    seen.gone_pods.insert(uid, Arc::new(remembering(pod, Some(&old))));
                    true
                }
            });
            inner.drop_empty(attempt);
        });
    }

    /// All pods of a namespace, or of one attempt of it, as they were at `version`.
    pub(super) fn pods(
        &self,
        namespace: &str,
        only: Option<AttemptId>,
        pods: Vec<Pod>,
        version: &str,
    ) {
        let uids: Vec<String> = pods.iter().map(|pod| text(&pod.metadata.uid).to_owned()).collect();
        for pod in pods {
            self.pod(pod);
        }
        let attempts = only.map_or_else(|| self.all(), |attempt| vec![attempt]);
        for attempt in attempts {
            for (uid, pod) in self.seen(attempt).unwrap_or_default().pods {
                let meta = &pod.metadata;
                let listed = uids.contains(&uid);
                if text(&meta.namespace) == namespace && !listed && !is_behind(version, meta) {
                    self.pod_gone(Arc::unwrap_or_clone(pod));
                }
            }
        }
    }

    /// A warning about a Job or a pod.
    pub(super) fn warning(&self, event: &Event) {
        let name = text(&event.involved_object.name);
        let warning = Warning {
            reason: text(&event.reason).to_owned(),
            message: text(&event.message).to_owned(),
        };
        self.inner.send_modify(|inner| {
            let Some(attempt) = attempt_of(name) else { return };
            match inner.attempts.contains_key(&attempt) {
                true => inner.change_known(attempt, |seen| {
                    let old = seen.warnings.insert(name.to_owned(), warning.clone());
                    old != Some(warning)
                }),
                false => {
                    if inner.early.len() >= MOST_EARLY {
                        inner.early.pop_front();
                    }
                    inner.early.push_back((name.to_owned(), warning));
                }
            }
        });
    }

    /// What was removed is not to come back.
    pub(super) fn forget(&self, attempt: AttemptId) {
        self.inner.send_modify(|inner| {
            inner.places.remove(&attempt);
            inner.gates.remove(&attempt);
            let Some(seen) = inner.attempts.remove(&attempt) else { return };
            let uid = seen.borrow().any_job().map(|job| text(&job.metadata.uid).to_owned());
            if let Some(uid) = uid {
                if inner.forgotten.len() >= MOST_FORGOTTEN {
                    inner.forgotten.pop_front();
                }
                inner.forgotten.push_back(uid);
            }
        });
    }

    /// Changes what is seen of an attempt, which may appear thereby.
    fn change(
        &self,
        inner: &mut Inner,
        attempt: AttemptId,
        change: impl FnOnce(&mut Seen) -> bool,
    ) {
        if !inner.attempts.contains_key(&attempt) {
            let mut seen = Seen::default();
            inner.early.retain(|(name, warning)| {
                let ours = attempt_of(name) == Some(attempt);
                if ours {
                    seen.warnings.insert(name.clone(), warning.clone());
                }
                !ours
            });
            inner.attempts.insert(attempt, watch::Sender::new(seen));
            // Nobody listens any more when the runner is about to be dropped.
            let _ = self.appeared.send(attempt);
        }
        inner.change_known(attempt, change);
    }
}

impl Inner {
    fn change_known(&mut self, attempt: AttemptId, change: impl FnOnce(&mut Seen) -> bool) {
        if let Some(seen) = self.attempts.get(&attempt) {
            seen.send_if_modified(change);
        }
    }

    fn is_forgotten(&self, uid: &str) -> bool {
        self.forgotten.iter().any(|forgotten| forgotten == uid)
    }

    /// What is left of an attempt whose Job was never seen here is nothing.
    fn drop_empty(&mut self, attempt: AttemptId) {
        let empty = self.attempts.get(&attempt).is_some_and(|seen| {
            let seen = seen.borrow();
            seen.any_job().is_none() && seen.pods.is_empty()
        });
        if empty {
            self.attempts.remove(&attempt);
        }
    }
}

/// Whether a pod is made for the Job that is seen, and not by somebody else with our labels.
fn belongs(seen: &Seen, pod: &Pod) -> bool {
    seen.any_job().is_none_or(|job| text(&job.metadata.uid) == job_uid(pod))
}

/// The uid of the Job that a pod was made for.
fn job_uid(pod: &Pod) -> &str {
    let owners = pod.metadata.owner_references.iter().flatten();
    owners
        .filter(|owner| owner.kind == "Job" && owner.controller == Some(true))
        .map(|owner| owner.uid.as_str())
        .next()
        .unwrap_or_default()
}

/// What is seen of a pod now, with what was seen of its container before: a kubelet that removes a pod may say of a
/// container that has ended that it waits to be made (before 1.22), and one that evicts it says nothing of it.
fn remembering(mut now: Pod, before: Option<&Pod>) -> Pod {
    let Some(before) = before else { return now };
    let rank = |pod: &Pod| {
        own_state(pod).map_or(0, |state| match (&state.terminated, &state.running) {
            (Some(_), _) => 2,
            (None, Some(_)) => 1,
            (None, None) => 0,
        })
    };
    if rank(&now) < rank(before) {
        match (&mut now.status, &before.status) {
            // One that evicts a pod says why, and nothing of its containers any more.
            (Some(status), Some(known))
                if text(&status.phase) == "Failed" && !text(&status.reason).is_empty() =>
            {
                status.container_statuses.clone_from(&known.container_statuses);
            }
            (status, known) => status.clone_from(known),
        }
    }
    now
}

/// Versions are the store's revisions, though nobody promises it: what is no number counts as newer.
fn is_newer(new: &ObjectMeta, old: &ObjectMeta) -> bool {
    let number = |meta: &ObjectMeta| text(&meta.resource_version).parse::<u64>().ok();
    match (number(new), number(old)) {
        (Some(new), Some(old)) => new >= old,
        (None, _) | (_, None) => true,
    }
}

/// Whether a list of that version is older than what is known of an object.
fn is_behind(version: &str, meta: &ObjectMeta) -> bool {
    let list = ObjectMeta { resource_version: Some(version.to_owned()), ..ObjectMeta::default() };
    !is_newer(&list, meta)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::Phase;
    use crate::runner::kubernetes::{names, phase, seen::fixtures::*};

    fn table() -> Table {
        let owner = Owner { executor: "executor".to_owned(), installation: String::new() };
        Table::new(owner).0
    }

    /// The Job and its pods, with versions, as a list or a watch has them.
    fn objects(seen: &Seen, version: u64) -> (Job, Vec<Pod>) {
        let mut job = Job::clone(seen.any_job().unwrap());
        job.metadata.resource_version = Some(version.to_string());
        let pods = seen.pods.values().map(|pod| {
            let mut pod = Pod::clone(pod);
            pod.metadata.resource_version = Some(version.to_string());
            pod
        });
        (job, pods.collect())
    }

    #[test]
    fn what_a_list_leaves_out_is_gone_unless_the_list_is_older() {
        let table = table();
        let (job, pods) = objects(&went().with("p", 0, running(1)), 7);
        let attempt = table.owner().attempt(&job.metadata).unwrap();
        table.job(job);
        table.pods("jobs", None, pods, "7");
        table.jobs("jobs", Vec::new(), "6");
        table.pods("jobs", None, Vec::new(), "6");
        assert_eq!(table.seen(attempt).unwrap().pods.len(), 1, "an old list is believed");
        table.jobs("elsewhere", Vec::new(), "9");
        assert!(table.seen(attempt).unwrap().job.is_some(), "another namespace's list is believed");
        table.jobs("jobs", Vec::new(), "9");
        table.pods("jobs", None, Vec::new(), "9");
        let seen = table.seen(attempt).unwrap();
        assert!(seen.job.is_none() && seen.gone.is_some());
        assert_eq!((seen.pods.len(), seen.gone_pods.len()), (0, 1));
    }

    /// A table that has seen a pod with one status and then with another; and the pod as it is by then.
    fn told(first: serde_json::Value, then: serde_json::Value) -> (Table, AttemptId, Pod) {
        let (table, job) = (table(), went());
        let told = |status, version| objects(&job.clone().with("p", 0, status), version);
        let (job, mut pods) = told(first, 7);
        let attempt = table.owner().attempt(&job.metadata).unwrap();
        table.job(job);
        table.pod(pods.remove(0));
        let pod = told(then, 8).1.remove(0);
        table.pod(pod.clone());
        (table, attempt, pod)
    }

    #[test]
    fn a_kubelet_that_forgets_how_a_container_ended_is_not_believed() {
        let (table, attempt, pod) = told(over(143, "Error", 1, 2), waits("ContainerCreating", ""));
        let code = |seen: &Seen| match phase::phase(seen, at(3)) {
            Some(Phase::Ended(exit)) => exit.code,
            other => panic!("{other:?}"),
        };
        assert_eq!(code(&table.seen(attempt).unwrap()), Some(143));
        table.pod_gone(pod);
        assert_eq!(code(&table.seen(attempt).unwrap()), Some(143));
    }

    /// A kubelet that ends a pod may say that it failed, a moment before it says how.
    #[test]
    fn a_failure_without_a_word_is_not_believed_of_what_was_seen_to_run() {
        let (table, attempt, _) = told(running(1), serde_json::json!({"phase": "Failed"}));
        assert_eq!(phase::phase(&table.seen(attempt).unwrap(), at(3)), Some(Phase::Running));
    }

    #[test]
    fn an_attempt_is_where_it_was_seen_and_else_where_it_is_expected() {
        let (table, (job, _)) = (table(), objects(&went(), 7));
        let attempt = table.owner().attempt(&job.metadata).unwrap();
        assert_eq!(table.place(attempt), None);
        table.expect(attempt, "other");
        assert_eq!(table.place(attempt).as_deref(), Some("other"));
        table.job(job.clone());
        assert_eq!(table.place(attempt).as_deref(), Some("jobs"));
        table.job_gone(job);
        assert_eq!(table.place(attempt).as_deref(), Some("jobs"));
        table.forget(attempt);
        assert_eq!(table.place(attempt), None);
    }

    /// As a kubelet of 1.20 does it: the pod has failed, and of its container nothing is said any more.
    #[test]
    fn an_eviction_is_believed_though_the_kubelet_says_nothing_of_the_container() {
        let status = serde_json::json!({"phase": "Failed", "reason": "Evicted", "message": "full"});
        let (table, attempt, _) = told(running(1), status);
        let Some(Phase::Ended(exit)) = phase::phase(&table.seen(attempt).unwrap(), at(3)) else {
            panic!("{:?}", table.seen(attempt))
        };
        let evicted =
            crate::runner::ExitCause::Failed { code: "evicted", why: "Evicted: full".into() };
        assert_eq!((exit.cause, exit.code), (evicted, None));
        assert_eq!(exit.log, crate::runner::ExitLog::Followed);
    }

    #[test]
    fn what_was_removed_does_not_come_back_and_a_pod_of_another_job_is_nobodys() {
        let table = table();
        let (job, pods) = objects(&went().with("p", 0, running(1)), 7);
        let attempt = table.owner().attempt(&job.metadata).unwrap();
        table.job(job.clone());
        let mut foreign = pods[0].clone();
        foreign.metadata.owner_references = None;
        table.pod(foreign);
        assert_eq!(table.seen(attempt).unwrap().pods.len(), 0);
        table.forget(attempt);
        table.job(job);
        table.pod(pods[0].clone());
        assert!(table.seen(attempt).is_none());
    }

    #[test]
    fn a_warning_may_come_before_what_it_is_about() {
        let table = table();
        let (job, _) = objects(&went(), 7);
        let attempt = table.owner().attempt(&job.metadata).unwrap();
        let mut event = Event::default();
        event.involved_object.name = Some(names::object_name(attempt));
        event.message = Some("exceeded quota".to_owned());
        table.warning(&event);
        table.job(job);
        let seen = table.seen(attempt).unwrap();
        assert_eq!(seen.warning_of_job().unwrap().message, "exceeded quota");
    }
}
