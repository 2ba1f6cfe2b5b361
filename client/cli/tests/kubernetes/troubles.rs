//! Parts of a cluster that are away while somebody looks on.

use crate::world::World;
use octavius_testbed::{
    cluster::{Failed, own},
    proxy::Proxy,
    server::Server,
};
use rustix::process::Signal;
use serde_json::json;
use std::{fs, process::Stdio, time::Duration};
use tokio::time::sleep;

mod own_cluster {
    use super::*;

    /// The end of a read is not the end of the program: code, log and who follows it are as if nothing had happened.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_follower_of_a_minute_sees_each_line_once_and_the_end_whatever_is_away_meanwhile()
    -> Result<(), Failed> {
        let own = own().await?;
        let world = World::within(own.clone(), "minute").await?;
        world.user.creates(&json!({
            "name": "ticks",
            "image_name": "busybox:dev",
            "command": ["sh", "-c", "for i in $(seq 1 60); do echo tick-$i; sleep 1; done; exit 7"],
        }));
        let ticks: String = (1..=60).map(|number| format!("tick-{number}\n")).collect();
        assert_eq!(ticks.len(), 471);
        let (mut executor, way) = through_a_way(&world).await;
        executor.start();
        for away in ["kubelet", "apiserver", "connections"] {
            let execution = world.user.run(&["execute", "ticks", "--output", "name"]).unwrap();
            let execution = execution.trim();
            let follower = world.user.command(&["getlogs", execution, "--follow"]);
            let mut follower = tokio::process::Command::from(follower);
            let follower = follower.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
            world.user.waits_for(&["getlogs", execution], "tick-20\n").await;
            if away == "connections" {
                while !world.user.run(&["status", execution]).unwrap().contains("failed") {
                    way.cut();
                    sleep(Duration::from_millis(50)).await;
                    way.mend();
                    sleep(Duration::from_secs(5)).await;
                }
            } else {
                own.restart(away, Duration::from_secs(10)).await?;
            }
            let followed = follower.wait_with_output().await.unwrap();
            assert_eq!(String::from_utf8_lossy(&followed.stdout), ticks, "{away}");
            assert_eq!(followed.status.code(), Some(0), "{away}");
            assert_eq!(world.user.run(&["getlogs", execution]).as_ref(), Ok(&ticks), "{away}");
            world.user.waits_for(&["status", execution], "failed").await;
            world.user.waits_for(&["status", execution], "the program exited with 7").await;
        }
        assert_eq!(executor.end().await, Some(0), "{}", executor.said());
        Ok(())
    }

    /// The executor is frozen while what it watches ends, and the cluster forgets that it ever ran.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn ends_that_the_cluster_has_forgotten_when_somebody_looks_again_are_seen()
    -> Result<(), Failed> {
        let own = own().await?;
        let world = World::within(own.clone(), "compacted").await?;
        let mut executor = world.executor("one", "one");
        executor.start();
        let all = world.execute(crate::world::PLACES);
        world.have_run(&all, all.len()).await;
        for execution in &all {
            world.user.waits_for(&["status", execution], "running").await;
        }
        executor.signal(Signal::STOP);
        world.let_end();
        let running = ["get", "pods", "--field-selector=status.phase=Running", "--output=name"];
        world.namespace.until(&running, str::is_empty).await?;
        let many = |number| {
            json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": format!("it-{number}") },
            })
        };
        let many = json!({
            "apiVersion": "v1", "kind": "List", "items": (0..500).map(many).collect::<Vec<_>>(),
        });
        world.namespace.apply(&many.to_string()).await?;
        world.namespace.kubectl(&["delete", "configmaps", "--all", "--wait=false"]).await?;
        own.compact().await?;
        own.restart("apiserver", Duration::ZERO).await?;
        own.until(&["get", "--raw", "/readyz"], |ready| ready == "ok").await?;
        executor.signal(Signal::CONT);
        let again = tokio::time::Instant::now();
        for execution in &all {
            world.ran_once(execution).await;
        }
        // Who only waits until a watch is over takes longer.
        assert!(again.elapsed() < Duration::from_secs(60), "seen after {:?}", again.elapsed());
        assert_eq!(executor.end().await, Some(0), "{}", executor.said());
        Ok(())
    }
}

/// An executor that reaches its cluster through a way which can be cut.
async fn through_a_way(world: &World) -> (Server, Proxy) {
    let kubeconfig = fs::read_to_string(world.namespace.kubeconfig()).unwrap();
    let (before, rest) = kubeconfig.split_once("https://").unwrap();
    let (address, behind) = rest.split_once('"').unwrap();
    let way = Proxy::to(address).await;
    let through = world.namespace.kubeconfig().with_file_name("through-a-way");
    fs::write(&through, format!("{before}https://{}\"{behind}", way.address)).unwrap();
    (world.executor("one", "one").with("KUBECONFIG", &through), way)
}
