//! What deciding costs where very much waits.

use crate::job_queue::{
    record::Needs,
    rules::{
        Join, Looked, QueueLimits, Span, Submission, View,
        check::looks,
        tests::{LIMITS, at, id, is_called, join, poll, submission},
    },
    show::shown_among,
    terms::{Own, Terms},
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

/// Half of them name an executor each, and the others have a label that this executor has, and one that nobody has.
#[test]
fn a_decision_passes_nothing_that_asks_for_other_executors() {
    const APART: u32 = 100_000;
    let limits = QueueLimits { pending: 200_000, pending_of_team: 200_000, ..LIMITS };
    let mut view = View::load(limits, Vec::new(), Vec::new(), at(0));
    let labels = |pairs: &[(&str, String)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    };
    let own = labels(&[("zone", "a".to_owned()), ("disk", "fast".to_owned())]);
    view.join(Join { labels: own, ..join(0, 1, 2) }, at(0));
    let idle = fastest_poll(&mut view);
    let submit = |view: &mut View, number: u32, on| {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        let id = ExecutionId::from_bytes(bytes);
        let terms = Terms { own: Own { on, ..Own::default() }, ..Terms::default() }.into();
        view.submit(Submission { id, terms, ..submission(0, Needs::Any) }, at(0)).unwrap();
        id
    };
    for number in 0..APART {
        let on = match number % 2 {
            0 => labels(&[("executor", format!("other-{number}"))]),
            _ => labels(&[("disk", "fast".to_owned()), ("rack", number.to_string())]),
        };
        submit(&mut view, number, on);
    }
    let crowded = fastest_poll(&mut view);
    println!("a poll takes {idle:?} where nothing waits, and {crowded:?} beside {APART} others");
    assert!(crowded < 20 * idle + Duration::from_micros(20), "{crowded:?}, and {idle:?} before");
    // Of its own it looks at each kind, and at what leads there: nothing, `disk`, `disk` and `zone`, itself.
    let wishes = [
        labels(&[("disk", "fast".to_owned()), ("zone", "a".to_owned())]),
        labels(&[("executor", "executor-0".to_owned())]),
    ];
    let mine: Vec<_> = (APART..).zip(wishes).map(|(n, on)| submit(&mut view, n, on)).collect();
    let (looked, why) = looks(|| view.why(view.live(mine[1]).unwrap()));
    assert_eq!(why, "waits for a free place of 2; one execution is before it");
    assert!(looked <= 4, "{looked} looks to say why");
    let (looked, called) = looks(|| is_called(&view, Session(1)));
    assert!(called && looked <= 4, "{looked} looks for whom to call");
    let (looked, granted) = looks(|| poll(&mut view, &[], at(1)));
    let granted: Vec<_> = granted.iter().map(|lease| lease.attempt.execution).collect();
    assert_eq!(granted, mine);
    assert!(looked <= 4 * mine.len(), "{looked} looks for two grants");
    let (looked, _) =
        looks(|| view.cancel(ExecutionId::from_bytes([0; 16]), "ada", at(1)).unwrap());
    assert_eq!((looked, view.waiting()), (0, APART as usize - 1));
    assert_eq!(view.check(), Ok(()));
}

/// To hold each row's wish against each other one at each executor takes minutes.
#[test]
fn a_page_of_rows_that_each_want_their_own_executor_is_shown_soon() {
    const EACH: u16 = 500;
    let limits = QueueLimits { pending: 1_000, pending_of_team: 1_000, ..LIMITS };
    let mut view = View::load(limits, Vec::new(), Vec::new(), at(0));
    for number in 0..EACH {
        let executor = format!("executor-{number}");
        let label = [("executor".to_owned(), executor.clone())].into();
        let executor = executor.parse().unwrap();
        view.join(Join { executor, ..join(0, u64::from(number) + 1, 1) }, at(0));
        let own = Own { on: label, ..Own::default() };
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        let id = ExecutionId::from_bytes(bytes);
        let terms = Terms { own, ..Terms::default() }.into();
        view.submit(Submission { id, terms, ..submission(0, Needs::Any) }, at(0)).unwrap();
    }
    let (began, mut looked) = (Instant::now(), Looked::default());
    let rows = view.newest_first(Span::default());
    let rows: Vec<_> = rows.map(|record| shown_among(&view, record, &mut looked).reason).collect();
    assert_eq!(rows.len(), usize::from(EACH));
    assert!(
        rows.iter().all(|row| row == "waits for a free place of 1; it is the next"),
        "{rows:?}"
    );
    let took = began.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
}
