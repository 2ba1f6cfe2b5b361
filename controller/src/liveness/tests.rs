//! The actor on the real embedded store and with the real queue, with faults put below both.

use super::{handle::REGISTERING, record::ExecutorRecord, *};
use crate::{
    job_queue::{
        self,
        rules::{QueueLimits, RunnerKind},
    },
    log_store::{LogFolder, LogHandle, LogLimits},
    registry::RegistryHandle,
    secrets::SecretsHandle,
    store::{
        Lead, Patience,
        embedded::EmbeddedOpener,
        faulty::{Fault, Faults, FaultyOpener},
    },
};
use octavius_service::actor::{ActorSystem, Unanswered};
use std::{collections::BTreeMap, sync::Arc};
use tempfile::TempDir;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

const SOON: Duration = Duration::from_secs(20);
/// The most executors here.
const EXECUTORS: usize = 1_000;

struct World {
    system: ActorSystem,
    liveness: LivenessHandle,
    queue: QueueHandle,
    store: StoreHandle,
    faults: Faults,
    _folder: TempDir,
}

impl World {
    async fn start(ping_deadline: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut system = ActorSystem::start("test").unwrap();
        let (opener, faults) = FaultyOpener::new(Arc::new(EmbeddedOpener::new(folder.path())));
        let patience = Patience { doubt: Duration::from_millis(200), ..Patience::default() };
        let store = StoreHandle::start(&mut system, opener, Lead::sole(), patience).await.unwrap();
        let logs = LogFolder::open(&folder.path().join("logs")).unwrap();
        let logs = LogHandle::start(&mut system, store.clone(), logs, 1, LogLimits::default());
        let registry = RegistryHandle::start(&mut system, store.clone()).unwrap();
        let vault = crate::vault::Vault::for_tests();
        let secrets = SecretsHandle::start(&mut system, store.clone(), vault).unwrap();
        let parts = job_queue::Parts {
            store: store.clone(),
            registry,
            secrets,
            logs: logs.unwrap(),
            limits: QueueLimits::default(),
            retention: job_queue::Retention::of(SOON),
        };
        let queue = QueueHandle::start(&mut system, parts).unwrap();
        let lost_after = Duration::from_secs(900);
        let limits = LivenessLimits { executors: EXECUTORS, ping_deadline, lost_after };
        let installation = "ours".to_owned();
        let parts = Parts {
            store: store.clone(),
            queue: queue.clone(),
            lead: Lead::sole(),
            installation,
            limits,
        };
        let liveness = LivenessHandle::start(&mut system, parts).unwrap();
        queue.actor().up(SOON).await.unwrap();
        liveness.up(SOON).await.unwrap();
        Self { system, liveness, queue, store, faults, _folder: folder }
    }

    /// Asks again for as long as nobody is there, as an executor does.
    async fn register(&self, id: &str, instance: u128) -> Session {
        let began = Instant::now();
        loop {
            match self.liveness.register(registration(id, instance)).await {
                Ok(session) => return session,
                Err(why) => assert!(began.elapsed() < SOON, "never registered: {why}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn heard(&self, session: Session) -> Result<(), HeardError> {
        let began = Instant::now();
        loop {
            match self.liveness.heard(session, None).await {
                Err(HeardError::Unanswered(why)) => {
                    assert!(began.elapsed() < SOON, "nobody came back: {why}");
                    let _ = self.liveness.up(SOON).await;
                }
                answer => return answer.map(|_| ()),
            }
        }
    }

    async fn state(&self) -> ExecutorState {
        let began = Instant::now();
        loop {
            match self.liveness.list(10, "").await {
                Ok(page) => return page.executors[0].state,
                Err(why) => assert!(began.elapsed() < SOON, "never listed: {why}"),
            }
            let _ = self.liveness.up(SOON).await;
        }
    }
}

fn registration(id: &str, instance: u128) -> Registration {
    Registration {
        executor: id.parse().unwrap(),
        place: Uuid::from_u128(1),
        instance: Uuid::from_u128(instance),
        version: "test".to_owned(),
        protocol_level: 1,
        runner: RunnerKind::Process,
        labels: BTreeMap::new(),
        capacity: 4,
        offer: Default::default(),
        installation: String::new(),
    }
}

#[tokio::test]
async fn a_session_is_given_only_when_it_is_on_disk() {
    let world = World::start(Duration::from_secs(9)).await;
    world.faults.shut();
    let liveness = world.liveness.clone();
    let registering = tokio::spawn(async move { liveness.register(registration("e", 1)).await });
    let commits = world.faults.commits();
    let began = Instant::now();
    while world.faults.commits() == commits {
        assert!(began.elapsed() < SOON, "nothing was committed");
        tokio::task::yield_now().await;
    }
    assert!(!registering.is_finished());
    world.faults.open();
    let session = timeout(SOON, registering).await.unwrap().unwrap().unwrap();
    let record = world.store.get(&keys::executor(&"e".parse().unwrap())).await.unwrap().unwrap();
    let record: ExecutorRecord = serde_json::from_slice(&record).unwrap();
    assert_eq!((record.session, record.instance), (session, Uuid::from_u128(1)));
    let last = world.store.get(keys::LAST_SESSION).await.unwrap().unwrap();
    assert_eq!(last, session.to_string().as_bytes());
    world.system.stop().await;
}

#[tokio::test]
async fn a_session_that_the_store_refused_is_not_open() {
    let world = World::start(Duration::from_secs(9)).await;
    let first = world.register("e", 1).await;
    world.faults.next([Fault::Refused]);
    let refused = world.liveness.register(registration("e", 2)).await.unwrap_err();
    assert!(matches!(refused, RegisterError::Store { .. }), "{refused}");
    assert!(world.heard(first).await.is_ok(), "the older session ended for one that is not there");
    let second = world.register("e", 2).await;
    assert!(second > first);
    assert!(matches!(world.heard(first).await, Err(HeardError::Session(_))));
    world.system.stop().await;
}

#[tokio::test]
async fn sessions_outlive_a_panic_and_timers_begin_afresh() {
    // Longer than a busy machine takes from a sign of life to the look at it.
    let world = World::start(Duration::from_secs(4)).await;
    let session = world.register("e", 1).await;
    let began = Instant::now();
    while world.state().await != ExecutorState::Expired {
        assert!(began.elapsed() < SOON, "it never expired");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let panicked = world.liveness.inject_panic().await;
    assert_eq!(panicked, Err(Unanswered::Restarted { actor: NAME }));
    assert_eq!(world.state().await, ExecutorState::Unknown);
    world.heard(session).await.unwrap();
    assert_eq!(world.state().await, ExecutorState::Ready);
    world.system.stop().await;
}

#[tokio::test]
async fn an_executor_is_known_to_the_queue_also_after_the_queue_was_built_again() {
    let world = World::start(Duration::from_secs(9)).await;
    let session = world.register("e", 1).await;
    assert_eq!(world.queue.poll(session, 1, Vec::new(), Duration::ZERO).await.unwrap(), []);
    let _ = world.queue.actor().inject_panic().await;
    let began = Instant::now();
    loop {
        match world.queue.poll(session, 1, Vec::new(), Duration::ZERO).await {
            Ok(nothing) => break assert_eq!(nothing, []),
            Err(job_queue::QueueError::Session(session)) => panic!("{session} was forgotten"),
            Err(why) => assert!(began.elapsed() < SOON, "the queue never came back: {why}"),
        }
        let _ = world.queue.actor().up(SOON).await;
    }
    world.system.stop().await;
}

#[tokio::test]
async fn executors_that_come_back_together_register_in_turns() {
    let world = World::start(Duration::from_secs(9)).await;
    world.faults.shut();
    let registering = (0..EXECUTORS).map(|index| {
        let liveness = world.liveness.clone();
        tokio::spawn(async move { liveness.register(registration(&format!("e{index}"), 1)).await })
    });
    let registering: Vec<_> = registering.collect();
    let began = Instant::now();
    while world.liveness.vitals().waiting() < REGISTERING {
        assert!(began.elapsed() < SOON, "nobody registered");
        tokio::task::yield_now().await;
    }
    assert_eq!(world.liveness.vitals().waiting(), REGISTERING, "all of them at once");
    world.faults.open();
    let mut sessions = std::collections::BTreeSet::new();
    for registered in registering {
        sessions.insert(timeout(SOON, registered).await.unwrap().unwrap().unwrap());
    }
    assert_eq!(sessions.len(), EXECUTORS);
    assert_eq!(world.liveness.vitals().waiting(), 0);
    world.system.stop().await;
}
