//! Jobs over time: many at once, new versions, deletion, and what is refused.

use crate::{user::User, world::World};
use octavius_client::v1::{self, ExecutionState, executions_client::ExecutionsClient};
use serde_json::json;
use tonic::{Code, transport::Channel};

async fn controller() -> (World, User) {
    let mut world = World::new(1);
    world.controller.start();
    world.serves().await;
    let user = User::of(&world);
    (world, user)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_jobs_none_is_stored_while_one_is_not_right() {
    let (_world, user) = controller().await;
    std::fs::create_dir(user.path("jobs")).unwrap();
    user.file("jobs/b.yaml", &json!({ "name": "b", "command": ["true"] }));
    user.file("jobs/a.json", &json!({ "name": "a", "command": ["true"] }));
    user.file("jobs/notes.txt", &json!("no job"));
    // Right for the client, and wrong for the controller.
    let wrong = json!({ "name": "c", "command": ["true"], "env_vars": { "args": [
        { "name": "n", "type": "int", "default": "many" },
    ] } });
    user.file("jobs/c.yml", &wrong);
    let ran = user.run(&["create", "-f", "jobs"]).await;
    assert_eq!(ran.status, Some(3), "{ran:?}");
    for told in [
        "jobs/c.yml: the job was not stored",
        "`arguments[0].default` is `many`, not a whole number",
        "1 of 3 jobs are refused: nothing was stored",
    ] {
        assert!(ran.err.contains(told), "no {told:?} in {ran:?}");
    }
    let (document, status) = user.document(&["create", "-f", "jobs"]).await;
    assert_eq!((status, document["jobs"][2]["error"]["reason"].as_str()), (3, Some("INVALID_JOB")));
    assert_eq!(user.says(&["list", "-o", "name"]).await, "");
    // What the client itself finds is told before anybody is asked.
    user.file("jobs/d.yaml", &json!({ "nam": "d" }));
    let ran = user.run(&["create", "-f", "jobs"]).await;
    assert!(
        ran.status == Some(2) && ran.err.contains("the nearest known key is `name`"),
        "{ran:?}"
    );

    std::fs::remove_file(user.path("jobs/d.yaml")).unwrap();
    user.file("jobs/c.yml", &json!({ "name": "c", "command": ["true"] }));
    let dry = user.says(&["create", "-f", "jobs", "--dry-run"]).await;
    assert_eq!(dry.lines().filter(|line| line.contains("would be created, version 1")).count(), 3);
    assert_eq!(user.says(&["list", "-o", "name"]).await, "");
    let created = user.says(&["create", "-f", "jobs", "-o", "name"]).await;
    assert_eq!(created, "a\nb\nc\n", "in the order of the files' names");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_execution_keeps_the_version_that_it_was_submitted_with() {
    let world = World::start().await;
    let user = User::of(&world);
    user.file(
        "one.json",
        &json!({ "name": "greet", "command": ["sh", "-c", "sleep 1; echo one"] }),
    );
    user.file("two.json", &json!({ "name": "greet", "command": ["echo", "two"] }));
    user.says(&["create", "-f", "one.json"]).await;
    let unknown = user.run(&["update", "other", "-f", "two.json"]).await;
    assert!(unknown.status == Some(2) && unknown.err.contains("`greet`"), "{unknown:?}");
    let first = user.execute(&["greet"]).await;
    let updated =
        user.says(&["update", "greet", "-f", "two.json", "--expected-version", "1"]).await;
    assert_eq!(updated, "job `greet` is changed, version 2\n");
    let late = user.run(&["update", "-f", "one.json", "--expected-version", "1"]).await;
    assert!(late.status == Some(3) && late.err.contains("2 is the newest"), "{late:?}");
    let second = user.execute(&["greet"]).await;
    for (id, log) in [(&first, "one\n"), (&second, "two\n")] {
        assert_eq!(world.over(id).await.state(), ExecutionState::Succeeded);
        assert_eq!(String::from_utf8(world.log(id).await).unwrap(), log);
    }
    let described = user.says(&["describe", "greet", "--version", "1"]).await;
    assert!(described.contains("version 1 of 2") && described.contains("echo one"), "{described}");
    let none = user.run(&["describe", "greet", "--version", "3"]).await;
    assert!(none.status == Some(3) && none.err.contains("its versions are 1 to 2"), "{none:?}");

    assert_eq!(user.says(&["delete", "greet"]).await, "job `greet` is deleted\n");
    for (id, version) in [(&first, 1), (&second, 2)] {
        let (status, _) = user.document(&["status", id]).await;
        assert_eq!(
            (status["job"].as_str(), status["job_version"].as_u64()),
            (Some("greet"), Some(version)),
            "{status}"
        );
    }
    let gone = user.run(&["execute", "greet"]).await;
    assert!(gone.status == Some(3) && gone.err.contains("there is no job `greet`"), "{gone:?}");
    assert_eq!(
        user.says(&["create", "-f", "one.json"]).await,
        "job `greet` is created, version 3\n"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_executions_wait_is_deleted_by_force_alone() {
    let (world, user) = controller().await;
    user.job("greet", "echo hello", json!({})).await;
    user.job("other", "echo hello", json!({})).await;
    let waits = user.execute(&["greet"]).await;
    let ran = user.run(&["delete", "greet", "other", "nobody"]).await;
    assert_eq!((ran.status, ran.text().as_str()), (Some(3), "job `other` is deleted\n"), "{ran:?}");
    assert!(ran.err.contains("1 of its executions wait") && ran.err.contains("--force"), "{ran:?}");
    assert!(ran.err.contains("there is no job `nobody`"), "{ran:?}");
    let forced = user.says(&["delete", "greet", "--force"]).await;
    assert_eq!(forced, "job `greet` is deleted, 1 execution that waited is cancelled\n");
    assert_eq!(world.over(&waits).await.state(), ExecutionState::Cancelled);
    let (document, status) = user.document(&["delete", "greet"]).await;
    assert_eq!((status, document["error"]["reason"].as_str()), (3, Some("UNKNOWN_JOB")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn definitions_that_are_wrong_or_too_large_are_refused_by_field_and_limit() {
    let (world, user) = controller().await;
    let named = |name: &str| json!({ "name": name, "command": ["true"] }).to_string();
    let long = "a".repeat(64);
    for name in ["Greet", "two words", long.as_str(), "a/b", "grüße", "", "-a"] {
        let ran = user.run_with_input(&["create", "-f", "-"], &named(name)).await;
        assert!(ran.status == Some(2) && ran.err.contains("`name` is"), "{name}: {ran:?}");
        // The controller says so itself to whoever does not use this client.
        let definition = v1::JobDefinition {
            name: name.to_owned(),
            command: vec!["true".to_owned()],
            ..Default::default()
        };
        let refused = world.client.create_job(definition).await.unwrap_err().to_string();
        assert!(refused.contains("`name` is") && refused.contains("1 to 63"), "{refused}");
    }
    let large = json!({ "name": "large", "command": ["true"], "description": "x".repeat(2 << 20) });
    let ran = user.run_with_input(&["create", "-f", "-"], &large.to_string()).await;
    assert_eq!(ran.status, Some(3), "{}", ran.err);
    assert!(ran.err.contains("`description` has 2097152 bytes, and at most 4096"), "{}", ran.err);
    let many: Vec<_> = (0..10_000).map(|n| json!({ "name": format!("a{n}") })).collect();
    let many = json!({ "name": "many", "command": ["true"], "env_vars": { "args": many } });
    let ran = user.run_with_input(&["create", "-f", "-"], &many.to_string()).await;
    assert!(
        ran.status == Some(3) && ran.err.contains("are 10000, and a job has at most 1000"),
        "{}",
        ran.err
    );
    assert_eq!(user.says(&["list", "-o", "name"]).await, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_over_a_limit_are_refused_by_name_and_many_large_ones_are_all_taken() {
    let world = World::start().await;
    let names: Vec<String> = (0..18).map(|n| format!("v{n:02}")).collect();
    let arguments: Vec<_> = names.iter().map(|name| json!({ "name": name })).collect();
    let user = User::of(&world);
    user.job("wc", "printenv v00 | wc -c", json!({ "env_vars": { "args": arguments } })).await;
    let with = |values: &[(&str, usize)]| {
        values.iter().map(|(name, size)| ((*name).to_owned(), "x".repeat(*size))).collect()
    };
    let fits = 131_071 - "v00=".len();
    let id = world.client.execute("wc", with(&[("v00", fits)])).await.unwrap().id;
    assert_eq!(world.over(&id).await.state(), ExecutionState::Succeeded);
    assert_eq!(String::from_utf8(world.log(&id).await).unwrap().trim(), (fits + 1).to_string());
    for size in [fits + 1, 8 << 20] {
        let refused =
            world.client.execute("wc", with(&[("v00", size)])).await.unwrap_err().to_string();
        assert!(refused.contains("`v00` has") && refused.contains("131071"), "{refused}");
    }
    let all: Vec<_> = names.iter().map(|name| (name.as_str(), 120_000)).collect();
    let refused = world.client.execute("wc", with(&all)).await.unwrap_err().to_string();
    assert!(refused.contains("524288"), "{refused}");
    // 2.4 MB at once on one connection, and what is too large among them, past the client that would not send it: none
    // fails its neighbours.
    let channel = Channel::from_shared(format!("http://{}", world.address)).unwrap();
    let executions = ExecutionsClient::new(channel.connect().await.unwrap());
    let execute = |size| {
        let (job, arguments) = ("wc".to_owned(), with(&[("v00", size)]));
        let request = v1::ExecuteRequest { job, arguments, ..v1::ExecuteRequest::default() };
        let mut executions = executions.clone();
        async move { (size, executions.execute(request).await) }
    };
    let mut sizes = vec![60_000; 40];
    sizes.extend([fits + 1, 8 << 20, fits + 1, 8 << 20]);
    sizes.rotate_right(22);
    for (size, end) in futures::future::join_all(sizes.into_iter().map(execute)).await {
        if size > fits {
            let refused = end.unwrap_err();
            let told = if size == fits + 1 { "do not fit" } else { "at most 5242880 are taken" };
            assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
            assert!(refused.message().contains(told), "{refused}");
        } else {
            let id = end.unwrap().into_inner().execution.unwrap().id;
            assert_eq!(world.over(&id).await.state(), ExecutionState::Succeeded);
        }
    }
}
