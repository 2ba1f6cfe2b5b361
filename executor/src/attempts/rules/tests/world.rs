//! One attempt against a controller and a runner that fail in every way, for as long as a run lasts.

use super::{super::*, exit, going, vanished, work};
use crate::runner::ExitCause;
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use std::collections::{BTreeMap, BTreeSet};

/// What happens to one step, or between two.
#[derive(Clone, Copy, Debug)]
enum Twist {
    /// It works.
    Works,
    /// It happens, and whoever asked does not hear of it.
    Unheard,
    /// It does not happen.
    Fails,
    /// The driver begins again from what the runner and the controller have.
    Restart,
    /// The program gets further.
    Progress,
    /// What the program runs on becomes silent, or is heard again.
    Silence,
    /// A user wants it stopped.
    Stop,
    /// The controller was not heard for longer than the program may run on.
    Alone,
    /// The controller takes a grant back that is not known to be prepared, and grants it again here.
    GrantAgain,
    /// The controller gives it to somebody else, or it is over otherwise.
    TakeBack,
    /// What the runner keeps is destroyed from outside.
    Destroy,
    /// The runner cannot make it.
    RefusePrepare,
}

fn twists() -> impl Strategy<Value = Vec<Twist>> {
    let twist = prop_oneof![
        12 => Just(Twist::Works),
        3 => Just(Twist::Unheard),
        2 => Just(Twist::Fails),
        2 => Just(Twist::Restart),
        3 => Just(Twist::Progress),
        3 => Just(Twist::Silence),
        1 => Just(Twist::Stop),
        1 => Just(Twist::Alone),
        1 => Just(Twist::GrantAgain),
        1 => Just(Twist::TakeBack),
        1 => Just(Twist::Destroy),
        1 => Just(Twist::RefusePrepare),
    ];
    prop::collection::vec(twist, 0..40)
}

/// The controller's and the runner's side of one attempt.
#[derive(Debug)]
struct World {
    // The controller.
    ours: bool,
    epoch: u64,
    identity: Option<Identity>,
    ending: Option<Over>,
    log_arrived: bool,
    over: bool,
    // The runner.
    kept: Option<(Identity, Epoch, Phase)>,
    made: u32,
    started: u32,
    // The driver.
    facts: Facts,
    wishes: Wishes,
    forgotten: bool,
}

impl World {
    fn new() -> Self {
        let grant = Grant { work: work(1), identity: None };
        Self {
            ours: true,
            epoch: 1,
            identity: None,
            ending: None,
            log_arrived: false,
            over: false,
            kept: None,
            made: 0,
            started: 0,
            facts: Facts::granted(&grant),
            wishes: Wishes { grant: Some(grant), ..Wishes::default() },
            forgotten: false,
        }
    }

    fn found(&self) -> Option<Found> {
        let (identity, epoch, phase) = self.kept.clone()?;
        Some(Found { work: work(epoch.0), identity, phase })
    }

    /// Whether the controller takes this holder's word.
    fn believes(&self) -> bool {
        self.ours && self.facts.epoch() == Epoch(self.epoch)
    }

    fn twist(&mut self, twist: Twist) {
        match twist {
            Twist::Works => self.step(true),
            Twist::Unheard => self.step(false),
            Twist::Fails => self.fail(),
            Twist::Restart => self.restart(),
            Twist::Progress => self.progress(ExitCause::Exited),
            Twist::Silence => self.silence(),
            Twist::Stop if self.believes() => {
                self.wishes.stop = Some((self.facts.epoch(), "a cancel".to_owned()));
            }
            Twist::Alone => self.facts.unheard(),
            Twist::GrantAgain if self.ours && self.identity.is_none() && self.ending.is_none() => {
                self.epoch += 1;
                let grant = Grant { work: work(self.epoch), identity: None };
                self.wishes.grant = Some(grant);
            }
            Twist::TakeBack => {
                self.ours = false;
                self.wishes.release = Some(Epoch(self.epoch));
            }
            Twist::Destroy => {
                self.kept = match self.kept.take() {
                    // The folder of what never ran goes whole; of what ran, only its keeper.
                    Some((
                        identity,
                        epoch,
                        Phase::Starting(_) | Phase::Running | Phase::Unseen(_),
                    )) => Some((identity, epoch, vanished())),
                    Some((_, _, Phase::Prepared)) | None => None,
                    ended @ Some((_, _, Phase::Ended(_) | Phase::Vanished(_))) => ended,
                };
            }
            Twist::RefusePrepare => {
                self.facts.hear(&self.wishes);
                if self.kept.is_none() && self.facts.next() == Action::Prepare {
                    self.facts.refused("there is no such folder".to_owned());
                }
            }
            Twist::Stop | Twist::GrantAgain => {}
        }
    }

    /// A new driver; a controller that still counts on this executor grants again what it does not hold.
    fn restart(&mut self) {
        if self.forgotten {
            return;
        }
        let granted = self.ours && !self.over && self.ending.is_none();
        let grant = Grant { work: work(self.epoch), identity: self.identity.clone() };
        self.wishes = Wishes { stop: self.wishes.stop.take(), ..Wishes::default() };
        match self.found() {
            Some(found) => {
                self.facts = Facts::found(&found);
                self.wishes.release = (!self.ours).then_some(Epoch(self.epoch));
                self.wishes.grant = granted.then_some(grant);
            }
            None if granted => {
                self.facts = Facts::granted(&grant);
                self.wishes.grant = Some(grant);
            }
            None => self.forgotten = true,
        }
    }

    fn progress(&mut self, cause: ExitCause) {
        if let Some((_, _, phase)) = &mut self.kept {
            *phase = match phase.clone() {
                Phase::Starting(words) if words.is_empty() => Phase::Starting("a node".to_owned()),
                Phase::Starting(_) => Phase::Running,
                Phase::Running | Phase::Unseen(_) => exit(cause),
                other => other,
            };
        }
    }

    fn silence(&mut self) {
        if let Some((_, _, phase)) = &mut self.kept {
            *phase = match phase.clone() {
                Phase::Starting(_) | Phase::Running => Phase::Unseen("a node is silent".to_owned()),
                Phase::Unseen(_) => Phase::Running,
                other => other,
            };
        }
    }

    fn fail(&mut self) {
        self.facts.hear(&self.wishes);
        match self.facts.next() {
            Action::Prepare => self.facts.not_prepared_yet("no room".to_owned()),
            Action::Go | Action::Stop | Action::Watch(_) => self.facts.unsure(),
            Action::ReportPrepared(identity) => self.facts.reporting_prepared(identity),
            _ => {}
        }
    }

    fn step(&mut self, heard: bool) {
        self.facts.hear(&self.wishes);
        match self.facts.next() {
            Action::Look if heard => self.facts.looked(self.found().as_ref()),
            Action::Look => {}
            Action::Prepare => self.prepare(heard),
            Action::ReportPrepared(identity) => self.report_prepared(identity, heard),
            Action::Go => self.go(heard),
            Action::Stop => self.stop(heard),
            Action::Watch(_) => match &self.kept {
                Some((_, _, phase)) if heard => self.facts.phase(phase.clone()),
                Some(_) => {}
                None => self.facts.unsure(),
            },
            Action::ReportStarting(words) => match (self.believes(), heard) {
                (true, true) => self.facts.starting_acknowledged(words),
                (false, true) => self.facts.superseded(),
                (_, false) => {}
            },
            Action::ReportRunning => match (self.believes(), heard) {
                (true, true) => self.facts.running_acknowledged(),
                (false, true) => self.facts.superseded(),
                (_, false) => {}
            },
            Action::ReportUnseen(why) => match (self.believes(), heard) {
                (true, true) => self.facts.unseen_acknowledged(why),
                (false, true) => self.facts.superseded(),
                (_, false) => {}
            },
            // Only of what the runner knows the end of the log is known before it has arrived.
            Action::Ship(Over::Exited(_)) if !heard => self.facts.shipping_takes_long(),
            Action::Ship(_) => {
                self.log_arrived = true;
                if heard {
                    self.facts.shipped();
                }
            }
            Action::ReportEnded(over) => self.report_ended(over, heard),
            Action::Remove => {
                assert!(
                    self.facts.released || self.over,
                    "removed before its end was acknowledged"
                );
                self.kept = None;
                if heard {
                    self.facts.removed();
                }
            }
            Action::Forget => {
                assert!(self.kept.is_none(), "forgotten, and something is left");
                assert!(self.over || !self.ours || self.facts.epoch() < Epoch(self.epoch));
                self.forgotten = true;
            }
        }
    }

    fn prepare(&mut self, heard: bool) {
        assert_eq!(self.identity, None, "prepared again what the controller knows to be prepared");
        let epoch = self.facts.epoch();
        let made = self.made;
        let (identity, kept, phase) = self
            .kept
            .get_or_insert_with(|| (Identity(format!("made-{made}")), epoch, Phase::Prepared));
        *kept = epoch.max(*kept);
        assert_eq!(*phase, Phase::Prepared);
        let identity = identity.clone();
        self.made += 1;
        match heard {
            true => self.facts.prepared(identity),
            false => self.facts.unsure(),
        }
    }

    fn report_prepared(&mut self, identity: Identity, heard: bool) {
        self.facts.reporting_prepared(identity.clone());
        let same = self.identity.as_ref().is_none_or(|known| *known == identity);
        let recorded = self.believes() && same && !self.over;
        if recorded {
            self.identity = Some(identity);
        }
        match (heard, recorded) {
            (true, true) => self.facts.prepared_acknowledged(),
            (true, false) => self.facts.superseded(),
            (false, _) => {}
        }
    }

    fn go(&mut self, heard: bool) {
        let Some((identity, epoch, phase)) = &mut self.kept else { return self.facts.unsure() };
        assert_eq!(
            self.identity.as_ref(),
            Some(&*identity),
            "gone before the controller knew of it"
        );
        assert!(!self.ours || *epoch <= Epoch(self.epoch));
        assert!(!self.facts.stop_wanted, "gone, and it was to be stopped");
        if *phase == Phase::Prepared {
            *phase = going();
            self.started += 1;
        }
        match heard {
            true => self.facts.went(),
            false => self.facts.unsure(),
        }
    }

    fn stop(&mut self, heard: bool) {
        let Some((_, _, phase)) = &mut self.kept else { return self.facts.unsure() };
        if !matches!(phase, Phase::Ended(_) | Phase::Vanished(_)) {
            *phase = exit(ExitCause::Stopped);
        }
        match heard {
            true => self.facts.stop_asked(),
            false => self.facts.unsure(),
        }
    }

    fn report_ended(&mut self, over: Over, heard: bool) {
        if !self.believes() {
            if heard {
                self.facts.superseded();
            }
            return;
        }
        if self.ending.is_none() && matches!(over, Over::NeverMade) {
            assert_eq!(self.started, 0, "said to have never run");
        }
        self.ending.get_or_insert(over);
        let complete = self.log_arrived || self.facts.log_wanted().is_none();
        self.over |= complete;
        match (heard, complete) {
            (true, true) => self.facts.end_acknowledged(),
            (true, false) => self.facts.log_incomplete(),
            (false, _) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn an_attempt_runs_at_most_once_and_ends_with_nothing_left_whatever_fails(twists in twists()) {
        let mut world = World::new();
        for twist in twists {
            if world.forgotten {
                break;
            }
            world.twist(twist);
            prop_assert!(world.started <= 1, "started twice: {world:?}");
        }
        for _ in 0..60 {
            if world.forgotten {
                break;
            }
            world.step(true);
            world.progress(ExitCause::Exited);
        }
        prop_assert!(world.forgotten, "it never came to an end: {world:?}");
        prop_assert!(world.kept.is_none(), "something is left: {world:?}");
        // What is not over is either somebody else's, or will be granted here again under a newer epoch.
        prop_assert!(world.over || !world.ours || world.facts.epoch() < Epoch(world.epoch), "{world:?}");
    }
}

/// Without this the property above could hold because nothing ever happens.
#[test]
fn the_runs_reach_what_they_are_about() {
    let mut runner = TestRunner::deterministic();
    let mut reached: BTreeMap<&str, u32> = BTreeMap::new();
    for _ in 0..1000 {
        let mut world = World::new();
        let mut happened = BTreeSet::new();
        for twist in twists().new_tree(&mut runner).unwrap().current() {
            if world.forgotten {
                break;
            }
            world.twist(twist);
            happened.extend([
                (world.started > 0, "started"),
                (world.made > 1, "prepared again"),
                (world.epoch > 1 && world.facts.epoch() == Epoch(world.epoch), "granted anew"),
                (matches!(world.ending, Some(Over::Exited(_))), "ended"),
                (matches!(world.ending, Some(Over::PreparedGone | Over::KeeperGone(_))), "lost"),
                (matches!(world.ending, Some(Over::NeverMade)), "stopped early"),
                (matches!(world.ending, Some(Over::Refused(_))), "refused"),
                (!world.facts.unseen_told.is_empty(), "told to be unseen"),
                (world.facts.released && world.started > 0, "taken back while it ran"),
                (matches!(twist, Twist::Restart) && world.started > 0, "begun again while it ran"),
                (world.facts.stop_wanted && world.wishes.stop.is_none(), "stopped for silence"),
            ]);
        }
        for (_, what) in happened.into_iter().filter(|(happened, _)| *happened) {
            *reached.entry(what).or_default() += 1;
        }
    }
    let seldom = reached.values().filter(|runs| **runs < 10).count();
    assert!(reached.len() == 11 && seldom == 0, "of 1000 runs: {reached:?}");
}
