//! What cannot start says why in the cluster's own words, and is over when its time to start is.

use crate::place::{Cluster, object};
use octavius_executor::runner::{
    ExitCause, Phase, Runner, RunnerError, Work,
    kubernetes::{KubeRunner, Options},
    suite,
};
use std::time::Duration;
use tokio::time::Instant;

/// How soon the words are there: twice what is said in the documentation, for a cluster that has other work.
const SOON: Duration = Duration::from_secs(30);

/// Lets it go, and waits until it says that it waits for something with these words.
async fn waits_for(runner: &dyn Runner, work: &Work, words: &str) -> String {
    suite::start(runner, work).await;
    let deadline = Instant::now() + SOON;
    let mut phase = Phase::Prepared;
    loop {
        phase = runner.wait(work.attempt, &phase, Duration::from_secs(1)).await.unwrap();
        match &phase {
            Phase::Starting(said) if said.contains(words) => return said.clone(),
            Phase::Starting(_) if Instant::now() < deadline => {}
            other => panic!("not within {SOON:?}: {other:?}"),
        }
    }
}

/// It is over because it did not start, and says what it waited for; nothing of it is left then.
async fn never_starts(place: &Cluster, runner: &dyn Runner, work: &Work, words: &str) {
    not_started(place, runner, work, "start_timeout", words).await;
}

/// The same, as another code than that of all that has no code of its own.
async fn not_started(
    place: &Cluster,
    runner: &dyn Runner,
    work: &Work,
    expected: &str,
    words: &str,
) {
    let exit = suite::ended(runner, work.attempt).await;
    let ExitCause::NotStarted { code, why } = &exit.cause else { panic!("{exit:?}") };
    assert_eq!(*code, expected, "{exit:?}");
    assert!(why.contains(words) && why.contains("`start_timeout`"), "{why}");
    let log = suite::whole_log(runner, work.attempt, 1 << 20).await;
    let log = String::from_utf8_lossy(&log);
    assert!(
        log.starts_with("[octavius: the program did not start") && log.contains(words),
        "{log}"
    );
    runner.remove(work.attempt).await.unwrap();
    let left = ["get", "jobs,pods", "--output=name"];
    assert_eq!(place.namespace.kubectl(&left).await.unwrap(), "");
}

/// Work that waits no longer than it takes a busy cluster to say what for.
fn brief(work: Work) -> Work {
    Work { start_timeout: Some(Duration::from_secs(20)), ..work }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_without_its_service_account_is_refused_in_words() {
    let place = Cluster::new("account").await;
    let options = Options { service_account_name: "nosuch".to_owned(), ..place.options.clone() };
    let runner = KubeRunner::open(options).await.unwrap();
    let work = brief(place.work("echo ok"));
    let words = waits_for(&runner, &work, "nosuch").await;
    assert!(words.contains(place.namespace.name()), "{words}");
    assert!(words.contains("`service_account_name`"), "{words}");
    never_starts(&place, &runner, &work, "nosuch").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_that_is_lifted_lets_the_pod_in() {
    let place = Cluster::new("quota").await;
    let quota = ["create", "quota", "full", "--hard=pods=0"];
    place.namespace.kubectl(&quota).await.unwrap();
    let runner = place.runner().await;
    let work = place.work("echo ok");
    let words = waits_for(&runner, &work, "exceeded quota: full").await;
    assert!(words.contains("quota raised"), "{words}");
    place.namespace.kubectl(&["delete", "quota", "full"]).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(120); // the cluster's own pauses grow
    let mut phase = Phase::Starting(words);
    while !matches!(phase, Phase::Ended(_)) {
        assert!(Instant::now() < deadline, "{phase:?}");
        phase = runner.wait(work.attempt, &phase, Duration::from_secs(5)).await.unwrap();
    }
    assert!(matches!(&phase, Phase::Ended(exit) if exit.code == Some(0)), "{phase:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_that_wants_limits_says_that_they_are_missing() {
    let place = Cluster::new("limits").await;
    let quota = ["create", "quota", "limits", "--hard=limits.cpu=1"];
    place.namespace.kubectl(&quota).await.unwrap();
    let runner = place.runner().await;
    let work = brief(place.work("echo ok"));
    let words = waits_for(&runner, &work, "must specify limits.cpu").await;
    assert!(words.contains(place.namespace.name()) && words.contains("`resources`"), "{words}");
    never_starts(&place, &runner, &work, "must specify limits.cpu").await;
    let mut work = place.work("echo ok");
    work.resources.limits.insert("cpu".to_owned(), "500m".to_owned());
    let (exit, _) = suite::run(&runner, &work).await;
    suite::check_code(&exit, 0);
}

/// A webhook of which nobody answers, that is asked about what is made in a namespace.
struct Webhook<'a>(&'a Cluster);

impl<'a> Webhook<'a> {
    async fn about(place: &'a Cluster, group: &str, resource: &str) -> Self {
        let name = place.namespace.name();
        let label =
            ["label", "namespace", name, "--overwrite", &format!("octavius-webhook={name}")];
        place.namespace.kubectl(&label).await.unwrap();
        let webhook = serde_json::json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": name},
            "webhooks": [{
                "name": "nobody.octavius.dev", "sideEffects": "None", "admissionReviewVersions": ["v1"],
                "failurePolicy": "Fail", "timeoutSeconds": 2,
                "clientConfig": {"service": {"name": "nobody", "namespace": name}},
                "namespaceSelector": {"matchLabels": {"octavius-webhook": name}},
                "rules": [{
                    "apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [resource],
                }],
            }],
        });
        let hook = Self(place);
        place.namespace.apply(&webhook.to_string()).await.unwrap();
        hook
    }
}

impl Drop for Webhook<'_> {
    /// It is nobody's namespace's.
    fn drop(&mut self) {
        let delete = ["delete", "validatingwebhookconfiguration", self.0.namespace.name()];
        let deleted = self.0.namespace.kubectl(&delete);
        let deleted =
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(deleted));
        assert!(deleted.is_ok() || std::thread::panicking(), "{deleted:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_does_not_answer_is_told_whether_it_is_asked_about_the_pod_or_the_job() {
    let place = Cluster::new("webhook").await;
    let runner = place.runner().await;
    let work = brief(place.work("echo ok"));
    let about_pods = Webhook::about(&place, "", "pods").await;
    // The API server takes a moment to know that it has to ask.
    let probe = ["run", "probe", "--image=busybox:dev", "--dry-run=server"];
    let deadline = Instant::now() + SOON;
    let is_asked = |failed: &str| failed.contains("nobody.octavius.dev");
    while !place.namespace.kubectl(&probe).await.is_err_and(|e| is_asked(&e.to_string())) {
        assert!(Instant::now() < deadline, "the webhook is not asked");
    }
    let words = waits_for(&runner, &work, "nobody.octavius.dev").await;
    assert!(words.contains(place.namespace.name()), "{words}");
    assert!(words.contains("have the webhook mended"), "{words}");
    never_starts(&place, &runner, &work, "nobody.octavius.dev").await;
    drop(about_pods);
    let about_jobs = Webhook::about(&place, "batch", "jobs").await;
    let work = place.work("echo ok");
    // Here, too.
    let deadline = Instant::now() + SOON;
    let refused = loop {
        match runner.prepare(&Work { attempt: place.work("").attempt, ..work.clone() }).await {
            Err(error) => break error,
            Ok(_) => assert!(Instant::now() < deadline, "the webhook is not asked"),
        }
    };
    let words = refused.to_string();
    assert!(matches!(refused, RunnerError::Failed { .. }), "{refused:?}");
    assert!(words.contains("nobody.octavius.dev"), "{words}");
    assert!(words.contains(place.namespace.name()), "{words}");
    assert!(words.ends_with("have the webhook mended"), "{words}");
    drop(about_jobs);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_is_not_there_is_told_and_waited_for() {
    let place = Cluster::new("nowhere").await;
    let nowhere = format!("{}-nowhere", place.namespace.name());
    // Who may do everything hears that it is not there; others, that they have no right.
    let everything = place.namespace.kubectl(&["config", "view", "--raw"]).await.unwrap();
    let kubeconfig = place.path("kubeconfig");
    std::fs::write(&kubeconfig, everything).unwrap();
    let mut options = Options { kubeconfig: Some(kubeconfig), ..place.options.clone() };
    options.namespaces.push(nowhere.clone());
    let runner = KubeRunner::open(options).await.unwrap();
    let work = Work { namespace: Some(nowhere.clone()), ..place.work("echo ok") };
    let refused = runner.prepare(&work).await.unwrap_err();
    assert!(matches!(refused, RunnerError::NotYet(_)), "{refused:?}");
    let words = refused.to_string();
    assert!(words.contains(&format!("namespaces \"{nowhere}\" not found")), "{words}");
    assert!(words.contains(&format!("`kubectl create namespace {nowhere}`")), "{words}");
    runner.remove(work.attempt).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_no_node_can_take_waits_and_can_be_stopped() {
    let place = Cluster::new("nodes").await;
    let runner = place.runner().await;
    let mut work = brief(place.work("echo hi"));
    work.resources.requests.insert("cpu".to_owned(), "64".to_owned());
    waits_for(&runner, &work, "Insufficient cpu").await;
    never_starts(&place, &runner, &work, "Insufficient cpu").await;
    let mut work = place.work("echo hi");
    work.resources.requests.insert("cpu".to_owned(), "64".to_owned());
    waits_for(&runner, &work, "Insufficient cpu").await;
    let asked = Instant::now();
    runner.stop(work.attempt).await.unwrap();
    let exit = suite::ended(&runner, work.attempt).await;
    assert_eq!((&exit.cause, exit.code), (&ExitCause::Stopped, None));
    assert!(asked.elapsed() < SOON, "it took {:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_cannot_be_had_is_told() {
    let place = Cluster::new("image").await;
    let runner = place.runner().await;
    let work = Work { image_name: "nosuch.invalid/image:1".to_owned(), ..brief(place.work(":")) };
    waits_for(&runner, &work, "nosuch.invalid/image:1").await;
    not_started(&place, &runner, &work, "image", "nosuch.invalid/image:1").await;
    let work = Work { image_name: "No:Such:Image".to_owned(), ..place.work(":") };
    suite::start(&runner, &work).await;
    let exit = suite::ended(&runner, work.attempt).await;
    let ExitCause::NotStarted { code: "image", why } = &exit.cause else { panic!("{exit:?}") };
    assert!(why.contains("InvalidImageName"), "{why}");
}

/// An image whose pull hangs, because its registry takes connections and answers nothing: the time limit of the program has
/// not begun, and that of its start is the one that passes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_time_limit_of_a_program_does_not_count_while_its_image_is_pulled() {
    let place = Cluster::new("pull").await;
    let port = rand::random_range(20_000..30_000u16);
    let registry = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "registry"},
        "spec": {"hostNetwork": true, "terminationGracePeriodSeconds": 0, "containers": [{
            "name": "registry", "image": "busybox:dev", "imagePullPolicy": "Never",
            "command": ["nc", "-ll", "-p", port.to_string(), "-e", "sleep", "600"],
        }]},
    });
    place.namespace.apply(&registry.to_string()).await.unwrap();
    let ready = ["wait", "--for=condition=Ready", "pod/registry", "--timeout=50s"];
    place.namespace.kubectl(&ready).await.unwrap();
    let runner = place.runner().await;
    let image_name = format!("127.0.0.1:{port}/held:1");
    let work = Work { timeout: Some(Duration::from_secs(2)), image_name, ..brief(place.work(":")) };
    waits_for(&runner, &work, "ContainerCreating").await;
    let exit = suite::ended(&runner, work.attempt).await;
    let ExitCause::NotStarted { code: "start_timeout", why } = &exit.cause else {
        panic!("{exit:?}")
    };
    assert!(why.contains("`start_timeout`") && why.contains("ContainerCreating"), "{why}");
    runner.remove(work.attempt).await.unwrap();
    let left = ["get", "pods", "--output=name"];
    assert_eq!(place.namespace.kubectl(&left).await.unwrap(), "pod/registry\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_api_server_refuses_and_what_the_file_does_not_allow_is_refused_by_name() {
    let place = Cluster::new("refused").await;
    let runner = place.runner().await;
    let refused = async |work: Work| runner.prepare(&work).await.unwrap_err().to_string();
    let elsewhere = Work { namespace: Some("kube-system".to_owned()), ..place.work(":") };
    let words = refused(elsewhere).await;
    assert!(words.contains("`kube-system`") && words.contains("`namespaces`"), "{words}");
    let mut odd = place.work(":");
    odd.resources.limits.insert("cpu".to_owned(), "many".to_owned());
    let words = refused(odd).await;
    assert!(words.contains("quantities must match"), "{words}");
    let template = r#"{"spec": {"hostNetwork": true}}"#.to_owned();
    let words = refused(Work { template, ..place.work(":") }).await;
    assert!(words.contains("`spec.hostNetwork`"), "{words}");
    assert_eq!(runner.find().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_of_our_name_that_is_not_ours_is_left_alone() {
    let place = Cluster::new("foreign").await;
    let runner = place.runner().await;
    let work = place.work("echo ours");
    let job = ["create", "job", &object(&work), "--image=busybox:dev", "--", "sleep", "300"];
    place.namespace.kubectl(&job).await.unwrap();
    let refused = runner.prepare(&work).await.unwrap_err().to_string();
    assert!(refused.contains("neither taken over nor deleted"), "{refused}");
    assert_eq!(runner.find().await.unwrap(), []);
    runner.remove(work.attempt).await.unwrap();
    let job = ["get", "job", &object(&work), "--output=jsonpath={.spec.parallelism}"];
    assert_eq!(place.namespace.kubectl(&job).await.unwrap(), "1");

    let work = place.work("echo ours");
    let secret = ["create", "secret", "generic", &object(&work), "--from-literal=a=b"];
    place.namespace.kubectl(&secret).await.unwrap();
    let refused = runner.prepare(&work).await.unwrap_err().to_string();
    assert!(refused.contains("there is a Secret"), "{refused}");
    runner.stop(work.attempt).await.unwrap();
    runner.remove(work.attempt).await.unwrap();
    let secret = ["get", "secret", &object(&work), "--output=jsonpath={.data.a}"];
    assert_eq!(place.namespace.kubectl(&secret).await.unwrap(), "Yg==");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_server_takes_every_job_that_is_written_down_as_built() {
    let place = Cluster::new("dry").await;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/runner/kubernetes/object/snapshots");
    let mut taken = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let built = text.splitn(3, "---\n").nth(2).unwrap();
        let mut job: serde_json::Value = serde_json::from_str(built).unwrap();
        job["metadata"]["namespace"] = place.namespace.name().into();
        let path = place.path("job");
        std::fs::write(&path, job.to_string()).unwrap();
        let path = path.to_string_lossy().into_owned();
        let create = ["create", "--dry-run=server", "--output=name", "--filename", &path];
        let made = place.namespace.kubectl(&create).await.unwrap();
        assert!(made.starts_with("job.batch/octavius-"), "{made}");
        taken += 1;
    }
    assert!(taken >= 2, "{taken} snapshots");
}

/// The most that Linux passes to a program in one variable: its name, `=`, and a NUL at the end are of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_longest_value_that_there_is_arrives() {
    let place = Cluster::new("long").await;
    let runner = place.runner().await;
    let mut work = place.work("echo ${#v}");
    work.arguments.insert("v".to_owned(), "x".repeat(131_069));
    let (_, log) = suite::run(&runner, &work).await;
    assert_eq!(String::from_utf8_lossy(&log), "131069\n");
    runner.remove(work.attempt).await.unwrap();
}
