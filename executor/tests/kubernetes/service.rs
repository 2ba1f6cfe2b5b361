//! The executor's binary with a cluster: from a grant to an end that a controller has, killed at every step.

use crate::{
    place::Cluster,
    script::{Controller, lease},
};
use octavius_executor::runner::{
    Phase, Runner as _, Work,
    kubernetes::{KubeRunner, Options},
};
use octavius_protocol::v1::{self, ExecutionState};
use std::{io::Write as _, process::Stdio};
use tempfile::TempDir;
use tokio::process::{Child, Command};

struct World {
    place: Cluster,
    controller: Controller,
    folder: TempDir,
}

impl World {
    async fn new(name: &str) -> Self {
        let place = Cluster::new(name).await;
        let (controller, folder) = (Controller::start().await, tempfile::tempdir().unwrap());
        let text = serde_json::json!({
            "cp_host": controller.address.to_string(), "id": "tester", "conn_time_out": "2s",
            "kube_config": "out-of-cluster", "default_namespace": place.namespace.name(), "capacity": 4,
            "allowed_template_fields": place.options.allowed_template_fields,
            "namespaces": ["kube-system"],
        });
        std::fs::write(folder.path().join("executor_config.json"), text.to_string()).unwrap();
        Self { place, controller, folder }
    }

    /// Starts the binary; it ends with what is returned.
    fn executor(&self) -> Child {
        self.executor_with("log_level", "info")
    }

    /// The same, where a key of its file has another value.
    fn executor_with(&self, key: &str, value: &str) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_executor"));
        command.arg("start").current_dir(self.folder.path()).env("RUST_BACKTRACE", "0");
        command.env("KUBECONFIG", self.place.namespace.kubeconfig());
        command.env(format!("OCTAVIUS_EXECUTOR_{}", key.to_uppercase()), value);
        let path = self.folder.path().join("log");
        let log = std::fs::File::options().create(true).append(true).open(path).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        command.spawn().unwrap()
    }

    async fn grant(&self, script: &str) -> String {
        let work = self.place.work(script);
        let installation = self.controller.with(|state| state.installation.clone()).await;
        let lease = v1::Lease {
            installation,
            image_name: work.image_name,
            kubernetes: work.template,
            ..lease(&["sh", "-c", script])
        };
        self.controller.grant(lease).await
    }

    async fn nothing_left(&self) {
        let ours = "--selector=app.kubernetes.io/managed-by=octavius";
        let left = ["get", "jobs,pods,secrets", ours, "--output=name"];
        self.place.namespace.until(&left, str::is_empty).await.unwrap();
    }
}

impl Drop for World {
    /// A test that fails shows what the executor said.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.path().join("log"));
            let _ = writeln!(std::io::stderr(), "the executor said: {}", log.unwrap_or_default());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_becomes_a_job_and_its_end_and_log_reach_the_controller() {
    let world = World::new("grant").await;
    let _executor = world.executor();
    let id = world.grant("echo hello; exit 3").await;
    let ended = world.controller.over(&id).await;
    assert_eq!((ended.state(), ended.exit_code), (ExecutionState::Failed, Some(3)), "{ended:?}");
    assert_eq!((ended.reason_code.as_str(), ended.log_cut.as_str()), ("exit_code", ""));
    assert_eq!(world.controller.log(&id).await, "hello\n");
    let reports = world.controller.reports(&id).await;
    let told: Vec<_> = reports.iter().filter(|report| **report != "Starting").copied().collect();
    assert_eq!(told, ["Prepared", "Running", "Ended"]);
    world.nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_start_leaves_what_another_installation_has_in_the_namespace() {
    let world = World::new("first").await;
    let theirs = Options {
        executor: "tester".to_owned(),
        installation: "theirs".to_owned(),
        ..world.place.options.clone()
    };
    let theirs = KubeRunner::open(theirs).await.unwrap();
    let work = Work { installation: "theirs".to_owned(), ..world.place.work(":") };
    theirs.prepare(&work).await.unwrap();
    let _executor = world.executor();
    world.controller.until("a heartbeat", |state| state.first_held.is_some()).await;
    let held = world.controller.with(|state| state.first_held.clone()).await;
    assert_eq!(held, Some(vec![]));
    let id = world.grant("echo ours").await;
    world.controller.over(&id).await;
    assert_eq!(theirs.look(work.attempt).await.unwrap().phase, Phase::Prepared);
    theirs.remove(work.attempt).await.unwrap();
    world.nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_executor_that_is_killed_at_any_step_runs_it_once_and_tells_its_end() {
    let world = World::new("killed").await;
    let (ran, gate) = (world.place.path("ran"), world.place.path("gate"));
    let script = format!(
        "echo ran >> {}; echo begun; while [ ! -e {} ]; do sleep 0.1; done; echo done",
        ran.display(),
        gate.display()
    );
    let id = world.grant(&script).await;
    for (step, report) in [("prepared", "Prepared"), ("running", "Running")] {
        let mut executor = world.executor();
        let seen = |state: &crate::script::State| state.attempts[&id].reports.contains(&report);
        world.controller.until(step, seen).await;
        executor.kill().await.unwrap();
    }
    std::fs::write(&gate, "").unwrap();
    let _executor = world.executor();
    let ended = world.controller.over(&id).await;
    assert_eq!(ended.state(), ExecutionState::Succeeded, "{ended:?}");
    assert_eq!(world.controller.log(&id).await, "begun\ndone\n");
    assert_eq!(world.place.runs("ran"), 1);
    world.nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_ends_the_pod_and_is_told_when_nothing_runs_any_more() {
    let world = World::new("cancel").await;
    let _executor = world.executor();
    let id = world.grant("trap '' TERM; while :; do echo x; sleep 1; done").await;
    let running = |state: &crate::script::State| state.attempts[&id].reports.contains(&"Running");
    world.controller.until("running", running).await;
    world.controller.with(|state| state.attempts.get_mut(&id).unwrap().stop = true).await;
    let ended = world.controller.over(&id).await;
    assert_eq!(ended.state(), ExecutionState::Cancelled, "{ended:?}");
    world.nothing_left().await;
}

/// Said in the documentation: within 15 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_the_cluster_does_not_let_in_says_so_to_the_controller_and_is_tried_until_it_is_stopped()
 {
    let world = World::new("let-in").await;
    let _executor = world.executor();
    let installation = world.controller.with(|state| state.installation.clone()).await;
    let lease = v1::Lease {
        installation,
        image_name: world.place.work("").image_name,
        namespace: "kube-system".to_owned(),
        ..lease(&["true"])
    };
    let id = world.controller.grant(lease).await;
    let told = |state: &crate::script::State| {
        let words = &state.attempts[&id].waits_for;
        words.contains("cannot create resource \"jobs\"")
            && words.contains("\"kube-system\"")
            && words.contains("bind the role")
    };
    world.controller.until("why it is not made", told).await;
    world.controller.with(|state| state.attempts.get_mut(&id).unwrap().stop = true).await;
    let ended = world.controller.over(&id).await;
    assert_eq!(ended.state(), ExecutionState::Cancelled, "{ended:?}");
    world.nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_of_pods_that_is_not_there_is_told_at_the_start() {
    let world = World::new("account").await;
    let _executor = world.executor_with("service_account_name", "nosuch");
    world.controller.until("a heartbeat", |state| state.first_held.is_some()).await;
    let log = std::fs::read_to_string(world.folder.path().join("log")).unwrap();
    let namespace = world.place.namespace.name();
    let remedy = format!("kubectl -n {namespace} create serviceaccount nosuch");
    assert!(log.contains("`service_account_name` is `nosuch`") && log.contains(&remedy), "{log}");
}

/// P5, also where somebody wants to know everything of everybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_level_of_the_log_shows_a_secret_or_the_token_that_the_cluster_is_asked_with() {
    let world = World::new("trace").await;
    let all = "trace,kube_client=trace,h2=trace,hyper=trace";
    let _executor = world.executor_with("log_level", all);
    let installation = world.controller.with(|state| state.installation.clone()).await;
    let secret = "planted-S3cr3t-7f1c";
    let lease = v1::Lease {
        installation,
        image_name: world.place.work("").image_name,
        secrets: [("TOKEN".to_owned(), secret.as_bytes().to_vec())].into(),
        ..lease(&["sh", "-c", "test -n \"$TOKEN\""])
    };
    let id = world.controller.grant(lease).await;
    let ended = world.controller.over(&id).await;
    assert_eq!(ended.state(), ExecutionState::Succeeded, "{ended:?}");
    world.nothing_left().await;
    let view = ["config", "view", "--raw", "--output=jsonpath={.users[0].user.token}"];
    let token = world.place.namespace.kubectl_as_executor(&view).await.unwrap();
    assert!(token.len() > 100, "the executor has no token");
    let log = std::fs::read_to_string(world.folder.path().join("log")).unwrap();
    assert!(log.contains("TRACE"), "nothing was said at this level");
    let inside = "cGxhbnRlZC1TM2NyM3QtN2YxYw"; // the secret as it is in a Secret
    for hidden in [secret, inside, token.trim()] {
        assert!(!log.contains(hidden), "{hidden} is in the log");
    }
}
