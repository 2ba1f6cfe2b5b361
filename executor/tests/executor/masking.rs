//! What leaves of secrets that programs print.

use crate::{
    script,
    world::{WAIT, World},
};
use octavius_protocol::v1::{self, ExecutionState};
use std::time::Duration;

const PLANTED: &str = "planted-\"secret\"/ä";

fn with_secret(mut lease: v1::Lease) -> v1::Lease {
    lease.secrets.insert("TOKEN".to_owned(), PLANTED.into());
    lease.secrets.insert("SHORT".to_owned(), "1234567".into());
    lease
}

/// Also in the words about it, and where it stands at the end of the log in part.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_program_prints_of_its_secrets_is_masked_on_its_way() {
    let world = World::start().await;
    let script = "echo \"v=$TOKEN, $SHORT\"; printf 'planted-'; sleep 0.3; echo '\"secret\"/ä'; \
                  printf 'planted-\"'; exit 3";
    let id = world.controller.grant(with_secret(world.shell(script))).await;
    let ended = world.controller.over(&id).await;
    assert_eq!((ended.state(), ended.exit_code), (ExecutionState::Failed, Some(3)));
    assert_eq!(ended.log_cut, "");
    assert_eq!(
        world.controller.log(&id).await,
        "v=[masked], 1234567\n[masked]\nplanted-\"\n[octavius: 2 values of secrets are masked in this log]\n"
    );
    world.nothing_left().await;

    let lease = script::lease(&[&format!("/nowhere/{PLANTED}")]);
    let id = world.controller.grant(with_secret(lease)).await;
    let ended = world.controller.over(&id).await;
    assert!(ended.reason.contains("/nowhere/[masked]"), "{ended:?}");
    world.nothing_left().await;
}

/// A log that cannot be stored holds up no end: its size is known before it is sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_what_is_masked_is_told_before_its_log_is_there() {
    let world = World::start().await;
    world.controller.with(|state| state.faults.refuse.insert("Append", u32::MAX)).await;
    let script = "for n in 1 2 3; do echo \"$n $TOKEN\"; done; printf %s \"$TOKEN\"";
    let id = world.controller.grant(with_secret(world.shell(script))).await;
    world.controller.until("told", |state| state.attempts[&id].ended.is_some()).await;
    let log = "1 [masked]\n2 [masked]\n3 [masked]\n[masked]\n[octavius: 4 values of secrets are masked in this log]\n";
    let told = world.controller.with(|state| state.attempts[&id].ended.clone().unwrap()).await;
    assert_eq!((told.log_size, told.log_crc), (log.len() as u64, script::crc(log.as_bytes())));
    assert_eq!(world.controller.log(&id).await, "");
    world.controller.with(|state| state.faults.refuse.clear()).await;
    world.ends_with_success(&id, log).await;
}

/// The values are asked for again, and until they are there nothing is sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_executor_that_starts_again_masks_the_rest_of_a_log() {
    let mut world = World::start().await;
    let script = format!("echo \"a $TOKEN\"; printf planted-; {WAIT}; echo '\"secret\"/ä'");
    let id = world.controller.grant(with_secret(world.shell(&script))).await;
    world.controller.until("running", |state| state.attempts[&id].log == b"a [masked]\n").await;
    world.stop_executor().await;
    let asks = |state: &mut script::State| {
        (state.first_held, state.faults.keep_secrets) = (None, true);
        state.attends.len()
    };
    let attends = world.controller.with(asks).await;
    world.start_executor().await;
    world.controller.until("attended", |state| state.attends.len() > attends + 4).await;
    world.open_gate();
    let ended = |held: &v1::HeldAttempt| held.lacks_secrets && held.phase() == v1::HeldPhase::Ended;
    world.controller.until("ended", |state| state.held.iter().any(ended)).await;
    assert_eq!(world.controller.log(&id).await, "a [masked]\n");
    world.controller.with(|state| state.faults.keep_secrets = false).await;
    let log = "a [masked]\n[masked]\n[octavius: 2 values of secrets are masked in this log]\n";
    world.ends_with_success(&id, log).await;
    let held = world.controller.with(|state| state.first_held.clone().unwrap()).await;
    assert!(held[0].lacks_secrets && held[0].phase() == v1::HeldPhase::Running, "{held:?}");
    assert_eq!(world.runs(), 1);
}

/// What cannot be masked is not sent, and the end says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_whose_secrets_do_not_come_again_stays_where_it_is() {
    let mut world = World::without_executor().await;
    world.log_wait = Duration::from_secs(3);
    world.start_executor().await;
    let script = format!("echo a; {WAIT}; echo \"$TOKEN\"");
    let id = world.controller.grant(with_secret(world.shell(&script))).await;
    world.controller.until("running", |state| state.attempts[&id].log == b"a\n").await;
    world.stop_executor().await;
    world.controller.with(|state| state.faults.keep_secrets = true).await;
    world.open_gate();
    world.start_executor().await;
    let ended = world.controller.over(&id).await;
    assert_eq!((ended.state(), ended.log_size), (ExecutionState::Succeeded, 2), "{ended:?}");
    assert_eq!(
        ended.log_cut,
        "the log is not whole: the values of its secrets, which are masked in it, did not come again within 3s"
    );
    assert_eq!(world.controller.log(&id).await, "a\n");
    world.nothing_left().await;
}
