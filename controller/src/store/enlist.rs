//! Fencing: an actor that was built again makes an end to what its former lives left in the queue.

use super::{Commit, Store, commit::tell, read::Waiter, rules::Incarnation};
use actix::{Context, Handler, Message, ResponseFuture};
use octavius_service::actor::Unanswered;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::oneshot;

/// Makes a new incarnation of `owner`, and ends all earlier ones.
#[derive(Debug, Message)]
#[rtype(result = "Result<u64, Unanswered>")]
pub(super) struct Enlist {
    pub(super) owner: &'static str,
}

impl Handler<Enlist> for Store {
    type Result = ResponseFuture<Result<u64, Unanswered>>;

    fn handle(&mut self, enlist: Enlist, context: &mut Context<Self>) -> Self::Result {
        let number = self.incarnations.fetch_add(1, Relaxed);
        let owner = enlist.owner;
        for reply in self.queue.enlist(Incarnation { owner, number }) {
            let why = format!("fenced: {owner} was built again before this was written");
            tell(reply, Commit::Refused(why));
        }
        let (reply, answer) = oneshot::channel();
        let until = self.queue.flying_until();
        self.waiters.entry(until).or_default().push(Waiter::Enlist(number, reply));
        self.go_on(context);
        let ended = Unanswered::Restarted { actor: super::handle::ACTOR };
        Box::pin(async move { answer.await.map_err(|_| ended) })
    }
}
