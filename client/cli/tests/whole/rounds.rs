//! Round after round something else happens to two controllers and their etcd, while executions come in all the time.
//!
//! A quick run has a round of each kind. The whole of it, with twenty rounds, a lease of ten seconds and leaders that are
//! frozen for a minute, takes about a quarter of an hour: see the page about testing.

use crate::{
    cluster::Cluster,
    elected::{ONCE, each_ran_once},
    world::eventually,
};
use octavius_client::{Client, Update, v1};
use octavius_testbed::etcd::{Etcd, EtcdOptions};
use rand::{SeedableRng as _, rngs::SmallRng, seq::SliceRandom as _};
use rustix::process::Signal;
use serde_json::json;
use std::{collections::BTreeMap, path::PathBuf, time::Duration};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// Asks for the whole of it, if it is set.
const WHOLE: &str = "OCTAVIUS_TEST_ROUNDS";

/// What happens in a round.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// The leader stands still for longer than its lease, and goes on.
    Frozen,
    /// The leader is killed.
    Killed,
    /// etcd is killed, and comes back.
    EtcdAway,
    /// The leader is told to end.
    HandedOver,
}

const KINDS: [Kind; 4] = [Kind::Frozen, Kind::EtcdAway, Kind::Killed, Kind::HandedOver];

/// How long everything takes.
#[derive(Clone, Copy, Debug)]
struct Shape {
    /// How often each kind comes.
    times: usize,
    lease: Duration,
    frozen: Duration,
    etcd_away: Duration,
    /// Between two executions.
    pause: Duration,
    /// How many tenths of a second an execution runs: from the first, and up to so many more.
    runs: (usize, usize),
    capacity: usize,
}

const QUICK: Shape = Shape {
    times: 1,
    lease: Duration::from_secs(2),
    frozen: Duration::from_secs(6),
    etcd_away: Duration::from_secs(3),
    pause: Duration::from_millis(300),
    runs: (1, 20),
    capacity: 8,
};
const FULL: Shape = Shape {
    times: 5,
    lease: Duration::from_secs(10),
    frozen: Duration::from_secs(60),
    etcd_away: Duration::from_secs(15),
    pause: Duration::from_millis(600),
    runs: (50, 150),
    capacity: 40,
};

/// Sleeps for so many tenths of a second, and then does as the others.
fn script() -> String {
    format!("sleep $((tenths / 10)).$((tenths % 10)); {ONCE}")
}

/// Submits one execution after the other until it is told to stop, whatever becomes of those before; their ids by tags.
async fn flow(
    client: Client,
    file: PathBuf,
    shape: Shape,
    stop: CancellationToken,
) -> BTreeMap<String, String> {
    let mut submitting = JoinSet::new();
    let mut number = 0;
    while stop.run_until_cancelled(sleep(shape.pause)).await.is_some() {
        let tag = format!("tag-{number}");
        // Short and long ones in turns.
        let tenths = shape.runs.0 + number * 7 % shape.runs.1;
        let arguments = BTreeMap::from([
            ("tag".to_owned(), tag.clone()),
            ("file".to_owned(), file.display().to_string()),
            ("tenths".to_owned(), tenths.to_string()),
        ]);
        let client = client.clone();
        submitting.spawn(async move {
            let made = client.execute("once", arguments).await;
            (tag, made.expect("nobody took it for as long as an outage may last").id)
        });
        number += 1;
    }
    submitting.join_all().await.into_iter().collect()
}

/// The job after a change of this round.
fn changed(round: usize) -> v1::JobDefinition {
    v1::JobDefinition {
        name: "changes".to_owned(),
        description: format!("round {round}"),
        command: vec!["true".to_owned()],
        ..v1::JobDefinition::default()
    }
}

/// Waits until both executors are heard by who leads.
async fn both_ready(cluster: &Cluster) {
    let look = || async {
        let found = cluster.client.executors().await.map_err(|error| error.to_string())?;
        let ready = found.iter().filter(|one| one.state() == v1::ExecutorState::Ready).count();
        if ready == 2 { Ok(()) } else { Err(format!("{found:?}")) }
    };
    eventually(look).await.unwrap_or_else(|last| panic!("never both: {last}"));
}

/// Waits until this one leads and hears both executors, and says within which times that has to be.
async fn serves(cluster: &Cluster, number: usize, since: Instant, lease: Duration) {
    let member = &cluster.members[number];
    member.says("/leaderz", 200, "").await;
    let led = since.elapsed();
    assert!(led < lease + Duration::from_secs(5), "it leads after {led:?}");
    both_ready(cluster).await; // those whose poll was parked elsewhere among them
    let found = since.elapsed();
    assert!(found < led + Duration::from_secs(15), "executors found it after {found:?}");
    let shown = cluster.user().says(&["executors", "-o", "name"]).await;
    assert_eq!(shown, "second-executor\ntest-executor\n");
    let answered = since.elapsed();
    assert!(answered < led + Duration::from_secs(15), "a user found it after {answered:?}");
}

/// Who of both leads: a leader that is held up for longer than its lease after an outage has lost it to the other one.
async fn leads(cluster: &Cluster) -> usize {
    let look = || async {
        for (number, member) in cluster.members.iter().enumerate() {
            if member.look("/leaderz").await.0 == 200 {
                return Ok(number);
            }
        }
        Err("nobody leads".to_owned())
    };
    eventually(look).await.unwrap()
}

/// One round, of which `leader` is the leader; who leads afterwards.
async fn round(cluster: &mut Cluster, kind: Kind, leader: usize, shape: Shape) -> usize {
    let next = 1 - leader;
    let began = Instant::now();
    match kind {
        Kind::Frozen => {
            cluster.members[leader].server.signal(Signal::STOP);
            serves(cluster, next, began, shape.lease).await;
            sleep_until(began + shape.frozen).await; // work goes on meanwhile
            cluster.members[leader].server.signal(Signal::CONT);
            let there = cluster.members[next].address.clone();
            cluster.members[leader].says("/leaderz", 503, &there).await;
        }
        Kind::Killed => {
            cluster.members[leader].server.kill();
            serves(cluster, next, began, shape.lease).await;
            cluster.members[leader].server.start();
        }
        Kind::HandedOver => {
            assert_eq!(cluster.members[leader].server.end().await, Some(0));
            serves(cluster, next, began, shape.lease).await;
            cluster.members[leader].server.start();
        }
        Kind::EtcdAway => {
            cluster.etcd.member(0).kill();
            sleep(shape.etcd_away).await; // work goes on meanwhile
            cluster.etcd.member(0).start();
            cluster.etcd.serves().await;
            let since = Instant::now();
            let leader = leads(cluster).await;
            serves(cluster, leader, since, shape.lease).await;
            return leader;
        }
    }
    cluster.members[leader].says("/readyz", 200, "").await;
    next
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_to_leaders_and_etcd_each_execution_of_a_flow_runs_once_and_is_whole() {
    let whole = std::env::var_os(WHOLE).is_some();
    let shape = if whole { FULL } else { QUICK };
    let mut kinds = KINDS.repeat(shape.times);
    if whole {
        let seed = rand::random();
        println!("seed {seed}");
        kinds.shuffle(&mut SmallRng::seed_from_u64(seed));
    }
    let etcd = Etcd::start(EtcdOptions::default()).await;
    let ttl = json!({ "leader_ttl": shape.lease.as_secs() });
    let mut cluster = Cluster::start_on(etcd, ttl).await;
    let mut other = cluster.other_executor("second-executor", shape.capacity);
    other.start();
    both_ready(&cluster).await;
    cluster.job("once", &script(), &["tag", "file", "tenths"]).await;
    cluster.client.create_job(changed(0)).await.unwrap();
    let stop = CancellationToken::new();
    let flowing =
        tokio::spawn(flow(cluster.client.clone(), cluster.path("once"), shape, stop.clone()));
    let (mut leader, mut versions) = (0, vec![1]);
    for (number, kind) in (1..).zip(kinds) {
        let began = Instant::now();
        let client = cluster.client.clone();
        let changing =
            tokio::spawn(
                async move { client.update_job(changed(number), Update::default()).await },
            );
        leader = round(&mut cluster, kind, leader, shape).await;
        let change = changing.await.unwrap().unwrap();
        versions.push(change.job.unwrap().version);
        println!("round {number}, {kind:?}: {:?}", began.elapsed());
    }
    stop.cancel();
    let made = flowing.await.unwrap();
    println!("{} executions", made.len());
    assert!(made.len() >= 10 * shape.times, "no flow: {}", made.len());
    each_ran_once(&cluster, &made).await;
    let each: Vec<_> = (1..).take(versions.len()).collect();
    assert_eq!(versions, each, "a version was left out, or given twice");
    cluster.one_led_at_a_time().await;
}
