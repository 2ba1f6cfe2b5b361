//! Secrets over the wire: they go in, come with the grant alone, and nobody else is shown one.

use crate::world::{SOON, World, job, refusal, until};
use octavius_controller::{
    server::{Controller, Faults},
    store::{Commit, Range, Write, keys},
};
use octavius_protocol::v1::{
    self,
    ExecutionState::{Failed, Running},
    secrets_client::SecretsClient,
};
use std::{fs, os::unix::fs::PermissionsExt, sync::Arc, time::Duration};
use tonic::{Code, Status, transport::Channel};

const PLANTED: &str = "S3cr3t-7f1c-Zq";

async fn secrets(world: &World) -> SecretsClient<Channel> {
    SecretsClient::new(world.channel().await)
}

async fn set(world: &World, name: &str, value: &[u8]) -> Result<v1::SecretState, Status> {
    let request = v1::SetSecretRequest {
        job: "deploy".to_owned(),
        name: name.to_owned(),
        value: value.to_vec(),
        unmasked: false,
    };
    Ok(secrets(world).await.set_secret(request).await?.into_inner().secret.unwrap())
}

async fn create(world: &World, names: &[&str]) {
    let secret = |name: &&str| v1::SecretName { name: (*name).to_owned(), ..Default::default() };
    let secrets = names.iter().map(secret).collect();
    world.create(v1::JobDefinition { secrets, ..job("deploy") }).await;
}

fn value<'a>(lease: &'a v1::Lease, name: &str) -> Option<&'a str> {
    lease.secrets.get(name).map(|value| std::str::from_utf8(value).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_secrets_are_not_set_is_refused_by_name_with_the_remedy() {
    let world = World::start().await;
    create(&world, &["TOKEN", "PASSWORD"]).await;
    set(&world, "TOKEN", b"long enough").await.unwrap();
    let request = v1::ExecuteRequest { job: "deploy".to_owned(), ..Default::default() };
    let refused = world.executions().await.execute(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("`octavius secret set deploy PASSWORD`"), "{refused}");
    assert!(!refused.message().contains("TOKEN"), "{refused}");
    let mut executions = world.executions().await;
    let listed = executions.list_executions(v1::ListExecutionsRequest::default());
    assert!(listed.await.unwrap().into_inner().executions.is_empty(), "something was stored");

    let described = v1::DescribeJobRequest { name: "deploy".to_owned(), ..Default::default() };
    let described = world.jobs().await.describe_job(described).await.unwrap().into_inner();
    let shown: Vec<_> = described.secrets.iter().map(|one| (one.name.as_str(), one.set)).collect();
    assert_eq!(shown, [("TOKEN", true), ("PASSWORD", false)]);
    assert!(described.secrets[0].set_at.is_some() && described.secrets[0].set_by == "anonymous");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_deleted_and_created_again_has_none_of_the_secrets() {
    let world = World::start().await;
    create(&world, &["TOKEN"]).await;
    set(&world, "TOKEN", PLANTED.as_bytes()).await.unwrap();
    let delete = v1::DeleteJobRequest { name: "deploy".to_owned(), force: false };
    world.jobs().await.delete_job(delete).await.unwrap();
    create(&world, &["TOKEN"]).await;
    let list = v1::ListSecretsRequest { job: "deploy".to_owned() };
    let listed = secrets(&world).await.list_secrets(list).await.unwrap().into_inner().secrets;
    assert_eq!(listed.iter().map(|one| one.set).collect::<Vec<_>>(), [false]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_set_is_refused_and_no_refusal_shows_a_value() {
    let world = World::start().await;
    let (code, ..) = refusal(set(&world, "TOKEN", PLANTED.as_bytes()).await);
    assert_eq!(code, Code::NotFound, "there is no job");
    create(&world, &["TOKEN"]).await;
    let cases: [(&str, &[u8], &str); 4] = [
        ("TOKNE", PLANTED.as_bytes(), "name: is `TOKNE`"),
        ("TOKEN", b"S3cr3t", "value: has 6 bytes"),
        ("TOKEN", b"S3cr3t-\0-7f1c", "value: holds a NUL"),
        ("TOKEN", b"S3cr3t-\xff-7f1c", "value: is not UTF-8"),
    ];
    for (name, value, says) in cases {
        let answer = set(&world, name, value).await;
        let text = format!("{answer:?}");
        assert!(!text.contains("S3cr3t"), "{text}");
        let (code, reason, faults) = refusal(answer);
        assert_eq!((code, reason.as_str()), (Code::InvalidArgument, "INVALID_SECRET"));
        assert!(faults[0].starts_with(says), "{faults:?}");
    }
    let unset = v1::UnsetSecretRequest { job: "deploy".to_owned(), name: "TOKEN".to_owned() };
    let (code, reason, _) = refusal(secrets(&world).await.unset_secret(unset).await);
    assert_eq!((code, reason.as_str()), (Code::NotFound, "SECRET_NOT_SET"));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_keeps_the_values_that_it_was_submitted_with() {
    let world = World::start().await;
    create(&world, &["TOKEN"]).await;
    set(&world, "TOKEN", b"the first value").await.unwrap();
    world.execute("deploy").await;
    set(&world, "TOKEN", b"the second value").await.unwrap();
    world.execute("deploy").await;
    let unset = v1::UnsetSecretRequest { job: "deploy".to_owned(), name: "TOKEN".to_owned() };
    secrets(&world).await.unset_secret(unset).await.unwrap();
    let world = world.restart().await;
    let mut executor = world.executor("e", 2).await;
    let first = executor.granted().await;
    assert_eq!(value(&first, "TOKEN"), Some("the first value"));
    // Again to the same session as long as it is not named, and not when it is.
    let again = executor.attend(&[], Duration::ZERO).await.unwrap().grants;
    assert_eq!(value(&again[0], "TOKEN"), Some("the first value"));
    let first = first.name.unwrap();
    executor.run(&first).await;
    let named = executor.attend(std::slice::from_ref(&first), Duration::ZERO).await.unwrap();
    assert_eq!(named.grants, []);
    // One that runs it and has lost it gets it again, at once, for it is to be masked in its log.
    let held = std::slice::from_ref(&first);
    let lacking = executor.attend_and_ask(held, true, SOON).await.unwrap().grants;
    assert_eq!(value(&lacking[0], "TOKEN"), Some("the first value"));
    // An executor that starts again before it let the program go has lost it, and does not name it.
    let mut executor = world.executor("e", 2).await;
    let again = executor.attend(&[], Duration::ZERO).await.unwrap().grants;
    assert_eq!(again[0].name.as_ref(), Some(&first));
    assert_eq!(value(&again[0], "TOKEN"), Some("the first value"));
    executor.attend(std::slice::from_ref(&first), Duration::ZERO).await.unwrap();
    executor.succeed(&first, "").await;
    let second = executor.granted().await;
    assert_eq!(value(&second, "TOKEN"), Some("the second value"));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_and_a_master_key_that_do_not_belong_together_are_refused_by_name() {
    let world = World::start().await;
    create(&world, &["TOKEN"]).await;
    set(&world, "TOKEN", PLANTED.as_bytes()).await.unwrap();
    let configuration = world.configuration.clone();
    let key = configuration.data_dir.join("master.key");
    let mode = fs::metadata(&key).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    world.running.stop().await;
    let right = fs::read(&key).unwrap();
    let other = tempfile::tempdir().unwrap();
    octavius_controller::vault::Vault::open(other.path(), true).unwrap();
    let other = fs::read(other.path().join("master.key")).unwrap();
    type Spoil<'a> = Box<dyn Fn() + 'a>;
    let cases: [(&str, Spoil<'_>); 4] = [
        ("is missing", Box::new(|| fs::remove_file(&key).unwrap())),
        ("another key", Box::new(|| fs::write(&key, &other).unwrap())),
        ("no master key", Box::new(|| fs::write(&key, "nonsense").unwrap())),
        (
            "0644",
            Box::new(|| fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap()),
        ),
    ];
    for (says, spoil) in cases {
        spoil();
        let spoiled = fs::read(&key).ok();
        let error = Controller::start(&configuration).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(says) && text.contains("master.key"), "{text}");
        assert!(error.is_configuration(), "{text}");
        assert_eq!(fs::read(&key).ok(), spoiled, "it was overwritten");
        fs::write(&key, &right).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let running = Controller::start(&configuration).await.unwrap();
    running.stop().await;
}

/// P5: what does not open is never guessed at. The execution fails and names the secret; others are not held up.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_was_damaged_on_disk_starts_nothing_and_is_named_with_the_remedy() {
    let world = World::start().await;
    create(&world, &["TOKEN"]).await;
    world.create(job("plain")).await;
    set(&world, "TOKEN", PLANTED.as_bytes()).await.unwrap();
    let broken = world.execute("deploy").await.id;
    let plain = world.execute("plain").await.id;
    let world = world
        .restart_after(async |store| {
            let values = store.all(Range::prefix(keys::SECRET_VALUES, 100)).await.unwrap();
            let mut bytes = values[0].value.to_vec();
            *bytes.last_mut().unwrap() ^= 1;
            let writer = store.enlist("somebody else").await.unwrap();
            let damaged = vec![Write::Put(values[0].key.clone(), bytes.into())];
            assert_eq!((values.len(), writer.commit(damaged).await), (1, Commit::Done));
        })
        .await;
    let mut executor = world.executor("e", 2).await;
    executor.attend(&[], Duration::ZERO).await.unwrap();
    let lease = executor.granted().await;
    assert_eq!(lease.name.as_ref().unwrap().execution, plain, "{lease:?}");
    let failed = until("failed", || world.get(&broken), |now| now.state() == Failed).await;
    assert_eq!((failed.reason_code.as_str(), failed.exit_code), ("secret_unreadable", None));
    for told in ["the value of TOKEN cannot be opened", "damaged", "set the secret again"] {
        assert!(failed.reason.contains(told), "{}", failed.reason);
    }
    let running = failed.history.iter().any(|step| step.state() == Running);
    assert!(!running && !failed.reason.contains(PLANTED), "{failed:?}");
    // Set again, it is what the next one gets.
    let name = lease.name.unwrap();
    executor.run(&name).await;
    executor.succeed(&name, "").await;
    set(&world, "TOKEN", b"another value").await.unwrap();
    world.execute("deploy").await;
    assert_eq!(value(&executor.granted().await, "TOKEN"), Some("another value"));
    world.stop().await;
}

/// Whatever panics while a secret is set, and while it is handed out, nothing of it is said by anybody at any
/// level, or lies anywhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_in_nothing_that_is_said_or_stored_whatever_panics() {
    let traced = tempfile::tempdir().unwrap();
    let trace = traced.path().join("trace");
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(Arc::new(fs::File::create(&trace).unwrap()))
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let world = World::start().await;
    let faults = world.running.faults();
    create(&world, &["TOKEN"]).await;
    for actor in Faults::ACTORS {
        let setting = set(&world, "TOKEN", PLANTED.as_bytes());
        let (_, panicked) = tokio::join!(setting, faults.panic(actor));
        assert!(panicked.unwrap().is_err());
        let again = || set(&world, "TOKEN", PLANTED.as_bytes());
        until("set", again, Result::is_ok).await.unwrap();
    }
    let execute = || async {
        let request = v1::ExecuteRequest { job: "deploy".to_owned(), ..Default::default() };
        world.executions().await.execute(request).await
    };
    until("executed", execute, Result::is_ok).await.unwrap();
    until("ready", || world.look("/readyz"), |(status, _)| *status == 200).await;
    let mut executor = world.executor("e", 1).await;
    for actor in Faults::ACTORS {
        let _ = executor.attend(&[], Duration::ZERO).await; // it lives, and names nothing
        let (_, panicked) = tokio::join!(executor.poll(Duration::ZERO), faults.panic(actor));
        assert!(panicked.unwrap().is_err());
        until("ready", || world.look("/readyz"), |(status, _)| *status == 200).await;
    }
    let began = tokio::time::Instant::now();
    let lease = loop {
        let attended = executor.attend(&[], Duration::from_millis(100)).await;
        let polled = executor.poll(Duration::from_millis(100)).await.unwrap_or_default();
        let repeated = attended.map(|attended| attended.grants).unwrap_or_default();
        if let Some(lease) = repeated.into_iter().chain(polled).next() {
            break lease;
        }
        assert!(began.elapsed() < SOON, "nothing was granted");
    };
    assert_eq!(value(&lease, "TOKEN"), Some(PLANTED), "it is not what is looked for");
    let (_, metrics) = world.look("/metrics").await;
    let folder = world.configuration.data_dir.clone();
    world.running.stop().await;
    let mut all = vec![("metrics".to_owned(), metrics.into_bytes())];
    all.push(("trace".to_owned(), fs::read(&trace).unwrap()));
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                let bytes = fs::read(entry.path()).unwrap();
                all.push((entry.path().display().to_string(), bytes));
            }
        }
    }
    assert!(all[1].1.len() > 10_000, "nothing was traced: {}", all[1].1.len());
    let bytes: Vec<String> = PLANTED.bytes().map(|byte| byte.to_string()).collect();
    let forms = [PLANTED.to_owned(), "UzNjcjN0LTdmMWMtWn".to_owned(), bytes.join(", ")];
    for (place, bytes) in all {
        for form in &forms {
            let found = bytes.windows(form.len()).any(|part| part == form.as_bytes());
            assert!(!found, "{form} is in {place}");
        }
    }
}
