//! What a caller gets while connections break, a controller is busy, or nobody is there.

#![allow(clippy::unwrap_used)] // clippy knows the functions that are tests, not their helpers

mod ending;
mod following;
mod scripted;
mod tries;
mod wire;

use octavius_client::{
    Error, Kind, Refusal, Silence,
    v1::{Execution, ExecutionState, ListExecutionsRequest, ListExecutionsResponse},
};
use scripted::{Asked, Controller, Say, client, execution, settings};
use std::{collections::BTreeMap, time::Duration};
use tokio::{
    net::{TcpListener, TcpSocket},
    time::Instant,
};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use wire::Wire;

fn busy() -> Say {
    Say::No(Status::unavailable("the queue starts again"))
}

fn silence(error: &Error) -> &Silence {
    match error {
        Error::Unanswered { silence, .. } => silence,
        other => panic!("an answer came: {other}"),
    }
}

fn refusal(error: Error) -> Refusal {
    match error {
        Error::Refused(refusal) => *refusal,
        other => panic!("no refusal: {other}"),
    }
}

/// Holds an address where nobody listens, and nobody else can.
fn nobody() -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    socket
}

#[tokio::test]
async fn a_repeated_execute_carries_the_same_request_id_and_all_bytes() {
    let pending = execution(ExecutionState::Pending);
    let controller =
        Controller::start([busy(), busy(), Say::Execution(Box::new(pending.clone()))]).await;
    let values: BTreeMap<String, String> = [
        ("a", "x=y=="),
        ("b", "one,two,three"),
        ("d", "line1\nline2\n"),
        ("g", ""),
        ("h", "é🙂नि"),
        ("i", "a\r\nb\t\\n"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let accepted = controller.client().execute("show", values.clone()).await.unwrap();
    assert_eq!(accepted, pending);
    let asked = controller.asked().await;
    let [Asked::Execute(first), Asked::Execute(second), Asked::Execute(third)] = asked.as_slice()
    else {
        panic!("{asked:?}")
    };
    assert_eq!((first, second), (second, third));
    assert_eq!(first.arguments, values);
    assert!(!first.request_id.is_empty());
}

#[tokio::test]
async fn two_wishes_have_two_request_ids() {
    let script = [(); 2].map(|()| Say::Execution(Box::new(execution(ExecutionState::Pending))));
    let controller = Controller::start(script).await;
    for _ in 0..2 {
        controller.client().execute("show", BTreeMap::new()).await.unwrap();
    }
    let asked = controller.asked().await;
    let [Asked::Execute(first), Asked::Execute(second)] = asked.as_slice() else {
        panic!("{asked:?}")
    };
    assert_ne!(first.request_id, second.request_id);
}

#[tokio::test]
async fn execute_outlives_connections_that_break() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client(listener.local_addr().unwrap(), Duration::from_secs(10));
    let asking = tokio::spawn(async move { client.execute("show", BTreeMap::new()).await });
    for _ in 0..3 {
        drop(listener.accept().await.unwrap());
    }
    let running = execution(ExecutionState::Running);
    let _controller = Controller::serve(listener, [Say::Execution(Box::new(running.clone()))]);
    assert_eq!(asking.await.unwrap().unwrap(), running);
}

#[tokio::test]
async fn a_call_whose_connection_breaks_is_made_again() {
    let running = execution(ExecutionState::Running);
    let script = [Say::Nothing, Say::Execution(Box::new(running.clone()))];
    let controller = Controller::start(script).await;
    let wire = Wire::to(controller.address).await;
    let client = client(wire.address, Duration::from_secs(30));
    let asking = tokio::spawn(async move { client.execution("x").await });
    let deadline = Instant::now() + Duration::from_secs(20);
    while controller.asked().await.is_empty() {
        assert!(Instant::now() < deadline, "the call never came");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    wire.cut();
    assert_eq!(asking.await.unwrap().unwrap(), running);
}

#[tokio::test]
async fn where_nobody_listens_reading_ends_at_once_and_execute_hopes_until_its_time_is_over() {
    let nobody = nobody();
    let address = nobody.local_addr().unwrap();
    let long = Duration::from_secs(60);
    let started = Instant::now();
    let read = client(address, long).jobs().await.unwrap_err();
    assert!(started.elapsed() < long / 2, "{:?}", started.elapsed());
    let timeout = Duration::from_secs(5);
    let client = client(address, timeout);
    let started = Instant::now();
    let executed = client.execute("show", BTreeMap::new()).await.unwrap_err();
    let executed_after = started.elapsed();
    for error in [&read, &executed] {
        assert!(matches!(silence(error), Silence::NoConnection(_)), "{error}");
        assert_eq!(error.kind(), Kind::Unanswered);
        assert!(error.to_string().contains("`controller start`"), "{error}");
        assert!(error.to_string().contains(client.address()), "{error}");
    }
    // The last pause would have been longer than what was left.
    assert!(executed_after > timeout / 2, "{executed_after:?}");
    assert!(executed_after <= timeout + Duration::from_secs(5), "{executed_after:?}");
}

#[tokio::test]
async fn a_call_without_an_answer_ends_within_its_time() {
    let timeout = Duration::from_millis(300);
    let silent = Controller::start([Say::Nothing]).await;
    // Takes connections, and says nothing on them.
    let frozen = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for address in [silent.address, frozen.local_addr().unwrap()] {
        let started = Instant::now();
        let error = client(address, timeout).execution("x").await.unwrap_err();
        assert_eq!(silence(&error), &Silence::Late(timeout), "{error}");
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }
}

#[tokio::test]
async fn a_controller_that_stays_busy_is_an_outage_in_its_own_words() {
    let controller = Controller::start((0..100).map(|_| busy())).await;
    let client = client(controller.address, Duration::from_secs(5));
    let error = client.execution("x").await.unwrap_err();
    assert_eq!(silence(&error), &Silence::Unavailable("the queue starts again".to_owned()));
    let asked = controller.asked().await.len();
    assert!((2..20).contains(&asked), "asked {asked} times: the pauses do not grow");
}

#[tokio::test]
async fn a_refusal_is_not_repeated_and_keeps_its_details() {
    let mut details = ErrorDetails::new();
    for index in 0..20 {
        details.add_bad_request_violation(format!("arguments.a{index}"), "is missing");
    }
    details.set_error_info("INVALID_ARGUMENTS", "octavius", []);
    let status = Status::with_error_details(Code::InvalidArgument, "21 are wrong", details);
    let controller = Controller::start([Say::No(status)]).await;
    let error = controller.client().execute("show", BTreeMap::new()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    let refusal = refusal(error);
    assert_eq!((refusal.code, refusal.violations.len()), (Code::InvalidArgument, 20));
    assert_eq!(refusal.violations[19].field, "arguments.a19");
    assert_eq!(refusal.reason, "INVALID_ARGUMENTS");
    assert_eq!(controller.asked().await.len(), 1);
}

#[tokio::test]
async fn what_cannot_be_passed_on_is_not_sent() {
    let controller = Controller::start([]).await;
    let values = [("a".to_owned(), "x\0".to_owned())].into();
    let error = controller.client().execute("show", values).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    assert!(error.to_string().contains("`a`"), "{error}");
    assert_eq!(controller.asked().await, []);
}

#[tokio::test]
async fn each_call_says_who_asks_and_proves_it() {
    let known = || Say::Execution(Box::new(execution(ExecutionState::Pending)));
    let controller = Controller::start([known(), known()]).await;
    controller.client().execution("x").await.unwrap();
    let mut nameless = settings(controller.address, Duration::from_secs(10));
    (nameless.email, nameless.token) = (None, None);
    octavius_client::Client::new(&nameless).unwrap().execution("x").await.unwrap();
    let metadata = controller.metadata().await;
    let text = |index: usize, key: &str| {
        let value = metadata[index].get(key);
        value.map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(text(0, "octavius-user").as_deref(), Some("ada@example.com"));
    assert_eq!(text(0, "authorization").as_deref(), Some("Bearer t0p"));
    assert_eq!(text(1, "octavius-user").as_deref(), Some("anonymous"));
    assert_eq!(text(1, "authorization"), None);
}

#[tokio::test]
async fn pages_are_asked_for_until_there_is_enough() {
    let page = |count: usize, next: &str| {
        Say::Executions(ListExecutionsResponse {
            executions: vec![execution(ExecutionState::Succeeded); count],
            next_page_token: next.to_owned(),
            looked_at: 0,
        })
    };
    let controller = Controller::start([page(2, "k2"), page(2, "k4"), page(1, "")]).await;
    let wanted = ListExecutionsRequest { job: "greet".to_owned(), ..Default::default() };
    let all = controller.client().find_executions(wanted, None).await.unwrap();
    assert_eq!(all.len(), 5);
    let asked = controller.asked().await;
    let tokens: Vec<_> = asked
        .iter()
        .map(|asked| match asked {
            Asked::List(request) => (request.page_token.as_str(), request.job.as_str()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(tokens, [("", "greet"), ("k2", "greet"), ("k4", "greet")]);

    // One page is asked for when it is wanted, and not before; one that is empty is passed over.
    let controller = Controller::start([page(2, "k2"), page(0, "k4"), page(1, "")]).await;
    let mut pages = controller.client().execution_pages(Default::default(), None);
    assert_eq!(pages.next().await.unwrap().map(|page| page.len()), Some(2));
    assert_eq!(controller.asked().await.len(), 1);
    assert_eq!(pages.next().await.unwrap().map(|page| page.len()), Some(1));
    assert_eq!(pages.next().await.unwrap(), None);

    // A controller that answers with more than it was asked for.
    let controller = Controller::start([page(2, "k2"), page(2, "k4")]).await;
    let some = controller.client().executions(None, Some(3)).await.unwrap();
    assert_eq!((some.len(), controller.asked().await.len()), (3, 2));
}

#[tokio::test]
async fn waiting_outlives_an_outage_and_tells_each_change_once() {
    use ExecutionState::{Pending, Running, Succeeded};
    let say = |state| Say::Execution(Box::new(execution(state)));
    let full = || Say::No(Status::resource_exhausted("JobQueue has 4,096 waiting: try again"));
    let slow = || Say::No(tries::said(Code::DeadlineExceeded, "STOPPED", "nothing more came"));
    let script =
        [say(Pending), say(Pending), busy(), slow(), say(Running), full(), full(), say(Succeeded)];
    let controller = Controller::start(script).await;
    let mut seen = Vec::new();
    let client = controller.client();
    let look = |execution: &Execution| {
        seen.push(execution.state());
        false
    };
    let ended = client.wait_until("x", look).await.unwrap();
    assert_eq!(ended.state(), Succeeded);
    assert_eq!(seen, [Pending, Running, Succeeded]);
}

#[tokio::test]
async fn waiting_gives_up_when_its_patience_ends_and_at_once_where_nothing_was_heard() {
    let script = || {
        let first = Say::Execution(Box::new(execution(ExecutionState::Pending)));
        std::iter::once(first).chain((0..1_000).map(|_| busy()))
    };
    let controller = Controller::start(script()).await;
    // Longer than any answer takes on a busy machine, and shorter than the patience.
    let (timeout, patience) = (Duration::from_secs(4), Duration::from_secs(6));
    let patient = client(controller.address, timeout).with_patience(patience);
    let started = Instant::now();
    let error = patient.wait("x").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unanswered);
    assert!(started.elapsed() >= patience, "{:?}", started.elapsed());

    let controller = Controller::start(script().skip(1)).await;
    let hopeful = client(controller.address, timeout).with_patience(Duration::from_secs(3_600));
    assert!(hopeful.wait("x").await.is_err());
    let full = Status::resource_exhausted("JobQueue has 4,096 waiting: try again");
    let controller = Controller::start([Say::No(full)]).await;
    let refused = refusal(controller.client().wait("x").await.unwrap_err());
    assert_eq!(refused.code, Code::ResourceExhausted);
}

#[tokio::test]
async fn who_is_refused_for_want_of_room_asks_again_after_a_short_pause_and_not_after_a_long_one() {
    let full = |pause| {
        let details = ErrorDetails::with_retry_info(Some(pause));
        Say::No(Status::with_error_details(Code::ResourceExhausted, "full", details))
    };
    let pause = Duration::from_millis(400);
    let found = Say::Execution(Box::new(execution(ExecutionState::Running)));
    let controller = Controller::start([full(pause), found]).await;
    let began = Instant::now();
    controller.client().execution("x").await.unwrap();
    assert!(began.elapsed() >= pause, "{:?}", began.elapsed());

    let controller = Controller::start([full(Duration::from_secs(10))]).await;
    let refused = controller.client().execution("x").await.unwrap_err();
    assert_eq!(refusal(refused).code, Code::ResourceExhausted);
    assert_eq!(controller.asked().await.len(), 1);
}
