//! The members of etcd: killed and frozen, now and then so many that the rest can decide nothing; and what they remember,
//! which is little.

use super::{Faults, torment::millis};
use octavius_testbed::{etcd::Etcd, leaders::Record};
use rand::{RngExt as _, rngs::SmallRng, seq::SliceRandom as _};
use serde_json::json;
use tokio::time::{Instant, sleep};

/// Does so, and leaves all of them running. What etcd is made to forget is in `record` before.
pub(super) async fn torment(
    etcd: Option<&mut Etcd>,
    record: &mut Record,
    mut random: SmallRng,
    until: Instant,
) -> Faults {
    let mut faults = Faults::new();
    let Some(etcd) = etcd else { return faults };
    while Instant::now() < until {
        sleep(millis(&mut random, 500, 8000)).await;
        let mut members: Vec<_> = (0..etcd.size()).collect();
        members.shuffle(&mut random);
        let (kills, count, time, what) = match random.random_range(0..10) {
            0..3 => (true, 1, millis(&mut random, 0, 3000), "etcd member killed"),
            3 => (true, 2, millis(&mut random, 0, 4000), "two etcd members killed"),
            4 => (true, members.len(), millis(&mut random, 0, 2000), "all of etcd killed"),
            5..8 => (false, 1, millis(&mut random, 100, 4000), "etcd member frozen"),
            8 => (false, 1, millis(&mut random, 8000, 12_000), "etcd member frozen for long"),
            _ => (false, members.len(), millis(&mut random, 100, 7000), "all of etcd frozen"),
        };
        members.truncate(count);
        for number in &members {
            match kills {
                true => etcd.member(*number).kill(),
                false => etcd.member(*number).freeze(),
            }
        }
        sleep(time).await;
        for number in &members {
            etcd.member(*number).start();
            etcd.member(*number).thaw();
        }
        *faults.entry(what).or_default() += 1;
        if forget(etcd, record).await {
            *faults.entry("etcd's history compacted").or_default() += 1;
        }
    }
    faults
}

/// Makes etcd forget all that was looked at. Says whether it did: its members may not reach each other right now.
async fn forget(etcd: &mut Etcd, record: &mut Record) -> bool {
    if etcd.healthy().await.is_err() || record.go_on(etcd).await.is_err() {
        return false;
    }
    let body = json!({ "revision": record.until().to_string() });
    etcd.ask("/v3/kv/compaction", &body).await.is_ok()
}
