//! Two processes that have one id, as after a rolling update or with a copied file: one of them works.

use crate::world::{PLACES, World};
use octavius_testbed::{cluster::Failed, server::Server};
use rustix::process::Signal;

/// More than the places of one executor: some of them wait.
const EXECUTIONS: usize = 20;

#[tokio::test]
async fn a_newer_process_of_one_id_takes_over_and_the_older_one_starts_nothing_more()
-> Result<(), Failed> {
    let world = World::start("twins").await?;
    let mut older = world.executor("twin", "older");
    older.start();
    let all = world.execute(EXECUTIONS);
    world.have_run(&all, PLACES).await;

    let mut newer = world.executor("twin", "newer");
    newer.start();
    is_told(&world, &older).await;
    world.let_end();
    for execution in &all {
        world.ran_once(execution).await;
    }
    let by = |who: &str| all.iter().filter(|id| world.runs(id) == [who]).count();
    assert_eq!((by("older"), by("newer")), (PLACES, EXECUTIONS - PLACES));
    one_is_left(&world, &mut older, &mut newer).await
}

#[tokio::test]
async fn who_was_frozen_while_a_newer_process_of_its_id_came_starts_nothing_more()
-> Result<(), Failed> {
    let world = World::start("frozen-twin").await?;
    let mut older = world.executor("twin", "older");
    older.start();
    let all = world.execute(EXECUTIONS);
    // The others of its places are on their way: made, let go, or only granted.
    world.have_run(&all, 1).await;
    older.signal(Signal::STOP);
    let before: Vec<_> = all.iter().filter(|id| !world.runs(id).is_empty()).collect();

    let mut newer = world.executor("twin", "newer");
    newer.start();
    world.have_run(&all, PLACES).await;
    older.signal(Signal::CONT);
    is_told(&world, &older).await;
    world.let_end();
    for execution in &all {
        world.ran_once(execution).await;
    }
    for execution in before {
        assert_eq!(world.runs(execution), ["older"]);
    }
    // What waited for a place.
    for execution in &all[PLACES..] {
        assert_eq!(world.runs(execution), ["newer"]);
    }
    one_is_left(&world, &mut older, &mut newer).await
}

/// Who was taken over from says so, with what it takes to mend that.
async fn is_told(world: &World, older: &Server) {
    let line = world.says(older, "took over from this one").await;
    for part in ["executor twin", " at 20", "its place is ", "stop this one, or give it an `id`"] {
        assert!(line.contains(part), "no `{part}` in {line}");
    }
    world.says(older, "left to the newer process of this executor").await;
}

/// There is one executor, nothing of what ran is left though both go on, and both end when they are asked to.
async fn one_is_left(world: &World, older: &mut Server, newer: &mut Server) -> Result<(), Failed> {
    let executors = world.user.run(&["executors"]).unwrap();
    let of_it: Vec<_> = executors.lines().filter(|line| line.starts_with("twin ")).collect();
    assert!(of_it.len() == 1 && of_it[0].contains(" ready "), "{executors}");
    world.nothing_is_left().await?;
    assert_eq!(newer.end().await, Some(0), "{}", newer.said());
    assert_eq!(older.end().await, Some(0), "{}", older.said());
    Ok(())
}
