//! etcd is full, and is given room again; its history is compacted.

use super::*;

#[tokio::test]
async fn a_full_etcd_shuts_the_gate_and_opens_it_when_the_alarm_is_gone() {
    let options = EtcdOptions { quota_backend_bytes: Some(4 << 20), ..EtcdOptions::default() };
    let etcd = Etcd::start(options).await;
    let world = World::start(EtcdOpener::new(settings(etcd.endpoints())), Lead::sole()).await;
    let mut writer = world.enlist().await;
    let mut done = 0;
    let why = loop {
        match writer.commit(put("a", vec![7; 500_000])).await {
            Commit::Done => done += 1,
            Commit::Refused(why) => break why,
            Commit::Unknown(why) => panic!("nobody knows: {why}"),
        }
        assert!(done < 500, "4 MiB were never full");
    };
    assert!(why.contains("database space exceeded"), "{why}");
    until("the gate says what to do", async || {
        world.store.full().is_some_and(|why| why.contains("etcdctl alarm disarm"))
    })
    .await;
    assert_eq!(world.written().await.len(), 1, "what is there is read");
    let revision = etcd.revision().await;
    etcd.compact(revision).await;
    etcd.defragment().await;
    etcd.disarm().await;
    until("the gate opens by itself", async || world.store.full().is_none()).await;
    writer = world.enlist().await;
    assert_eq!(writer.commit(put("b", "1")).await, Commit::Done);
    world.system.stop().await;
}

#[tokio::test]
async fn history_is_compacted_where_nobody_else_does() {
    let etcd = Etcd::start(EtcdOptions::default()).await;
    let opener = EtcdOpener::new(settings(etcd.endpoints()));
    etcd.put("other", b"1").await;
    let before = etcd.revision().await;
    let kept = Duration::from_secs(1);
    let compacting = tokio::spawn(async move { compact_while(&opener, kept).await });
    until("what is old is gone", async || {
        etcd.put("other", b"2").await;
        etcd.history("other").await.is_err()
    })
    .await;
    assert!(etcd.revision().await > before);
    assert_eq!(etcd.get("other").await, Some(b"2".to_vec()));
    compacting.abort();
}
