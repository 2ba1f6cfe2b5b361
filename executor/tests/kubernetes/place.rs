//! A namespace of a real cluster, as the place where a runner is tried.

use async_trait::async_trait;
use bytes::Bytes;
use octavius_executor::runner::{
    Found, Identity, LogPiece, Phase, Runner, RunnerError, Work,
    kubernetes::{KubeRunner, Options},
    suite::{self, Place},
};
use octavius_protocol::{id::AttemptId, secret::SecretValues};
use octavius_testbed::{
    cluster::{self, Namespace},
    proxy::Proxy,
};
use std::{fs, path::PathBuf, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::time::{Instant, timeout};

/// Nothing in a cluster takes as long.
const LONG: Duration = Duration::from_secs(240);

/// Any wait for what comes soon, also on a machine that has other work.
pub(super) const SOON: Duration = Duration::from_secs(120);

/// Selects what executors made.
pub(super) const OURS: &str = "--selector=app.kubernetes.io/managed-by=octavius";

/// The image that the cluster has.
const IMAGE: &str = "busybox:dev";

/// A namespace, and what an executor in it is told.
pub(super) struct Cluster {
    pub(super) namespace: Namespace,
    pub(super) options: Options,
    /// Pods see it, because the node is this machine.
    shared: TempDir,
}

impl Cluster {
    /// A namespace of its own in the shared cluster.
    pub(super) async fn new(name: &str) -> Self {
        Self::within(&cluster::shared().await.unwrap(), name).await
    }

    /// A namespace of its own in a cluster.
    pub(super) async fn within(cluster: &cluster::Cluster, name: &str) -> Self {
        Self::of(cluster.namespace(name).await.unwrap(), None).await
    }

    /// A namespace of any cluster, reached through `way` if there is one.
    pub(super) async fn of(namespace: Namespace, way: Option<&Proxy>) -> Self {
        let mut kubeconfig = namespace.kubeconfig().to_owned();
        if let Some(way) = way {
            let text = fs::read_to_string(&kubeconfig).unwrap();
            let (before, rest) = text.split_once("https://").unwrap();
            let (_, behind) = rest.split_once('"').unwrap();
            kubeconfig.set_file_name("through-a-way");
            fs::write(&kubeconfig, format!("{before}https://{}\"{behind}", way.address)).unwrap();
        }
        let fields = ["resources", "nodeSelector", "tolerations", "volumes", "volumeMounts"];
        let options = Options {
            kubeconfig: Some(kubeconfig),
            allowed_template_fields: fields.map(str::to_owned).to_vec(),
            ..Options::example(namespace.name())
        };
        Self { namespace, options, shared: tempfile::tempdir().unwrap() }
    }

    /// A fresh runner.
    pub(super) async fn runner(&self) -> KubeRunner {
        KubeRunner::open(self.options.clone()).await.unwrap()
    }

    /// A fresh runner that reaches the cluster as another kubeconfig says.
    pub(super) async fn runner_with(&self, kubeconfig: PathBuf) -> KubeRunner {
        let options = Options { kubeconfig: Some(kubeconfig), ..self.options.clone() };
        KubeRunner::open(options).await.unwrap()
    }

    /// Work for a shell script in an image that the cluster has, which sees the shared folder.
    pub(super) fn work(&self, script: &str) -> Work {
        self.here(&suite::script(script))
    }

    /// The suite's work as it can be done here.
    fn here(&self, work: &Work) -> Work {
        let folder = self.shared.path();
        let template = serde_json::json!({"spec": {
            "volumes": [{"name": "shared", "hostPath": {"path": folder}}],
            "containers": [{"name": "job", "volumeMounts": [{"name": "shared", "mountPath": folder}]}],
        }});
        Work { image_name: IMAGE.to_owned(), template: template.to_string(), ..work.clone() }
    }

    /// A file in the shared folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.shared.path().join(name)
    }

    /// How often a script that writes a line to a file each time that it runs did so.
    pub(super) fn runs(&self, file: &str) -> usize {
        fs::read_to_string(self.path(file)).map_or(0, |text| text.lines().count())
    }
}

/// Waits until new work is taken, or is not; why not.
pub(super) async fn sees(runner: &KubeRunner, well: bool) -> String {
    let mut sight = runner.sight();
    let changed = timeout(SOON, sight.wait_for(|why| why.is_none() == well)).await;
    changed
        .unwrap_or_else(|_| panic!("after {SOON:?}: {:?}", runner.sight().borrow()))
        .unwrap()
        .clone()
        .unwrap_or_default()
}

/// The name of an attempt's Job and Secret.
pub(super) fn object(work: &Work) -> String {
    object_of(work.attempt)
}

fn object_of(attempt: AttemptId) -> String {
    format!("octavius-{}-{}", attempt.execution, attempt.attempt.0)
}

/// The first phase that is not one of those which `passes` lets pass.
pub(super) async fn next(
    runner: &dyn Runner,
    work: &Work,
    passes: impl Fn(&Phase) -> bool,
) -> Phase {
    let deadline = Instant::now() + LONG;
    let mut phase = runner.look(work.attempt).await.unwrap().phase;
    while passes(&phase) {
        assert!(Instant::now() < deadline, "for {LONG:?} it is {phase:?}");
        phase = runner.wait(work.attempt, &phase, Duration::from_secs(1)).await.unwrap();
    }
    phase
}

/// How it ends, seen or not meanwhile.
pub(super) async fn end(runner: &dyn Runner, work: &Work) -> Phase {
    next(runner, work, |phase| matches!(phase, Phase::Running | Phase::Unseen(_))).await
}

/// A runner that does the suite's work as it can be done here, and tells of it as the suite wants it.
#[derive(Debug)]
struct Adapted {
    runner: KubeRunner,
    template: Work,
}

impl Adapted {
    fn there(&self, mut found: Found) -> Found {
        found.work.image_name = suite::script("").image_name;
        found.work.template = String::new();
        found
    }
}

#[async_trait]
impl Runner for Adapted {
    async fn find(&self) -> Result<Vec<Found>, RunnerError> {
        let found = self.runner.find().await?;
        Ok(found.into_iter().map(|found| self.there(found)).collect())
    }

    async fn look(&self, attempt: AttemptId) -> Result<Found, RunnerError> {
        self.runner.look(attempt).await.map(|found| self.there(found))
    }

    async fn prepare(&self, work: &Work) -> Result<Identity, RunnerError> {
        let Work { image_name, template, .. } = self.template.clone();
        self.runner.prepare(&Work { image_name, template, ..work.clone() }).await
    }

    async fn go(&self, attempt: AttemptId, secrets: &SecretValues) -> Result<(), RunnerError> {
        self.runner.go(attempt, secrets).await
    }

    async fn wait(
        &self,
        attempt: AttemptId,
        seen: &Phase,
        within: Duration,
    ) -> Result<Phase, RunnerError> {
        self.runner.wait(attempt, seen, within).await
    }

    async fn stop(&self, attempt: AttemptId) -> Result<(), RunnerError> {
        self.runner.stop(attempt).await
    }

    async fn follow(
        &self,
        attempt: AttemptId,
        cursor: &Bytes,
        most: usize,
        within: Duration,
    ) -> Result<Option<LogPiece>, RunnerError> {
        self.runner.follow(attempt, cursor, most, within).await
    }

    async fn remove(&self, attempt: AttemptId) -> Result<(), RunnerError> {
        self.runner.remove(attempt).await
    }
}

#[async_trait]
impl Place for Cluster {
    async fn open(&self) -> Arc<dyn Runner> {
        Arc::new(Adapted { runner: self.runner().await, template: self.work("") })
    }

    async fn destroy_keeper(&self, attempt: AttemptId) {
        let name = object_of(attempt);
        self.namespace.kubectl(&["delete", "job", &name, "--cascade=orphan"]).await.unwrap();
    }

    fn kept(&self, _attempt: AttemptId) -> Vec<u8> {
        let arguments = ["get", "jobs,pods,events,configmaps", "-o", "yaml"];
        let asked = self.namespace.kubectl(&arguments);
        // The suite asks from within a runtime of several threads.
        let text =
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(asked));
        text.unwrap().into_bytes()
    }

    fn shared(&self) -> PathBuf {
        self.shared.path().to_owned()
    }

    async fn running_with(&self, text: &str) -> Vec<String> {
        // What sets up and takes down the network of a pod has the pod's name in its environment.
        suite::running_here(text, |line| line.starts_with("/usr/lib/cni/"))
    }

    fn left_out(&self, case: &str) -> Option<&'static str> {
        let first = "the first process of a container ignores signals that it does not handle";
        let why = match case {
            "codes_and_signals" | "timeout_without_a_handler" => first,
            "a_stopped_program_is_terminated_too" => first,
            "bytes_are_kept_as_written" => "the container runtime turns `\\r\\n` into `\\n`",
            "both_outputs_in_their_order" => "the container runtime reads each output by itself",
            "much_and_fast" => "the kubelet rotates what is written faster than it can be read",
            "a_working_folder_of_its_own" => "a program begins in the folder that its image says",
            "a_name_without_end_is_told_short" => {
                "the runtime is silent about a program of so long a name: it does not start in time"
            }
            "nonsense_is_refused" => "a job without `command` runs what its image says",
            "children_are_terminated_before_they_are_killed" => {
                "the kernel kills what is left in a container when its first process ends"
            }
            "a_lost_keeper_is_told" => "of a Job that is gone, only who saw it knows anything",
            _ => return None,
        };
        Some(why)
    }

    /// A kubelet before 1.22 removes the container of a deleted pod as soon as it hears that it has ended. If it looks at
    /// the container once more by then, it says of it that it waits to be made, and the code is gone with the pod.
    fn may_lose_codes(&self) -> bool {
        true
    }

    fn ambient_variables(&self) -> Vec<&'static str> {
        vec![
            "HOME",
            "HOSTNAME",
            "KUBERNETES_PORT",
            "KUBERNETES_PORT_443_TCP",
            "KUBERNETES_PORT_443_TCP_ADDR",
            "KUBERNETES_PORT_443_TCP_PORT",
            "KUBERNETES_PORT_443_TCP_PROTO",
            "KUBERNETES_SERVICE_HOST",
            "KUBERNETES_SERVICE_PORT",
            "KUBERNETES_SERVICE_PORT_HTTPS",
            "OCTAVIUS_GATE",
            "PATH",
        ]
    }
}
