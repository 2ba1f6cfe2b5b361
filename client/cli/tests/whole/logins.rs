//! An etcd with users: logins that run out, or are older than the last change of any user, and a password that is changed
//! while everything runs.

use crate::{cluster::Cluster, world::eventually};
use octavius_client::v1;
use octavius_testbed::etcd::{Etcd, EtcdOptions};
use serde_json::json;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// How much longer than usual an execution may take because of a login.
const LONGER: Duration = Duration::from_secs(8);

async fn with_users(options: EtcdOptions) -> Cluster {
    let mut etcd = Etcd::start(options).await;
    etcd.enable_auth("root's").await;
    etcd.add_user("octavius", "ours", "octavius/").await;
    // A lead that is not lost because a busy machine renews it late: who leads is compared.
    let keys = json!({ "etcd_user": "octavius", "etcd_password": "ours", "leader_ttl": 6 });
    let cluster = Cluster::start_on(etcd, keys).await;
    cluster.job("true", "true", &[]).await;
    cluster
}

/// An execution ends well.
async fn runs(cluster: &Cluster) {
    let id = cluster.execute("true", &[]).await;
    let over = cluster.over(&id).await;
    assert_eq!(over.state(), v1::ExecutionState::Succeeded, "{over:?}");
}

/// And in about the time that it takes without a new login.
async fn runs_in_time(cluster: &Cluster) {
    let began = Instant::now();
    runs(cluster).await;
    assert!(began.elapsed() < LONGER, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_that_run_out_cost_no_execution_and_no_leader() {
    let ttl = Some(Duration::from_secs(2));
    let mut cluster =
        with_users(EtcdOptions { auth_token_ttl: ttl, ..EtcdOptions::default() }).await;
    let leader = cluster.etcd.get("octavius/v1/leader").await;
    for restarted in [false, true] {
        if restarted {
            cluster.etcd.restart(0).await;
        }
        tokio::time::sleep(Duration::from_secs(5)).await; // what is looked at is that time passes
        runs_in_time(&cluster).await;
    }
    assert_eq!(cluster.etcd.get("octavius/v1/leader").await, leader, "another one leads");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_users_costs_no_execution_and_no_leader_and_few_logins() {
    let cluster = with_users(EtcdOptions { signed_tokens: true, ..EtcdOptions::default() }).await;
    runs(&cluster).await;
    let leader = cluster.etcd.get("octavius/v1/leader").await;
    for name in ["ada", "eve"] {
        cluster.etcd.add_user(name, "theirs", "other/").await;
        let before = cluster.etcd.logins().await;
        runs_in_time(&cluster).await;
        // One for each connection that is used: the store's, and the one by which a standby waits.
        let made = cluster.etcd.logins().await - before;
        assert!((1.0..=4.0).contains(&made), "{made} logins for one change");
    }
    assert_eq!(cluster.etcd.get("octavius/v1/leader").await, leader, "another one leads");
    for member in &cluster.members {
        let said = member.server.said();
        assert!(!said.contains("revision of auth store is old"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_was_changed_is_told_and_all_goes_on_once_it_is_right() {
    let mut cluster = with_users(EtcdOptions::default()).await;
    cluster.job("wait", "until [ -e \"$end\" ]; do sleep 0.1; done; echo end", &["end"]).await;
    let end = cluster.path("end");
    let running = cluster.execute("wait", &[("end", end.to_str().unwrap())]).await;
    let leader = cluster.etcd.get("octavius/v1/leader").await;
    let short = cluster.impatient();
    cluster.etcd.change_password("octavius", "another").await;
    let endpoint = cluster.etcd.endpoints().remove(0);
    let wanted = ["etcd_password", "`octavius`", &endpoint];
    // The first one finds it out, the next one is refused at the door.
    for _ in 0..2 {
        let refused = short.execute("true", BTreeMap::new()).await.unwrap_err().to_string();
        assert!(wanted.iter().all(|wanted| refused.contains(wanted)), "{refused}");
    }
    for member in &cluster.members {
        for words in wanted {
            member.says("/readyz", 503, words).await;
        }
    }
    let before = cluster.etcd.logins().await;
    std::fs::write(&end, "").unwrap(); // its executor keeps what it has to say
    tokio::time::sleep(Duration::from_secs(8)).await; // what is looked at is that time passes
    let tries = cluster.etcd.logins().await - before;
    assert!(tries <= 10.0, "{tries} logins of two controllers in 8 s");
    // They go on, although their pauses grow.
    let more = || async {
        let tries = cluster.etcd.logins().await - before;
        if tries >= 2.0 { Ok(()) } else { Err(format!("{tries} logins")) }
    };
    eventually(more).await.unwrap();
    cluster.etcd.change_password("octavius", "ours").await;
    cluster.members[0].says("/readyz", 200, "").await;
    let over = cluster.over(&running).await;
    assert_eq!((over.state(), over.attempt), (v1::ExecutionState::Succeeded, 1), "{over:?}");
    assert_eq!(cluster.log(&running).await, "end\n");
    runs(&cluster).await;
    assert_eq!(cluster.etcd.get("octavius/v1/leader").await, leader, "another one leads");

    // Changed for good: each controller is started again with the new one, the standby first.
    cluster.etcd.change_password("octavius", "new").await;
    cluster.configure_controllers("etcd_password", &json!("new"));
    for number in [1, 0] {
        cluster.members[number].server.kill();
        cluster.members[number].server.start();
        cluster.members[number].says("/readyz", 200, "").await;
    }
    runs(&cluster).await;
}
