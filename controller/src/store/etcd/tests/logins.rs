//! Users, passwords, tokens that run out, and certificates.

use super::*;
use secrecy::SecretString;

fn as_user(etcd: &Etcd, user: &str, password: &str) -> EtcdOpener {
    let user = Some((user.to_owned(), SecretString::from(password)));
    EtcdOpener::new(EtcdSettings { user, ..settings(etcd.endpoints()) })
}

async fn with_users(options: EtcdOptions) -> Etcd {
    let mut etcd = Etcd::start(options).await;
    etcd.enable_auth("root's").await;
    etcd.add_user("octavius", "first", PREFIX).await;
    etcd
}

#[tokio::test]
async fn a_login_that_has_run_out_is_made_anew_and_once() {
    let ttl = Duration::from_secs(1);
    let options = EtcdOptions { auth_token_ttl: Some(ttl), ..EtcdOptions::default() };
    let mut etcd = with_users(options).await;
    let world = World::start(as_user(&etcd, "octavius", "first"), Lead::sole()).await;
    let writer = world.enlist().await;
    assert_eq!(writer.commit(put("a", "1")).await, Commit::Done);
    // Nothing is asked with the store's own token meanwhile.
    sleep(Duration::from_secs(3)).await;
    let (before, began) = (etcd.logins().await, Instant::now());
    assert_eq!(writer.commit(put("b", "1")).await, Commit::Done);
    let logins = etcd.logins().await - before;
    // One that has run out again before it was used is made once more.
    assert!(logins == 1.0 || logins > 1.0 && began.elapsed() >= ttl, "{logins} logins");
    etcd.restart(0).await; // it knows no token of before
    assert_eq!(writer.commit(put("c", "1")).await, Commit::Done);
    assert_eq!(world.written().await.len(), 3);
    world.system.stop().await;
}

#[tokio::test]
async fn a_login_of_before_a_change_of_users_is_made_anew_and_once() {
    let etcd = with_users(EtcdOptions { signed_tokens: true, ..EtcdOptions::default() }).await;
    let world = World::start(as_user(&etcd, "octavius", "first"), Lead::sole()).await;
    let writer = world.enlist().await;
    assert_eq!(writer.commit(put("a", "1")).await, Commit::Done);
    for round in 0..3 {
        etcd.add_user(&format!("other-{round}"), "other's", "other/").await;
        let before = etcd.logins().await;
        let reads = (0..8).map(|_| world.store.get_landed("t/a"));
        let commit = writer.commit(put(&format!("b{round}"), "1"));
        let (reads, commit) = futures::join!(futures::future::join_all(reads), commit);
        assert_eq!(commit, Commit::Done);
        for read in reads {
            assert_eq!(
                read.unwrap(),
                Some(Bytes::from("1")),
                "a read was refused for an old login"
            );
        }
        assert_eq!(etcd.logins().await, before + 1.0, "in round {round}");
    }
    world.system.stop().await;
}

#[tokio::test]
async fn a_change_of_users_costs_no_leader_the_lead_and_nobody_who_waits_his_turn() {
    let etcd = with_users(EtcdOptions { signed_tokens: true, ..EtcdOptions::default() }).await;
    let ttl = Duration::from_secs(6);
    let election = |name: &str| {
        let opener = as_user(&etcd, "octavius", "first");
        Arc::new(Election::new(&opener, name.to_owned(), ttl, |_| Ok(())))
    };
    let (first, second) = (election("first"), election("second"));
    let elected = first.win().await;
    let (waiting, standing) = (second.clone(), second.standing());
    let won = tokio::spawn(async move { waiting.win().await });
    until("it follows", async || standing.borrow().leader.is_some()).await;
    etcd.add_user("other", "other's", "other/").await;
    sleep(ttl * 2).await; // what is looked at is that time passes
    assert!(elected.lead.is_certain(), "the lease was not renewed");
    assert_eq!(standing.borrow().trouble, None);
    elected.resign().await;
    let next = tokio::time::timeout(SOON, won).await.expect("nobody followed").unwrap();
    assert!(next.lead.is_certain());
}

#[tokio::test]
async fn a_password_that_was_changed_is_told_and_tried_ever_more_seldom_until_it_is_right() {
    let etcd = with_users(EtcdOptions::default()).await;
    let world = World::start(as_user(&etcd, "octavius", "first"), Lead::sole()).await;
    let writer = world.enlist().await;
    assert_eq!(writer.commit(put("a", "1")).await, Commit::Done);
    etcd.change_password("octavius", "second").await;
    let flying = tokio::spawn(writer.commit(put("b", "1")));
    let reading = world.store.clone();
    let reads = tokio::spawn(async move {
        futures::future::join_all((0..50).map(|_| reading.get("t/a"))).await.len()
    });
    let wanted = ["etcd_user", "`octavius`", "etcd_password", &etcd.endpoints()[0]];
    until("it is told", async || {
        let full = world.store.full();
        full.is_some_and(|why| wanted.iter().all(|wanted| why.contains(wanted)))
    })
    .await;
    let before = etcd.logins().await;
    sleep(Duration::from_secs(6)).await; // what is looked at is that time passes
    let tries = etcd.logins().await - before;
    assert!((1.0..=5.0).contains(&tries), "{tries} logins were tried in six seconds");
    assert!(!flying.is_finished());
    etcd.change_password("octavius", "first").await;
    assert_eq!(flying.await.unwrap(), Commit::Done);
    until("writes are taken", async || world.store.full().is_none()).await;
    assert_eq!(reads.await.unwrap(), 50);
    assert_eq!(writer.commit(put("c", "1")).await, Commit::Done, "somebody had to begin anew");
    world.system.stop().await;
}

#[tokio::test]
async fn a_wrong_password_is_told_with_the_user_and_the_key() {
    let etcd = with_users(EtcdOptions::default()).await;
    let refused = as_user(&etcd, "octavius", "wrong").open().await.map(|_| ()).unwrap_err();
    assert!(!refused.is_away(), "{refused}");
    for wanted in ["etcd_user", "`octavius`", "etcd_password", &etcd.endpoints()[0]] {
        assert!(refused.to_string().contains(wanted), "no {wanted} in {refused}");
    }
    let nobody = EtcdOpener::new(settings(etcd.endpoints()));
    let refused = nobody.open().await.map(|_| ()).unwrap_err();
    assert!(!refused.is_away(), "{refused}");
    assert!(refused.to_string().contains("give `etcd_user` and `etcd_password`"), "{refused}");
    // Somebody who may see another prefix only.
    etcd.add_user("other", "other's", "other/").await;
    let refused = as_user(&etcd, "other", "other's").open().await.map(|_| ()).unwrap_err();
    assert!(refused.to_string().contains("keys that begin with `octavius/`"), "{refused}");
}

#[tokio::test]
async fn certificates_are_checked_on_both_sides() {
    let etcd = Etcd::start(EtcdOptions { tls: true, ..EtcdOptions::default() }).await;
    let tls = etcd.tls();
    let right = EtcdSettings {
        ca_file: Some(tls.ca_file.clone()),
        identity: Some((tls.cert_file.clone(), tls.key_file.clone())),
        ..settings(etcd.endpoints())
    };
    let world = World::start(EtcdOpener::new(right.clone()), Lead::sole()).await;
    assert_eq!(world.enlist().await.commit(put("a", "1")).await, Commit::Done);
    world.system.stop().await;
    for (wrong, causes) in [
        // The server sends an alert and hangs up: which of the two is seen first is not its choice.
        (
            EtcdSettings { identity: None, ..right.clone() },
            &["BadCertificate", "connection closed"][..],
        ),
        (EtcdSettings { ca_file: None, ..right.clone() }, &["UnknownIssuer"]),
    ] {
        let refused = EtcdOpener::new(wrong).open().await.map(|_| ()).unwrap_err().to_string();
        assert!(refused.contains(&etcd.endpoints()[0]), "{refused}");
        assert!(causes.iter().any(|cause| refused.contains(cause)), "{refused}");
    }
    let began = Instant::now();
    while !etcd.members()[0].said().contains("client didn't provide a certificate") {
        assert!(began.elapsed() < Duration::from_secs(10), "{}", etcd.members()[0].said());
        sleep(Duration::from_millis(20)).await;
    }
    let missing = EtcdSettings { ca_file: Some("/nowhere/ca.pem".into()), ..right };
    let refused = EtcdOpener::new(missing).open().await.map(|_| ()).unwrap_err();
    assert!(!refused.is_away(), "{refused}");
    assert!(refused.to_string().contains("`etcd_ca_file` names /nowhere/ca.pem"), "{refused}");
}
