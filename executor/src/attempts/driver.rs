//! Drives one attempt: asks the rules what is next, does it, and tells them what came of it.
//!
//! A driver is a task that its actor holds: it ends with the actor, at any point, and the next one learns from the
//! runner and the controller where it was.

use super::{
    Moved, Tools,
    ending::{Over, Stops, WholeLog},
    rules::{Action, Facts, Wishes},
    shipping::{Shipped, Shipper, Shipping, measured},
    silence::Silence,
};
use crate::{
    lease::{Grant, Held, LeaseName},
    link::{Event, Failure, Verdict, backoff::Backoff},
    mask::Masker,
    runner::{Exit, ExitLog, Found, Phase, RunnerError, Work},
};
use octavius_service::configuration::Setting as _;
use std::{fmt, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tonic::Code;

/// How long one wait for another phase takes.
const WATCH: Duration = Duration::from_secs(30);

/// How long the end waits for the log: a short one is there by then, and one report is enough. A longer one, or one that
/// cannot be stored, must not keep the controller from the end: only with that it frees the place, and limits the wait.
const SHIP_FIRST: Duration = Duration::from_millis(200);

/// How long a log that the controller waits for may take, before it is asked whether it still does.
const SHIP: Duration = Duration::from_secs(30);

/// What is said in the place of words of others while it is not known which values are secret.
const WITHHELD: &str = "(what is said of it is withheld: the values of its secrets, which are masked in it, did not come again)";

/// How long a runner may take for one thing, before it is asked again what there is.
const RUNNER_WITHIN: Duration = Duration::from_secs(60);

/// Drives one attempt.
#[derive(Debug)]
pub(super) struct Driver {
    tools: Arc<Tools>,
    work: Work,
    facts: Facts,
    wishes: watch::Receiver<Wishes>,
    moved: mpsc::Sender<Moved>,
    lease: watch::Sender<LeaseName>,
    /// What masks its log and its words; none: its secrets are not known yet.
    masker: watch::Sender<Option<Masker>>,
    is_new: bool,
    told: Option<Held>,
    stop_reason: Option<String>,
    arrived: Option<WholeLog>,
    /// The controller has the end, and waits for the log.
    end_told: bool,
    /// The controller may have heard of the end.
    end_said: bool,
    /// The controller refused the words of the end.
    end_refused: bool,
    backoff: Backoff,
    /// Of preparing it and letting it go, between which it is looked at.
    trying: Backoff,
}

/// From where an attempt is gone on with.
#[derive(Clone, Debug)]
pub(super) enum Begin {
    /// From a grant.
    Granted(Grant),
    /// From what the runner has.
    Found(Found),
}

impl Begin {
    /// The attempt and the grant.
    pub(super) fn lease(&self) -> LeaseName {
        let work = self.work();
        LeaseName { attempt: work.attempt, epoch: work.epoch }
    }

    fn work(&self) -> &Work {
        match self {
            Self::Granted(grant) => &grant.work,
            Self::Found(found) => &found.work,
        }
    }

    /// How it is held to begin with.
    pub(super) fn held(&self) -> Held {
        held(self.lease(), &self.facts())
    }

    /// Whether the controller has nothing of its log, because as far as it knows nothing of it was prepared before.
    fn is_new(&self) -> bool {
        matches!(self, Self::Granted(grant) if grant.identity.is_none())
    }

    fn facts(&self) -> Facts {
        match self {
            Self::Granted(grant) => Facts::granted(grant),
            Self::Found(found) => Facts::found(found),
        }
    }
}

fn held(lease: LeaseName, facts: &Facts) -> Held {
    Held { lease, phase: facts.held(), lacks_secrets: facts.lacks_secrets() }
}

impl Driver {
    /// A driver that goes on from `begin`, obeys `wishes`, and says through `moved` how far it is.
    pub(super) fn new(
        tools: Arc<Tools>,
        begin: &Begin,
        wishes: watch::Receiver<Wishes>,
        moved: mpsc::Sender<Moved>,
    ) -> Self {
        Self {
            tools,
            work: begin.work().clone(),
            facts: begin.facts(),
            wishes,
            moved,
            lease: watch::Sender::new(begin.lease()),
            masker: watch::Sender::new(begin.work().secrets.as_ref().map(Masker::of)),
            is_new: begin.is_new(),
            told: None,
            stop_reason: None,
            arrived: None,
            end_told: false,
            end_said: false,
            end_refused: false,
            backoff: Backoff::default(),
            trying: Backoff::default(),
        }
    }

    /// Goes on until the attempt is no longer held here.
    pub(super) async fn run(mut self) {
        let (shipper, mut shipping) = Shipper::new(
            self.tools.clone(),
            self.lease.subscribe(),
            self.masker.subscribe(),
            self.is_new,
        );
        tokio::select! {
            () = self.steps(&mut shipping) => {}
            never = shipper.run() => match never {},
        }
    }

    async fn steps(&mut self, shipping: &mut Shipping) {
        let mut wishes = self.wishes.clone();
        let mut silence = Silence::since(self.tools.link.heard());
        loop {
            self.hear(&mut wishes);
            let patience = self.work.stop_if_unheard.filter(|_| self.facts.is_at_risk());
            if patience.is_some_and(|patience| silence.lasts(patience)) {
                self.left_alone(&mut silence).await;
                continue;
            }
            self.tell().await;
            if let Some(until) = self.facts.log_wanted() {
                shipping.send_until(until);
            }
            let action = self.facts.next();
            tracing::debug!(lease = ?*self.lease.borrow(), action = self.words(format!("{action:?}")), "next");
            if action == Action::Forget {
                return;
            }
            if action == Action::Go
                && self.work.stop_if_unheard.is_some_and(|limit| silence.lasted() >= limit)
            {
                // It would be stopped as soon as it ran.
                tokio::select! {
                    () = silence.ends() => {}
                    _ = wishes.changed() => {}
                }
                continue;
            }
            let pause = if waits(&action) {
                // Whoever waits hears at once what is wanted now.
                tokio::select! {
                    pause = self.act(action, shipping) => pause,
                    _ = wishes.changed() => None,
                    () = silence.for_as_long_as(patience) => None,
                }
            } else {
                self.act(action, shipping).await
            };
            let Some(pause) = pause else { continue };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = wishes.changed() => {}
                () = silence.for_as_long_as(patience) => {}
            }
        }
    }

    /// The controller was silent for too long: what runs is stopped, if another process does not go on with it.
    async fn left_alone(&mut self, silence: &mut Silence) {
        let (attempt, silent) = (self.work.attempt, silence.lasted());
        match timeout(RUNNER_WITHIN, self.tools.belonging.is_claimed()).await {
            Ok(Ok(true)) => {
                tracing::warn!(%attempt, ?silent, "stopped: no answer of the controller");
                return self.facts.unheard();
            }
            Ok(Ok(false)) => {
                tracing::warn!(%attempt, ?silent, "not stopped: a newer process of this executor goes on with it");
            }
            Ok(Err(error)) => {
                tracing::warn!(%attempt, ?silent, %error, "not stopped yet: whether it is still ours is not known");
            }
            Err(late) => {
                tracing::warn!(%attempt, ?silent, %late, "not stopped yet: whether it is still ours is not known");
            }
        }
        silence.leave_alone(WATCH);
    }

    fn hear(&mut self, wishes: &mut watch::Receiver<Wishes>) {
        let wishes = wishes.borrow_and_update().clone();
        let adopted = self.facts.hear(&wishes);
        match wishes.grant {
            Some(grant) if adopted => {
                self.work = grant.work;
                self.lease.send_modify(|lease| lease.epoch = self.work.epoch);
                self.masker.send_replace(self.work.secrets.as_ref().map(Masker::of));
            }
            // What an earlier process held in memory alone comes with the same grant again.
            Some(grant) if grant.work.epoch == self.work.epoch && self.work.secrets.is_none() => {
                self.work.secrets = grant.work.secrets;
                self.masker.send_replace(self.work.secrets.as_ref().map(Masker::of));
            }
            Some(_) | None => {}
        }
        if !self.end_said {
            // The controller may know of the end: it is said again as it was, whatever is ordered since.
            self.stop_reason = wishes.stop.map(|(_, reason)| reason);
        }
    }

    /// Tells the actor how far it is, if that is new.
    async fn tell(&mut self) {
        let now = held(*self.lease.borrow(), &self.facts);
        if self.told.replace(now) != Some(now) {
            // Who does not listen any more is about to end this task.
            let _ = self.moved.send(Moved(now)).await;
        }
    }

    /// Does one thing. How long to wait before the next, if it did not work.
    async fn act(&mut self, action: Action, shipping: &mut Shipping) -> Option<Duration> {
        match action {
            Action::Look => self.look().await,
            Action::Prepare => self.prepare().await,
            Action::Go => self.go().await,
            Action::Stop => self.stop().await,
            Action::Watch(seen) => self.watch(&seen).await,
            Action::Remove => self.remove().await,
            Action::ReportPrepared(identity) => {
                self.facts.reporting_prepared(identity.clone());
                self.report(Event::Prepared(identity), shipping).await
            }
            Action::ReportStarting(words) => self.report(Event::Starting(words), shipping).await,
            Action::ReportRunning => self.report(Event::Running, shipping).await,
            Action::ReportUnseen(why) => self.report(Event::Unseen(why), shipping).await,
            Action::Ship(over) => {
                self.ship(&over, shipping).await;
                None
            }
            Action::ReportEnded(over) => self.report_ended(&over, shipping).await,
            Action::Forget => None,
        }
    }

    async fn look(&mut self) -> Option<Duration> {
        let (tools, work) = (self.tools.clone(), self.work.clone());
        match self.asked("looking", tools.runner.look_for(&work)).await {
            Ok(found) => self.facts.looked(Some(&found)),
            Err(Unable::Unknown) => self.facts.looked(None),
            Err(Unable::Refused(_) | Unable::NotYet(_) | Unable::Later(_)) => {
                return Some(self.backoff.pause());
            }
        }
        self.backoff.reset();
        None
    }

    async fn prepare(&mut self) -> Option<Duration> {
        let (tools, work) = (self.tools.clone(), self.work.clone());
        match self.asked("preparing", tools.runner.prepare(&work)).await {
            Ok(identity) => self.facts.prepared(identity),
            Err(Unable::Refused(why)) => self.facts.refused(why),
            Err(Unable::NotYet(why)) => {
                self.facts.not_made_yet(why);
                return Some(self.trying.pause());
            }
            Err(Unable::Later(why)) => {
                self.facts.not_prepared_yet(why);
                return Some(self.trying.pause());
            }
            Err(Unable::Unknown) => {
                self.facts.unsure();
                return Some(self.trying.pause());
            }
        }
        self.trying.reset();
        None
    }

    async fn go(&mut self) -> Option<Duration> {
        let secrets = self.work.secrets.clone().unwrap_or_default();
        let tools = self.tools.clone();
        match self.asked("letting it go", tools.runner.go(self.work.attempt, &secrets)).await {
            Ok(()) => self.facts.went(),
            Err(_) => {
                self.facts.unsure();
                return Some(self.trying.pause());
            }
        }
        self.trying.reset();
        None
    }

    async fn stop(&mut self) -> Option<Duration> {
        match self.asked("stopping", self.tools.clone().runner.stop(self.work.attempt)).await {
            Ok(()) => self.facts.stop_asked(),
            Err(_) => {
                self.facts.unsure();
                return Some(self.backoff.pause());
            }
        }
        self.backoff.reset();
        None
    }

    async fn watch(&mut self, seen: &Phase) -> Option<Duration> {
        match self.tools.runner.wait(self.work.attempt, seen, WATCH).await {
            Ok(phase) => {
                self.facts.phase(phase);
                self.backoff.reset();
                None
            }
            Err(error) => {
                let error = self.words(error.to_string());
                tracing::warn!(attempt = %self.work.attempt, error, "watching did not work");
                self.facts.unsure();
                Some(self.backoff.pause())
            }
        }
    }

    async fn remove(&mut self) -> Option<Duration> {
        match self.asked("removing", self.tools.clone().runner.remove(self.work.attempt)).await {
            Ok(()) | Err(Unable::Unknown) => {
                self.facts.removed();
                None
            }
            Err(Unable::Refused(_) | Unable::NotYet(_) | Unable::Later(_)) => {
                Some(self.backoff.pause())
            }
        }
    }

    async fn ship(&mut self, over: &Over, shipping: &mut Shipping) {
        let masker = self.masker.borrow().clone();
        // Of these there is nothing to report before what there is of the log has arrived.
        let log_first = match over {
            Over::Exited(Exit { log: ExitLog::Whole { .. }, .. }) => {
                masker.is_none() && !self.end_told
            }
            Over::Exited(Exit { log: ExitLog::Followed, .. }) => !self.end_told,
            Over::KeeperGone(_) | Over::PreparedGone | Over::NeverMade | Over::Refused(_) => {
                !self.end_told
            }
        };
        let wait = match over {
            _ if self.end_told => SHIP,
            _ if log_first => self.tools.log_wait,
            _ => SHIP_FIRST,
        };
        let before = shipping.reached();
        // A log that cannot arrive while the controller is away is not one that cannot be stored.
        let sessions = self.tools.link.clone();
        let shipped = async {
            if log_first {
                tokio::select! {
                    shipped = shipping.done() => return Ok(shipped),
                    _ = sessions.session() => {}
                }
            }
            timeout(wait, shipping.done()).await
        };
        match shipped.await {
            Ok(shipped) => {
                self.arrived = match shipped {
                    Shipped::Whole => None,
                    Shipped::Short(log) => Some(log),
                };
                self.facts.shipped();
            }
            Err(_) if log_first => {
                let (size, crc) = shipping.reached();
                if (size, crc) != before || sessions.sessions().borrow().is_none() {
                    return; // it gets on, or cannot: it is waited for anew
                }
                let within = wait.shown();
                let cut = match masker {
                    Some(_) => {
                        format!("the log is not whole: the rest was not stored within {within}")
                    }
                    None => format!(
                        "the log is not whole: the values of its secrets, which are masked in it, did not come again within {within}"
                    ),
                };
                self.arrived = Some(WholeLog { size, crc, cut });
                self.facts.shipped();
            }
            Err(_) => {
                if self.is_measured(over, masker).await {
                    self.facts.shipping_takes_long();
                }
            }
        }
    }

    /// Whether size and checksum of its log are known although it is not sent yet. Of what is masked nobody has told them.
    async fn is_measured(&mut self, over: &Over, masker: Option<Masker>) -> bool {
        let masker = masker.filter(|masker| !masker.is_idle() && self.arrived.is_none());
        let (Over::Exited(Exit { log: ExitLog::Whole { size, .. }, .. }), Some(masker)) =
            (over, masker)
        else {
            return true;
        };
        match measured(&*self.tools.runner, &masker, self.work.attempt, *size).await {
            Ok(log) => self.arrived = Some(log),
            // Who sends it meets the same, and gives up in time.
            Err(error) => {
                tracing::debug!(attempt = %self.work.attempt, %error, "a log is not measured yet");
            }
        }
        self.arrived.is_some()
    }

    async fn report_ended(&mut self, over: &Over, shipping: &Shipping) -> Option<Duration> {
        let stops = Stops {
            timeout: self.work.timeout,
            unheard: self.work.stop_if_unheard,
            asked: self.stop_reason.as_deref(),
        };
        let over = over.clone().in_words(|words| self.words(words));
        let mut ending = over.ending(stops, self.arrived.clone());
        if self.end_refused {
            ending = ending.minimal();
        }
        self.report(Event::Ended(ending), shipping).await
    }

    async fn report(&mut self, event: Event, shipping: &Shipping) -> Option<Duration> {
        let session = self.tools.link.session().await;
        self.end_said |= matches!(event, Event::Ended(_));
        let lease = *self.lease.borrow();
        let said = match &event {
            Event::Starting(words) => Event::Starting(self.words(words.clone())),
            Event::Unseen(why) => Event::Unseen(self.words(why.clone())),
            Event::Prepared(_) | Event::Running | Event::Ended(_) => event.clone(),
        };
        let verdict = match self.tools.link.report(session, lease, &said).await {
            Ok(verdict) => verdict,
            Err(failure) => {
                let ended = matches!(event, Event::Ended(_));
                if ended && matches!(failure, Failure::Refused { code: Code::InvalidArgument, .. })
                {
                    self.end_refused = true;
                }
                return Some(self.wait_to_report(&event, &failure));
            }
        };
        match (verdict, event) {
            (Verdict::Superseded(why), _) => {
                // A newer grant may have come meanwhile: then only the old one is over.
                let wishes = self.wishes.borrow().clone();
                if !self.facts.clone().hear(&wishes) {
                    tracing::info!(?lease, %why, "taken back by the controller");
                    self.facts.superseded();
                }
            }
            (Verdict::Recorded, Event::Prepared(_)) => self.facts.prepared_acknowledged(),
            (Verdict::Recorded, Event::Starting(words)) => self.facts.starting_acknowledged(words),
            (Verdict::Recorded, Event::Running) => self.facts.running_acknowledged(),
            (Verdict::Recorded, Event::Unseen(why)) => self.facts.unseen_acknowledged(why),
            (Verdict::Recorded, Event::Ended(ending)) => {
                tracing::info!(?lease, outcome = ?ending.outcome, reason = %ending.reason, "over");
                self.facts.end_acknowledged();
            }
            (Verdict::LogIncomplete(_), Event::Ended(_)) => {
                self.end_told = true;
                self.facts.log_incomplete();
                if shipping.is_done() {
                    shipping.again();
                    return Some(self.backoff.pause());
                }
            }
            (
                Verdict::LogIncomplete(_),
                event @ (Event::Prepared(_)
                | Event::Starting(_)
                | Event::Running
                | Event::Unseen(_)),
            ) => {
                let failure = Failure::nonsense("LOG_INCOMPLETE for an attempt that has not ended");
                return Some(self.wait_to_report(&event, &failure));
            }
        }
        self.backoff.reset();
        None
    }

    /// Words of others, as they may be shown.
    fn words(&self, words: String) -> String {
        match &*self.masker.borrow() {
            Some(masker) => masker.text(words),
            None => WITHHELD.to_owned(),
        }
    }

    fn wait_to_report(&mut self, event: &Event, failure: &Failure) -> Duration {
        let pause = self.backoff.pause();
        if self.backoff.failures() == 1 {
            let (attempt, event) = (self.work.attempt, event.label());
            tracing::warn!(%attempt, event, %failure, "a report waits: it is sent again until it is taken");
        }
        pause
    }

    /// Asks the runner for something, for a limited time.
    async fn asked<T>(
        &self,
        doing: &str,
        asked: impl Future<Output = Result<T, RunnerError>>,
    ) -> Result<T, Unable> {
        let attempt = self.work.attempt;
        let warn = |error: &dyn fmt::Display| {
            let error = self.words(error.to_string());
            tracing::warn!(%attempt, error, "{doing} did not work");
        };
        match tokio::time::timeout(RUNNER_WITHIN, asked).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(RunnerError::Unknown(_))) => Err(Unable::Unknown),
            Ok(Err(RunnerError::Refused(why))) => {
                warn(&why);
                Err(Unable::Refused(why))
            }
            Ok(Err(RunnerError::NotYet(why))) => {
                warn(&why);
                Err(Unable::NotYet(why))
            }
            Ok(Err(error @ RunnerError::Failed { .. })) => {
                warn(&error);
                Err(Unable::Later(error.to_string()))
            }
            Err(late) => {
                warn(&late);
                let within = RUNNER_WITHIN.shown();
                Err(Unable::Later(format!("{doing} it is not done within {within}")))
            }
        }
    }
}

/// Why the runner did not do something.
enum Unable {
    Unknown,
    Refused(String),
    NotYet(String),
    Later(String),
}

/// Whether an action waits for others, and may be left for something better to do.
fn waits(action: &Action) -> bool {
    match action {
        Action::Watch(_) | Action::ReportPrepared(_) => true,
        Action::ReportStarting(_) | Action::ReportRunning | Action::ReportUnseen(_) => true,
        Action::Ship(_) | Action::ReportEnded(_) => true,
        Action::Look | Action::Prepare | Action::Go | Action::Stop => false,
        Action::Remove | Action::Forget => false,
    }
}
