//! A controller that ends while its connections are busy, and the one that comes after it.

use crate::{
    scripted::{Asked, Controller, Say, client, execution},
    silence,
    wire::Wire,
};
use octavius_client::{Silence, v1::ExecutionState};
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};
use tokio::{net::TcpListener, time::Instant};

const SOON: Duration = Duration::from_secs(20);

/// Waits until so many calls have come.
async fn asked(controller: &Controller, count: usize) {
    let deadline = Instant::now() + SOON;
    while controller.asked().await.len() < count {
        assert!(Instant::now() < deadline, "{:?}", controller.asked().await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Lets the other tasks of a test on one thread go on until they wait.
async fn as_far_as_they_can() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Listens where somebody else did, when that one has gone.
async fn listen(address: SocketAddr) -> TcpListener {
    let deadline = Instant::now() + SOON;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_call_that_an_ending_controller_did_not_begin_is_made_at_the_next_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // Its one place is taken, so that further calls wait at the client for the connection.
    let first = Controller::serve_some(listener, [Say::Nothing], 1);
    let client = client(first.address, SOON);
    let held = tokio::spawn({
        let client = client.clone();
        async move { client.execution("held").await }
    });
    asked(&first, 1).await;
    let mut calls = tokio::task::JoinSet::new();
    // The transport holds the first one that waits as if it were sent: it is one that may be sent twice.
    let reads = client.clone();
    calls.spawn(async move { reads.execution("x").await.map(drop) });
    as_far_as_they_can().await;
    for _ in 0..3 {
        let [reads, runs, unsets] = [(); 3].map(|()| client.clone());
        calls.spawn(async move { unsets.unset_secret("show", "TOKEN").await });
        calls.spawn(async move { runs.execute("show", BTreeMap::new()).await.map(drop) });
        calls.spawn(async move { reads.execution("x").await.map(drop) });
    }
    as_far_as_they_can().await;
    first.end();
    let script = (0..7).map(|_| Say::Execution(Box::new(execution(ExecutionState::Running))));
    let next = Controller::serve(listen(first.address).await, script);
    let failed: Vec<_> = calls.join_all().await.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(first.asked().await, [Asked::Get("held".to_owned())]);
    let done = next.asked().await;
    let unset = done.iter().filter(|asked| matches!(asked, Asked::Unset(_)));
    assert_eq!((done.len(), unset.count()), (10, 3), "{done:?}");
    held.abort();
}

#[tokio::test]
async fn a_controller_that_goes_away_in_the_middle_is_waited_for() {
    let controller = Controller::start([Say::Nothing]).await;
    let wire = Wire::to(controller.address).await;
    let timeout = Duration::from_secs(6);
    let client = client(wire.address, timeout);
    let began = Instant::now();
    let asking = tokio::spawn(async move { client.execution("x").await });
    asked(&controller, 1).await;
    wire.end().await;
    let error = asking.await.unwrap().unwrap_err();
    assert!(matches!(silence(&error), Silence::NoConnection(_)), "{error}");
    assert!(error.to_string().contains("it was sent, and may have been done"), "{error}");
    // Pauses grow, and the last one would have been longer than what was left.
    assert!(began.elapsed() > timeout / 4, "{:?}", began.elapsed());
}
