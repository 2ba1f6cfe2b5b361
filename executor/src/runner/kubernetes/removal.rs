//! The removal of an attempt: its Job, its pods, and its Secret, and nothing that others made under their names.

use super::{
    Tools,
    actions::{is_deleted, only, refresh, refresh_pods, shut_gate},
    client::Fault,
    names::text,
    seen::{Seen, is_over, started_at},
};
use crate::runner::RunnerError;
use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use octavius_protocol::id::AttemptId;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::time::timeout;

/// How long the end of pods that are removed is waited for.
const GONE_WITHIN: Duration = Duration::from_secs(45);

/// After so long without a word of them they are looked for.
const LOOK: Duration = Duration::from_secs(10);

/// The grace, in seconds, of a pod that runs, and of one that does not run yet.
const NOW: u32 = 1;
const LATER: u32 = 2;

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

/// Ends the pods of an attempt, with hardly any grace: which, by their UIDs, and with how many seconds of it.
pub(super) async fn end_pods(
    tools: &Tools,
    attempt: AttemptId,
) -> Result<BTreeMap<String, u32>, RunnerError> {
    let (seen, mut told) = (tools.table.seen(attempt).unwrap_or_default(), BTreeMap::new());
    end_pods_of(tools, &seen, &mut told, LATER).await?;
    Ok(told)
}

/// Ends those pods that were not `told` yet, by their UIDs, to end within as many seconds as they need and `most`, and
/// adds them there.
async fn end_pods_of(
    tools: &Tools,
    seen: &Seen,
    told: &mut BTreeMap<String, u32>,
    most: u32,
) -> Result<(), RunnerError> {
    for (uid, pod) in &seen.pods {
        let grace = least_grace(pod).min(most);
        if told.get(uid).is_some_and(|told| *told <= grace) {
            continue;
        }
        let (namespace, name) = (text(&pod.metadata.namespace), text(&pod.metadata.name));
        delete_pod(tools, namespace, name, uid, grace).await?;
        told.insert(uid.clone(), grace);
    }
    Ok(())
}

/// In how many seconds a pod can end. With none at all it would be gone before its processes are. One that does not run
/// yet has one more, to be told again when it does: of a program that began while its kubelet (1.20) heard of its end, that
/// kubelet thinks again only when it hears something new, or after a minute and a half.
fn least_grace(pod: &Pod) -> u32 {
    match (is_over(pod), started_at(pod)) {
        (true, _) => 0,
        (false, Some(_)) => NOW,
        (false, None) => LATER,
    }
}

/// Waits until an attempt has no pods, and ends those that are not among `told`: for a moment the Job controller may make one
/// for a Job that it does not know to be gone, and what takes such a pod away gives it all its grace.
async fn until_no_pods(
    tools: &Tools,
    attempt: AttemptId,
    mut told: BTreeMap<String, u32>,
) -> Result<(), RunnerError> {
    let Some(mut watched) = tools.table.of(attempt) else { return Ok(()) };
    let mut most = LATER;
    loop {
        let seen = watched.borrow_and_update().clone();
        if seen.pods.is_empty() {
            return Ok(());
        }
        end_pods_of(tools, &seen, &mut told, most).await?;
        match timeout(LOOK, watched.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Ok(()),
            // The watch may be dead, and nobody have noticed yet; or the pod's kubelet has not.
            Err(_) => {
                most = NOW;
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
    let told = end_pods(tools, attempt).await?;
    if let Some(job) = &job {
        // Which its Job's end would take away as well, only later.
        shut_gate(tools, job).await?;
    }
    match timeout(GONE_WITHIN, until_no_pods(tools, attempt, told)).await {
        Ok(outcome) => outcome?,
        Err(_) => {
            return Err(Fault::Later(format!("its pods were not gone within {GONE_WITHIN:?}"))
                .during(&format!("removing attempt {attempt}")));
        }
    }
    tools.table.forget(attempt);
    Ok(())
}
