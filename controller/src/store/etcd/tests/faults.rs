//! Members that are killed, or freeze, while it is written.

use super::*;

/// Commits one decision after the other until it is told to stop, and answers how many were done.
fn writes(
    writer: Writer,
    stop: Arc<std::sync::atomic::AtomicBool>,
) -> tokio::task::JoinHandle<u64> {
    tokio::spawn(async move {
        let mut done = 0;
        while !stop.load(Relaxed) {
            let commit = writer.commit(put(&format!("{done:05}"), done.to_string())).await;
            assert_eq!(commit, Commit::Done, "the {done}. of them");
            done += 1;
        }
        done
    })
}

async fn each_is_there_once(world: &World, etcd: &Etcd, done: u64) {
    let written = world.written().await;
    assert_eq!(written.len() as u64, done);
    let history = etcd.history("octavius/v1/seq").await.unwrap();
    let numbers = history.iter().map(|change| {
        let text = String::from_utf8(change.value.clone().unwrap()).unwrap();
        text.split(' ').next().unwrap().parse::<u64>().unwrap()
    });
    assert_eq!(numbers.collect::<Vec<_>>(), (1..=done).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_only_member_may_be_killed_and_nothing_is_lost_or_done_twice() {
    let mut etcd = Etcd::start(EtcdOptions::default()).await;
    let world = World::start(EtcdOpener::new(settings(etcd.endpoints())), Lead::sole()).await;
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writing = writes(world.enlist().await, stop.clone());
    for _ in 0..3 {
        let before = etcd.revision().await;
        until("writes go on", async || etcd.revision().await > before + 20).await;
        etcd.restart(0).await;
    }
    let before = etcd.revision().await;
    until("writes go on", async || etcd.revision().await > before + 20).await;
    stop.store(true, Relaxed);
    let done = writing.await.unwrap();
    each_is_there_once(&world, &etcd, done).await;
    world.system.stop().await;
}

#[tokio::test]
async fn any_member_of_three_may_freeze_or_die() {
    let mut etcd = Etcd::start(EtcdOptions { members: 3, ..EtcdOptions::default() }).await;
    let world = World::start(EtcdOpener::new(settings(etcd.endpoints())), Lead::sole()).await;
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writing = writes(world.enlist().await, stop.clone());
    let seen = world.store.clone();
    let last = async || {
        let all = seen.all(Range::prefix("t/", 1000)).await;
        all.map(|all| all.len()).unwrap_or_default()
    };
    for member in 0..3 {
        etcd.member(member).freeze();
        let before = last().await;
        until("writes go on beside a frozen member", async || last().await > before + 5).await;
        etcd.member(member).thaw();
        etcd.serves().await;
        etcd.member(member).kill();
        let before = last().await;
        until("writes go on beside a dead member", async || last().await > before + 5).await;
        etcd.member(member).start();
        etcd.serves().await;
    }
    stop.store(true, Relaxed);
    let done = writing.await.unwrap();
    each_is_there_once(&world, &etcd, done).await;
    world.system.stop().await;
}

#[tokio::test]
async fn an_etcd_that_is_away_for_long_costs_time_and_nothing_else() {
    let mut etcd = Etcd::start(EtcdOptions::default()).await;
    let world = World::start(EtcdOpener::new(settings(etcd.endpoints())), Lead::sole()).await;
    let writer = world.enlist().await;
    assert_eq!(writer.commit(put("a", "1")).await, Commit::Done);
    etcd.member(0).kill();
    let flying = tokio::spawn(writer.commit(put("b", "1")));
    let behind = tokio::spawn(writer.commit(put("c", "1")));
    sleep(Duration::from_secs(4)).await; // several calls, each of which finds nobody
    assert!(!flying.is_finished() && !behind.is_finished());
    etcd.member(0).start();
    etcd.serves().await;
    assert_eq!(flying.await.unwrap(), Commit::Done);
    assert_eq!(behind.await.unwrap(), Commit::Done);
    assert_eq!(world.written().await.len(), 3);
    world.system.stop().await;
}

#[tokio::test]
async fn a_read_that_finds_nobody_makes_nobody_begin_anew() {
    let mut etcd = Etcd::start(EtcdOptions::default()).await;
    let world = World::start(EtcdOpener::new(settings(etcd.endpoints())), Lead::sole()).await;
    let writer = world.enlist().await;
    assert_eq!(writer.commit(put("a", "1")).await, Commit::Done);
    etcd.member(0).kill();
    // A range: one key is answered from what was written lately.
    let all = || Range::prefix("t/", 10);
    assert!(world.store.range(all()).await.is_err(), "a dead etcd answered");
    let reading = world.store.clone();
    let read = tokio::spawn(async move { reading.range(all()).await });
    sleep(Duration::from_secs(3)).await; // it is tried again and again
    etcd.member(0).start();
    etcd.serves().await;
    assert_eq!(read.await.unwrap().unwrap().entries.len(), 1);
    // Whoever had to enlist again would be refused.
    assert_eq!(writer.commit(put("b", "1")).await, Commit::Done);
    world.system.stop().await;
}
