//! What is said of a lost attempt after it was given up.

use super::*;
use crate::{
    job_queue::record::{Afterwards, Earlier},
    registry::{RetryOn, RetryPolicy},
};

fn ended(outcome: Outcome) -> Report {
    Report::Ended(ending(outcome))
}

/// One that ran at the first executor when that was given up, as often as it may be tried.
fn lost(attempts: u32) -> (View, LeaseName, Record) {
    let mut view = queue();
    view.join(join(1, 2, 2), at(0));
    let policy =
        RetryPolicy { on: [RetryOn::Lost].into(), pause_ms: 0, ..RetryPolicy::of(attempts) };
    let terms = Terms { retry: Some(policy), ..Terms::default() };
    let submission = Submission { terms: terms.into(), ..submission(1, Needs::Any) };
    view.submit(submission, at(0)).unwrap();
    let lease = poll(&mut view, &[], at(0))[0];
    report(&mut view, lease, Report::Prepared("thing".to_owned()));
    report(&mut view, lease, Report::Running);
    view.lose(&name(0), Session(1), at(900));
    let cuts = view.tick(at(900)).cuts;
    let sealed = view.sealed(lease, 2, &cuts[0].why, at(900)).unwrap();
    let (Change::Live(record) | Change::Done(record)) = sealed else { panic!("{sealed:?}") };
    (view, lease, *record)
}

fn superseded(heard: Option<Heard>) -> bool {
    matches!(heard, Some(Heard::Verdict(Verdict::Superseded(_))))
}

#[test]
fn the_first_word_about_what_was_lost_is_kept_beside_its_end_and_moves_nothing() {
    let (_, lease, before) = lost(1);
    let mut record = before.clone();
    let heard = record.hear_afterwards(lease, &name(0), &ended(Outcome::Succeeded), at(1000));
    let known = ending(Outcome::Succeeded);
    assert_eq!(heard, Some(Heard::Log { ending: known.clone(), news: true }));
    let afterwards =
        Some(Box::new(Afterwards { ending: known.clone(), at: at(1000).at, log_is_over: false }));
    assert_eq!(record, Record { afterwards, ..before.clone() }, "that alone is new");
    // It is said again until its log is here.
    let again = record.hear_afterwards(lease, &name(0), &ended(Outcome::Succeeded), at(1001));
    assert_eq!(again, Some(Heard::Log { ending: known, news: false }));
    let other = record.hear_afterwards(lease, &name(0), &ended(Outcome::Failed), at(1001));
    assert!(superseded(other));
    assert!(record.awaits_word_of(lease, &name(0)));
    assert!(record.log_over_afterwards(lease, &name(0), Some((3, ""))));
    assert!(!record.log_over_afterwards(lease, &name(0), Some((4, ""))), "once");
    assert_eq!((record.log_size, &*record.log_cut), (3, ""), "it is whole by now");
    assert!(!record.awaits_word_of(lease, &name(0)));
    let again = record.hear_afterwards(lease, &name(0), &ended(Outcome::Succeeded), at(1002));
    assert_eq!(again, Some(Heard::Verdict(Verdict::Recorded)));
    assert_eq!(record.attempt, before.attempt);
    assert_eq!((record.ending, record.history), (before.ending, before.history));
}

#[test]
fn nobody_but_who_held_it_has_a_word_about_what_was_lost() {
    let (mut view, lease, mut record) = lost(2);
    let newer = LeaseName { epoch: Epoch(2), ..lease };
    for (lease, executor) in [(lease, name(1)), (newer, name(0))] {
        let heard = record.hear_afterwards(lease, &executor, &ended(Outcome::Succeeded), at(1000));
        assert_eq!(heard, None);
        assert_eq!(Right::afterwards(&record, lease, &executor), Right::Nothing);
    }
    let other = view.report(Session(2), lease, ended(Outcome::Succeeded), at(1000)).unwrap();
    assert!(matches!(other, Reported::Verdict(_, Verdict::Superseded(_))), "{other:?}");
    assert_eq!(view.holds(Session(2), lease), Ok(Some(Right::Nothing)));
    assert_eq!(view.attend(Session(2), &[lease]).unwrap().orders[0].kind, OrderKind::Release);
}

#[test]
fn a_word_about_what_was_not_lost_is_refused_as_ever() {
    let mut view = queue();
    submit(&mut view, 1);
    let lease = poll(&mut view, &[], at(0))[0];
    report(&mut view, lease, Report::Prepared("thing".to_owned()));
    report(&mut view, lease, Report::Running);
    let forced = view.force(id(1), "ada", at(30)).unwrap();
    let cut = forced.cut.unwrap();
    let done = view.sealed(cut.lease, 0, &cut.why, at(30)).unwrap();
    let Change::Done(mut record) = done else { panic!("{done:?}") };
    assert_eq!(record.attempt.outcome(), Some(Outcome::Cancelled));
    let heard = record.hear_afterwards(lease, &name(0), &ended(Outcome::Succeeded), at(31));
    assert_eq!(heard, None);
    assert!(!record.awaits_word_of(lease, &name(0)));
    // What its holder called lost it has told.
    let (mut view, lease) = (queue(), lease);
    submit(&mut view, 1);
    poll(&mut view, &[], at(0));
    report(&mut view, lease, Report::Prepared("thing".to_owned()));
    report(&mut view, lease, ended(Outcome::Lost));
    let done = view.sealed(lease, 3, "", at(2)).unwrap();
    let Change::Done(mut record) = done else { panic!("{done:?}") };
    let heard = record.hear_afterwards(lease, &name(0), &ended(Outcome::Succeeded), at(31));
    assert_eq!(heard, None);
}

#[test]
fn a_word_about_a_lost_attempt_leaves_the_one_that_follows_alone() {
    let (mut view, lease, _) = lost(2);
    view.tick(at(901));
    let polled = view.poll(Session(2), 1, &[], at(901)).unwrap();
    let second = polled.grants[0].lease;
    assert_eq!((second.attempt.attempt.0, second.epoch), (2, Epoch(1)));
    let before = view.live(id(1)).unwrap().clone();

    // Who is heard again is told to stop it before anything else, and then says what became of it.
    let attended = view.attend(Session(1), &[lease]).unwrap();
    assert_eq!((attended.orders[0].kind, attended.news), (OrderKind::Stop, true));
    assert!(!view.attend(Session(1), &[lease]).unwrap().news, "it is told once at once");
    assert!(recorded(&report(&mut view, lease, Report::Running)), "it goes on to be stopped");
    let prepared = report(&mut view, lease, Report::Prepared("thing".to_owned()));
    assert!(!recorded(&prepared), "what cannot run yet must not go");
    assert_eq!(view.holds(Session(1), lease), Ok(Some(Right::Extend)));
    let heard = report(&mut view, lease, ended(Outcome::Cancelled));
    let Reported::Afterwards(changes, _) = &heard else { panic!("{heard:?}") };
    assert!(matches!(&changes[..], [Change::Live(_)]));
    let over = view.log_over_afterwards(lease, &name(0), Some((9, "the end is gone"))).unwrap();
    assert_eq!(over.len(), 1);
    assert!(recorded(&report(&mut view, lease, ended(Outcome::Cancelled))));
    assert_eq!(view.holds(Session(1), lease), Ok(Some(Right::Nothing)));
    assert_eq!(view.attend(Session(1), &[lease]).unwrap().orders[0].kind, OrderKind::Release);

    let now = view.live(id(1)).unwrap();
    let earlier = &now.earlier[0];
    assert_eq!((earlier.outcome, earlier.code.as_str()), (Outcome::Lost, "executor_lost"));
    assert_eq!((earlier.log_size, &*earlier.log_cut), (9, "the end is gone"));
    let known = earlier.afterwards.as_ref().unwrap();
    assert_eq!((known.ending.outcome, known.log_is_over), (Outcome::Cancelled, true));
    let without = Record { earlier: before.earlier.clone(), ..now.clone() };
    assert_eq!(without, before);
    assert_eq!(view.check(), Ok(()));
}

#[test]
fn a_word_that_comes_before_the_log_is_cut_goes_with_the_end_that_stands() {
    let (_, lease, _) = lost(1);
    let mut view = queue();
    submit(&mut view, 1);
    poll(&mut view, &[], at(0));
    report(&mut view, lease, Report::Prepared("thing".to_owned()));
    report(&mut view, lease, Report::Running);
    view.lose(&name(0), Session(1), at(900));
    let attended = view.attend(Session(1), &[lease]).unwrap();
    assert_eq!((attended.orders[0].kind, attended.news), (OrderKind::Stop, true));
    assert_eq!(view.holds(Session(1), lease), Ok(Some(Right::Append)), "its log is open");
    let heard = report(&mut view, lease, ended(Outcome::Succeeded));
    assert!(matches!(heard, Reported::Afterwards(..)), "{heard:?}");
    let cuts = view.tick(at(901)).cuts;
    let Some(Change::Done(record)) = view.sealed(lease, 2, &cuts[0].why, at(901)) else { panic!() };
    assert_eq!(record.attempt.outcome(), Some(Outcome::Lost));
    assert_eq!(record.afterwards.unwrap().ending.outcome, Outcome::Succeeded);
}

#[test]
fn what_is_not_whole_may_turn_out_longer_and_what_is_whole_may_not() {
    let (_, lease, mut record) = lost(1);
    let said = |size, cut: &str| {
        let (log, log_cut) = (Some((size, size)), cut.to_owned());
        Report::Ended(Ending { log, log_cut, ..ending(Outcome::Succeeded) })
    };
    let mut hear = |report| record.hear_afterwards(lease, &name(0), &report, at(1000));
    assert!(matches!(hear(said(5, "")), Some(Heard::Log { news: true, .. })));
    assert!(superseded(hear(said(6, ""))));
    assert!(matches!(hear(said(4, "the end is gone")), Some(Heard::Log { news: true, .. })));
    assert!(matches!(hear(said(5, "")), Some(Heard::Log { news: true, .. })), "it was found");
}

#[test]
fn records_of_earlier_versions_are_read_and_what_knows_nothing_is_written_as_before() {
    let (_, lease, record) = lost(2);
    let mut json = serde_json::to_value(&record).unwrap();
    let earlier = json["earlier"][0].as_object_mut().unwrap();
    assert_eq!(earlier.get("afterwards"), None);
    assert_eq!(earlier.remove("given_up"), Some(serde_json::json!(1)));
    assert_eq!(json.get("afterwards"), None);
    let mut read: Record = serde_json::from_value(json).unwrap();
    let same = Earlier { given_up: record.earlier[0].given_up, ..read.earlier[0].clone() };
    assert_eq!(same, record.earlier[0]);
    // By which grant it was held nobody knows any more: nothing is taken of it.
    let heard = read.hear_afterwards(lease, &name(0), &ended(Outcome::Succeeded), at(1000));
    assert_eq!(heard, None);
}
