//! How long nobody leads: two controllers on one etcd, of which the one that leads is killed, or told to end, again and
//! again.

use super::{
    Plan,
    figures::Spans,
    installation::{NOTHING, PATIENCE, Server, client},
    place::Place,
    table::{Aim, Row},
};
use anyhow::{Context as _, Result, ensure};
use octavius_client::{Client, v1};
use octavius_testbed::{
    etcd::{Etcd, EtcdOptions},
    http::page,
    ports::free_port,
};
use serde_json::{Value, json};
use std::{path::Path, time::Duration};
use tokio::time::{Instant, sleep, timeout};

/// The lease of the leader.
const TTL: Duration = Duration::from_secs(5);
/// How often it is asked again.
const PAUSE: Duration = Duration::from_millis(5);
/// How long one question may wait for its answer.
const ANSWER: Duration = Duration::from_secs(1);

/// One of them.
struct Controller {
    /// None while it has ended.
    server: Option<Server>,
    client: Client,
    metrics: String,
    name: &'static str,
    config: Value,
}

/// Both.
struct Pair<'a> {
    binaries: &'a Path,
    controllers: [Controller; 2],
    folder: tempfile::TempDir,
}

impl<'a> Pair<'a> {
    async fn start(binaries: &'a Path, etcd: &Etcd) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let data = folder.path().join("data");
        std::fs::create_dir(&data)?;
        let controller = |name| -> Result<Controller> {
            let port = free_port();
            let metrics = format!("127.0.0.1:{}", free_port());
            let config = json!({
                "app_port": port,
                "metrics_address": &metrics,
                "store": "etcd",
                "etcd_endpoints": etcd.endpoints(),
                "leader_ttl": TTL.as_secs(),
                "data_dir": &data,
            });
            let client = client(&format!("127.0.0.1:{port}"))?;
            Ok(Controller { server: None, client, metrics, name, config })
        };
        let controllers = [controller("one")?, controller("other")?];
        let mut this = Self { binaries, controllers, folder };
        this.start_all()?;
        let leader = this.leader().await?;
        let job = v1::JobDefinition {
            name: NOTHING.to_owned(),
            command: vec!["true".to_owned()],
            ..v1::JobDefinition::default()
        };
        this.controllers[leader].client.create_job(job).await?;
        Ok(this)
    }

    /// Starts what does not run.
    fn start_all(&mut self) -> Result<()> {
        for controller in self.controllers.iter_mut().filter(|one| one.server.is_none()) {
            let folder = self.folder.path().join(controller.name);
            std::fs::create_dir_all(&folder)?;
            let server =
                Server::start(self.binaries, "controller", &folder, &controller.config, &[])?;
            controller.server = Some(server);
        }
        Ok(())
    }

    /// Which one leads, while the other one stands by.
    async fn leader(&self) -> Result<usize> {
        let until = Instant::now() + PATIENCE;
        loop {
            let [one, other] = &self.controllers;
            let ready = one.says("/readyz").await && other.says("/readyz").await;
            match (ready, one.says("/leaderz").await, other.says("/leaderz").await) {
                (true, true, false) => return Ok(0),
                (true, false, true) => return Ok(1),
                _ => ensure!(
                    Instant::now() < until,
                    "no leader and one who stands by: {}",
                    self.said()
                ),
            }
            sleep(PAUSE).await;
        }
    }

    /// How long nobody answers when the leader goes so.
    async fn without(&mut self, kill: bool) -> Result<Duration> {
        let leader = self.leader().await?;
        let server = self.controllers[leader].server.take().context("it does not run")?;
        let next = &self.controllers[1 - leader].client;
        let began = Instant::now();
        // Kept until another one leads: it may take its time to end.
        let ending = match kill {
            true => {
                drop(server);
                None
            }
            false => {
                server.ask_to_end()?;
                Some(server)
            }
        };
        let taken = async || timeout(ANSWER, next.execute(NOTHING, [].into())).await;
        while !matches!(taken().await, Ok(Ok(_))) {
            ensure!(began.elapsed() < PATIENCE, "nobody leads: {}", self.said());
            sleep(PAUSE).await;
        }
        let took = began.elapsed();
        if let Some(server) = ending {
            server.end().await?;
        }
        self.start_all()?;
        Ok(took)
    }

    fn said(&self) -> String {
        let said = |one: &Controller| {
            let file = self.folder.path().join(one.name).join("output");
            let said = std::fs::read_to_string(file).unwrap_or_default();
            let lines: Vec<_> = said.lines().collect();
            format!("{}: {}", one.name, lines[lines.len().saturating_sub(8)..].join("\n"))
        };
        self.controllers.iter().map(said).collect::<Vec<_>>().join("\n")
    }
}

impl Controller {
    /// Whether it says yes at this path of its health.
    async fn says(&self, path: &str) -> bool {
        page(&self.metrics, path, ANSWER).await.0 == 200
    }
}

/// Both kinds of an end. Where the place has no etcd, on one that has its data in memory.
pub(super) async fn failover(binaries: &Path, plan: Plan, place: &Place) -> Result<Vec<Row>> {
    let rounds = plan.of(20, 3);
    let binaries = binaries.canonicalize()?;
    let fast;
    let (etcd, data) = match place.etcd() {
        Some(etcd) => (etcd, "on the disk"),
        None => {
            fast = Etcd::start(EtcdOptions::default()).await;
            (&fast, "in memory")
        }
    };
    let mut pair = Pair::start(&binaries, etcd).await?;
    let mut rows = Vec::new();
    for (name, kill, aim) in [
        ("nobody leads after kill -9 of the leader", true, TTL + Duration::from_secs(2)),
        ("nobody leads after SIGTERM to the leader", false, Duration::from_millis(300)),
    ] {
        let mut times = Vec::new();
        for _ in 0..rounds {
            times.push(pair.without(kill).await?);
        }
        let times = Spans::new(times);
        let (median, worst) = (times.median(), times.percentile(100));
        rows.push(Row {
            name: name.to_owned(),
            value: times.percentile(99),
            unit: "ms (p99)",
            aim: Aim::AtMost(aim.as_secs_f64() * 1e3),
            note: format!(
                "{rounds} times, p50 {median:.0} ms, worst {worst:.0} ms; until the other of two controllers on one etcd {data}, `leader_ttl` {TTL:?}, has taken an execution"
            ),
        });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::{super::installation::built_for_tests, *};

    /// The machine decides how fast; here it counts only that the other one leads each time.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_leader_that_is_killed_or_ends_is_followed_by_the_other_one() {
        let binaries = built_for_tests();
        let etcd = Etcd::start(EtcdOptions::default()).await;
        let mut pair = Pair::start(&binaries, &etcd).await.unwrap();
        let first = pair.leader().await.unwrap();
        pair.without(true).await.unwrap();
        assert_ne!(pair.leader().await.unwrap(), first);
        pair.without(false).await.unwrap();
        assert_eq!(pair.leader().await.unwrap(), first);
    }
}
