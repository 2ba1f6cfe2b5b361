//! What is known of an attempt besides its state: what it waits for, what became of it, and what its executor gets.

use crate::world::{World, job, registration};
use octavius_protocol::v1::{self, ExecutionState, report_request::Event};

fn starting(reason: impl Into<String>) -> Event {
    Event::Starting(v1::Starting { reason: reason.into() })
}

/// A registration that says that it runs images.
fn of_images(id: &str) -> v1::RegisterRequest {
    v1::RegisterRequest { runner: "kubernetes".to_owned(), ..registration(id, 1, 1) }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_attempt_waits_for_is_shown_and_kept_until_its_program_runs() {
    let world = World::start().await;
    world.create(job("hello")).await;
    let mut executor = world.register(of_images("e")).await;
    let id = world.execute("hello").await.id;
    let name = executor.granted().await.name.unwrap();
    let prepared = v1::Prepared { identity: "reports/0a1b".to_owned() };
    executor.report(&name, Event::Prepared(prepared)).await.unwrap();
    let told = executor.report(&name, starting("no node has 4 CPUs")).await.unwrap();
    assert_eq!(told.verdict(), v1::ReportVerdict::Recorded, "{told:?}");
    let shown = world.get(&id).await;
    assert_eq!(
        (shown.state(), &*shown.waits_for),
        (ExecutionState::Starting, "no node has 4 CPUs")
    );
    assert_eq!(shown.reason, "prepared at e; its program does not run yet: no node has 4 CPUs");
    assert_eq!(shown.runs_as, format!("reports/octavius-{id}-1"));
    let request = v1::ListExecutionsRequest::default();
    let listed = world.executions().await.list_executions(request).await.unwrap().into_inner();
    assert_eq!(listed.executions[0].reason, shown.reason);

    let world = world.restart().await;
    let mut executor = world.register(of_images("e")).await;
    let again = world.get(&id).await;
    assert_eq!((&again.waits_for, again.state()), (&shown.waits_for, ExecutionState::Starting));
    // Whatever is said, what is kept of it is bounded.
    executor.report(&name, starting("é".repeat(100_000))).await.unwrap();
    let long = world.get(&id).await.waits_for;
    assert!(long.ends_with("é…") && (1_020..=1_024).contains(&long.len()), "{}", long.len());

    executor.report(&name, Event::Running(v1::Running::default())).await.unwrap();
    let told = executor.report(&name, starting("it was said before")).await.unwrap();
    assert_eq!(told.verdict(), v1::ReportVerdict::Recorded, "what runs is not given up for that");
    let runs = world.get(&id).await;
    assert_eq!((runs.state(), &*runs.waits_for), (ExecutionState::Running, ""));
    let silent = "node n1 not ready since noon; result not known";
    let unseen = Event::Running(v1::Running { unseen: silent.to_owned() });
    executor.report(&name, unseen).await.unwrap();
    let unseen = world.get(&id).await;
    assert_eq!((unseen.state(), &*unseen.waits_for), (ExecutionState::Running, silent));
    assert_eq!(unseen.reason, format!("ran at e when it was last seen: {silent}"));
    let note = "a process of it was killed for memory";
    let ended = v1::Ended {
        state: ExecutionState::Succeeded.into(),
        exit_code: Some(0),
        note: note.to_owned(),
        ..v1::Ended::default()
    };
    executor.report(&name, Event::Ended(ended)).await.unwrap();
    let world = world.restart().await;
    let over = world.get(&id).await;
    assert_eq!(
        (over.state(), &over.notes[..]),
        (ExecutionState::Succeeded, &[note.to_owned()][..])
    );
    assert_eq!(over.runs_as, shown.runs_as);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_its_executor_ends_for_being_late_has_failed_for_that() {
    let world = World::start().await;
    let start_timeout = Some(prost_types::Duration { seconds: 90, nanos: 0 });
    world.create(v1::JobDefinition { start_timeout, ..job("hello") }).await;
    let mut executor = world.register(of_images("e")).await;
    let id = world.execute("hello").await.id;
    let lease = executor.granted().await;
    assert_eq!(lease.start_timeout, start_timeout);
    let name = lease.name.unwrap();
    let prepared = v1::Prepared { identity: "reports/0a1b".to_owned() };
    executor.report(&name, Event::Prepared(prepared)).await.unwrap();
    executor.report(&name, starting("there is no image `x`")).await.unwrap();
    let ended = v1::Ended {
        state: ExecutionState::Failed.into(),
        reason_code: "start_timeout".to_owned(),
        ..v1::Ended::default()
    };
    executor.report(&name, Event::Ended(ended)).await.unwrap();
    let over = world.get(&id).await;
    assert_eq!((over.state(), &*over.reason_code), (ExecutionState::Failed, "start_timeout"));
    assert_eq!(
        over.reason,
        "its program did not run within 90s of the grant (the job's `start_timeout`); it waited for: there is no image `x`"
    );
    world.stop().await;
}

/// Pinned with the version: what the job says later is of later executions.
#[tokio::test(flavor = "multi_thread")]
async fn a_grant_has_what_its_version_of_the_job_says_of_the_cluster() {
    let world = World::start().await;
    let pairs = |name: &str, value: &str| [(name.to_owned(), value.to_owned())].into();
    let resources =
        Some(v1::Resources { requests: pairs("cpu", "500m"), limits: pairs("memory", "1Gi") });
    let definition = v1::JobDefinition {
        namespace: "reports".to_owned(),
        resources: resources.clone(),
        kubernetes: r#"{"spec":{"nodeSelector":{"disk":"ssd"}}}"#.to_owned(),
        ..job("hello")
    };
    world.create(definition.clone()).await;
    let first = world.execute("hello").await.id;
    let update = v1::UpdateJobRequest { definition: Some(job("hello")), ..Default::default() };
    world.jobs().await.update_job(update).await.unwrap();
    world.execute("hello").await;
    let world = world.restart().await;
    let mut executor = world.executor("e", 1).await;
    let pinned = executor.granted().await;
    let name = pinned.name.unwrap();
    executor.run(&name).await;
    executor.succeed(&name, "").await;
    let newer = executor.granted().await;
    assert_eq!(name.execution, first);
    assert_eq!(
        (&pinned.namespace, &pinned.kubernetes),
        (&definition.namespace, &definition.kubernetes)
    );
    assert_eq!(pinned.resources, resources);
    assert_eq!(pinned.installation, executor.registered.installation);
    assert!(!pinned.installation.is_empty());
    assert_eq!((&*newer.namespace, &*newer.kubernetes, &newer.resources), ("", "", &None));

    let wrong = v1::JobDefinition { namespace: "Team_A".to_owned(), ..job("other") };
    let request = v1::CreateJobRequest { definition: Some(wrong), dry_run: false };
    let (code, _, faults) = crate::world::refusal(world.jobs().await.create_job(request).await);
    assert_eq!(code, tonic::Code::InvalidArgument);
    assert_eq!(
        faults,
        [
            "namespace: is `Team_A`, not a namespace: 1 to 63 characters of `a-z`, `0-9` and `-`, with `-` neither first nor last; or leave it out for the executor's"
        ]
    );
    world.stop().await;
}
