//! The whole executor, on real processes, against a controller that fails on purpose.

#![allow(clippy::unwrap_used)]

mod masking;
mod orders;
#[path = "../script/mod.rs"]
mod script;
mod world;

use octavius_executor::lease;
use octavius_protocol::v1::{ExecutionState, HeldPhase};
use std::time::Duration;
use tokio::time::Instant;
use world::{WAIT, World, entries};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_is_run_told_shown_and_removed() {
    let world = World::start().await;
    let id = world.controller.grant(world.shell("echo out; echo err >&2; exit 3")).await;
    let ended = world.controller.over(&id).await;
    assert_eq!((ended.state(), &*ended.reason_code), (ExecutionState::Failed, "exit_code"));
    assert_eq!((ended.exit_code, &*ended.reason), (Some(3), "the program exited with 3"));
    assert_eq!(world.controller.log(&id).await, "out\nerr\n");
    let mut reports = world.controller.reports(&id).await;
    // On a machine with much to do the end may be told before the log is there, and then again.
    reports.dedup();
    assert_eq!(reports, ["Prepared", "Running", "Ended"]);
    world.nothing_left().await;
    assert_eq!(world.runs(), 1);
    let callers = world.controller.with(|state| state.callers.clone()).await;
    assert_ne!(callers["Attend"], callers["Append"], "logs can hold up the signs of life");
    let authorization = world.controller.with(|state| state.authorization.clone()).await;
    assert_eq!(authorization.as_deref(), Some("Bearer planted-token"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_joins_keeps_its_credential_and_comes_back_with_it() {
    let mut world = World::without_executor().await;
    let credential = "octe_planted-credential";
    world.controller.with(|state| state.credential = Some(credential.to_owned())).await;
    world.start_executor().await;
    let id = world.controller.grant(world.shell(":")).await;
    world.ends_with_success(&id, "").await;
    world.stop_executor().await;
    let kept = std::fs::read_to_string(world.state_dir().join("credential")).unwrap();
    assert_eq!(kept, credential);
    world.start_executor().await;
    let id = world.controller.grant(world.shell(":")).await;
    world.ends_with_success(&id, "").await;
    let authorization = world.controller.with(|state| state.authorization.clone()).await;
    assert_eq!(authorization.as_deref(), Some("Bearer octe_planted-credential"));
}

/// As after a newer process of the same id, which has joined with the same service account and has ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_the_file_of_a_token_joins_again_when_its_credential_counts_no_more() {
    let mut world = World::without_executor().await;
    world.has_token_file = true;
    std::fs::write(world.path("token"), "first\n").unwrap();
    let credential = |text: &str| Some(text.to_owned());
    world.controller.with(|state| state.credential = credential("octe_first")).await;
    world.start_executor().await;
    let id = world.controller.grant(world.shell(":")).await;
    world.ends_with_success(&id, "").await;
    // Whoever passes the call on may lack a certificate: nothing is wrong with the credential.
    let unproven = |reason| [("Attend", (1, reason)), ("Register", (1, reason))].into();
    let joined = |state: &mut script::State| state.registrations.len();
    let before = world.controller.with(joined).await;
    world.controller.with(|state| state.faults.unproven = unproven("NO_CERTIFICATE")).await;
    let id = world.controller.grant(world.shell(":")).await;
    world.ends_with_success(&id, "").await;
    assert_eq!(world.controller.with(joined).await, before);

    std::fs::write(world.path("token"), "second\n").unwrap();
    world.controller.with(|state| state.credential = credential("octe_second")).await;
    world.controller.with(|state| state.faults.unproven = unproven("BAD_TOKEN")).await;
    let began = Instant::now();
    while world.controller.with(joined).await == before {
        assert!(began.elapsed() < script::PATIENCE, "it does not join again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let authorization = world.controller.with(|state| state.authorization.clone()).await;
    assert_eq!(authorization.as_deref(), Some("Bearer second"));
    let id = world.controller.grant(world.shell(":")).await;
    world.ends_with_success(&id, "").await;
    let kept = std::fs::read_to_string(world.state_dir().join("credential")).unwrap();
    assert_eq!(kept, "octe_second");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_of_a_program_that_says_nothing_costs_no_call() {
    let world = World::start().await;
    let id = world.controller.grant(world.shell(":")).await;
    world.ends_with_success(&id, "").await;
    let callers = world.controller.with(|state| state.callers.clone()).await;
    assert!(callers.contains_key("Attend") && !callers.contains_key("Append"), "{callers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_may_be_lost_and_each_byte_arrives_once() {
    let world = World::start().await;
    let all = ["Register", "Attend", "Poll", "Prepared", "Running", "Append", "Ended"];
    world.controller.with(|state| state.faults.lose = all.map(|method| (method, 2)).into()).await;
    world.controller.with(|state| state.session = 0).await;
    let id = world.controller.grant(world.shell("echo one; sleep 0.2; echo two")).await;
    world.ends_with_success(&id, "one\ntwo\n").await;
    assert_eq!(world.runs(), 1);
    // A poll may be parked until its time is over.
    let all_lost = |state: &script::State| state.faults.lose.values().all(|left| *left == 0);
    world.controller.until("lost as often as it should be", all_lost).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_goes_before_what_was_prepared_is_acknowledged() {
    let world = World::start().await;
    world.controller.with(|state| state.faults.refuse.insert("Prepared", u32::MAX)).await;
    let id = world.controller.grant(world.shell("echo x")).await;
    let refused = |state: &script::State| state.refused.get("Prepared") >= Some(&4);
    world.controller.until("refused", refused).await;
    assert_eq!(world.runs(), 0, "it went");
    world.controller.with(|state| state.faults.refuse.clear()).await;
    world.ends_with_success(&id, "x\n").await;
    assert_eq!(world.runs(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_gone_is_opened_again_and_nothing_stops() {
    let world = World::start().await;
    let id = world.controller.grant(world.shell(&format!("echo a; {WAIT}; echo b"))).await;
    world.controller.until("running", |state| state.attempts[&id].log == b"a\n").await;
    for _ in 0..2 {
        let known = world.controller.with(|state| {
            state.session = 0;
            state.registrations.len()
        });
        let known = known.await;
        world.controller.until("registered", |state| state.registrations.len() > known).await;
    }
    world.open_gate();
    world.ends_with_success(&id, "a\nb\n").await;
    let registrations = world.controller.with(|state| state.registrations.clone()).await;
    let installation = world.controller.with(|state| state.installation.clone()).await;
    assert!(registrations.windows(2).all(|pair| pair[0].instance == pair[1].instance));
    assert_eq!(registrations[0].installation, "");
    assert_eq!(registrations.last().unwrap().installation, installation);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_learns_first_that_the_session_is_gone_tells_the_others() {
    let mut world = World::without_executor().await;
    // So patient that the heartbeat alone would notice it after 20 seconds.
    world.controller.with(|state| state.ping_deadline = 60).await;
    world.start_executor().await;
    world.controller.until("beaten", |state| state.first_held.is_some()).await;
    let attends = world.controller.with(|state| {
        state.faults.hang_attends = true;
        state.attends.len()
    });
    let attends = attends.await;
    world.controller.until("hanging", |state| state.attends.len() > attends).await;
    let began = Instant::now();
    let known = world.controller.with(|state| {
        state.session = 0;
        state.registrations.len()
    });
    let known = known.await;
    world.controller.until("registered", |state| state.registrations.len() > known).await;
    assert!(began.elapsed() < Duration::from_secs(10), "noticed after {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deposed_controller_is_not_obeyed() {
    let world = World::start().await;
    let id = world.controller.grant(world.shell(&format!("echo a; {WAIT}; echo b"))).await;
    world.controller.until("running", |state| state.attempts[&id].log == b"a\n").await;
    let before = world.controller.with(|state| {
        state.faults.old_term = true;
        state.attends.len()
    });
    let before = before.await;
    world.controller.until("answered", |state| state.attends.len() >= before + 4).await;
    let held = world.running().attempts().held().borrow().clone().unwrap();
    assert_eq!(held.iter().map(|held| held.phase).collect::<Vec<_>>(), [lease::HeldPhase::Running]);
    world.controller.with(|state| state.faults.old_term = false).await;
    world.open_gate();
    world.ends_with_success(&id, "a\nb\n").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_heartbeat_that_hangs_holds_up_neither_the_next_nor_the_work() {
    let world = World::start().await;
    let before = world.controller.with(|state| {
        state.faults.hang_attends = true;
        state.attends.len()
    });
    let before = before.await;
    let id = world.controller.grant(world.shell("echo x")).await;
    world.ends_with_success(&id, "x\n").await;
    world.controller.until("beaten on", |state| state.attends.len() >= before + 4).await;
    let attends = world.controller.with(|state| state.attends[before..].to_vec()).await;
    // The deadline is 3 s: one that hangs is given up after a third of it, and tried again after a pause.
    // A machine that stands still makes one gap longer, and not each.
    let gaps: Vec<_> = attends.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().any(|gap| *gap < Duration::from_secs(3)), "{gaps:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_that_forgets_what_was_not_durable_gets_it_again() {
    let world = World::start().await;
    world.controller.with(|state| state.faults.nothing_durable = true).await;
    let lines = "i=0; while [ $i -lt 20 ]; do echo line $i; i=$((i+1)); sleep 0.02; done";
    let id = world.controller.grant(world.shell(&format!("{lines}; {WAIT}; echo end"))).await;
    world.controller.until("sent", |state| state.attempts[&id].log.ends_with(b"line 19\n")).await;
    let crash = |state: &mut script::State| {
        let attempt = state.attempts.get_mut(&id).unwrap();
        attempt.log.truncate(attempt.first_end());
    };
    world.controller.with(crash).await;
    world.open_gate();
    let sent = |state: &script::State| state.attempts[&id].log.ends_with(b"end\n");
    world.controller.until("sent again", sent).await;
    world.controller.with(|state| state.faults.nothing_durable = false).await;
    let log: String = (0..20).map(|line| format!("line {line}\n")).collect();
    world.ends_with_success(&id, &format!("{log}end\n")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_lost_after_the_end_was_told_is_sent_again() {
    let world = World::start().await;
    world.controller.with(|state| state.faults.refuse.insert("Ended", u32::MAX)).await;
    let id = world.controller.grant(world.shell("echo hello")).await;
    // The end may be told before the log is there.
    let refused = |state: &script::State| {
        state.refused.contains_key("Ended") && state.attempts[&id].log == b"hello\n"
    };
    world.controller.until("refused", refused).await;
    let crash = |state: &mut script::State| {
        state.faults.refuse.clear();
        let attempt = state.attempts.get_mut(&id).unwrap();
        attempt.log.clear();
        attempt.durable = 0;
    };
    world.controller.with(crash).await;
    world.ends_with_success(&id, "hello\n").await;
    let mut reports = world.controller.reports(&id).await;
    assert!(reports.len() > 3, "the end was not told again: {reports:?}");
    reports.dedup();
    assert_eq!(reports, ["Prepared", "Running", "Ended"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_is_told_though_its_log_cannot_be_stored() {
    let world = World::start().await;
    world.controller.with(|state| state.faults.refuse.insert("Append", u32::MAX)).await;
    let id = world.controller.grant(world.shell("echo hello")).await;
    world.controller.until("told", |state| state.attempts[&id].ended.is_some()).await;
    let ended = world.controller.with(|state| state.attempts[&id].ended.clone().unwrap()).await;
    assert_eq!((ended.state(), ended.log_size), (ExecutionState::Succeeded, 6));
    assert_eq!(ended.log_crc, script::crc(b"hello\n"));
    assert!(!world.controller.with(|state| state.attempts[&id].over).await);
    world.controller.with(|state| state.faults.refuse.clear()).await;
    world.ends_with_success(&id, "hello\n").await;
    let mut reports = world.controller.reports(&id).await;
    assert!(reports.len() > 3, "the end was not told again: {reports:?}");
    reports.dedup();
    assert_eq!(reports, ["Prepared", "Running", "Ended"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_whose_words_are_refused_is_told_without_them() {
    let world = World::start().await;
    world.controller.with(|state| state.faults.refuse_reasons = true).await;
    let id = world.controller.grant(world.shell("echo hello")).await;
    world.ends_with_success(&id, "hello\n").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_outlives_its_executor_and_the_next_one_finishes_the_story() {
    let mut world = World::start().await;
    let id = world.controller.grant(world.shell(&format!("echo a; {WAIT}; echo b"))).await;
    world.controller.until("running", |state| state.attempts[&id].log == b"a\n").await;
    world.stop_executor().await;
    let known = world.controller.with(|state| state.registrations.len()).await;
    world.start_executor().await;
    world.controller.until("registered", |state| state.registrations.len() > known).await;
    world.controller.until("beaten", |state| state.first_held.is_some()).await;
    let first = world.controller.with(|state| state.first_held.clone().unwrap()).await;
    let named: Vec<_> = first.iter().filter_map(|held| held.lease.clone()).collect();
    assert_eq!(named.len(), 1, "the list was sent before it was complete");
    assert_eq!((&named[0].execution, first[0].phase()), (&id, HeldPhase::Running));
    world.open_gate();
    world.ends_with_success(&id, "a\nb\n").await;
    assert_eq!(world.runs(), 1);
    let registrations = world.controller.with(|state| state.registrations.clone()).await;
    let (first, last) = (&registrations[0], registrations.last().unwrap());
    assert_eq!(first.place, last.place);
    assert_ne!(first.instance, last.instance);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_prepared_by_the_last_executor_goes_under_the_next() {
    let mut world = World::start().await;
    world.controller.with(|state| state.faults.refuse.insert("Prepared", u32::MAX)).await;
    let id = world.controller.grant(world.shell("echo x")).await;
    let refused = |state: &script::State| state.refused.contains_key("Prepared");
    world.controller.until("refused", refused).await;
    world.stop_executor().await;
    assert_eq!(entries(&world.state_dir().join("attempts")).len(), 1);
    world.controller.with(|state| state.faults.refuse.clear()).await;
    world.start_executor().await;
    world.ends_with_success(&id, "x\n").await;
    assert_eq!(world.runs(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_actor_may_panic_and_work_goes_on() {
    let world = World::start().await;
    let id = world.controller.grant(world.shell(&format!("echo a; {WAIT}; echo b"))).await;
    world.controller.until("running", |state| state.attempts[&id].log == b"a\n").await;
    assert!(world.running().attempts().inject_panic().await.is_err());
    assert!(world.running().heartbeat().inject_panic().await.is_err());
    assert!(world.running().poller().inject_panic().await.is_err());
    let second = world.controller.grant(script::lease(&["echo", "after"])).await;
    assert_eq!(world.controller.over(&second).await.state(), ExecutionState::Succeeded);
    world.open_gate();
    world.ends_with_success(&id, "a\nb\n").await;
    assert_eq!(world.runs(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_that_is_away_stops_no_job_and_misses_nothing() {
    let world = World::start().await;
    let id = world.controller.grant(world.shell(&format!("echo a; {WAIT}; echo b"))).await;
    world.controller.until("running", |state| state.attempts[&id].log == b"a\n").await;
    let methods = ["Attend", "Poll", "Append", "Running", "Ended"];
    let away = methods.map(|method| (method, u32::MAX));
    world.controller.with(|state| state.faults.refuse = away.into()).await;
    world.open_gate();
    let refused = |state: &script::State| state.refused.get("Append") >= Some(&3);
    world.controller.until("tried again", refused).await;
    world.controller.with(|state| state.faults.refuse.clear()).await;
    world.ends_with_success(&id, "a\nb\n").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_log_arrives_whole() {
    let world = World::start().await;
    let id = world.controller.grant(world.shell("head -c 5000000 /dev/zero | tr '\\0' 'x'")).await;
    let ended = world.controller.over(&id).await;
    assert_eq!((ended.state(), ended.log_size), (ExecutionState::Succeeded, 5_000_000));
}
