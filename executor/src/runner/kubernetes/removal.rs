//! The removal of an attempt: its Job, its pods, and its Secret, and nothing that others made under their names.

use super::{
    Tools,
    actions::{is_deleted, only, refresh, refresh_pods, shut_gate},
    client::Fault,
    names::text,
    seen::{Seen, is_over},
};
use crate::runner::RunnerError;
use kube::api::DeleteParams;
use octavius_protocol::id::AttemptId;
use std::{collections::BTreeSet, time::Duration};
use tokio::time::timeout;

/// How long the end of pods that are removed is waited for.
const GONE_WITHIN: Duration = Duration::from_secs(45);

/// After so long without a word of them they are looked for.
const LOOK: Duration = Duration::from_secs(10);

/// Deletes that very pod, with so many seconds of grace.
pub(super) async fn delete_pod(
    tools: &Tools,
    namespace: &str,
    name: &str,
    uid: &str,
    grace: u32,
) -> Result<(), RunnerError> {
    let params = only(Some(uid.to_owned()), DeleteParams::default().grace_period(grace));
    let outcome = tools.cluster.call(tools.cluster.pods(namespace).delete(name, &params)).await;
    is_deleted(outcome, &format!("deleting the pod {namespace}/{name}"))
}

/// Ends the pods of an attempt, with hardly any grace.
pub(super) async fn end_pods(tools: &Tools, attempt: AttemptId) -> Result<(), RunnerError> {
    let seen = tools.table.seen(attempt).unwrap_or_default();
    end_pods_of(tools, &seen, &mut BTreeSet::new()).await
}

/// Ends those pods that are not among `told`, and adds them there.
async fn end_pods_of(
    tools: &Tools,
    seen: &Seen,
    told: &mut BTreeSet<String>,
) -> Result<(), RunnerError> {
    for (uid, pod) in &seen.pods {
        if !told.insert(uid.clone()) {
            continue;
        }
        // With no grace at all the pod would be gone before its processes are.
        let grace = u32::from(!is_over(pod));
        let (namespace, name) = (text(&pod.metadata.namespace), text(&pod.metadata.name));
        delete_pod(tools, namespace, name, uid, grace).await?;
    }
    Ok(())
}

/// Waits until an attempt has no pods, and ends those that appear meanwhile: for a moment the Job controller may make one
/// for a Job that it does not know to be gone, and what takes such a pod away gives it all its grace.
async fn until_no_pods(tools: &Tools, attempt: AttemptId) -> Result<(), RunnerError> {
    let Some(mut watched) = tools.table.of(attempt) else { return Ok(()) };
    let mut told = BTreeSet::new();
    loop {
        let seen = watched.borrow_and_update().clone();
        if seen.pods.is_empty() {
            return Ok(());
        }
        end_pods_of(tools, &seen, &mut told).await?;
        match timeout(LOOK, watched.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Ok(()),
            // The watch may be dead, and nobody have noticed yet.
            Err(_) => {
                let namespaces = seen.pods.values().map(|pod| text(&pod.metadata.namespace));
                for namespace in namespaces.collect::<BTreeSet<_>>() {
                    refresh_pods(tools, namespace, attempt).await?;
                }
            }
        }
    }
}

/// Removes all that there is of an attempt.
pub(super) async fn remove(tools: &Tools, attempt: AttemptId) -> Result<(), RunnerError> {
    let job = refresh(tools, attempt).await?;
    if let Some(job) = &job {
        let (namespace, name) = (text(&job.metadata.namespace), text(&job.metadata.name));
        let params = only(job.metadata.uid.clone(), DeleteParams::background());
        let outcome = tools.cluster.call(tools.cluster.jobs(namespace).delete(name, &params)).await;
        is_deleted(outcome, &format!("deleting the Job {namespace}/{name}"))?;
    }
    // At once: a pod that the end of its Job takes away has all its grace.
    end_pods(tools, attempt).await?;
    if let Some(job) = &job {
        // Which its Job's end would take away as well, only later.
        shut_gate(tools, job).await?;
    }
    match timeout(GONE_WITHIN, until_no_pods(tools, attempt)).await {
        Ok(outcome) => outcome?,
        Err(_) => {
            return Err(Fault::Later(format!("its pods were not gone within {GONE_WITHIN:?}"))
                .during(&format!("removing attempt {attempt}")));
        }
    }
    tools.table.forget(attempt);
    Ok(())
}
