//! What an executor that comes back says of what was given up as lost.

use crate::world::{Executor, World, exited, job, refusal, registration, until};
use futures::StreamExt as _;
use octavius_protocol::v1::{
    self, ExecutionState, OrderKind, ReportVerdict, report_request::Event,
};
use std::time::Duration;
use tonic::Code;

async fn impatient() -> World {
    let world = World::start_with(|configuration| {
        configuration.executor_ping_deadline = Duration::from_millis(300);
        // Longer than a busy machine makes an executor of these tests wait between two calls.
        configuration.executor_lost_after = Duration::from_secs(5);
    })
    .await;
    world.create(job("hello")).await;
    world
}

/// An execution that ran at an executor when that was given up, and had said so much of its log.
async fn lost(world: &World, holder: &mut Executor, log: &str) -> (v1::Execution, v1::LeaseName) {
    let execution = world.execute("hello").await;
    let name = holder.granted().await.name.unwrap();
    holder.run(&name).await;
    holder.append(&name, 0, log).await.unwrap();
    let over = |execution: &v1::Execution| execution.state() == ExecutionState::Lost;
    let lost = until("lost", || world.get(&execution.id), over).await;
    (lost, name)
}

fn ended(state: ExecutionState, exit_code: i32, log: &str) -> Event {
    Event::Ended(exited(state, exit_code, log))
}

/// A log as it is read, and why it is not whole.
async fn read(world: &World, execution: &str) -> (String, String) {
    use v1::read_log_response::Part;
    let request =
        v1::ReadLogRequest { execution: execution.to_owned(), ..v1::ReadLogRequest::default() };
    let mut parts = world.executions().await.read_log(request).await.unwrap().into_inner();
    let mut log = String::new();
    while let Some(answer) = parts.next().await {
        match answer.unwrap().part.unwrap() {
            Part::Chunk(chunk) => log += str::from_utf8(&chunk.data).unwrap(),
            Part::End(end) => return (log, end.cut),
            Part::Gap(gap) => panic!("{gap:?}"),
        }
    }
    panic!("no end behind {log}")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_word_and_the_log_of_who_held_what_was_lost_are_kept_and_change_nothing_else() {
    let world = impatient().await;
    let mut holder = world.executor("e", 1).await;
    let (lost, name) = lost(&world, &mut holder, "one\n").await;
    assert_eq!(lost.known_later, None);
    let (log, cut) = read(&world, &lost.id).await;
    assert!(log == "one\n" && cut.contains("executor was lost"), "{log} {cut}");

    let order =
        &holder.attend(std::slice::from_ref(&name), Duration::ZERO).await.unwrap().orders[0];
    assert_eq!((order.kind(), &order.lease), (OrderKind::Stop, &Some(name.clone())));
    let running = Event::Running(v1::Running::default());
    let goes_on = holder.report(&name, running).await.unwrap();
    assert_eq!(goes_on.verdict(), ReportVerdict::Recorded, "until it has stopped it");
    let appended = holder.append(&name, 4, "two\n").await.unwrap();
    assert_eq!((appended.next_offset, appended.closed), (8, false));
    let whole = "one\ntwo\nend\n";
    let succeeded = || ended(ExecutionState::Succeeded, 0, whole);
    let missing = holder.report(&name, succeeded()).await.unwrap();
    assert_eq!(
        (missing.verdict(), missing.log_offset),
        (ReportVerdict::LogIncomplete, 8),
        "{missing:?}"
    );
    let known = world.get(&lost.id).await.known_later.unwrap();
    assert!(known.log_is_coming && known.state() == ExecutionState::Succeeded, "{known:?}");
    holder.append(&name, 8, "end\n").await.unwrap();
    for _ in 0..2 {
        let answer = holder.report(&name, succeeded()).await.unwrap();
        assert_eq!(answer.verdict(), ReportVerdict::Recorded, "also when it is said again");
    }

    let now = world.get(&lost.id).await;
    let known = now.known_later.clone().unwrap();
    assert_eq!((known.state(), known.exit_code), (ExecutionState::Succeeded, Some(0)));
    assert_eq!((&*known.reason, known.log_is_coming), ("the program exited with 0", false));
    let ended_at = lost.history.last().unwrap().at.unwrap();
    let heard_at = known.at.unwrap();
    assert!((heard_at.seconds, heard_at.nanos) > (ended_at.seconds, ended_at.nanos), "{now:?}");
    let same = v1::Execution {
        known_later: None,
        log_size: lost.log_size,
        log_cut: lost.log_cut.clone(),
        ..now.clone()
    };
    assert_eq!(same, lost, "its end is what it was");
    assert_eq!((now.log_size, now.log_cut.as_str()), (12, ""));
    assert_eq!(read(&world, &lost.id).await, (whole.to_owned(), String::new()));
    // Now there is nothing more to be said of it.
    assert!(holder.append(&name, 12, "more\n").await.unwrap().closed);
    let orders = holder.attend(&[name], Duration::ZERO).await.unwrap().orders;
    assert!(orders.iter().all(|order| order.kind() == OrderKind::Release), "{orders:?}");
    let world = world.restart().await;
    assert_eq!(world.get(&lost.id).await, now);
    assert_eq!(read(&world, &lost.id).await, (whole.to_owned(), String::new()));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_and_no_other_word_is_heard_of_what_was_lost() {
    let world = impatient().await;
    let mut holder = world.executor("e", 1).await;
    let (lost, name) = lost(&world, &mut holder, "one\n").await;
    let whole = || ended(ExecutionState::Succeeded, 0, "one\n");
    let mut other = world.executor("other", 1).await;
    let newer = v1::LeaseName { epoch: name.epoch + 1, ..name.clone() };
    for (speaker, lease) in [(&mut other, &name), (&mut holder, &newer)] {
        let refused = speaker.report(lease, whole()).await.unwrap();
        assert_eq!(refused.verdict(), ReportVerdict::Superseded, "{refused:?}");
        assert!(speaker.append(lease, 4, "not mine\n").await.unwrap().closed);
    }
    // A newer process of the executor has what it had, and the older one has no say any more.
    let mut back = world.register(registration("e", 1, 2)).await;
    let (code, reason, _) = refusal(holder.report(&name, whole()).await);
    assert_eq!((code, reason.as_str()), (Code::FailedPrecondition, "SESSION_CLOSED"));
    assert_eq!(world.get(&lost.id).await, lost, "nothing of that was kept");

    assert_eq!(back.report(&name, whole()).await.unwrap().verdict(), ReportVerdict::Recorded);
    let known = world.get(&lost.id).await;
    for other in [
        ended(ExecutionState::Failed, 1, "one\n"),
        ended(ExecutionState::Succeeded, 3, "one\n"),
        ended(ExecutionState::Lost, 0, "one\n"),
    ] {
        let refused = back.report(&name, other).await.unwrap();
        assert_eq!(refused.verdict(), ReportVerdict::Superseded, "{refused:?}");
    }
    assert_eq!(world.get(&lost.id).await, known);
    assert_eq!(known.log_cut, "", "all of its log was here");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_about_what_was_cancelled_meanwhile_is_not_heard() {
    let world = impatient().await;
    let mut holder = world.executor("e", 1).await;
    let execution = world.execute("hello").await;
    let name = holder.granted().await.name.unwrap();
    holder.run(&name).await;
    let force = v1::CancelRequest { id: execution.id.clone(), force: true };
    world.executions().await.cancel(force).await.unwrap();
    let over = |execution: &v1::Execution| execution.state() == ExecutionState::Cancelled;
    let cancelled = until("cancelled", || world.get(&execution.id), over).await;
    let refused = holder.report(&name, ended(ExecutionState::Succeeded, 0, "")).await.unwrap();
    assert_eq!(refused.verdict(), ReportVerdict::Superseded);
    assert_eq!(world.get(&execution.id).await, cancelled);
    let orders = holder.attend(&[name], Duration::ZERO).await.unwrap().orders;
    assert_eq!(orders[0].kind(), OrderKind::Release);
    world.stop().await;
}
