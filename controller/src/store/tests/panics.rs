//! The actor panics in the middle of its work.

use super::*;
use octavius_service::actor::Unanswered;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn panics_in_the_middle_of_commits_lose_nothing_that_was_acknowledged() {
    const PANICS: usize = 4;
    let world = Arc::new(World::start().await);
    let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writers = ["a", "b", "c"].map(|owner| {
        let (world, over) = (world.clone(), over.clone());
        tokio::spawn(async move {
            let (mut acknowledged, mut lost) = (Vec::new(), 0);
            let mut number = 0;
            while !over.load(std::sync::atomic::Ordering::SeqCst) {
                let writer = world.enlist(owner).await;
                loop {
                    number += 1;
                    let key = format!("{owner}/{number:06}");
                    if writer.commit(vec![put(&key, "x")]).await != Commit::Done {
                        lost += 1;
                        break;
                    }
                    acknowledged.push(format!("t/{key}"));
                    if over.load(std::sync::atomic::Ordering::SeqCst) {
                        break;
                    }
                }
            }
            (acknowledged, lost)
        })
    });
    for _ in 0..PANICS {
        let before = world.faults.commits();
        until("commits go on", || world.faults.commits() > before + 20).await;
        let panicked = world.store.handle().inject_panic().await;
        assert!(matches!(panicked, Err(Unanswered::Restarted { .. })), "{panicked:?}");
    }
    over.store(true, std::sync::atomic::Ordering::SeqCst);
    let written = world.written().await;
    let (mut all_acknowledged, mut all_lost) = (0, 0);
    for writer in writers {
        let (acknowledged, lost) = answer(writer).await;
        all_acknowledged += acknowledged.len();
        let written = world.written().await;
        for key in acknowledged {
            assert!(written.contains_key(&key), "{key} was acknowledged and is lost");
        }
        all_lost += lost;
    }
    assert!(all_acknowledged > 60, "too few: {all_acknowledged}");
    assert!(!written.is_empty() && all_lost > 0, "no panic hit a commit");
    Arc::into_inner(world).unwrap().stop().await;
}
