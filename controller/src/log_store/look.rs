//! What readers ask the actor: what is not durable yet, and how to learn of more.

use super::{LogError, LogInfo, LogStore, Progress, rules::Tail, segment::PIECE};
use actix::{Context, Handler, Message, MessageResult, ResponseActFuture, fut};
use octavius_protocol::id::AttemptId;
use tokio::sync::watch;

/// What there is at an offset.
#[derive(Debug, Message)]
#[rtype(result = "Result<Looked, LogError>")]
pub(super) struct Look {
    pub(super) attempt: AttemptId,
    pub(super) offset: u64,
}

/// What was there.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) tail: Tail,
    /// Changes when there is more. Ends when the actor begins anew or forgets the log: look again.
    pub(super) progress: watch::Receiver<Progress>,
}

impl Handler<Look> for LogStore {
    type Result = ResponseActFuture<Self, Result<Looked, LogError>>;

    fn handle(&mut self, look: Look, ctx: &mut Context<Self>) -> Self::Result {
        let Look { attempt, offset } = look;
        self.with_log(attempt, ctx, move |store, _| {
            let looked = store.touch(attempt).map(|live| Looked {
                tail: live.log.tail(offset, PIECE),
                progress: live.progress.subscribe(),
            });
            Box::pin(fut::ready(looked))
        })
    }
}

/// What is known of a log, if it is in memory.
#[derive(Debug, Message)]
#[rtype(result = "Option<LogInfo>")]
pub(super) struct Describe {
    pub(super) attempt: AttemptId,
}

impl Handler<Describe> for LogStore {
    type Result = MessageResult<Describe>;

    fn handle(&mut self, describe: Describe, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.logs.get(&describe.attempt).map(|live| live.log.info()))
    }
}
