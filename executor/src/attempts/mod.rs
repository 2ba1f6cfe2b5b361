//! Attempts: all that is held here, each with a driver of its own that takes it to its end.
//!
//! Owns the table of what is held, and nothing that the runner does not keep: each incarnation begins with what the
//! runner finds. Until it has looked nobody is told what is held here, because a list that is not complete would be
//! taken for one that is. What is done with an attempt is decided by its driver's [`rules`]; here wishes only
//! arrive, and what has become of each attempt is published for all who read it. A lost controller stops nothing but what
//! is run again when it is lost; and where a newer process of this executor took over, nothing is driven here any more.

mod driver;
pub mod ending;
mod handle;
pub mod rules;
pub mod shipping;
mod silence;

pub use handle::{AttemptsHandle, HeldHere};

use crate::{
    belonging::Belonging,
    lease::{Grant, Held, HeldPhase, Order, OrderKind},
    link::{Link, backoff},
    metrics,
    runner::{Found, Runner},
};
use actix::prelude::*;
use driver::{Begin, Driver};
use octavius_protocol::id::AttemptId;
use rules::Wishes;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    runtime::Handle as Runtime,
    sync::{mpsc, watch},
    task::{AbortHandle, JoinError},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

/// How many drivers may say at once that they got further, before they wait for the actor.
const MOVED: usize = 256;

/// How long the end of an attempt waits for its log where nobody knows how much there is of it: as long as the controller
/// waits for the rest of a log.
pub const LOG_WAIT: Duration = Duration::from_mins(5);

/// What drivers need.
#[derive(Clone, Debug)]
pub struct Tools {
    /// What attempts run on.
    pub runner: Arc<dyn Runner>,
    /// The connection to the controller.
    pub link: Link,
    /// Where drivers run: not on the actor's thread.
    pub runtime: Runtime,
    /// Counts the drivers, so that whoever ends the executor can wait for them.
    pub drivers: TaskTracker,
    /// How long a program may run if the grant does not say; none: as long as it likes.
    pub default_timeout: Option<Duration>,
    /// Whether what runs here is still this process's.
    pub belonging: Belonging,
    /// How long an end waits for a log of which nobody knows how much there is: [`LOG_WAIT`].
    pub log_wait: Duration,
}

/// Takes what the controller grants, and obeys what it orders. Saying it twice changes nothing.
#[derive(Clone, Debug, Default, Message)]
#[rtype(result = "bool")] // whether any of it was new
pub struct Take {
    /// What is granted.
    pub grants: Vec<Grant>,
    /// What is to be done.
    pub orders: Vec<Order>,
}

/// Stops all that is held here, as if each had been ordered to stop.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct StopAll {
    /// Why, in words.
    pub reason: String,
}

/// A newer process of this executor drives what is here: this one lets it alone.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct StandDown;

/// This process has the executor's session: where it had let all alone, it looks what there is, and goes on with it.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Resume;

/// A driver got further.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
struct Moved(Held);

/// One attempt that is held.
#[derive(Debug)]
struct Entry {
    wishes: watch::Sender<Wishes>,
    held: Held,
    task: AbortHandle,
    /// How often its driver panicked.
    panics: u32,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The actor that owns what is held here.
#[derive(Debug)]
pub struct Attempts {
    tools: Arc<Tools>,
    held: Arc<watch::Sender<HeldHere>>,
    found: Vec<Found>,
    table: BTreeMap<AttemptId, Entry>,
    moved: mpsc::Sender<Moved>,
    moves: Option<mpsc::Receiver<Moved>>,
    stands_down: bool,
}

impl Attempts {
    /// The next incarnation: with all that the runner finds.
    pub async fn build(
        tools: Arc<Tools>,
        held: Arc<watch::Sender<HeldHere>>,
    ) -> anyhow::Result<Self> {
        let found = tools.runner.find().await?;
        let (moved, moves) = mpsc::channel(MOVED);
        let table = BTreeMap::new();
        Ok(Self { tools, held, found, table, moved, moves: Some(moves), stands_down: false })
    }

    /// Starts to drive an attempt.
    fn drive(&mut self, begin: &Begin, wishes: Wishes, panics: u32, context: &mut Context<Self>) {
        let lease = begin.lease();
        let (wishes, heard) = watch::channel(wishes);
        let driver = Driver::new(self.tools.clone(), begin, heard, self.moved.clone());
        let span = tracing::info_span!("attempt", attempt = %lease.attempt);
        let task = self.tools.drivers.spawn_on(driver.run().instrument(span), &self.tools.runtime);
        let abort = task.abort_handle();
        let entry = Entry { wishes, held: begin.held(), task: abort, panics };
        self.table.insert(lease.attempt, entry);
        let ended = task.into_actor(self);
        context.spawn(ended.map(move |ended, attempts, context| {
            attempts.driver_ended(lease.attempt, ended, context);
        }));
    }

    fn driver_ended(
        &mut self,
        attempt: AttemptId,
        ended: Result<(), JoinError>,
        context: &mut Context<Self>,
    ) {
        match ended {
            Ok(()) => {
                self.table.remove(&attempt);
                self.publish();
            }
            Err(error) if error.is_panic() => self.drive_again(attempt, context),
            Err(_) => {} // aborted, and thereby gone from the table
        }
    }

    /// A driver panicked: only this attempt is begun again, after a growing pause.
    fn drive_again(&mut self, attempt: AttemptId, context: &mut Context<Self>) {
        let Some(entry) = self.table.get_mut(&attempt) else { return };
        entry.panics = entry.panics.saturating_add(1);
        let pause = backoff::pause(entry.panics, rand::random());
        tracing::error!(%attempt, panics = entry.panics, ?pause, "the driver of an attempt panicked and is begun again");
        let tools = self.tools.clone();
        let look = async move {
            tokio::time::sleep(pause).await;
            tools.runner.look(attempt).await
        };
        context.spawn(look.into_actor(self).map(move |found, attempts, context| {
            let Some(entry) = attempts.table.get(&attempt) else { return };
            let (wishes, panics) = (entry.wishes.borrow().clone(), entry.panics);
            match (found, &wishes.grant) {
                (Ok(found), _) => attempts.drive(&Begin::Found(found), wishes, panics, context),
                (Err(_), Some(grant)) => {
                    attempts.drive(&Begin::Granted(grant.clone()), wishes.clone(), panics, context);
                }
                // Neither here nor granted: if it is ours, the controller grants it again.
                (Err(_), None) => {
                    attempts.table.remove(&attempt);
                }
            }
            attempts.publish();
        }));
    }

    /// Takes a grant. Whether it was new.
    fn take(&mut self, mut grant: Grant, context: &mut Context<Self>) -> bool {
        grant.work.timeout = grant.work.timeout.or(self.tools.default_timeout);
        let attempt = grant.work.attempt;
        let Some(entry) = self.table.get(&attempt) else {
            tracing::info!(%attempt, epoch = %grant.work.epoch, job = %grant.work.job, "granted");
            let wishes = Wishes { grant: Some(grant.clone()), ..Wishes::default() };
            self.drive(&Begin::Granted(grant), wishes, 0, context);
            return true;
        };
        entry.wishes.send_if_modified(|wishes| {
            let known =
                wishes.grant.as_ref().map_or(entry.held.lease.epoch, |grant| grant.work.epoch);
            let newer = grant.work.epoch > known;
            // One that was found here may wait for what its grant brings.
            let news = newer || wishes.grant.is_none();
            if news {
                wishes.grant = Some(grant);
            }
            news
        })
    }

    /// Takes an order. Whether it was new.
    fn obey(&self, order: Order) -> bool {
        let Some(entry) = self.table.get(&order.lease.attempt) else { return false };
        let epoch = order.lease.epoch;
        entry.wishes.send_if_modified(|wishes| match order.kind {
            OrderKind::Stop if wishes.stop.as_ref().is_none_or(|(stopped, _)| *stopped < epoch) => {
                wishes.stop = Some((epoch, order.reason));
                true
            }
            OrderKind::Release if wishes.release < Some(epoch) => {
                wishes.release = Some(epoch);
                true
            }
            OrderKind::Stop | OrderKind::Release => false,
        })
    }

    fn publish(&self) {
        if self.stands_down {
            return; // nobody is told what another one holds
        }
        let held: Vec<Held> = self.table.values().map(|entry| entry.held).collect();
        for phase in HeldPhase::ALL {
            let attempts = held.iter().filter(|held| held.phase == phase).count();
            metrics::held(phase.label(), attempts);
        }
        self.held.send_replace(Some(held.into()));
    }
}

impl Actor for Attempts {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        if let Some(moves) = self.moves.take() {
            context.add_stream(ReceiverStream::new(moves));
        }
        for found in std::mem::take(&mut self.found) {
            let begin = Begin::Found(found);
            let Held { lease, phase, lacks_secrets } = begin.held();
            let attempt = lease.attempt;
            tracing::info!(%attempt, phase = phase.label(), lacks_secrets, "found, and gone on with");
            self.drive(&begin, Wishes::default(), 0, context);
        }
        self.publish();
    }
}

impl Drop for Attempts {
    fn drop(&mut self) {
        // Nobody is told what is held here until the next incarnation has looked.
        self.held.send_replace(None);
    }
}

impl StreamHandler<Moved> for Attempts {
    fn handle(&mut self, Moved(held): Moved, _: &mut Self::Context) {
        if let Some(entry) = self.table.get_mut(&held.lease.attempt) {
            entry.held = held;
            self.publish();
        }
    }
}

impl Handler<Take> for Attempts {
    type Result = bool;

    fn handle(&mut self, take: Take, context: &mut Self::Context) -> bool {
        let mut news = false;
        for grant in take.grants {
            news |= self.take(grant, context);
        }
        for order in take.orders {
            news |= self.obey(order);
        }
        self.publish();
        news
    }
}

impl Handler<StopAll> for Attempts {
    type Result = ();

    fn handle(&mut self, stop: StopAll, _: &mut Self::Context) {
        for entry in self.table.values() {
            entry.wishes.send_modify(|wishes| {
                wishes.stop = Some((entry.held.lease.epoch, stop.reason.clone()));
            });
        }
    }
}

impl Handler<StandDown> for Attempts {
    type Result = ();

    fn handle(&mut self, _: StandDown, _: &mut Self::Context) {
        if !std::mem::replace(&mut self.stands_down, true) {
            tracing::warn!(
                attempts = self.table.len(),
                "left to the newer process of this executor"
            );
            self.table.clear();
            self.held.send_replace(None);
        }
    }
}

impl Handler<Resume> for Attempts {
    type Result = ();

    fn handle(&mut self, _: Resume, context: &mut Self::Context) {
        if self.stands_down {
            context.stop(); // the next incarnation looks what there is
        }
    }
}

octavius_service::panics_when_told!(Attempts);
