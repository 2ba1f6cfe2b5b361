//! The actor on the real embedded store, with faults put between the two.

use super::{rules::Wish, *};
use crate::{
    caller::Caller,
    store::{
        Lead, Patience, Range,
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
        let store = StoreHandle::start(&mut system, opener, Lead::sole(), patience).await.unwrap();
        let registry = RegistryHandle::start_for(&mut system, store.clone(), MOST).unwrap();
        registry.up(SOON).await.unwrap();
        Self { system, registry, store, faults, folder }
    }

    async fn restart(self) -> Self {
        self.system.stop().await;
        Self::start_in(self.folder).await
    }

    async fn create(&self, definition: JobDefinition) -> Result<Changed, ChangeError> {
        self.registry.create(definition, ada()).await
    }

    async fn update(
        &self,
        definition: JobDefinition,
        expected_version: u64,
    ) -> Result<Changed, ChangeError> {
        let wish = Wish::Update { create: false, expected_version };
        self.registry.change(definition, wish, false, ada()).await
    }

    async fn delete(&self, name: &str) -> Result<(), DeleteError> {
        let doomed = self.registry.doom(name.to_owned()).await?;
        self.registry.delete(doomed, ada()).await
    }

    /// How many versions of jobs are in the store.
    async fn versions(&self) -> usize {
        let range = Range::prefix(keys::JOB_VERSIONS, 1_000);
        self.store.range(range).await.unwrap().entries.len()
    }

    /// Describes as soon as the registry serves again.
    async fn describe(&self, name: &str) -> Result<Arc<Job>, LookUpError> {
        let began = Instant::now();
        loop {
            match self.registry.describe(name.to_owned(), 0).await {
                Err(LookUpError::Unanswered(why)) => {
                    assert!(began.elapsed() < SOON, "the registry never came back: {why}");
                    let _ = self.registry.up(SOON).await;
                }
                answer => return answer.map(|described| described.job),
            }
        }
    }
}

fn ada() -> Caller {
    Caller::new("ada", Vec::new())
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
    assert_eq!(again, Changed { job: first.job.clone(), changed: false, created: false });
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
            Err(ChangeError::AlreadyExists { .. }) => assert!(!same),
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
    let creating = tokio::spawn(async move { registry.create(job("hello", "one"), ada()).await });
    let began = Instant::now();
    while world.faults.commits() == commits {
        assert!(began.elapsed() < SOON, "nothing was committed");
        tokio::task::yield_now().await;
    }
    let equal = tokio::spawn(async move { another.create(job("hello", "one"), ada()).await });
    let short = Duration::from_millis(100);
    assert!(timeout(short, world.registry.describe("hello".to_owned(), 0)).await.is_err());
    assert!(timeout(short, world.registry.list(10, "")).await.is_err());
    let pin =
        world.registry.pin("hello".to_owned(), 0, [("name".to_owned(), String::new())].into());
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
    assert!(matches!(refused, ChangeError::NotStored(_)), "{refused}");
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
    let pinned = world.registry.pin("hello".to_owned(), 0, arguments.clone()).await.unwrap();
    assert_eq!((pinned.version, &pinned.uid), (1, &created.job.uid));
    assert_eq!(pinned.secrets, ["TOKEN".parse().unwrap()]);
    assert_eq!(pinned.arguments, [("name".parse().unwrap(), "Ada".to_owned())].into());
    let missing = world.registry.pin("hello".to_owned(), 0, BTreeMap::new()).await.unwrap_err();
    assert!(
        matches!(missing, PinError::BadArguments { ref violations, .. } if violations.len() == 1)
    );
    let unknown = world.registry.pin("helo".to_owned(), 0, arguments).await.unwrap_err();
    assert!(matches!(unknown, PinError::LookUp(LookUpError::Unknown { .. })), "{unknown}");
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
        assert!(matches!(error, ChangeError::Full { limit: MOST }), "{error}");
        assert!(error.to_string().contains("there are 500 jobs"), "{error}");
    }
    // What is there is found as before, and also after the next start.
    assert!(!world.create(job("job-0", "x")).await.unwrap().created);
    let world = world.restart().await;
    let full = world.create(job("another", "x")).await.unwrap_err();
    assert!(matches!(full, ChangeError::Full { limit: MOST }), "{full}");
    assert!(world.describe("job-499").await.is_ok());
}

fn description(job: &Job) -> &str {
    &job.definition.description
}

#[tokio::test]
async fn an_update_is_a_version_and_the_newest_versions_are_kept() {
    let world = World::start().await;
    let unknown = world.update(job("hello", "one"), 0).await.unwrap_err();
    assert!(matches!(unknown, ChangeError::LookUp(LookUpError::Unknown { .. })), "{unknown}");
    let first = world.create(job("hello", "one")).await.unwrap().job;
    let second = world.update(job("hello", "two"), 0).await.unwrap();
    assert_eq!((second.changed, second.created), (true, false));
    assert_eq!((second.job.version, &second.job.uid), (2, &first.uid));
    let again = world.update(job("hello", "two"), 1).await.unwrap();
    assert_eq!(again, Changed { job: second.job.clone(), changed: false, created: false });
    let late = world.update(job("hello", "three"), 1).await.unwrap_err();
    assert!(
        late.to_string().contains("version 1 was to be followed, and 2 is the newest"),
        "{late}"
    );
    assert_eq!(world.update(job("hello", "three"), 2).await.unwrap().job.version, 3);

    let world = world.restart().await;
    for (version, text) in [(0, "three"), (1, "one"), (2, "two"), (3, "three")] {
        let described = world.registry.describe("hello".to_owned(), version).await.unwrap();
        assert_eq!((description(&described.job), described.newest_version), (text, 3));
        let arguments = [("name".to_owned(), "Ada".to_owned())].into();
        let pinned = world.registry.pin("hello".to_owned(), version, arguments).await.unwrap();
        assert_eq!(pinned.version, described.job.version);
    }
    let none = world.registry.describe("hello".to_owned(), 4).await.unwrap_err();
    assert_eq!(none.to_string(), "job `hello` has no version 4: its versions are 1 to 3");

    for number in 4..=MOST_VERSIONS + 2 {
        world.update(job("hello", &format!("text {number}")), number - 1).await.unwrap();
    }
    let old = world.registry.describe("hello".to_owned(), 2).await.unwrap_err();
    assert_eq!(old.to_string(), "job `hello` has no version 2: its versions are 3 to 102");
    let oldest = world.registry.describe("hello".to_owned(), 3).await.unwrap();
    assert_eq!(description(&oldest.job), "three");
    assert_eq!(world.versions().await, 100);
    world.delete("hello").await.unwrap();
    assert_eq!(world.versions().await, 0, "they go with their job");
    world.system.stop().await;
}

#[tokio::test]
async fn of_many_who_follow_one_version_at_once_exactly_one_does() {
    let world = World::start().await;
    world.create(job("hello", "first")).await.unwrap();
    let texts: Vec<String> = (0..40).map(|n| format!("text {n}")).collect();
    let answers = join_all(texts.iter().map(|text| world.update(job("hello", text), 1))).await;
    let mut changed = answers.iter().flatten();
    let (only, none) = (changed.next().unwrap(), changed.next());
    assert!(only.job.version == 2 && none.is_none(), "{none:?}");
    // Who expects nothing is always taken, each as a version of its own.
    let answers = join_all(texts.iter().map(|text| world.update(job("hello", text), 0))).await;
    let versions: BTreeSet<_> =
        answers.iter().map(|one| one.as_ref().unwrap().job.version).collect();
    assert!(versions.len() >= 39, "{versions:?}");
    for answer in answers.iter().flatten().filter(|answer| answer.changed) {
        let version = answer.job.version;
        let described = world.registry.describe("hello".to_owned(), version).await.unwrap();
        assert_eq!(described.job, answer.job);
    }
    world.system.stop().await;
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_and_stores_nothing() {
    let world = World::start().await;
    let dry = |definition, wish| world.registry.change(definition, wish, true, ada());
    let would = dry(job("hello", "one"), Wish::Create).await.unwrap();
    assert!(would.created && would.job.version == 1);
    assert!(matches!(world.describe("hello").await, Err(LookUpError::Unknown { .. })));
    world.create(job("hello", "one")).await.unwrap();
    let other = dry(job("hello", "two"), Wish::Create).await.unwrap_err();
    assert!(matches!(other, ChangeError::AlreadyExists { .. }), "{other}");
    let update = Wish::Update { create: true, expected_version: 0 };
    let would = dry(job("hello", "two"), update).await.unwrap();
    assert_eq!((would.changed, would.job.version), (true, 2));
    assert_eq!(description(&world.describe("hello").await.unwrap()), "one");
    let wrong = dry(job("Hello", "two"), update).await.unwrap_err();
    assert!(matches!(wrong, ChangeError::Invalid(_)), "{wrong}");
    world.system.stop().await;
}

#[tokio::test]
async fn versions_go_on_over_a_deletion_under_a_new_uid() {
    let world = World::start().await;
    let old = world.create(job("hello", "one")).await.unwrap().job;
    world.update(job("hello", "two"), 0).await.unwrap();
    world.delete("hello").await.unwrap();
    assert!(matches!(world.describe("hello").await, Err(LookUpError::Unknown { .. })));
    let gone = world.delete("hello").await.unwrap_err();
    assert!(matches!(gone, DeleteError::LookUp(LookUpError::Unknown { .. })), "{gone}");
    let world = world.restart().await;
    let new = world.create(job("hello", "one")).await.unwrap();
    assert!(new.created);
    assert_eq!((new.job.version, new.job.first_version), (3, 3));
    assert_ne!(new.job.uid, old.uid);
    let earlier = world.registry.describe("hello".to_owned(), 2).await.unwrap_err();
    assert!(earlier.to_string().contains("its versions are 3 to 3"), "{earlier}");
    let world = world.restart().await;
    assert_eq!(world.update(job("hello", "two"), 3).await.unwrap().job.version, 4);
    world.system.stop().await;
}

#[tokio::test]
async fn a_doomed_job_is_neither_run_nor_changed_and_lives_again_when_it_is_let_go() {
    let world = World::start().await;
    world.create(job("hello", "one")).await.unwrap();
    let arguments = || [("name".to_owned(), "Ada".to_owned())].into();
    let doomed = world.registry.doom("hello".to_owned()).await.unwrap();
    let pin = world.registry.pin("hello".to_owned(), 0, arguments()).await.unwrap_err();
    assert!(matches!(pin, PinError::Doomed(_)), "{pin}");
    for changed in
        [world.create(job("hello", "one")).await, world.update(job("hello", "two"), 0).await]
    {
        assert!(matches!(changed, Err(ChangeError::Doomed(_))), "{changed:?}");
    }
    let second = world.registry.doom("hello".to_owned()).await.unwrap_err();
    assert!(matches!(second, DeleteError::UnderWay(_)), "{second}");
    assert_eq!(description(&world.describe("hello").await.unwrap()), "one");
    drop(doomed);
    assert!(world.registry.pin("hello".to_owned(), 0, arguments()).await.is_ok());
    // Who doomed it in a former life of the registry has no say in this one.
    let doomed = world.registry.doom("hello".to_owned()).await.unwrap();
    assert!(world.registry.inject_panic().await.is_err());
    world.describe("hello").await.unwrap();
    let late = world.registry.delete(doomed, ada()).await.unwrap_err();
    assert!(matches!(late, DeleteError::UnderWay(_)), "{late}");
    world.delete("hello").await.unwrap();
    world.system.stop().await;
}

#[tokio::test]
async fn a_deletion_that_the_store_refused_leaves_the_job() {
    let world = World::start().await;
    let kept = world.create(job("hello", "one")).await.unwrap().job;
    world.faults.next([Fault::Refused]);
    let refused = world.delete("hello").await.unwrap_err();
    assert!(matches!(refused, DeleteError::NotStored(_)), "{refused}");
    assert_eq!(world.describe("hello").await.unwrap(), kept);
    world.delete("hello").await.unwrap();
    world.system.stop().await;
}
