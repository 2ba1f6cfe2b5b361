//! The actor on the real embedded store, beside a real registry and queue.

use super::{sweep::Sweeping, *};
use crate::{
    caller::Caller,
    job_queue::{self, QueueHandle, Retention, SubmitRequest, rules::QueueLimits},
    log_store::{LogFolder, LogHandle, LogLimits},
    registry::{Job, JobDefinition, RegistryHandle, SecretName, rules::definition::MOST_SECRETS},
    store::{Lead, Patience, embedded::EmbeddedOpener},
    vault::Vault,
};
use octavius_service::actor::ActorSystem;
use std::{sync::Arc, time::Duration};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(20);
const AT_ONCE: Sweeping =
    Sweeping { every: Duration::from_millis(20), at_least: Duration::from_millis(50) };
/// Ends before it begins: nothing is swept.
const NEVER: Sweeping =
    Sweeping { every: Duration::from_secs(3600), at_least: Duration::from_secs(3600) };

struct World {
    system: ActorSystem,
    store: StoreHandle,
    registry: RegistryHandle,
    secrets: SecretsHandle,
    queue: QueueHandle,
    vault: Vault,
    folder: TempDir,
}

impl World {
    async fn start(sweeping: Sweeping) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), Vault::for_tests(), sweeping).await
    }

    async fn start_in(folder: TempDir, vault: Vault, sweeping: Sweeping) -> Self {
        let mut system = ActorSystem::start("test").unwrap();
        let opener = Arc::new(EmbeddedOpener::new(folder.path()));
        let store = StoreHandle::start(&mut system, opener, Lead::sole(), Patience::default())
            .await
            .unwrap();
        let logs = LogFolder::open(&folder.path().join("logs")).unwrap();
        let logs = LogHandle::start(&mut system, store.clone(), logs, 1, LogLimits::default());
        let registry = RegistryHandle::start(&mut system, store.clone()).unwrap();
        let secrets =
            SecretsHandle::start_sweeping(&mut system, store.clone(), vault.clone(), sweeping)
                .unwrap();
        let parts = job_queue::Parts {
            store: store.clone(),
            registry: registry.clone(),
            secrets: secrets.clone(),
            logs: logs.unwrap(),
            limits: QueueLimits::default(),
            retention: Retention::of(SOON),
        };
        let queue = QueueHandle::start(&mut system, parts).unwrap();
        registry.up(SOON).await.unwrap();
        secrets.up(SOON).await.unwrap();
        queue.actor().up(SOON).await.unwrap();
        Self { system, store, registry, secrets, queue, vault, folder }
    }

    async fn restart(self, sweeping: Sweeping) -> Self {
        self.system.stop().await;
        Self::start_in(self.folder, self.vault, sweeping).await
    }

    async fn job(&self, name: &str, secrets: &[&str]) -> Arc<Job> {
        let secret = |name: &&str| SecretName { name: (*name).to_owned(), ..Default::default() };
        let definition = JobDefinition {
            name: name.to_owned(),
            command: vec!["true".to_owned()],
            secrets: secrets.iter().map(secret).collect(),
            ..Default::default()
        };
        self.registry.create(definition, ada()).await.unwrap().job
    }

    async fn set(&self, job: &Job, name: &str, value: &str) -> Result<SecretState, SecretError> {
        self.secrets.set(job, name, value.into(), false, &ada()).await
    }

    async fn submit(&self, job: &str) -> octavius_protocol::id::ExecutionId {
        let request = SubmitRequest {
            job: job.to_owned(),
            arguments: BTreeMap::new(),
            request_id: String::new(),
            by: ada(),
            own: Default::default(),
            require_executor: false,
            rerun: None,
        };
        self.queue.submit(request).await.unwrap().execution.record.id
    }

    /// The values in the store.
    async fn values(&self) -> usize {
        self.store.all(Range::prefix(keys::SECRET_VALUES, 100)).await.unwrap().len()
    }

    async fn until_values(&self, wanted: usize) {
        let began = Instant::now();
        while self.values().await != wanted {
            assert!(began.elapsed() < SOON, "{} values, not {wanted}", self.values().await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn ada() -> Caller {
    Caller::new("ada", Vec::new())
}

#[tokio::test]
async fn a_value_stays_as_long_as_a_live_execution_needs_it_and_no_longer() {
    let world = World::start(AT_ONCE).await;
    let job = world.job("deploy", &["TOKEN"]).await;
    world.set(&job, "TOKEN", "the first value").await.unwrap();
    let first = world.submit("deploy").await;
    world.set(&job, "TOKEN", "the second value").await.unwrap();
    let second = world.submit("deploy").await;
    world.set(&job, "TOKEN", "the third value").await.unwrap();
    world.secrets.unset(&job, "TOKEN", &ada()).await.unwrap();
    world.until_values(2).await; // the third was nobody's
    tokio::time::sleep(AT_ONCE.every * 10).await;
    assert_eq!(world.values().await, 2, "a value that is needed was deleted");
    for (execution, value) in [(first, "the first value"), (second, "the second value")] {
        let pins = job_queue::pins(&world.store, execution).await.unwrap().unwrap();
        let revealed = world.secrets.reveal(&job.uid, &pins.into_secrets()).await.unwrap();
        assert_eq!(revealed.expose().collect::<Vec<_>>(), [("TOKEN", value)]);
    }
    world.queue.cancel(first, ada()).await.unwrap();
    world.until_values(1).await;
    let world = world.restart(AT_ONCE).await;
    world.queue.cancel(second, ada()).await.unwrap();
    world.until_values(0).await;
    world.system.stop().await;
}

#[tokio::test]
async fn what_is_set_is_there_after_a_restart_and_another_job_has_none_of_it() {
    let world = World::start(NEVER).await;
    let job = world.job("deploy", &["TOKEN", "OTHER"]).await;
    let other = world.job("other", &["TOKEN"]).await;
    world.set(&job, "TOKEN", "the first value").await.unwrap();
    let world = world.restart(NEVER).await;
    let shown = |states: Vec<SecretState>| -> Vec<(String, bool)> {
        states.into_iter().map(|state| (state.name.to_string(), state.set.is_some())).collect()
    };
    let listed = shown(world.secrets.list(&job).await.unwrap());
    assert_eq!(listed, [("TOKEN".to_owned(), true), ("OTHER".to_owned(), false)]);
    assert_eq!(shown(world.secrets.list(&other).await.unwrap()), [("TOKEN".to_owned(), false)]);
    // Secrets hang on the uid: a job of the same name that is created later has another.
    let again = Job { uid: "another".to_owned(), ..(*job).clone() };
    assert!(shown(world.secrets.list(&again).await.unwrap()).iter().all(|(_, set)| !set));
    let gone = world.secrets.unset(&again, "TOKEN", &ada()).await.unwrap_err();
    assert!(matches!(gone, SecretError::NotSet { .. }), "{gone}");
    world.system.stop().await;
}

#[tokio::test]
async fn secrets_of_a_job_that_is_gone_go_too() {
    let world = World::start(NEVER).await;
    let job = world.job("deploy", &["TOKEN"]).await;
    world.set(&job, "TOKEN", "the first value").await.unwrap();
    let gone = Job { uid: "of a job that was deleted".to_owned(), ..(*job).clone() };
    world.set(&gone, "TOKEN", "a value of the former job").await.unwrap();
    assert_eq!(world.values().await, 2);
    let world = world.restart(AT_ONCE).await;
    world.until_values(1).await;
    let state = world.secrets.list(&job).await.unwrap();
    assert!(state[0].set.is_some(), "the wrong one went");
    world.system.stop().await;
}

#[tokio::test]
async fn former_values_are_bounded() {
    let world = World::start(NEVER).await;
    let job = world.job("deploy", &["TOKEN"]).await;
    for number in 0..=MOST_SECRETS {
        world.set(&job, "TOKEN", &format!("value number {number}")).await.unwrap();
    }
    let full = world.set(&job, "TOKEN", "one too many").await.unwrap_err();
    assert!(full.to_string().contains(&MOST_SECRETS.to_string()), "{full}");
    assert!(matches!(full, SecretError::Replaced { .. }), "{full}");
    world.system.stop().await;
}

#[tokio::test]
async fn a_value_in_the_place_of_another_is_not_handed_out() {
    let world = World::start(NEVER).await;
    let job = world.job("deploy", &["TOKEN", "OTHER"]).await;
    world.set(&job, "TOKEN", "the first value").await.unwrap();
    world.set(&job, "OTHER", "the other value").await.unwrap();
    let execution = world.submit("deploy").await;
    let pins = job_queue::pins(&world.store, execution).await.unwrap().unwrap().into_secrets();
    let values = world.store.all(Range::prefix(keys::SECRET_VALUES, 100)).await.unwrap();
    let writer = world.store.enlist("somebody else").await.unwrap();
    let swapped = vec![
        Write::Put(values[0].key.clone(), values[1].value.clone()),
        Write::Put(values[1].key.clone(), values[0].value.clone()),
    ];
    assert_eq!(writer.commit(swapped).await, Commit::Done);
    let revealed = world.secrets.reveal(&job.uid, &pins).await;
    assert!(matches!(revealed, Err(RevealError::Unopened(..))), "{revealed:?}");
    world.system.stop().await;
}
