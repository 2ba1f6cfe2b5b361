//! The kind `kubernetes`: an attempt is a Kubernetes Job, and its program the container `job` of that Job's pod.
//!
//! Owns the Jobs, pods and Secrets that carry its labels, and nothing in memory that it could not do without: what can be
//! known of an attempt stands in its Job (`names`), so the next executor goes on with it.
//!
//! Promised: the Job's name is a function of the attempt, and it is made with `parallelism: 0`, so that nothing runs before
//! it is let go; once the program runs, the gate is shut: the Secret that each container needs, also those of the job's
//! template, is deleted, so that no second pod of the Job runs it again (`keep`). Not promised: that a pod that is deleted from
//! outside before an executor has seen it run is not replaced by one that starts before the gate is shut: most often that is
//! less than a second, 75 s where a watch died without a word, and as long as no executor is there. Then both are told. An
//! object under our name that is not ours is neither taken over nor deleted.
//!
//! Which executor this is says a ConfigMap (`place`), for all processes of its id there.
//!
//! What is seen comes from three watches for each namespace (`watch`, `table`); how far an attempt is and how it ended is
//! read from that by pure functions (`phase`, `ending`). Changes are guarded by the version that was seen (`actions`).

mod actions;
mod client;
mod ending;
mod keep;
mod labels;
pub mod log;
mod logs;
mod making;
mod names;
mod node;
mod object;
mod permissions;
mod phase;
mod place;
mod removal;
mod seen;
mod settled;
#[cfg(test)]
mod stub;
mod supervise;
mod table;
mod watch;
mod way;

pub use place::ClusterPlace;

use super::{Found, Identity, LogPiece, Phase, Runner, RunnerError, Work};
use crate::configuration::{Configuration, PodSecurity};
use async_trait::async_trait;
use bytes::Bytes;
use client::{Cluster, Fault};
use logs::Logs;
use names::Owner;
use octavius_protocol::{id::AttemptId, secret::SecretValues};
use seen::Seen;
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};
use supervise::Faults;
use table::Table;
use tokio::{
    sync::watch as channel,
    task::JoinSet,
    time::{Instant, timeout},
};
use watch::Sight;

/// What an executor's file says about the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The executor's id.
    pub executor: String,
    /// The installation that it belongs to; empty: none, as in tests of the runner alone.
    pub installation: String,
    /// Whether the kubeconfig file is read; else the executor runs in a pod.
    pub out_of_cluster: bool,
    /// The kubeconfig file; none: where `KUBECONFIG` says, else `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// Which context of it; none: its current one.
    pub context: Option<String>,
    /// The namespace of jobs that name none.
    pub default_namespace: String,
    /// All namespaces that jobs may be in; the default one is among them.
    pub namespaces: Vec<String>,
    /// The service account of pods.
    pub service_account_name: String,
    /// Annotations of each Job and its pod.
    pub annotations: BTreeMap<String, String>,
    /// How much a container may do.
    pub pod_security: PodSecurity,
    /// What of a pod template a job may say.
    pub allowed_template_fields: Vec<String>,
    /// For how long what has ended, and is settled with the controller, is left where people can look at it.
    pub keep_finished_for: Duration,
}

impl Options {
    /// What a file says that says nothing, for an executor whose jobs are in `namespace`.
    pub fn example(namespace: &str) -> Self {
        Self {
            executor: "executor".to_owned(),
            installation: String::new(),
            out_of_cluster: true,
            kubeconfig: None,
            context: None,
            default_namespace: namespace.to_owned(),
            namespaces: vec![namespace.to_owned()],
            service_account_name: "default".to_owned(),
            annotations: BTreeMap::new(),
            pod_security: PodSecurity::Baseline,
            allowed_template_fields: ["resources", "nodeSelector", "tolerations"]
                .map(str::to_owned)
                .to_vec(),
            keep_finished_for: Duration::ZERO,
        }
    }

    /// What the file says, for an executor that belongs to `installation`.
    pub fn new(configuration: &Configuration, installation: String) -> Self {
        let default_namespace = configuration.default_namespace.clone();
        let mut namespaces = vec![default_namespace.clone()];
        for namespace in &configuration.namespaces {
            if !namespaces.contains(namespace) {
                namespaces.push(namespace.clone());
            }
        }
        let context = &configuration.kube_context;
        Self {
            executor: configuration.id.clone(),
            installation,
            out_of_cluster: configuration.kube_config == "out-of-cluster",
            kubeconfig: None,
            context: (context != "default").then(|| context.clone()),
            default_namespace,
            namespaces,
            service_account_name: configuration.service_account_name.clone(),
            annotations: configuration.job_pod_annotations.clone(),
            pod_security: configuration.pod_security,
            allowed_template_fields: configuration.allowed_template_fields.clone(),
            keep_finished_for: configuration.keep_finished_for,
        }
    }

    fn check_id(&self) -> Result<(), RunnerError> {
        if self.executor.ends_with(|last: char| last.is_ascii_alphanumeric()) {
            return Ok(());
        }
        Err(RunnerError::Refused(format!(
            "`id` is `{}`, and with the runner `kubernetes` it is a label of each Job, which ends with a letter or a digit: \
             give another `id`",
            self.executor
        )))
    }

    /// Where an attempt's objects are.
    fn namespace<'a>(&'a self, work: &'a Work) -> &'a str {
        work.namespace.as_deref().unwrap_or(&self.default_namespace)
    }
}

/// How often an attempt is looked at whose namespace is not watched, because the file does not list it any more.
const UNWATCHED: Duration = Duration::from_secs(10);

/// What all parts of a runner share.
#[derive(Debug)]
struct Tools {
    options: Options,
    cluster: Cluster,
    table: Table,
    faults: Faults,
}

/// Runs attempts as Jobs of a Kubernetes cluster.
#[derive(Debug)]
pub struct KubeRunner {
    tools: Arc<Tools>,
    sight: Arc<Sight>,
    logs: Logs,
    /// The watches and the keepers: they end with the runner.
    _tasks: JoinSet<()>,
}

impl KubeRunner {
    /// Connects to the cluster, asks what it may do there, looks at what is there, and begins to watch it. Call it on a
    /// tokio runtime that lives as long as the runner. Refused with words for who runs the executor; failed where the
    /// cluster may be there later.
    pub async fn open(options: Options) -> Result<Self, RunnerError> {
        options.check_id()?;
        let cluster = Cluster::connect(&options).await?;
        Self::open_in(cluster, options).await
    }

    /// The same, for the executor whose place that is, through the connection that it has there: the one of a place that was
    /// opened with the same kubeconfig.
    pub async fn open_at(place: &ClusterPlace, options: Options) -> Result<Self, RunnerError> {
        Self::open_in(place.cluster(), options).await
    }

    async fn open_in(cluster: Cluster, options: Options) -> Result<Self, RunnerError> {
        if let Err(fault) = cluster.ask_clock().await {
            return Err(fault.during("asking the cluster's API server"));
        }
        let owner = Owner {
            executor: options.executor.clone(),
            installation: options.installation.clone(),
        };
        let (table, appearing) = Table::new(owner);
        let tools = Arc::new(Tools { options, cluster, table, faults: Faults::new() });
        let (sight, missing) = (Arc::new(Sight::new()), permissions::missing(&tools).await?);
        for missing in &missing {
            tracing::error!("{missing}");
        }
        for namespace in permissions::without_account(&tools).await {
            let account = &tools.options.service_account_name;
            tracing::warn!(
                "`service_account_name` is `{account}`, and the namespace `{namespace}` has none of that name: its pods \
                 will be refused; make it with `kubectl -n {namespace} create serviceaccount {account}`, or name another"
            );
        }
        look_around(&tools).await?;
        let mut tasks = JoinSet::new();
        if permissions::tell(&sight, &missing) {
            tasks.spawn(permissions::ask_until_all(tools.clone(), sight.clone()));
        }
        for namespace in tools.options.namespaces.clone() {
            tasks.spawn(watch::watch_all(tools.clone(), sight.clone(), namespace));
        }
        tasks.spawn(keep::keep_all(tools.clone(), appearing));
        tasks.spawn(settled::remove_all(tools.clone()));
        tasks.spawn(ask_clock(tools.clone()));
        tasks.spawn(see_whether_known(tools.clone(), sight.clone()));
        let logs = Logs::new(tools.cluster.client().clone(), tools.cluster.not_before());
        Ok(Self { tools, sight, logs, _tasks: tasks })
    }

    /// Has one of its tasks panic, for tests: `keepers`, `clock`, `keeper of ATTEMPT`, or `Jobs in the namespace `NAME``, and
    /// so of `pods` and `events`.
    #[cfg(feature = "fault-injection")]
    pub fn panic_in(&self, task: &str) {
        self.tools.faults.panic_in(task);
    }

    /// What is seen of an attempt, as it changes; asked for if nothing is seen yet.
    async fn watched(&self, attempt: AttemptId) -> Result<channel::Receiver<Seen>, RunnerError> {
        if let Some(seen) = self.tools.table.of(attempt) {
            return Ok(seen);
        }
        actions::refresh(&self.tools, attempt).await?;
        self.tools.table.of(attempt).ok_or(RunnerError::Unknown(attempt))
    }

    /// Whether the objects of an attempt are seen as they change.
    fn is_watched(&self, attempt: AttemptId) -> bool {
        let place = self.tools.table.place(attempt);
        place.is_none_or(|namespace| self.tools.options.namespaces.contains(&namespace))
    }

    fn phase(&self, seen: &Seen) -> Option<Phase> {
        phase::phase(seen, self.tools.cluster.now())
    }

    /// What is known of an attempt; none: nothing that could be gone on with.
    fn found(&self, seen: &Seen) -> Option<Result<Found, String>> {
        let (job, phase) = (seen.any_job()?, self.phase(seen)?);
        let found = object::kept::decode(job).map(|made| Found {
            work: made.work,
            identity: names::identity(job),
            phase,
        });
        Some(found)
    }
}

#[async_trait]
impl Runner for KubeRunner {
    async fn find(&self) -> Result<Vec<Found>, RunnerError> {
        let tools = &self.tools;
        look_around(tools).await?;
        let mut found = Vec::new();
        for attempt in tools.table.all() {
            let seen = tools.table.seen(attempt).filter(|seen| settled::since(seen).is_none());
            match seen.and_then(|seen| self.found(&seen)) {
                Some(Ok(attempt)) => found.push(attempt),
                Some(Err(error)) => tracing::error!(%error, "a Job cannot be read and is left out"),
                None => {}
            }
        }
        Ok(found)
    }

    async fn look(&self, attempt: AttemptId) -> Result<Found, RunnerError> {
        actions::refresh(&self.tools, attempt).await?;
        let seen = self.tools.table.seen(attempt).ok_or(RunnerError::Unknown(attempt))?;
        match self.found(&seen) {
            Some(found) => found.map_err(RunnerError::Refused),
            None => Err(RunnerError::Unknown(attempt)),
        }
    }

    async fn look_for(&self, work: &Work) -> Result<Found, RunnerError> {
        self.tools.table.expect(work.attempt, self.tools.options.namespace(work));
        self.look(work.attempt).await
    }

    async fn prepare(&self, work: &Work) -> Result<Identity, RunnerError> {
        making::prepare(&self.tools, work).await
    }

    async fn go(&self, attempt: AttemptId, secrets: &SecretValues) -> Result<(), RunnerError> {
        making::go(&self.tools, attempt, secrets).await
    }

    async fn wait(
        &self,
        attempt: AttemptId,
        seen: &Phase,
        within: Duration,
    ) -> Result<Phase, RunnerError> {
        let deadline = Instant::now() + within;
        let mut watched = self.watched(attempt).await?;
        let mut look =
            (!self.is_watched(attempt)).then(|| deadline.min(Instant::now() + UNWATCHED));
        loop {
            if look.is_some_and(|look| Instant::now() >= look) {
                if let Err(error) = actions::refresh(&self.tools, attempt).await {
                    tracing::debug!(%attempt, %error, "what is not watched could not be looked at");
                }
                look = Some(Instant::now() + UNWATCHED);
            }
            let (phase, due) = {
                let now = watched.borrow_and_update();
                (self.phase(&now), phase::due(&now))
            };
            let phase = phase.ok_or(RunnerError::Unknown(attempt))?;
            if phase != *seen || Instant::now() >= deadline {
                return Ok(phase);
            }
            let left = due.map(|at| at.saturating_sub(self.tools.cluster.now().as_second()));
            let pause = left.filter(|left| *left >= 0).map_or(deadline, |left| {
                let left = Duration::from_secs(left.unsigned_abs()).max(Duration::from_millis(100));
                deadline.min(Instant::now() + left)
            });
            let pause = look.map_or(pause, |look| pause.min(look));
            tokio::select! {
                () = tokio::time::sleep_until(pause) => {}
                changed = watched.changed() => {
                    changed.map_err(|_| RunnerError::Unknown(attempt))?;
                }
            }
        }
    }

    async fn stop(&self, attempt: AttemptId) -> Result<(), RunnerError> {
        actions::stop(&self.tools, attempt).await
    }

    async fn follow(
        &self,
        attempt: AttemptId,
        cursor: &Bytes,
        most: usize,
        within: Duration,
    ) -> Result<Option<LogPiece>, RunnerError> {
        let mut watched = self.watched(attempt).await?;
        let deadline = Instant::now() + within;
        loop {
            let seen = watched.borrow_and_update().clone();
            let phase = self.phase(&seen).ok_or(RunnerError::Unknown(attempt))?;
            if let Some(piece) = logs::of_unstarted(&phase, cursor) {
                return Ok(piece);
            }
            let over = matches!(phase, Phase::Ended(_) | Phase::Vanished(_));
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(log) = self.logs.of(attempt, &seen, over) else {
                if over {
                    return Ok(None);
                }
                match timeout(left, watched.changed()).await {
                    Ok(changed) => changed.map_err(|_| RunnerError::Unknown(attempt))?,
                    Err(_) => return Ok(None),
                }
                continue;
            };
            let piece = tokio::select! {
                biased;
                piece = log.follow(cursor, most, left) => piece?,
                // It may be over now, and then nothing is waited for that does not come.
                changed = watched.changed(), if !over => {
                    changed.map_err(|_| RunnerError::Unknown(attempt))?;
                    continue;
                }
            };
            return if piece.is_none() && over && !log.is_over() {
                Err(Fault::Later("it is not read to its end yet".to_owned())
                    .during(&format!("reading the log of attempt {attempt}")))
            } else {
                Ok(piece)
            };
        }
    }

    async fn remove(&self, attempt: AttemptId) -> Result<(), RunnerError> {
        if !settled::keep(&self.tools, attempt).await? {
            removal::remove(&self.tools, attempt).await?;
        }
        self.logs.forget(attempt);
        Ok(())
    }

    fn sight(&self) -> channel::Receiver<Option<String>> {
        self.sight.told()
    }
}

/// Keeps what the API server's clock says, as long as it runs.
async fn ask_clock(tools: Arc<Tools>) {
    let begin = || async {
        loop {
            tokio::time::sleep(client::CLOCK).await;
            if let Err(fault) = tools.cluster.ask_clock().await {
                tracing::debug!(?fault, "the API server's clock was not told");
            }
        }
    };
    supervise::until_done(&tools.faults, "clock", begin, || {}).await;
}

/// An executor that the API server does not know takes nothing new: it could not look after it.
async fn see_whether_known(tools: Arc<Tools>, sight: Arc<Sight>) {
    let mut unknown = tools.cluster.unknown();
    loop {
        let why = unknown.borrow_and_update().clone();
        sight.set("the cluster", why.map(|why| format!("the API server says: {why}")));
        if unknown.changed().await.is_err() {
            return;
        }
    }
}

/// Looks at all that there is in all namespaces. One that this executor may not look into is left out and told of, unless
/// it may look into none; one that cannot be asked at present is waited for, so that nothing is taken for gone.
async fn look_around(tools: &Tools) -> Result<(), RunnerError> {
    let (mut refused, mut seen) = (None, false);
    for namespace in &tools.options.namespaces {
        match watch::look(&tools.cluster, &tools.table, namespace).await {
            Ok(()) => seen = true,
            Err(fault) => {
                match fault.during(&format!("looking into the namespace `{namespace}`")) {
                    error @ RunnerError::Refused(_) => {
                        tracing::error!(%error, "what is there is not seen until that is mended");
                        refused = refused.or(Some(error));
                    }
                    error => return Err(error),
                }
            }
        }
    }
    match refused {
        Some(error) if !seen => Err(error),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        seen::fixtures::{over, running, went},
        stub::Stub,
        *,
    };
    use serde_json::json;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    #[tokio::test]
    async fn the_end_of_what_is_in_a_namespace_that_the_file_lists_no_more_is_seen() {
        let runs = went().with("p", 0, running(1)).told("p");
        let ended = runs.clone().with("p", 0, over(3, "Error", 1, 2));
        let (job, is_over) = (runs.job.clone().unwrap(), Arc::new(AtomicBool::new(false)));
        let (answer, over_now) = (job.clone(), is_over.clone());
        let stub = Stub::new(move |asked| match asked.what.split_once(' ') {
            Some(("GET", path)) if path.contains("/namespaces/jobs/jobs/") => (200, json!(*answer)),
            Some(("GET", path)) if path.ends_with("/namespaces/jobs/pods") => {
                let (seen, version) =
                    if over_now.load(Relaxed) { (&ended, "9") } else { (&runs, "8") };
                let mut pod = json!(*seen.pods["p-uid"]);
                pod["metadata"]["resourceVersion"] = json!(version);
                (200, json!({"metadata": {"resourceVersion": version}, "items": [pod]}))
            }
            Some(("GET", _)) => (200, json!({"metadata": {"resourceVersion": "1"}, "items": []})),
            _ => (200, json!({"metadata": {}, "spec": {}, "status": {"allowed": true}})),
        })
        .await;
        let kubeconfig = Some(stub.kubeconfig("nobody", &json!({})));
        let options = Options { kubeconfig, ..Options::example("elsewhere") };
        let runner = KubeRunner::open(options).await.unwrap();
        let attempt = runner.tools.table.owner().attempt(&job.metadata).unwrap();
        runner.tools.table.expect(attempt, "jobs");
        let soon = Duration::from_millis(100);
        assert_eq!(runner.look(attempt).await.unwrap().phase, Phase::Running);
        is_over.store(true, Relaxed);
        let phase = runner.wait(attempt, &Phase::Running, soon).await.unwrap();
        let Phase::Ended(exit) = phase else { panic!("{phase:?}") };
        assert_eq!(exit.code, Some(3));
    }
}
