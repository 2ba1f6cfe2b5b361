//! Executions, from the wish to the end.

use crate::world::{SOON, World, job, refusal, span, until};
use octavius_protocol::v1::{self, ExecutionState};
use std::time::Duration;
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_goes_its_way_and_its_log_is_read() {
    let world = World::start().await;
    world.create(job("hello")).await;
    let mut executor = world.executor("e", 1).await;
    let parked = {
        let mut executor = executor.clone();
        tokio::spawn(async move { executor.granted().await })
    };
    let execution = world.execute("hello").await;
    assert_eq!(execution.state(), ExecutionState::Pending);
    let lease = parked.await.unwrap();
    assert_eq!((lease.job.as_str(), lease.command.as_slice()), ("hello", &["true".to_owned()][..]));
    let name = lease.name.unwrap();
    assert_eq!((name.execution.as_str(), name.attempt, name.epoch), (execution.id.as_str(), 1, 1));
    executor.run(&name).await;
    let appended = executor.append(&name, 0, "hello\n").await.unwrap();
    assert_eq!(appended.next_offset, 6);
    let live = world.get(&execution.id).await;
    assert_eq!((live.state(), live.log_size), (ExecutionState::Running, 6));
    assert_eq!(live.executor, "e");
    executor.succeed(&name, "hello\n").await;
    let over = world.get(&execution.id).await;
    assert_eq!(
        (over.state(), over.exit_code, over.log_size),
        (ExecutionState::Succeeded, Some(0), 6)
    );
    let states: Vec<_> = over.history.iter().map(v1::StateChange::state).collect();
    use ExecutionState::{Leased, Pending, Running, Starting, Succeeded};
    assert_eq!(states, [Pending, Leased, Starting, Running, Succeeded]);
    let mut executions = world.executions().await;
    let list = executions.list_executions(v1::ListExecutionsRequest::default()).await.unwrap();
    assert_eq!(list.into_inner().executions[0].state(), ExecutionState::Succeeded);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_arguments_are_answered_with_all_faults_and_store_nothing() {
    let world = World::start().await;
    let argument = |name: &str| v1::Argument {
        name: name.to_owned(),
        required: true,
        ..v1::Argument::default()
    };
    let definition = v1::JobDefinition {
        arguments: vec![argument("name"), argument("surname")],
        ..job("hello")
    };
    world.create(definition).await;
    let request = v1::ExecuteRequest {
        job: "hello".to_owned(),
        arguments: [("nmae".to_owned(), "Ada".to_owned())].into(),
        ..v1::ExecuteRequest::default()
    };
    let mut executions = world.executions().await;
    let (code, reason, faults) = refusal(executions.execute(request).await);
    assert_eq!((code, reason.as_str()), (Code::InvalidArgument, "BAD_ARGUMENTS"));
    assert_eq!(faults.len(), 3, "{faults:?}");
    assert!(faults[2].contains("did you mean `name`?"), "{faults:?}");
    let list = executions.list_executions(v1::ListExecutionsRequest::default()).await.unwrap();
    assert_eq!(list.into_inner().executions, []);
    let long = v1::ExecuteRequest {
        job: "hello".to_owned(),
        request_id: "x".repeat(129),
        ..v1::ExecuteRequest::default()
    };
    let (code, _, faults) = refusal(executions.execute(long).await);
    assert_eq!(code, Code::InvalidArgument);
    assert!(faults[0].starts_with("request_id: has 129 bytes"), "{faults:?}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_finds_the_first_execution_also_after_a_restart() {
    let world = World::start().await;
    world.create(job("hello")).await;
    let request = v1::ExecuteRequest {
        job: "hello".to_owned(),
        request_id: "once".to_owned(),
        ..v1::ExecuteRequest::default()
    };
    let first = world.executions().await.execute(request.clone()).await.unwrap().into_inner();
    assert!(first.created);
    let world = world.restart().await;
    let again = world.executions().await.execute(request).await.unwrap().into_inner();
    assert!(!again.created);
    assert_eq!(again.execution.unwrap().id, first.execution.unwrap().id);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_of_which_megabytes_are_said_is_stored_with_what_fits_and_a_marker() {
    let world = World::start().await;
    world.create(job("hello")).await;
    let mut executor = world.executor("e", 1).await;
    let execution = world.execute("hello").await.id;
    let name = executor.granted().await.name.unwrap();
    executor.run(&name).await;
    let ended = v1::Ended {
        state: ExecutionState::Failed.into(),
        reason_code: "c".repeat(1_000),
        reason: "é".repeat(1_500_000),
        exit_code: Some(3),
        log_cut: "x".repeat(1_000_000),
        note: "n".repeat(1_000_000),
        ..v1::Ended::default()
    };
    let told = executor.report(&name, v1::report_request::Event::Ended(ended)).await.unwrap();
    assert_eq!(told.verdict(), v1::ReportVerdict::Recorded, "{told:?}");
    let over = world.get(&execution).await;
    assert_eq!((over.state(), over.exit_code), (ExecutionState::Failed, Some(3)));
    let texts = [(&over.reason, 4096), (&over.log_cut, 4096), (&over.reason_code, 64)];
    for (text, most) in texts.into_iter().chain([(&over.notes[0], 4096)]) {
        assert!(text.ends_with('…') && (most - 4..=most).contains(&text.len()), "{}", text.len());
    }
    let world = world.restart().await;
    assert_eq!(world.get(&execution).await, over);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_reaches_a_parked_executor_at_once() {
    let world = World::start().await;
    world.create(job("hello")).await;
    let mut executor = world.executor("e", 1).await;
    let execution = world.execute("hello").await;
    let name = executor.granted().await.name.unwrap();
    executor.run(&name).await;
    let parked = {
        let (mut executor, held) = (executor.clone(), name.clone());
        tokio::spawn(async move {
            loop {
                let answer = executor
                    .attend(std::slice::from_ref(&held), Duration::from_secs(2))
                    .await
                    .unwrap();
                if let Some(order) = answer.orders.into_iter().next() {
                    return order;
                }
            }
        })
    };
    let request = v1::CancelRequest { id: execution.id.clone(), force: false };
    let cancelled = world.executions().await.cancel(request).await.unwrap().into_inner();
    let cancelled = cancelled.execution.unwrap();
    assert!(cancelled.cancelling && cancelled.state() == ExecutionState::Running);
    let order = tokio::time::timeout(Duration::from_secs(10), parked).await.unwrap().unwrap();
    assert_eq!((order.kind(), order.lease), (v1::OrderKind::Stop, Some(name)));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_silent_for_too_long_loses_its_attempts() {
    let world = World::start_with(|configuration| {
        configuration.executor_ping_deadline = Duration::from_millis(300);
        // Longer than a busy machine makes the executor of this test wait between two calls.
        configuration.executor_lost_after = Duration::from_secs(5);
    })
    .await;
    world.create(job("hello")).await;
    let mut executor = world.executor("e", 1).await;
    let execution = world.execute("hello").await;
    let name = executor.granted().await.name.unwrap();
    executor.run(&name).await;
    let lost = until(
        "lost",
        || world.get(&execution.id),
        |execution| execution.state() == ExecutionState::Lost,
    )
    .await;
    assert!(lost.reason.contains("executor e"), "{}", lost.reason);
    let list = executor.client.list_executors(v1::ListExecutorsRequest::default()).await.unwrap();
    assert_eq!(list.into_inner().executors[0].state(), v1::ExecutorState::Lost);
    // Who comes back is heard again, and told to stop what it holds.
    let back = executor.attend(std::slice::from_ref(&name), Duration::ZERO).await.unwrap();
    assert_eq!(back.orders[0].kind(), v1::OrderKind::Stop);
    // For 300 ms after each sign of life.
    let state = || {
        let (mut executor, held) = (executor.clone(), name.clone());
        async move {
            executor.attend(&[held], Duration::ZERO).await.unwrap();
            let list = v1::ListExecutorsRequest::default();
            let list = executor.client.list_executors(list).await.unwrap().into_inner();
            list.executors[0].state()
        }
    };
    until("ready", state, |state| *state == v1::ExecutorState::Ready).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_an_end_is_answered_with_it_or_when_the_time_is_over() {
    let world = World::start().await;
    world.create(job("hello")).await;
    let mut executor = world.executor("e", 1).await;
    let execution = world.execute("hello").await;
    let wait = |wait: Duration| {
        let request = v1::GetExecutionRequest {
            id: execution.id.clone(),
            wait: Some(span(wait)),
            explain: false,
        };
        let executions = world.executions();
        async move {
            let answer = executions.await.get_execution(request).await.unwrap();
            answer.into_inner().execution.unwrap().state()
        }
    };
    assert_eq!(wait(Duration::from_millis(50)).await, ExecutionState::Pending);
    let name = executor.granted().await.name.unwrap();
    executor.run(&name).await;
    let ended = async {
        executor.append(&name, 0, "hello\n").await.unwrap();
        executor.succeed(&name, "hello\n").await;
    };
    let waiting = tokio::time::timeout(SOON, wait(Duration::from_secs(60)));
    let (waited, ()) = tokio::join!(waiting, ended);
    assert_eq!(waited.expect("woken by the end"), ExecutionState::Succeeded);
    assert_eq!(wait(Duration::from_secs(60)).await, ExecutionState::Succeeded);
    let backwards = v1::GetExecutionRequest {
        id: execution.id,
        wait: Some(prost_types::Duration { seconds: -1, nanos: 0 }),
        explain: false,
    };
    let (code, _, faults) = refusal(world.executions().await.get_execution(backwards).await);
    assert_eq!(code, Code::InvalidArgument);
    assert_eq!(faults, ["wait: is below zero: give a time to wait, or none"]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_an_end_is_told_when_the_controller_ends() {
    let world = World::start().await;
    world.create(job("hello")).await;
    let execution = world.execute("hello").await;
    let request = v1::GetExecutionRequest {
        id: execution.id,
        wait: Some(span(Duration::from_secs(60))),
        explain: false,
    };
    let mut executions = world.executions().await;
    let waiting = tokio::spawn(async move { executions.get_execution(request).await });
    until(
        "parked",
        || world.look("/metrics"),
        |(_, metrics)| metrics.contains("octavius_queue_awaited 1"),
    )
    .await;
    world.stop().await;
    let answer = tokio::time::timeout(SOON, waiting).await.expect("told").unwrap();
    assert_eq!(answer.unwrap_err().code(), Code::Unavailable);
}
