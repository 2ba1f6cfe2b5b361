//! The queue on its real parts: the embedded store, the logs and the registry, in a temporary folder.

mod cost;
mod cuts;
mod delete;
mod ends;
mod full;
mod lists;
mod retention;
mod strangers;

use super::{
    attempt::Outcome,
    record::{Ending, Step},
    rules::{Join, LeaseName, Report, RunnerKind},
    *,
};
use crate::{
    caller::Caller,
    log_store::{Chunk, LogFolder, LogLimits},
    store::{
        Lead, Patience,
        embedded::EmbeddedOpener,
        faulty::{Faults, FaultyOpener},
        keys,
    },
    vault::Vault,
};
use bytes::Bytes;
use octavius_protocol::id::ExecutorId;
use octavius_service::actor::{ActorSystem, Unanswered};
use std::sync::Arc;

const SOON: Duration = Duration::from_secs(20);

/// A queue and what is below it.
struct World {
    system: ActorSystem,
    queue: QueueHandle,
    registry: RegistryHandle,
    logs: LogHandle,
    store: StoreHandle,
    faults: Faults,
}

impl World {
    async fn start(folder: &std::path::Path) -> Self {
        Self::start_with(folder, QueueLimits::default()).await
    }

    async fn start_with(folder: &std::path::Path, limits: QueueLimits) -> Self {
        Self::start_keeping(folder, limits, Retention::of(Duration::from_hours(1))).await
    }

    async fn start_keeping(
        folder: &std::path::Path,
        limits: QueueLimits,
        retention: Retention,
    ) -> Self {
        Self::over(Self::below(folder, false).await, folder, limits, retention).await
    }

    /// A store, which may be full from the beginning.
    async fn below(folder: &std::path::Path, full: bool) -> (ActorSystem, StoreHandle, Faults) {
        let mut system = ActorSystem::start("test").unwrap();
        let (opener, faults) = FaultyOpener::new(Arc::new(EmbeddedOpener::new(folder)));
        faults.full(full);
        let store = StoreHandle::start(&mut system, opener, Lead::sole(), Patience::default())
            .await
            .unwrap();
        (system, store, faults)
    }

    async fn over(
        (mut system, store, faults): (ActorSystem, StoreHandle, Faults),
        folder: &std::path::Path,
        limits: QueueLimits,
        retention: Retention,
    ) -> Self {
        let log_folder = LogFolder::open(&folder.join("logs")).unwrap();
        let behind_after = Duration::from_millis(200);
        let log_limits = LogLimits { segment: 800_000, behind_after, ..LogLimits::default() };
        let logs = LogHandle::start(&mut system, store.clone(), log_folder, 1, log_limits).unwrap();
        let registry = RegistryHandle::start(&mut system, store.clone()).unwrap();
        let secrets = SecretsHandle::start(&mut system, store.clone(), Vault::for_tests()).unwrap();
        let parts = Parts {
            store: store.clone(),
            registry: registry.clone(),
            secrets,
            logs: logs.clone(),
            limits,
            retention,
        };
        let queue = QueueHandle::start(&mut system, parts).unwrap();
        logs.up(SOON).await.unwrap();
        registry.up(SOON).await.unwrap();
        queue.actor().up(SOON).await.unwrap();
        if store.full().is_none() {
            let written = [keys::TIME_FOR_LOGS, keys::TIME_FOR_EXECUTIONS];
            assert!(store.has_all(&written).await);
        }
        Self { system, queue, registry, logs, store, faults }
    }

    async fn job(&self, name: &str) {
        let definition = crate::registry::JobDefinition {
            name: name.to_owned(),
            image_name: "busybox".to_owned(),
            command: vec!["true".to_owned()],
            ..Default::default()
        };
        self.registry.create(definition, ada()).await.unwrap();
    }

    async fn join(&self, session: u64) {
        let executor: ExecutorId = "here".parse().unwrap();
        let runner = RunnerKind::Process;
        let join = Join {
            executor,
            session: Session(session),
            runner,
            capacity: 4,
            labels: BTreeMap::new(),
            offer: Default::default(),
            drained: false,
        };
        self.queue.join(join).await.unwrap();
    }

    async fn poll(&self, session: u64) -> Vec<LeaseName> {
        let leased = self.queue.poll(Session(session), 4, Vec::new(), SOON).await.unwrap();
        leased.into_iter().map(|leased| leased.grant.lease).collect()
    }

    async fn report(&self, lease: LeaseName, report: Report) -> rules::Verdict {
        self.queue.report(Session(1), lease, report).await.unwrap()
    }

    /// Asks until somebody answers: the actor may be on its way back.
    async fn step_of(&self, id: ExecutionId) -> Step {
        let until = Instant::now() + SOON;
        loop {
            match self.queue.get(id).await {
                Ok(shown) => return shown.record.attempt.state.into(),
                Err(error) => assert!(Instant::now() < until, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Who asks, where nobody has to prove it.
fn ada() -> Caller {
    Caller::new("ada", Vec::new())
}

fn wish(job: &str, request_id: &str) -> SubmitRequest {
    SubmitRequest {
        job: job.to_owned(),
        arguments: BTreeMap::new(),
        request_id: request_id.to_owned(),
        by: ada(),
        own: Default::default(),
        require_executor: false,
        rerun: None,
    }
}

fn wish_again(id: ExecutionId, request_id: &str) -> RerunRequest {
    RerunRequest {
        id,
        same_version: false,
        arguments: BTreeMap::new(),
        request_id: request_id.to_owned(),
        by: ada(),
    }
}

fn succeeded(log: &[u8]) -> Ending {
    let crc = crc::Crc::<u64>::new(&crc::CRC_64_XZ).checksum(log);
    Ending {
        outcome: Outcome::Succeeded,
        code: "exit_code".to_owned(),
        reason: "the program exited with 0".to_owned(),
        exit_code: Some(0),
        log: Some((log.len() as u64, crc)),
        log_cut: String::new(),
        note: String::new(),
    }
}

fn chunk(data: &'static [u8]) -> Vec<Chunk> {
    vec![Chunk { observed_at: Timestamp::UNIX_EPOCH, data: Bytes::from_static(data) }]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_wish_said_many_times_at_once_is_one_execution() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    world.job("greet").await;
    let wishes = (0..50).map(|_| world.queue.submit(wish("greet", "the-wish")));
    let answers = future::join_all(wishes).await;
    let accepted: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    let first = accepted[0].execution.record.id;
    assert!(accepted.iter().all(|accepted| accepted.execution.record.id == first));
    assert_eq!(accepted.iter().filter(|accepted| accepted.created).count(), 1);
    assert_eq!(
        world
            .queue
            .list(ListRequest { page_size: 10, ..Default::default() })
            .await
            .unwrap()
            .executions
            .len(),
        1
    );
    world.job("other").await;
    let refused = world.queue.submit(wish("other", "the-wish")).await.unwrap_err();
    assert!(matches!(refused, SubmitError::OtherContent { first: known, .. } if known == first));
    world.system.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poll_that_waits_is_woken_by_a_submit_and_one_that_has_left_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    world.job("greet").await;
    world.join(1).await;
    let impatient = world.queue.poll(Session(1), 4, Vec::new(), SOON);
    assert!(tokio::time::timeout(Duration::from_millis(50), impatient).await.is_err());
    let (leases, accepted) = tokio::join!(world.poll(1), async {
        tokio::time::sleep(Duration::from_millis(50)).await; // so that the poll is there first; either order is right
        world.queue.submit(wish("greet", "")).await.unwrap()
    });
    assert_eq!(leases[0].attempt.execution, accepted.execution.record.id);
    world.system.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_execution_is_over_only_with_its_whole_log() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    world.job("greet").await;
    world.join(1).await;
    let id = world.queue.submit(wish("greet", "")).await.unwrap().execution.record.id;
    let lease = world.poll(1).await[0];
    assert_eq!(
        world.report(lease, Report::Prepared("thing".into())).await,
        rules::Verdict::Recorded
    );
    assert_eq!(world.report(lease, Report::Running).await, rules::Verdict::Recorded);
    let end = || Report::Ended(succeeded(b"hello\nworld\n"));
    world.logs.append(lease.attempt, 0, chunk(b"hello\n"), Bytes::new()).await.unwrap();
    assert_eq!(world.report(lease, end()).await, rules::Verdict::LogIncomplete(6));
    assert_eq!(world.step_of(id).await, Step::Running);
    assert!(world.queue.get(id).await.unwrap().reason.contains("its log is on its way"));
    world.logs.append(lease.attempt, 6, chunk(b"world\n"), Bytes::new()).await.unwrap();
    assert_eq!(world.report(lease, end()).await, rules::Verdict::Recorded);
    assert_eq!(world.report(lease, end()).await, rules::Verdict::Recorded, "said again");
    let over = world.queue.get(id).await.unwrap().record;
    assert_eq!((over.attempt.outcome(), over.log_size), (Some(Outcome::Succeeded), 12));
    world.system.stop().await;
}

/// P1 and P3, at each step of a life: the queue panics, and goes on where the store says that it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_panic_at_any_step_the_queue_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    world.job("greet").await;
    world.join(1).await;
    let panic = || async {
        let panicked = world.queue.actor().inject_panic().await;
        assert!(matches!(panicked, Err(Unanswered::Restarted { .. })), "{panicked:?}");
        let until = Instant::now() + SOON;
        while world.queue.held_by(Vec::new()).await.is_err() {
            assert!(Instant::now() < until, "it did not come back");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        world.join(1).await; // as `LivenessWatcher` does
    };
    let id = world.queue.submit(wish("greet", "")).await.unwrap().execution.record.id;
    panic().await;
    assert_eq!(world.step_of(id).await, Step::Pending);
    let lease = world.poll(1).await[0];
    panic().await;
    assert_eq!(world.step_of(id).await, Step::Leased);
    world.report(lease, Report::Prepared("thing".into())).await;
    panic().await;
    assert_eq!(world.step_of(id).await, Step::Starting);
    world.report(lease, Report::Running).await;
    panic().await;
    assert_eq!(world.step_of(id).await, Step::Running);
    world.report(lease, Report::Ended(succeeded(b""))).await;
    panic().await;
    assert_eq!(world.step_of(id).await, Step::Ended(Outcome::Succeeded));
    world.system.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_has_live_and_final_executions_once_each_in_pages() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    world.job("greet").await;
    world.job("other").await;
    let mut ids = Vec::new();
    for number in 0..9 {
        let job = if number % 3 == 0 { "other" } else { "greet" };
        let id = world.queue.submit(wish(job, "")).await.unwrap().execution.record.id;
        if number % 2 == 0 {
            let cancelled = world.queue.cancel(id, ada()).await.unwrap();
            assert_eq!(cancelled.record.attempt.outcome(), Some(Outcome::Cancelled));
        }
        ids.push((id, job));
    }
    ids.reverse();
    for job in [None, Some("greet")] {
        let mut seen = Vec::new();
        let mut page_token = String::new();
        loop {
            let job = job.map(|job| job.parse().unwrap());
            let wanted = rules::Wanted { job, ..Default::default() };
            let request = ListRequest { page_size: 2, page_token, wanted };
            let page = world.queue.list(request).await.unwrap();
            assert!(page.executions.len() <= 2);
            seen.extend(page.executions.iter().map(|shown| shown.record.id));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        let wanted = ids.iter().filter(|(_, of)| job.is_none_or(|job| job == *of));
        assert_eq!(seen, wanted.map(|(id, _)| *id).collect::<Vec<_>>(), "{job:?}");
    }
    let nonsense = ListRequest { page_token: "nonsense".to_owned(), ..Default::default() };
    assert!(matches!(world.queue.list(nonsense).await, Err(QueueError::PageToken(_))));
    world.system.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_history_knows_to_be_over_is_released_and_what_it_does_not_know_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    world.job("greet").await;
    world.join(1).await;
    let id = world.queue.submit(wish("greet", "")).await.unwrap().execution.record.id;
    world.queue.cancel(id, ada()).await.unwrap();
    let lease = |id| LeaseName {
        attempt: octavius_protocol::id::AttemptId {
            execution: id,
            attempt: octavius_protocol::id::AttemptNumber(1),
        },
        epoch: octavius_protocol::id::Epoch(1),
    };
    let held = vec![lease(id), lease(ExecutionId::from_bytes([7; 16]))];
    let orders =
        world.queue.attend(Session(1), held, Vec::new(), String::new(), SOON).await.unwrap().orders;
    assert_eq!(orders.len(), 1, "{orders:?}");
    assert_eq!((orders[0].lease, orders[0].kind), (lease(id), rules::OrderKind::Release));
    world.system.stop().await;
}

/// P1, P2: what is said again is acknowledged no earlier than what was said first is on disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_report_is_not_acknowledged_before_the_first_is_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    world.job("greet").await;
    world.join(1).await;
    world.queue.submit(wish("greet", "")).await.unwrap();
    let lease = world.poll(1).await[0];
    world.faults.shut();
    let prepared = || Report::Prepared("thing".to_owned());
    let mut first = Box::pin(world.report(lease, prepared()));
    let mut second = Box::pin(world.report(lease, prepared()));
    let answered = async {
        tokio::select! { _ = &mut first => (), _ = &mut second => () }
    };
    let early = tokio::time::timeout(Duration::from_millis(300), answered).await;
    assert!(early.is_err(), "acknowledged while the disk stood still");
    world.faults.open();
    assert_eq!(first.await, rules::Verdict::Recorded);
    assert_eq!(second.await, rules::Verdict::Recorded);
    world.system.stop().await;
}

/// The session and the view of an actor that was built again are lost with it: asking in the session tells.
async fn was_never_built_again(world: &World) {
    let held = world.queue.holds(
        Session(1),
        LeaseName {
            attempt: octavius_protocol::id::AttemptId {
                execution: ExecutionId::from_bytes([9; 16]),
                attempt: octavius_protocol::id::AttemptNumber(1),
            },
            epoch: octavius_protocol::id::Epoch(1),
        },
    );
    let held = held.await;
    assert!(matches!(held, Err(QueueError::NotKnown(_))), "the queue was loaded again: {held:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_grants_than_a_transaction_takes_go_back_at_once_without_harm() {
    let folder = tempfile::tempdir().unwrap();
    // All of them fit into it, also where the disk is slow.
    let limits = QueueLimits { acknowledge_within: Duration::from_secs(3), ..Default::default() };
    let world = World::start_with(folder.path(), limits).await;
    world.job("greet").await;
    let runner = RunnerKind::Process;
    let executor: ExecutorId = "here".parse().unwrap();
    let (labels, offer) = (BTreeMap::new(), Default::default());
    let join = Join {
        executor,
        session: Session(1),
        runner,
        capacity: 300,
        labels,
        offer,
        drained: false,
    };
    world.queue.join(join).await.unwrap();
    future::join_all((0..200).map(|_| world.queue.submit(wish("greet", "")))).await;
    let mut granted = 0;
    while granted < 200 {
        let free = 300;
        let leased = world.queue.poll(Session(1), free, Vec::new(), SOON).await.unwrap();
        granted = leased.len();
    }
    let until = Instant::now() + SOON;
    loop {
        let request = ListRequest { page_size: 300, ..Default::default() };
        let shown = world.queue.list(request).await.unwrap().executions;
        let back = shown.iter().filter(|shown| {
            shown.record.attempt.newest().0 >= 1 && shown.record.attempt.held().is_none()
        });
        if back.count() == 200 {
            break;
        }
        assert!(Instant::now() < until, "they never went back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    was_never_built_again(&world).await;
    world.system.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arguments_that_take_too_much_room_are_refused_and_harm_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    let argument =
        |name: usize| crate::registry::Argument { name: format!("a{name}"), ..Default::default() };
    let definition = crate::registry::JobDefinition {
        name: "large".to_owned(),
        command: vec!["true".to_owned(), "\u{1}".repeat(40_000)], // six bytes each in JSON
        arguments: (0..5).map(argument).collect(),
        ..Default::default()
    };
    world.registry.create(definition, ada()).await.unwrap();
    world.join(1).await;
    let arguments = |bytes: usize| {
        let value = "\u{1}".repeat(bytes); // as many as they are: they are sealed
        let arguments = (0..5).map(|name| (format!("a{name}"), value.clone())).collect();
        SubmitRequest { arguments, ..wish("large", "") }
    };
    let refused = world.queue.submit(arguments(104_000)).await.unwrap_err();
    assert!(matches!(refused, SubmitError::Invalid(_)), "{refused:?}");
    let id = world.queue.submit(arguments(98_000)).await.unwrap().execution.record.id;
    let spec = world.queue.get(id).await.unwrap().spec.unwrap();
    assert!(spec.arguments.values().all(|value| *value == "\u{1}".repeat(98_000)));
    was_never_built_again(&world).await;
    world.system.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_calls_that_wait_in_one_session_the_older_ends() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    world.join(1).await;
    let long = Duration::from_secs(60);
    let older = tokio::spawn({
        let queue = world.queue.clone();
        async move { queue.attend(Session(1), Vec::new(), Vec::new(), String::new(), long).await }
    });
    let short = Duration::from_millis(100);
    let newer = || world.queue.attend(Session(1), Vec::new(), Vec::new(), String::new(), short);
    let until = Instant::now() + SOON;
    while !older.is_finished() {
        newer().await.unwrap(); // it may come before the older one: then the next does not
        assert!(Instant::now() < until, "both go on");
    }
    assert_eq!(older.await.unwrap().unwrap(), Orders::default());
    world.system.stop().await;
}
