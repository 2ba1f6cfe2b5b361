//! Hundreds who are connected to the leader of two controllers, when etcd goes away and comes back, and when the leader is
//! killed and the other one leads: they come back one after the other, and nothing that runs is touched.

use crate::{
    cluster::Cluster,
    storm::{
        FOLLOWERS, all_come_back, all_run, came_one_after_the_other, client, executions, executors,
        follow, following,
    },
    world::eventually,
};
use octavius_client::v1;
use octavius_service::actor::ActorSystem;
use octavius_testbed::etcd::{Etcd, EtcdOptions};
use serde_json::json;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep},
};

/// For how long etcd is away: longer than an executor may be silent.
const AWAY: Duration = Duration::from_secs(12);

/// All who are connected.
struct Crowd {
    system: ActorSystem,
    followers: JoinSet<()>,
    /// How many of them were told of a cut.
    cut: Arc<AtomicUsize>,
    /// What runs.
    before: BTreeMap<String, (v1::ExecutionState, u32)>,
}

impl Crowd {
    /// Of executors, all of which run what never ends, and those who read along.
    async fn gather(cluster: &mut Cluster) -> Self {
        cluster.executor.kill(); // nothing is for it
        cluster.job("park", "true", &[]).await;
        let system = executors(&cluster.both, &cluster.path("executors"));
        let before = all_run(&client(&cluster.both)).await;
        let (mut followers, cut) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
        for id in before.keys().take(FOLLOWERS) {
            followers.spawn(follow(client(&cluster.both), id.clone(), cut.clone()));
        }
        let all_follow = || async {
            let count = followed(cluster, 0).await;
            if count == FOLLOWERS { Ok(()) } else { Err(format!("{count} follow")) }
        };
        eventually(all_follow).await.unwrap();
        Self { system, followers, cut, before }
    }

    /// All come back to this leader, one after the other, and find what they left.
    async fn comes_back(mut self, cluster: &Cluster, leader: usize, began: Instant) {
        let asking = client(&cluster.members[leader].address).with_patience(Duration::ZERO);
        let (_none, mut accepted) = mpsc::unbounded_channel();
        let follow_now = async || followed(cluster, leader).await;
        let seen = all_come_back(&asking, follow_now, &mut accepted, 0, began).await;
        came_one_after_the_other(seen);
        assert_eq!(self.cut.load(Relaxed), FOLLOWERS, "not all were told that they are cut off");
        assert!(self.followers.try_join_next().is_none(), "a follower ended");
        assert_eq!(executions(&cluster.client).await, self.before);
        self.system.stop().await;
    }
}

/// How many follow a log at this controller.
async fn followed(cluster: &Cluster, number: usize) -> usize {
    following(&cluster.members[number].look("/metrics").await.1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_etcd_was_away_hundreds_come_back_one_after_the_other() {
    // A lease that a leader which is held up when etcd is back does not lose to the other one.
    let lease = json!({ "leader_ttl": 6 });
    let mut cluster = Cluster::start_on(Etcd::start(EtcdOptions::default()).await, lease).await;
    let crowd = Crowd::gather(&mut cluster).await;
    let leader = cluster.etcd.get("octavius/v1/leader").await;
    cluster.etcd.member(0).kill();
    cluster.members[0].says("/leaderz", 503, "").await;
    let none_follow = || async {
        let count = followed(&cluster, 0).await;
        if count == 0 { Ok(()) } else { Err(format!("{count} follow")) }
    };
    eventually(none_follow).await.unwrap();
    sleep(AWAY).await; // what is looked at is that time passes
    let began = Instant::now();
    cluster.etcd.member(0).start();
    crowd.comes_back(&cluster, 0, began).await;
    assert_eq!(cluster.etcd.get("octavius/v1/leader").await, leader, "another one leads");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_another_one_leads_hundreds_come_to_it_one_after_the_other() {
    let mut cluster = Cluster::start(EtcdOptions::default()).await;
    let crowd = Crowd::gather(&mut cluster).await;
    let began = Instant::now();
    cluster.members[0].server.kill();
    crowd.comes_back(&cluster, 1, began).await;
    cluster.one_led_at_a_time().await;
}
