//! Stories of what an attempt waits for until its program runs.

use super::*;
use crate::registry::{RetryOn, RetryPolicy};
use proptest::prelude::*;

fn ms(milliseconds: u64) -> Moment {
    let elapsed = Duration::from_millis(milliseconds);
    Moment { at: Timestamp::UNIX_EPOCH + elapsed, elapsed }
}

/// A queue with one executor that runs images, and an attempt that it has prepared.
fn starting(terms: Terms) -> (View, LeaseName) {
    let mut view = View::load(LIMITS, Vec::new(), Vec::new(), at(0));
    view.join(join(1, 1, 2), at(0));
    view.submit(Submission { terms: terms.into(), ..submission(1, Needs::Any) }, at(0)).unwrap();
    let lease = poll(&mut view, &[], at(0))[0];
    let identity = "reports/2f8a".to_owned();
    view.report(Session(1), lease, Report::Prepared(identity), at(0)).unwrap();
    (view, lease)
}

/// Says what it waits for: what is written for that.
fn say(view: &mut View, lease: LeaseName, words: &str, now: Moment) -> Vec<Change> {
    let said = view.report(Session(1), lease, Report::Starting(words.to_owned()), now).unwrap();
    match said {
        Reported::Verdict(changes, Verdict::Recorded) => changes,
        other => panic!("{other:?}"),
    }
}

fn why(view: &View) -> String {
    view.why(view.live(id(1)).unwrap())
}

#[test]
fn what_it_waits_for_is_told_at_once_and_the_same_words_write_nothing() {
    let (mut view, lease) = starting(Terms::default());
    let told = |words| format!("prepared at executor-1; its program does not run yet{words}");
    assert_eq!(why(&view), told(""));
    let changes = say(&mut view, lease, "no node has 4 CPUs", ms(0));
    assert!(
        matches!(&changes[..], [Change::Live(record)] if record.waits_for == "no node has 4 CPUs")
    );
    for time in [0, 10, 5_000] {
        assert_eq!(say(&mut view, lease, "no node has 4 CPUs", ms(time)), [], "{time}");
    }
    assert_eq!(view.tick(ms(6_000)).changes, []);
    assert_eq!(why(&view), told(": no node has 4 CPUs"));
    assert_eq!(say(&mut view, lease, "the image is pulled", ms(6_000)).len(), 1);
    assert_eq!(say(&mut view, lease, "half of it is here", ms(6_100)), [], "within a second");
    assert_eq!(say(&mut view, lease, "nearly all of it is here", ms(6_200)), []);
    assert_eq!(why(&view), told(": nearly all of it is here"), "shown before it is written");
    assert_eq!(view.tick(ms(6_999)).changes, []);
    let [Change::Live(record)] = &view.tick(ms(7_000)).changes[..] else { panic!() };
    assert_eq!(record.waits_for, "nearly all of it is here");
    assert_eq!(view.tick(ms(9_000)).changes, [], "it is written once");
    assert_eq!(view.check(), Ok(()));
}

#[test]
fn what_was_unsaid_within_the_second_is_not_written() {
    let (mut view, lease) = starting(Terms::default());
    say(&mut view, lease, "one", ms(0));
    assert_eq!(say(&mut view, lease, "two", ms(100)), []);
    assert_eq!(say(&mut view, lease, "one", ms(200)), []);
    assert!(why(&view).ends_with(": one"), "{}", why(&view));
    assert_eq!(view.tick(ms(2_000)).changes, []);
    assert_eq!(view.check(), Ok(()));
}

#[test]
fn what_it_waited_for_is_forgotten_when_its_program_runs_and_means_nothing_afterwards() {
    let (mut view, lease) = starting(Terms::default());
    say(&mut view, lease, "one", ms(0));
    say(&mut view, lease, "two", ms(100));
    view.report(Session(1), lease, Report::Running, ms(200)).unwrap();
    let running = view.live(id(1)).unwrap().clone();
    assert_eq!((running.waits_for.as_str(), why(&view).as_str()), ("", "runs at executor-1"));
    assert_eq!(say(&mut view, lease, "three", ms(5_000)), [], "it came late");
    assert_eq!(view.live(id(1)), Some(&running));
    assert_eq!(view.tick(ms(9_000)).changes, []);
    assert_eq!(view.check(), Ok(()));
}

#[test]
fn why_what_runs_is_not_seen_is_told_until_it_is_seen_again_or_over() {
    let (mut view, lease) = starting(Terms::default());
    say(&mut view, lease, "no node has 4 CPUs", ms(0));
    let tell =
        |view: &mut View, report, now| match view.report(Session(1), lease, report, now).unwrap() {
            Reported::Verdict(changes, Verdict::Recorded) => changes,
            other => panic!("{other:?}"),
        };
    let unseen = |words: &str| Report::Unseen(words.to_owned());
    let [Change::Live(record)] = &tell(&mut view, unseen("its node is silent"), ms(100))[..] else {
        panic!("it is written once, with the step")
    };
    assert!(matches!(record.attempt.state, State::Running(_)));
    assert_eq!(record.waits_for, "its node is silent");
    assert_eq!(why(&view), "ran at executor-1 when it was last seen: its node is silent");
    assert_eq!(tell(&mut view, unseen("its node is silent"), ms(5_000)), []);
    assert_eq!(tell(&mut view, Report::Running, ms(5_000)).len(), 1);
    assert_eq!(why(&view), "runs at executor-1");
    assert_eq!(tell(&mut view, unseen("its node is silent"), ms(5_100)), [], "within a second");
    assert_eq!(why(&view), "ran at executor-1 when it was last seen: its node is silent");
    assert_eq!(view.tick(ms(6_000)).changes.len(), 1);
    assert_eq!(view.check(), Ok(()));
    view.report(Session(1), lease, Report::Ended(ending(Outcome::Lost)), ms(7_000)).unwrap();
    assert_eq!(tell(&mut view, unseen("it came late"), ms(9_000)), []);
    assert_eq!(view.check(), Ok(()));
}

/// What was said within the last second is written with whatever else is.
#[test]
fn the_newest_words_are_written_with_any_other_change() {
    let (mut view, lease) = starting(Terms::default());
    say(&mut view, lease, "one", ms(0));
    say(&mut view, lease, "two", ms(100));
    let cancelled = view.cancel(id(1), "ada", ms(200)).unwrap();
    assert_eq!(cancelled.record.waits_for, "two");
    assert_eq!(view.tick(ms(5_000)).changes, []);
    assert_eq!(
        why(&view),
        "prepared at executor-1; its program does not run yet: two; a cancel was asked for"
    );
}

#[test]
fn a_controller_that_takes_over_knows_what_it_waits_for() {
    let (mut view, lease) = starting(Terms::default());
    say(&mut view, lease, "no node has 4 CPUs", ms(0));
    let record = view.live(id(1)).unwrap().clone();
    let stored = serde_json::to_vec(&record).unwrap();
    let read: Record = serde_json::from_slice(&stored).unwrap();
    assert_eq!(read, record);
    let mut next = View::load(LIMITS, vec![read], vec![join(1, 1, 2)], at(0));
    assert!(why(&next).contains("no node has 4 CPUs"), "{}", why(&next));
    assert_eq!(say(&mut next, lease, "no node has 4 CPUs", ms(1)), []);
    assert_eq!(say(&mut next, lease, "the image is pulled", ms(2)).len(), 1);
}

/// The executor knows what it waits for, and until when it may.
#[test]
fn who_runs_images_ends_what_is_late_itself_and_is_reminded_later() {
    let on = [RetryOn::StartTimeout].into();
    let terms = Terms {
        start_timeout_ms: Some(20_000),
        retry: Some(RetryPolicy { on, ..RetryPolicy::of(2) }),
        ..Terms::default()
    };
    let (mut view, lease) = starting(terms.clone());
    say(&mut view, lease, "no node has 4 CPUs", ms(0));
    assert_eq!(view.tick(at(89)).changes, [], "its executor has 70 s more");
    let late = Ending {
        code: "start_timeout".to_owned(),
        reason: "in its own words".to_owned(),
        exit_code: None,
        log: Some((0, 0)),
        ..ending(Outcome::Failed)
    };
    view.report(Session(1), lease, Report::Ended(late.clone()), at(89)).unwrap();
    let Some(Change::Live(next)) = view.sealed(lease, 0, "", at(89)) else { panic!() };
    let [first] = &next.earlier[..] else { panic!("{next:?}") };
    assert_eq!((first.outcome, &*first.code), (Outcome::Failed, "start_timeout"));
    let limit = "its program did not run within 20s of the grant (the job's `start_timeout`)";
    assert_eq!(first.reason, format!("{limit}; it waited for: no node has 4 CPUs"));
    assert_eq!(next.waits_for, "");

    let (mut view, lease) = starting(terms.clone());
    view.report(Session(1), lease, Report::Ended(late), at(20)).unwrap();
    let reason = &view.live(id(1)).unwrap().ending.as_ref().unwrap().reason;
    assert_eq!(
        *reason,
        format!("{limit}; its executor says: in its own words"),
        "nothing else is known"
    );

    let (mut view, lease) = starting(terms);
    say(&mut view, lease, "no node has 4 CPUs", ms(0));
    assert_eq!(view.tick(at(90)).changes.len(), 1);
    let orders = view.attend(Session(1), &[lease]).unwrap().orders;
    assert_eq!(
        (orders[0].kind, orders[0].reason),
        (OrderKind::Stop, "its program did not run in time")
    );
    view.tick(at(160));
    let given_up = view.live(id(1)).unwrap().ending.as_ref().unwrap();
    assert_eq!((given_up.outcome, &*given_up.code), (Outcome::Failed, "start_timeout"));
    assert!(given_up.reason.starts_with(&format!("{limit}; it waited for: no node has 4 CPUs;")));
}

#[test]
fn the_note_of_an_end_is_kept_with_its_attempt() {
    let terms = Terms { retry: Some(RetryPolicy::of(2)), ..Terms::default() };
    let (mut view, lease) = starting(terms);
    view.report(Session(1), lease, Report::Running, at(1)).unwrap();
    let note = "a process of it was killed for memory";
    let noted = Ending { note: note.to_owned(), ..ending(Outcome::Failed) };
    view.report(Session(1), lease, Report::Ended(noted), at(2)).unwrap();
    let Some(Change::Live(next)) = view.sealed(lease, 3, "", at(2)) else { panic!() };
    assert_eq!((next.earlier[0].note.as_str(), &next.ending), (note, &None));
}

#[test]
fn the_job_of_an_attempt_is_named_by_its_namespace_and_the_attempt() {
    let (view, lease) = starting(Terms::default());
    let record = view.live(id(1)).unwrap();
    let name = format!("reports/octavius-{}", lease.attempt);
    assert_eq!(record.runs_as(), Some(name));
    let process = Record { runner: Some(RunnerKind::Process), ..record.clone() };
    assert_eq!(process.runs_as(), None);
    assert_eq!(Record { identity: None, ..record.clone() }.runs_as(), None);
}

proptest! {
    /// A thousand that start cost a thousand writes a second, however often they change their words; and whoever looks
    /// after a second finds on disk what was said last.
    #[test]
    fn words_are_written_once_a_second_and_the_last_ones_always(
        said in prop::collection::vec((0..700u64, prop::option::weighted(0.7, "[abc]?")), 1..60),
    ) {
        let (mut view, lease) = starting(Terms::default());
        let (mut now, mut newest, mut disk) = (0, String::new(), String::new());
        let mut written: Option<u64> = None;
        for (pause, words) in said.into_iter().chain([(1_000, None)]) {
            now += pause;
            let changes = match words {
                None => view.tick(ms(now)).changes,
                Some(words) => {
                    newest.clone_from(&words);
                    say(&mut view, lease, &words, ms(now))
                }
            };
            for change in changes {
                let Change::Live(record) = change else { panic!("{change:?}") };
                prop_assert!(written.is_none_or(|last| now >= last + 1_000), "again after {written:?}: {now}");
                prop_assert!(record.waits_for != disk, "the same words were written");
                disk.clone_from(&record.waits_for);
                written = Some(now);
            }
            let record = view.live(id(1)).unwrap();
            prop_assert_eq!(view.waits_for(record), newest.as_str());
            prop_assert_eq!(&record.waits_for, &disk);
            prop_assert_eq!(view.check(), Ok(()));
        }
        prop_assert_eq!(disk, newest);
    }
}
