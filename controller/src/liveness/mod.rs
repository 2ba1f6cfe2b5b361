//! Liveness: executors, and when each was last heard.
//!
//! Owns the executors' records and sessions in the store; when each was heard is known only here, and counted afresh at
//! each start, and after each time in which this controller was frozen or not certain to lead and so heard nobody: a
//! controller's own absence ends nobody's work. Silence for `executor_ping_deadline` ends new
//! work, silence for `executor_lost_after` ends attempts: this actor says so to the queue until that has taken notice.
//! What an executor holds, and what becomes of it, is the queue's.

mod drain;
mod error;
mod forget;
pub(crate) mod handle;
mod look;
pub mod record;
mod register;
pub mod rules;
#[cfg(test)]
mod tests;

pub use error::{DrainError, ForgetError, HeardError, ListExecutorsError, RegisterError};
pub use handle::{ExecutorPage, LivenessHandle, Parts};
pub use rules::{ExecutorState, LivenessLimits, Registration, Seen};

use crate::{
    job_queue::QueueHandle,
    store::{Lead, Range, StoreHandle, Writer, keys},
};
use actix::{Actor, AsyncContext, Context, ContextFutureSpawner, WrapFuture, fut::ActorFutureExt};
use anyhow::Context as _;
use handle::Sessions;
use octavius_protocol::id::Session;
use record::ExecutorRecord;
use rules::{Executors, Silence, Silent};
use std::time::Duration;
use tokio::{sync::watch, time::Instant};

/// The actor's name in the store, in metrics and in errors.
pub const NAME: &str = "LivenessWatcher";

/// How often silence is looked at, unless a deadline is so short that it has to be looked at more often.
const TICK: Duration = Duration::from_secs(1);
/// A look that comes so many times later than it should tells that this process stood still.
const LATE: u32 = 4;

/// The most executors that the queue is told about in one tick.
const MOST_TOLD: usize = 256;

/// The actor. Talk to it through [`LivenessHandle`].
#[derive(Debug)]
pub struct LivenessWatcher {
    executors: Executors,
    /// What others see of sessions.
    sessions: watch::Sender<Sessions>,
    writer: Writer,
    queue: QueueHandle,
    lead: Lead,
    began: Instant,
    tick: Duration,
    /// When it was last looked at silence.
    looked: Duration,
    /// Whether the queue is being told something.
    telling: bool,
}

impl LivenessWatcher {
    /// The executors as the store has them.
    async fn load(parts: Parts, sessions: watch::Sender<Sessions>) -> anyhow::Result<Self> {
        let Parts { store, queue, lead, installation, limits } = parts;
        // First the writer: what an earlier incarnation had queued is settled then, and the range shows it.
        let writer = store.enlist(NAME).await?;
        let records = load_records(&store).await?;
        let last_session = match store.get(keys::LAST_SESSION).await? {
            None => Session(0),
            Some(value) => std::str::from_utf8(&value)
                .ok()
                .and_then(|text| text.parse().ok())
                .map(Session)
                .with_context(|| format!("`{}` in the store is no number", keys::LAST_SESSION))?,
        };
        tracing::info!(executors = records.len(), "the executors are loaded");
        let open = records.iter().map(|record| (record.id.clone(), record.session));
        sessions.send_replace(open.collect());
        Ok(Self {
            executors: Executors::load(limits, installation, records, last_session),
            sessions,
            writer,
            queue,
            lead,
            began: Instant::now(),
            tick: TICK.min(limits.ping_deadline / 4).max(Duration::from_millis(10)),
            looked: Duration::ZERO,
            telling: false,
        })
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Tells the queue who is silent, one after the other, until it has taken notice.
    fn tell_of_silence(&mut self, context: &mut Context<Self>) {
        let now = self.now();
        let stood_still = now.saturating_sub(self.looked) > self.tick * LATE;
        self.looked = now;
        if stood_still || !self.lead.is_certain() {
            self.executors.deaf(now); // signs of life are refused, or lie unread
        }
        self.measure();
        if self.telling {
            return;
        }
        let mut due = self.executors.tick(now);
        if due.is_empty() {
            return;
        }
        // Who is lost comes first: attempts wait for that.
        due.sort_by_key(|silent| std::cmp::Reverse(silent.silence));
        due.truncate(MOST_TOLD);
        self.telling = true;
        tell(self.queue.clone(), due)
            .into_actor(self)
            .map(|told, watcher, _| {
                watcher.telling = false;
                told.iter().for_each(|silent| watcher.executors.told(silent));
            })
            .spawn(context);
    }

    #[allow(clippy::cast_precision_loss)] // counts stay far below 2^52
    fn measure(&self) {
        for (state, count) in self.executors.count(self.now()) {
            metrics::gauge!("octavius_executors", "state" => state.label()).set(count as f64);
        }
        metrics::gauge!("octavius_executors_drained").set(self.executors.drained() as f64);
    }
}

impl Actor for LivenessWatcher {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.measure();
        context.run_interval(self.tick, Self::tell_of_silence);
    }
}

octavius_service::panics_when_told!(LivenessWatcher);

async fn load_records(store: &StoreHandle) -> anyhow::Result<Vec<ExecutorRecord>> {
    let entries = store.all(Range::prefix(keys::EXECUTORS, 500)).await?;
    let records = entries.into_iter().map(|entry| {
        serde_json::from_slice(&entry.value)
            .with_context(|| format!("`{}` in the store is no executor", entry.key))
    });
    records.collect()
}

/// Those of whom the queue took notice. Where it does not answer, the others wait for the next tick.
async fn tell(queue: QueueHandle, due: Vec<Silent>) -> Vec<Silent> {
    let mut told = Vec::new();
    for silent in due {
        let (executor, session) = (silent.executor.clone(), silent.session);
        let answer = match silent.silence {
            Silence::Expire => queue.expire(executor.clone(), session).await,
            Silence::Lose => queue.lose(executor.clone(), session).await,
        };
        match (answer, silent.silence) {
            (Ok(()), Silence::Expire) => {
                tracing::warn!(%executor, %session, "an executor is silent: it gets no more work");
            }
            (Ok(()), Silence::Lose) => {
                tracing::error!(%executor, %session, "an executor was silent for so long that its attempts are given up");
            }
            (Err(error), _) => {
                tracing::warn!(%executor, %error, "the queue could not be told that an executor is silent: it will be again");
                break;
            }
        }
        told.push(silent);
    }
    told
}
