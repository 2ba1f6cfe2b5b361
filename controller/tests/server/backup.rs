//! Backups of real controllers, from one kind of store into the other.

use crate::world::{Executor, configuration, job, on, registration, until};
use octavius_controller::{
    backup::{BackupError, RestoreError, Wanted, back_up, restore},
    configuration::Configuration,
    server::{Controller, Running},
    store::{Opener, embedded::EmbeddedOpener, keys},
};
use octavius_protocol::v1::{
    self, executions_client::ExecutionsClient, executors_client::ExecutorsClient,
    jobs_client::JobsClient, read_log_response::Part, secrets_client::SecretsClient,
};
use octavius_testbed::etcd::{Etcd, EtcdOptions};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};
use tonic::transport::Channel;

fn channel(running: &Running) -> Channel {
    Channel::from_shared(format!("http://{}", running.address)).unwrap().connect_lazy()
}

fn to(file: &Path) -> Wanted {
    Wanted { file: file.to_owned(), logs: false, force: false }
}

async fn execute(running: &Running) -> String {
    let request = v1::ExecuteRequest { job: "hello".to_owned(), ..v1::ExecuteRequest::default() };
    let answer = ExecutionsClient::new(channel(running)).execute(request).await.unwrap();
    answer.into_inner().execution.unwrap().id
}

async fn state(running: &Running, id: &str) -> v1::ExecutionState {
    let request = v1::GetExecutionRequest { id: id.to_owned(), wait: None, explain: false };
    let answer = ExecutionsClient::new(channel(running)).get_execution(request).await;
    answer.unwrap().into_inner().execution.unwrap().state()
}

async fn log(running: &Running, id: &str) -> Vec<u8> {
    let request = v1::ReadLogRequest { execution: id.to_owned(), ..v1::ReadLogRequest::default() };
    let answer = ExecutionsClient::new(channel(running)).read_log(request).await.unwrap();
    let mut answer = answer.into_inner();
    let mut bytes = Vec::new();
    while let Some(message) = answer.message().await.unwrap() {
        if let Some(Part::Chunk(chunk)) = message.part {
            bytes.extend(chunk.data);
        }
    }
    bytes
}

async fn executor(running: &Running) -> Executor {
    let mut client = ExecutorsClient::new(channel(running));
    let request = v1::RegisterRequest { capacity: 4, ..registration("one", 1, 1) };
    let registered = client.register(request).await.unwrap().into_inner();
    Executor { client, session: registered.session, registered }
}

/// A job with a secret, an execution that is over, one that runs, and one that waits.
struct Story {
    over: String,
    runs: String,
    waits: String,
    executor: Executor,
    lease: v1::LeaseName,
}

const LONG: usize = 100_000;

/// Does not pack to nothing.
fn long_log() -> String {
    let mut seed = 7_u64;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'a' + (seed >> 60) as u8)
    };
    (0..LONG).map(|_| next()).collect()
}

async fn story(running: &Running) -> Story {
    let secret = v1::SecretName { name: "TOKEN".to_owned(), ..v1::SecretName::default() };
    let definition = v1::JobDefinition { secrets: vec![secret], ..job("hello") };
    let request = v1::CreateJobRequest { definition: Some(definition), dry_run: false };
    JobsClient::new(channel(running)).create_job(request).await.unwrap();
    let set = v1::SetSecretRequest {
        job: "hello".to_owned(),
        name: "TOKEN".to_owned(),
        value: b"long enough".to_vec(),
        unmasked: false,
    };
    SecretsClient::new(channel(running)).set_secret(set).await.unwrap();
    let mut executor = executor(running).await;
    let over = execute(running).await;
    let lease = executor.granted().await.name.unwrap();
    executor.run(&lease).await;
    executor.append(&lease, 0, &long_log()).await.unwrap();
    executor.succeed(&lease, &long_log()).await;
    let is_over = || state(running, &over);
    until("over", is_over, |state| *state == v1::ExecutionState::Succeeded).await;
    let runs = execute(running).await;
    let lease = executor.granted().await.name.unwrap();
    executor.run(&lease).await;
    executor.append(&lease, 0, "before\n").await.unwrap();
    let waits = execute(running).await;
    Story { over, runs, waits, executor, lease }
}

/// All that is in an embedded store.
async fn all(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let backend = EmbeddedOpener::new(folder).open().await.unwrap();
    let mut entries = backend.snapshot().await.unwrap();
    let mut all = BTreeMap::new();
    while let Some(part) = futures::StreamExt::next(&mut entries).await {
        all.extend(part.unwrap().into_iter().map(|entry| (entry.key, entry.value.to_vec())));
    }
    all
}

/// Without what belongs to the place, and what is put back higher.
fn carried(mut all: BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    all.retain(|key, _| {
        let kind = keys::kind(key).unwrap_or_else(|| panic!("`{key}` is in no row of the table"));
        kind.backup == keys::Backup::Kept
    });
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_moves_from_one_store_to_the_other_and_back_and_what_runs_goes_on() {
    let (etcd, first, files) = (
        Etcd::start(EtcdOptions::default()).await,
        tempfile::tempdir().unwrap(),
        tempfile::tempdir().unwrap(),
    );
    let file = |name: &str| files.path().join(name);
    let embedded = configuration(&first);
    let running = Controller::start(&embedded).await.unwrap();
    let Story { over, runs, waits, mut executor, lease } = story(&running).await;
    let before = running.leadership().unwrap();

    // Through the controller that has the file open.
    let served = Configuration { app_port: running.address.port(), ..embedded.clone() };
    let taken = back_up(&served, &to(&file("served"))).await.unwrap();
    assert_eq!(taken.head.installation, before.installation);
    let mode = fs::metadata(file("served")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    running.stop().await;
    let with_logs = Wanted { logs: true, ..to(&file("one")) };
    let taken = back_up(&embedded, &with_logs).await.unwrap();
    assert!(taken.counts.objects > 0, "{taken:?}");
    assert_eq!(taken.gone, 0);
    let bytes = fs::read(file("one")).unwrap();
    let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(!holds("long enough"), "a secret lies open in the backup");
    assert!(!holds(fs::read_to_string(first.path().join("master.key")).unwrap().trim()));

    // Into the etcd, and from there into another folder: all keys are as they were.
    let (second, third) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let far = on(&etcd, &second);
    let restored = restore(&far, &file("one")).await.unwrap();
    assert_eq!(restored.counts, taken.counts);
    let missing = restored.master_key.unwrap().to_string();
    assert!(missing.contains("master.key"), "{missing}");
    back_up(&far, &Wanted { logs: true, ..to(&file("two")) }).await.unwrap();
    let back = configuration(&third);
    restore(&back, &file("two")).await.unwrap();
    let (was, is) = (all(first.path()).await, all(third.path()).await);
    assert_eq!(carried(was.clone()), carried(is.clone()));
    assert_ne!(was[keys::STORE_ID], is[keys::STORE_ID]);
    assert!(!is.contains_key(keys::SEQUENCE) && !is.contains_key(keys::LEADER));

    // A controller goes on there, when it has the key.
    let refused = Controller::start(&back).await.unwrap_err();
    assert!(refused.to_string().contains("master.key"), "{refused}");
    for folder in [&second, &third] {
        fs::copy(first.path().join("master.key"), folder.path().join("master.key")).unwrap();
    }
    let running = Controller::start(&far).await.unwrap();
    until("leads", async || running.leadership(), Option::is_some).await;
    let after = running.leadership().unwrap();
    assert_eq!(after.installation, before.installation);
    assert!(after.generation > before.generation + 1_000_000, "{after:?}");
    assert_eq!(log(&running, &over).await, long_log().into_bytes());
    assert_eq!(state(&running, &waits).await, v1::ExecutionState::Pending);
    // What ran goes on in its session, and nobody is told to let go of it.
    executor.client = ExecutorsClient::new(channel(&running));
    let held = [lease.clone()];
    let attended = executor.attend(&held, Duration::ZERO).await.unwrap();
    assert_eq!(attended.term.unwrap().generation, after.generation);
    executor.append(&lease, 7, "after\n").await.unwrap();
    executor.succeed(&lease, "before\nafter\n").await;
    until("over", || state(&running, &runs), |state| *state == v1::ExecutionState::Succeeded).await;
    assert_eq!(log(&running, &runs).await, b"before\nafter\n");
    let lease = executor.granted().await;
    assert_eq!(lease.secrets["TOKEN"], b"long enough", "its secret opens");
    assert_eq!(lease.name.unwrap().execution, waits);
    // A session that is new has a number that nobody was given since the backup.
    let mut client = ExecutorsClient::new(channel(&running));
    let other = client.register(registration("two", 2, 2)).await.unwrap().into_inner();
    assert!(other.session > executor.session + 100_000, "{}", other.session);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_left_alone_and_a_damaged_file_writes_nothing() {
    let (etcd, folder) = (Etcd::start(EtcdOptions::default()).await, tempfile::tempdir().unwrap());
    let file = folder.path().join("backup");
    let far = on(&etcd, &folder);
    let none = back_up(&far, &to(&file)).await.unwrap_err();
    assert!(none.is_lasting() && none.to_string().contains("no store"), "{none}");
    let none = back_up(&configuration(&folder), &to(&file)).await.unwrap_err();
    assert!(none.is_lasting() && none.to_string().contains("no store"), "{none}");
    assert_eq!(etcd.keys("octavius/").await, Vec::<String>::new());

    let running = Controller::start(&far).await.unwrap();
    until("leads", async || running.leadership(), Option::is_some).await;
    story(&running).await;
    back_up(&far, &to(&file)).await.unwrap();
    let led = restore(&far, &file).await.unwrap_err();
    assert!(matches!(led, RestoreError::Led { .. }), "{led}");
    running.stop().await;
    let full = restore(&far, &file).await.unwrap_err();
    assert!(matches!(full, RestoreError::NotEmpty { .. }), "{full}");
    assert!(full.to_string().contains("`octavius/`"), "{full}");
    assert_eq!(etcd.get("octavius/v1/schema").await.unwrap(), b"1");
    let there = back_up(&far, &to(&file)).await.unwrap_err();
    assert!(matches!(&there, BackupError::Exists(_)), "{there}");
    back_up(&far, &Wanted { force: true, ..to(&file) }).await.unwrap();

    let whole = fs::read(&file).unwrap();
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    let empty = Configuration { etcd_prefix: "empty/".to_owned(), ..far.clone() };
    let place = tempfile::tempdir().unwrap();
    let apart = Configuration { data_dir: place.path().join("data"), ..configuration(&place) };
    for damaged in [&whole[..0], &whole[..40], &whole[..whole.len() - 1], &changed, &whole[..400]] {
        fs::write(&file, damaged).unwrap();
        for target in [&empty, &apart] {
            let refused = restore(target, &file).await.unwrap_err();
            assert!(refused.is_lasting(), "{refused}");
            assert!(refused.to_string().contains("Nothing was written"), "{refused}");
        }
    }
    assert_eq!(etcd.keys("empty/").await, Vec::<String>::new());
    assert!(!apart.data_dir.exists());
    let left: Vec<PathBuf> =
        fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(!left.iter().any(|file| file.to_string_lossy().contains("unfinished")), "{left:?}");
}
