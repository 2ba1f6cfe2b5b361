//! Final executions that were kept long enough.

use super::*;
use crate::{
    job_queue::{retention::LookForOld, rules::Wanted},
    store::faulty::Fault,
};
use octavius_service::actor::Priority;

/// Everything that may lie in the store of an execution.
const PREFIXES: [&str; 9] = [
    keys::SPECS,
    keys::SECRET_ARGUMENTS,
    keys::LIVE,
    keys::DONE,
    keys::BY_JOB,
    keys::BY_USER,
    keys::BY_ENDING,
    keys::REQUESTS,
    keys::LOGS,
];

impl World {
    /// The same world, in a life that keeps nothing that is final.
    pub(super) async fn keeping_nothing(self, folder: &std::path::Path) -> Self {
        self.system.stop().await;
        let retention = Retention::of(Duration::ZERO);
        let world = Self::start_keeping(folder, QueueLimits::default(), retention).await;
        world.join(1).await;
        world
    }

    /// Looks for what was kept long enough, and waits until that is done.
    async fn look(&self, look: LookForOld) {
        self.queue.actor().query(Priority::Read, look).await.unwrap();
    }

    /// Waits until it is known that the disk is full.
    pub(super) async fn until_full(store: &StoreHandle) {
        let until = Instant::now() + SOON;
        while store.full().is_none() {
            assert!(Instant::now() < until, "the gate stays open");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The keys that there are of executions.
    async fn keys(&self) -> Vec<String> {
        self.keys_now().await.expect("the store answers")
    }

    /// The same; none: the store is on its way back.
    async fn keys_now(&self) -> Option<Vec<String>> {
        let mut keys = Vec::new();
        for prefix in PREFIXES {
            let entries = self.store.all(Range::prefix(prefix, 1_000)).await.ok()?;
            keys.extend(entries.into_iter().map(|entry| entry.key));
        }
        Some(keys)
    }

    /// Waits until there are these keys of executions, and no others.
    pub(super) async fn until_keys(&self, wanted: &[String]) {
        let until = Instant::now() + SOON;
        loop {
            let keys = self.keys().await;
            if keys == wanted {
                return;
            }
            assert!(Instant::now() < until, "{keys:#?}\nand not\n{wanted:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A job that takes what nobody may see.
    async fn secretive(&self, name: &str) {
        let argument = |name: &str, kind| crate::registry::Argument {
            name: name.to_owned(),
            kind,
            ..Default::default()
        };
        let definition = crate::registry::JobDefinition {
            name: name.to_owned(),
            command: vec!["true".to_owned()],
            arguments: vec![argument("key", crate::registry::ArgumentType::Secret)],
            ..Default::default()
        };
        self.registry.create(definition, ada()).await.unwrap();
    }

    /// An execution that ran, and said something.
    pub(super) async fn ran(&self, request: SubmitRequest, held: &[LeaseName]) -> ExecutionId {
        let id = self.queue.submit(request).await.unwrap().execution.record.id;
        let leased = self.queue.poll(Session(1), 1, held.to_vec(), SOON).await.unwrap();
        let lease = leased[0].grant.lease;
        assert_eq!(lease.attempt.execution, id);
        self.report(lease, Report::Prepared("thing".into())).await;
        self.report(lease, Report::Running).await;
        self.logs.append(lease.attempt, 0, chunk(b"hello\n"), Bytes::new()).await.unwrap();
        let ended = self.report(lease, Report::Ended(succeeded(b"hello\n"))).await;
        assert_eq!(ended, rules::Verdict::Recorded);
        id
    }
}

fn secret_wish(request_id: &str) -> SubmitRequest {
    let arguments = [("key".to_owned(), "S3cr3t-7f1c".to_owned())].into();
    SubmitRequest { arguments, ..wish("secretive", request_id) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_kept_long_enough_goes_with_all_that_there_is_of_it_and_nothing_else_does() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    world.secretive("secretive").await;
    world.join(1).await;
    let waits = world.queue.submit(secret_wish("waits")).await.unwrap().execution.record.id;
    let lease = world.poll(1).await[0];
    world.report(lease, Report::Prepared("thing".into())).await;
    world.report(lease, Report::Running).await;
    let live = world.keys().await;
    assert_eq!(live.len(), 4, "what was submitted, its secret, its state, its name: {live:?}");

    let ran = world.ran(secret_wish("ran"), &[lease]).await;
    let cancelled = world.queue.submit(wish("secretive", "")).await.unwrap().execution.record.id;
    world.queue.cancel(cancelled, ada()).await.unwrap();
    let keys = world.keys().await;
    let of_ran = keys.iter().filter(|key| key.contains(&ran.to_string())).count();
    assert!(of_ran >= 2 && keys.len() >= 4 + 6 + 5, "{keys:?}");
    world.look(LookForOld::FIRST).await;
    assert_eq!(world.keys().await, keys, "kept until its time");
    assert_eq!(world.step_of(ran).await, Step::Ended(Outcome::Succeeded));
    let old = ExecutionId::first_at(1_000_000_000_000);
    let never = world.queue.get(old).await;
    assert!(matches!(never, Err(QueueError::Unknown(id)) if id == old), "{never:?}");

    let world = world.keeping_nothing(folder.path()).await;
    world.until_keys(&live).await;
    let newer = cancelled.successor().unwrap();
    let never = world.queue.get(newer).await;
    assert!(matches!(never, Err(QueueError::Unknown(id)) if id == newer), "{never:?}");
    for id in [ran, cancelled, old] {
        let gone = world.queue.get(id).await.unwrap_err().to_string();
        assert!(gone.contains(&id.to_string()) && gone.contains("keep_executions_for"), "{gone}");
        let gone = world.queue.rerun(wish_again(id, "")).await.unwrap_err().to_string();
        assert!(gone.contains("keep_executions_for"), "{gone}");
    }
    assert!(folder_is_empty(&folder.path().join("logs")), "bytes of a log were left");
    // The name of a wish lives as long as what came of it.
    let again = world.queue.submit(secret_wish("ran")).await.unwrap();
    assert!(again.created);
    world.queue.cancel(again.execution.record.id, ada()).await.unwrap();
    // What runs is older than all of them, and goes only after its end.
    assert_eq!(world.step_of(waits).await, Step::Running);
    let ended = world.report(lease, Report::Ended(succeeded(b""))).await;
    assert_eq!(ended, rules::Verdict::Recorded);
    world.until_keys(&[]).await;
    was_never_built_again(&world).await;
    world.system.stop().await;
}

fn folder_is_empty(folder: &std::path::Path) -> bool {
    std::fs::read_dir(folder).unwrap().flatten().all(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => folder_is_empty(&entry.path()),
        Ok(_) | Err(_) => false,
    })
}

/// More than one step has, whose store refuses, panics and leaves in doubt, and whose actor panics in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_breaks_while_executions_are_removed_lists_are_whole_and_the_next_look_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    for job in ["greet", "other"] {
        world.job(job).await;
    }
    let ids = future::join_all((0..120).map(|number| {
        let world = &world;
        async move {
            let request = wish(["greet", "other"][number % 2], &format!("wish-{number}"));
            let id = world.queue.submit(request).await.unwrap().execution.record.id;
            world.queue.cancel(id, ada()).await.unwrap();
            id
        }
    }));
    let ids = ids.await;
    world.system.stop().await;

    // Nothing is removed until it is known what breaks.
    let below = World::below(folder.path(), true).await;
    World::until_full(&below.1).await;
    let (limits, retention) = (QueueLimits::default(), Retention::of(Duration::ZERO));
    let world = World::over(below, folder.path(), limits, retention).await;
    world.faults.next([
        Fault::Refused,
        Fault::UnknownBefore,
        Fault::None,
        Fault::UnknownAfter,
        Fault::Panic,
        Fault::UnknownLate,
    ]);
    world.faults.full(false);
    let wanted = |job: Option<&str>| Wanted {
        job: job.map(|job| job.parse().unwrap()),
        ..Wanted::default()
    };
    let until = Instant::now() + 3 * SOON;
    let mut seen = ids.len();
    for round in 0.. {
        if [3, 30, 100].contains(&round) {
            let _ = world.queue.actor().inject_panic().await;
        }
        let job = [None, Some("greet"), Some("other")][round % 3];
        let request =
            ListRequest { page_size: 1_000, wanted: wanted(job), ..ListRequest::default() };
        // An actor that comes back says so; nothing else may be wrong.
        match world.queue.list(request).await {
            Ok(listed) if job.is_none() => {
                assert!(listed.executions.len() <= seen, "some came back");
                seen = listed.executions.len();
            }
            Ok(_) => {}
            Err(QueueError::Unanswered(_) | QueueError::Store(_)) => {}
            Err(other) => panic!("{other}"),
        }
        if seen == 0 && world.keys_now().await.is_some_and(|keys| keys.is_empty()) {
            break;
        }
        assert!(Instant::now() < until, "{seen} are left");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.system.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_disk_is_full_nothing_is_removed_and_then_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    world.job("greet").await;
    world.join(1).await;
    let ran = world.ran(wish("greet", "ran"), &[]).await;
    let keys = world.keys().await;
    world.system.stop().await;

    let (system, store, faults) = World::below(folder.path(), true).await;
    World::until_full(&store).await;
    let retention = Retention::of(Duration::ZERO);
    let limits = QueueLimits::default();
    let world = World::over((system, store, faults), folder.path(), limits, retention).await;
    // Each look of these finds it, and leaves it alone.
    for _ in 0..3 {
        world.look(LookForOld::FIRST).await;
        assert_eq!(world.step_of(ran).await, Step::Ended(Outcome::Succeeded));
    }
    assert_eq!(world.keys().await, keys);
    assert!(world.logs.remove_all(ran).await.is_err(), "a log was removed from a full disk");
    world.faults.full(false);
    world.until_keys(&[]).await;
    world.system.stop().await;
}

/// What was submitted is still there when the request id is looked up, and the record of its end is not when it is shown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_whose_first_execution_goes_while_it_is_looked_up_is_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    world.job("greet").await;
    let first = world.queue.submit(wish("greet", "once")).await.unwrap().execution.record.id;
    world.queue.cancel(first, ada()).await.unwrap();
    let writer = world.store.enlist("test").await.unwrap();
    let removed = writer.commit(vec![crate::store::Write::Delete(keys::done(first))]).await;
    assert_eq!(removed, Commit::Done);

    let second = world.queue.submit(wish("greet", "once")).await.unwrap();
    assert!(second.created && second.execution.record.id != first);
    let again = world.queue.submit(wish("greet", "once")).await.unwrap();
    assert!(!again.created && again.execution.record.id == second.execution.record.id);
    world.system.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_steps_of_an_older_chain_of_looks_come_to_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let every = Duration::from_hours(1);
    let retention = Retention { every, ..Retention::of(Duration::ZERO) };
    let world = World::start_keeping(folder.path(), QueueLimits::default(), retention).await;
    world.look(LookForOld::FIRST).await; // the second: the actor began the first
    world.job("greet").await;
    world.join(1).await;
    world.ran(wish("greet", ""), &[]).await;
    let keys = world.keys().await;
    world.look(LookForOld::of(1)).await;
    assert_eq!(world.keys().await, keys);
    world.look(LookForOld::of(2)).await;
    assert_eq!(world.keys().await, [""; 0]);
    world.system.stop().await;
}

/// As where the disk was full whenever it was to be stored: history alone tells of the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_does_not_say_how_late_it_is_is_as_late_as_its_newest_final_execution() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    world.job("greet").await;
    world.join(1).await;
    let ran = world.ran(wish("greet", ""), &[]).await;
    let record = world.queue.get(ran).await.unwrap().record;
    world.logs.remove_all(ran).await.unwrap();
    let old = Record { id: ExecutionId::first_at(1_000_000_000_000), ..record.clone() };
    let key = keys::done(old.id);
    let mut writes = storage::removal(&record);
    writes.push(crate::store::Write::Put(key.clone(), serde_json::to_vec(&old).unwrap().into()));
    writes.push(crate::store::Write::Delete(keys::TIME_FOR_EXECUTIONS.to_owned()));
    let writer = world.store.enlist("test").await.unwrap();
    assert_eq!(writer.commit(writes).await, Commit::Done);

    let world = world.keeping_nothing(folder.path()).await;
    world.look(LookForOld::FIRST).await;
    assert_eq!(world.keys().await, [key]);
    world.system.stop().await;
}

/// As where the clock jumped ahead: the time that passed is known from an earlier life.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_clock_is_ahead_of_the_time_that_passed_no_life_removes_what_is_old_by_it_alone()
{
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    world.job("greet").await;
    world.join(1).await;
    world.ran(wish("greet", ""), &[]).await;
    let key = keys::TIME_FOR_EXECUTIONS;
    let believed = |stored: &[u8]| {
        let stored: serde_json::Value = serde_json::from_slice(stored).unwrap();
        stored["believed"].as_str().unwrap().parse::<Timestamp>().unwrap()
    };
    let stored = world.store.get(key).await.unwrap().unwrap();
    let late = believed(&stored);
    let text = String::from_utf8(stored.to_vec()).unwrap();
    let day_before = late - Duration::from_hours(24);
    let earlier = text.replace(&late.to_string(), &day_before.to_string());
    assert_ne!(earlier, text);
    let writer = world.store.enlist("test").await.unwrap();
    let set_back = vec![crate::store::Write::Put(key.to_owned(), earlier.into())];
    assert_eq!(writer.commit(set_back).await, Commit::Done);

    let mut world = world;
    for _ in 0..2 {
        // What is submitted says that it is as late as the clock shows, and is not believed, either.
        let id = world.queue.submit(wish("greet", "")).await.unwrap().execution.record.id;
        world.queue.cancel(id, ada()).await.unwrap();
        let keys = world.keys().await;
        world = world.keeping_nothing(folder.path()).await;
        world.look(LookForOld::FIRST).await;
        assert_eq!(world.keys().await, keys);
        let stored = world.store.get(key).await.unwrap().unwrap();
        let age = Timestamp::now().duration_since(believed(&stored));
        assert!((23..25).contains(&age.as_hours()), "{age:?}");
    }
    world.system.stop().await;
}

/// As where all that is left is older, and the clock was set back since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_life_gives_out_no_id_that_is_not_newer_than_all_that_were_removed() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    world.job("greet").await;
    let tomorrow = Timestamp::now() + Duration::from_hours(24);
    let removed = ExecutionId::first_at(u64::try_from(tomorrow.as_millisecond()).unwrap());
    let writer = world.store.enlist("test").await.unwrap();
    let written = writer.commit(vec![storage::newest_removed(removed)]).await;
    assert_eq!(written, Commit::Done);
    world.system.stop().await;

    let world = World::start(folder.path()).await;
    let id = world.queue.submit(wish("greet", "")).await.unwrap().execution.record.id;
    assert!(id > removed, "{id} and {removed}");
    world.system.stop().await;
}

/// What is beyond the number goes, the oldest first; what runs, and how many there are, stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_more_than_are_kept_the_oldest_go_and_the_number_outlives_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    world.job("greet").await;
    world.join(1).await;
    // The oldest of all runs on.
    let runs = world.queue.submit(wish("greet", "")).await.unwrap().execution.record.id;
    let lease = world.poll(1).await[0];
    world.report(lease, Report::Prepared("thing".into())).await;
    world.report(lease, Report::Running).await;
    let mut ran = Vec::new();
    for _ in 0..20 {
        ran.push(world.ran(wish("greet", ""), &[lease]).await);
    }
    let stored = async |world: &World| {
        let stored = world.store.get(keys::DONE_COUNT).await.unwrap();
        stored.map(|text| String::from_utf8(text.to_vec()).unwrap())
    };
    assert_eq!(stored(&world).await.as_deref(), Some("20"));
    let keeping = Retention::of(Duration::from_hours(1)).at_most(3, Duration::ZERO);
    let restart = async |world: World, retention| {
        world.system.stop().await;
        World::start_keeping(folder.path(), QueueLimits::default(), retention).await
    };
    let left = async |world: &World| {
        let done = world.store.all(Range::prefix(keys::DONE, 100)).await.unwrap();
        let ids = done.iter().filter_map(|entry| keys::id_in_history(&entry.key));
        ids.collect::<Vec<_>>()
    };
    let until_left = async |world: &World, wanted: &[ExecutionId]| {
        let until = Instant::now() + SOON;
        while left(world).await != wanted {
            assert!(Instant::now() < until, "{:?}", left(world).await);
            tokio::time::sleep(Duration::from_millis(300)).await;
            // The look of the start may have found other actors not yet there, and the next one is minutes away.
            world.look(LookForOld::FIRST).await;
        }
    };
    let newest = |count| ran.iter().rev().take(count).copied().collect::<Vec<_>>();

    // Within the least time nothing goes, however many there are.
    let kept = Retention::of(Duration::from_hours(2)).at_most(3, Duration::from_hours(1));
    let world = restart(world, kept).await;
    world.look(LookForOld::FIRST).await;
    assert_eq!(left(&world).await, newest(20));
    let world = restart(world, keeping).await;
    until_left(&world, &newest(3)).await;
    assert_eq!(stored(&world).await.as_deref(), Some("3"));
    assert_eq!(world.step_of(runs).await, Step::Running);
    let specs = world.store.all(Range::prefix(keys::SPECS, 100)).await.unwrap();
    assert_eq!(specs.len(), 4, "all that there was of them is gone");
    let gone = world.queue.get(ran[0]).await.unwrap_err().to_string();
    assert!(gone.contains("`keep_executions`"), "{gone}");

    // A store that does not say how many there are is counted.
    let writer = world.store.enlist("test").await.unwrap();
    let forget = vec![crate::store::Write::Delete(keys::DONE_COUNT.to_owned())];
    assert_eq!(writer.commit(forget).await, Commit::Done);
    let fewer = Retention::of(Duration::from_hours(1)).at_most(2, Duration::ZERO);
    let world = restart(world, fewer).await;
    until_left(&world, &newest(2)).await;
    assert_eq!(stored(&world).await.as_deref(), Some("2"));
    world.system.stop().await;
}
