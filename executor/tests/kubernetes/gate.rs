//! No program runs twice in one attempt, though the cluster makes another pod for its Job.

use crate::place::{Cluster, OURS, object};
use octavius_executor::runner::{Phase, Runner, Work, suite};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Work that leaves a line in the file `ran`, and goes on.
fn counted(place: &Cluster) -> Work {
    let file = place.path("ran");
    place.work(&format!("echo ran >> {}; echo begun; sleep 300", file.display()))
}

/// Lets it go, and waits until the gate is shut.
async fn run_until_shut(place: &Cluster, runner: &dyn Runner, work: &Work) {
    suite::start(runner, work).await;
    suite::log_with(runner, work.attempt, "begun").await;
    let secret = ["get", "secret", &object(work), "--ignore-not-found", "--output=name"];
    place.namespace.until(&secret, str::is_empty).await.unwrap();
}

async fn delete_its_pod(place: &Cluster, work: &Work) {
    let job = format!("job-name={}", object(work));
    let delete = ["delete", "pod", "--selector", &job, "--grace-period=0", "--force"];
    place.namespace.kubectl(&delete).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_is_deleted_from_outside_is_told_and_has_no_successor() {
    let place = Cluster::new("gate").await;
    let (runner, work) = (place.runner().await, counted(&place));
    run_until_shut(&place, &runner, &work).await;
    delete_its_pod(&place, &work).await;
    let phase = runner.wait(work.attempt, &Phase::Running, suite::SOON).await.unwrap();
    let Phase::Vanished(words) = &phase else { panic!("{phase:?}") };
    assert!(words.contains("by force") && words.contains("not known"), "{words}");
    let parallelism = ["get", "job", &object(&work), "--output=jsonpath={.spec.parallelism}"];
    place.namespace.until(&parallelism, |text| text == "0").await.unwrap();
    let pods = ["get", "pods", "--output=name"];
    place.namespace.until(&pods, str::is_empty).await.unwrap();
    assert_eq!(place.runs("ran"), 1);
    runner.remove(work.attempt).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_pod_stays_outside_while_no_executor_is_there() {
    let place = Cluster::new("gate").await;
    let (runner, work) = (place.runner().await, counted(&place));
    run_until_shut(&place, &runner, &work).await;
    drop(runner);
    delete_its_pod(&place, &work).await;
    let reason = "--output=jsonpath={.items[*].status.containerStatuses[*].state.waiting.reason}";
    let waits = ["get", "pods", reason];
    let at_the_gate = |text: &str| text.contains("CreateContainerConfigError");
    place.namespace.until(&waits, at_the_gate).await.unwrap();
    let runner = place.runner().await;
    let found = runner.find().await.unwrap();
    let Phase::Vanished(words) = &found[0].phase else { panic!("{found:?}") };
    assert!(words.contains("before anybody here saw"), "{words}");
    let pods = ["get", "pods", "--output=name"];
    place.namespace.until(&pods, str::is_empty).await.unwrap();
    assert_eq!(place.runs("ran"), 1);
}

/// Each start of each container writes a line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_template_brings_runs_once_too_though_its_pod_is_deleted() {
    let mut place = Cluster::new("brought").await;
    for field in ["containers", "initContainers"] {
        place.options.allowed_template_fields.push(field.to_owned());
    }
    let runner = place.runner().await;
    let file = |name: &str| place.path(name).display().to_string();
    let mut work = place.work(&format!("echo ran >> {}; sleep 300", file("job")));
    let mut template: serde_json::Value = serde_json::from_str(&work.template).unwrap();
    let mounts = template["spec"]["containers"][0]["volumeMounts"].clone();
    let container = |name: &str, then: &str| {
        let script = format!("echo ran >> {}; {then}", file(name));
        serde_json::json!({
            "name": name, "image": work.image_name, "command": ["sh", "-c", script], "volumeMounts": mounts,
        })
    };
    template["spec"]["initContainers"] = serde_json::json!([container("first", ":")]);
    template["spec"]["containers"].as_array_mut().unwrap().push(container("beside", "sleep 300"));
    work.template = template.to_string();
    suite::start(&runner, &work).await;
    let secrets = ["get", "secrets", OURS, "--output=name"];
    let running = ["get", "pods", "--output=jsonpath={.items[*].status.phase}"];
    place.namespace.until(&running, |phase| phase == "Running").await.unwrap();
    place.namespace.until(&secrets, str::is_empty).await.unwrap();
    // What a kubelet has started may not have come to its first line yet.
    let deadline = Instant::now() + suite::SOON;
    while ["job", "first", "beside"].iter().any(|name| place.runs(name) == 0) {
        assert!(Instant::now() < deadline, "not all of them run");
        sleep(Duration::from_millis(100)).await;
    }
    place
        .namespace
        .kubectl(&["delete", "pods", "--all", "--grace-period=0", "--force"])
        .await
        .unwrap();
    let vanished = async {
        let mut phase = Phase::Running;
        while !matches!(phase, Phase::Vanished(_)) {
            phase = runner.wait(work.attempt, &phase, suite::SOON).await.unwrap();
        }
    };
    tokio::time::timeout(suite::SOON, vanished).await.unwrap();
    for name in ["job", "first", "beside"] {
        assert_eq!(place.runs(name), 1, "{name}");
    }
}
