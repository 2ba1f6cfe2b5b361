//! Commits: decisions come in, batches go out, one at a time.

use super::{
    Commit, Store, Transaction, Write, backend, flight,
    flight::{Connection, Flight, Landing},
    keys,
    rules::{Incarnation, Lost},
};
use actix::{
    ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseFuture,
    WrapFuture,
};
use std::sync::Arc;
use tokio::{sync::oneshot, time::Instant};

const DEPOSED: &str = "this controller no longer leads: another one writes";

/// Commits one decision of one writer.
#[derive(Debug, Message)]
#[rtype(result = "Commit")]
pub(super) struct Decide {
    pub(super) by: Incarnation,
    pub(super) decision: Vec<Write>,
}

impl Handler<Decide> for Store {
    // A task of its own for each: actix polls all of an actor's own futures at every wake-up.
    type Result = ResponseFuture<Commit>;

    fn handle(&mut self, decide: Decide, context: &mut Context<Self>) -> Self::Result {
        let (reply, answer) = oneshot::channel();
        match self.queue.push(decide.by, decide.decision, reply) {
            Ok(()) => self.go_on(context),
            Err((refusal, reply)) => tell(reply, Commit::Refused(refusal.to_string())),
        }
        Box::pin(async move {
            let ended = |_| Commit::Unknown("the store was restarted while it wrote this".into());
            answer.await.unwrap_or_else(ended)
        })
    }
}

impl Store {
    /// Sends the next batch, if the connection is free and decisions wait.
    pub(super) fn take_off(&mut self, context: &mut Context<Self>) {
        if self.backend.is_none() {
            return;
        }
        let Some(batch) = self.queue.take_off() else { return };
        if batch.is_empty() {
            // Decisions without a write: they had only to wait for those before them.
            self.queue.land().into_iter().for_each(|reply| tell(reply, Commit::Done));
            return self.go_on(context);
        }
        let after = self.sequence.next();
        let mut writes = batch.into_writes();
        metrics::histogram!("octavius_store_batch_writes").record(writes.len() as f64);
        writes.push(Write::Put(keys::SEQUENCE.to_owned(), after.clone()));
        let compares = self.lead.guard().cloned().into_iter().chain([self.sequence.guard()]);
        match Transaction::within(self.capacity, compares.collect(), writes) {
            Ok(transaction) => self.fly(transaction, after, context),
            // The limits of a batch lie inside those of a transaction.
            Err(limit) => {
                let backend = self.backend.take();
                self.landed(Landing::Refused(limit.to_string()), backend, context);
            }
        }
    }

    fn fly(&mut self, transaction: Transaction, after: bytes::Bytes, context: &mut Context<Self>) {
        // Taken, not cloned: who opens anew needs the last of the old connection gone.
        let (opener, backend) = (self.opener.clone(), self.backend.take());
        let connection = Connection::new(opener, backend, self.patience, self.flying.clone());
        let before = self.sequence.text.clone();
        let began = Instant::now();
        let lead = self.lead.clone();
        let flown = transaction.clone();
        let flight = Flight { connection, transaction, before, after, lead };
        let flight = flight.fly().into_actor(self);
        context.spawn(flight.map(move |(landing, backend), store, context| {
            metrics::histogram!("octavius_store_commit_seconds").record(began.elapsed());
            if landing == Landing::Done {
                store.recent.landed(flown.writes());
            }
            store.landed(landing, backend, context);
        }));
    }

    fn landed(
        &mut self,
        landing: Landing,
        backend: Option<Arc<dyn backend::Backend>>,
        context: &mut Context<Self>,
    ) {
        count(&landing);
        let commit = match landing {
            Landing::Done => {
                self.sequence.advance();
                self.queue.land().into_iter().for_each(|reply| tell(reply, Commit::Done));
                return self.reconnected(backend, context);
            }
            Landing::Refused(why) => {
                tracing::error!(%why, "the store refused a batch: its writers begin again");
                answer(self.queue.lose(), &Commit::Refused(why));
                return self.reconnected(backend, context);
            }
            Landing::Full(why) => {
                self.space.shut(&why);
                answer(self.queue.lose(), &Commit::Refused(format!("the store is full: {why}")));
                return self.reconnected(backend, context);
            }
            Landing::Deposed => {
                tracing::error!("another controller writes to this store: this one stops writing");
                self.lead.depose();
                Commit::Refused(DEPOSED.to_owned())
            }
            Landing::Overtaken => {
                tracing::error!("another controller writes to this store: this one stops writing");
                self.lead.depose();
                Commit::Unknown(DEPOSED.to_owned())
            }
            Landing::Unknown(why) => {
                tracing::error!(%why, "nobody knows what became of a batch: the store begins again");
                Commit::Unknown(why)
            }
        };
        answer(self.queue.lose_all(), &commit);
        context.stop();
    }

    /// Goes on with the connection, or stops where there is none: the supervisor tries with growing pauses.
    pub(super) fn reconnected(
        &mut self,
        backend: Option<Arc<dyn backend::Backend>>,
        context: &mut Context<Self>,
    ) {
        if backend.is_none() {
            let cause = Commit::Refused("the store could not be reached again".to_owned());
            answer(self.queue.lose_all(), &cause);
            return context.stop();
        }
        self.backend = backend;
        self.go_on(context);
    }

    /// Makes the connection anew, if `failed` is still the one in use.
    pub(super) fn reconnect(
        &mut self,
        failed: &Arc<dyn backend::Backend>,
        context: &mut Context<Self>,
    ) {
        if self.backend.as_ref().is_none_or(|backend| !Arc::ptr_eq(backend, failed)) {
            return;
        }
        self.backend = None;
        let opening =
            flight::Connection::new(self.opener.clone(), None, self.patience, self.flying.clone());
        let opening = async move {
            let mut opening = opening;
            opening.regained().await
        };
        context.spawn(opening.into_actor(self).map(|opened, store, context| {
            let opened = opened.inspect_err(|why| tracing::error!(%why, "the store is away"));
            store.reconnected(opened.ok(), context);
        }));
    }
}

/// Tells those whose decision was in the batch, and those behind them that theirs certainly did not happen.
fn answer(lost: Lost<oneshot::Sender<Commit>>, commit: &Commit) {
    let dropped = match commit {
        Commit::Refused(why) | Commit::Unknown(why) => format!("an earlier write failed: {why}"),
        Commit::Done => return,
    };
    lost.flown.into_iter().for_each(|reply| tell(reply, commit.clone()));
    lost.dropped.into_iter().for_each(|reply| tell(reply, Commit::Refused(dropped.clone())));
}

pub(super) fn tell(reply: oneshot::Sender<Commit>, commit: Commit) {
    let _ = reply.send(commit); // the caller may have left
}

fn count(landing: &Landing) {
    let outcome = match landing {
        Landing::Done => "done",
        Landing::Refused(_) | Landing::Deposed => "refused",
        Landing::Full(_) => "full",
        Landing::Unknown(_) | Landing::Overtaken => "unknown",
    };
    metrics::counter!("octavius_store_commits_total", "outcome" => outcome).increment(1);
}
