//! What a caller is told of several tries, and which changes are not tried again.

use crate::{
    refusal,
    scripted::{Asked, Controller, Say, client, execution},
    silence,
};
use octavius_client::{Silence, v1::ExecutionState};
use octavius_protocol::{DOMAIN, UNCONFIRMED};
use std::{collections::BTreeMap, time::Duration};
use tokio::net::TcpSocket;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// Leaves time for a second try on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(5);
const LATE: &str = "did not answer within 5s";

/// A status as a controller makes it.
pub(crate) fn said(code: Code, reason: &str, text: &str) -> Status {
    Status::with_error_details(code, text, ErrorDetails::with_error_info(reason, DOMAIN, []))
}

fn full(pause: Duration) -> Say {
    let mut details = ErrorDetails::with_error_info("QUEUE_FULL", DOMAIN, []);
    details.set_retry_info(Some(pause));
    Say::No(Status::with_error_details(Code::ResourceExhausted, "the queue is full", details))
}

fn starting() -> Say {
    Say::No(said(Code::Unavailable, "STARTING", "Registry is starting"))
}

fn unconfirmed() -> Say {
    let text = "job `show` may or may not be deleted: `octavius describe show` tells which";
    Say::No(said(Code::Unavailable, UNCONFIRMED, text))
}

#[tokio::test]
async fn silence_after_a_refusal_or_an_excuse_is_silence_and_tells_of_both() {
    let soon = Duration::from_millis(10);
    for (first, word) in [(full(soon), "the queue is full"), (starting(), "Registry is starting")] {
        let controller = Controller::start([first, Say::Nothing]).await;
        let client = client(controller.address, TIMEOUT);
        let error = client.execute("show", BTreeMap::new()).await.unwrap_err();
        assert_eq!(silence(&error), &Silence::Late(TIMEOUT), "{error}");
        let text = error.to_string();
        assert!(text.contains(LATE) && text.contains(word), "{text}");
        assert_eq!(controller.asked().await.len(), 2);
    }
}

#[tokio::test]
async fn silence_after_no_connection_does_not_say_that_nobody_is_there() {
    // Holds the port, and refuses connections until it listens.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let client = client(socket.local_addr().unwrap(), TIMEOUT);
    let mut executing = std::pin::pin!(client.execute("show", BTreeMap::new()));
    // It comes behind the other on their connection, so that the other has met with nobody as well when it ends.
    let nobody = tokio::select! {
        biased;
        executed = &mut executing => panic!("{executed:?}"),
        read = client.execution("x") => read.unwrap_err(),
    };
    assert!(matches!(silence(&nobody), Silence::NoConnection(_)), "{nobody}");
    let controller = Controller::serve(socket.listen(16).unwrap(), [Say::Nothing]);
    let error = executing.await.unwrap_err();
    assert!(matches!(controller.asked().await[..], [Asked::Execute(_)]));
    assert_eq!(silence(&error), &Silence::Late(TIMEOUT), "{error}");
    let text = error.to_string();
    assert!(text.contains(LATE), "{text}");
    assert!(text.contains("no connection came about") && !text.contains("start one"), "{text}");
}

#[tokio::test]
async fn a_refusal_for_want_of_room_does_not_hide_that_a_try_before_it_may_have_been_done() {
    let controller = Controller::start([unconfirmed(), full(Duration::from_secs(10))]).await;
    let error = controller.client().execute("show", BTreeMap::new()).await.unwrap_err();
    assert!(matches!(silence(&error), Silence::Unavailable(_)), "{error}");
    assert!(error.to_string().contains("may or may not be deleted"), "{error}");
    assert_eq!(controller.asked().await.len(), 2);
}

#[tokio::test]
async fn what_may_have_been_deleted_is_not_deleted_again_and_the_remedy_is_told() {
    // What stands between may say so too, and does not know either.
    let between = Status::unavailable("no healthy upstream: `octavius describe show` tells which");
    for script in [[unconfirmed(), unconfirmed()], [(); 2].map(|()| Say::No(between.clone()))] {
        let controller = Controller::start(script).await;
        let client = controller.client();
        let deleted = client.delete_job("show", true).await.unwrap_err();
        assert!(deleted.to_string().contains("`octavius describe show` tells which"), "{deleted}");
        let unset = client.unset_secret("show", "TOKEN").await.unwrap_err();
        assert!(matches!(silence(&unset), Silence::Unavailable(_)), "{unset}");
        let asked = controller.asked().await;
        assert!(matches!(asked[..], [Asked::Delete(_), Asked::Unset(_)]), "{asked:?}");
    }
}

#[tokio::test]
async fn what_was_certainly_not_deleted_is_deleted_again() {
    let controller = Controller::start([starting(), starting()]).await;
    controller.client().delete_job("show", true).await.unwrap();
    let asked = controller.asked().await;
    assert!(matches!(asked[..], [Asked::Delete(_), Asked::Delete(_), Asked::Delete(_)]));

    let controller = Controller::start([starting()]).await;
    controller.client().unset_secret("show", "TOKEN").await.unwrap();
    assert!(matches!(controller.asked().await[..], [Asked::Unset(_), Asked::Unset(_)]));
}

#[tokio::test]
async fn what_may_be_done_twice_is_asked_again_where_it_may_have_been_done() {
    let running = execution(ExecutionState::Running);
    let script = [unconfirmed(), Say::Execution(Box::new(running.clone()))];
    let controller = Controller::start(script).await;
    assert_eq!(controller.client().execute("show", BTreeMap::new()).await.unwrap(), running);
}

#[tokio::test]
async fn what_the_controller_says_of_a_slow_request_is_shown_as_it_is() {
    let text = "nothing more of the request came for 20s: send it again";
    let script = [Say::No(said(Code::DeadlineExceeded, "STOPPED", text))];
    let controller = Controller::start(script).await;
    let error = controller.client().execution("x").await.unwrap_err();
    assert_eq!(error.to_string(), text);
    assert_eq!(refusal(error).reason, "STOPPED");
}
