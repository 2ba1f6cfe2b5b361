//! Each actor is made to panic in turn, while the others are asked.

use crate::world::{World, job, until};
use octavius_controller::server::Faults;
use octavius_protocol::v1;
use octavius_service::actor::Unanswered;
use std::time::Duration;
use tokio::time::Instant;

/// Asks again where the answer is that nobody is there: what a client does.
async fn described(world: &World, name: &str) -> Result<v1::Job, tonic::Status> {
    let request = v1::DescribeJobRequest { name: name.to_owned(), version: 0 };
    let answer = world.jobs().await.describe_job(request).await?;
    Ok(answer.into_inner().job.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_any_actor_costs_time_and_nothing_else() {
    let world = World::start().await;
    let faults = world.running.faults();
    let kept = world.create(job("hello")).await.job.unwrap();
    let execution = world.execute("hello").await;
    let mut executor = world.executor("e", 1).await;
    let name = executor.granted().await.name.unwrap();
    executor.run(&name).await;
    executor.append(&name, 0, "kept\n").await.unwrap();
    for actor in Faults::ACTORS {
        let panicked = faults.panic(actor).await.expect("an actor of that name");
        assert_eq!(panicked, Err(Unanswered::Restarted { actor }));
        let found = until("described", || described(&world, "hello"), Result::is_ok).await.unwrap();
        assert_eq!(found, kept, "after a panic of {actor}");
        let request = || {
            let request =
                v1::GetExecutionRequest { id: execution.id.clone(), wait: None, explain: false };
            async { world.executions().await.get_execution(request).await }
        };
        let shown = until("shown", request, Result::is_ok).await.unwrap().into_inner();
        let shown = shown.execution.unwrap();
        assert_eq!(shown.state(), v1::ExecutionState::Running, "after a panic of {actor}");
        // Who holds it goes on with its session, also where what held it was built again.
        let append = || {
            let (mut executor, name) = (executor.clone(), name.clone());
            async move { executor.append(&name, 0, "kept\n").await }
        };
        let appended = until("appended", append, Result::is_ok).await.unwrap();
        assert_eq!((appended.next_offset, appended.closed), (5, false), "after a panic of {actor}");
        // It is counted when its pause is over, and others may have answered all that before.
        let restarts =
            format!(r#"octavius_actor_restarts_total{{actor="{actor}",cause="panic"}} "#);
        let counted = |(_, metrics): &(u16, String)| {
            let count = metrics.lines().find_map(|line| line.strip_prefix(restarts.as_str()));
            count.is_some_and(|count| count != "0")
        };
        until("counted", || world.look("/metrics"), counted).await;
        until("ready", || world.look("/readyz"), |(status, _)| *status == 200).await;
    }
    executor.attend(std::slice::from_ref(&name), std::time::Duration::ZERO).await.unwrap();
    executor.succeed(&name, "kept\n").await;
    assert_eq!(world.get(&execution.id).await.state(), v1::ExecutionState::Succeeded);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_panics_again_and_again_pauses_longer_and_is_not_ready_meanwhile() {
    let world = World::start().await;
    let faults = world.running.faults();
    let mut away = None;
    for panics in 1..=8_u32 {
        until("ready", || world.look("/readyz"), |(status, _)| *status == 200).await;
        let began = Instant::now();
        let _ = faults.panic("Registry").await;
        let restarts =
            format!(r#"octavius_actor_restarts_total{{actor="Registry",cause="panic"}} {panics}"#);
        let counted = |(_, metrics): &(u16, String)| metrics.lines().any(|line| line == restarts);
        if panics >= 5 {
            // By now it is away for so long that nobody misses it whose machine does not stand still; else the next time.
            let look = async || (world.look("/readyz").await, world.look("/metrics").await);
            let either = |(ready, metrics): &(_, _)| is_away(ready) || counted(metrics);
            let (ready, _) = until("down", look, either).await;
            away = Some(ready).filter(is_away);
        }
        until("built again", || world.look("/metrics"), counted).await;
        // A machine under load makes a pause longer, and never shorter than 80 ms, twice that, and so on.
        let least = Duration::from_millis(80) * 2_u32.pow(panics - 1);
        assert!(began.elapsed() >= least, "{:?} of {least:?}", began.elapsed());
        if away.is_some() {
            break;
        }
    }
    let (_, why) = away.expect("it was ready all the time");
    assert!(why.contains("Registry is starting"), "{why}");
    world.stop().await;
}

fn is_away((status, _): &(u16, String)) -> bool {
    *status == 503
}
