//! A service mesh, which puts a container of its own into each pod.

use crate::world::World;
use jiff::Timestamp;
use octavius_testbed::cluster::Failed;
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

/// How long what was put beside a program may hold up its end, on a cluster that has other work: less than the grace that
/// pods have by themselves.
const SOON: Duration = Duration::from_secs(25);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_a_webhook_puts_before_the_jobs_own_keeps_nothing_up_and_is_removed()
-> Result<(), Failed> {
    let world = World::start("mesh").await?;
    let injected = Arc::new(AtomicUsize::new(0));
    let count = injected.clone();
    let _webhook = world
        .namespace
        .webhook(move |pod| {
            if pod["metadata"]["annotations"]["mesh/inject"] == "false" {
                return Vec::new();
            }
            count.fetch_add(1, Relaxed);
            let proxy = json!({
                "name": "proxy",
                "image": "busybox:dev",
                "command": ["sh", "-c", "i=0; while [ $i -lt 3600 ]; do i=$((i+1)); echo proxy; sleep 1; done"],
            });
            vec![json!({ "op": "add", "path": "/spec/containers/0", "value": proxy })]
        })
        .await?;
    world.user.creates(&json!({
        "name": "main",
        "image_name": "busybox:dev",
        "command": ["sh", "-c", "echo main; exit 4"],
    }));
    // As in a file of old: JSON as a text within JSON.
    for (inject, expected) in [("true", 1), ("false", 1)] {
        let annotations = json!({ "mesh/inject": inject }).to_string();
        let keys = json!({ "job_pod_annotations": annotations });
        let mut executor = world.executor_with("kubernetes", &format!("inject-{inject}"), &keys);
        executor.start();
        let followed = ["execute", "main", "--follow", "--exit-code"];
        let ended = tokio::task::block_in_place(|| world.user.run(&followed));
        let ended = ended.expect_err("it ended with 4");
        assert!(ended.contains(": 4: main\n") && !ended.contains("proxy"), "{ended}");
        assert_eq!(injected.load(Relaxed), expected, "asked to inject: {inject}");
        assert_eq!(world.user.run(&["getlogs", "@last"]).unwrap(), "main\n");
        let status = world.user.run(&["status", "@last", "--output", "json"]).unwrap();
        let status: Value = serde_json::from_str(&status).unwrap();
        assert_eq!((&status["state"], &status["exit_code"]), (&"failed".into(), &4.into()));
        let at = |state: &str| -> Timestamp {
            let history = status["history"].as_array().unwrap();
            let step = history.iter().find(|step| step["state"] == state);
            step.unwrap_or_else(|| panic!("never {state}: {status}"))["at"]
                .as_str()
                .unwrap()
                .parse()
                .unwrap()
        };
        let took = at("failed").duration_since(at("running"));
        assert!(took.unsigned_abs() < SOON, "{took:?}: {status}");
        world.nothing_is_left().await?;
        assert_eq!(executor.end().await, Some(0), "{}", executor.said());
    }
    Ok(())
}
