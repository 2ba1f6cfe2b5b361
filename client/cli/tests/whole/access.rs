//! From a controller that anybody may ask to one that takes tokens, with the commands of `docs/access.md`.

use crate::{
    user::User,
    world::{World, eventually},
};
use octavius_testbed::server::built_beside;
use serde_json::{Value, json};
use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

pub(crate) async fn token(user: &User, words: &[&str]) -> String {
    let text = user.says(words).await;
    let token = text.strip_suffix('\n').unwrap().to_owned();
    assert!(token.starts_with("oct") && !token.contains(char::is_whitespace), "{token}");
    token
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_controller_becomes_one_that_knows_who_asks() {
    let mut world = World::new(2);
    world.controller.start();
    world.serves().await;
    let open = User::of(&world);
    let admin = token(&open, &["token", "create", "ada@example.com"]).await;
    let granted = open.says(&["role", "grant", "admin", "--person", "ada@example.com"]).await;
    assert_eq!(granted, "person ada@example.com is admin in all\n");
    world.controller.end().await;
    world.configure_controller("authentication", "tokens".into());
    world.controller.start();
    world.show_token(&admin);
    world.serves().await;

    let refused = open.run(&["list"]).await;
    assert_eq!(refused.status, Some(3), "{refused:?}");
    assert!(refused.err.contains("octavius token create"), "{refused:?}");
    let ada = User::of(&world).with("ACCESS_TOKEN", &admin);
    let bob = token(&ada, &["token", "create", "bob@example.com", "--groups", "sre,all"]).await;
    let eve = token(&ada, &["token", "create", "eve@example.com", "--expires", "never"]).await;
    ada.says(&["role", "grant", "operator", "--group", "sre"]).await;
    ada.says(&["role", "grant", "viewer", "--person", "eve@example.com"]).await;
    ada.job("deploy", "echo \"by $OCTAVIUS_USER\"", json!({ "authorized_groups": ["sre"] })).await;

    let invitation =
        token(&ada, &["executors", "invite", "--label", "runner=process", "--uses", "1"]).await;
    world.configure_executor("access_token", invitation.as_str().into());
    world.executor.start();
    world.ready().await;
    let credential = world.credential().await;
    let mode = fs::metadata(world.path("state/credential")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // It is known by that alone now, and the token that it joined with is of no more use.
    world.executor.end().await;
    world.configure_executor("access_token", "of-no-use".into());
    world.executor.start();

    let bob = User::of(&world).with("ACCESS_TOKEN", &bob);
    let ran = bob.run(&["execute", "deploy", "--follow"]).await;
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert!(ran.text().contains("by bob@example.com"), "{ran:?}");
    // Whatever `EMAIL_ID` says: the controller knows them by their token.
    assert_eq!(bob.says(&["getlogs", "@last"]).await, "by bob@example.com\n");
    assert_eq!(ada.run(&["getlogs", "@last"]).await.status, Some(3));
    let eve = User::of(&world).with("ACCESS_TOKEN", &eve);
    assert!(!eve.says(&["list"]).await.contains("deploy"));
    let hidden = eve.run(&["describe", "deploy"]).await;
    assert_eq!(hidden.status, Some(3), "{hidden:?}");
    assert!(hidden.err.contains("there is no job `deploy`"), "{hidden:?}");

    let (listed, _) = ada.document(&["token", "list"]).await;
    let of = |name: &str| {
        let mut tokens = listed["tokens"].as_array().unwrap().iter();
        tokens.find(|token| token["name"] == name).unwrap().clone()
    };
    assert_eq!(of("bob@example.com")["groups"], json!(["sre", "all"]));
    assert_eq!(of("test-executor")["kind"], "executor");
    let id = of("bob@example.com")["id"].as_str().unwrap().to_owned();
    assert_eq!(
        ada.says(&["token", "revoke", &id]).await,
        format!("token {id} of bob@example.com is revoked\n")
    );
    let out = bob.run(&["list"]).await;
    assert!(out.status == Some(3) && out.err.contains("was revoked"), "{out:?}");
    ada.says(&["role", "revoke", "--person", "eve@example.com"]).await;

    let done = ada.says(&["audit", "--user", "bob@example.com", "--job", "deploy"]).await;
    assert!(done.contains("Executions/Execute") && done.contains("127.0.0.1"), "{done}");
    let hidden = || async {
        let refused = ada.says(&["audit", "--refused", "-o", "wide"]).await;
        let all = ["eve@example.com", "told that it is not there", "(nobody)", "asks for a token"];
        all.iter().all(|words| refused.contains(words)).then_some(()).ok_or(refused)
    };
    eventually(hidden).await.unwrap();
    let exported = ada.says(&["audit", "--export"]).await;
    let exported: Vec<Value> =
        exported.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(exported.iter().any(|entry| entry["executor"] == "test-executor"), "{exported:?}");
    let (document, _) = ada.document(&["audit", "--limit", "1"]).await;
    assert_eq!(document["more"], true);
    assert!(!ada.says(&["role", "list"]).await.contains("eve@example.com"));
    for said in [world.controller.said(), world.executor.said()] {
        for token in [&admin, &invitation, &credential] {
            assert!(!said.contains(token.rsplit('_').next().unwrap()), "{said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_init_makes_is_a_controller_over_tls_that_knows_its_first_administrator() {
    let mut world = World::new(2);
    let made = world.path("made");
    let controller = built_beside(Path::new(env!("CARGO_BIN_EXE_octavius")), "controller");
    let init = || {
        let mut command = Command::new(&controller);
        command.args(["init", "--administrator", "ada@example.com"]);
        command.args(["--executor", "test-executor"]).arg(&made);
        command.output().unwrap()
    };
    let done = init();
    let told = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success() && told.contains("octavius config --cp-host"), "{told}");
    assert!(told.contains("test-executor.pem, test-executor-key.pem"), "{told}");
    let again = init();
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8(again.stderr).unwrap().contains("nothing is overwritten"));

    let text = |name: &str| made.join(name).to_str().unwrap().to_owned();
    let configuration = fs::read(made.join("controller_config.json")).unwrap();
    let configuration: Value = serde_json::from_slice(&configuration).unwrap();
    // All but where it listens and keeps its state: a test is for this machine alone.
    let keys = [
        "tls_cert_file",
        "tls_key_file",
        "tls_ca_file",
        "tls_executor_ca_file",
        "authentication",
        "first_administrator",
    ];
    for key in keys {
        world.configure_controller(key, configuration[key].clone());
    }
    world.controller.start();
    let host = format!("https://localhost:{}", world.address.split_once(':').unwrap().1);
    let token = fs::read_to_string(made.join("administrator.token")).unwrap();
    let ada = User::new();
    let ca = text("ca.pem");
    let config = ["config", "--cp-host", &host, "--ca-cert-file", &ca, "--token-stdin", "--yes"];
    let configured = ada.run_with_input(&config, &token).await;
    assert_eq!(configured.status, Some(0), "{configured:?}");
    let there = async || {
        let ran = ada.run(&["role", "list"]).await;
        if ran.status == Some(0) { Ok(()) } else { Err(ran.err) }
    };
    eventually(there).await.unwrap();
    let (listed, _) = ada.document(&["token", "list"]).await;
    let first = &listed["tokens"][0];
    assert_eq!(first["name"], "ada@example.com");
    let refused = ada.run(&["token", "revoke", first["id"].as_str().unwrap()]).await;
    assert_eq!(refused.status, Some(3));
    assert!(refused.err.contains("first_administrator"), "{refused:?}");
    let invitation = ada.says(&["executors", "invite"]).await;
    world.configure_executor("access_token", invitation.trim().into());
    world.configure_executor("cp_host", host.as_str().into());
    world.configure_executor("tls_ca_file", ca.as_str().into());
    world.configure_executor("tls_cert_file", text("test-executor.pem").into());
    world.configure_executor("tls_key_file", text("test-executor-key.pem").into());
    world.executor.start();
    ada.job("hello", "echo over", json!({})).await;
    let ran = ada.run(&["execute", "hello", "--follow"]).await;
    assert!(ran.status == Some(0) && ran.text().contains("over"), "{ran:?}");
}
