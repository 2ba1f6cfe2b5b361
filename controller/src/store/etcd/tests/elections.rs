//! Who leads, and that nobody else writes.

use super::*;
use tokio::time::timeout;

/// Longer than a busy machine holds up who renews it.
const TTL: Duration = Duration::from_secs(6);

fn election(etcd: &Etcd, name: &str) -> Election {
    election_at(etcd.endpoints(), name)
}

fn election_at(endpoints: Vec<String>, name: &str) -> Election {
    election_for(endpoints, name, TTL)
}

fn election_for(endpoints: Vec<String>, name: &str, ttl: Duration) -> Election {
    let address = format!("{name}:3000");
    Election::new(&EtcdOpener::new(settings(endpoints)), address, ttl, |_| Ok(()))
}

async fn wins(election: &Election) -> Elected {
    timeout(SOON, election.win()).await.expect("it never won")
}

async fn follows(election: &Election, leader: &str) {
    let mut standing = election.standing();
    let leader = format!("{leader}:3000");
    let follows =
        standing.wait_for(|now| now.leader.as_ref().is_some_and(|it| it.address == leader));
    timeout(SOON, follows).await.expect("it never followed").unwrap();
}

#[tokio::test]
async fn one_leads_and_who_resigns_is_followed_at_once() {
    let etcd = Etcd::start(EtcdOptions { members: 3, ..EtcdOptions::default() }).await;
    // Nobody waits until this has run out.
    let ttl = SOON * 2;
    let first = election_for(etcd.endpoints(), "first", ttl);
    let elected = wins(&first).await;
    assert!(elected.lead.is_certain());
    let second = Arc::new(election_for(etcd.endpoints(), "second", ttl));
    let waiting = tokio::spawn({
        let second = second.clone();
        async move { second.win().await }
    });
    follows(&second, "first").await;
    assert!(!waiting.is_finished());
    elected.resign().await;
    let elected = timeout(SOON, waiting).await.expect("the lease was not given back").unwrap();
    assert!(elected.lead.is_certain());
}

#[tokio::test]
async fn a_lead_is_renewed_for_longer_than_its_lease() {
    let etcd = Etcd::start(EtcdOptions::default()).await;
    let elected = wins(&election(&etcd, "first")).await;
    sleep(TTL * 2).await; // what is looked at is that time passes
    assert!(elected.lead.is_certain());
    assert!(etcd.get("octavius/v1/leader").await.is_some());
}

#[tokio::test]
async fn who_is_dropped_without_a_word_gives_way() {
    let etcd = Etcd::start(EtcdOptions::default()).await;
    let Elected { lead, .. } = wins(&election(&etcd, "first")).await;
    drop(lead);
    wins(&election(&etcd, "second")).await;
}

/// Takes the key away, as its lease does when it runs out.
async fn depose(etcd: &Etcd) {
    etcd.delete("octavius/v1/leader").await;
}

#[tokio::test]
async fn a_deposed_leader_writes_nothing_and_hears_of_it() {
    let etcd = Etcd::start(EtcdOptions::default()).await;
    let opener = EtcdOpener::new(settings(etcd.endpoints()));
    let old = wins(&election(&etcd, "old")).await;
    let of_old = World::start(opener.clone(), old.lead.clone()).await;
    let writer = of_old.enlist().await;
    assert_eq!(writer.commit(put("a", "old")).await, Commit::Done);
    depose(&etcd).await;
    let new = wins(&election(&etcd, "new")).await;
    let of_new = World::start(opener.clone(), new.lead.clone()).await;
    let revision = etcd.revision().await;
    match writer.commit(put("a", "too late")).await {
        Commit::Refused(why) => assert!(why.contains("no longer leads"), "{why}"),
        other => panic!("a deposed leader's write ended as {other:?}"),
    }
    assert_eq!(etcd.revision().await, revision, "a deposed leader changed something");
    timeout(SOON, old.lead.ended()).await.expect("it never heard of it");
    assert!(!old.lead.is_certain());
    assert_eq!(of_new.enlist().await.commit(put("b", "new")).await, Commit::Done);
    let written = of_new.written().await;
    assert_eq!(written.get("t/a"), Some(&Bytes::from("old")));
    // Each batch names who led when it was written.
    let seq = String::from_utf8(etcd.get("octavius/v1/seq").await.unwrap()).unwrap();
    let leader = etcd.get("octavius/v1/leader").await.unwrap();
    let leader: LeaderRecord = serde_json::from_slice(&leader).unwrap();
    assert!(seq.ends_with(&format!(" {}", leader.life)), "{seq} under {leader:?}");
    of_old.system.stop().await;
    of_new.system.stop().await;
}

#[tokio::test]
async fn a_deposed_leader_writes_nothing_also_where_nobody_has_written_since() {
    let etcd = Etcd::start(EtcdOptions::default()).await;
    let old = wins(&election(&etcd, "old")).await;
    let world = World::start(EtcdOpener::new(settings(etcd.endpoints())), old.lead.clone()).await;
    let writer = world.enlist().await;
    assert_eq!(writer.commit(put("a", "old")).await, Commit::Done);
    depose(&etcd).await;
    match writer.commit(put("a", "too late")).await {
        Commit::Refused(why) => assert!(why.contains("no longer leads"), "{why}"),
        other => panic!("a deposed leader's write ended as {other:?}"),
    }
    assert_eq!(etcd.get("octavius/t/a").await, Some(b"old".to_vec()));
    world.system.stop().await;
}

#[tokio::test]
async fn a_leader_that_is_cut_off_is_not_certain_and_is_followed() {
    let etcd = Etcd::start(EtcdOptions::default()).await;
    let endpoint = &etcd.endpoints()[0];
    let way = octavius_testbed::proxy::Proxy::to(endpoint.trim_start_matches("http://")).await;
    let elected = wins(&election_at(vec![format!("http://{}", way.address)], "cut")).await;
    let lead = elected.lead.clone();
    way.cut();
    let second = election(&etcd, "second");
    let new = wins(&second).await;
    assert!(!lead.is_certain(), "two at once");
    assert!(new.lead.is_certain());
    way.mend();
    timeout(SOON, lead.ended()).await.expect("it never heard of it");
}

#[tokio::test]
async fn a_lead_outlives_an_etcd_that_is_away_for_longer_than_the_lease() {
    let mut etcd = Etcd::start(EtcdOptions::default()).await;
    let elected = wins(&election(&etcd, "first")).await;
    etcd.member(0).kill();
    until("it is not certain", async || !elected.lead.is_certain()).await;
    etcd.member(0).start();
    etcd.serves().await;
    until("it is certain again", async || elected.lead.is_certain()).await;
}

#[tokio::test]
async fn a_full_etcd_keeps_its_leader_and_takes_no_new_one() {
    let options = EtcdOptions { quota_backend_bytes: Some(4 << 20), ..EtcdOptions::default() };
    let etcd = Etcd::start(options).await;
    let elected = wins(&election(&etcd, "first")).await;
    let second = election(&etcd, "second");
    while etcd.alarms().await.is_empty() {
        let body = serde_json::json!({ "key": "YQ==", "value": "QUFB".repeat(200_000) });
        let _ = etcd.ask("/v3/kv/put", &body).await; // the one that fills it is refused
    }
    sleep(TTL * 2).await; // what is looked at is that time passes
    assert!(elected.lead.is_certain(), "the lease was not renewed");
    elected.resign().await;
    let won = tokio::spawn(async move { (second.win().await, second) });
    let mut standing = {
        until("nobody leads", async || etcd.get("octavius/v1/leader").await.is_none()).await;
        let third = election(&etcd, "third");
        let standing = third.standing();
        tokio::spawn(async move { third.win().await });
        standing
    };
    let troubled = standing.wait_for(|now| now.trouble.is_some());
    let troubled = timeout(SOON, troubled).await.unwrap().unwrap().trouble.clone().unwrap();
    assert!(troubled.contains("is full") && troubled.contains("alarm disarm"), "{troubled}");
    let revision = etcd.revision().await;
    etcd.compact(revision).await;
    etcd.delete("a").await;
    etcd.defragment().await;
    etcd.disarm().await;
    let led = async || etcd.get("octavius/v1/leader").await.is_some();
    until("somebody leads again", led).await;
    won.abort();
}
