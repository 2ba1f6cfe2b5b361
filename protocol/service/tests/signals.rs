//! The two signals, sent to this very process; alone in its binary, because signals reach all of a process.

#![allow(clippy::unwrap_used)] // clippy knows the functions that are tests, not their helpers

use octavius_service::signals::{End, Signal, Signals};
use rustix::process::{self, Signal as Number};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

fn send(signal: Number) {
    process::kill_process(process::getpid(), signal).unwrap();
}

#[tokio::test]
async fn the_first_signal_asks_and_the_second_leaves() {
    let mut signals = Signals::listen().unwrap();

    let cancel = CancellationToken::new();
    assert_eq!(signals.run(&cancel, async { 7 }).await, End::Ended(7));
    assert!(!cancel.is_cancelled());

    let orderly = async {
        send(Number::TERM);
        cancel.cancelled().await;
        "ended in order"
    };
    assert_eq!(signals.run(&cancel, orderly).await, End::Ended("ended in order"));

    let cancel = CancellationToken::new();
    let stubborn = async {
        send(Number::TERM);
        cancel.cancelled().await;
        send(Number::INT);
        std::future::pending::<()>().await;
    };
    let run = tokio::time::timeout(Duration::from_secs(10), signals.run(&cancel, stubborn));
    assert_eq!(run.await.expect("the second signal was not heard"), End::Left(Signal::Interrupt));
    assert_eq!(Signal::Interrupt.exit_status(), 130);
}
