//! The way in to an actor, and the only one: bound, deadline and the caller who leaves are settled here, once.

use super::{
    Limits,
    admission::{Priority, Vitals},
};
use actix::{Actor, Addr, Context, Handler, Message, dev::ToEnvelope};
use std::{fmt, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// It was not let in, so that it certainly did not happen.
    #[error("{limit} calls wait for {actor}, the most that it takes: try again in a moment")]
    Full {
        /// Which actor.
        actor: &'static str,
        /// Its bound.
        limit: usize,
    },
    /// Nobody was there to take it, so that it certainly did not happen.
    #[error("{actor} is starting: try again in a moment")]
    Down {
        /// Which actor.
        actor: &'static str,
    },
    /// Nothing is changed at present, so that it certainly did not happen. The text says why, and what to do.
    #[error("{why}")]
    Shut {
        /// Why.
        why: Arc<str>,
    },
    /// The actor went away with it: it may or may not have happened.
    #[error("{actor} was restarted while it worked on this: it may or may not have happened")]
    Restarted {
        /// Which actor.
        actor: &'static str,
    },
    /// It may or may not happen yet.
    #[error("{actor} gave no answer within {after:?}: it may or may not happen yet")]
    Late {
        /// Which actor.
        actor: &'static str,
        /// How long the caller waited.
        after: Duration,
    },
}

impl Unanswered {
    /// Whether the call certainly had no effect.
    pub fn certainly_nothing(&self) -> bool {
        match self {
            Self::Full { .. } | Self::Down { .. } | Self::Shut { .. } => true,
            Self::Restarted { .. } | Self::Late { .. } => false,
        }
    }
}

/// The answer to a call, or why there is none.
pub trait Answer<T>: Future<Output = Result<T, Unanswered>> + Send + 'static {}

impl<T, F: Future<Output = Result<T, Unanswered>> + Send + 'static> Answer<T> for F {}

/// Why nothing is changed at present; none: changes are let in.
pub type Gate = watch::Receiver<Option<Arc<str>>>;

/// What others hold of an actor: stays valid while the actor is built again.
pub struct Handle<A: Actor<Context = Context<A>>> {
    pub(super) addr: watch::Receiver<Option<Addr<A>>>,
    pub(super) vitals: Arc<Vitals>,
    pub(super) limits: Limits,
    pub(super) gate: Option<Gate>,
}

impl<A: Actor<Context = Context<A>>> Clone for Handle<A> {
    fn clone(&self) -> Self {
        let Self { addr, vitals, limits, gate } = self;
        let (addr, vitals) = (addr.clone(), vitals.clone());
        Self { addr, vitals, limits: *limits, gate: gate.clone() }
    }
}

impl<A: Actor<Context = Context<A>>> fmt::Debug for Handle<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.vitals.name()).finish()
    }
}

impl<A: Actor<Context = Context<A>>> Handle<A> {
    /// The same way in, through which changes come only while `gate` is open.
    #[must_use]
    pub fn behind(self, gate: Gate) -> Self {
        Self { gate: Some(gate), ..self }
    }

    /// Asks something that changes nothing: it is forgotten when the caller leaves. It is in the actor's queue when
    /// this returns, so that calls from one thread are handled in the order in which they were made.
    pub fn query<M>(&self, priority: Priority, message: M) -> impl Answer<M::Result> + use<A, M>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        let (actor, after) = (self.vitals.name(), self.limits.answer);
        let call = self.call(priority, message);
        async move {
            match timeout(after, call?).await {
                Ok(answer) => answer,
                Err(_) => Err(Unanswered::Late { actor, after }),
            }
        }
    }

    /// As [`Self::mutate_always`], while the gate is open. An answer that it is shut comes before the actor decides.
    pub fn mutate<M>(&self, priority: Priority, message: M) -> impl Answer<M::Result> + use<A, M>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        let shut = self.gate.as_ref().and_then(|gate| gate.borrow().clone());
        let answer = match shut {
            Some(why) => Err(Unanswered::Shut { why }),
            None => Ok(self.mutate_always(priority, message)),
        };
        async move { answer?.await }
    }

    /// Asks for a change: once let in it is worked on to its end, also if the caller leaves, and keeps its place until
    /// then, also if the caller was told that it is late. It is in the actor's queue when this returns. Call it on a
    /// tokio runtime.
    pub fn mutate_always<M>(
        &self,
        priority: Priority,
        message: M,
    ) -> impl Answer<M::Result> + use<A, M>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        let (actor, after) = (self.vitals.name(), self.limits.answer);
        // A task of its own: actix forgets a queued message whose sender has gone away, and what is still at work
        // counts for the bound.
        let call = self.call(priority, message).map(tokio::spawn);
        async move {
            match timeout(after, call?).await {
                Ok(answer) => answer.unwrap_or(Err(Unanswered::Restarted { actor })),
                Err(_) => Err(Unanswered::Late { actor, after }),
            }
        }
    }

    /// Waits until the actor serves, `within` at the most.
    pub async fn up(&self, within: Duration) -> Result<(), Unanswered> {
        let mut addr = self.addr.clone();
        let up = addr.wait_for(|addr| addr.as_ref().is_some_and(Addr::connected));
        match timeout(within, up).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Unanswered::Down { actor: self.vitals.name() }),
        }
    }

    /// What is seen of the actor from outside.
    pub fn vitals(&self) -> &Arc<Vitals> {
        &self.vitals
    }

    /// The answer whenever it comes; has its place until then.
    fn call<M>(
        &self,
        priority: Priority,
        message: M,
    ) -> Result<impl Answer<M::Result> + use<A, M>, Unanswered>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        let actor = self.vitals.name();
        let Some(place) = self.vitals.admit(priority) else {
            metrics::counter!("octavius_actor_refused_total", "actor" => actor).increment(1);
            return Err(Unanswered::Full { actor, limit: self.limits.waiting });
        };
        let addr = self.addr.borrow().clone().filter(Addr::connected);
        let Some(addr) = addr else { return Err(Unanswered::Down { actor }) };
        let began = Instant::now();
        // Queued here and now: the mailbox has room for all whom admission lets in.
        let request = addr.send(message);
        Ok(async move {
            let answer = request.await;
            let message = short_name(std::any::type_name::<M>());
            metrics::histogram!("octavius_actor_handling_seconds", "actor" => actor, "message" => message)
                .record(began.elapsed());
            drop(place);
            answer.map_err(|_| Unanswered::Restarted { actor })
        })
    }

    /// Makes the actor panic; for tests of supervision.
    #[cfg(feature = "fault-injection")]
    pub async fn inject_panic(&self) -> Result<(), Unanswered>
    where
        A: Handler<super::Panic>,
    {
        self.query(Priority::Report, super::Panic).await
    }
}

/// A type's name without its path.
fn short_name(path: &'static str) -> &'static str {
    path.rsplit("::").next().unwrap_or(path)
}
