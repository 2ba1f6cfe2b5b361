//! Files that users have already: they work as they are, or say what is missing.

use crate::{desk::Desk, world::ready};
use octavius_client::v1::ExecutorState;
use std::process::Output;

fn text(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8(all).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_configurations_of_earlier_versions_say_which_key_this_one_needs() {
    let desk = Desk::new();
    let output = desk.run("target/debug/executor start").await;
    let said = text(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for wanted in ["kubeconfig", "`kube_context`", "`runner`", "`process`"] {
        assert!(said.contains(wanted), "no {wanted} in {said}");
    }
    for line in [
        "target/debug/controller start --check-config",
        "OCTAVIUS_CONTROLLER_STORE=embedded target/debug/controller start --check-config",
        "OCTAVIUS_EXECUTOR_RUNNER=process target/debug/executor start --check-config",
    ] {
        let output = desk.run(line).await;
        assert_eq!(output.status.code(), Some(0), "{line}: {}", text(&output));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_files_of_earlier_versions_do_what_they_did() {
    let desk = Desk::new();
    let controller = "OCTAVIUS_CONTROLLER_STORE=embedded target/debug/controller start";
    let _controller = desk.open(controller, "controller.out");
    let executor = "OCTAVIUS_EXECUTOR_RUNNER=process target/debug/executor start";
    let _executor = desk.open(executor, "executor.out");
    ready(&desk.client()).await.unwrap();
    let executors = desk.client().executors().await.unwrap();
    let of: Vec<_> =
        executors.iter().map(|executor| (executor.id.as_str(), executor.state())).collect();
    assert_eq!(of, [("random-ID", ExecutorState::Ready)], "the id of the sample");

    let says = async |line: &str| {
        let output = desk.run(&desk.with_ports(&format!("target/debug/{line}"))).await;
        assert_eq!(output.status.code(), Some(0), "{line}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    says("octavius config --cp-host localhost:3000 --email-id ada@example.com --token T --time-out 5").await;
    let create = "octavius create --job-path deploy/examples/metadata.json";
    assert_eq!(says(create).await, "job `hello-friend` is created, version 1\n");
    assert_eq!(says(create).await, "job `hello-friend` is there already, with equal content\n");
    let list = says("octavius list").await;
    assert!(list.lines().any(|line| line == "hello-friend  Greets somebody by name"), "{list}");
    let described = says("octavius describe --job-name hello-friend").await;
    for wanted in [
        "job           hello-friend, version 1\n",
        "image         hello-world\n",
        "arguments     name     string  required  Your name\n",
        "              surname  string  required  Your surname\n",
        "secrets       TOP_SECRET_1  not set  First secret\n",
        "groups        demo-group\n",
        "run it with   octavius execute hello-friend name=VALUE surname=VALUE --follow\n",
    ] {
        assert!(described.contains(wanted), "no {wanted} in {described}");
    }
}
