//! What deciding costs where very much waits.

use crate::job_queue::{
    record::Needs,
    rules::{
        QueueLimits, Submission, View,
        tests::{LIMITS, at, id, is_called, join, poll, submission},
    },
};
use octavius_protocol::id::{ExecutionId, Session};
use std::time::Duration;
use tokio::time::Instant;

/// How long the fastest of many polls takes, each with the look whether there is work for it at all.
fn fastest_poll(view: &mut View) -> Duration {
    let mut one = || {
        let began = Instant::now();
        assert!(!is_called(view, Session(1)));
        assert_eq!(poll(view, &[], at(1)), []);
        began.elapsed()
    };
    (0..500).map(|_| one()).min().unwrap()
}

#[test]
fn a_poll_does_not_look_at_all_that_waits() {
    const WAITING: u32 = 100_000;
    let most = 2 * WAITING as usize;
    let limits = QueueLimits { pending: most, pending_of_team: most, ..LIMITS };
    let mut view = View::load(limits, Vec::new(), Vec::new(), at(0));
    view.join(join(0, 1, 2), at(0));
    let idle = fastest_poll(&mut view);
    for number in 0..WAITING {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        let id = ExecutionId::from_bytes(bytes);
        view.submit(Submission { id, ..submission(0, Needs::Images) }, at(0)).unwrap();
    }
    assert_eq!(view.waiting(), WAITING as usize);
    let crowded = fastest_poll(&mut view);
    println!("a poll takes {idle:?} where nothing waits, and {crowded:?} behind {WAITING}");
    // To look at each takes a thousand times as long as to look at none.
    assert!(crowded < 20 * idle + Duration::from_micros(20), "{crowded:?}, and {idle:?} before");
    // What it can run is found behind all of them.
    view.submit(submission(255, Needs::Any), at(0)).unwrap();
    assert!(is_called(&view, Session(1)));
    assert_eq!(poll(&mut view, &[], at(1))[0].attempt.execution, id(255));
}
