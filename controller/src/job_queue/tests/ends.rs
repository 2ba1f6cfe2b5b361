//! Who waits for the end of an execution.

use super::*;

/// Returns once so many calls wait for an end.
async fn parked(world: &World, wanted: usize) {
    let until = Instant::now() + SOON;
    while world.queue.waits.available_permits() != 20_000 - wanted {
        assert!(Instant::now() < until, "{:?}", world.queue.waits);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_wakes_all_who_wait_for_it_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    world.job("greet").await;
    let first = world.queue.submit(wish("greet", "")).await.unwrap().execution.record.id;
    let other = world.queue.submit(wish("greet", "")).await.unwrap().execution.record.id;
    let wait = |id| {
        let queue = world.queue.clone();
        tokio::spawn(async move { queue.wait(id, Duration::from_secs(3_600)).await })
    };
    let woken: Vec<_> = (0..20).map(|_| wait(first)).collect();
    let left = wait(other);
    parked(&world, 21).await;
    world.queue.cancel(first, ada()).await.unwrap();
    for woken in woken {
        let shown = tokio::time::timeout(SOON, woken).await.expect("woken").unwrap().unwrap();
        assert_eq!(shown.record.attempt.outcome(), Some(Outcome::Cancelled));
    }
    assert!(!left.is_finished());
    // Who leaves gives its place back.
    left.abort();
    assert!(left.await.unwrap_err().is_cancelled());
    parked(&world, 0).await;
    world.system.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_an_end_is_told_when_the_queue_goes_away_and_may_ask_again() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    world.job("greet").await;
    let id = world.queue.submit(wish("greet", "")).await.unwrap().execution.record.id;
    let queue = world.queue.clone();
    let waiting = tokio::spawn(async move { queue.wait(id, Duration::from_secs(3_600)).await });
    parked(&world, 1).await;
    let panicked = world.queue.actor().inject_panic().await;
    assert!(matches!(panicked, Err(Unanswered::Restarted { .. })), "{panicked:?}");
    let told = tokio::time::timeout(SOON, waiting).await.expect("told").unwrap();
    assert!(matches!(told, Err(QueueError::Unanswered(_))), "{told:?}");
    assert_eq!(world.step_of(id).await, Step::Pending);
    let again = world.queue.wait(id, Duration::from_millis(50)).await.unwrap();
    assert_eq!(Step::from(again.record.attempt.state), Step::Pending);
    world.queue.cancel(id, ada()).await.unwrap();
    let over = world.queue.wait(id, Duration::from_secs(3_600)).await.unwrap();
    assert_eq!(over.record.attempt.outcome(), Some(Outcome::Cancelled));
    world.system.stop().await;
}
