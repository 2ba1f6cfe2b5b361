//! What the controller wants, and what programs do: stops, releases, limits, ends.

use crate::{
    script::{self, PATIENCE, lease},
    world::{WAIT, World, entries},
};
use octavius_protocol::v1::{self, ExecutionState};
use rustix::process::{Pid, Signal, kill_process};
use std::{fs, time::Duration};
use tokio::time::Instant;

/// For so long a program may run on unheard: longer than a machine stands still whose controller answers.
const UNHEARD: prost_types::Duration = prost_types::Duration { seconds: 6, nanos: 0 };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_what_runs_and_repeating_it_costs_little() {
    let world = World::start().await;
    let id = world
        .controller
        .grant(world.shell("trap '' TERM; echo a; while :; do sleep 0.05; done"))
        .await;
    world.controller.until("running", |state| state.attempts[&id].log == b"a\n").await;
    let before = world.controller.with(|state| {
        state.attempts.get_mut(&id).unwrap().stop = true;
        (state.attends.len(), Instant::now())
    });
    let (before, began) = before.await;
    let ended = world.controller.over(&id).await;
    assert_eq!((ended.state(), &*ended.reason_code), (ExecutionState::Cancelled, "cancelled"));
    assert_eq!(ended.reason, "stopped: the script says so");
    let attends = world.controller.with(|state| state.attends.len()).await - before;
    let most = 8 + 8 * began.elapsed().as_secs() as usize;
    assert!(attends <= most, "asked in a circle: {attends} attends in {:?}", began.elapsed());
    world.nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_that_the_controller_leaves_alone_only_the_one_that_may_not_run_on_is_stopped() {
    let world = World::start().await;
    let script = format!("echo a; {WAIT}; echo b");
    let short = v1::Lease { stop_if_unheard: Some(UNHEARD), ..world.shell(&script) };
    let (short, long) =
        (world.controller.grant(short).await, world.controller.grant(world.shell(&script)).await);
    let both = |state: &script::State| {
        [&short, &long].into_iter().all(|id| state.attempts[id].log == b"a\n")
    };
    world.controller.until("running", both).await;
    // As long as it is heard, any length is right.
    let attends = world.controller.with(|state| state.attends.len()).await;
    world.controller.until("heard", |state| state.attends.len() > attends + 6).await;
    let unheard = Instant::now();
    world.controller.with(|state| state.faults.refuse.insert("Attend", u32::MAX)).await;
    let ended = world.controller.over(&short).await;
    assert_eq!((ended.state(), &*ended.reason_code), (ExecutionState::Lost, "unheard"));
    assert!(ended.reason.contains("no answer of the controller for 6s"), "{}", ended.reason);
    assert!(unheard.elapsed() > Duration::from_millis(1_200), "{:?}", unheard.elapsed());
    assert_eq!(world.controller.log(&short).await, "a\n");
    world.controller.with(|state| state.faults.refuse.clear()).await;
    world.open_gate();
    world.ends_with_success(&long, "a\nb\n").await;
}

/// The controller may know of it, and takes no other one: as where it gave the attempt up meanwhile, and orders its stop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_was_said_is_said_again_as_it_was_whatever_is_ordered_since() {
    let world = World::start().await;
    let lease =
        v1::Lease { stop_if_unheard: Some(UNHEARD), ..world.shell(&format!("echo a; {WAIT}")) };
    let id = world.controller.grant(lease).await;
    world.controller.until("running", |state| state.attempts[&id].log == b"a\n").await;
    let unanswered = |state: &mut script::State| {
        state.faults.refuse.insert("Attend", u32::MAX);
        state.faults.lose.insert("Ended", u32::MAX);
    };
    world.controller.with(unanswered).await;
    world.controller.until("said", |state| state.attempts[&id].ended.is_some()).await;
    // It forgets what it heard, and hears no other end before its order to stop has arrived.
    let back = |state: &mut script::State| {
        (state.faults.refuse, state.faults.lose) = ([("Ended", u32::MAX)].into(), [].into());
        let attempt = state.attempts.get_mut(&id).unwrap();
        (attempt.stop, attempt.ended, attempt.over) = (true, None, false);
        state.attends.len()
    };
    let attends = world.controller.with(back).await;
    let ordered = |state: &script::State| state.attends.len() > attends + 2;
    world.controller.until("ordered to stop", ordered).await;
    world.controller.with(|state| state.faults.refuse.clear()).await;
    world.nothing_left().await;
    let ended = world.controller.over(&id).await;
    assert_eq!((ended.state(), &*ended.reason_code), (ExecutionState::Lost, "unheard"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_before_it_goes_means_that_it_never_ran() {
    let world = World::start().await;
    world.controller.with(|state| state.faults.refuse.insert("Prepared", u32::MAX)).await;
    let id = world.controller.grant(world.shell("echo x")).await;
    let refused = |state: &script::State| state.refused.contains_key("Prepared");
    world.controller.until("refused", refused).await;
    world.controller.with(|state| state.attempts.get_mut(&id).unwrap().stop = true).await;
    let ended = world.controller.over(&id).await;
    assert_eq!(ended.state(), ExecutionState::Cancelled, "{ended:?}");
    world.nothing_left().await;
    assert_eq!(world.runs(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_prepared_and_is_gone_is_lost() {
    let world = World::start().await;
    let mut lease = world.shell("echo x");
    lease.identity = "what-is-gone".to_owned();
    let id = world.controller.grant(lease).await;
    let ended = world.controller.over(&id).await;
    assert_eq!((ended.state(), &*ended.reason_code), (ExecutionState::Lost, "vanished"));
    assert!(ended.reason.contains("what was prepared for this attempt is gone"), "{ended:?}");
    world.nothing_left().await;
    assert_eq!(world.runs(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_back_is_stopped_removed_and_not_reported() {
    let world = World::start().await;
    let id = world.controller.grant(world.shell("echo a; while :; do sleep 0.05; done")).await;
    world.controller.until("running", |state| state.attempts[&id].log == b"a\n").await;
    world.controller.with(|state| state.attempts.get_mut(&id).unwrap().taken_back = true).await;
    world.nothing_left().await;
    assert!(!world.controller.reports(&id).await.contains(&"Ended"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_learns_from_a_report_that_it_holds_nothing_stops_and_removes_it() {
    let world = World::start().await;
    world.controller.with(|state| state.faults.refuse.insert("Running", u32::MAX)).await;
    let id = world.controller.grant(world.shell("echo a; while :; do sleep 0.05; done")).await;
    let refused = |state: &script::State| state.refused.contains_key("Running");
    world.controller.until("refused", refused).await;
    let take_back = |state: &mut script::State| {
        state.faults.refuse.clear();
        let attempt = state.attempts.get_mut(&id).unwrap();
        (attempt.taken_back, attempt.unsaid) = (true, true);
    };
    world.controller.with(take_back).await;
    world.nothing_left().await;
    let mut reports = world.controller.reports(&id).await;
    reports.dedup();
    assert_eq!(reports, ["Prepared"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lost_its_supervisor_is_told_in_time_though_its_log_cannot_be_stored() {
    let mut world = World::without_executor().await;
    world.log_wait = Duration::from_secs(3);
    world.start_executor().await;
    let script = "echo $PPID > \"$GATE\"; echo a; while :; do sleep 0.05; done";
    let id = world.controller.grant(world.shell(script)).await;
    world.controller.until("running", |state| state.attempts[&id].log == b"a\n").await;
    world.controller.with(|state| state.faults.refuse.insert("Append", u32::MAX)).await;
    let supervisor = fs::read_to_string(world.path("gate")).unwrap();
    let supervisor = supervisor.trim();
    let command = fs::read_to_string(format!("/proc/{supervisor}/cmdline")).unwrap();
    assert!(command.contains("supervise"), "{command}");
    let supervisor = Pid::from_raw(supervisor.parse().unwrap()).unwrap();
    kill_process(supervisor, Signal::KILL).unwrap();

    let ended = world.controller.over(&id).await;
    assert_eq!((ended.state(), &*ended.reason_code), (ExecutionState::Lost, "vanished"));
    assert_eq!(ended.log_size, 2, "what had arrived");
    assert_eq!(ended.log_cut, "the log is not whole: the rest was not stored within 3s");
    let refused = world.controller.with(|state| state.refused["Append"]).await;
    assert!(refused > 0, "nothing kept the log from arriving");
    world.nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_is_not_there_is_a_failed_start() {
    let world = World::start().await;
    let id = world.controller.grant(lease(&["/there/is/no/such/program"])).await;
    let ended = world.controller.over(&id).await;
    assert_eq!((ended.state(), &*ended.reason_code), (ExecutionState::Failed, "start_failed"));
    assert!(ended.reason.contains("/there/is/no/such/program"), "{ended:?}");
    world.nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_limit_ends_a_program_and_names_itself() {
    let world = World::start().await;
    let mut lease = world.shell("echo a; while :; do sleep 0.05; done");
    lease.timeout = Some(prost_types::Duration { seconds: 0, nanos: 300_000_000 });
    let id = world.controller.grant(lease).await;
    let ended = world.controller.over(&id).await;
    assert_eq!((ended.state(), &*ended.reason_code), (ExecutionState::TimedOut, "timeout"));
    assert_eq!(ended.reason, "stopped after its time limit of 300ms");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_is_asked_for_than_there_is_room_for() {
    let world = World::start().await;
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(world.controller.grant(world.shell(&format!("{WAIT}; echo x"))).await);
    }
    // This script's Attend would hand out more than was asked for: what is granted is taken all the same.
    world.controller.until("all held", |state| state.held.len() == 5).await;
    let beaten_on = async || {
        let attends = world.controller.with(|state| state.attends.len()).await;
        world.controller.until("beaten on", |state| state.attends.len() >= attends + 3).await;
    };
    // A call that was under way when it became full may come after a sign of life.
    beaten_on().await;
    let asked = world.controller.with(|state| state.polled.clone()).await;
    assert!(asked.iter().all(|free| (1..=2).contains(free)), "{asked:?}");
    beaten_on().await;
    let now = world.controller.with(|state| state.polled.len()).await;
    assert_eq!(now, asked.len(), "an executor that is full asked for work");
    world.open_gate();
    for id in &all {
        assert_eq!(world.controller.over(id).await.state(), ExecutionState::Succeeded);
    }
    world.nothing_left().await;
    assert_eq!(world.runs(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_and_granted_again_is_not_asked_for_in_a_circle() {
    let world = World::start().await;
    let id = world.controller.grant(world.shell(&format!("echo a; {WAIT}"))).await;
    world.controller.until("running", |state| state.attempts[&id].log == b"a\n").await;
    let began = world.controller.with(|state| {
        state.faults.grant_what_is_held = true;
        (state.polled.len(), state.attends.len())
    });
    let (polls, attends) = began.await;
    let asked = |state: &script::State| {
        state.attends.len() >= attends + 4 && state.polled.len() >= polls + 2
    };
    world.controller.until("asked on", asked).await;
    let polls = world.controller.with(|state| state.polled.len()).await - polls;
    // Pauses grow from 100 ms: within two seconds there is no time for more.
    assert!((2..20).contains(&polls), "{polls} polls");
    world.controller.with(|state| state.faults.grant_what_is_held = false).await;
    world.open_gate();
    world.ends_with_success(&id, "a\n").await;
    assert_eq!(world.runs(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_ends_an_executor_with_its_jobs_leaves_nothing_behind() {
    let mut world = World::start().await;
    let id = world.controller.grant(world.shell("echo a; while :; do sleep 0.05; done")).await;
    world.controller.until("running", |state| state.attempts[&id].log == b"a\n").await;
    world.running.take().unwrap().stop_and_end_jobs(PATIENCE).await;
    let ended = world.controller.over(&id).await;
    assert_eq!(ended.state(), ExecutionState::Cancelled);
    assert!(ended.reason.contains("ended together with its jobs"), "{ended:?}");
    assert_eq!(entries(&world.state_dir().join("attempts")), Vec::<String>::new());
}
