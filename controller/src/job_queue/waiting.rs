//! Who waits for the end of an execution: woken when the end is on disk, and at no other time.

use super::{JobQueue, QueueError, record::Change};
use actix::prelude::*;
use octavius_protocol::id::{AttemptId, ExecutionId};
use std::collections::HashMap;
use tokio::sync::watch;

/// Something that closes with the end of a live execution. None: it is not live, and what it came to is on disk.
#[derive(Debug, Message)]
#[rtype(result = "Result<Option<watch::Receiver<()>>, QueueError>")]
pub(super) struct AwaitEnd(pub(super) ExecutionId);

impl Handler<AwaitEnd> for JobQueue {
    type Result = ResponseActFuture<Self, Result<Option<watch::Receiver<()>>, QueueError>>;

    fn handle(&mut self, AwaitEnd(id): AwaitEnd, _: &mut Self::Context) -> Self::Result {
        if self.view.live(id).is_some() {
            return Box::pin(fut::ok(Some(self.ends.of(id))));
        }
        Box::pin(self.commit(&[]).map(|stored, _, _| stored.map(|()| None)))
    }
}

/// A sender for each execution whose end is waited for. Nothing is sent: dropping it is the news, also where the actor
/// goes away.
#[derive(Debug, Default)]
pub(super) struct Ends(HashMap<ExecutionId, watch::Sender<()>>);

impl Ends {
    fn of(&mut self, id: ExecutionId) -> watch::Receiver<()> {
        self.0.entry(id).or_default().subscribe()
    }

    /// These are over, on disk.
    pub(super) fn tell(&mut self, over: &[AttemptId]) {
        for attempt in over {
            self.0.remove(&attempt.execution);
        }
    }

    /// How many executions' ends are waited for.
    pub(super) fn awaited(&self) -> usize {
        self.0.len()
    }

    /// Keeps nothing for those who have left.
    pub(super) fn forget_who_left(&mut self) {
        self.0.retain(|_, end| !end.is_closed());
    }
}

/// The executions that end with these changes, by their last attempts.
pub(super) fn over(changes: &[Change]) -> Vec<AttemptId> {
    let over = changes.iter().filter_map(|change| match change {
        Change::Done(record) => Some(record.attempt_id()),
        Change::Submitted(..) | Change::Live(_) | Change::Afterwards(_) => None,
    });
    over.collect()
}
