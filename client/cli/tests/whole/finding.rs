//! "I forgot the id": lists by job, user, state, time and executor, parts of ids, and `@last`.

use crate::{
    user::{User, arguments},
    world::{PATIENCE, World},
};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use octavius_client::{Client, Settings};
use serde_json::json;
use std::collections::BTreeMap;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_is_narrowed_by_job_user_state_time_and_executor() {
    let world = World::start().await;
    let ada = User::of(&world);
    let eve = User::of(&world).with("EMAIL_ID", "eve@example.com");
    ada.job("exit", "exit $code", arguments(&["code!"])).await;
    ada.file("image.json", &json!({ "name": "image", "image_name": "busybox" }));
    ada.says(&["create", "-f", "image.json"]).await;

    let failed = ada.execute(&["exit", "code=3"]).await;
    world.over(&failed).await;
    let between = Timestamp::now().to_string();
    let good = eve.execute(&["exit", "code=0"]).await;
    world.over(&good).await;
    let waits = eve.execute(&["image"]).await;

    let list = async |words: &[&str]| {
        let ids = ada.says(&[&["executions", "-o", "name"], words].concat()).await;
        ids.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let all = [&waits, &good, &failed].map(String::clone);
    assert_eq!(list(&[]).await, all, "the newest first");
    for (words, expected) in [
        (&["--job", "exit"][..], &all[1..]),
        (&["--user", "eve@example.com"], &all[..2]),
        (&["--user", "eve@example.com", "--job", "exit"], &all[1..2]),
        (&["--state", "failed"], &all[2..]),
        (&["--state", "pending,succeeded"], &all[..2]),
        (&["--executor", "test-executor"], &all[1..]),
        (&["--executor", "another"], &[]),
        (&["--since", &between], &all[..2]),
        (&["--until", &between], &all[2..]),
        (&["--since", "1h"], &all[..]),
        (&["--until", "1h"], &[]),
        (&["--limit", "2"], &all[..2]),
    ] {
        assert_eq!(list(words).await, expected, "{words:?}");
    }
    let (first, _) = ada.document(&["executions", "--limit", "2"]).await;
    assert_eq!(
        (first["executions"].as_array().map(Vec::len), &first["more"]),
        (Some(2), &true.into())
    );
    let (whole, _) = ada.document(&["executions", "--limit", "3"]).await;
    assert_eq!(whole["more"], false);

    let (refused, status) = ada.document(&["executions", "--since", "1h", "--until", "2h"]).await;
    assert_eq!((refused["error"]["kind"].as_str(), status), (Some("usage"), 2));
    let (refused, status) = ada.document(&["executions", "--job", "No Job"]).await;
    assert_eq!((refused["error"]["code"].as_str(), status), (Some("INVALID_ARGUMENT"), 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mine_and_parts_of_ids_are_found_behind_more_than_a_thousand_of_others() {
    let mut world = World::new(1);
    world.controller.start();
    world.serves().await;
    let ada = User::of(&world);
    let none = ada.run(&["status", "@last"]).await;
    assert_eq!((none.status, none.out.as_slice()), (Some(3), &b""[..]));
    assert!(none.err.contains("there is none of yours"), "{none:?}");

    ada.job("greet", "echo hello", json!({})).await;
    let mine = ada.execute(&["greet"]).await;
    let settings = Settings {
        ca_file: None,
        address: format!("http://{}", world.address),
        email: Some("eve@example.com".to_owned()),
        token: None,
        timeout: PATIENCE,
    };
    let eve = Client::new(&settings).unwrap();
    let submitted = stream::iter(0..1_001).map(|_| eve.execute("greet", BTreeMap::new()));
    let submitted: Vec<_> = submitted.buffer_unordered(64).map(Result::unwrap).collect().await;

    assert_eq!(ada.says(&["executions", "--all", "-o", "name"]).await.lines().count(), 1_002);
    // For people, too, page by page, and each execution on one line.
    let whole = ada.says(&["executions", "--all"]).await;
    let (heads, rows): (Vec<_>, Vec<_>) = whole.lines().partition(|line| line.starts_with("ID "));
    let ids: std::collections::BTreeSet<_> = rows.iter().map(|row| &row[..26]).collect();
    assert_eq!((rows.len(), ids.len()), (1_002, 1_002));
    assert!(whole.starts_with("ID ") && heads.windows(2).all(|two| two[0] != two[1]), "{heads:?}");
    let (document, _) = ada.document(&["executions", "--all"]).await;
    assert_eq!(document["executions"].as_array().map(Vec::len), Some(1_002));
    let (some, _) = ada.document(&["executions", "--limit", "250"]).await;
    assert_eq!(
        (some["executions"].as_array().map(Vec::len), &some["more"]),
        (Some(250), &true.into())
    );
    let found = async |text: &str| ada.document(&["status", text]).await.0["id"].clone();
    assert_eq!(found("@last").await, mine);
    assert_eq!(found(&mine[10..]).await, mine, "by its ending");
    assert_eq!(found(&mine[..25]).await, mine, "by its beginning");

    // Ids begin with the time, so that there are some with one beginning.
    let (one, two) = (&submitted[0].id, &submitted[1].id);
    let same = one.bytes().zip(two.bytes()).take_while(|(a, b)| a == b).count();
    assert!(same >= 6, "{one} and {two} were submitted minutes apart");
    let several = ada.run(&["status", &one[..same]]).await;
    assert_eq!((several.status, several.out.as_slice()), (Some(2), &b""[..]));
    let named: Vec<_> = several.err.lines().filter(|line| line.contains("greet pending")).collect();
    assert!((2..=5).contains(&named.len()), "{}", several.err);
    let begins = |line: &&str| line.trim_start().starts_with(&one[..same]);
    assert!(named.iter().all(begins), "{}", several.err);
    assert!(several.err.contains("write more of the id"), "{}", several.err);

    let unknown = ada.run(&["status", "vvvvvvv"]).await;
    assert_eq!(unknown.status, Some(3));
    assert!(unknown.err.contains("begins or ends with `vvvvvvv`"), "{unknown:?}");
}
