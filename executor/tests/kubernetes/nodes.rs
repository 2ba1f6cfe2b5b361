//! Nodes that are silent and come back, that never do, and that are deleted.

use crate::place::{Cluster, end, next};
use bytes::Bytes;
use octavius_executor::runner::{Exit, ExitCause, Phase, Runner, Work, suite};
use octavius_testbed::cluster::{self, Own};
use std::time::Duration;
use tokio::time::Instant;

/// A cluster that is this test's alone.
struct World {
    place: Cluster,
    own: Own,
}

impl World {
    async fn new(name: &str) -> Self {
        let own = cluster::own().await.unwrap();
        Self { place: Cluster::within(&own, name).await, own }
    }

    /// Work that leaves a line in the file `ran`, and counts a second at a time.
    fn counting(&self, to: u32) -> Work {
        let file = self.place.path("ran");
        let script = format!(
            "echo ran >> {}; for i in $(seq 1 {to}); do echo $i; sleep 1; done",
            file.display()
        );
        Work { timeout: Some(Duration::from_secs(600)), ..self.place.work(&script) }
    }

    /// Nobody on the node answers any more; what runs there runs on.
    async fn silence(&self) {
        for part in ["kubelet", "containerd"] {
            self.own.stop(part).await.unwrap();
        }
    }

    async fn resume(&self) {
        for part in ["containerd", "kubelet"] {
            self.own.resume(part).await.unwrap();
        }
    }

    async fn node(&self) -> String {
        self.own
            .kubectl(&["get", "nodes", "--output=jsonpath={.items[*].metadata.name}"])
            .await
            .unwrap()
    }
}

/// What is said of it when its node is silent.
async fn unseen(runner: &dyn Runner, work: &Work) -> String {
    match next(runner, work, |phase| matches!(phase, Phase::Running)).await {
        Phase::Unseen(words) => words,
        other => panic!("{other:?}"),
    }
}

/// The log of what has ended, read behind what was read before: it was cut where the node broke off, and says so.
async fn broken_off(runner: &dyn Runner, work: &Work, (mut log, mut cursor): (String, Bytes)) {
    while let Some(piece) = suite::next_piece(runner, work.attempt, &cursor, 1 << 20).await {
        for (_, bytes) in &piece.chunks {
            log.push_str(&String::from_utf8_lossy(bytes));
        }
        cursor = piece.cursor;
    }
    assert!(log.starts_with("1\n2\n3\n") && log.contains("\n[octavius: the log from "), "{log}");
}

/// What was stopped ends as that, whether or not its node ever says so.
async fn is_cancelled(runner: &dyn Runner, work: &Work) -> Exit {
    let phase = end(runner, work).await;
    let Phase::Ended(exit) = phase else { panic!("{phase:?}") };
    assert_eq!(exit.cause, ExitCause::Stopped, "{exit:?}");
    exit
}

fn numbers(to: u32) -> String {
    (1..=to).map(|number| format!("{number}\n")).collect()
}

mod own_cluster {
    use super::*;

    /// A silent node, whose kubelet and containerd are away for a while.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_node_that_is_silent_for_a_while_is_told_and_then_the_end_as_it_was() {
        let world = World::new("silent").await;
        let (runner, work) = (world.place.runner().await, world.counting(60));
        let cancelled = world.counting(600);
        // In this order: the other one counts only for a minute.
        for work in [&cancelled, &work] {
            suite::start(&runner, work).await;
            suite::log_with(&runner, work.attempt, "5\n").await;
        }
        let asked = Instant::now();
        world.silence().await;
        let words = unseen(&runner, &work).await;
        // The cluster takes 20 s to believe it, and some to say so.
        assert!(asked.elapsed() < Duration::from_secs(60), "told after {:?}", asked.elapsed());
        let node = world.node().await;
        assert!(words.starts_with(&format!("node {node} not ready since 20")), "{words}");
        assert!(words.ends_with("; result not known"), "{words}");
        runner.stop(cancelled.attempt).await.unwrap();
        world.resume().await;
        let phase = end(&runner, &work).await;
        let Phase::Ended(exit) = phase else { panic!("{phase:?}") };
        suite::check_code(&exit, 0);
        let log = suite::whole_log(&runner, work.attempt, 1 << 20).await;
        assert_eq!(String::from_utf8(log).unwrap(), numbers(60));
        is_cancelled(&runner, &cancelled).await;
        assert_eq!(world.place.runs("ran"), 2);
        runner.remove(work.attempt).await.unwrap();
    }

    /// A silent node that stays so, and is the only one, so that the cluster gives none of its pods up: the executor does, when
    /// they tolerate it no longer, here after five seconds.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn on_a_node_that_never_comes_back_an_attempt_is_lost_or_cancelled() {
        let world = World::new("dead").await;
        let runner = world.place.runner().await;
        let mut work = world.counting(600);
        let mut template: serde_json::Value = serde_json::from_str(&work.template).unwrap();
        template["spec"]["tolerations"] = serde_json::json!([{
            "key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute",
            "tolerationSeconds": 5,
        }]);
        work.template = template.to_string();
        // It tolerates it for the cluster's five minutes.
        let cancelled = world.counting(600);
        let mut begun = Vec::new();
        for work in [&work, &cancelled] {
            suite::start(&runner, work).await;
            begun.push(suite::log_with(&runner, work.attempt, "3\n").await);
        }
        world.silence().await;
        unseen(&runner, &work).await;
        unseen(&runner, &cancelled).await;
        runner.stop(cancelled.attempt).await.unwrap();
        let phase = end(&runner, &work).await;
        let Phase::Vanished(words) = phase else { panic!("{phase:?}") };
        assert!(words.contains("was not ready since") && words.contains("not known"), "{words}");
        broken_off(&runner, &work, begun.remove(0)).await;
        let Exit { code, note, .. } = is_cancelled(&runner, &cancelled).await;
        assert_eq!(code, None);
        assert!(note.contains("not ready since"), "{note}");
        for work in [&work, &cancelled] {
            runner.stop(work.attempt).await.unwrap();
            runner.remove(work.attempt).await.unwrap();
        }
        assert_eq!(runner.find().await.unwrap(), []);
        assert_eq!(world.place.runs("ran"), 2);
    }

    /// A node that is deleted, and registers again before its pods are given up; and one that does not.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_node_that_is_deleted_takes_the_end_with_it_unless_it_registers_again() {
        let world = World::new("deleted").await;
        let (runner, node) = (world.place.runner().await, world.node().await);
        let again = world.counting(40);
        suite::start(&runner, &again).await;
        suite::log_with(&runner, again.attempt, "3\n").await;
        world.own.kubectl(&["delete", "node", &node]).await.unwrap();
        world.own.restart("kubelet", Duration::ZERO).await.unwrap();
        let phase = end(&runner, &again).await;
        let Phase::Ended(exit) = phase else { panic!("{phase:?}") };
        suite::check_code(&exit, 0);
        let log = suite::whole_log(&runner, again.attempt, 1 << 20).await;
        assert_eq!(String::from_utf8(log).unwrap(), numbers(40));
        assert_eq!(world.place.runs("ran"), 1);
        runner.remove(again.attempt).await.unwrap();

        let ready = ["wait", "--for=condition=Ready", "node", &node, "--timeout=50s"];
        world.own.kubectl(&ready).await.unwrap();
        let (gone, cancelled) = (world.counting(600), world.counting(600));
        suite::start(&runner, &cancelled).await;
        suite::start(&runner, &gone).await;
        let begun = suite::log_with(&runner, gone.attempt, "3\n").await;
        world.own.kubectl(&["delete", "node", &node]).await.unwrap();
        runner.stop(cancelled.attempt).await.unwrap();
        is_cancelled(&runner, &cancelled).await;
        let phase = end(&runner, &gone).await;
        let Phase::Vanished(words) = phase else { panic!("{phase:?}") };
        assert!(words.contains(&node) && words.contains("is not known"), "{words}");
        broken_off(&runner, &gone, begun).await;
        runner.stop(gone.attempt).await.unwrap();
        for work in [&gone, &cancelled] {
            runner.remove(work.attempt).await.unwrap();
        }
        assert_eq!(world.place.runs("ran"), 3);
    }
}
