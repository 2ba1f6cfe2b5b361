//! The executor's binary with a cluster: from a grant to an end that a controller has, killed at every step.

use crate::{
    place::{Cluster, OURS},
    script::{Controller, lease},
};
use octavius_executor::runner::{
    Phase, Runner as _, Work,
    kubernetes::{KubeRunner, Options},
};
use octavius_protocol::v1::{self, ExecutionState};
use std::{io::Write as _, path::PathBuf, process::Stdio};
use tempfile::TempDir;
use tokio::process::{Child, Command};

struct World {
    place: Cluster,
    controller: Controller,
    folder: TempDir,
}

impl World {
    async fn new(name: &str) -> Self {
        Self::within(Cluster::new(name).await).await
    }

    async fn within(place: Cluster) -> Self {
        let (controller, folder) = (Controller::start().await, tempfile::tempdir().unwrap());
        let text = serde_json::json!({
            "cp_host": controller.address.to_string(), "id": "tester", "conn_time_out": "2s",
            "kube_config": "out-of-cluster", "default_namespace": place.namespace.name(), "capacity": 20, "state_dir": "state",
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

    /// Grants what writes a line to the file `ran` each time that it runs, and ends when there is the file that is answered.
    async fn grant_gated(&self) -> (String, PathBuf) {
        let (ran, gate) = (self.place.path("ran"), self.place.path("gate"));
        let script = format!(
            "echo ran >> {}; echo begun; while [ ! -e {} ]; do sleep 0.1; done; echo done",
            ran.display(),
            gate.display()
        );
        (self.grant(&script).await, gate)
    }

    async fn nothing_left(&self) {
        let left = ["get", "jobs,pods,secrets", OURS, "--output=name"];
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
    let mut told: Vec<_> =
        reports.iter().filter(|report| **report != "Starting").copied().collect();
    told.dedup(); // what is answered late is said again
    assert_eq!(told, ["Prepared", "Running", "Ended"]);
    world.nothing_left().await;
}

/// What the pod wrote has no size that anybody tells: it is what was sent, and that is not what a restarted controller has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_that_forgets_a_log_when_it_was_read_to_its_end_gets_it_again() {
    let world = World::new("forgets").await;
    world.controller.with(|state| state.faults.forget_logs = 1).await;
    let _executor = world.executor();
    let id = world.grant("echo hello").await;
    let ended = world.controller.over(&id).await;
    assert_eq!((ended.state(), ended.log_cut.as_str()), (ExecutionState::Succeeded, ""));
    assert_eq!(world.controller.with(|state| state.faults.forget_logs).await, 0);
    assert_eq!(world.controller.log(&id).await, "hello\n");
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
    let (id, gate) = world.grant_gated().await;
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

/// The new executor goes on exactly where the controller is, also where the beginning of the log is rotated away, and
/// nothing of it is durable yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_executor_that_is_killed_in_the_middle_of_a_fast_log_changes_no_byte_of_it() {
    let world = World::new("fast").await;
    world.controller.with(|state| state.faults.nothing_durable = true).await;
    let gate = world.place.path("gate");
    // A kubelet passes over what is written while it rotates. So the file becomes as large as that takes, 10 MiB with the
    // stamps, with lines that come at once, and then there is a pause.
    let (slow, paused) = (10_100, 10_400);
    let script = format!(
        "x=$(head -c 980 /dev/zero | tr '\\0' x); i=0; \
         lines() {{ while [ $i -lt $1 ]; do i=$((i+1)); echo $i $x; [ $((i % 10)) = 0 ] && usleep $2; done; }}; \
         lines {slow} 9000; lines {paused} 0; while [ ! -e {} ]; do sleep 0.1; done; lines {} 20000; exit 0",
        gate.display(),
        paused + 3_000
    );
    let executor = world.executor();
    let id = world.grant(&script).await;
    let many = |bytes: usize| {
        let id = id.clone();
        move |state: &crate::script::State| state.attempts[&id].log.len() >= bytes
    };
    world.controller.until("all but the end", many(paused * 985)).await;
    let newest = ["logs", OURS, "--container=job", "--tail=-1", "--limit-bytes=100"];
    world.place.namespace.until(&newest, |log| !log.starts_with("1 x")).await.unwrap();
    std::fs::write(&gate, "").unwrap();
    let mut executors = vec![executor];
    for more in [500, 1_000, 1_500] {
        world.controller.until("more", many((paused + more) * 985)).await;
        executors.pop().unwrap().kill().await.unwrap();
        executors.push(world.executor());
    }
    world.controller.until("the end", many((paused + 2_900) * 985)).await;
    world.controller.with(|state| state.faults.nothing_durable = false).await;
    let ended = world.controller.over(&id).await;
    assert_eq!((ended.state(), ended.log_cut.as_str()), (ExecutionState::Succeeded, ""));
    let filler = "x".repeat(980);
    let log = world.controller.log(&id).await;
    for (number, line) in log.lines().enumerate() {
        assert!(line == format!("{} {filler}", number + 1), "line {}: {line}", number + 1);
    }
    assert_eq!((log.lines().count(), log.ends_with("x\n")), (paused + 3_000, true));
}

/// As a pod without a volume.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_executor_that_lost_its_folder_is_the_same_one_and_goes_on_with_its_work() {
    let world = World::new("same").await;
    let (id, gate) = world.grant_gated().await;
    let mut first = world.executor();
    let running = |state: &crate::script::State| state.attempts[&id].reports.contains(&"Running");
    world.controller.until("running", running).await;
    first.kill().await.unwrap();
    std::fs::remove_dir_all(world.folder.path().join("state")).unwrap();
    let _second = world.executor();
    world.controller.until("registered again", |state| state.registrations.len() > 1).await;
    std::fs::write(&gate, "").unwrap();
    let ended = world.controller.over(&id).await;
    assert_eq!(ended.state(), ExecutionState::Succeeded, "{ended:?}");
    assert_eq!(world.controller.log(&id).await, "begun\ndone\n");
    assert_eq!(world.place.runs("ran"), 1);
    let (registered, installation) = world
        .controller
        .with(|state| (state.registrations.clone(), state.installation.clone()))
        .await;
    let said = |path: &str| format!("--output=jsonpath={{{path}}}");
    let kept = async |path| {
        let map = ["get", "configmap", "octavius-tester", &said(path)];
        world.place.namespace.kubectl(&map).await.unwrap()
    };
    let uid = kept(".metadata.uid").await;
    assert!(registered.iter().all(|registration| registration.place == uid), "{registered:?}");
    assert_eq!(registered.last().unwrap().installation, installation);
    assert_eq!(kept(".data.installation").await, installation);
    world.nothing_left().await;
}

/// The ConfigMap of its name is somebody else's; or it may make none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_executor_that_cannot_say_who_it_is_does_not_start_and_says_why() {
    let world = World::new("nobody").await;
    let refused = async || {
        let ended = tokio::time::timeout(crate::script::PATIENCE, world.executor().wait()).await;
        assert!(!ended.unwrap().unwrap().success());
        std::fs::read_to_string(world.folder.path().join("log")).unwrap()
    };
    let name = world.place.namespace.name();
    world.place.namespace.kubectl(&["create", "configmap", "octavius-tester"]).await.unwrap();
    let said = refused().await;
    assert!(
        said.contains(&format!("there is a ConfigMap {name}/octavius-tester already")),
        "{said}"
    );
    world.place.namespace.kubectl(&["delete", "rolebindings", "--all"]).await.unwrap();
    let said = refused().await;
    assert!(
        said.contains("cannot get resource \"configmaps\"") && said.contains("bind the role"),
        "{said}"
    );
}

/// A finished Job is cleaned up while no executor is there: by the cluster's own controller for finished Jobs (which somebody
/// told to take this one), or by hand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_cleaned_up_while_no_executor_was_there_is_lost_and_not_run_again() {
    let world = World::new("cleaned").await;
    for (by, gate) in [("ttl", "first"), ("hand", "second")] {
        let (ran, gate) = (world.place.path(by), world.place.path(gate));
        let script = format!(
            "echo ran >> {}; until [ -e {} ]; do sleep 0.1; done; echo done",
            ran.display(),
            gate.display()
        );
        let id = world.grant(&script).await;
        let job = format!("octavius-{id}-1");
        let mut executor = world.executor();
        let running =
            |state: &crate::script::State| state.attempts[&id].reports.contains(&"Running");
        world.controller.until("running", running).await;
        executor.kill().await.unwrap();
        let namespace = &world.place.namespace;
        if by == "ttl" {
            let spec = r#"{"spec": {"ttlSecondsAfterFinished": 1}}"#;
            namespace.kubectl(&["patch", "job", &job, "--patch", spec]).await.unwrap();
        }
        std::fs::write(&gate, "").unwrap();
        if by == "hand" {
            let done = ["get", "job", &job, "--output=jsonpath={.status.succeeded}"];
            namespace.until(&done, |text| text == "1").await.unwrap();
            namespace.kubectl(&["delete", "job", &job]).await.unwrap();
        }
        let there = ["get", "jobs,pods", "--selector", &format!("job-name={job}"), "--output=name"];
        namespace.until(&there, str::is_empty).await.unwrap();
        let _executor = world.executor();
        let ended = world.controller.over(&id).await;
        let told = (ended.state(), ended.reason_code.as_str());
        assert_eq!(told, (ExecutionState::Lost, "vanished"), "{by}: {ended:?}");
        assert_eq!(world.place.runs(by), 1, "{by}");
    }
    world.nothing_left().await;
}

/// Cut off from its controller, and then the pod is deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_was_seen_while_the_controller_was_away_is_told_though_the_pod_is_gone() {
    let world = World::new("kept").await;
    let _executor = world.executor();
    let gate = world.place.path("gate");
    let script =
        format!("echo begun; until [ -e {} ]; do sleep 0.1; done; echo done", gate.display());
    let id = world.grant(&script).await;
    let begun = |state: &crate::script::State| state.attempts[&id].log == b"begun\n";
    world.controller.until("begun", begun).await;
    let methods = ["Register", "Attend", "Poll", "Report", "Append", "Running", "Ended"];
    let away = async |calls: u32| {
        let refused = methods.map(|method| (method, calls));
        world.controller.with(|state| state.faults.refuse.extend(refused)).await;
    };
    away(u32::MAX).await;
    std::fs::write(gate, "").unwrap();
    let job = format!("octavius-{id}-1");
    let written = r"--output=jsonpath={.metadata.annotations.octavius\.dev/ended}";
    let namespace = &world.place.namespace;
    namespace.until(&["get", "job", &job, written], |text| !text.is_empty()).await.unwrap();
    // It follows the log all the time, and sends what it has: this is refused.
    let tried = |state: &crate::script::State| state.refused.contains_key("Append");
    world.controller.until("sending", tried).await;
    namespace.kubectl(&["delete", "pods", "--all", "--wait=true"]).await.unwrap();
    away(0).await;
    let ended = world.controller.over(&id).await;
    assert_eq!(ended.state(), ExecutionState::Succeeded, "{ended:?}");
    assert_eq!((world.controller.log(&id).await.as_str(), &*ended.log_cut), ("begun\ndone\n", ""));
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

mod own_cluster {
    use super::*;
    use octavius_testbed::cluster;

    /// The cluster deletes finished pods, all but one, before the controller has heard of the ends of their programs.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_ended_well_is_told_so_though_the_cluster_deletes_its_finished_pods() {
        let own = cluster::own_with_finished_pods_of(1).await.unwrap();
        let world = World::within(Cluster::within(&own, "finished").await).await;
        world.controller.with(|state| state.faults.refuse.insert("Ended", u32::MAX)).await;
        let _executor = world.executor();
        let mut ids = Vec::new();
        let script = format!("echo ran >> {}; echo done", world.place.path("ran").display());
        for _ in 0..20 {
            ids.push(world.grant(&script).await);
        }
        let namespace = &world.place.namespace;
        let ended = r"--output=jsonpath={.items[*].metadata.annotations.octavius\.dev/ended}";
        let all = |text: &str| text.matches("cause").count() == 20;
        namespace.until(&["get", "jobs", ended], all).await.unwrap();
        let few = |text: &str| text.lines().count() <= 1;
        namespace.until(&["get", "pods", "--output=name"], few).await.unwrap();
        world.controller.with(|state| state.faults.refuse.insert("Ended", 0)).await;
        for id in ids {
            let ended = world.controller.over(&id).await;
            assert_eq!(ended.state(), ExecutionState::Succeeded, "{ended:?}");
            assert_eq!(world.controller.log(&id).await, "done\n");
        }
        assert_eq!(world.place.runs("ran"), 20);
        world.nothing_left().await;
    }
}
