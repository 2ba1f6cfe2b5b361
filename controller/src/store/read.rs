//! Reads: each sees all writes that were queued before it, and holds up none. Who knows that what it reads has landed
//! waits for no batch.

use super::{Backend, Entry, Page, Range, ReadError, Snapshot, Store};
use actix::{Addr, AsyncContext as _, Context, Handler, Message, ResponseFuture};
use octavius_service::actor::Unanswered;
use std::sync::{Arc, Weak};
use tokio::{sync::oneshot, time::timeout};

/// Reads a page.
#[derive(Debug, Message)]
#[rtype(result = "Result<Page, ReadError>")]
pub(super) struct Read(pub(super) Range);

/// Reads a page of what has landed, whatever is on its way.
#[derive(Debug, Message)]
#[rtype(result = "Result<Page, ReadError>")]
pub(super) struct ReadLanded(pub(super) Range);

/// Reads all that has landed, as of one moment.
#[derive(Debug, Message)]
#[rtype(result = "Result<Snapshot, ReadError>")]
pub(super) struct ReadAll;

/// A read failed on this connection.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Failed(Arc<dyn Backend>);

/// Who waits until the decisions before it are settled.
#[derive(Debug)]
pub(super) enum Waiter {
    /// Wants to read.
    Read(Range, oneshot::Sender<Result<Page, ReadError>>),
    /// Wants to know that nothing of its writer's former lives is on its way.
    Enlist(u64, oneshot::Sender<u64>),
}

impl Handler<Read> for Store {
    type Result = ResponseFuture<Result<Page, ReadError>>;

    fn handle(&mut self, Read(range): Read, context: &mut Context<Self>) -> Self::Result {
        let (reply, answer) = oneshot::channel();
        self.waiters.entry(self.queue.last()).or_default().push(Waiter::Read(range, reply));
        self.go_on(context);
        Box::pin(answered(answer))
    }
}

impl Handler<ReadLanded> for Store {
    type Result = ResponseFuture<Result<Page, ReadError>>;

    fn handle(
        &mut self,
        ReadLanded(range): ReadLanded,
        context: &mut Context<Self>,
    ) -> Self::Result {
        let Some(backend) = self.readable() else {
            // The connection is made anew: what waits for that is asked then.
            return self.handle(Read(range), context);
        };
        let (reply, answer) = oneshot::channel();
        self.read(range, reply, backend, context.address());
        Box::pin(answered(answer))
    }
}

impl Handler<ReadAll> for Store {
    type Result = ResponseFuture<Result<Snapshot, ReadError>>;

    fn handle(&mut self, _: ReadAll, _: &mut Context<Self>) -> Self::Result {
        let Some(backend) = self.readable() else {
            let why = "its connection is being made anew: ask again".to_owned();
            return Box::pin(std::future::ready(Err(ReadError::Backend(why))));
        };
        let within = self.patience.call;
        Box::pin(async move {
            match timeout(within, backend.snapshot()).await {
                Ok(Ok(snapshot)) => Ok(snapshot),
                Ok(Err(error)) => Err(ReadError::Backend(error.to_string())),
                Err(_) => Err(ReadError::Backend(format!("no answer within {within:?}"))),
            }
        })
    }
}

async fn answered(answer: oneshot::Receiver<Result<Page, ReadError>>) -> Result<Page, ReadError> {
    let ended = Unanswered::Restarted { actor: super::handle::ACTOR };
    answer.await.unwrap_or(Err(ReadError::Unanswered(ended)))
}

impl Handler<Failed> for Store {
    type Result = ();

    fn handle(&mut self, Failed(backend): Failed, context: &mut Context<Self>) {
        self.reconnect(&backend, context);
    }
}

impl Store {
    /// The backend, also while a batch flies; none while the connection is made anew.
    fn readable(&self) -> Option<Arc<dyn Backend>> {
        let flying = || self.flying.borrow().as_ref().and_then(Weak::upgrade);
        self.backend.clone().or_else(flying)
    }

    pub(super) fn wake(&self, waiter: Waiter, backend: &Arc<dyn Backend>, store: Addr<Self>) {
        match waiter {
            Waiter::Enlist(number, reply) => {
                let _ = reply.send(number); // the caller may have left
            }
            Waiter::Read(range, reply) => {
                if !reply.is_closed() {
                    self.read(range, reply, backend.clone(), store);
                }
            }
        }
    }

    fn read(
        &self,
        range: Range,
        reply: oneshot::Sender<Result<Page, ReadError>>,
        backend: Arc<dyn Backend>,
        store: Addr<Self>,
    ) {
        if let Some(value) = self.recent.get(&range) {
            let entries = vec![Entry { key: range.start, value: value.clone() }];
            let _ = reply.send(Ok(Page { entries, more: false })); // the caller may have left
            return;
        }
        let places = self.reads.clone();
        let within = self.patience.call;
        actix::spawn(async move {
            let _place = places.acquire().await;
            let read = match timeout(within, backend.range(range)).await {
                Ok(Ok(page)) => Ok(page),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err(format!("no answer within {within:?}")),
            };
            let failed = read.is_err();
            let _ = reply.send(read.map_err(ReadError::Backend)); // the caller may have left
            if failed {
                let _ = store.send(Failed(backend)).await; // a store that ended opens anew by itself
            }
        });
    }
}
