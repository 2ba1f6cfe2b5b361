//! What a caller sees while an actor panics, stops, or cannot be built.

#![cfg(feature = "fault-injection")]
#![allow(clippy::unwrap_used)] // clippy knows the functions that are tests, not their helpers

use actix::prelude::*;
use octavius_service::{
    actor::{ActorSystem, Handle, Limits, Priority, RestartPolicy, Unanswered},
    telemetry,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::{
    sync::{Semaphore, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

#[derive(Debug)]
struct Counter {
    count: u64,
    disk: Arc<AtomicU64>,
}

impl Actor for Counter {
    type Context = Context<Self>;
}

octavius_service::panics_when_told!(Counter);

#[derive(Debug, Message)]
#[rtype(result = "u64")]
struct Add(u64);

impl Handler<Add> for Counter {
    type Result = u64;

    fn handle(&mut self, Add(more): Add, _: &mut Self::Context) -> u64 {
        self.count += more;
        self.disk.store(self.count, SeqCst);
        self.count
    }
}

/// Adds after a pause, so that the caller can leave meanwhile.
#[derive(Debug, Message)]
#[rtype(result = "u64")]
struct AddSlowly(u64);

impl Handler<AddSlowly> for Counter {
    type Result = ResponseActFuture<Self, u64>;

    fn handle(&mut self, AddSlowly(more): AddSlowly, _: &mut Self::Context) -> Self::Result {
        let pause = tokio::time::sleep(Duration::from_millis(100)).into_actor(self);
        Box::pin(pause.map(move |(), counter, _| {
            counter.count += more;
            counter.disk.store(counter.count, SeqCst);
            counter.count
        }))
    }
}

#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Stop;

impl Handler<Stop> for Counter {
    type Result = ();

    fn handle(&mut self, _: Stop, context: &mut Self::Context) {
        context.stop();
    }
}

const POLICY: RestartPolicy = RestartPolicy {
    first: Duration::from_millis(20),
    longest: Duration::from_millis(400),
    healthy_after: Duration::from_secs(60),
    build_within: Duration::from_secs(1),
};
const LIMITS: Limits = Limits { waiting: 4, answer: Duration::from_secs(5) };

fn counter(system: &mut ActorSystem) -> (Handle<Counter>, Arc<AtomicU64>) {
    let disk = Arc::new(AtomicU64::new(0));
    let kept = disk.clone();
    let build = move || {
        let disk = disk.clone();
        async move { Ok(Counter { count: disk.load(SeqCst), disk }) }
    };
    (system.supervise("counter", LIMITS, POLICY, build).unwrap(), kept)
}

async fn up(handle: &Handle<Counter>) {
    handle.up(Duration::from_secs(5)).await.unwrap();
}

/// Waits until the supervisor has noticed that the actor is gone.
async fn down(handle: &Handle<Counter>) {
    let began = Instant::now();
    while handle.vitals().is_up() {
        assert!(began.elapsed() < Duration::from_secs(20), "the supervisor never noticed");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn after_a_panic_the_next_one_has_what_the_last_one_stored() {
    let mut system = ActorSystem::start("test").unwrap();
    let (handle, _disk) = counter(&mut system);
    up(&handle).await;
    assert_eq!(handle.mutate(Priority::Submit, Add(2)).await, Ok(2));
    let panicked = handle.inject_panic().await.unwrap_err();
    assert_eq!(panicked, Unanswered::Restarted { actor: "counter" });
    let began = Instant::now();
    let answer = loop {
        assert!(began.elapsed() < Duration::from_secs(5), "it never came back");
        match handle.mutate(Priority::Submit, Add(3)).await {
            Ok(answer) => break answer,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    assert_eq!(answer, 5);
    system.stop().await;
}

#[tokio::test]
async fn while_it_is_away_callers_are_told_at_once_and_keep_their_handle() {
    let mut system = ActorSystem::start("test").unwrap();
    // It is built again when the test lets it be, so that it cannot be there before somebody has called.
    let policy = RestartPolicy { build_within: Duration::from_secs(60), ..POLICY };
    let may = Arc::new(Semaphore::new(1));
    let asked = may.clone();
    let build = move || {
        let may = asked.clone();
        async move {
            may.acquire().await?.forget();
            anyhow::Ok(Counter { count: 0, disk: Arc::default() })
        }
    };
    let handle = system.supervise("counter", LIMITS, policy, build).unwrap();
    up(&handle).await;
    for _ in 0..2 {
        let _ = handle.inject_panic().await;
        down(&handle).await;
        let refused = handle.mutate(Priority::Submit, Add(1)).await;
        assert_eq!(refused, Err(Unanswered::Down { actor: "counter" }));
        may.add_permits(1);
        up(&handle).await;
    }
    assert_eq!(handle.mutate(Priority::Submit, Add(1)).await, Ok(1));
    system.stop().await;
}

#[tokio::test]
async fn pauses_grow_from_panic_to_panic() {
    let mut system = ActorSystem::start("test").unwrap();
    let built = Arc::new(AtomicU64::new(0));
    let count = built.clone();
    let build = move || {
        count.fetch_add(1, SeqCst);
        async { Ok(Counter { count: 0, disk: Arc::default() }) }
    };
    let handle = system.supervise("counter", LIMITS, POLICY, build).unwrap();
    up(&handle).await;
    for panics in 1..=5 {
        // Asked again: what serves may be the one that has panicked, for a moment.
        let began = loop {
            let began = Instant::now();
            match handle.inject_panic().await {
                Err(Unanswered::Restarted { .. }) => break began,
                _ => tokio::task::yield_now().await,
            }
        };
        while built.load(SeqCst) == panics {
            assert!(began.elapsed() < Duration::from_secs(20), "it was never built again");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // A machine under load makes it longer, and never shorter than the policy says.
        let least = POLICY.first.mul_f64(0.8) * 2_u32.pow(panics as u32 - 1);
        assert!(began.elapsed() >= least, "{:?} of {least:?}", began.elapsed());
        up(&handle).await;
    }
    system.stop().await;
}

#[tokio::test]
async fn an_actor_that_stops_is_built_again_too() {
    let mut system = ActorSystem::start("test").unwrap();
    let (handle, disk) = counter(&mut system);
    up(&handle).await;
    disk.store(40, SeqCst); // what the next one will find
    handle.mutate(Priority::Report, Stop).await.unwrap();
    let began = Instant::now();
    let answer = loop {
        assert!(began.elapsed() < Duration::from_secs(5), "it never came back");
        match handle.mutate(Priority::Submit, Add(2)).await {
            Ok(answer) => break answer,
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    assert_eq!(answer, 42);
    system.stop().await;
}

#[tokio::test]
async fn a_change_whose_caller_leaves_is_made_and_a_query_is_forgotten() {
    let mut system = ActorSystem::start("test").unwrap();
    let (handle, disk) = counter(&mut system);
    up(&handle).await;
    // It is in the queue when this returns, and its caller leaves at once.
    drop(handle.mutate(Priority::Submit, AddSlowly(1)));
    let began = Instant::now();
    while disk.load(SeqCst) != 1 {
        assert!(began.elapsed() < Duration::from_secs(5), "the change was forgotten");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    system.stop().await;
}

#[tokio::test]
async fn over_the_bound_a_call_is_refused_and_room_comes_back() {
    let mut system = ActorSystem::start("test").unwrap();
    let (handle, _disk) = counter(&mut system);
    up(&handle).await;
    // None of them is over before all have called.
    let (gates, waits): (Vec<_>, Vec<_>) = (0..6).map(|_| oneshot::channel()).unzip();
    let calls = waits.into_iter().map(|wait| handle.mutate(Priority::Report, WaitFor(wait)));
    let calls: Vec<_> = calls.collect();
    for gate in gates {
        let _ = gate.send(()); // those that were refused do not wait
    }
    let answers = futures::future::join_all(calls).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 4);
    let full = Err(Unanswered::Full { actor: "counter", limit: 4 });
    assert_eq!(answers.iter().filter(|answer| **answer == full).count(), 2);
    assert!(handle.mutate(Priority::Read, AddSlowly(1)).await.is_ok());
    system.stop().await;
}

#[tokio::test]
async fn an_actor_that_cannot_be_built_is_tried_again() {
    let mut system = ActorSystem::start("test").unwrap();
    let tries = Arc::new(AtomicU64::new(0));
    let counted = tries.clone();
    let build = move || {
        let tries = counted.clone();
        async move {
            anyhow::ensure!(tries.fetch_add(1, SeqCst) >= 2, "the store is away");
            Ok(Counter { count: 7, disk: Arc::default() })
        }
    };
    let handle = system.supervise("counter", LIMITS, POLICY, build).unwrap();
    up(&handle).await;
    assert_eq!(handle.mutate(Priority::Submit, Add(0)).await, Ok(7));
    assert_eq!(tries.load(SeqCst), 3);
    system.stop().await;
}

/// Waits until the test lets it go on.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct WaitFor(oneshot::Receiver<()>);

impl Handler<WaitFor> for Counter {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, WaitFor(go): WaitFor, _: &mut Self::Context) -> Self::Result {
        Box::pin(async move {
            let _ = go.await;
        })
    }
}

#[tokio::test]
async fn a_change_keeps_its_place_until_it_is_made_also_after_its_caller_was_told_that_it_is_late()
{
    let mut system = ActorSystem::start("test").unwrap();
    let after = Duration::from_millis(20);
    let limits = Limits { waiting: 1, answer: after };
    let build = || async { Ok(Counter { count: 0, disk: Arc::default() }) };
    let handle = system.supervise("late", limits, POLICY, build).unwrap();
    up(&handle).await;
    let (go, wait) = oneshot::channel();
    let late = handle.mutate(Priority::Report, WaitFor(wait)).await;
    assert_eq!(late, Err(Unanswered::Late { actor: "late", after }));
    assert_eq!(handle.vitals().waiting(), 1, "it is still at work");
    let next = handle.mutate(Priority::Report, Add(1)).await;
    assert_eq!(next, Err(Unanswered::Full { actor: "late", limit: 1 }));

    go.send(()).unwrap();
    free(&handle).await;
    // There is room again, also where the answer takes longer than a moment.
    let next = handle.mutate(Priority::Report, Add(1)).await;
    let late = Err(Unanswered::Late { actor: "late", after });
    assert!(next == Ok(1) || next == late, "{next:?}");
    free(&handle).await;

    // An actor that is gone gives back all its places.
    let (_go, wait) = oneshot::channel();
    let late = handle.mutate(Priority::Report, WaitFor(wait)).await;
    assert_eq!(late, Err(Unanswered::Late { actor: "late", after }));
    assert_eq!(handle.vitals().waiting(), 1);
    system.stop().await;
    free(&handle).await;
}

/// Waits until nobody has a place.
async fn free(handle: &Handle<Counter>) {
    let began = Instant::now();
    while handle.vitals().waiting() != 0 {
        assert!(began.elapsed() < Duration::from_secs(5), "a place was never given back");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn an_actor_whose_builder_panics_is_built_again_and_the_panic_is_counted_at_once() {
    let metrics = telemetry::metrics::install(CancellationToken::new()).unwrap();
    let mut system = ActorSystem::start("test").unwrap();
    // The second panics before it has a future, the first in it.
    let builder = |tries: Arc<AtomicU64>| {
        move || {
            let first = match tries.fetch_add(1, SeqCst) {
                0 => true,
                1 => panic!("a test told this builder to panic"),
                _ => false,
            };
            async move {
                assert!(!first, "a test told this builder to panic");
                Ok(Counter { count: 7, disk: Arc::default() })
            }
        }
    };
    let value = |line: &str| {
        metrics
            .render()
            .lines()
            .find_map(|found| found.strip_prefix(line)?.trim().parse::<u64>().ok())
    };
    // So long that it cannot be over when the panic has to be counted.
    let long = Duration::from_secs(3_600);
    let policy = RestartPolicy { first: long, longest: long, ..POLICY };
    let _pauses: Handle<Counter> =
        system.supervise("pauses", LIMITS, policy, builder(Arc::default())).unwrap();
    let began = Instant::now();
    while value(r#"octavius_actor_panics_total{actor="pauses"}"#) != Some(1) {
        assert!(began.elapsed() < Duration::from_secs(20), "a panic was not counted");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let restarts = r#"octavius_actor_restarts_total{actor="pauses",cause="panic"}"#;
    assert_eq!(value(restarts), Some(0), "it was counted only after the pause");

    let panics = r#"octavius_actor_panics_total{actor="builder"}"#;
    let restarts = r#"octavius_actor_restarts_total{actor="builder",cause="panic"}"#;
    let tries = Arc::new(AtomicU64::new(0));
    let handle = system.supervise("builder", LIMITS, POLICY, builder(tries.clone())).unwrap();
    up(&handle).await;
    assert_eq!(handle.mutate(Priority::Submit, Add(0)).await, Ok(7));
    assert_eq!((value(panics), value(restarts)), (Some(2), Some(2)));
    let _ = handle.inject_panic().await;
    let began = Instant::now();
    while tries.load(SeqCst) == 3 {
        assert!(began.elapsed() < Duration::from_secs(20), "it was never built again");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    up(&handle).await;
    assert_eq!((value(panics), value(restarts)), (Some(3), Some(3)));
    assert_eq!(tries.load(SeqCst), 4);
    system.stop().await;
}
