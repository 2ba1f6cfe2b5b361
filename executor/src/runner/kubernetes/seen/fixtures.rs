//! What is seen, for tests of the rules: a Job as it is made, and pods as clusters tell of them.

use super::{
    super::{
        Options, ending,
        names::{ENDED, POD, STOP, WENT},
        object,
    },
    Seen, Stop, StopWhy, Warning,
};
use crate::runner::suite;
use jiff::Timestamp;
use k8s_openapi::{
    api::{batch::v1::Job, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::Time,
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

/// When all of it was made, in seconds since 1970.
pub(in super::super) const MADE: i64 = 1_800_000_000;

/// So many seconds later.
pub(in super::super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(MADE + seconds).unwrap()
}

/// A Job that may start for 60 s and run for 30 s, with 5 s of grace.
pub(in super::super) fn job() -> Job {
    let mut work = suite::script("echo hello");
    work.timeout = Some(Duration::from_secs(30));
    work.start_timeout = Some(Duration::from_secs(60));
    work.grace = Duration::from_secs(5);
    work.resources.limits.insert("memory".to_owned(), "32Mi".to_owned());
    let mut job = object::job(&work, &Options::example("jobs")).unwrap();
    job.metadata.uid = Some("job-uid".to_owned());
    job.metadata.creation_timestamp = Some(Time(at(0)));
    job
}

/// What is seen of a Job that was let go.
pub(in super::super) fn went() -> Seen {
    annotated(&Seen { job: Some(Arc::new(job())), ..Seen::default() }, WENT, "yes")
}

fn annotated(seen: &Seen, name: &str, value: &str) -> Seen {
    let mut job = Job::clone(seen.any_job().unwrap());
    job.metadata.annotations.as_mut().unwrap().insert(name.to_owned(), value.to_owned());
    let gone = seen.job.is_none();
    let job = Some(Arc::new(job));
    let (job, gone) = if gone { (None, job) } else { (job, None) };
    Seen { job, gone, ..seen.clone() }
}

impl Seen {
    /// That, and a pod with this name, made so many seconds later, with this status.
    pub(in super::super) fn with(mut self, name: &str, born: i64, status: Value) -> Self {
        let template = self.any_job().unwrap().spec.as_ref().unwrap().template.clone();
        let pod = json!({
            "metadata": {
                "name": name, "namespace": "jobs", "uid": format!("{name}-uid"),
                "creationTimestamp": at(born).to_string(),
                "labels": template.metadata.unwrap().labels,
                "ownerReferences": [{
                    "apiVersion": "batch/v1", "kind": "Job", "name": "job", "uid": "job-uid", "controller": true,
                }],
            },
            "spec": template.spec,
            "status": status,
        });
        let pod: Pod = serde_json::from_value(pod).unwrap();
        self.pods.insert(format!("{name}-uid"), Arc::new(pod));
        self
    }

    /// That, with the pod told to go after so many seconds, within a grace.
    pub(in super::super) fn deleting(mut self, name: &str, after: i64, grace: i64) -> Self {
        let pod = Arc::make_mut(self.pods.get_mut(&format!("{name}-uid")).unwrap());
        pod.metadata.deletion_timestamp = Some(Time(at(after + grace)));
        pod.metadata.deletion_grace_period_seconds = Some(grace);
        self
    }

    /// That, with the node of the pod silent since so many seconds, as the cluster says.
    pub(in super::super) fn silent(mut self, name: &str, since: i64) -> Self {
        let pod = Arc::make_mut(self.pods.get_mut(&format!("{name}-uid")).unwrap());
        let spec = pod.spec.as_mut().unwrap();
        spec.node_name = Some("n1".to_owned());
        let tolerations = json!([{
            "key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute",
            "tolerationSeconds": 300,
        }]);
        spec.tolerations = Some(serde_json::from_value(tolerations).unwrap());
        let said = |type_: &str, status: &str| {
            let at = at(since).to_string();
            json!({"type": type_, "status": status, "lastTransitionTime": at})
        };
        let said = json!([said("Ready", "False"), said("ContainersReady", "True")]);
        pod.status.as_mut().unwrap().conditions = Some(serde_json::from_value(said).unwrap());
        self
    }

    /// That, and the pod is gone.
    pub(in super::super) fn without(mut self, name: &str) -> Self {
        let uid = format!("{name}-uid");
        let pod = self.pods.remove(&uid).unwrap();
        self.gone_pods.insert(uid, pod);
        self
    }

    /// That, and the Job is gone.
    pub(in super::super) fn without_job(mut self) -> Self {
        self.gone = self.job.take();
        self
    }

    /// That, where it is written down which pod ran.
    pub(in super::super) fn told(self, name: &str) -> Self {
        annotated(&self, POD, &format!("{name}/{name}-uid"))
    }

    /// That, to be stopped after so many seconds.
    pub(in super::super) fn stopped(self, why: StopWhy, after: i64) -> Self {
        let stop = Stop { why, at: MADE + after, waited_for: String::new() };
        annotated(&self, STOP, &serde_json::to_string(&stop).unwrap())
    }

    /// That, where the end is written down as it is seen.
    pub(in super::super) fn ended_as_told(&self) -> Self {
        annotated(self, ENDED, &ending::to_tell(self).unwrap())
    }

    /// That, for an executor that comes when the pod is gone.
    pub(in super::super) fn unseen(mut self, name: &str) -> Self {
        self.pods.remove(&format!("{name}-uid")).unwrap();
        self
    }

    /// That, with a warning about the Job, or about a pod.
    pub(in super::super) fn warned(mut self, about: &str, reason: &str, message: &str) -> Self {
        let job = self.any_job().unwrap().metadata.name.clone().unwrap();
        let about = if about == "job" { job } else { about.to_owned() };
        let warning = Warning { reason: reason.to_owned(), message: message.to_owned() };
        self.warnings.insert(about, warning);
        self
    }

    /// That, with this condition of the Job.
    pub(in super::super) fn condition(mut self, type_: &str, reason: &str) -> Self {
        let job = Arc::make_mut(self.job.as_mut().unwrap());
        let status = json!({"conditions": [{"type": type_, "status": "True", "reason": reason}]});
        job.status = Some(serde_json::from_value(status).unwrap());
        self
    }
}

/// The status of a pod whose job's container runs since so many seconds.
pub(in super::super) fn running(since: i64) -> Value {
    with_state("Running", json!({"running": {"startedAt": at(since).to_string()}}))
}

/// The status of a pod whose job's container waits.
pub(in super::super) fn waits(reason: &str, message: &str) -> Value {
    with_state("Pending", json!({"waiting": {"reason": reason, "message": message}}))
}

/// The status of a pod whose job's container ran from one second to another.
pub(in super::super) fn over(code: i32, reason: &str, from: i64, to: i64) -> Value {
    let phase = if code == 0 { "Succeeded" } else { "Failed" };
    let over = json!({"exitCode": code, "reason": reason, "startedAt": at(from).to_string(),
        "finishedAt": at(to).to_string()});
    with_state(phase, json!({"terminated": over}))
}

fn with_state(phase: &str, state: Value) -> Value {
    json!({"phase": phase, "containerStatuses": [{
        "name": "job", "image": "busybox", "imageID": "", "ready": false, "restartCount": 0, "state": state,
    }]})
}
