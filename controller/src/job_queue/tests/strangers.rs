//! What executors hold and the queue has no record of.

use super::*;

fn lease(execution: ExecutionId) -> LeaseName {
    let attempt = octavius_protocol::id::AttemptNumber(1);
    let epoch = octavius_protocol::id::Epoch(1);
    LeaseName { attempt: AttemptId { execution, attempt }, epoch }
}

/// What an executor says of it, from the first to the last.
fn reports() -> [Report; 3] {
    [Report::Prepared("thing".into()), Report::Running, Report::Ended(succeeded(b"hello\n"))]
}

/// What an executor that holds these is told to do.
async fn orders(world: &World, held: Vec<LeaseName>) -> Vec<rules::Order> {
    let attended = world.queue.attend(Session(1), held, Vec::new(), String::new(), Duration::ZERO);
    attended.await.unwrap().orders
}

/// Its holder may forget what does not run, and nothing else.
async fn verdicts_where_younger_ones_were_removed(world: &World, held: LeaseName) {
    for (report, over) in reports().into_iter().zip([true, false, true]) {
        let verdict = world.queue.report(Session(1), held, report.clone()).await;
        match verdict {
            Ok(rules::Verdict::Superseded(_)) => assert!(over, "{report:?}"),
            Err(QueueError::NotKnown(_)) => assert!(!over, "{report:?}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_executor_holds_of_an_execution_that_is_gone_is_over_once_nothing_of_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    world.job("greet").await;
    world.join(1).await;
    let gone = lease(world.ran(wish("greet", ""), &[]).await);
    let world = world.keeping_nothing(folder.path()).await;
    world.until_keys(&[]).await;
    // The next life knows, too.
    let world = world.keeping_nothing(folder.path()).await;

    let stranger = lease(ExecutionId::from_bytes([7; 16]));
    let held = vec![gone, stranger];
    let orders = orders(&world, held).await;
    assert_eq!(orders, [], "their programs may run");
    verdicts_where_younger_ones_were_removed(&world, gone).await;
    for report in reports() {
        let verdict = world.queue.report(Session(1), stranger, report).await;
        assert!(matches!(verdict, Err(QueueError::NotKnown(_))), "{verdict:?}");
    }
    for lease in [gone, stranger] {
        let held = world.queue.holds(Session(1), lease).await;
        assert!(matches!(held, Err(QueueError::NotKnown(_))), "it may append to no log: {held:?}");
    }
    was_never_built_again(&world).await;
    world.system.stop().await;
}

/// As where a backup is older than the time for which executions are kept: the life after it keeps nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_run_and_a_restored_store_has_forgotten_is_left_alone_however_old_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("octavius.redb");
    let backup = folder.path().join("backup");
    let world = World::start(folder.path()).await;
    world.job("greet").await;
    world.join(1).await;
    world.ran(wish("greet", ""), &[]).await;
    world.system.stop().await;
    std::fs::copy(&file, &backup).unwrap();
    let world = World::start(folder.path()).await;
    world.join(1).await;
    let forgotten = world.queue.submit(wish("greet", "")).await.unwrap().execution.record.id;
    let held = world.poll(1).await[0];
    assert_eq!(held, lease(forgotten));
    world.system.stop().await;

    std::fs::copy(&backup, &file).unwrap();
    let retention = Retention::of(Duration::ZERO);
    let world = World::start_keeping(folder.path(), QueueLimits::default(), retention).await;
    world.join(1).await;
    // What the backup knew is removed, and that does not make the forgotten one old.
    world.until_keys(&[]).await;
    assert_eq!(orders(&world, vec![held]).await, []);
    for report in reports() {
        let verdict = world.queue.report(Session(1), held, report).await;
        assert!(matches!(verdict, Err(QueueError::NotKnown(_))), "{verdict:?}");
    }
    let holds = world.queue.holds(Session(1), held).await;
    assert!(matches!(holds, Err(QueueError::NotKnown(_))), "{holds:?}");
    // A younger one is removed. Still nothing that may run is let go of; what does not run is taken for removed, too.
    let younger = world.queue.submit(wish("greet", "")).await.unwrap().execution.record.id;
    world.queue.cancel(younger, ada()).await.unwrap();
    world.until_keys(&[]).await;
    assert_eq!(orders(&world, vec![held]).await, []);
    verdicts_where_younger_ones_were_removed(&world, held).await;
    was_never_built_again(&world).await;
    world.system.stop().await;
}
