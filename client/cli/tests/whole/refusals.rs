//! Each command where it does not do what it is asked for: its status, and what it writes where.

use crate::{
    user::{Ran, User, arguments},
    world::World,
};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use std::{collections::BTreeSet, net::TcpListener};

const UNKNOWN: &str = "00000000000000000000000000";

/// How a command may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    /// What is given cannot be meant.
    Usage,
    /// The controller refuses, with this code.
    Refused(&'static str),
    /// Nobody answers within the time limit.
    Away,
}
use Case::{Away, Refused, Usage};

type Row = (Case, &'static [&'static str]);

/// A row for each command and each way in which it can fail; what makes no call cannot be refused.
static ROWS: [Row; 79] = [
    (Usage, &["login"]),
    (Away, &["login", "--print-token"]),
    (Usage, &["config", "--time-out", "x"]),
    (Usage, &["config"]),
    (Usage, &["config", "use", "nobody"]),
    (Usage, &["create"]),
    (Usage, &["create", "-f", "none.json"]),
    (Usage, &["create", "-f", "bad.json"]),
    (Refused("ALREADY_EXISTS"), &["create", "-f", "other.json"]),
    (Away, &["create", "-f", "other.json"]),
    (Usage, &["describe"]),
    (Refused("NOT_FOUND"), &["describe", "nobody"]),
    (Away, &["describe", "known"]),
    (Usage, &["list", "known"]),
    (Away, &["list"]),
    (Usage, &["update", "known", "-f", "new.json"]),
    (Refused("NOT_FOUND"), &["update", "-f", "new.json"]),
    (Away, &["update", "-f", "new.json"]),
    (Usage, &["delete"]),
    (Refused("NOT_FOUND"), &["delete", "nobody", "--yes"]),
    (Refused("FAILED_PRECONDITION"), &["delete", "known", "--yes"]),
    (Away, &["delete", "known", "--yes"]),
    (Usage, &["execute", "known", "word"]),
    (Refused("NOT_FOUND"), &["execute", "nobody", "a=1"]),
    (Refused("INVALID_ARGUMENT"), &["execute", "known", "b=1"]),
    (Refused("NOT_FOUND"), &["execute", "nobody", "--follow"]),
    (Away, &["execute", "known", "a=1"]),
    (Away, &["execute", "known", "a=1", "--follow"]),
    (Usage, &["rerun", "short"]),
    (Refused("NOT_FOUND"), &["rerun", UNKNOWN]),
    (Away, &["rerun", UNKNOWN]),
    (Usage, &["getlogs", "short"]),
    (Refused("NOT_FOUND"), &["getlogs", UNKNOWN]),
    (Refused("NOT_FOUND"), &["getlogs", UNKNOWN, "--follow"]),
    (Refused("INVALID_ARGUMENT"), &["getlogs", "@last", "--attempt", "7"]),
    (Away, &["getlogs", UNKNOWN]),
    (Usage, &["status", "short"]),
    (Refused("NOT_FOUND"), &["status", UNKNOWN]),
    (Away, &["status", UNKNOWN]),
    (Usage, &["explain", "short"]),
    (Refused("NOT_FOUND"), &["explain", UNKNOWN]),
    (Away, &["explain", UNKNOWN]),
    (Usage, &["wait"]),
    (Refused("NOT_FOUND"), &["wait", UNKNOWN]),
    (Away, &["wait", "@last"]),
    (Away, &["wait", UNKNOWN, "--timeout", "1s"]),
    (Usage, &["cancel", "short"]),
    (Refused("NOT_FOUND"), &["cancel", UNKNOWN]),
    (Away, &["cancel", UNKNOWN]),
    (Usage, &["executions", "--state", "done"]),
    (Away, &["executions"]),
    (Usage, &["executors", "known"]),
    (Away, &["executors"]),
    (Usage, &["executors", "drain"]),
    (Refused("NOT_FOUND"), &["executors", "undrain", "nobody"]),
    (Away, &["executors", "drain", "nobody", "--wait"]),
    (Usage, &["executors", "forget"]),
    (Refused("NOT_FOUND"), &["executors", "forget", "nobody"]),
    (Away, &["executors", "forget", "nobody"]),
    (Usage, &["secret", "set", "known", "T"]), // with no terminal to ask
    (Refused("NOT_FOUND"), &["secret", "list", "nobody"]),
    (Away, &["secret", "unset", "known", "T"]),
    (Usage, &["token", "create", "ada", "--expires", "soon"]),
    (Refused("INVALID_ARGUMENT"), &["token", "create", "a b"]),
    (Refused("NOT_FOUND"), &["token", "revoke", "0123456789abcdef"]),
    (Away, &["token", "list"]),
    (Usage, &["role", "grant", "owner", "--person", "ada"]),
    (Usage, &["role", "grant", "viewer"]),
    (Refused("NOT_FOUND"), &["role", "revoke", "--group", "nobody"]),
    (Away, &["role", "list"]),
    (Usage, &["audit", "--since", "1h", "--until", "2h"]),
    (Refused("INVALID_ARGUMENT"), &["audit", "--job", "No Job"]),
    (Away, &["audit"]),
    (Usage, &["executors", "invite", "--uses", "none"]),
    (Refused("INVALID_ARGUMENT"), &["executors", "invite", "--expires", "31d"]),
    (Away, &["executors", "invite"]),
    (Usage, &["version", "known"]),
    (Away, &["version"]),
    (Usage, &["completion", "tcsh"]),
];

/// Commands whose failures lie in this machine alone.
static ALONE: [Row; 4] = [
    (Usage, &["help", "nobody"]),
    (Usage, &["man", "a", "b"]),
    (Usage, &["dev", "--listen", "nowhere"]),
    (Usage, &["demo", "word"]),
];

/// What is wrong with how a command ended, if anything.
fn wrong((case, words): Row, text: &Ran, document: &Ran) -> Option<String> {
    let (status, kinds): (_, &[&str]) = match case {
        Usage => (2, &["usage"]),
        Refused(_) => (3, &["refused"]),
        // Who said how long to wait is told that this is over.
        Away => (4, &["unanswered", "timeout"]),
    };
    // Whatever became of the controller, which client it is can be told.
    let may_say = words == ["version"];
    let silent = text.out.is_empty() || may_say;
    if text.status != Some(status) || !silent || text.err.trim().is_empty() {
        return Some(format!("{case:?} {words:?}: {text:?}"));
    }
    let parsed = serde_json::from_slice::<Value>(&document.out).unwrap_or_default();
    let error = &parsed["error"];
    let says = |key: &str| error[key].as_str().unwrap_or_default();
    let code = match case {
        Refused(code) => code,
        Usage | Away => "",
    };
    let right = document.status == Some(status)
        && document.err.is_empty()
        && kinds.contains(&says("kind"))
        && says("code") == code
        && !says("message").is_empty();
    (!right).then(|| format!("{case:?} {words:?} -o json: {document:?}"))
}

/// Runs each of these, for people and for programs, several at a time.
async fn all_wrong(user: &User, rows: impl Iterator<Item = &'static Row>) -> Vec<String> {
    let ends = stream::iter(rows.copied()).map(|(case, words)| async move {
        let text = user.run(words).await;
        let document = user.run(&[words, &["-o", "json"]].concat()).await;
        wrong((case, words), &text, &document)
    });
    ends.buffered(4).filter_map(|wrong| async { wrong }).collect().await
}

/// Ada, with files of a job that is known, of the same with other content, of one that is not there, and of none.
fn with_files(user: User) -> User {
    user.file("other.json", &json!({ "name": "known", "command": ["false"] }));
    user.file("new.json", &json!({ "name": "new", "command": ["true"] }));
    user.file("bad.json", &json!({ "name": "A b", "comand": [] }));
    user
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_command_that_is_wrong_or_refused_says_so_by_its_status_and_in_one_document() {
    let mut world = World::new(1);
    world.controller.start();
    world.serves().await;
    let user = with_files(User::of(&world));
    user.job("known", "true", arguments(&["a"])).await;
    user.execute(&["known"]).await;
    let there = ROWS.iter().filter(|(case, _)| *case != Away);
    let wrong = all_wrong(&user, there.chain(&ALONE)).await;
    assert_eq!(wrong, Vec::<String>::new());

    let help = user.says(&["--help"]).await;
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| !line.is_empty());
    // What is further in goes on from the line before.
    let named = listed.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let listed: BTreeSet<_> = named.filter(|name| !name.is_empty()).collect();
    let tried: BTreeSet<_> = ROWS.iter().chain(&ALONE).map(|(_, words)| words[0]).collect();
    assert_eq!(listed, tried, "each command has its rows");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_command_to_which_nobody_answers_ends_in_time_with_status_4_and_one_document() {
    // It takes connections, and says nothing.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = deaf.local_addr().unwrap().to_string();
    let user = User::new().with("CP_HOST", &address).with("CONNECTION_TIMEOUT_SECS", "1");
    let user = with_files(user.with("EMAIL_ID", "ada@example.com"));
    let wrong = all_wrong(&user, ROWS.iter().filter(|(case, _)| *case == Away)).await;
    assert_eq!(wrong, Vec::<String>::new());
}
