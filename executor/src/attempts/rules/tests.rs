//! Single lives of attempts; what holds over all of them is in `world`.

mod world;

use super::*;
use crate::{
    attempts::ending::Over,
    runner::{ExitCause, Work},
};
use octavius_protocol::id::{AttemptId, AttemptNumber, ExecutionId};
use std::{collections::BTreeMap, time::Duration};

fn work(epoch: u64) -> Work {
    Work {
        attempt: AttemptId {
            execution: ExecutionId::from_bytes([7; 16]),
            attempt: AttemptNumber(1),
        },
        epoch: Epoch(epoch),
        job: "greet".to_owned(),
        user: "ada".to_owned(),
        image_name: String::new(),
        command: vec!["true".to_owned()],
        arguments: BTreeMap::new(),
        secrets: Some(Default::default()),
        timeout: None,
        grace: Duration::from_secs(1),
        stop_if_unheard: None,
        namespace: None,
        resources: Default::default(),
        template: String::new(),
        start_timeout: None,
        installation: String::new(),
    }
}

fn exit(cause: ExitCause) -> Phase {
    let size = if cause == ExitCause::Stopped { 0 } else { 9 };
    let log = ExitLog::Whole { size, crc: 1, cut: String::new() };
    Phase::Ended(Exit { cause, code: Some(0), signal: None, log, note: String::new() })
}

fn going() -> Phase {
    Phase::Starting(String::new())
}

fn vanished() -> Phase {
    Phase::Vanished(String::new())
}

#[track_caller]
fn check(facts: &Facts, action: Action) {
    assert_eq!(facts.next(), action, "{facts:?}");
}

fn granted() -> Facts {
    Facts::granted(&Grant { work: work(1), identity: None })
}

fn identity() -> Identity {
    Identity("it".to_owned())
}

fn kept(phase: Phase) -> Found {
    Found { work: work(1), identity: identity(), phase }
}

#[test]
fn what_cannot_be_prepared_yet_says_why_once_and_is_tried_again() {
    let mut facts = granted();
    facts.not_prepared_yet("no namespace".to_owned());
    check(&facts, Action::ReportStarting("no namespace".to_owned()));
    facts.starting_acknowledged("no namespace".to_owned());
    check(&facts, Action::Look);
    facts.looked(None);
    check(&facts, Action::Prepare);
    facts.not_prepared_yet("no namespace".to_owned());
    check(&facts, Action::Look);
    facts.looked(None);
    facts.not_prepared_yet("no quota".to_owned());
    check(&facts, Action::ReportStarting("no quota".to_owned()));
    facts.starting_acknowledged("no quota".to_owned());
    facts.prepared(identity());
    facts.reporting_prepared(identity());
    facts.prepared_acknowledged();
    check(&facts, Action::Go);
    facts.went();
    check(&facts, Action::ReportStarting(String::new()));
}

#[test]
fn what_was_certainly_not_made_is_tried_again_without_a_look_and_can_be_stopped() {
    let mut facts = granted();
    facts.not_made_yet("no right".to_owned());
    check(&facts, Action::ReportStarting("no right".to_owned()));
    facts.starting_acknowledged("no right".to_owned());
    check(&facts, Action::Prepare);
    facts.not_made_yet("no right".to_owned());
    check(&facts, Action::Prepare);
    facts.hear(&Wishes { stop: Some((Epoch(1), "enough".to_owned())), ..Wishes::default() });
    check(&facts, Action::ReportEnded(Over::NeverMade));
}

#[test]
fn an_uneventful_life() {
    let mut facts = granted();
    check(&facts, Action::Prepare);
    facts.prepared(identity());
    check(&facts, Action::ReportPrepared(identity()));
    facts.reporting_prepared(identity());
    facts.prepared_acknowledged();
    check(&facts, Action::Go);
    facts.went();
    check(&facts, Action::Watch(going()));
    facts.phase(Phase::Running);
    check(&facts, Action::ReportRunning);
    facts.running_acknowledged();
    check(&facts, Action::Watch(Phase::Running));
    facts.phase(exit(ExitCause::Exited));
    let Action::Ship(over) = facts.next() else { panic!("{facts:?}") };
    facts.shipped();
    check(&facts, Action::ReportEnded(over));
    facts.end_acknowledged();
    check(&facts, Action::Remove);
    facts.removed();
    check(&facts, Action::Forget);
}

#[test]
fn what_it_waits_for_is_told_when_the_words_change() {
    let mut facts = Facts::found(&kept(going()));
    check(&facts, Action::Watch(going()));
    for words in ["no node", "an image", ""] {
        facts.phase(Phase::Starting(words.to_owned()));
        check(&facts, Action::ReportStarting(words.to_owned()));
        facts.starting_acknowledged(words.to_owned());
        check(&facts, Action::Watch(Phase::Starting(words.to_owned())));
    }
    facts.phase(Phase::Running);
    check(&facts, Action::ReportRunning);
}

#[test]
fn why_what_runs_is_not_seen_is_told_when_the_words_change_and_when_it_is_seen_again() {
    let unseen = |words: &str| Phase::Unseen(words.to_owned());
    let mut facts = Facts::found(&kept(unseen("a node is silent")));
    for words in ["a node is silent", "it is silent since noon"] {
        facts.phase(unseen(words));
        check(&facts, Action::ReportUnseen(words.to_owned()));
        facts.unseen_acknowledged(words.to_owned());
        check(&facts, Action::Watch(unseen(words)));
    }
    assert_eq!(facts.held(), HeldPhase::Running);
    facts.phase(Phase::Running);
    check(&facts, Action::ReportRunning);
    facts.running_acknowledged();
    check(&facts, Action::Watch(Phase::Running));
}

#[test]
fn an_end_is_told_though_its_log_takes_long() {
    let mut facts = Facts::found(&kept(exit(ExitCause::Exited)));
    facts.running_acknowledged();
    let Action::Ship(over) = facts.next() else { panic!("{facts:?}") };
    facts.shipping_takes_long();
    check(&facts, Action::ReportEnded(over.clone()));
    facts.log_incomplete();
    check(&facts, Action::Ship(over.clone()));
    facts.shipped();
    check(&facts, Action::ReportEnded(over));
}

#[test]
fn what_is_found_prepared_is_told_again_before_it_goes() {
    let mut facts = Facts::found(&kept(Phase::Prepared));
    check(&facts, Action::ReportPrepared(identity()));
    facts.prepared_acknowledged();
    check(&facts, Action::Go);
}

#[test]
fn what_was_prepared_and_is_gone_is_lost() {
    let grant = Grant { work: work(1), identity: Some(identity()) };
    let mut facts = Facts::granted(&grant);
    check(&facts, Action::Look);
    facts.looked(None);
    check(&facts, Action::Ship(Over::PreparedGone));
    facts.looked(Some(&Found { identity: Identity("other".to_owned()), ..kept(Phase::Prepared) }));
    check(&facts, Action::Ship(Over::PreparedGone));
    facts.looked(Some(&kept(Phase::Prepared)));
    check(&facts, Action::ReportPrepared(identity()));
    facts.looked(Some(&kept(vanished())));
    check(&facts, Action::Stop); // what its keeper left behind is ended before anybody is told that it is over
    facts.stop_asked();
    check(&facts, Action::Ship(Over::KeeperGone(String::new())));
}

#[test]
fn a_stop_that_was_asked_of_a_keeper_that_is_gone_is_asked_again() {
    let mut facts = Facts::found(&kept(Phase::Running));
    facts.hear(&Wishes { stop: Some((Epoch(1), String::new())), ..Wishes::default() });
    check(&facts, Action::Stop);
    facts.stop_asked();
    facts.phase(vanished());
    check(&facts, Action::Stop);
    facts.stop_asked();
    check(&facts, Action::Ship(Over::KeeperGone(String::new())));
}

#[test]
fn what_went_and_is_gone_is_not_made_again() {
    for phase in [going(), Phase::Running, vanished(), exit(ExitCause::Exited)] {
        let mut facts = Facts::found(&kept(phase));
        facts.looked(None);
        check(&facts, Action::Ship(Over::PreparedGone));
    }
}

#[test]
fn silence_stops_what_runs_and_nothing_that_does_not() {
    let mut facts = granted();
    facts.unheard();
    check(&facts, Action::Prepare);
    facts.prepared(identity());
    facts.reporting_prepared(identity());
    facts.prepared_acknowledged();
    facts.unheard();
    check(&facts, Action::Go);
    for phase in [going(), Phase::Running, Phase::Unseen("a node is silent".to_owned())] {
        let mut facts = Facts::found(&kept(phase));
        assert!(facts.is_at_risk());
        facts.unheard();
        assert!(!facts.is_at_risk(), "once is enough");
        check(&facts, Action::Stop);
    }
    let mut over = Facts::found(&kept(exit(ExitCause::Exited)));
    let before = over.clone();
    over.unheard();
    assert_eq!(over, before);
}

#[test]
fn a_stop_before_anything_is_made_makes_nothing() {
    let mut facts = granted();
    facts.hear(&Wishes { stop: Some((Epoch(1), String::new())), ..Wishes::default() });
    check(&facts, Action::ReportEnded(Over::NeverMade));
}

#[test]
fn a_stop_of_what_is_prepared_never_lets_it_go() {
    let mut facts = Facts::found(&kept(Phase::Prepared));
    facts.hear(&Wishes { stop: Some((Epoch(1), String::new())), ..Wishes::default() });
    check(&facts, Action::Stop);
    facts.stop_asked();
    check(&facts, Action::Watch(Phase::Prepared));
    facts.phase(exit(ExitCause::Stopped));
    assert!(matches!(facts.next(), Action::ReportEnded(Over::Exited(_))), "{facts:?}");
}

#[test]
fn an_order_about_another_grant_is_not_obeyed() {
    let mut facts = Facts::found(&Found { work: work(2), ..kept(Phase::Running) });
    let before = facts.clone();
    facts.hear(&Wishes {
        stop: Some((Epoch(1), String::new())),
        release: Some(Epoch(1)),
        ..Wishes::default()
    });
    assert_eq!(facts, before);
    facts.hear(&Wishes { release: Some(Epoch(2)), ..Wishes::default() });
    check(&facts, Action::Remove);
}

#[test]
fn a_newer_grant_takes_over_only_what_is_not_acknowledged() {
    let newer =
        Wishes { grant: Some(Grant { work: work(2), identity: None }), ..Wishes::default() };
    let mut facts = Facts::found(&kept(Phase::Prepared));
    assert!(facts.hear(&newer));
    check(&facts, Action::Prepare); // again, under the newer grant
    facts.prepared(identity());
    facts.prepared_acknowledged();
    let newest = Wishes { grant: Some(Grant { work: work(3), identity: None }), ..newer };
    assert!(!facts.hear(&newest));
    assert_eq!(facts.epoch(), Epoch(2));
    check(&facts, Action::Go);
}

#[test]
fn what_has_lost_its_secrets_is_not_named_and_waits_for_its_grant() {
    let identity = Identity("made".to_owned());
    let lost = Work { secrets: None, ..work(1) };
    let found = Found { work: lost, identity: identity.clone(), phase: Phase::Prepared };
    let mut facts = Facts::found(&found);
    assert_eq!((facts.held(), facts.lacks_secrets()), (HeldPhase::Bare, false));
    check(&facts, Action::ReportPrepared(identity.clone()));
    facts.reporting_prepared(identity.clone());
    facts.prepared_acknowledged();
    check(&facts, Action::Watch(Phase::Prepared));
    // Nobody orders what is not named: it asks now and then whether it is still wanted.
    facts.phase(Phase::Prepared);
    check(&facts, Action::ReportPrepared(identity.clone()));
    let mut given_up = facts.clone();
    given_up.superseded();
    check(&given_up, Action::Remove);
    facts.prepared_acknowledged();
    let grant = Grant { work: work(1), identity: Some(identity.clone()) };
    facts.hear(&Wishes { grant: Some(grant), ..Wishes::default() });
    assert_eq!(facts.held(), HeldPhase::Prepared);
    check(&facts, Action::Go);
}

#[test]
fn what_went_and_has_lost_its_secrets_asks_for_them_and_says_no_words_before_it_has_them() {
    let lost = Work { secrets: None, ..work(1) };
    let words = || "its image: pulled".to_owned();
    let grant = Grant { work: work(1), identity: Some(identity()) };
    let wishes = Wishes { grant: Some(grant), ..Wishes::default() };
    for (phase, said) in [
        (Phase::Starting(words()), Action::ReportStarting(words())),
        (Phase::Unseen(words()), Action::ReportUnseen(words())),
    ] {
        let found = Found { work: lost.clone(), identity: identity(), phase: phase.clone() };
        let mut facts = Facts::found(&found);
        assert_eq!((facts.held(), facts.lacks_secrets()), (HeldPhase::Running, true));
        check(&facts, Action::Watch(phase));
        facts.hear(&wishes);
        assert!(!facts.lacks_secrets());
        check(&facts, said);
    }
    // A program that runs, and one that has ended, are told at once.
    let found = Found { work: lost, identity: identity(), phase: Phase::Running };
    let mut facts = Facts::found(&found);
    check(&facts, Action::ReportRunning);
    facts.phase(Phase::Vanished(words()));
    assert!(facts.lacks_secrets());
}
