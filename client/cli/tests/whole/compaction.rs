//! An etcd that forgets its history while thousands of executions are listed, a standby is frozen, and the next leader
//! reads them all.

use crate::{cluster::Cluster, world::PATIENCE};
use futures::future::join;
use octavius_client::{Client, v1};
use octavius_controller::store::{
    Opener as _,
    copies::Template,
    etcd::{EtcdOpener, EtcdSettings},
    keys,
};
use octavius_testbed::etcd::{Etcd, EtcdOptions};
use rustix::process::Signal;
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// How many have ended long ago.
const HISTORY: usize = 10_000;
/// How many changes etcd remembers.
const KEPT: i64 = 50;
/// Of all writes to etcd that are not ours, and of executions that are submitted.
const WRITES: Duration = Duration::from_millis(10);
const SUBMITS: Duration = Duration::from_millis(200);
/// For how long the standby is frozen at the least: its lease would have run out twice.
const FROZEN: Duration = Duration::from_secs(5);

/// Writes copies of a final execution to the store behind no controller's back: none runs. Their ids.
async fn fill(etcd: &Etcd, id: &str) -> BTreeSet<String> {
    let opener = EtcdOpener::new(EtcdSettings {
        endpoints: etcd.endpoints(),
        user: None,
        ca_file: None,
        identity: None,
        dial_timeout: Duration::from_secs(5),
        max_txn_ops: 128,
        max_request_bytes: 1536 * 1024,
        prefix: "octavius/".to_owned(),
    });
    let backend = opener.open().await.unwrap();
    let template = Template::of(backend.as_ref(), id).await.unwrap();
    let user = |_| "ada@example.com".to_owned();
    let copies = template.copy(backend.as_ref(), HISTORY, "ada@example.com", user).await.unwrap();
    copies.iter().map(ToString::to_string).collect()
}

/// How often history is forgotten at the least.
const FORGOTTEN: u32 = 11;

/// Writes and forgets until it is told to stop, and counts how often it forgot. etcd's own compaction by revision does the
/// same every five minutes, which is longer than this may take.
async fn forget(etcd: &Etcd, stop: &CancellationToken, times: &watch::Sender<u32>) {
    let writing = async {
        let mut number = 0;
        let mut due = interval(WRITES);
        while stop.run_until_cancelled(due.tick()).await.is_some() {
            etcd.put(&format!("other/{}", number % 100), b"something").await;
            number += 1;
        }
    };
    let forgetting = async {
        let mut last = 0;
        while stop.run_until_cancelled(sleep(WRITES * 10)).await.is_some() {
            let revision = etcd.revision().await - KEPT;
            if revision > last {
                etcd.compact(revision).await;
                last = revision;
                times.send_modify(|times| *times += 1);
            }
        }
    };
    join(writing, forgetting).await;
}

/// Submits until it is told to stop; the ids.
async fn submit(client: &Client, stop: &CancellationToken) -> BTreeSet<String> {
    let mut made = BTreeSet::new();
    while stop.run_until_cancelled(sleep(SUBMITS)).await.is_some() {
        made.insert(client.execute("true", BTreeMap::new()).await.unwrap().id);
    }
    made
}

/// All ids of a list, page by page, none of them twice.
async fn list(client: &Client) -> BTreeSet<String> {
    let mut listed = Vec::new();
    let mut page_token = String::new();
    loop {
        let page = client.executions_page(v1::ListExecutionsRequest {
            page_size: 500,
            page_token,
            ..v1::ListExecutionsRequest::default()
        });
        let page = timeout(PATIENCE, page).await.expect("a page takes too long").unwrap();
        listed.extend(page.executions.into_iter().map(|execution| execution.id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let distinct: BTreeSet<_> = listed.iter().cloned().collect();
    assert_eq!(distinct.len(), listed.len(), "one stands there twice");
    distinct
}

/// All executions that the store has.
async fn stored(etcd: &Etcd) -> BTreeSet<String> {
    let done = etcd.keys("octavius/v1/done/").await;
    let done = done.iter().map(|key| keys::id_in_history(key).unwrap().to_string());
    let live = etcd.keys("octavius/v1/live/").await;
    let live = live.iter().map(|key| key.rsplit('/').next().unwrap().to_owned());
    done.chain(live).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_that_is_compacted_disturbs_no_list_no_standby_and_no_next_leader() {
    let flags = ["--auto-compaction-mode=revision", "--auto-compaction-retention=50"];
    let flags = flags.map(str::to_owned).to_vec();
    let etcd = Etcd::start(EtcdOptions { flags, ..EtcdOptions::default() }).await;
    let mut cluster = Cluster::start_on(etcd, json!({})).await;
    cluster.job("true", "echo hello", &[]).await;
    let first = cluster.execute("true", &[]).await;
    cluster.over(&first).await;
    for member in &mut cluster.members {
        assert_eq!(member.server.end().await, Some(0));
    }
    let mut known = fill(&cluster.etcd, &first).await;
    known.insert(first);
    // The first one leads before there is another who could.
    for (number, path) in ["/leaderz", "/readyz"].into_iter().enumerate() {
        cluster.members[number].server.start();
        cluster.members[number].says(path, 200, "").await;
    }

    let stop = CancellationToken::new();
    let (forgotten, mut counted) = watch::channel(0);
    let client = cluster.client.clone();
    let (members, etcd) = (&mut cluster.members, &cluster.etcd);
    let telling = async {
        members[1].server.signal(Signal::STOP);
        let frozen = Instant::now();
        loop {
            assert!(known.is_subset(&list(&client).await), "some are missing");
            if frozen.elapsed() >= FROZEN {
                break;
            }
        }
        members[1].server.signal(Signal::CONT);
        members[1].says("/readyz", 200, "").await;
        members[0].server.kill();
        members[1].says("/leaderz", 200, "").await;
        assert!(known.is_subset(&list(&client).await), "the next leader misses some");
        let enough = counted.wait_for(|times| *times >= FORGOTTEN);
        timeout(PATIENCE, enough).await.expect("history is compacted too rarely").unwrap();
        stop.cancel();
    };
    let forgetting = forget(etcd, &stop, &forgotten);
    let ((), made, ()) = tokio::join!(forgetting, submit(&client, &stop), telling);
    for id in &made {
        assert_eq!(cluster.over(id).await.state(), v1::ExecutionState::Succeeded);
    }
    known.extend(made);
    assert_eq!(known.len(), stored(&cluster.etcd).await.len());
    assert!(stored(&cluster.etcd).await == known, "the store has others");
    assert!(list(&client).await == known, "the next leader has another view than its store");
    let said = cluster.members[1].server.said();
    let told = said.lines().filter(|line| line.contains("compacted")).count();
    assert!(told <= 1, "{said}");
}
