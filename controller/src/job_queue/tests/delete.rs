//! The end of a job while others submit, cancel and delete it.

use super::*;
use crate::{
    job_queue::{DeleteJobError, attempt::State},
    registry::{DeleteError, LookUpError, PinError},
};

impl World {
    async fn delete(&self, job: &str, force: bool) -> Result<usize, DeleteJobError> {
        self.queue.delete_job(job.to_owned(), force, ada()).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_in_use_stays_unless_it_is_forced_and_then_what_runs_comes_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    world.job("greet").await;
    world.job("other").await;
    world.join(1).await;
    let runs = world.queue.submit(wish("greet", "")).await.unwrap().execution.record.id;
    let lease = world.poll(1).await[0];
    world.report(lease, Report::Prepared("thing".into())).await;
    world.report(lease, Report::Running).await;
    world.queue.expire("here".parse().unwrap(), Session(1)).await.unwrap();
    let mut waits = Vec::new();
    for _ in 0..3 {
        waits.push(world.queue.submit(wish("greet", "")).await.unwrap().execution.record.id);
    }
    let other = world.queue.submit(wish("other", "")).await.unwrap().execution.record.id;

    let refused = world.delete("greet", false).await.unwrap_err();
    let counted = matches!(&refused, DeleteJobError::InUse { waiting: 3, held: 1, .. });
    assert!(counted && refused.to_string().contains("--force"), "{refused}");
    // Refused, it lives as before.
    let fourth = world.queue.submit(wish("greet", "")).await.unwrap().execution.record.id;
    waits.push(fourth);

    assert_eq!(world.delete("greet", true).await.unwrap(), 4);
    for id in waits {
        assert_eq!(world.step_of(id).await, Step::Ended(Outcome::Cancelled));
    }
    assert_eq!(world.step_of(other).await, Step::Pending);
    assert_eq!(world.step_of(runs).await, Step::Running);
    let gone = world.queue.submit(wish("greet", "")).await.unwrap_err();
    let unknown = LookUpError::Unknown { name: "greet".to_owned(), nearest: None };
    assert_eq!(gone.to_string(), unknown.to_string());
    world.report(lease, Report::Ended(succeeded(b""))).await;
    assert_eq!(world.step_of(runs).await, Step::Ended(Outcome::Succeeded));
    let ended = world.queue.get(runs).await.unwrap();
    assert_eq!((ended.record.job.as_str(), ended.record.job_version), ("greet", 1));

    // What an earlier job of the name left is not of this one.
    world.job("greet").await;
    assert_eq!(world.delete("greet", false).await.unwrap(), 0);
    world.system.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_deletes_while_others_submit_nothing_is_left_of_a_deleted_job() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    world.job("greet").await;
    let first = world.queue.submit(wish("greet", "")).await.unwrap().execution.record.id;
    world.delete("greet", true).await.unwrap();
    let (mut deleted, mut refused) = (0, 0);
    for round in 0..60 {
        world.job("greet").await;
        let force = round % 3 == 0;
        let submits = future::join_all((0..6).map(|n| async move {
            // Spread, so that the deletion falls before, between and behind them.
            for _ in 0..n * (round % 7) {
                tokio::task::yield_now().await;
            }
            n
        }));
        let world_of = &world;
        let submits = async {
            let order = submits.await;
            let again = || world_of.queue.rerun(wish_again(first, ""));
            let submit = |n| match n % 2 {
                0 => world_of.queue.submit(wish("greet", "")).left_future(),
                _ => again().right_future(),
            };
            future::join_all(order.into_iter().map(submit)).await
        };
        let delete = async {
            // A rerun reads what was submitted first: it comes later by as much.
            for _ in 0..round % 4 {
                world.store.get(&keys::spec(first)).await.unwrap();
            }
            world.delete("greet", force).await
        };
        let (submitted, ended) = tokio::join!(submits, delete);
        let mut accepted = Vec::new();
        for answer in submitted {
            match answer {
                Ok(one) => accepted.push(one.execution.record.id),
                Err(SubmitError::Pin(PinError::Doomed(_) | PinError::LookUp(_))) => {}
                Err(other) => panic!("{other}"),
            }
        }
        match ended {
            Ok(cancelled) => {
                deleted += 1;
                let wanted = if force { accepted.len() } else { 0 };
                assert_eq!((cancelled, accepted.len()), (wanted, wanted), "round {round}");
            }
            Err(DeleteJobError::InUse { waiting, held: 0, .. }) => {
                refused += 1;
                assert!(!force && (1..=accepted.len()).contains(&waiting), "round {round}");
                world.delete("greet", true).await.unwrap();
            }
            Err(other) => panic!("{other}"),
        }
        for id in accepted {
            assert_eq!(world.step_of(id).await, Step::Ended(Outcome::Cancelled), "round {round}");
        }
    }
    assert!(
        deleted > 0 && refused > 0,
        "{deleted} were deleted, {refused} refused: no race was run"
    );
    world.system.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_delete_a_job_at_once_exactly_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    world.job("greet").await;
    let answers = future::join_all((0..20).map(|_| world.delete("greet", false))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    for refused in answers.into_iter().filter_map(Result::err) {
        let late = matches!(
            refused,
            DeleteJobError::Registry(DeleteError::UnderWay(_) | DeleteError::LookUp(_))
        );
        assert!(late, "{refused}");
    }
    world.system.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_ends_in_the_middle_lets_the_job_live() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    world.job("greet").await;
    let id = world.queue.submit(wish("greet", "")).await.unwrap().execution.record.id;
    world.faults.next([crate::store::faulty::Fault::Refused]);
    let failed = world.delete("greet", true).await.unwrap_err();
    assert!(matches!(failed, DeleteJobError::Queue { .. }), "{failed}");
    assert_eq!(world.step_of(id).await, Step::Pending);
    assert!(matches!(
        world.queue.get(id).await.unwrap().record.attempt.state,
        State::Pending { .. }
    ));
    assert_eq!(world.delete("greet", true).await.unwrap(), 1);
    world.system.stop().await;
}
