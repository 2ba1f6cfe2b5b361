//! A queue with as many that wait as it takes.

use super::*;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_refuses_with_its_bound_and_takes_more_when_one_of_those_who_wait_has_gone() {
    let folder = tempfile::tempdir().unwrap();
    let limits = QueueLimits { pending: 2, ..QueueLimits::default() };
    let world = World::start_with(folder.path(), limits).await;
    world.job("greet").await;
    let first = world.queue.submit(wish("greet", "first")).await.unwrap();
    world.queue.submit(wish("greet", "second")).await.unwrap();
    let refused = world.queue.submit(wish("greet", "third")).await.unwrap_err();
    assert!(matches!(refused, SubmitError::Full { limit: 2 }), "{refused:?}");
    // As callers have it.
    let status = Status::from(refused);
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(
        status.message(),
        "2 executions wait for an executor, the most that the queue takes: try again later"
    );
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "QUEUE_FULL");
    assert_eq!(details.retry_info().unwrap().retry_delay, Some(Duration::from_secs(10)));
    let help = &details.help().unwrap().links[0].description;
    assert_eq!(help, "`octavius executors` shows who takes work.");
    // Who asks for what waits already is no further one.
    let again = world.queue.submit(wish("greet", "first")).await.unwrap();
    let id = first.execution.record.id;
    assert_eq!((again.execution.record.id, again.created), (id, false));

    world.queue.cancel(id, ada()).await.unwrap();
    assert!(world.queue.submit(wish("greet", "third")).await.unwrap().created);
    let refused = world.queue.submit(wish("greet", "fourth")).await.unwrap_err();
    assert!(matches!(refused, SubmitError::Full { limit: 2 }), "{refused:?}");
    // What is granted does not wait any more.
    world.join(1).await;
    assert_eq!(world.poll(1).await.len(), 2);
    assert!(world.queue.submit(wish("greet", "fourth")).await.unwrap().created);
    world.system.stop().await;
}
