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
async fn a_login_that_has_run_out_is_made_anew() {
    let ttl = Some(Duration::from_secs(1));
    let mut etcd = with_users(EtcdOptions { auth_token_ttl: ttl, ..EtcdOptions::default() }).await;
    let world = World::start(as_user(&etcd, "octavius", "first"), Lead::sole()).await;
    let writer = world.enlist().await;
    assert_eq!(writer.commit(put("a", "1")).await, Commit::Done);
    // Nothing is asked with the store's own token meanwhile.
    sleep(Duration::from_secs(3)).await;
    let began = Instant::now();
    assert_eq!(writer.commit(put("b", "1")).await, Commit::Done);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    etcd.restart(0).await; // it knows no token of before
    assert_eq!(writer.commit(put("c", "1")).await, Commit::Done);
    assert_eq!(world.written().await.len(), 3);
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
    for (wrong, cause) in [
        // The server hangs up, and tells only its own log why.
        (EtcdSettings { identity: None, ..right.clone() }, "connection closed"),
        (EtcdSettings { ca_file: None, ..right.clone() }, "UnknownIssuer"),
    ] {
        let refused = EtcdOpener::new(wrong).open().await.map(|_| ()).unwrap_err().to_string();
        assert!(refused.contains(&etcd.endpoints()[0]) && refused.contains(cause), "{refused}");
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
