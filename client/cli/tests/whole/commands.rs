//! Every command against real servers: its short form, the old form that stays, and what it writes where.

use crate::{
    user::{User, arguments},
    world::World,
};
use octavius_client::v1::ExecutionState;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_registered_listed_and_described_in_the_short_and_the_old_form() {
    let world = World::start().await;
    let user = User::new();
    let host = world.address.as_str();
    let config = ["config", "--cp-host", host, "--email-id", "ada@example.com"];
    let config = [&config[..], &["--token", "t0p", "--time-out", "5"]].concat();
    let written = user.says(&config).await;
    assert!(written.contains("octavius_client.yaml"), "{written}");

    let mut greet = json!({
        "name": "greet", "description": "Greets", "command": ["sh", "-c", "echo hello $name"],
        "image_name": "busybox", "env_vars": arguments(&["name!", "title"])["env_vars"],
    });
    greet["env_vars"]["args"][1]["allowed"] = json!(["Dr.", "Prof."]);
    user.file("greet.json", &greet);
    user.file("other.json", &json!({ "name": "other", "command": ["true"] }));
    let created = user.says(&["create", "--job-path", "greet.json"]).await;
    assert_eq!(created, "job `greet` is created, version 1\n");
    let created = user.says(&["create", "-f", "greet.json", "-f", "other.json"]).await;
    assert_eq!(
        created,
        "job `greet` is there already, with equal content\njob `other` is created, version 1\n"
    );
    let yaml = "name: third\ncommand: [\"true\"]\n";
    let created = user.run_with_input(&["create", "-f", "-"], yaml).await;
    assert_eq!(created.text(), "job `third` is created, version 1\n");

    let list = user.says(&["list"]).await;
    assert_eq!(list, "NAME   DESCRIPTION\ngreet  Greets\nother\nthird\n");
    assert_eq!(user.says(&["list", "-o", "name"]).await, "greet\nother\nthird\n");
    let described = user.says(&["describe", "greet"]).await;
    for line in [
        "job           greet, version 1",
        "description   Greets",
        "image         busybox",
        "arguments     name   string  required",
        "              title  string  optional  one of Dr., Prof.",
        "run it with   octavius execute greet name=VALUE --follow",
    ] {
        assert!(described.lines().any(|found| found.trim_end() == line), "{line}\n{described}");
    }
    // As documents, for in a text each time has its age.
    let (document, status) = user.document(&["describe", "greet"]).await;
    assert_eq!(user.document(&["describe", "--job-name", "greet"]).await.0, document);
    assert_eq!(
        (document["definition"]["env_vars"]["args"][0]["name"].as_str(), status),
        (Some("name"), 0)
    );
    assert_eq!(document["created_by"], "ada@example.com", "who stands in the file");
    // What was described is a definition again.
    let again = document["definition"].to_string();
    let created = user.run_with_input(&["create", "-f", "-"], &again).await;
    assert!(created.text().contains("equal content"), "{created:?}");
    let yaml = user.says(&["describe", "greet", "-o", "yaml"]).await;
    assert_eq!(serde_saphyr::from_str::<serde_json::Value>(&yaml).unwrap(), document);
    assert!(yaml.contains("\n  name: greet\n"), "{yaml}");
    let listed = user.says(&["list", "-o", "yaml"]).await;
    let listed: serde_json::Value = serde_saphyr::from_str(&listed).unwrap();
    assert_eq!(listed, user.document(&["list"]).await.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn executions_are_made_shown_and_read_in_the_short_and_the_old_form() {
    let world = World::start().await;
    let user = User::of(&world);
    user.job("greet", "echo \"hello $name$title\"", arguments(&["name!", "title"])).await;

    let first = user.execute(&["greet", "name=Ada"]).await;
    world.over(&first).await;
    let old = ["execute", "--job-name", "greet", "--args", "name=Ada,title=Dr.", "--wait"];
    let waited = user.run(&old).await;
    assert_eq!(waited.status, Some(0), "{waited:?}");
    let second = waited.text().trim_end().to_owned();
    let told = format!("octavius: execution {second} succeeded after ");
    assert!(
        waited.err.starts_with(&told) && waited.err.ends_with(": the program exited with 0\n"),
        "{waited:?}"
    );

    let ending = &second[18..]; // eight characters, all of them random
    let by_id = ["getlogs", second.as_str()];
    for words in [&by_id[..], &["getlogs", "--job-id", &second], &["getlogs", ending]] {
        assert_eq!(user.says(words).await, "hello AdaDr.\n", "{words:?}");
        assert_eq!(user.says(&[words, &["--follow"]].concat()).await, "hello AdaDr.\n");
    }
    assert_eq!(user.says(&["getlogs", "@last"]).await, "hello AdaDr.\n");
    assert_eq!(user.says(&["getlogs", "@last", "--offset", "6"]).await, "AdaDr.\n");
    assert_eq!(user.says(&["getlogs", &first, "--attempt", "1"]).await, "hello Ada\n");

    let status = user.says(&["status", &second]).await;
    let by_id = user.document(&["status", &second]).await;
    assert_eq!(user.document(&["status", "@last"]).await, by_id);
    for line in [
        format!("execution  {second}"),
        "job        greet, version 1".to_owned(),
        "by         ada@example.com".to_owned(),
        "state      succeeded: the program exited with 0".to_owned(),
        "exit code  0".to_owned(),
        "attempt    1, on executor test-executor".to_owned(),
        "arguments  name=\"Ada\"".to_owned(),
        "           title=\"Dr.\"".to_owned(),
        "log        13 B".to_owned(),
    ] {
        assert!(status.lines().any(|found| found == line), "{line}\n{status}");
    }

    let followed = user.run(&["execute", "greet", "name=Bob", "--follow"]).await;
    assert_eq!((followed.status, followed.text().as_str()), (Some(0), "hello Bob\n"));
    let third = user.says(&["executions", "--limit", "1", "-o", "name"]).await;
    let all = user.says(&["executions", "-o", "name"]).await;
    assert_eq!(all, format!("{third}{second}\n{first}\n"), "the newest first");
    assert_eq!(user.says(&["executions", "--job", "other"]).await, "");
    let table = user.says(&["executions", "--job", "greet", "-o", "wide"]).await;
    assert!(table.starts_with("ID ") && table.lines().count() == 4, "{table}");
    assert!(!table.contains('\u{1b}'), "colour where no terminal reads: {table}");

    // The newest of all is Eve's; the newest of Ada's is not.
    let eve = User::of(&world).with("EMAIL_ID", "eve@example.com");
    let hers = eve.execute(&["greet", "name=Eve"]).await;
    world.over(&hers).await;
    assert_eq!(eve.says(&["getlogs", "@last"]).await, "hello Eve\n");
    assert_eq!(user.says(&["getlogs", "@last"]).await, "hello Bob\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_is_answered_with_where_the_execution_is_and_holds() {
    let world = World::start().await;
    let user = User::of(&world);
    user.job("sleep", "echo begun; exec sleep 300", json!({})).await;
    let id = user.execute(&["sleep"]).await;
    // What it says and that it runs come by two ways.
    world.reaches(&id, |now| now.state() == ExecutionState::Running && now.log_size > 0).await;
    let cancelled = user.says(&["cancel", &id]).await;
    let wished = format!("execution {id} is running (cancelling): ");
    let done = format!("execution {id} is cancelled: ");
    assert!(cancelled.starts_with(&wished) || cancelled.starts_with(&done), "{cancelled}");
    world.over(&id).await;
    let again = user.says(&["cancel", &id[14..]]).await;
    assert_eq!(again, format!("{done}stopped: a cancel was asked for\n"));
    assert_eq!(user.says(&["getlogs", &id]).await, "begun\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn executors_and_versions_are_told() {
    let world = World::start().await;
    let user = User::of(&world);
    let executors = user.says(&["executors", "-o", "wide"]).await;
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let row = words(executors.lines().nth(1).unwrap());
    assert_eq!(row[..6], ["test-executor", "ready", "process", "0", "of", "8"], "{executors}");
    assert_eq!(user.says(&["executors", "-o", "name"]).await, "test-executor\n");
    let version = env!("CARGO_PKG_VERSION");
    let versions = user.says(&["version"]).await;
    let told = format!(
        "client      {version}\ncontroller  {version} at http://{}, installation ",
        world.address
    );
    assert!(versions.starts_with(&told), "{versions}");
    assert_eq!(user.says(&["--version"]).await, format!("octavius {version}\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_o_json_each_command_writes_one_document_also_where_it_fails() {
    let world = World::start().await;
    let user = User::of(&world);
    user.file("job.json", &json!({ "name": "fail", "command": ["sh", "-c", "echo é; exit 3"] }));
    user.file("bad.json", &json!({ "name": "A b", "comand": [] }));
    user.file("long.json", &json!({ "name": "long", "command": ["sleep", "300"] }));

    let (created, status) = user.document(&["create", "-f", "job.json"]).await;
    assert_eq!((created["jobs"][0]["created"].as_bool(), status), (Some(true), 0));
    let (ended, status) = user.document(&["execute", "fail", "--wait"]).await;
    assert_eq!(
        (ended["state"].as_str(), ended["exit_code"].as_i64(), status),
        (Some("failed"), Some(3), 1)
    );
    let id = ended["id"].as_str().unwrap();
    let (log, status) = user.document(&["getlogs", id]).await;
    assert_eq!((log["text"].as_str(), log["size"].as_u64(), status), (Some("é\n"), Some(3), 0));
    for (words, key) in [
        (&["list"][..], "jobs"),
        (&["executions"], "executions"),
        (&["executors"], "executors"),
        (&["describe", "fail"], "definition"),
        (&["status", "@last"], "history"),
        (&["execute", "fail"], "id"),
        (&["version"], "controller"),
        (&["config", "--cp-host", "h:1", "--config", "c.yaml"], "file"),
        (&["rerun", id], "id"),
        (&["create", "-f", "long.json"], "jobs"),
        (&["execute", "long"], "id"),
        (&["cancel", "@last"], "id"),
        (&["wait", "@last", "--any"], "executions"),
        (&["delete", "long"], "jobs"),
        (&["config", "--context", "other", "--cp-host", &world.address], "file"),
        (&["config", "use", "other"], "context"),
    ] {
        let (document, status) = user.document(words).await;
        let done = status == 0 || words[0] == "wait";
        assert!(!document[key].is_null() && done, "{words:?}: {document}");
    }
    for (words, expected, kind, code) in [
        (&["describe", "nobody"][..], 3, "refused", json!("NOT_FOUND")),
        (&["execute", "nobody", "a=1"], 3, "refused", json!("NOT_FOUND")),
        (&["execute", "fail", "a=1"], 3, "refused", json!("INVALID_ARGUMENT")),
        (&["status", "00000000000000000000000000"], 3, "refused", json!("NOT_FOUND")),
        (&["getlogs", "00000000000000000000000000"], 3, "refused", json!("NOT_FOUND")),
        (&["getlogs", "@last", "--attempt", "7"], 3, "refused", json!("INVALID_ARGUMENT")),
        (&["cancel", id], 3, "refused", json!("FAILED_PRECONDITION")),
        (&["status", "short"], 2, "usage", json!(null)),
        (&["create", "-f", "bad.json"], 2, "usage", json!(null)),
        (&["create", "-f", "none.json"], 2, "usage", json!(null)),
        (&["frobnicate"], 2, "usage", json!(null)),
    ] {
        let (document, status) = user.document(words).await;
        let error = &document["error"];
        assert_eq!(
            (status, error["kind"].as_str()),
            (expected, Some(kind)),
            "{words:?}: {document}"
        );
        assert_eq!(error["code"], code, "{words:?}");
        assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{document}");
    }

    // A follower gets an object a line: the log as it comes, and around it the execution.
    let followed = user.run(&["execute", "fail", "--follow", "-o", "json"]).await;
    assert_eq!((followed.status, followed.err.as_str()), (Some(1), ""));
    let lines = followed.text();
    let objects = lines.lines().map(|line| serde_json::from_str(line).unwrap());
    let objects: Vec<serde_json::Value> = objects.collect();
    let types: Vec<_> = objects.iter().map(|object| object["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["execution", "log", "end", "execution"], "{lines}");
    assert_eq!(
        (objects[0]["final"].as_bool(), objects[3]["state"].as_str()),
        (Some(false), Some("failed"))
    );
    assert_eq!(objects[1]["text"], "é\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_a_job_and_of_its_secrets_are_one_document_each_and_no_value_is_in_them() {
    let mut world = World::new(1);
    world.controller.start();
    world.serves().await;
    let user = User::of(&world);
    let job = |name: &str, command: &str| {
        let secrets = json!([{ "name": "TOKEN", "description": "for the registry" }]);
        json!({ "name": name, "command": [command], "env_vars": { "secrets": secrets } })
    };
    user.file("one.json", &job("deploy", "true"));
    user.file("two.json", &job("deploy", "false"));
    user.file("new.json", &job("fresh", "true"));
    std::fs::write(user.path("token"), "the value of it").unwrap();
    user.says(&["create", "-f", "one.json"]).await;
    let mut documents = String::new();
    for words in [
        &["update", "-f", "two.json", "--dry-run"][..],
        &["update", "-f", "two.json"],
        &["update", "-f", "two.json"],
        &["update", "-f", "new.json", "--create"],
        &["secret", "list", "deploy"],
        &["secret", "set", "deploy", "TOKEN", "--from-file", "token"],
        &["secret", "list", "deploy"],
        &["secret", "unset", "deploy", "TOKEN"],
    ] {
        let (mut document, status) = user.document(words).await;
        assert_eq!(status, 0, "{words:?}: {document}");
        hide_what_differs(&mut document);
        documents.push_str(&format!("{}: {document}\n", words.join(" ")));
    }
    insta::assert_snapshot!(documents, @r#"
    update -f two.json --dry-run: {"dry_run":true,"jobs":[{"changed":true,"created":false,"created_at":"TIME","created_by":"ada@example.com","definition":{"command":["false"],"env_vars":{"args":[],"secrets":[{"description":"for the registry","name":"TOKEN"}]},"name":"deploy"},"file":"two.json","uid":"UID","version":2}]}
    update -f two.json: {"dry_run":false,"jobs":[{"changed":true,"created":false,"created_at":"TIME","created_by":"ada@example.com","definition":{"command":["false"],"env_vars":{"args":[],"secrets":[{"description":"for the registry","name":"TOKEN"}]},"name":"deploy"},"file":"two.json","uid":"UID","version":2}]}
    update -f two.json: {"dry_run":false,"jobs":[{"changed":false,"created":false,"created_at":"TIME","created_by":"ada@example.com","definition":{"command":["false"],"env_vars":{"args":[],"secrets":[{"description":"for the registry","name":"TOKEN"}]},"name":"deploy"},"file":"two.json","uid":"UID","version":2}]}
    update -f new.json --create: {"dry_run":false,"jobs":[{"changed":true,"created":true,"created_at":"TIME","created_by":"ada@example.com","definition":{"command":["true"],"env_vars":{"args":[],"secrets":[{"description":"for the registry","name":"TOKEN"}]},"name":"fresh"},"file":"new.json","uid":"UID","version":1}]}
    secret list deploy: {"secrets":[{"name":"TOKEN","set":false,"set_at":null,"set_by":null}]}
    secret set deploy TOKEN --from-file token: {"job":"deploy","name":"TOKEN","set":true,"set_at":"TIME","set_by":"ada@example.com"}
    secret list deploy: {"secrets":[{"name":"TOKEN","set":true,"set_at":"TIME","set_by":"ada@example.com"}]}
    secret unset deploy TOKEN: {"job":"deploy","name":"TOKEN","set":false}
    "#);
    for words in [
        &["update", "-f", "one.json", "--expected-version", "1"][..],
        &["secret", "set", "deploy", "OTHER", "--from-file", "token"],
        &["secret", "unset", "deploy", "TOKEN"],
        &["secret", "list", "nobody"],
    ] {
        let (document, status) = user.document(words).await;
        assert_eq!((status, &document["error"]["kind"]), (3, &json!("refused")), "{words:?}");
        assert!(!document.to_string().contains("the value of it"), "{document}");
    }
}

/// Puts a word in the place of what is another one each time.
fn hide_what_differs(document: &mut serde_json::Value) {
    match document {
        serde_json::Value::Object(members) => {
            for (key, value) in members {
                match key.as_str() {
                    "set_at" | "created_at" if value.is_string() => *value = json!("TIME"),
                    "uid" if value.is_string() => *value = json!("UID"),
                    _ => hide_what_differs(value),
                }
            }
        }
        serde_json::Value::Array(elements) => elements.iter_mut().for_each(hide_what_differs),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_jobs_that_are_created_at_the_same_moment_under_one_name_one_is() {
    let mut world = World::new(1);
    world.controller.start();
    let user = User::of(&world);
    world.serves().await;
    for number in 0..8 {
        user.file(
            &format!("{number}.json"),
            &json!({ "name": "one", "command": ["echo", number.to_string()] }),
        );
    }
    let files: Vec<_> = (0..8).map(|number| format!("{number}.json")).collect();
    let creates = files.iter().map(|file| {
        let user = &user;
        async move { user.document(&["create", "-f", file]).await }
    });
    let answers = futures::future::join_all(creates).await;
    let (done, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|(_, status)| *status == 0);
    assert_eq!((done.len(), refused.len()), (1, 7), "{answers:?}");
    for (document, status) in refused {
        assert_eq!((*status, document["error"]["code"].as_str()), (3, Some("ALREADY_EXISTS")));
    }
    let (listed, _) = user.document(&["list"]).await;
    assert_eq!(listed["jobs"].as_array().map(Vec::len), Some(1));
    let (created, stored) = (&done[0].0["jobs"][0], &listed["jobs"][0]);
    assert_eq!(
        (&created["created"], &created["definition"]),
        (&json!(true), &stored["definition"])
    );

    // Of equal ones each is done, and one of them made it.
    user.file("equal.json", &json!({ "name": "equal", "command": ["true"] }));
    let creates = (0..6).map(|_| user.document(&["create", "-f", "equal.json"]));
    let answers = futures::future::join_all(creates).await;
    assert!(answers.iter().all(|(_, status)| *status == 0), "{answers:?}");
    let made = answers.iter().filter(|(document, _)| document["jobs"][0]["created"] == true);
    assert_eq!(made.count(), 1, "{answers:?}");
}
