//! Logs whose rest does not come, or comes late.

use super::*;
use rand::{RngExt, SeedableRng, rngs::StdRng};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_log_is_cut_while_the_log_store_takes_nothing_and_all_of_it_is_kept_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    // Longer than a busy machine takes to bring the rest.
    let log_within = Duration::from_secs(3);
    let limits = QueueLimits { log_within, ..QueueLimits::default() };
    let world = World::start_with(folder.path(), limits).await;
    world.job("greet").await;
    world.join(1).await;
    let id = world.queue.submit(wish("greet", "")).await.unwrap().execution.record.id;
    let lease = world.poll(1).await[0];
    world.report(lease, Report::Prepared("thing".into())).await;
    world.report(lease, Report::Running).await;

    let obstacle = folder.path().join("logs").join(id.to_string());
    std::fs::write(&obstacle, "a file where the folder must be").unwrap();
    let mut random = StdRng::seed_from_u64(3);
    let data: Vec<u8> = (0..2_000_000).map(|_| random.random()).collect();
    let part = |from: usize, to: usize| {
        let data = Bytes::copy_from_slice(&data[from..to]);
        vec![Chunk { observed_at: Timestamp::UNIX_EPOCH, data }]
    };
    for from in [0, 500_000] {
        let sent = part(from, from + 500_000);
        world.logs.append(lease.attempt, from as u64, sent, Bytes::new()).await.unwrap();
    }
    let until = Instant::now() + SOON;
    while world.logs.behind().is_none() {
        assert!(Instant::now() < until, "it takes segments");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let missing = world.report(lease, Report::Ended(succeeded(&data))).await;
    assert_eq!(missing, rules::Verdict::LogIncomplete(1_000_000));
    // Several times what the rest may take.
    let until = Instant::now() + 3 * log_within;
    while Instant::now() < until {
        assert_eq!(world.step_of(id).await, Step::Running);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    std::fs::remove_file(&obstacle).unwrap();
    let rest =
        world.logs.append(lease.attempt, 1_000_000, part(1_000_000, 2_000_000), Bytes::new());
    assert_eq!(rest.await.unwrap().next, 2_000_000);
    let until = Instant::now() + SOON;
    loop {
        let told = world.queue.report(Session(1), lease, Report::Ended(succeeded(&data))).await;
        match told {
            Ok(rules::Verdict::Recorded) => break,
            other => assert!(Instant::now() < until, "{other:?}"),
        }
    }
    let log = world.logs.info(lease.attempt).await.unwrap();
    assert_eq!((log.size, log.closed, log.cut.as_str()), (2_000_000, true, ""));
    world.system.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_whose_rest_does_not_come_is_cut_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let limits = QueueLimits { log_within: Duration::from_millis(500), ..QueueLimits::default() };
    let world = World::start_with(folder.path(), limits).await;
    world.job("greet").await;
    world.join(1).await;
    let id = world.queue.submit(wish("greet", "")).await.unwrap().execution.record.id;
    let lease = world.poll(1).await[0];
    world.report(lease, Report::Prepared("thing".into())).await;
    world.report(lease, Report::Running).await;
    world.logs.append(lease.attempt, 0, chunk(b"half"), Bytes::new()).await.unwrap();
    let missing = world.report(lease, Report::Ended(succeeded(b"half of it"))).await;
    assert_eq!(missing, rules::Verdict::LogIncomplete(4));
    let until = Instant::now() + SOON;
    while world.step_of(id).await != Step::Ended(Outcome::Succeeded) {
        assert!(Instant::now() < until, "it is not cut");
    }
    let log = world.logs.info(lease.attempt).await.unwrap();
    let cut = "the rest of the log did not arrive within 500ms";
    assert_eq!((log.size, log.closed, log.cut.as_str()), (4, true, cut));
    world.system.stop().await;
}
