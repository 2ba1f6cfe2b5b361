//! Jobs, and what describes the server itself.

use crate::world::{World, job, refusal};
use futures::future::join_all;
use octavius_protocol::v1;
use tonic::{Code, Request};

#[tokio::test(flavor = "multi_thread")]
async fn creating_twice_is_creating_once_and_other_content_is_refused() {
    let world = World::start().await;
    let mut jobs = world.jobs().await;
    let mut request =
        Request::new(v1::CreateJobRequest { definition: Some(job("hello")), dry_run: false });
    request.metadata_mut().insert("octavius-user", "ada@example.org".parse().unwrap());
    let first = jobs.create_job(request).await.unwrap().into_inner();
    assert!(first.created);
    assert_eq!(first.job.as_ref().unwrap().created_by, "ada@example.org");
    let again = world.create(job("hello")).await;
    assert_eq!((again.created, &again.job), (false, &first.job));
    let other = v1::JobDefinition { description: "other".to_owned(), ..job("hello") };
    let other = v1::CreateJobRequest { definition: Some(other), dry_run: false };
    let (code, reason, _) = refusal(jobs.create_job(other).await);
    assert_eq!((code, reason.as_str()), (Code::AlreadyExists, "JOB_EXISTS"));

    let world = world.restart().await;
    let request = v1::DescribeJobRequest { name: "hello".to_owned(), version: 0 };
    let described = world.jobs().await.describe_job(request).await.unwrap().into_inner();
    assert_eq!(described.job, first.job);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_clients_who_create_one_name_at_once_exactly_one_does() {
    let world = World::start().await;
    let jobs = world.jobs().await;
    let creates = (0..32).map(|n| {
        let mut jobs = jobs.clone();
        let description = if n % 2 == 0 { "even" } else { "odd" };
        let definition =
            v1::JobDefinition { description: description.to_owned(), ..job("contested") };
        async move {
            jobs.create_job(v1::CreateJobRequest { definition: Some(definition), dry_run: false })
                .await
        }
    });
    let answers = join_all(creates.map(tokio::spawn)).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    let created = answers.iter().flatten().filter(|answer| answer.get_ref().created).count();
    assert_eq!(created, 1);
    let equal = answers.iter().flatten().count();
    assert_eq!(equal, 16, "those of equal content all succeed");
    for refused in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert_eq!(refused.code(), Code::AlreadyExists);
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_definition_is_answered_with_all_its_faults() {
    let world = World::start().await;
    let definition = v1::JobDefinition {
        name: "Bad Name".to_owned(),
        arguments: vec![v1::Argument { name: "1x".to_owned(), ..v1::Argument::default() }],
        secrets: vec![v1::SecretName {
            name: "LD_PRELOAD".to_owned(),
            ..v1::SecretName::default()
        }],
        timeout: Some(prost_types::Duration { seconds: -5, nanos: 0 }),
        ..v1::JobDefinition::default()
    };
    let request = v1::CreateJobRequest { definition: Some(definition), dry_run: false };
    let mut jobs = world.jobs().await;
    let (code, reason, faults) = refusal(jobs.create_job(request).await);
    assert_eq!((code, reason.as_str()), (Code::InvalidArgument, "INVALID_JOB"));
    let fields: Vec<_> = faults.iter().filter_map(|fault| fault.split(": ").next()).collect();
    assert_eq!(fields, ["name", "image_name", "timeout", "arguments[0].name", "secrets[0].name"]);
    let (code, _, faults) = refusal(jobs.create_job(v1::CreateJobRequest::default()).await);
    assert_eq!(
        (code, faults),
        (Code::InvalidArgument, vec!["definition: is missing: give it".to_owned()])
    );
    let odd = prost_types::Duration { seconds: 1, nanos: -1 };
    let definition = v1::JobDefinition { timeout: Some(odd), ..job("hello") };
    let request = v1::CreateJobRequest { definition: Some(definition), dry_run: false };
    assert_eq!(refusal(jobs.create_job(request).await).0, Code::InvalidArgument);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_of_the_largest_size_fits_through_and_a_larger_one_is_refused_by_name() {
    let world = World::start().await;
    let mut jobs = world.jobs().await;
    let large = |bytes: usize| {
        let definition = v1::JobDefinition { command: vec!["x".repeat(bytes)], ..job("large") };
        v1::CreateJobRequest { definition: Some(definition), dry_run: false }
    };
    // Above what tonic takes by itself, and so refused by us, with the field's name.
    let (code, _, faults) = refusal(jobs.create_job(large(4_500_000)).await);
    assert_eq!(code, Code::InvalidArgument);
    assert!(faults[0].starts_with("command: has 4500001 bytes"), "{faults:?}");
    assert!(jobs.create_job(large(128 * 1024 - 1)).await.is_ok());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages_and_a_wrong_token_is_refused() {
    let world = World::start().await;
    for name in ["b", "a", "c"] {
        world.create(job(name)).await;
    }
    let mut jobs = world.jobs().await;
    let (mut seen, mut token) = (Vec::new(), String::new());
    for pages in 1.. {
        let request = v1::ListJobsRequest { page_size: 2, page_token: token };
        let page = jobs.list_jobs(request).await.unwrap().into_inner();
        seen.extend(page.jobs.into_iter().map(|job| job.definition.unwrap().name));
        token = page.next_page_token;
        if token.is_empty() {
            assert_eq!(pages, 2);
            break;
        }
    }
    assert_eq!(seen, ["a", "b", "c"]);
    let wrong = || "not a token".to_owned();
    let list = v1::ListJobsRequest { page_size: 2, page_token: wrong() };
    let (code, reason, faults) = refusal(jobs.list_jobs(list).await);
    assert_eq!((code, reason.as_str()), (Code::InvalidArgument, "PAGE_TOKEN"));
    assert!(faults[0].starts_with("page_token: `not a token`"), "{faults:?}");
    let list =
        v1::ListExecutionsRequest { page_token: wrong(), ..v1::ListExecutionsRequest::default() };
    let (code, reason, _) = refusal(world.executions().await.list_executions(list).await);
    assert_eq!((code, reason.as_str()), (Code::InvalidArgument, "PAGE_TOKEN"));
    let mut executors = world.executor("e", 1).await.client;
    let list = v1::ListExecutorsRequest { page_size: 2, page_token: wrong() };
    let (code, reason, _) = refusal(executors.list_executors(list).await);
    assert_eq!((code, reason.as_str()), (Code::InvalidArgument, "PAGE_TOKEN"));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_job_is_not_found_and_the_nearest_is_named() {
    let world = World::start().await;
    world.create(job("hello-friend")).await;
    let request = v1::DescribeJobRequest { name: "helo-friend".to_owned(), version: 0 };
    let status = world.jobs().await.describe_job(request).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    assert!(status.message().contains("`hello-friend`"), "{}", status.message());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_a_definition_may_say_is_stored_and_shown_as_it_was_given() {
    let world = World::start().await;
    let pairs = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    let argument = |name: &str, kind: v1::ArgumentType| v1::Argument {
        name: name.to_owned(),
        r#type: kind.into(),
        ..v1::Argument::default()
    };
    let definition = v1::JobDefinition {
        start_timeout: seconds(60),
        queue_timeout: seconds(3_600),
        retry: Some(v1::Retry {
            attempts: 3,
            pause: seconds(0),
            factor: 1.5,
            max_pause: seconds(60),
            on: vec!["failed".to_owned(), "exit_code:75".to_owned()],
        }),
        concurrency: 2,
        executor_selector: pairs(&[("zone", "eu")]),
        resources: Some(v1::Resources {
            requests: pairs(&[("cpu", "500m")]),
            limits: pairs(&[("memory", "1Gi")]),
        }),
        kubernetes: r#"{"spec":{}}"#.to_owned(),
        namespace: "reports".to_owned(),
        arguments: vec![
            v1::Argument {
                default_value: Some("5".to_owned()),
                min: Some("1".to_owned()),
                max: Some("9".to_owned()),
                ..argument("count", v1::ArgumentType::Int)
            },
            v1::Argument {
                allowed: vec!["a".to_owned(), "b".to_owned()],
                ..argument("place", v1::ArgumentType::Enum)
            },
            v1::Argument {
                pattern: "[a-z]+".to_owned(),
                ..argument("text", v1::ArgumentType::String)
            },
            argument("token", v1::ArgumentType::Secret),
        ],
        ..job("hello")
    };
    world.create(definition.clone()).await;
    let world = world.restart().await;
    let request = v1::DescribeJobRequest { name: "hello".to_owned(), version: 1 };
    let described = world.jobs().await.describe_job(request).await.unwrap().into_inner();
    assert_eq!(described.job.unwrap().definition, Some(definition));
    assert_eq!(described.newest_version, 1);

    // What is not given is taken from the definition, and stored with the execution.
    let execution = world.execute("hello").await;
    let shown = world.get(&execution.id).await;
    assert_eq!(shown.arguments.get("count").map(String::as_str), Some("5"));
    world.stop().await;
}
