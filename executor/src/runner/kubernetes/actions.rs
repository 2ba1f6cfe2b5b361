//! What is done to the objects of one attempt. Each may be done again, by this executor or the next, with the same outcome.

use super::{
    Tools,
    client::Fault,
    keep::rules::{self, Duty},
    names::{ENDED, POD, STOP, is_made_for, object_name, text},
    removal::{delete_pod, end_pods},
    seen::{Seen, Stop, StopWhy},
};
use crate::runner::RunnerError;
use k8s_openapi::api::batch::v1::Job;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions};
use octavius_protocol::id::AttemptId;
use serde_json::{Value, json};

/// How often somebody else may be faster.
pub(super) const TRIES: u32 = 10;

/// Looks at what there is of an attempt now: its Job, if it is one of ours, and its pods. A namespace that cannot be asked
/// is in the way only of what may be there.
pub(super) async fn refresh(tools: &Tools, attempt: AttemptId) -> Result<Option<Job>, RunnerError> {
    let place = tools.table.place(attempt);
    let namespaces = place.as_ref().map_or(&tools.options.namespaces[..], std::slice::from_ref);
    let mut failed = None;
    for namespace in namespaces {
        match refresh_in(tools, namespace, attempt).await {
            Ok(None) => {}
            Ok(Some(job)) => return Ok(Some(job)),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(None), Err)
}

/// Looks at what there is of an attempt's Job now, and not at its pods.
pub(super) async fn look_at_job(
    tools: &Tools,
    attempt: AttemptId,
) -> Result<Option<Job>, RunnerError> {
    match tools.table.place(attempt) {
        Some(namespace) => refresh_job(tools, &namespace, attempt).await,
        None => refresh(tools, attempt).await,
    }
}

async fn refresh_in(
    tools: &Tools,
    namespace: &str,
    attempt: AttemptId,
) -> Result<Option<Job>, RunnerError> {
    let job = refresh_job(tools, namespace, attempt).await?;
    if job.is_some() {
        refresh_pods(tools, namespace, attempt).await?;
    }
    Ok(job)
}

/// Looks at the Job of an attempt alone.
async fn refresh_job(
    tools: &Tools,
    namespace: &str,
    attempt: AttemptId,
) -> Result<Option<Job>, RunnerError> {
    let name = object_name(attempt);
    let doing = || format!("looking at the Job {namespace}/{name}");
    let looked = tools.cluster.look(&tools.cluster.jobs(namespace), &name).await;
    let Some(job) = looked.map_err(|fault| fault.during(&doing()))? else {
        gone(tools, namespace, attempt);
        return Ok(None);
    };
    if tools.table.owner().attempt(&job.metadata) != Some(attempt) {
        return Ok(None);
    }
    tools.table.job(job.clone());
    Ok(Some(job))
}

/// Looks at the pods that an attempt has now.
pub(super) async fn refresh_pods(
    tools: &Tools,
    namespace: &str,
    attempt: AttemptId,
) -> Result<(), RunnerError> {
    let name = object_name(attempt);
    let pods = ListParams::default().labels(&format!("job-name={name}"));
    let pods = tools.cluster.call(tools.cluster.pods(namespace).list(&pods)).await;
    let doing = || format!("looking at the pods of the Job {namespace}/{name}");
    let pods = pods.map_err(|fault| fault.during(&doing()))?;
    let version = text(&pods.metadata.resource_version).to_owned();
    tools.table.pods(namespace, Some(attempt), pods.items, &version);
    Ok(())
}

/// Of a Job that was seen, and is not there any more.
fn gone(tools: &Tools, namespace: &str, attempt: AttemptId) {
    let seen = tools.table.seen(attempt).and_then(|seen| seen.job);
    if let Some(job) = seen.filter(|job| text(&job.metadata.namespace) == namespace) {
        tools.table.job_gone((*job).clone());
    }
}

/// Of what is deleted only the very object that was seen, and no later one of its name.
pub(super) fn only(uid: Option<String>, params: DeleteParams) -> DeleteParams {
    params.preconditions(Preconditions { uid, resource_version: None })
}

/// Whether an object is deleted: also where it was gone before, or is another one by now.
pub(super) fn is_deleted<T>(outcome: Result<T, Fault>, doing: &str) -> Result<(), RunnerError> {
    match outcome {
        Ok(_) | Err(Fault::NotFound(_) | Fault::Conflict) => Ok(()),
        Err(fault) => Err(fault.during(doing)),
    }
}

/// Changes a Job that is still as it was seen. False: it is not; look again.
pub(super) async fn patch(
    tools: &Tools,
    job: &Job,
    mut change: Value,
) -> Result<bool, RunnerError> {
    let (namespace, name) = (text(&job.metadata.namespace), text(&job.metadata.name));
    change["metadata"]["resourceVersion"] = json!(job.metadata.resource_version);
    change["metadata"]["uid"] = json!(job.metadata.uid);
    let jobs = tools.cluster.jobs(namespace);
    let (params, change) = (PatchParams::default(), Patch::Merge(&change));
    match tools.cluster.call(jobs.patch(name, &params, &change)).await {
        Ok(job) => {
            tools.table.job(job);
            Ok(true)
        }
        Err(Fault::Conflict | Fault::NotFound(_)) => Ok(false),
        Err(fault) => Err(fault.during(&format!("changing the Job {namespace}/{name}"))),
    }
}

/// The answer for an attempt whose Job is gone: what was let go and vanished is done with, all else is unknown.
pub(super) fn of_gone(tools: &Tools, attempt: AttemptId) -> Result<(), RunnerError> {
    match tools.table.seen(attempt) {
        Some(seen) if seen.went() => Ok(()),
        Some(_) | None => Err(RunnerError::Unknown(attempt)),
    }
}

/// Asks an attempt to end, because somebody wishes it: what was seen to have ended before that stays as it is.
pub(super) async fn stop(tools: &Tools, attempt: AttemptId) -> Result<(), RunnerError> {
    let asked = |seen: &Seen, _: &Job| {
        super::ending::ended(seen).is_none().then(|| (StopWhy::Asked, String::new()))
    };
    stop_if(tools, attempt, asked).await.map(|_| ())
}

/// Ends an attempt for a reason of its own, if that still holds of what there is now: what the watches show may be old, or
/// not of one moment, and a program that runs is not ended for that.
async fn stop_if_due(tools: &Tools, attempt: AttemptId) -> Result<Outcome, RunnerError> {
    let due = |seen: &Seen, job: &Job| match rules::to_stop(seen, job, tools.cluster.now()) {
        Duty::Stop { why, waited_for } => Some((why, waited_for)),
        _ => None,
    };
    stop_if(tools, attempt, due).await
}

/// Ends an attempt, if there is a reason for that in what there is of it now; one that is to end already is left to.
async fn stop_if(
    tools: &Tools,
    attempt: AttemptId,
    reason: impl Fn(&Seen, &Job) -> Option<(StopWhy, String)>,
) -> Result<Outcome, RunnerError> {
    for _ in 0..TRIES {
        let Some(job) = refresh(tools, attempt).await? else {
            of_gone(tools, attempt)?;
            return end_pods(tools, attempt).await.map(|_| Outcome::Done);
        };
        let seen = tools.table.seen(attempt).unwrap_or_default();
        if seen.stop().is_none() {
            let Some((why, waited_for)) = reason(&seen, &job) else { return Ok(Outcome::NotDue) };
            if !begin_stop(tools, &job, why, waited_for).await? {
                continue;
            }
        }
        return shut_gate(tools, &job).await.map(|()| Outcome::Done);
    }
    Err(Fault::Conflict.during(&format!("stopping attempt {attempt}")))
}

/// Writes down that a Job is to end, and why. False: it is not as it was seen; look again.
async fn begin_stop(
    tools: &Tools,
    job: &Job,
    why: StopWhy,
    waited_for: String,
) -> Result<bool, RunnerError> {
    let at = tools.cluster.now().as_second();
    let stop = Stop { why, at, waited_for };
    let text = serde_json::to_string(&stop).unwrap_or_default();
    let change = json!({
        "metadata": { "annotations": { STOP: text } },
        "spec": { "parallelism": 0 },
    });
    patch(tools, job, change).await
}

/// Takes the Secret away, without which no container of the Job starts any more. One of its name that was not made for the
/// Job stays.
pub(super) async fn shut_gate(tools: &Tools, job: &Job) -> Result<(), RunnerError> {
    let (namespace, name) = (text(&job.metadata.namespace), text(&job.metadata.name));
    let doing = format!("deleting the Secret {namespace}/{name}");
    let secrets = tools.cluster.secrets(namespace);
    let attempt = tools.table.owner().attempt(&job.metadata);
    if let Some(gate) = attempt.and_then(|attempt| tools.table.gate(attempt, job)) {
        let made = only(Some(gate.uid), DeleteParams::default());
        match tools.cluster.call(secrets.delete(name, &made)).await {
            Ok(_) | Err(Fault::NotFound(_)) => return Ok(()),
            Err(Fault::Conflict) => {} // another one of this name, which may be ours, too
            Err(fault) => return Err(fault.during(&doing)),
        }
    }
    let looked = tools.cluster.look(&secrets, name).await;
    let looked = looked.map_err(|fault| fault.during(&doing))?;
    let Some(there) = looked.filter(|there| is_made_for(&there.metadata, job)) else {
        return Ok(());
    };
    let ours = only(there.metadata.uid, DeleteParams::default());
    is_deleted(tools.cluster.call(secrets.delete(name, &ours)).await, &doing)
}

/// What came of a duty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is done with.
    Done,
    /// It is not due, now that it was looked at once more.
    NotDue,
}

/// Does what is due for an attempt.
pub(super) async fn fulfil(
    tools: &Tools,
    attempt: AttemptId,
    duty: &Duty,
) -> Result<Outcome, RunnerError> {
    let done = match duty {
        Duty::ShutGate { pod, uid } => {
            for _ in 0..TRIES {
                let Some(job) = tools.table.seen(attempt).and_then(|seen| seen.job) else {
                    return Ok(Outcome::Done);
                };
                let told = super::names::annotation(&job.metadata, POD).is_some();
                let ran = json!({ "metadata": { "annotations": { POD: format!("{pod}/{uid}") } } });
                if told || patch(tools, &job, ran).await? {
                    return shut_gate(tools, &job).await.map(|()| Outcome::Done);
                }
                refresh(tools, attempt).await?;
            }
            Err(Fault::Conflict.during(&format!("saying which pod of attempt {attempt} ran")))
        }
        Duty::KeepOut => match tools.table.seen(attempt).and_then(|seen| seen.job) {
            Some(job) => shut_gate(tools, &job).await,
            None => Ok(()),
        },
        Duty::Stop { .. } => return stop_if_due(tools, attempt).await,
        Duty::Kill { pod, uid } => {
            tracing::warn!(%attempt, %pod, "it did not end in its grace: deleted");
            let Some(job) = tools.table.seen(attempt).and_then(|seen| seen.job) else {
                return Ok(Outcome::Done);
            };
            delete_pod(tools, text(&job.metadata.namespace), pod, uid, 0).await
        }
        Duty::Tell => tell(tools, attempt).await,
        Duty::Rest(_) => Ok(()),
    };
    done.map(|()| Outcome::Done)
}

/// Writes down how an attempt ended, as its objects say now.
async fn tell(tools: &Tools, attempt: AttemptId) -> Result<(), RunnerError> {
    for _ in 0..TRIES {
        let Some(job) = refresh(tools, attempt).await? else { return Ok(()) };
        let seen = tools.table.seen(attempt).unwrap_or_default();
        let Some(end) = super::ending::to_tell(&seen) else { return Ok(()) };
        let ended = json!({ "metadata": { "annotations": { ENDED: end } } });
        if patch(tools, &job, ended).await? {
            return Ok(());
        }
    }
    Err(Fault::Conflict.during(&format!("writing down how attempt {attempt} ended")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::kubernetes::{
        keep::rules::Done,
        object,
        seen::fixtures::{running, went},
        stub::{Stub, refusal},
        table::Gate,
    };
    use k8s_openapi::api::core::v1::Pod;
    use octavius_protocol::secret::SecretValues;

    /// What is due first of what the table shows, at an hour when nothing has run out.
    fn due(tools: &Tools, attempt: AttemptId, done: &Done, after: i64) -> Duty {
        let seen = tools.table.seen(attempt).unwrap();
        rules::due(&seen, done, crate::runner::kubernetes::seen::fixtures::at(after)).swap_remove(0)
    }

    #[tokio::test]
    async fn what_runs_is_not_ended_because_one_watch_was_later_than_another() {
        let there = went().with("p", 0, running(0)).told("p");
        let job = there.job.clone().unwrap();
        let pods = json!({
            "apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": "9"},
            "items": [*there.pods["p-uid"]],
        });
        let answer = job.clone();
        let stub = Stub::new(move |asked| match asked.what.split_once(' ') {
            Some(("GET", path)) if path.ends_with("/pods") => (200, pods.clone()),
            _ => (200, json!(*answer)),
        })
        .await;
        let tools = stub.tools().await;
        // The Job says which pod ran, and that one was not seen here yet: it looks as if it were gone.
        tools.table.job(Job::clone(&job));
        let attempt = tools.table.owner().attempt(&job.metadata).unwrap();
        let stop = due(&tools, attempt, &Done::default(), 1);
        assert!(matches!(stop, Duty::Stop { why: StopWhy::PodDeleted, .. }), "{stop:?}");
        assert_eq!(fulfil(&tools, attempt, &stop).await.unwrap(), Outcome::NotDue);
        let changed = stub.asked().into_iter().find(|asked| !asked.what.starts_with("GET"));
        assert_eq!(changed, None);
        assert!(!matches!(due(&tools, attempt, &Done::default(), 1), Duty::Stop { .. }));
    }

    #[tokio::test]
    async fn what_a_proxy_does_not_find_is_neither_gone_nor_deleted() {
        let there = went().with("p", 0, running(0)).told("p");
        let stub = Stub::new(|_| (404, json!("<html>404</html>"))).await;
        let tools = stub.tools().await;
        let job = there.job.clone().unwrap();
        let attempt = tools.table.owner().attempt(&job.metadata).unwrap();
        tools.table.job(Job::clone(&job));
        tools.table.pod(Pod::clone(&there.pods["p-uid"]));
        let before = tools.table.seen(attempt).unwrap();
        refresh(&tools, attempt).await.unwrap_err();
        assert_eq!(tools.table.seen(attempt).unwrap(), before);
        delete_pod(&tools, "jobs", "p", "p-uid", 0).await.unwrap_err();
        let gate = Gate { job: "job-uid".to_owned(), uid: "gate-uid".to_owned() };
        tools.table.gate_made(attempt, gate);
        shut_gate(&tools, &job).await.unwrap_err();
        stop(&tools, attempt).await.unwrap_err();
    }

    #[tokio::test]
    async fn a_gate_that_a_stop_left_open_is_shut_once_that_works() {
        let stopped = went().stopped(StopWhy::NotStarted, 60);
        let job = stopped.job.clone().unwrap();
        let secret = object::secret(&job, &SecretValues::default());
        let tries = std::sync::atomic::AtomicU32::new(0);
        let stub = Stub::new(move |asked| match asked.what.split_once(' ') {
            Some(("GET", _)) => (200, json!(secret)),
            _ if tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0 => {
                refusal(500, "no")
            }
            _ => (200, json!({"kind": "Status", "apiVersion": "v1", "status": "Success"})),
        })
        .await;
        let tools = stub.tools().await;
        tools.table.job(Job::clone(&job));
        let attempt = tools.table.owner().attempt(&job.metadata).unwrap();
        let mut done = Done::default();
        let duty = due(&tools, attempt, &done, 61);
        fulfil(&tools, attempt, &duty).await.unwrap_err();
        let again = due(&tools, attempt, &done, 61);
        assert_eq!((&again, &duty), (&Duty::KeepOut, &Duty::KeepOut));
        assert_eq!(fulfil(&tools, attempt, &again).await.unwrap(), Outcome::Done);
        done.fulfilled(again);
        assert_eq!(due(&tools, attempt, &done, 61), Duty::Rest(None));
        let deleted = stub.asked().iter().filter(|asked| asked.what.starts_with("DELETE")).count();
        assert_eq!(deleted, 2);
    }
}
