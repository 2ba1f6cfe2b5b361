//! The logs: their bytes, offsets, and who follows.
//!
//! Owns the prefix [`keys::LOGS`](crate::store::keys::LOGS) of the store, which is the index, and the objects in the
//! [`LogFolder`], which are the bytes. A byte counts as durable only after its segment was synced *and* the index says
//! so (P1, P4); until then it is in memory, where followers see it at once, and the executor keeps it, too. What is
//! held is bounded for each log and for all (P6). State is loaded from the index when a log is first asked for and
//! leaves when nobody needs it. If nobody knows whether the index was written, the actor stops and starts again from
//! what is on disk: executors append again from there.
//!
//! A log that grows beyond its limit loses its middle while it grows (`middle.rs`, `thin.rs`), and one that was closed
//! long ago goes (`expire.rs`, `remove.rs`); each time the index says so before the bytes are deleted.
//!
//! Readers fetch what is durable by themselves (`reader.rs`); the actor never holds a slow one up or waits for it.
//! Which attempts exist, who may append and who may read is not known here.

mod append;
mod carry;
mod close;
#[cfg(feature = "clouds")]
mod clouds;
mod end;
mod expire;
mod flush;
mod folder;
mod handle;
mod index;
mod limits;
mod look;
mod middle;
mod pulse;
mod reader;
mod remove;
mod rules;
mod seek;
mod segment;
mod segments;
mod sweep;
#[cfg(test)]
mod tests;
mod thin;
mod url;

pub(crate) use carry::{is_object, object_of};
pub use folder::{LogFolder, LogStoreError};
pub use handle::{Appended, Chunk, LogError, LogHandle, LogInfo, Piece, Sealed};
pub use limits::LogLimits;
pub use reader::LogReader;
pub use seek::Wanted;
pub(crate) use segment::PIECE;
pub use url::LogStoreUrl;

use crate::store::{StoreHandle, Writer};
use actix::{Actor, ActorFutureExt, AsyncContext, Context, ResponseActFuture, WrapFuture, fut};
use octavius_protocol::id::AttemptId;
use rules::Log;
use std::{collections::HashMap, time::Duration};
use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};

/// What followers of a log wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Progress {
    next: u64,
    durable: u64,
    closed: bool,
}

impl Progress {
    fn of(log: &Log) -> Self {
        let (next, durable) = (log.next().offset, log.durable().offset);
        Self { next, durable, closed: log.is_settled() }
    }
}

/// One log in memory.
#[derive(Debug)]
struct Live {
    log: Log,
    progress: watch::Sender<Progress>,
    touched: Duration,
    /// Why it could not be stored the last time.
    trouble: Option<String>,
}

/// The actor.
#[derive(Debug)]
struct LogStore {
    store: StoreHandle,
    writer: Writer,
    folder: LogFolder,
    /// The revision of the term: a part of what objects are called.
    term: u64,
    limits: LogLimits,
    began: Instant,
    logs: HashMap<AttemptId, Live>,
    /// Who waits for a log that is being loaded.
    loading: HashMap<AttemptId, Vec<oneshot::Sender<Result<(), LogError>>>>,
    /// What all logs hold until it is durable, in bytes.
    waiting: watch::Sender<usize>,
    /// Whether everything is stored at once, for the end is near.
    draining: bool,
}

octavius_service::panics_when_told!(LogStore);

impl Actor for LogStore {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(self.limits.tick, Self::tick);
        let sweep = sweep::now_and_then(
            self.store.clone(),
            self.folder.clone(),
            self.term,
            self.limits.orphan_age,
            self.limits.sweep_every,
        );
        ctx.spawn(sweep.into_actor(self));
        ctx.spawn(self.folder.clone().look_after().into_actor(self));
        let (keep_for, every) = (self.limits.keep_for, self.limits.expire_every);
        let expire = expire::now_and_then(self.store.clone(), ctx.address(), keep_for, every);
        ctx.spawn(expire.into_actor(self));
    }
}

impl LogStore {
    fn new(
        store: StoreHandle,
        writer: Writer,
        folder: LogFolder,
        term: u64,
        limits: LogLimits,
    ) -> Self {
        Self {
            store,
            writer,
            folder,
            term,
            limits,
            began: Instant::now(),
            logs: HashMap::new(),
            loading: HashMap::new(),
            waiting: watch::Sender::new(0),
            draining: false,
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Whether all that waits is to be stored, young or not.
    fn in_a_hurry(&self) -> bool {
        self.draining || *self.waiting.borrow() > self.limits.waiting_in_all / 2
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        let (now, hurry, limits) = (self.now(), self.in_a_hurry(), self.limits);
        let due = |live: &Live| live.log.flush_is_due(now, hurry, &limits);
        let due: Vec<_> =
            self.logs.iter().filter(|(_, live)| due(live)).map(|(attempt, _)| *attempt).collect();
        for attempt in due {
            self.flush(attempt, ctx);
        }
        self.logs.retain(|_, live| {
            let followed = live.progress.receiver_count() > 0 && !live.log.is_closed();
            followed || !live.log.may_leave(now, live.touched, &limits)
        });
        let open = self.logs.values().filter(|live| !live.log.is_closed()).count();
        metrics::gauge!("octavius_logs_open").set(open as f64);
        let behind = self.folder.behind_for().as_secs_f64();
        metrics::gauge!("octavius_log_store_behind_seconds").set(behind);
    }

    /// Does `then` on a log that is in memory: at once if it is, else after it was loaded.
    fn with_log<T: 'static>(
        &mut self,
        attempt: AttemptId,
        ctx: &mut Context<Self>,
        then: impl FnOnce(&mut Self, &mut Context<Self>) -> ResponseActFuture<Self, Result<T, LogError>>
        + 'static,
    ) -> ResponseActFuture<Self, Result<T, LogError>> {
        if self.logs.contains_key(&attempt) {
            return then(self, ctx);
        }
        let loaded = self.load(attempt, ctx).into_actor(self);
        Box::pin(loaded.then(move |loaded, store, ctx| match loaded {
            Ok(Ok(())) => then(store, ctx),
            Ok(Err(error)) => Box::pin(fut::err(error)),
            Err(_) => Box::pin(fut::err(LogError::Away("the load was given up".to_owned()))),
        }))
    }

    /// Loads a log once, for all who ask meanwhile.
    fn load(
        &mut self,
        attempt: AttemptId,
        ctx: &mut Context<Self>,
    ) -> oneshot::Receiver<Result<(), LogError>> {
        let (loaded, when_loaded) = oneshot::channel();
        let waiters = self.loading.entry(attempt).or_default();
        waiters.push(loaded);
        if waiters.len() == 1 {
            let store = self.store.clone();
            let limits = self.limits;
            let load = async move { index::load(&store, attempt, &limits).await };
            ctx.spawn(load.into_actor(self).map(move |log, store, _| store.loaded(attempt, log)));
        }
        when_loaded
    }

    fn loaded(&mut self, attempt: AttemptId, log: Result<Log, LogError>) {
        let told = log.map(|log| {
            let progress = watch::Sender::new(Progress::of(&log));
            let live = Live { log, progress, touched: self.now(), trouble: None };
            self.logs.insert(attempt, live);
        });
        for waiter in self.loading.remove(&attempt).unwrap_or_default() {
            // Who is gone needs no answer.
            let _ = waiter.send(told.clone());
        }
    }

    /// The log of an attempt, which somebody wants something of.
    fn touch(&mut self, attempt: AttemptId) -> Result<&mut Live, LogError> {
        let now = self.now();
        let live = self.logs.get_mut(&attempt).ok_or_else(|| {
            LogError::Away(format!("the log of {attempt} left memory meanwhile: ask again"))
        })?;
        live.touched = now;
        Ok(live)
    }

    /// Changes a log, counts what it holds, and tells its followers.
    fn change<T>(
        &mut self,
        attempt: AttemptId,
        change: impl FnOnce(&mut Log) -> T,
    ) -> Result<T, LogError> {
        let live = self.touch(attempt)?;
        let before = live.log.weight();
        let outcome = change(&mut live.log);
        let after = live.log.weight();
        let progress = Progress::of(&live.log);
        live.progress.send_if_modified(|seen| {
            let differs = *seen != progress;
            *seen = progress;
            differs
        });
        if before != after {
            self.waiting.send_modify(|all| *all = (*all + after).saturating_sub(before));
        }
        Ok(outcome)
    }
}
