//! Sends the log of one attempt, as it is written, until the controller has it.
//!
//! One append is in flight at a time; what is written meanwhile goes with the next, and there is at least `COALESCE`
//! between two while there is little, so that a program that writes line by line does not cost a call for each. Nothing is
//! kept here: the runner has the bytes until they are acknowledged, and each restart asks the controller where it is.
//! Of a log that is new nothing is there, and nothing is asked. Values of secrets are masked on the way: before they are
//! known, nothing is read.

mod measured;
pub mod rules;

pub(super) use measured::measured;

use super::{Tools, ending::WholeLog};
use crate::{
    lease::LeaseName,
    link::{Failure, backoff::Backoff},
    mask::{LogEnd, Masker, is_over},
    metrics::appended,
    runner::{LogPiece, RunnerError},
    watched::{changed, present},
};
use rules::{Acknowledged, Position, Sending};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{sync::watch, time::Instant};

/// The least time between two appends of one log that has little to read.
const COALESCE: Duration = Duration::from_millis(5);

/// How long one wait for more of a log takes.
const FOLLOW: Duration = Duration::from_secs(5);

/// The least time between two looks at a log that has nothing new.
const QUIET: Duration = Duration::from_millis(50);

/// How often a log that should have more to read, and has not, is tried again before it is given up.
const MISSING_TRIES: u32 = 8;

/// Up to where a log is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// As it is written, until something else is said.
    Stopped,
    /// All of it: so many bytes, as its program wrote them.
    Whole(u64),
    /// As much as there is to read: that is the log, and it is whole.
    Followed,
    /// As much as there is to read, and its end may be missing.
    Rest,
    /// Nothing more; only what arrived is to be known.
    Arrived,
}

/// What is to be sent of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Target {
    until: Until,
    /// Grows when the controller says that it misses some of what it had acknowledged.
    round: u32,
}

/// What came of sending a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shipped {
    /// The controller has all of it.
    Whole,
    /// The controller has this much, and there is no more.
    Short(WholeLog),
}

/// How an attempt's driver and its shipper talk.
#[derive(Debug)]
pub(super) struct Shipping {
    target: watch::Sender<Option<Target>>,
    shipped: watch::Receiver<Option<(Target, Shipped)>>,
    reached: watch::Receiver<(u64, u64)>,
}

impl Shipping {
    /// Size and CRC-64/XZ of what the controller has, as it last said.
    pub(super) fn reached(&self) -> (u64, u64) {
        *self.reached.borrow()
    }

    /// Says up to where the log is to be sent.
    pub(super) fn send_until(&self, until: Until) {
        self.target.send_if_modified(|target| {
            let round = target.map_or(0, |target| target.round);
            let wanted = Some(Target { until, round });
            std::mem::replace(target, wanted) != wanted
        });
    }

    /// The controller misses some of it: asks it where to go on.
    pub(super) fn again(&self) {
        self.target.send_modify(|target| {
            if let Some(target) = target {
                target.round = target.round.wrapping_add(1);
            }
        });
    }

    /// Whether it is sent as far as the newest wish says.
    pub(super) fn is_done(&self) -> bool {
        let wanted = *self.target.borrow();
        self.shipped.borrow().as_ref().is_some_and(|(target, _)| Some(*target) == wanted)
    }

    /// What came of it, once it is sent as far as the newest wish says. Cancel safe.
    pub(super) async fn done(&mut self) -> Shipped {
        let wanted = *self.target.borrow();
        present(&mut self.shipped, |(target, _)| Some(*target) == wanted).await.1
    }
}

/// Sends one log.
#[derive(Debug)]
pub(super) struct Shipper {
    tools: Arc<Tools>,
    lease: watch::Receiver<LeaseName>,
    masker: watch::Receiver<Option<Masker>>,
    target: watch::Receiver<Option<Target>>,
    shipped: watch::Sender<Option<(Target, Shipped)>>,
    reached: watch::Sender<(u64, u64)>,
    position: Position,
    backoff: Backoff,
    missing: u32,
    last_append: Option<Instant>,
    /// What was read last was so much that there is more.
    is_behind: bool,
    is_new: bool,
}

/// What came of sending.
enum Came {
    /// All that was wanted is sent, or nothing more can be.
    Done(Shipped),
    /// The wish changed.
    Changed,
}

/// What came of one piece.
enum Passed {
    /// The controller has it.
    On,
    /// Nothing more is taken.
    Closed,
    /// The controller does not have it, or it was read wrongly.
    Stuck,
}

impl Shipper {
    /// A shipper that waits for its first wish, of a log of which the controller has nothing if it `is_new`. Where it has
    /// something after all, its answer to the first append says so.
    pub(super) fn new(
        tools: Arc<Tools>,
        lease: watch::Receiver<LeaseName>,
        masker: watch::Receiver<Option<Masker>>,
        is_new: bool,
    ) -> (Self, Shipping) {
        let (target, wanted) = watch::channel(None);
        let (shipped, seen) = watch::channel(None);
        let (reached, last) = watch::channel((0, 0)); // the CRC-64/XZ of no bytes is 0
        let shipper = Self {
            tools,
            lease,
            masker,
            target: wanted,
            shipped,
            reached,
            position: Position::default(),
            backoff: Backoff::default(),
            missing: 0,
            last_append: None,
            is_behind: false,
            is_new,
        };
        (shipper, Shipping { target, shipped: seen, reached: last })
    }

    /// Sends for ever: it ends by being dropped.
    pub(super) async fn run(mut self) -> Infallible {
        let mut round = self.is_new.then_some(0);
        loop {
            let target = present(&mut self.target, |_| true).await;
            let mut closed = false;
            if round.replace(target.round) != Some(target.round) {
                closed = self.append(None).await.closed;
            }
            let came = if closed { self.whole() } else { self.send(target.until).await };
            if let Came::Done(shipped) = came {
                self.shipped.send_replace(Some((target, shipped)));
                changed(&mut self.target).await;
            }
        }
    }

    async fn send(&mut self, until: Until) -> Came {
        // A copy: what is taken notice of here is looked at by the caller.
        let mut target = self.target.clone();
        loop {
            match until {
                Until::Whole(size) if self.has_all(size) => return self.whole(),
                Until::Arrived => {
                    self.append(None).await;
                    return self.settled("the log is not whole: the rest of it is gone");
                }
                Until::Whole(_) | Until::Followed | Until::Rest | Until::Stopped => {}
            }
            if let Some(last) = self.last_append
                && !self.is_behind
            {
                tokio::time::sleep_until(last + COALESCE).await;
            }
            let began = Instant::now();
            let read = tokio::select! {
                read = self.follow(until) => read,
                () = changed(&mut target) => return Came::Changed,
            };
            let failed = read.is_err();
            let cut = match (self.piece(read), until) {
                (Some(piece), _) => match self.pass_on(piece).await {
                    Passed::Closed => return self.whole(),
                    Passed::On => continue,
                    Passed::Stuck => Err(self.backoff.pause()),
                },
                (None, Until::Rest) if failed && self.missing < MISSING_TRIES => Err(self.miss()),
                (None, Until::Rest | Until::Arrived) => {
                    Ok("the log is not whole: its end may be missing".to_owned())
                }
                (None, Until::Whole(size)) if self.missing >= MISSING_TRIES => Ok(format!(
                    "the log is not whole: it had {size} bytes, and the rest cannot be read any more"
                )),
                (None, Until::Whole(_)) => Err(self.miss()),
                // How long that is tried is the business of who waits for it.
                (None, Until::Followed | Until::Stopped) if failed => Err(self.backoff.pause()),
                (None, Until::Followed) => Ok(String::new()),
                // A quiet program; but who answers at once that there is nothing is not asked in a circle.
                (None, Until::Stopped) => Err(QUIET.saturating_sub(began.elapsed())),
            };
            let pause = match cut {
                Err(pause) => pause,
                Ok(cut) => {
                    let before = self.position.next();
                    let closed = self.append(None).await.closed;
                    if closed || self.position.next() >= before {
                        return self.settled(&cut);
                    }
                    // It lost what was not durable: that is read again, and sent.
                    self.backoff.pause()
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = changed(&mut target) => return Came::Changed,
            }
        }
    }

    fn miss(&mut self) -> Duration {
        self.missing += 1;
        self.backoff.pause()
    }

    async fn follow(&mut self, until: Until) -> Result<Option<LogPiece>, RunnerError> {
        let masker = present(&mut self.masker, |_| true).await;
        let attempt = self.lease.borrow().attempt;
        let most = rules::largest_piece(self.tools.drivers.len());
        let (runner, place) = (&*self.tools.runner, self.position.place());
        let piece = if masker.is_idle() {
            runner.follow(attempt, place.1, most, FOLLOW).await?
        } else {
            let end = match until {
                Until::Stopped => LogEnd::Unknown,
                Until::Whole(size) => LogEnd::At(size),
                Until::Followed | Until::Rest | Until::Arrived => LogEnd::Silence,
            };
            masker.follow(runner, attempt, place, most, FOLLOW, end).await?
        };
        self.is_behind = piece.as_ref().is_some_and(|piece| piece.size() >= most / 2);
        Ok(piece)
    }

    /// A piece, if one was read; what was read wrongly is told to the log, and reading begins again.
    fn piece(&mut self, read: Result<Option<LogPiece>, RunnerError>) -> Option<LogPiece> {
        match read {
            Ok(piece) => piece,
            Err(error) => {
                let attempt = self.lease.borrow().attempt;
                tracing::warn!(%attempt, %error, "a log cannot be read");
                match error {
                    RunnerError::Refused(_) => self.position.restart(),
                    RunnerError::NotYet(_)
                    | RunnerError::Failed { .. }
                    | RunnerError::Unknown(_) => {}
                }
                None
            }
        }
    }

    /// Sends what the controller does not have of a piece.
    async fn pass_on(&mut self, piece: LogPiece) -> Passed {
        match self.position.read(piece) {
            Ok(Some(sending)) => {
                let before = self.position.next();
                let closed = self.append(Some(sending)).await.closed;
                match (closed, self.position.next() > before) {
                    (true, _) => return Passed::Closed,
                    // Sent again from where the controller is; but not in a circle, for it may be closing the log.
                    (false, false) => return Passed::Stuck,
                    (false, true) => self.missing = 0,
                }
                Passed::On
            }
            Ok(None) => Passed::On,
            Err(error) => {
                let attempt = self.lease.borrow().attempt;
                tracing::warn!(%attempt, %error, "the log is read again from its start");
                Passed::Stuck
            }
        }
    }

    /// Whether the controller has all of a log of which the program wrote `size` bytes.
    fn has_all(&self, size: u64) -> bool {
        let (reading, cursor) = self.position.place();
        match &*self.masker.borrow() {
            Some(masker) if masker.is_idle() => self.position.next() >= size,
            Some(_) => is_over(cursor, reading, size),
            None => false,
        }
    }

    /// That the controller has all of it.
    fn whole(&self) -> Came {
        match &*self.masker.borrow() {
            Some(masker) if masker.is_idle() => Came::Done(Shipped::Whole),
            // How much that is nobody knew before.
            Some(_) | None => self.settled(""),
        }
    }

    /// That the controller has this much, and what is missing.
    fn settled(&self, cut: &str) -> Came {
        let (size, crc) = self.position.arrived();
        Came::Done(Shipped::Short(WholeLog { size, crc, cut: cut.to_owned() }))
    }

    /// Sends once more and once more until there is an answer.
    async fn append(&mut self, sending: Option<Sending>) -> Acknowledged {
        let bytes = sending.as_ref().map_or(0, |sending| sending.end - sending.offset);
        loop {
            let session = self.tools.link.session().await;
            let lease = *self.lease.borrow();
            self.last_append = Some(Instant::now());
            match self
                .tools
                .link
                .append(session, lease, sending.clone(), self.position.next())
                .await
            {
                Ok(answer) => {
                    if sending.as_ref().is_some_and(|sending| answer.next >= sending.end) {
                        appended(bytes);
                        self.backoff.reset();
                    }
                    self.position.acknowledged(&answer);
                    self.reached.send_replace(self.position.arrived());
                    return answer;
                }
                Err(failure) => self.pause(lease, &failure).await,
            }
        }
    }

    async fn pause(&mut self, lease: LeaseName, failure: &Failure) {
        let pause = self.backoff.pause();
        if self.backoff.failures() == 1 {
            tracing::warn!(attempt = %lease.attempt, %failure, "a log waits: it is sent again until it is taken");
        }
        tokio::time::sleep(pause).await;
    }
}
