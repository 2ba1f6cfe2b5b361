//! An executor that joins with the token that a real cluster makes for its service account.

use crate::world::World;
use octavius_testbed::cluster::{Failed, shared};
use serde_json::{Value, json};
use std::fs;

/// The account that executors run as in a namespace of the tests.
const ACCOUNT: &str = "octavius-executor";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_executor_joins_with_its_service_account_and_again_when_it_has_lost_what_it_kept()
-> Result<(), Failed> {
    let cluster = shared().await?;
    let keys = cluster.kubectl(&["get", "--raw", "/openid/v1/jwks"]).await?;
    let discovered =
        cluster.kubectl(&["get", "--raw", "/.well-known/openid-configuration"]).await?;
    let issuer = serde_json::from_str::<Value>(&discovered).unwrap()["issuer"].clone();
    let folder = tempfile::tempdir().unwrap();
    let keys_file = folder.path().join("keys.json");
    fs::write(&keys_file, keys).unwrap();
    let clusters = |namespace: &str| {
        let account = format!("{namespace}:{ACCOUNT}");
        let here = json!({
            "issuer": issuer, "keys_file": keys_file, "service_accounts": [account],
        });
        json!({ "clusters": { "here": here } })
    };
    let world = World::guarded(cluster, "accounts", clusters).await?;
    let token_file = folder.path().join("token");
    let renewed = async || {
        let path = format!(
            "/api/v1/namespaces/{}/serviceaccounts/{ACCOUNT}/token",
            world.namespace.name()
        );
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": { "audiences": ["octavius"], "expirationSeconds": 600 },
        });
        let asked = folder.path().join("request.json");
        fs::write(&asked, request.to_string()).unwrap();
        let asked = ["create", "--raw", &path, "--filename", asked.to_str().unwrap()];
        let made = world.namespace.kubectl(&asked).await.unwrap();
        let made: Value = serde_json::from_str(&made).unwrap();
        fs::write(&token_file, made["status"]["token"].as_str().unwrap()).unwrap();
    };
    renewed().await;
    let keys = json!({ "access_token_file": token_file });
    let mut executor = world.executor_with("one", "one", &keys);
    executor.start();
    world.user.waits_for(&["executors"], "ready").await;
    let execution = world.execute(1).remove(0);
    world.let_end();
    world.ran_once(&execution).await;

    // As a pod that is made anew: it has nothing but its account, and another token of that.
    executor.end().await;
    fs::remove_dir_all(world.path("one/state")).unwrap();
    renewed().await;
    executor.start();
    let execution = world.execute(1).remove(0);
    world.ran_once(&execution).await;
    executor.end().await;
    world.nothing_is_left().await
}
