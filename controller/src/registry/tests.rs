//! The actor on the real embedded store, with faults put between the two.

use super::*;
use crate::{
    caller::Caller,
    store::{
        Patience,
        embedded::EmbeddedOpener,
        faulty::{Fault, Faults, FaultyOpener},
    },
};
use futures::future::join_all;
use octavius_service::actor::{ActorSystem, Unanswered};
use std::{collections::BTreeSet, time::Duration};
use tempfile::TempDir;
use tokio::time::{Instant, timeout};

const SOON: Duration = Duration::from_secs(10);
/// The most jobs here.
const MOST: usize = 500;

struct World {
    system: ActorSystem,
    registry: RegistryHandle,
    store: StoreHandle,
    faults: Faults,
    folder: TempDir,
}

impl World {
    async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap()).await
    }

    async fn start_in(folder: TempDir) -> Self {
        let mut system = ActorSystem::start("test").unwrap();
        let (opener, faults) = FaultyOpener::new(Arc::new(EmbeddedOpener::new(folder.path())));
        let patience = Patience { doubt: Duration::from_millis(200), ..Patience::default() };
        let store = StoreHandle::start(&mut system, opener, patience).await.unwrap();
        let registry = RegistryHandle::start_for(&mut system, store.clone(), MOST).unwrap();
        registry.up(SOON).await.unwrap();
        Self { system, registry, store, faults, folder }
    }

    async fn restart(self) -> Self {
        self.system.stop().await;
        Self::start_in(self.folder).await
    }

    async fn create(&self, definition: JobDefinition) -> Result<Created, CreateError> {
        self.registry.create(definition, Caller::new("ada", Vec::new())).await
    }

    /// Describes as soon as the registry serves again.
    async fn describe(&self, name: &str) -> Result<Arc<Job>, LookUpError> {
        let began = Instant::now();
        loop {
            match self.registry.describe(name.to_owned()).await {
                Err(LookUpError::Unanswered(why)) => {
                    assert!(began.elapsed() < SOON, "the registry never came back: {why}");
                    let _ = self.registry.up(SOON).await;
                }
                answer => return answer,
            }
        }
    }
}

fn job(name: &str, description: &str) -> JobDefinition {
    JobDefinition {
        name: name.to_owned(),
        description: description.to_owned(),
        image_name: "hello".to_owned(),
        arguments: vec![Argument {
            name: "name".to_owned(),
            required: true,
            ..Argument::default()
        }],
        secrets: vec![SecretName { name: "TOKEN".to_owned(), ..SecretName::default() }],
        ..JobDefinition::default()
    }
}

#[tokio::test]
async fn a_job_is_stored_once_and_outlives_a_restart() {
    let world = World::start().await;
    let first = world.create(job("hello", "one")).await.unwrap();
    assert!(first.created);
    assert_eq!((first.job.version, first.job.created_by.as_str()), (1, "ada"));
    let again = world.create(job("hello", "one")).await.unwrap();
    assert_eq!(again, Created { job: first.job.clone(), created: false });
    let other = world.create(job("hello", "two")).await.unwrap_err();
    assert!(other.to_string().contains("version 1, by ada"), "{other}");

    let world = world.restart().await;
    assert_eq!(world.describe("hello").await.unwrap(), first.job);
    assert!(!world.create(job("hello", "one")).await.unwrap().created);
    let version = world.store.get(&keys::job_version(&first.job.uid, 1)).await.unwrap();
    let version: Job = serde_json::from_slice(&version.unwrap()).unwrap();
    assert_eq!(version, *first.job);
    world.system.stop().await;
}

#[tokio::test]
async fn of_many_who_create_one_name_at_once_exactly_one_does() {
    let world = World::start().await;
    let creates =
        (0..40).map(|n| world.create(job("hello", if n % 2 == 0 { "even" } else { "odd" })));
    let answers = join_all(creates).await;
    let created: Vec<_> = answers.iter().flatten().filter(|answer| answer.created).collect();
    assert_eq!(created.len(), 1);
    let kept = &created[0].job.definition.description;
    for (n, answer) in answers.iter().enumerate() {
        let same = *kept == if n % 2 == 0 { "even" } else { "odd" };
        match answer {
            Ok(answer) => assert!(same && answer.job == created[0].job),
            Err(CreateError::AlreadyExists { .. }) => assert!(!same),
            Err(other) => panic!("{other}"),
        }
    }
    world.system.stop().await;
}

#[tokio::test]
async fn nobody_hears_of_a_job_before_it_is_on_disk() {
    let world = World::start().await;
    world.faults.shut();
    let commits = world.faults.commits();
    let (registry, another) = (world.registry.clone(), world.registry.clone());
    let caller = || Caller::new("ada", Vec::new());
    let creating =
        tokio::spawn(async move { registry.create(job("hello", "one"), caller()).await });
    let began = Instant::now();
    while world.faults.commits() == commits {
        assert!(began.elapsed() < SOON, "nothing was committed");
        tokio::task::yield_now().await;
    }
    let equal = tokio::spawn(async move { another.create(job("hello", "one"), caller()).await });
    let short = Duration::from_millis(100);
    assert!(timeout(short, world.registry.describe("hello".to_owned())).await.is_err());
    assert!(timeout(short, world.registry.list(10, "")).await.is_err());
    let pin = world.registry.pin("hello".to_owned(), [("name".to_owned(), String::new())].into());
    assert!(timeout(short, pin).await.is_err());
    assert!(!creating.is_finished() && !equal.is_finished());
    world.faults.open();
    let created = timeout(SOON, creating).await.unwrap().unwrap().unwrap();
    assert!(created.created);
    assert_eq!(timeout(SOON, equal).await.unwrap().unwrap().unwrap().job, created.job);
    assert_eq!(world.describe("hello").await.unwrap(), created.job);
    world.system.stop().await;
}

#[tokio::test]
async fn what_the_store_refused_is_not_there_afterwards() {
    let world = World::start().await;
    world.faults.next([Fault::Refused]);
    let refused = world.create(job("hello", "one")).await.unwrap_err();
    assert!(matches!(refused, CreateError::NotStored(_)), "{refused}");
    let gone = world.describe("hello").await.unwrap_err();
    assert!(matches!(gone, LookUpError::Unknown { .. }), "{gone}");
    assert!(world.create(job("hello", "two")).await.unwrap().created);
    world.system.stop().await;
}

#[tokio::test]
async fn a_panic_loses_nothing_that_was_answered() {
    let world = World::start().await;
    let kept = world.create(job("hello", "one")).await.unwrap();
    for _ in 0..3 {
        let panicked = world.registry.inject_panic().await;
        assert_eq!(panicked, Err(Unanswered::Restarted { actor: NAME }));
        assert_eq!(world.describe("hello").await.unwrap(), kept.job);
    }
    world.system.stop().await;
}

#[tokio::test]
async fn pages_show_every_job_once_and_stay_small() {
    let world = World::start().await;
    let names: BTreeSet<String> = (0..30).map(|n| format!("job-{n:02}")).collect();
    let large = "x".repeat(4_000);
    for name in &names {
        let arguments = (0..60).map(|n| Argument {
            name: format!("a{n}"),
            description: "d".repeat(1_000),
            required: false,
            ..Argument::default()
        });
        let definition = JobDefinition { arguments: arguments.collect(), ..job(name, &large) };
        world.create(definition).await.unwrap();
    }
    let (mut seen, mut token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = world.registry.list(1_000, &token).await.unwrap();
        seen.extend(page.jobs.iter().map(|job| job.name.to_string()));
        pages += 1;
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, names.into_iter().collect::<Vec<_>>());
    assert!(pages > 1, "2 MiB of definitions came in one page");
    let two = world.registry.list(2, "").await.unwrap();
    assert_eq!((two.jobs.len(), two.next_page_token.as_str()), (2, "job-01"));
    let wrong = world.registry.list(2, "No Token").await.unwrap_err();
    assert!(matches!(wrong, LookUpError::PageToken(_)), "{wrong}");
    world.system.stop().await;
}

#[tokio::test]
async fn a_pinned_version_has_all_that_a_run_needs() {
    let world = World::start().await;
    let created = world.create(job("hello", "one")).await.unwrap();
    let arguments: BTreeMap<_, _> = [("name".to_owned(), "Ada".to_owned())].into();
    let pinned = world.registry.pin("hello".to_owned(), arguments.clone()).await.unwrap();
    assert_eq!((pinned.version, &pinned.uid), (1, &created.job.uid));
    assert_eq!(pinned.secrets, ["TOKEN".parse().unwrap()]);
    assert_eq!(pinned.arguments, [("name".parse().unwrap(), "Ada".to_owned())].into());
    let missing = world.registry.pin("hello".to_owned(), BTreeMap::new()).await.unwrap_err();
    assert!(
        matches!(missing, PinError::BadArguments { ref violations, .. } if violations.len() == 1)
    );
    let unknown = world.registry.pin("helo".to_owned(), arguments).await.unwrap_err();
    assert!(matches!(unknown, PinError::UnknownJob(_)), "{unknown}");
    let near = world.describe("helo").await.unwrap_err().to_string();
    assert!(near.contains("but there is `hello`"), "{near}");
    world.system.stop().await;
}

#[tokio::test]
async fn more_jobs_than_are_kept_are_refused_with_the_number() {
    let world = World::start().await;
    // Over the bound at once, in half of the places of the actor: those in flight count, too.
    let names: Vec<_> = (0..MOST + 50).map(|index| format!("job-{index}")).collect();
    let created = join_all(names.iter().map(|name| world.create(job(name, "x")))).await;
    let refused: Vec<_> = created.iter().filter_map(|created| created.as_ref().err()).collect();
    assert_eq!(refused.len(), 50, "{refused:?}");
    for error in refused {
        assert!(matches!(error, CreateError::Full { limit: MOST }), "{error}");
        assert!(error.to_string().contains("there are 500 jobs"), "{error}");
    }
    // What is there is found as before, and also after the next start.
    assert!(!world.create(job("job-0", "x")).await.unwrap().created);
    let world = world.restart().await;
    let full = world.create(job("another", "x")).await.unwrap_err();
    assert!(matches!(full, CreateError::Full { limit: MOST }), "{full}");
    assert!(world.describe("job-499").await.is_ok());
}
