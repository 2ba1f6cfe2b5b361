//! Running again what an execution ran.

use crate::world::{World, job, refusal};
use octavius_protocol::v1;
use std::collections::BTreeMap;
use tonic::{Code, Status};

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn argument(name: &str) -> v1::Argument {
    v1::Argument { name: name.to_owned(), ..v1::Argument::default() }
}

/// A job that greets with this title unless another is given.
fn greet(title: &str) -> v1::JobDefinition {
    let name = v1::Argument { required: true, ..argument("name") };
    let title = v1::Argument { default_value: Some(title.to_owned()), ..argument("title") };
    v1::JobDefinition { arguments: vec![name, title], ..job("greet") }
}

async fn update(world: &World, definition: v1::JobDefinition) {
    let request = v1::UpdateJobRequest { definition: Some(definition), ..Default::default() };
    world.jobs().await.update_job(request).await.unwrap();
}

async fn execute(
    world: &World,
    request: v1::ExecuteRequest,
) -> Result<v1::ExecuteResponse, Status> {
    Ok(world.executions().await.execute(request).await?.into_inner())
}

async fn rerun(world: &World, request: v1::RerunRequest) -> Result<v1::RerunResponse, Status> {
    Ok(world.executions().await.rerun(request).await?.into_inner())
}

/// What is said of the execution that comes of it.
async fn again(world: &World, request: v1::RerunRequest) -> v1::Execution {
    let response = rerun(world, request).await.unwrap();
    assert!(response.created);
    world.get(&response.execution.unwrap().id).await
}

fn of(id: &str) -> v1::RerunRequest {
    v1::RerunRequest { id: id.to_owned(), ..v1::RerunRequest::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_then_is_given_again_to_the_job_as_it_is_now_or_as_it_was() {
    let world = World::start().await;
    world.create(greet("Dr.")).await;
    let request = v1::ExecuteRequest {
        job: "greet".to_owned(),
        arguments: pairs(&[("name", "Ada")]),
        timeout: Some(prost_types::Duration { seconds: 7, nanos: 0 }),
        on: pairs(&[("zone", "eu")]),
        ..v1::ExecuteRequest::default()
    };
    let first = execute(&world, request).await.unwrap().execution.unwrap();
    assert_eq!(first.rerun_of, "");
    update(&world, v1::JobDefinition { command: vec!["false".to_owned()], ..greet("Prof.") }).await;
    let world = world.restart().await;

    let now = again(&world, of(&first.id)).await;
    assert_eq!((now.rerun_of.as_str(), now.job_version), (first.id.as_str(), 2));
    assert_eq!(now.arguments, pairs(&[("name", "Ada"), ("title", "Prof.")]));
    assert_eq!((&now.on, now.timeout.map(|time| time.seconds)), (&first.on, Some(7)));
    let same = v1::RerunRequest { same_version: true, ..of(&first.id) };
    let then = again(&world, same).await;
    assert_eq!((then.job_version, &then.arguments["title"]), (1, &"Dr.".to_owned()));
    let anew = v1::RerunRequest { arguments: pairs(&[("name", "Bob")]), ..of(&first.id) };
    let other = again(&world, anew).await;
    assert_eq!(other.arguments["name"], "Bob");
    // What ran again can be run again; lists say what is what.
    let third = again(&world, of(&other.id)).await;
    assert_eq!((&third.rerun_of, &third.arguments["name"]), (&other.id, &"Bob".to_owned()));
    let mut executions = world.executions().await;
    let list = executions.list_executions(v1::ListExecutionsRequest::default()).await.unwrap();
    let list = list.into_inner().executions;
    let first_ones: Vec<_> = list.iter().map(|execution| execution.rerun_of.as_str()).collect();
    assert_eq!(first_ones, [&*other.id, &*first.id, &*first.id, &*first.id, ""]);

    // Whoever takes it gets the command of its version.
    let cancel = v1::CancelRequest { id: first.id, force: false };
    executions.cancel(cancel).await.unwrap();
    let mut executor = world.executor_with("e", pairs(&[("zone", "eu")])).await;
    let lease = executor.granted().await;
    assert_eq!(lease.name.unwrap().execution, now.id);
    assert_eq!(lease.command, ["false"]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_does_not_fit_is_said_at_once_and_what_is_secret_is_named() {
    let world = World::start().await;
    let secret =
        |name: &str| v1::Argument { r#type: v1::ArgumentType::Secret.into(), ..argument(name) };
    let with = |more: Vec<v1::Argument>| v1::JobDefinition { arguments: more, ..job("greet") };
    let key = v1::Argument { required: true, ..secret("key") };
    world.create(with(vec![argument("name"), key.clone(), secret("pin"), secret("spare")])).await;
    let given = pairs(&[("name", "Ada"), ("key", "S3cr3t-7f1c"), ("pin", "1234-5678")]);
    let request = v1::ExecuteRequest {
        job: "greet".to_owned(),
        arguments: given,
        ..v1::ExecuteRequest::default()
    };
    let first = execute(&world, request).await.unwrap().execution.unwrap().id;
    let needs = v1::Argument { required: true, ..argument("surname") };
    update(&world, with(vec![needs, key, secret("pin"), secret("spare")])).await;

    let refused = rerun(&world, of(&first)).await;
    let text = refused.as_ref().unwrap_err().message().to_owned();
    assert!(text.contains(&first) && text.contains("--same-version"), "{text}");
    let (code, reason, faults) = refusal(refused);
    assert_eq!((code, reason.as_str()), (Code::InvalidArgument, "BAD_ARGUMENTS"));
    assert_eq!(
        faults,
        [
            "arguments.surname: is required and missing: add `surname=VALUE`",
            "arguments.key: is secret, and what was given once is not kept: add `key=VALUE`",
            "arguments.pin: is secret, and what was given once is not kept: add `pin=VALUE`",
            "arguments.name: is no argument of this job, which takes `key`, `pin`, `spare`, `surname`",
        ]
    );
    let keys = pairs(&[("key", "an0ther-key"), ("pin", "8765-4321")]);
    let same = v1::RerunRequest { same_version: true, arguments: keys, ..of(&first) };
    let second = again(&world, same).await;
    assert_eq!(
        second.arguments,
        pairs(&[("name", "Ada"), ("key", "[secret]"), ("pin", "[secret]")])
    );
    // The first one is as it was, and the second has its own values.
    for (executor, key) in [("e", "S3cr3t-7f1c"), ("f", "an0ther-key")] {
        let lease = world.executor(executor, 1).await.granted().await;
        assert_eq!(std::str::from_utf8(&lease.secrets["key"]), Ok(key));
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_rerun_finds_the_first_one_and_another_wish_of_its_name_is_refused() {
    let world = World::start().await;
    let key = v1::Argument { r#type: v1::ArgumentType::Secret.into(), ..argument("key") };
    let mut definition = greet("Dr.");
    definition.arguments.push(key);
    world.create(definition).await;
    let execution = v1::ExecuteRequest {
        job: "greet".to_owned(),
        arguments: pairs(&[("name", "Ada")]),
        ..v1::ExecuteRequest::default()
    };
    let first = execute(&world, execution.clone()).await.unwrap().execution.unwrap().id;
    let wish = v1::RerunRequest {
        request_id: "again".to_owned(),
        arguments: pairs(&[("title", "Prof."), ("key", "S3cr3t-7f1c")]),
        ..of(&first)
    };
    let second = again(&world, wish.clone()).await;
    // Also where the job is another by then.
    update(&world, greet("Sir")).await;
    let world = world.restart().await;
    let repeated = rerun(&world, wish.clone()).await.unwrap();
    assert_eq!((repeated.created, repeated.execution.unwrap().id), (false, second.id));

    let others = [
        v1::RerunRequest { same_version: true, ..wish.clone() },
        v1::RerunRequest { arguments: pairs(&[("title", "Prof.")]), ..wish.clone() },
        v1::RerunRequest {
            arguments: pairs(&[("title", "Sir"), ("key", "S3cr3t-7f1c")]),
            ..wish.clone()
        },
        v1::RerunRequest { id: repeated_id(&world, &first).await, ..wish },
    ];
    for other in others {
        let (code, reason, _) = refusal(rerun(&world, other.clone()).await);
        assert_eq!((code, reason.as_str()), (Code::AlreadyExists, "REQUEST_ID_USED"), "{other:?}");
    }
    let executed = v1::ExecuteRequest { request_id: "again".to_owned(), ..execution };
    let (code, ..) = refusal(execute(&world, executed).await);
    assert_eq!(code, Code::AlreadyExists, "an execution is no rerun");
    world.stop().await;
}

/// Another execution of the same content.
async fn repeated_id(world: &World, first: &str) -> String {
    again(world, of(first)).await.id
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_known_any_more_is_not_run_again() {
    let world = World::start().await;
    world.create(job("greet")).await;
    let first = world.execute("greet").await.id;
    let nobody = format!("{}s", "v".repeat(25)); // the last of all
    let (code, reason, _) = refusal(rerun(&world, of(&nobody)).await);
    assert_eq!((code, reason.as_str()), (Code::NotFound, "UNKNOWN_EXECUTION"));
    let wrong = v1::RerunRequest { request_id: "x".repeat(129), ..of("short") };
    let (code, _, faults) = refusal(rerun(&world, wrong).await);
    assert_eq!((code, faults.len()), (Code::InvalidArgument, 2), "{faults:?}");

    let delete = v1::DeleteJobRequest { name: "greet".to_owned(), force: true };
    world.jobs().await.delete_job(delete).await.unwrap();
    let (code, reason, _) = refusal(rerun(&world, of(&first)).await);
    assert_eq!((code, reason.as_str()), (Code::NotFound, "UNKNOWN_JOB"));
    // A job of the same name is another job: its versions are not those of the one that was deleted.
    world.create(job("greet")).await;
    let same = v1::RerunRequest { same_version: true, ..of(&first) };
    let (code, reason, _) = refusal(rerun(&world, same).await);
    assert_eq!((code, reason.as_str()), (Code::NotFound, "UNKNOWN_VERSION"));
    assert_eq!(again(&world, of(&first)).await.job_version, 2);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_is_the_same_also_where_defaults_were_taken() {
    let world = World::start().await;
    world.create(greet("Dr.")).await;
    let request = v1::ExecuteRequest {
        job: "greet".to_owned(),
        arguments: pairs(&[("name", "Ada")]),
        request_id: "once".to_owned(),
        ..v1::ExecuteRequest::default()
    };
    let first = execute(&world, request.clone()).await.unwrap().execution.unwrap().id;
    let repeated = execute(&world, request.clone()).await.unwrap();
    assert_eq!((repeated.created, repeated.execution.unwrap().id), (false, first));
    let given = pairs(&[("name", "Ada"), ("title", "Dr.")]);
    let other = v1::ExecuteRequest { arguments: given, ..request };
    assert_eq!(refusal(execute(&world, other).await).0, Code::AlreadyExists);
    world.stop().await;
}
