//! The same work done by a program that uses the API itself and knows no Octavius: what each row is held against.

use super::super::installation::PATIENCE;
use anyhow::{Context as _, Result, bail, ensure};
use futures::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, StreamExt as _, pin_mut};
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Pod, Secret},
};
use kube::{
    Api, Client, Config, ResourceExt as _,
    api::{DeleteParams, LogParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::json;
use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use uuid::Uuid;

/// How many Jobs are made at a time where many are.
const AT_ONCE: usize = 16;
/// The image that all programs run in.
pub(super) const IMAGE: &str = "busybox:dev";

/// The label of the pods of many Jobs.
const MANY: &str = "direct-many";

/// What is done for each of many Jobs: each is the one before it, and more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Extent {
    /// It is made, and watched until it is complete.
    Complete,
    /// Its log is followed to its end.
    Followed,
    /// Its container has a Secret of its own.
    Secret,
    /// Its pod comes only when a change of the Job lets it.
    LetGo,
    /// It is deleted as soon as it is complete.
    Deleted,
}

/// One namespace of one cluster.
#[derive(Clone)]
pub(super) struct Direct {
    jobs: Api<Job>,
    pods: Api<Pod>,
    secrets: Api<Secret>,
}

/// Whether a pod's program runs, or ran.
fn has_started(pod: &Pod) -> bool {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let mut states = statuses.filter_map(|status| status.state.as_ref());
    states.any(|state| state.running.is_some() || state.terminated.is_some())
}

impl Direct {
    /// With the credentials of this kubeconfig.
    pub(super) async fn new(kubeconfig: &Path, namespace: &str) -> Result<Self> {
        let file = Kubeconfig::read_from(kubeconfig)?;
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
        let client = Client::try_from(config)?;
        Ok(Self {
            jobs: Api::namespaced(client.clone(), namespace),
            pods: Api::namespaced(client.clone(), namespace),
            secrets: Api::namespaced(client, namespace),
        })
    }

    /// Makes a Job of one pod, and answers its name.
    async fn create(&self, command: &[&str]) -> Result<String> {
        let name = format!("direct-{}", Uuid::new_v4().simple());
        let job = serde_json::from_value(json!({
            "metadata": { "name": name },
            "spec": { "backoffLimit": 0, "template": { "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": false,
                "containers": [{ "name": "job", "image": IMAGE, "command": command }],
            } } },
        }))?;
        self.jobs.create(&PostParams::default(), &job).await?;
        Ok(name)
    }

    /// Waits until the Job's program has started, and answers its pod.
    async fn started(&self, job: &str) -> Result<String> {
        let config = watcher::Config::default().labels(&format!("job-name={job}"));
        let seen = watcher(self.pods.clone(), config).applied_objects();
        pin_mut!(seen);
        let started = async {
            while let Some(pod) = seen.next().await {
                let pod = pod?;
                if has_started(&pod) {
                    return pod.metadata.name.context("a pod without a name");
                }
            }
            bail!("the watch of the pods has ended")
        };
        timeout(PATIENCE, started).await.context("a pod does not start")?
    }

    /// Follows the log of a pod.
    pub(super) async fn follow(
        &self,
        pod: &str,
        timestamps: bool,
    ) -> Result<impl AsyncBufRead + use<>> {
        let params = LogParams { follow: true, timestamps, ..LogParams::default() };
        Ok(self.pods.log_stream(pod, &params).await?)
    }

    /// From before the Job is made until its first line is read.
    pub(super) async fn first_line(&self, command: &[&str]) -> Result<Duration> {
        let began = Instant::now();
        let job = self.create(command).await?;
        let pod = self.started(&job).await?;
        let log = self.follow(&pod, false).await?;
        pin_mut!(log);
        let mut line = Vec::new();
        timeout(PATIENCE, log.read_until(b'\n', &mut line)).await.context("no line comes")??;
        let took = began.elapsed();
        ensure!(!line.is_empty(), "the log of {pod} is empty");
        self.delete(&job).await?;
        Ok(took)
    }

    /// From the first byte of a log of so many bytes until its end.
    pub(super) async fn whole_log(&self, command: &[&str], size: usize) -> Result<Duration> {
        let job = self.create(command).await?;
        let pod = self.started(&job).await?;
        let log = self.follow(&pod, false).await?;
        pin_mut!(log);
        let (mut buffer, mut bytes, mut first) = (vec![0; 64 << 10], 0, None);
        loop {
            let read =
                timeout(PATIENCE, log.read(&mut buffer)).await.context("the log stands")??;
            if read == 0 {
                break;
            }
            first.get_or_insert_with(Instant::now);
            bytes += read;
        }
        let took = first.context("the log is empty")?.elapsed();
        ensure!(bytes == size, "{bytes} of {size} bytes came from {pod}");
        self.delete(&job).await?;
        Ok(took)
    }

    /// Makes so many Jobs at once, and waits until each is complete and what `extent` says is done for it.
    pub(super) async fn all_complete(
        &self,
        command: &[&str],
        count: usize,
        extent: Extent,
    ) -> Result<Duration> {
        let jobs = watcher(self.jobs.clone(), watcher::Config::default()).applied_objects();
        let ours = watcher::Config::default().labels(MANY);
        let pods = watcher(self.pods.clone(), ours).applied_objects();
        pin_mut!(jobs, pods);
        let began = Instant::now();
        let (room, mut making) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
        for _ in 0..count {
            let (this, room) = (self.clone(), room.clone());
            let command: Vec<String> = command.iter().map(|&word| word.to_owned()).collect();
            making.spawn(async move {
                let _place = room.acquire_owned().await?;
                this.make_to(&command, extent).await
            });
        }
        let (mut made, mut complete) = (BTreeSet::new(), BTreeSet::new());
        let (mut read, mut reading, mut whole) = (BTreeSet::new(), JoinSet::new(), BTreeSet::new());
        let all = async {
            loop {
                tokio::select! {
                    Some(job) = making.join_next() => {
                        made.insert(job??);
                    }
                    Some(job) = jobs.next() => {
                        let job = job?;
                        let done = job.status.and_then(|status| status.succeeded) == Some(1);
                        let Some(name) = job.metadata.name.filter(|_| done) else { continue };
                        if complete.insert(name.clone())
                            && whole.contains(&name)
                            && extent >= Extent::Deleted
                        {
                            self.delete(&name).await?;
                        }
                    }
                    Some(pod) = pods.next(), if extent >= Extent::Followed => {
                        let pod = pod?;
                        let Some(name) = pod.metadata.name.clone().filter(|_| has_started(&pod)) else {
                            continue;
                        };
                        if read.insert(name.clone()) {
                            let job = pod.labels().get("job-name").cloned().unwrap_or_default();
                            let this = self.clone();
                            reading.spawn(async move {
                                this.read_to_end(&name).await?;
                                anyhow::Ok(job)
                            });
                        }
                    }
                    Some(job) = reading.join_next() => {
                        let job = job??;
                        // Its log goes with it.
                        if complete.contains(&job) && extent >= Extent::Deleted {
                            self.delete(&job).await?;
                        }
                        whole.insert(job);
                    }
                }
                let followed = extent < Extent::Followed || read.len() == count;
                if made.len() == count
                    && made.is_subset(&complete)
                    && followed
                    && reading.is_empty()
                {
                    return anyhow::Ok(());
                }
            }
        };
        timeout(PATIENCE * 3, all).await.context("the Jobs do not end")??;
        let took = began.elapsed();
        if extent < Extent::Deleted {
            for job in &made {
                self.delete(job).await?;
            }
        }
        self.none_left().await?;
        Ok(took)
    }

    /// Makes one of many Jobs, and answers its name.
    async fn make_to(&self, command: &[String], extent: Extent) -> Result<String> {
        let name = format!("direct-{}", Uuid::new_v4().simple());
        let secret = match extent {
            Extent::Complete | Extent::Followed => json!([]),
            Extent::Secret | Extent::LetGo | Extent::Deleted => {
                json!([{ "secretRef": { "name": name } }])
            }
        };
        let waits = extent >= Extent::LetGo;
        let job: Job = serde_json::from_value(json!({
            "metadata": { "name": name },
            "spec": { "backoffLimit": 0, "parallelism": if waits { 0 } else { 1 }, "template": {
                "metadata": { "labels": { MANY: "true" } },
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": false,
                    "containers": [
                        { "name": "job", "image": IMAGE, "command": command, "envFrom": secret },
                    ],
                },
            } },
        }))?;
        let job = self.jobs.create(&PostParams::default(), &job).await?;
        if extent >= Extent::Secret {
            let owner = json!([{
                "apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job.metadata.uid,
            }]);
            let secret = serde_json::from_value(
                json!({ "metadata": { "name": name, "ownerReferences": owner } }),
            )?;
            self.secrets.create(&PostParams::default(), &secret).await?;
        }
        if waits {
            let go = Patch::Merge(json!({ "spec": { "parallelism": 1 } }));
            self.jobs.patch(&name, &PatchParams::default(), &go).await?;
        }
        Ok(name)
    }

    async fn read_to_end(&self, pod: &str) -> Result<()> {
        let log = self.follow(pod, false).await?;
        pin_mut!(log);
        let mut rest = Vec::new();
        timeout(PATIENCE, log.read_to_end(&mut rest)).await.context("the log stands")??;
        Ok(())
    }

    /// The pods that run now, and belong to executions.
    pub(super) async fn running(&self) -> Result<Vec<String>> {
        let running = kube::api::ListParams::default()
            .labels("octavius.dev/execution")
            .fields("status.phase=Running");
        let pods = self.pods.list(&running).await?;
        Ok(pods.items.into_iter().filter_map(|pod| pod.metadata.name).collect())
    }

    async fn delete(&self, job: &str) -> Result<()> {
        self.jobs.delete(job, &DeleteParams::background()).await?;
        Ok(())
    }

    /// Waits until what was deleted is gone, so that it costs the next row nothing.
    pub(super) async fn none_left(&self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while !self.pods.list(&kube::api::ListParams::default()).await?.items.is_empty() {
            ensure!(Instant::now() < until, "pods are left");
            sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }
}
