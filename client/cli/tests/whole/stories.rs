//! Stories that users tell: an execution, its log, a cancel, a restart.

use crate::world::{World, eventually};
use octavius_client::{LogItem, v1::ExecutionState};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_execution_runs_and_its_log_is_its_log() {
    let world = World::start().await;
    world.job("greet", "echo \"hello $name\"; echo oops >&2; printf 'no newline'", &["name"]).await;
    let id = world.execute("greet", &[("name", "Ada, or 'x=y' $(HOME)")]).await;
    let execution = world.over(&id).await;
    assert_eq!(execution.state(), ExecutionState::Succeeded, "{execution:?}");
    assert_eq!(world.log(&id).await, b"hello Ada, or 'x=y' $(HOME)\noops\nno newline");
    let steps: Vec<_> = execution.history.iter().map(|step| step.state()).collect();
    use ExecutionState::{Leased, Pending, Running, Starting, Succeeded};
    assert_eq!(steps, [Pending, Leased, Starting, Running, Succeeded]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_followed_while_it_is_written() {
    let world = World::start().await;
    let go = world.path("go");
    world
        .job(
            "wait",
            "echo before; while [ ! -e \"$go\" ]; do sleep 0.02; done; echo after",
            &["go"],
        )
        .await;
    let id = world.execute("wait", &[("go", go.to_str().unwrap())]).await;
    let mut items = world.client.follow_log(&id, 0, 0, true).await.unwrap();
    let mut seen = Vec::new();
    while let Some(item) = futures::StreamExt::next(&mut items).await {
        match item.unwrap() {
            LogItem::Bytes { data, .. } => seen.extend_from_slice(&data),
            LogItem::Notice(notice) => panic!("{notice:?}"),
            LogItem::End(end) => {
                assert_eq!((end.size, end.unfinished), (seen.len() as u64, false));
                break;
            }
        }
        if seen == b"before\n" {
            std::fs::write(&go, "").unwrap(); // only now: the first line came while the job ran
        }
    }
    assert_eq!(seen, b"before\nafter\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_stops_what_runs_and_ends_what_waits_at_once() {
    let mut world = World::new(1);
    world.controller.start();
    world.executor.start();
    world.ready().await;
    world.job("sleep", "echo begun; exec sleep 300", &[]).await;
    let runs = world.execute("sleep", &[]).await;
    world.reaches(&runs, |execution| execution.log_size > 0).await;
    let waits = world.execute("sleep", &[]).await;
    let waiting = world.reaches(&waits, |execution| execution.reason.contains("free place")).await;
    assert_eq!(waiting.state(), ExecutionState::Pending);
    let cancelled = world.client.cancel(&waits).await.unwrap();
    assert_eq!(cancelled.state(), ExecutionState::Cancelled, "{cancelled:?}");
    let cancelling = world.client.cancel(&runs).await.unwrap();
    assert!(cancelling.cancelling, "{cancelling:?}");
    let cancelled = world.over(&runs).await;
    assert_eq!(cancelled.state(), ExecutionState::Cancelled, "{cancelled:?}");
    assert_eq!(world.log(&runs).await, b"begun\n");
    assert_eq!(world.log(&waits).await, b"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_ended_while_its_executor_was_away_is_told_by_the_next() {
    let mut world = World::start().await;
    let (begun, go) = (world.path("begun"), world.path("go"));
    let script = "echo > \"$begun\"; while [ ! -e \"$go\" ]; do sleep 0.02; done; echo done > \"$begun\"; echo told; exit 7";
    world.job("wait", script, &["begun", "go"]).await;
    let paths = [("begun", begun.to_str().unwrap()), ("go", go.to_str().unwrap())];
    let id = world.execute("wait", &paths).await;
    world.reaches(&id, |execution| execution.state() == ExecutionState::Running).await;
    world.executor.kill();
    std::fs::write(&go, "").unwrap();
    let ended = || async {
        let said = std::fs::read_to_string(&begun).unwrap_or_default();
        if said == "done\n" { Ok(()) } else { Err(said) }
    };
    eventually(ended).await.expect("the job went on without its executor");
    world.executor.start();
    let execution = world.over(&id).await;
    assert_eq!((execution.state(), execution.exit_code), (ExecutionState::Failed, Some(7)));
    assert_eq!(world.log(&id).await, b"told\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_end_when_they_are_asked_and_go_on_where_they_were() {
    let mut world = World::start().await;
    let go = world.path("go");
    world.job("wait", "while [ ! -e \"$go\" ]; do sleep 0.02; done; echo after", &["go"]).await;
    let id = world.execute("wait", &[("go", go.to_str().unwrap())]).await;
    world.reaches(&id, |execution| execution.state() == ExecutionState::Running).await;
    assert_eq!(world.executor.end().await, Some(0), "{}", world.executor.said());
    assert_eq!(world.controller.end().await, Some(0), "{}", world.controller.said());
    std::fs::write(&go, "").unwrap();
    world.controller.start();
    world.executor.start();
    let execution = world.over(&id).await;
    assert_eq!(execution.state(), ExecutionState::Succeeded, "{execution:?}");
    assert_eq!(world.log(&id).await, b"after\n");
}
