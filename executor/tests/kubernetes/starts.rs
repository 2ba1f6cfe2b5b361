//! What cannot start says why in the cluster's own words, and is over when its time to start is.

use crate::place::{Cluster, object};
use octavius_executor::runner::{
    ExitCause, Phase, Runner, Work,
    kubernetes::{KubeRunner, Options},
    suite,
};
use std::time::Duration;
use tokio::time::Instant;

/// How soon the words are there.
const SOON: Duration = Duration::from_secs(15);

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
    let exit = suite::ended(runner, work.attempt).await;
    let ExitCause::NotStarted { code: "start_timeout", why } = &exit.cause else {
        panic!("{exit:?}")
    };
    assert!(why.contains(words) && why.contains("`start_timeout`"), "{why}");
    runner.remove(work.attempt).await.unwrap();
    let left = ["get", "jobs,pods", "--output=name"];
    assert_eq!(place.namespace.kubectl(&left).await.unwrap(), "");
}

fn brief(work: Work) -> Work {
    Work { start_timeout: Some(Duration::from_secs(8)), ..work }
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
    assert!(asked.elapsed() < Duration::from_secs(10), "it took {:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_cannot_be_had_is_told() {
    let place = Cluster::new("image").await;
    let runner = place.runner().await;
    let work = Work { image_name: "nosuch.invalid/image:1".to_owned(), ..brief(place.work(":")) };
    waits_for(&runner, &work, "nosuch.invalid/image:1").await;
    never_starts(&place, &runner, &work, "nosuch.invalid/image:1").await;
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
