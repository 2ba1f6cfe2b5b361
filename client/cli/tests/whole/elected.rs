//! Two controllers on one etcd, of which the leader is frozen, killed or told to end, and an etcd that is full, or is away.

use crate::{
    cluster::{Cluster, TTL},
    world::PATIENCE,
};
use futures::future::join_all;
use octavius_client::{Client, Error, Settings, v1};
use octavius_testbed::etcd::{Etcd, EtcdOptions};
use rustix::process::Signal;
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::time::Instant;

/// Says its name and writes it down, so that a second run would be seen.
pub(crate) const ONCE: &str =
    "echo \"$tag\" >> \"$file\"; for i in $(seq 1 50); do echo \"$tag $i\"; done";

/// Submits so many of the job `once`, one after the other, and answers their ids by their tags.
async fn flow(cluster: &Cluster, begin: usize, count: usize) -> BTreeMap<String, String> {
    let file = cluster.path("once");
    let mut made = BTreeMap::new();
    for n in begin..begin + count {
        let tag = format!("tag-{n}");
        let file = file.to_str().unwrap();
        let id = cluster.execute("once", &[("tag", &tag), ("file", file)]).await;
        made.insert(tag, id);
    }
    made
}

/// Each ended well, ran once, and has its whole log.
pub(crate) async fn each_ran_once(cluster: &Cluster, made: &BTreeMap<String, String>) {
    for (tag, id) in made {
        let over = cluster.over(id).await;
        assert_eq!(over.state(), v1::ExecutionState::Succeeded, "{over:?}");
        let log: String = (1..=50).map(|i| format!("{tag} {i}\n")).collect();
        assert_eq!(cluster.log(id).await, log);
    }
    let ran = std::fs::read_to_string(cluster.path("once")).unwrap();
    let mut ran: Vec<_> = ran.lines().collect();
    ran.sort_unstable();
    let mut tags: Vec<_> = made.keys().map(String::as_str).collect();
    tags.sort_unstable();
    assert_eq!(ran, tags);
    let distinct: BTreeSet<_> = made.values().collect();
    assert_eq!(distinct.len(), made.len(), "an id stands for two");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_leader_is_followed_and_writes_nothing_when_it_goes_on() {
    let cluster = Cluster::start(EtcdOptions::default()).await;
    cluster.job("once", ONCE, &["tag", "file"]).await;
    let mut made = flow(&cluster, 0, 5).await;
    cluster.members[0].server.signal(Signal::STOP);
    let frozen = Instant::now();
    cluster.members[1].says("/leaderz", 200, "").await;
    let led = frozen.elapsed();
    assert!(led < TTL + Duration::from_secs(8), "followed after {led:?}");
    // Who asks and who works find the new one, those who were parked at the frozen one among them.
    made.extend(flow(&cluster, 5, 5).await);
    let found = frozen.elapsed();
    assert!(found < led + Duration::from_secs(15), "found after {found:?}");
    for id in made.values() {
        cluster.over(id).await;
    }
    cluster.members[0].server.signal(Signal::CONT);
    cluster.members[0].says("/leaderz", 503, &cluster.members[1].address).await;
    cluster.members[0].says("/readyz", 200, "").await;
    made.extend(flow(&cluster, 10, 5).await);
    each_ran_once(&cluster, &made).await;
    cluster.one_led_at_a_time().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_was_frozen_never_tells_what_was_true_before() {
    let cluster = Cluster::start(EtcdOptions::default()).await;
    cluster.job("wait", "until [ -e \"$end\" ]; do sleep 0.1; done", &["end"]).await;
    let end = cluster.path("end");
    let id = cluster.execute("wait", &[("end", end.to_str().unwrap())]).await;
    cluster.runs(&id).await;
    cluster.members[0].server.signal(Signal::STOP);
    cluster.members[1].says("/leaderz", 200, "").await;
    std::fs::write(&end, "").unwrap();
    assert_eq!(cluster.over(&id).await.state(), v1::ExecutionState::Succeeded);
    let first = Settings {
        ca_file: None,
        address: cluster.members[0].address.clone(),
        email: None,
        token: None,
        timeout: PATIENCE,
    };
    let ask = || {
        let client = Client::new(&first).unwrap().with_patience(Duration::ZERO);
        let id = id.clone();
        async move { client.execution(&id).await }
    };
    // Some lie at its door when it goes on, and meet it before it knows how late it is.
    let early: Vec<_> = (0..16).map(|_| tokio::spawn(ask())).collect();
    let began = Instant::now();
    cluster.members[0].server.signal(Signal::CONT);
    let mut answers: Vec<_> =
        join_all(early).await.into_iter().map(|answer| answer.unwrap()).collect();
    while !answers.iter().any(Result::is_ok) {
        assert!(began.elapsed() < PATIENCE, "it never answers again: {:?}", answers.last());
        answers.push(ask().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for answer in answers {
        match answer {
            Ok(found) => assert_eq!(found.state(), v1::ExecutionState::Succeeded, "{found:?}"),
            Err(Error::Unanswered { .. }) => {} // so `UNAVAILABLE` is told
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_and_goodbyes_of_leaders_cost_time_and_no_execution() {
    let mut cluster = Cluster::start(EtcdOptions { members: 3, ..EtcdOptions::default() }).await;
    cluster.job("once", ONCE, &["tag", "file"]).await;
    cluster.job("slow", "for i in $(seq 1 80); do echo s$i; sleep 0.2; done", &[]).await;
    let user = cluster.user();
    let reading = user.begin(&["execute", "slow", "--follow"]);
    let mut made = flow(&cluster, 0, 5).await;
    let mut leader = 0;
    for round in 1..=4 {
        let next = 1 - leader;
        let began = Instant::now();
        match round % 2 {
            0 => {
                assert_eq!(cluster.members[leader].server.end().await, Some(0));
            }
            _ => cluster.members[leader].server.kill(),
        }
        cluster.members[next].says("/leaderz", 200, "").await;
        let took = began.elapsed();
        assert!(took < TTL + Duration::from_secs(8), "round {round}: {took:?}");
        cluster.members[leader].server.start();
        made.extend(flow(&cluster, round * 5, 5).await);
        cluster.members[leader].says("/readyz", 200, "").await;
        leader = next;
    }
    let read = reading.end().await;
    assert_eq!(read.status, Some(0), "{}", read.err);
    let whole: String = (1..=80).map(|i| format!("s{i}\n")).collect();
    assert_eq!(read.text(), whole, "a follower has a gap, or something twice");
    each_ran_once(&cluster, &made).await;
    cluster.one_led_at_a_time().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_etcd_is_told_and_everything_flows_again_after_the_repair() {
    let options = EtcdOptions { quota_backend_bytes: Some(4 << 20), ..EtcdOptions::default() };
    // A lead that is not lost because a busy machine renews it late: it is looked at who leads.
    let etcd = Etcd::start(options).await;
    let mut cluster = Cluster::start_on(etcd, json!({ "leader_ttl": 6 })).await;
    let script =
        "until [ -e \"$end\" ]; do sleep 0.1; done; for i in $(seq 1 60); do echo $i; done";
    cluster.job("wait", script, &["end"]).await;
    cluster.job("large", "true", &["text"]).await;
    let end = cluster.path("end");
    let mut running = Vec::new();
    for _ in 0..3 {
        running.push(cluster.execute("wait", &[("end", end.to_str().unwrap())]).await);
    }
    for id in &running {
        cluster.runs(id).await;
    }
    // Later nothing can be looked back at: the repair makes etcd forget.
    cluster.one_led_at_a_time().await;
    let short = cluster.impatient();
    let text = "x".repeat(50_000);
    let mut accepted = Vec::new();
    let refused = loop {
        let arguments = BTreeMap::from([("text".to_owned(), text.clone())]);
        match short.execute("large", arguments).await {
            Ok(made) => accepted.push(made.id),
            Err(error) => {
                let text = error.to_string();
                if text.contains("store is full") {
                    break text;
                }
            }
        }
        assert!(accepted.len() < 500, "4 MiB were never full");
    };
    assert!(refused.contains("alarm disarm"), "{refused}");
    let user = cluster.user();
    cluster.members[0].says("/readyz", 503, "alarm disarm").await;
    assert!(user.says(&["list", "-o", "name"]).await.contains("wait"));
    let status = user.says(&["status", &running[0]]).await;
    assert!(status.contains("running"), "{status}");
    cluster.members[0].says("/metrics", 200, "octavius_store_full 1").await;
    // What runs ends meanwhile; its executor keeps what it has to say.
    std::fs::write(&end, "").unwrap();
    cluster.members[0].server.kill();
    cluster.members[1].says("/readyz", 503, "takes not even a new leader").await;
    cluster.members[0].server.start();
    let revision = cluster.etcd.revision().await;
    cluster.etcd.compact(revision).await;
    cluster.etcd.defragment().await;
    cluster.etcd.disarm().await;
    let repaired = Instant::now();
    for id in &running {
        let over = cluster.over(id).await;
        assert_eq!(over.state(), v1::ExecutionState::Succeeded, "{over:?}");
        let whole: String = (1..=60).map(|i| format!("{i}\n")).collect();
        assert_eq!(cluster.log(id).await, whole);
    }
    for id in &accepted {
        let over = cluster.over(id).await;
        assert_eq!(over.state(), v1::ExecutionState::Succeeded, "{over:?}");
    }
    let flowed = repaired.elapsed();
    assert!(flowed < Duration::from_secs(45), "it took {flowed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bursts_fit_into_the_transactions_of_etcd() {
    let cluster = Cluster::start(EtcdOptions::default()).await;
    let names = ["a", "b", "c", "d", "e"];
    cluster.job("five", "true", &names).await;
    cluster.job("large", "true", &["text"]).await;
    let five = |n: usize| {
        let arguments = names.map(|name| (name.to_owned(), format!("{name}{n}")));
        cluster.client.execute("five", BTreeMap::from(arguments))
    };
    let made = join_all((0..500).map(five)).await;
    let made: Vec<_> = made.into_iter().map(|made| made.unwrap().id).collect();
    let text = "x".repeat(60_000);
    let large = |_| {
        let arguments = BTreeMap::from([("text".to_owned(), text.clone())]);
        cluster.client.execute("large", arguments)
    };
    let large = join_all((0..40).map(large)).await;
    let large: Vec<_> = large.into_iter().map(|made| made.unwrap().id).collect();
    for id in made.iter().chain(&large) {
        let over = cluster.over(id).await;
        assert_eq!(over.state(), v1::ExecutionState::Succeeded, "{over:?}");
    }
    for member in &cluster.members {
        let said = member.server.said();
        for word in ["too many operations", "duplicate key", "too large"] {
            assert!(!said.contains(word), "{word} in {said}");
        }
    }
    cluster.one_led_at_a_time().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_etcd_that_is_away_for_longer_than_silence_may_last_loses_no_attempt() {
    let silence = json!({ "executor_ping_deadline": 2, "executor_lost_after": "4s" });
    let mut cluster = Cluster::start_on(Etcd::start(EtcdOptions::default()).await, silence).await;
    cluster.job("wait", "until [ -e \"$end\" ]; do sleep 0.1; done", &["end"]).await;
    let end = cluster.path("end");
    let id = cluster.execute("wait", &[("end", end.to_str().unwrap())]).await;
    cluster.runs(&id).await;
    cluster.etcd.member(0).kill();
    tokio::time::sleep(Duration::from_secs(12)).await; // what is looked at is that time passes
    cluster.etcd.member(0).start();
    cluster.etcd.serves().await;
    cluster.runs(&id).await; // whoever leads from now on
    // For longer than it takes to tell of silence.
    let heard = Instant::now();
    while heard.elapsed() < Duration::from_secs(4) {
        let found = cluster.client.execution(&id).await.unwrap();
        assert_eq!(found.state(), v1::ExecutionState::Running, "{found:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    std::fs::write(&end, "").unwrap();
    let over = cluster.over(&id).await;
    assert_eq!((over.state(), over.attempt), (v1::ExecutionState::Succeeded, 1), "{over:?}");
}
