//! How the objects of an attempt come about, and are let go. Each may be done again, by this executor or the next, with the
//! same outcome.

use super::{
    Tools,
    actions::{TRIES, is_deleted, look_at_job, of_gone, only, patch},
    client::Fault,
    ending,
    names::{WENT, is_made_for, object_name, text},
    object,
    seen::Seen,
    table::Gate,
};
use crate::runner::{Identity, RunnerError, Work};
use k8s_openapi::{api::batch::v1::Job, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::api::{DeleteParams, PostParams};
use octavius_protocol::{
    id::{AttemptId, Epoch},
    secret::SecretValues,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Makes an attempt's Job and Secret, or finds them.
pub(super) async fn prepare(tools: &Tools, work: &Work) -> Result<Identity, RunnerError> {
    let job = object::job(work, &tools.options).map_err(RunnerError::Refused)?;
    let namespace = text(&job.metadata.namespace).to_owned();
    if !tools.options.namespaces.contains(&namespace) {
        return Err(RunnerError::Refused(format!(
            "the job's `namespace` is `{namespace}`, where this executor does not work: it does in {}; let whoever runs \
             the executor add it to `namespaces` in its file",
            tools.options.namespaces.join(", ")
        )));
    }
    let name = object_name(work.attempt);
    let doing = format!("making the Job {namespace}/{name}");
    let jobs = tools.cluster.jobs(&namespace);
    for _ in 0..TRIES {
        match tools.cluster.call(jobs.create(&PostParams::default(), &job)).await {
            Ok(made) => {
                let secrets = work.secrets.clone().unwrap_or_default();
                make_secret(tools, work.attempt, &made, &secrets).await?;
                let identity = super::names::identity(&made);
                tools.table.job(made);
                return Ok(identity);
            }
            Err(Fault::Exists) => match found(tools, &namespace, work).await? {
                Some(identity) => return Ok(identity),
                None => continue,
            },
            Err(fault) => return Err(not_made(fault, &namespace, &doing)),
        }
    }
    Err(Fault::Conflict.during(&doing))
}

/// Why a Job is not made, and what to do. What whoever runs the cluster can give while it waits is tried again.
fn not_made(fault: Fault, namespace: &str, doing: &str) -> RunnerError {
    match fault {
        Fault::NotFound(said) => RunnerError::NotYet(format!(
            "{doing}: the API server says: {said}; make the namespace with `kubectl create namespace {namespace}`, or name \
             another in the job or the executor's file"
        )),
        // A webhook that was asked and said no will say it again.
        Fault::Forbidden(said)
            if !said.contains("denied the request") && !said.contains("denied request") =>
        {
            RunnerError::NotYet(format!("{doing}: {said}{}", super::phase::remedy(&said)))
        }
        Fault::Later(said) => {
            Fault::Later(format!("{said}{}", super::phase::remedy(&said))).during(doing)
        }
        fault => fault.during(doing),
    }
}

/// A Job of this name is there: ours is taken as it is, with the newer epoch. None: it is gone again, or was changed.
async fn found(
    tools: &Tools,
    namespace: &str,
    work: &Work,
) -> Result<Option<Identity>, RunnerError> {
    let name = object_name(work.attempt);
    let doing = format!("looking at the Job {namespace}/{name}");
    let jobs = tools.cluster.jobs(namespace);
    let looked = tools.cluster.look(&jobs, &name).await;
    let Some(job) = looked.map_err(|fault| fault.during(&doing))? else { return Ok(None) };
    let refuse = |why: String| Err(RunnerError::Refused(why));
    if tools.table.owner().attempt(&job.metadata) != Some(work.attempt) {
        return refuse(format!(
            "there is a Job {namespace}/{name} already, and it was not made by this executor of this installation: it \
             is neither taken over nor deleted; look at its labels, and delete it if nobody needs it"
        ));
    }
    let made = object::kept::decode(&job).map_err(RunnerError::Refused)?;
    if work.epoch < made.work.epoch {
        return refuse(format!(
            "attempt {} is held under epoch {}, and {} is older: its lease has ended",
            work.attempt, made.work.epoch, work.epoch
        ));
    }
    tools.table.job(job.clone());
    let seen = Seen { job: Some(job.clone().into()), ..Seen::default() };
    if !seen.went() && seen.stop().is_none() {
        make_secret(tools, work.attempt, &job, &work.secrets.clone().unwrap_or_default()).await?;
    }
    if work.epoch > made.work.epoch && !patch(tools, &job, epoch(work.epoch)).await? {
        return Ok(None);
    }
    Ok(Some(super::names::identity(&job)))
}

fn epoch(epoch: Epoch) -> Value {
    json!({ "metadata": { "annotations": { super::names::EPOCH: epoch.0.to_string() } } })
}

/// Makes the Secret of a Job, if it is not there.
async fn make_secret(
    tools: &Tools,
    attempt: AttemptId,
    job: &Job,
    values: &SecretValues,
) -> Result<(), RunnerError> {
    let secret = object::secret(job, values);
    let (namespace, name) = (text(&job.metadata.namespace), text(&job.metadata.name));
    let doing = format!("making the Secret {namespace}/{name}");
    let secrets = tools.cluster.secrets(namespace);
    for _ in 0..TRIES {
        match tools.cluster.call(secrets.create(&PostParams::default(), &secret)).await {
            Ok(made) => {
                let uid = |metadata: &ObjectMeta| text(&metadata.uid).to_owned();
                let gate = Gate { job: uid(&job.metadata), uid: uid(&made.metadata) };
                tools.table.gate_made(attempt, gate);
                return Ok(());
            }
            Err(Fault::Exists) => {}
            Err(fault) => return Err(fault.during(&doing)),
        }
        let looked = tools.cluster.look(&secrets, name).await;
        let Some(there) = looked.map_err(|fault| fault.during(&doing))? else { continue };
        if is_made_for(&there.metadata, job) {
            return Ok(());
        }
        if tools.table.owner().attempt(&there.metadata).is_none() {
            return Err(RunnerError::Refused(format!(
                "there is a Secret {namespace}/{name} already, and it was not made by this executor: it is neither taken \
                 over nor deleted; delete it if nobody needs it"
            )));
        }
        // Left by a former Job of the same name, and about to be collected.
        let former = only(there.metadata.uid, DeleteParams::default());
        is_deleted(tools.cluster.call(secrets.delete(name, &former)).await, &doing)?;
    }
    Err(Fault::Conflict.during(&doing))
}

/// Lets an attempt run.
pub(super) async fn go(
    tools: &Tools,
    attempt: AttemptId,
    secrets: &SecretValues,
) -> Result<(), RunnerError> {
    // What this process made just now is still as the table shows it, most often: else the change is refused.
    let mut known = tools.table.seen(attempt).and_then(|seen| seen.job);
    known = known.filter(|job| tools.table.gate(attempt, job).is_some());
    for _ in 0..TRIES {
        let job = match known.take() {
            Some(job) => Job::clone(&job),
            None => match look_at_job(tools, attempt).await? {
                Some(job) => job,
                None => return of_gone(tools, attempt),
            },
        };
        let seen = Seen { job: Some(job.clone().into()), ..Seen::default() };
        let is_over = || ending::failed_before_it_went(&seen).is_some();
        if seen.went() || seen.stop().is_some() || is_over() {
            return Ok(());
        }
        let made = object::kept::decode(&job).map_err(RunnerError::Refused)?;
        let given: BTreeSet<&str> = secrets.names().collect();
        if let Some(name) = made.secrets.iter().find(|name| !given.contains(&name[..])) {
            return Err(RunnerError::Refused(format!(
                "the secret {name} of attempt {attempt} is not here: it has to be sent again"
            )));
        }
        if tools.table.gate(attempt, &job).is_none() {
            make_secret(tools, attempt, &job, secrets).await?;
        }
        let went = json!({
            "metadata": { "annotations": { WENT: tools.cluster.now().to_string() } },
            "spec": { "parallelism": 1 },
        });
        if patch(tools, &job, went).await? {
            return Ok(());
        }
    }
    Err(Fault::Conflict.during(&format!("letting attempt {attempt} go")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::kubernetes::{
        seen::fixtures::{job, went},
        stub::Stub,
    };

    #[tokio::test]
    async fn what_the_cluster_gave_up_is_not_let_go() {
        let prepared = Seen { job: Some(job().into()), ..went() };
        let job = prepared.condition("Failed", "DeadlineExceeded").job.unwrap();
        let answer = job.clone();
        let stub = Stub::new(move |_| (200, json!(*answer))).await;
        let tools = stub.tools().await;
        tools.table.job(Job::clone(&job));
        let attempt = tools.table.owner().attempt(&job.metadata).unwrap();
        go(&tools, attempt, &SecretValues::default()).await.unwrap();
        let asked = stub.asked();
        assert!(asked.iter().all(|asked| asked.what.starts_with("GET")), "{asked:?}");
    }

    #[test]
    fn a_job_that_is_not_made_says_why_and_what_to_do_and_is_tried_again_where_that_helps() {
        let not_made = |fault| not_made(fault, "jobs", "making the Job jobs/x");
        let not_yet = |fault| match not_made(fault) {
            RunnerError::NotYet(words) => words,
            other => panic!("{other:?}"),
        };
        let words = not_yet(Fault::NotFound(r#"namespaces "jobs" not found"#.to_owned()));
        assert!(words.contains(r#"namespaces "jobs" not found"#), "{words}");
        assert!(words.contains("`kubectl create namespace jobs`"), "{words}");
        let quota = "exceeded quota: q, requested: count/jobs.batch=1";
        assert!(not_yet(Fault::Forbidden(quota.to_owned())).contains("quota raised"));
        // Nobody knows whether it was made before it failed.
        let webhook = not_made(Fault::Later(r#"failed calling webhook "a.b.c""#.to_owned()));
        assert!(matches!(webhook, RunnerError::Failed { .. }), "{webhook:?}");
        assert!(webhook.to_string().ends_with("have the webhook mended"), "{webhook}");
        let denied = r#"admission webhook "a.b.c" denied the request: no"#.to_owned();
        let denied = not_made(Fault::Forbidden(denied));
        assert!(matches!(denied, RunnerError::Refused(_)), "{denied:?}");
    }
}
