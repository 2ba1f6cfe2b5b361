//! What a runner makes of an API server that expires, freezes, refuses and ends what it is asked, and of its own panics.

use crate::place::{Cluster, OURS, SOON, sees};
use octavius_executor::runner::{Exit, Phase, Runner, Work, kubernetes::KubeRunner, suite};
use octavius_protocol::id::AttemptId;
use octavius_testbed::cluster::{Fate, Front};
use serde_json::json;
use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout};

/// A runner behind a stand before the API server.
async fn behind(place: &Cluster) -> (Front, KubeRunner) {
    let front = place.namespace.front().await.unwrap();
    let kubeconfig = front.kubeconfig("behind", &json!({"token": front.token}));
    let runner = place.runner_with(kubeconfig).await;
    (front, runner)
}

/// Work that runs until [`let_end`].
async fn running(place: &Cluster, runner: &KubeRunner) -> Work {
    let mut work =
        place.work(&format!("until [ -e {} ]; do sleep 0.2; done", place.path("end").display()));
    work.timeout = None;
    suite::start(runner, &work).await;
    is_seen(runner, work.attempt, SOON, |phase| *phase == Phase::Running).await;
    work
}

fn let_end(place: &Cluster) {
    std::fs::write(place.path("end"), "").unwrap();
}

/// Waits until the watches show this, and asks for nothing.
async fn is_seen(
    runner: &KubeRunner,
    attempt: AttemptId,
    within: Duration,
    wanted: impl Fn(&Phase) -> bool,
) -> Phase {
    let deadline = Instant::now() + within;
    let mut phase = Phase::Prepared;
    while !wanted(&phase) {
        assert!(Instant::now() < deadline, "after {within:?}: {phase:?}");
        phase = runner.wait(attempt, &phase, Duration::from_secs(1)).await.unwrap();
    }
    phase
}

async fn its_end_is_seen(runner: &KubeRunner, work: &Work, within: Duration) {
    let ended = |phase: &Phase| matches!(phase, Phase::Ended(_));
    let phase = is_seen(runner, work.attempt, within, ended).await;
    assert!(matches!(phase, Phase::Ended(Exit { code: Some(0), .. })), "{phase:?}");
}

/// Fewer than two questions a second, of all that came since.
fn seldom(front: &Front, before: usize, began: Instant) {
    let (asked, took) = (front.asked().len() - before, began.elapsed());
    assert!((asked as f64) < 2.0 * took.as_secs_f64(), "{asked} in {took:?}");
}

/// As an API server says that a version is too old: in a watch that it opened, or instead of one.
fn too_old(in_a_watch: bool) -> Fate {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "too old resource version: 1 (4711)", "reason": "Expired", "code": 410,
    });
    let json = vec![("content-type", "application/json".to_owned())];
    match in_a_watch {
        true => Fate::Say(200, json, format!("{}\n", json!({"type": "ERROR", "object": status}))),
        false => Fate::Say(410, json, status.to_string()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_is_too_old_begins_again_with_a_list_and_misses_nothing() {
    let place = Cluster::new("old").await;
    let (front, runner) = behind(&place).await;
    let work = running(&place, &runner).await;
    // A watch ends while nothing can be listed, and what happens meanwhile is in no watch any more.
    front.rule(|asked| match asked.is_watch() {
        true => too_old(true),
        false => Fate::Say(500, vec![], String::new()),
    });
    front.cut();
    let_end(&place);
    let done = ["get", "jobs", "--output=jsonpath={.items[*].status.succeeded}"];
    place.namespace.until(&done, |done| done == "1").await.unwrap();
    let (before, watches) = (front.asked().len(), AtomicUsize::new(0));
    front.rule(move |asked| {
        let of_watches = || watches.fetch_add(1, Relaxed);
        match asked.is_watch().then(of_watches) {
            Some(number @ 0..6) => too_old(number % 2 == 0),
            Some(_) | None => Fate::Pass,
        }
    });
    its_end_is_seen(&runner, &work, SOON).await;
    sees(&runner, true).await;
    let watches = front.asked()[before..].iter().filter(|asked| asked.is_watch()).count();
    assert!(watches <= 15, "{watches} watches: the same version is asked for again and again");
    runner.remove(work.attempt).await.unwrap();
}

/// Said in the documentation: 75 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_go_dead_without_a_word_are_noticed() {
    let place = Cluster::new("dead").await;
    let (front, runner) = behind(&place).await;
    let work = running(&place, &runner).await;
    front.freeze();
    let began = Instant::now();
    let_end(&place);
    its_end_is_seen(&runner, &work, Duration::from_secs(75) + SOON).await;
    assert!(began.elapsed() > Duration::from_secs(10), "the connections were not dead");
    sees(&runner, true).await;
    runner.remove(work.attempt).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_server_that_cannot_or_will_not_answer_is_asked_seldom_and_left_alone_as_it_says() {
    let place = Cluster::new("busy").await;
    let (front, runner) = behind(&place).await;
    let work = running(&place, &runner).await;
    front.rule(|_| Fate::Say(500, vec![], "no".to_owned()));
    front.cut();
    let mut sight = runner.sight();
    let says_so = |why: &Option<String>| why.as_ref().is_some_and(|why| why.contains("500"));
    timeout(SOON, sight.wait_for(says_so)).await.unwrap().unwrap();
    let (before, began) = (front.asked().len(), Instant::now());
    sleep(Duration::from_secs(15)).await; // what is counted is what comes in that time
    seldom(&front, before, began);

    const ALONE: Duration = Duration::from_secs(15);
    let after = || vec![("retry-after", ALONE.as_secs().to_string())];
    front.rule(move |_| Fate::Say(429, after(), "slow down".to_owned()));
    let (before, began) = (front.asked().len(), Instant::now());
    let deadline = began + SOON;
    let mut asked = Vec::new();
    while asked.len() < 3 || began.elapsed() < ALONE {
        assert!(Instant::now() < deadline, "{asked:?}");
        sleep(Duration::from_millis(100)).await;
        asked = front.asked().split_off(before);
    }
    seldom(&front, before, began);
    // Who asked before the answer was here had no way to know, and that may come late.
    let first = asked[0].at;
    let early = asked.iter().filter(|asked| asked.at > first + Duration::from_secs(5));
    for asked in early {
        assert!(asked.at >= first + ALONE, "{:?} after it: {asked:?}", asked.at - first);
    }
    front.rule(|_| Fate::Pass);
    let_end(&place);
    its_end_is_seen(&runner, &work, SOON).await;
    sees(&runner, true).await;
    runner.remove(work.attempt).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_that_end_at_once_are_no_busy_loop_and_ends_are_seen_by_lists() {
    let place = Cluster::new("short").await;
    let (front, runner) = behind(&place).await;
    let work = running(&place, &runner).await;
    front.rule(|asked| match asked.is_watch() {
        true => {
            Fate::Say(200, vec![("content-type", "application/json".to_owned())], String::new())
        }
        false => Fate::Pass,
    });
    front.cut();
    let why = sees(&runner, false).await;
    let (before, began) = (front.asked().len(), Instant::now());
    let mut sight = runner.sight();
    let seen = timeout(Duration::from_secs(15), sight.wait_for(Option::is_none)).await;
    assert!(seen.is_err(), "work is taken between two watches that end at once; first: {why}");
    seldom(&front, before, began);
    let_end(&place);
    its_end_is_seen(&runner, &work, SOON).await;
    front.rule(|_| Fate::Pass);
    sees(&runner, true).await;
    runner.remove(work.attempt).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_of_the_runner_that_panics_is_begun_again() {
    let place = Cluster::new("panics").await;
    let runner = place.runner().await;
    let work = running(&place, &runner).await;
    for what in ["Jobs", "pods"] {
        let task = format!("{what} in the namespace `{}`", place.namespace.name());
        let (mut sight, deadline) = (runner.sight(), Instant::now() + SOON);
        let why = loop {
            // It is blind for a second, which a busy machine may miss, and for longer each time that it panics again.
            runner.panic_in(&task);
            match timeout(Duration::from_secs(5), sight.wait_for(Option::is_some)).await {
                Ok(why) => break why.unwrap().clone().unwrap(),
                Err(_) => assert!(Instant::now() < deadline, "nobody says that {task} panicked"),
            }
        };
        assert!(why.starts_with(what) && why.contains("panicked"), "{why}");
        sees(&runner, true).await;
    }
    for task in ["keepers".to_owned(), "clock".to_owned(), format!("keeper of {}", work.attempt)] {
        runner.panic_in(&task);
    }
    let later = place.work("sleep 300");
    suite::start(&runner, &later).await;
    is_seen(&runner, later.attempt, SOON, |phase| *phase == Phase::Running).await;
    // Which is what keepers do once a program runs.
    let secrets = ["get", "secrets", OURS, "--output=name"];
    place.namespace.until(&secrets, str::is_empty).await.unwrap();
    let_end(&place);
    its_end_is_seen(&runner, &work, SOON).await;
    for work in [work, later] {
        runner.remove(work.attempt).await.unwrap();
    }
}
