//! Running again what an execution ran.

use crate::{
    user::{User, arguments},
    world::World,
};
use octavius_client::v1::ExecutionState;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_failed_is_run_again_with_other_values_and_another_version() {
    let world = World::start().await;
    let user = User::of(&world);
    let takes = arguments(&["name!", "code!"]);
    user.job("greet", "echo \"hello $name\"; exit $code", takes.clone()).await;
    let failed = user.run(&["execute", "greet", "name=Ada Lovelace", "code=3", "--wait"]).await;
    assert_eq!(failed.status, Some(1), "{failed:?}");
    let first = failed.text().trim_end().to_owned();

    let ran = user.run(&["rerun", "@last", "code=0", "--follow"]).await;
    assert_eq!((ran.status, ran.text().as_str()), (Some(0), "hello Ada Lovelace\n"), "{ran:?}");
    let status = user.says(&["status", "@last"]).await;
    assert!(status.lines().any(|line| line == format!("rerun of   {first}")), "{status}");
    let (shown, _) = user.document(&["status", "@last"]).await;
    assert_eq!(
        (shown["rerun_of"].as_str(), &shown["arguments"]),
        (Some(first.as_str()), &json!({ "name": "Ada Lovelace", "code": "0" }))
    );
    let before = user.says(&["status", &first]).await;
    assert!(!before.contains("rerun of") && before.contains("code=\"3\""), "{before}");

    // The job as it is now, or as it was then.
    let mut changed = json!({ "name": "greet", "command": ["sh", "-c", "echo \"bye $name\""] });
    changed["env_vars"] = takes["env_vars"].clone();
    user.file("greet.json", &changed);
    user.says(&["update", "-f", "greet.json"]).await;
    let ran = user.run(&["rerun", &first[14..], "--follow"]).await;
    assert_eq!((ran.status, ran.text().as_str()), (Some(0), "bye Ada Lovelace\n"), "{ran:?}");
    let ran = user.run(&["rerun", &first, "--same-version", "--exit-code"]).await;
    assert_eq!(ran.status, Some(3), "{ran:?}");
    let (document, status) = user.document(&["rerun", &first, "--wait"]).await;
    assert_eq!((document["state"].as_str(), status), (Some("succeeded"), 0));
    let id = user.says(&["rerun", &first]).await.trim_end().to_owned();
    assert_eq!(world.over(&id).await.state(), ExecutionState::Succeeded);
    assert_eq!(user.says(&["getlogs", &id]).await, "bye Ada Lovelace\n");

    for (words, expected, told) in [
        (&["rerun", &first, "nmae=Bob"][..], 3, "did you mean `name`?"),
        (&["rerun", &first, "name"], 2, "NAME=VALUE"),
        (&["rerun", "00000000000000000000000000"], 3, "there is no execution"),
        (&["rerun", &first, "--follow", "-o", "yaml"], 2, "-o json"),
        (&["rerun"], 2, "ID"),
    ] {
        let refused = user.run(words).await;
        assert_eq!(refused.status, Some(expected), "{words:?}: {refused:?}");
        let said = [refused.err, String::from_utf8(refused.out).unwrap()].concat();
        assert!(said.contains(told), "{words:?}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_secret_is_asked_for_again_at_a_terminal_and_named_without_one() {
    let world = World::start().await;
    let user = User::of(&world);
    let takes = json!({ "env_vars": { "args": [
        { "name": "name", "required": true }, { "name": "key", "type": "secret", "required": true },
    ] } });
    user.job("greet", "echo \"hello $name, ${#key}\"", takes).await;
    let first = user.execute(&["greet", "name=Ada", "key=s3cret-s3cret"]).await;
    world.over(&first).await;

    let refused = user.run(&["rerun", &first]).await;
    assert_eq!((refused.status, refused.out.len()), (Some(3), 0), "{refused:?}");
    assert!(refused.err.contains("`arguments.key` is secret"), "{refused:?}");
    let ran = user.run(&["rerun", &first, "key=0ther-k3y", "--follow"]).await;
    assert_eq!((ran.status, ran.text().as_str()), (Some(0), "hello Ada, 9\n"), "{ran:?}");

    let mut terminal = user.at_terminal(&["rerun", &first, "--follow"], 100);
    terminal.shows("key (not shown while it is typed): ");
    terminal.types("th1rd\n");
    let (seen, status) = terminal.end();
    assert_eq!(status, Some(0), "{seen}");
    assert!(seen.contains("hello Ada, 5\r\n"), "{seen}");
    assert!(!seen.contains("th1rd") && !seen.contains("name ("), "{seen}");
}
