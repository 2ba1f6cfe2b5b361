//! Signs of life, and a look at who lives.

use super::{
    LivenessWatcher, Seen,
    rules::{SessionUnknown, Standing},
};
use actix::{Context, Handler, Message};
use octavius_protocol::id::{ExecutorId, Session};

/// A sign of life, and what its executor cannot see if it says so.
#[derive(Debug, Message)]
#[rtype(result = "Result<Standing, SessionUnknown>")]
pub(super) struct Heard {
    pub(super) session: Session,
    pub(super) unseen: Option<String>,
}

impl Handler<Heard> for LivenessWatcher {
    type Result = Result<Standing, SessionUnknown>;

    fn handle(&mut self, heard: Heard, _: &mut Context<Self>) -> Self::Result {
        let (now, Heard { session, unseen }) = (self.now(), heard);
        if let Some(executor) = self.executors.heard(session, now)? {
            tracing::info!(%executor, %session, "an executor is heard again");
        }
        if let Some(unseen) = unseen {
            self.executors.sees(session, unseen);
        }
        Ok(self.executors.standing(session))
    }
}

/// Executors by id, behind the one that is named; and whether there are more.
#[derive(Debug, Message)]
#[rtype(result = "(Vec<Seen>, bool)")]
pub(super) struct List {
    pub(super) most: usize,
    pub(super) after: Option<ExecutorId>,
}

impl Handler<List> for LivenessWatcher {
    type Result = actix::MessageResult<List>;

    fn handle(&mut self, List { most, after }: List, _: &mut Context<Self>) -> Self::Result {
        actix::MessageResult(self.executors.page(after.as_ref(), most, self.now()))
    }
}
