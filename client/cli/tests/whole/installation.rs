//! `octavius dev` and `octavius demo` at the command line: who else may start one, and what they leave behind.

use crate::{
    user::{Begun, User, arguments},
    world::{eventually, lives},
};
use rustix::process::Signal;
use serde_json::Value;

const DEV: [&str; 6] = ["dev", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--data-dir"];

/// Begins `octavius dev`, and answers with where it serves.
async fn dev(user: &User, folder: &str) -> (Begun, String) {
    let mut dev = user.begin(&[&DEV[..], &[folder, "-o", "json"]].concat());
    let mut text = String::new();
    while !text.ends_with("}\n") {
        let line = dev.line().await;
        assert!(!line.is_empty(), "it ended: {:?}", dev.end().await);
        text += &line;
    }
    let document: Value = serde_json::from_str(&text).unwrap();
    (dev, document["address"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dev_keeps_its_folder_to_itself_leaves_no_program_and_finds_its_state_again() {
    let host = User::new();
    let (running, address) = dev(&host, "state").await;
    let user = User::new().with("CP_HOST", &address).with("EMAIL_ID", "ada@example.com");
    user.job("greet", "echo \"hello $name\"", arguments(&["name!"])).await;
    let ran = user.run(&["execute", "greet", "name=Ada", "--follow"]).await;
    assert_eq!((ran.status, ran.text().as_str()), (Some(0), "hello Ada\n"), "{ran:?}");
    let greeted = user.says(&["executions", "-o", "name"]).await.trim_end().to_owned();

    // What this one leaves behind is no child of its shell.
    let script = "setsid sleep 300 & echo $! $$ > \"$pids\"; wait";
    user.job("stay", script, arguments(&["pids!"])).await;
    let pids = user.path("pids");
    let stays = user.execute(&["stay", &format!("pids={}", pids.display())]).await;
    let begun = || async {
        let text = std::fs::read_to_string(&pids).unwrap_or_default();
        if text.ends_with('\n') { Ok(text) } else { Err(text) }
    };
    let begun = eventually(begun).await.unwrap();

    let refused = host.run(&[&DEV[..], &["state"]].concat()).await;
    assert_eq!((refused.status, refused.out.len()), (Some(2), 0), "{refused:?}");
    assert!(refused.err.contains("`state/controller` is in use"), "{refused:?}");
    let taken = ["dev", "--listen", &address, "--metrics", "127.0.0.1:0", "--data-dir", "other"];
    let taken = host.run(&taken).await;
    assert_eq!((taken.status, taken.out.len()), (Some(2), 0), "{taken:?}");
    assert!(taken.err.contains(&address), "{taken:?}");

    running.interrupt();
    let ended = running.end().await;
    assert_eq!(ended.status, Some(0), "{}", ended.err);
    for pid in begun.split_whitespace() {
        assert!(!lives(pid), "{pid} lives: {}", ended.err);
    }
    let ran = user.run(&["list"]).await;
    assert_eq!(ran.status, Some(4), "{ran:?}");

    let (running, address) = dev(&host, "state").await;
    let user = User::new().with("CP_HOST", &address);
    assert_eq!(user.says(&["list", "-o", "name"]).await, "greet\nstay\n");
    assert_eq!(user.says(&["getlogs", &greeted]).await, "hello Ada\n");
    user.run(&["wait", &stays]).await; // its end may have come too late for the first one
    let (status, _) = user.document(&["status", &stays]).await;
    assert_eq!(status["state"], "cancelled", "{status}");
    running.signal(Signal::TERM);
    assert_eq!(running.end().await.status, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn demo_shows_a_log_says_how_to_go_on_and_leaves_nothing() {
    let user = User::new();
    std::fs::create_dir(user.path("temporary")).unwrap();
    let temporary = user.path("temporary");
    let user = user.with("TMPDIR", temporary.to_str().unwrap());
    let ran = user.run(&["demo", "--name", "Ada"]).await;
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let log = ran.text();
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines[..4], ["Hello, Ada!", "step 1 of 3", "step 2 of 3", "step 3 of 3"]);
    assert!(lines.len() == 5 && lines[4].starts_with("This was execution "), "{log}");
    assert!(
        ran.err.contains("The execution succeeded") && ran.err.contains("octavius dev"),
        "{ran:?}"
    );
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0, "something is left");

    let (document, status) = user.document(&["demo"]).await;
    assert_eq!((document["state"].as_str(), status), (Some("succeeded"), 0), "{document}");

    // Interrupted in the middle it leaves nothing, too. It goes no further than to what no pipe holds and nobody reads.
    let name = format!("world\n{}", "x".repeat(120_000));
    let mut demo = user.begin(&["demo", "--name", &name]);
    assert_eq!(demo.line().await, "Hello, world\n");
    demo.interrupt();
    let ran = demo.end().await;
    assert_eq!(ran.status, Some(130), "{ran:?}");
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0, "something is left");
}
