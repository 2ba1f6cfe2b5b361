use super::*;
use crate::http;
use serde_json::json;

async fn one(options: EtcdOptions) -> Etcd {
    Etcd::start(options).await
}

#[tokio::test]
async fn what_was_put_is_there_after_a_kill() {
    let mut etcd = one(EtcdOptions::default()).await;
    etcd.put("a/b", b"value").await;
    let first = etcd.members()[0].pid();
    etcd.restart(0).await;
    assert_ne!(etcd.members()[0].pid(), first);
    assert_eq!(etcd.get("a/b").await.as_deref(), Some(&b"value"[..]));
    assert_eq!(etcd.keys("a/").await, ["a/b"]);
    etcd.delete("a/b").await;
    assert_eq!(etcd.get("a/b").await, None);
}

#[tokio::test]
async fn nothing_of_it_is_left() {
    let mut etcd = one(EtcdOptions::default()).await;
    let (pid, folder) = (etcd.member(0).pid().unwrap(), etcd.folder().to_owned());
    assert!(folder.exists() && Path::new(&format!("/proc/{pid}")).exists());
    etcd.member(0).freeze();
    drop(etcd);
    assert!(!folder.exists() && !Path::new(&format!("/proc/{pid}")).exists());
}

#[tokio::test]
async fn three_members_do_without_one_and_not_without_two() {
    let mut etcd = one(EtcdOptions { members: 3, ..EtcdOptions::default() }).await;
    assert_eq!(etcd.endpoints().len(), 3);
    etcd.member(0).kill();
    etcd.serves().await; // a leader may have to be found
    etcd.put("key", b"one").await;
    etcd.member(1).freeze();
    let body = json!({ "key": "a2V5", "value": "dHdv" });
    let alone = etcd.ask_member(2, "/v3/kv/put", &body).await;
    assert!(alone.is_err(), "{alone:?}");
    etcd.member(1).thaw();
    etcd.member(0).start();
    etcd.serves().await;
    let until = Instant::now() + PATIENCE;
    for number in 0..3 {
        // Who asks while the members find another leader, after one that was slow, is refused.
        loop {
            let found = etcd.ask_member(number, "/v3/kv/range", &json!({ "key": "a2V5" })).await;
            if found.as_ref().is_ok_and(|found| found["count"] == "1") {
                break;
            }
            assert!(Instant::now() < until, "{found:?}");
            sleep(LOOK).await;
        }
    }
}

#[tokio::test]
async fn a_full_one_takes_nothing_until_there_is_room_and_its_alarm_is_ended() {
    let quota_backend_bytes = Some(1 << 20);
    let etcd = one(EtcdOptions { quota_backend_bytes, ..EtcdOptions::default() }).await;
    let body = json!({ "key": "YQ==", "value": "x".repeat(400_000) });
    let mut last = Ok(json!({}));
    for _ in 0..10 {
        last = etcd.ask("/v3/kv/put", &body).await;
    }
    assert!(last.as_ref().is_err_and(|why| why.contains("exceeded")), "{last:?}");
    assert_eq!(etcd.alarms().await, ["NOSPACE"]);
    etcd.compact(etcd.revision().await).await;
    etcd.defragment().await;
    assert!(etcd.ask("/v3/kv/put", &json!({ "key": "YQ==" })).await.is_err());
    etcd.disarm().await;
    etcd.put("a", b"fits").await;
}

#[tokio::test]
async fn who_must_log_in_may_do_what_he_may() {
    let ttl = Some(Duration::from_secs(5));
    let mut etcd = one(EtcdOptions { auth_token_ttl: ttl, ..EtcdOptions::default() }).await;
    etcd.enable_auth("of the root").await;
    etcd.add_user("ada", "first", "ours/").await;
    etcd.put("ours/a", b"by root").await;
    let member = etcd.members()[0].admin().to_owned();
    let login = async |password: &str| {
        let body = json!({ "name": "ada", "password": password });
        http::post(&member, "/v3/auth/authenticate", None, &body).await
    };
    let token = login("first").await.unwrap();
    let read = async |key: &str, token: Option<&str>| {
        let body = json!({ "key": super::admin::encoded(key) });
        http::post(&member, "/v3/kv/range", token, &body).await
    };
    assert!(read("ours/a", token["token"].as_str()).await.is_ok());
    assert!(read("theirs/a", token["token"].as_str()).await.is_err());
    assert!(read("ours/a", None).await.is_err());
    etcd.change_password("ada", "second").await;
    assert!(login("first").await.is_err() && login("second").await.is_ok());
    etcd.disable_auth().await;
    assert!(read("theirs/a", None).await.is_ok());
}

#[tokio::test]
async fn a_change_of_users_makes_signed_tokens_worthless() {
    let mut etcd = one(EtcdOptions { signed_tokens: true, ..EtcdOptions::default() }).await;
    etcd.enable_auth("of the root").await;
    let before = etcd.logins().await;
    let member = etcd.members()[0].admin().to_owned();
    let token = etcd.login(&member).await.unwrap();
    assert_eq!(etcd.logins().await, before + 1.0);
    let body = json!({ "key": "YQ==", "value": "YQ==" });
    assert!(http::post(&member, "/v3/kv/put", token.as_deref(), &body).await.is_ok());
    etcd.add_user("ada", "first", "ours/").await;
    let refused = http::post(&member, "/v3/kv/put", token.as_deref(), &body).await.unwrap_err();
    assert!(refused.contains("revision of auth store is old"), "{refused}");
    etcd.put("a", b"with a new login").await;
}

#[tokio::test]
async fn its_history_has_every_change_of_a_key_and_of_no_other() {
    let etcd = one(EtcdOptions::default()).await;
    for value in ["1", "2"] {
        etcd.put("seq", value.as_bytes()).await;
        etcd.put("sequel", b"another").await;
    }
    etcd.delete("seq").await;
    etcd.put("seq", b"3").await;
    let history = etcd.history("seq").await.unwrap();
    let values: Vec<_> = history.iter().map(|change| change.value.as_deref()).collect();
    assert_eq!(values, [Some(&b"1"[..]), Some(b"2"), None, Some(b"3")]);
    assert!(history.is_sorted_by(|one, other| one.revision < other.revision), "{history:?}");
    assert_eq!(etcd.keys("seq").await, ["seq", "sequel"]);
    let everything = etcd.everything().await.unwrap();
    for value in ["1", "2", "3", "another"] {
        assert!(everything.iter().any(|(_, had)| had == value.as_bytes()), "{everything:?}");
    }
    assert!(everything[0].0.starts_with("seq@"), "{everything:?}");
    etcd.compact(etcd.revision().await).await;
    assert!(etcd.history("seq").await.is_err() && etcd.everything().await.is_err());
}

#[tokio::test]
async fn a_history_goes_on_over_compactions_of_what_it_has() {
    let etcd = one(EtcdOptions::default()).await;
    let mut history = History::default();
    for round in 0..3 {
        for value in ["a", "b"] {
            etcd.put("seq", format!("{value}{round}").as_bytes()).await;
        }
        etcd.go_on("seq", &mut history).await.unwrap();
        etcd.compact(history.until).await;
    }
    etcd.go_on("seq", &mut history).await.unwrap();
    let values: Vec<_> = history.changes.iter().map(|change| change.value.as_deref()).collect();
    let wanted = ["a0", "b0", "a1", "b1", "a2", "b2"].map(|value| Some(value.as_bytes()));
    assert_eq!(values, wanted);
}

#[tokio::test]
async fn members_whose_ways_are_cut_decide_nothing_until_they_are_mended() {
    let options = EtcdOptions { members: 3, with_ways: true, ..EtcdOptions::default() };
    let mut etcd = one(options).await;
    let ways = etcd.ways();
    etcd.put("key", b"before").await;
    ways.iter().for_each(Proxy::cut);
    let body = json!({ "key": "a2V5", "value": "dHdv" });
    for number in 0..3 {
        let alone = etcd.ask_member(number, "/v3/kv/put", &body).await;
        assert!(alone.is_err(), "{alone:?}");
    }
    ways.iter().for_each(Proxy::mend);
    etcd.serves().await;
    etcd.put("key", b"after").await;
}

#[tokio::test]
async fn with_tls_nobody_is_heard_who_has_no_certificate() {
    let etcd = one(EtcdOptions { tls: true, ..EtcdOptions::default() }).await;
    let endpoint = etcd.endpoints().remove(0);
    let address = endpoint.strip_prefix("https://").unwrap();
    assert!(http::get(address, "/health").await.is_err());
    etcd.put("key", b"by who administers it").await;
    assert!(etcd.tls().ca_file.exists() && etcd.tls().key_file.exists());
}

#[tokio::test]
async fn what_it_took_is_told_by_its_metrics() {
    const TAKEN: &str = "etcd_network_client_grpc_received_bytes_total";
    const PUTS: &str = "grpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"Put\"";
    let etcd = one(EtcdOptions::default()).await;
    etcd.put("first", b"1").await;
    let (taken, puts) = (etcd.metric(TAKEN).await, etcd.metric(PUTS).await);
    etcd.put("second", &[b'x'; 10_000]).await;
    let more = etcd.metric(TAKEN).await - taken;
    assert!((10_000.0..11_000.0).contains(&more), "{more} bytes");
    assert_eq!(etcd.metric(PUTS).await, puts + 1.0);
}
