//! Executions that were kept long enough, as those see it who ask for them.

use crate::world::{World, job, refusal, span, until};
use octavius_protocol::v1::{self, read_log_response::Part};
use std::time::Duration;
use tonic::{Code, Status};

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_an_execution_that_was_kept_long_enough_is_told_the_key() {
    let keep = Duration::from_secs(1);
    let world = World::start_with(|configuration| configuration.keep_executions_for = keep).await;
    world.create(job("hello")).await;
    let request = v1::ExecuteRequest {
        job: "hello".to_owned(),
        request_id: "once".to_owned(),
        ..v1::ExecuteRequest::default()
    };
    let mut executions = world.executions().await;
    let first = executions.execute(request.clone()).await.unwrap().into_inner();
    let id = first.execution.unwrap().id;
    let mut executor = world.executor("e", 1).await;
    let name = executor.granted().await.name.unwrap();
    executor.run(&name).await;
    executor.append(&name, 0, "hello\n").await.unwrap();
    executor.succeed(&name, "hello\n").await;
    let waits = world.execute("hello").await.id;

    let get = || async {
        let request = v1::GetExecutionRequest { id: id.clone(), wait: None, explain: false };
        world.executions().await.get_execution(request).await
    };
    let gone = until("gone", get, Result::is_err).await;
    let text = gone.as_ref().unwrap_err().message().to_owned();
    assert!(text.contains("`keep_executions_for`") && text.contains("1s"), "{text}");
    let not_kept = (Code::NotFound, "EXECUTION_NOT_KEPT".to_owned(), Vec::new());
    assert_eq!(refusal(gone), not_kept);
    let read = v1::ReadLogRequest { execution: id.clone(), ..v1::ReadLogRequest::default() };
    assert_eq!(executions.read_log(read).await.unwrap_err().code(), Code::NotFound);
    let rerun = v1::RerunRequest { id: id.clone(), ..v1::RerunRequest::default() };
    assert_eq!(refusal(executions.rerun(rerun).await), not_kept);
    let cancel = v1::CancelRequest { id: id.clone(), force: false };
    assert_eq!(refusal(executions.cancel(cancel).await), not_kept);

    for narrowed in [
        v1::ListExecutionsRequest::default(),
        v1::ListExecutionsRequest { job: "hello".to_owned(), ..Default::default() },
        v1::ListExecutionsRequest { submitted_by: "anonymous".to_owned(), ..Default::default() },
    ] {
        let listed = executions.list_executions(narrowed).await.unwrap().into_inner().executions;
        let ids: Vec<_> = listed.into_iter().map(|execution| execution.id).collect();
        assert_eq!(ids, [waits.as_str()]);
    }
    let again = executions.execute(request).await.unwrap().into_inner();
    assert!(again.created, "the name of a wish is kept as long as what came of it");
    // It is counted when it is known to be gone, and the store may say so earlier.
    let counted = |(_, metrics): &(u16, String)| {
        metrics.lines().any(|line| line == "octavius_executions_removed_total 1")
    };
    until("counted", || world.look("/metrics"), counted).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_an_earlier_attempt_that_was_kept_long_enough_is_told_to_be_gone() {
    let keep = Duration::from_millis(1);
    let world = World::start_with(|configuration| configuration.keep_logs_for = keep).await;
    let pause = Some(span(Duration::ZERO));
    let retry = Some(v1::Retry { attempts: 3, pause, ..v1::Retry::default() });
    world.create(v1::JobDefinition { retry, ..job("hello") }).await;
    let id = world.execute("hello").await.id;
    let mut executor = world.executor("e", 1).await;
    for log in ["first\n", ""] {
        let name = executor.granted().await.name.unwrap();
        executor.run(&name).await;
        executor.append(&name, 0, log).await.unwrap();
        executor.fail(&name, log).await;
    }
    let name = executor.granted().await.name.unwrap();
    executor.run(&name).await;
    executor.append(&name, 0, "third\n").await.unwrap();

    // Logs that were kept long enough are looked for when a controller starts.
    let world = world.restart().await;
    let read = async |attempt| {
        let request =
            v1::ReadLogRequest { execution: id.clone(), attempt, ..v1::ReadLogRequest::default() };
        let mut log = world.executions().await.read_log(request).await?.into_inner();
        Ok::<_, Status>(log.message().await?.and_then(|message| message.part))
    };
    let gone = until("gone", || read(1), Result::is_err).await;
    let text = gone.as_ref().unwrap_err().message().to_owned();
    assert!(text.contains("`keep_logs_for`") && text.contains(&id), "{text}");
    assert_eq!(refusal(gone), (Code::NotFound, "LOG_NOT_KEPT".to_owned(), Vec::new()));
    // One that wrote nothing lost nothing, and what is written now is there.
    let Some(Part::End(end)) = read(2).await.unwrap() else { panic!("bytes of nothing") };
    assert_eq!((end.size, end.unfinished), (0, false));
    let Some(Part::Chunk(chunk)) = read(3).await.unwrap() else { panic!("nothing of the newest") };
    assert_eq!(&chunk.data[..], b"third\n");
    world.stop().await;
}
