//! The parts of a Kubernetes of the run's own: killed, frozen, and back after moments or seconds.

use super::{Faults, torment::millis, witness::Witness};
use anyhow::Result;
use octavius_testbed::cluster::{self, Namespace, Own};
use rand::{RngExt as _, rngs::SmallRng};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// The image that all programs run in.
pub(super) const IMAGE: &str = "busybox:dev";

const PARTS: [(&str, &str); 6] = [
    ("kubelet", "kubelet killed"),
    ("apiserver", "API server killed"),
    ("containerd", "containerd killed"),
    ("controller-manager", "controller manager killed"),
    ("scheduler", "scheduler killed"),
    ("etcd", "etcd of the cluster killed"),
];

/// A run that is not shorter than this has killed each part.
const SURELY_KILLS: Duration = Duration::from_secs(600);

/// A cluster, and the namespace of all executions in it.
#[derive(Debug)]
pub(super) struct Cluster {
    own: Own,
    namespace: Namespace,
}

impl Cluster {
    pub(super) async fn start() -> Result<Self> {
        let own = cluster::own().await?;
        let namespace = own.namespace("chaos").await?;
        Ok(Self { own, namespace })
    }

    /// What an executor's file says of it.
    pub(super) fn configure(&self, config: &mut Value) {
        config["runner"] = "kubernetes".into();
        config["kube_config"] = "out-of-cluster".into();
        config["default_namespace"] = self.namespace.name().into();
        config["allowed_template_fields"] = json!(["volumes", "volumeMounts"]);
    }

    /// The variable that names the executors' kubeconfig.
    pub(super) fn variable(&self) -> (&'static str, PathBuf) {
        ("KUBECONFIG", self.namespace.kubeconfig().to_owned())
    }

    /// Who keeps in the folder `kept` what its programs wrote.
    pub(super) fn witness(&self, kept: &Path) -> Result<Witness> {
        Witness::new(self.own.state().join("var-log/pods"), self.namespace.name(), kept)
    }

    /// Kills one part after the other, and leaves all of them running.
    pub(super) async fn torment(
        cluster: Option<&Self>,
        mut random: SmallRng,
        until: Instant,
    ) -> Result<Faults> {
        let mut faults = Faults::new();
        let Some(cluster) = cluster else { return Ok(faults) };
        while Instant::now() < until {
            sleep(millis(&mut random, 1000, 12_000)).await;
            let (part, what) = PARTS[random.random_range(0..PARTS.len())];
            let away = millis(&mut random, 0, 8000);
            cluster.own.restart(part, away).await?;
            *faults.entry(what).or_default() += 1;
        }
        Ok(faults)
    }

    /// What a run of this time must have broken, and did not.
    pub(super) fn unbroken(faults: &Faults, time: Duration) -> Option<String> {
        let missing = PARTS.iter().find(|(_, what)| !faults.contains_key(what));
        let (_, what) = missing.filter(|_| time >= SURELY_KILLS)?;
        Some(format!("no {what} in {time:?}"))
    }

    /// Whether nothing of an execution is left there.
    pub(super) async fn is_empty(&self) -> Result<bool> {
        let ours = "--selector=app.kubernetes.io/managed-by=octavius";
        let all = ["get", "jobs,pods,secrets", ours, "--output=name"];
        Ok(self.namespace.kubectl(&all).await?.is_empty())
    }
}

/// The pod template of a job whose programs write to this folder.
pub(super) fn template(folder: &Path) -> String {
    let mounts = json!([{ "name": "ran", "mountPath": folder }]);
    json!({ "spec": {
        "volumes": [{ "name": "ran", "hostPath": { "path": folder } }],
        "containers": [{ "name": "job", "volumeMounts": mounts }],
    } })
    .to_string()
}
