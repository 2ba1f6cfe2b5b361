//! The poller: asks for as much work as there is room for, and hands each grant to the attempts.
//!
//! Owns nothing. While there is a free place, one Poll is parked at the controller, so that work arrives at once; an
//! executor that is full, or that cannot see what it runs, asks for nothing.

pub mod rules;

use crate::{
    attempts::{AttemptsHandle, HeldHere, Take},
    lease::Held,
    link::{Failure, Link, backoff::Backoff},
    watched::present,
};
use actix::prelude::*;
use std::sync::Arc;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

/// What the poller needs.
#[derive(Clone, Debug)]
pub struct Tools {
    /// The connection to the controller.
    pub link: Link,
    /// Who takes the grants.
    pub attempts: AttemptsHandle,
    /// Why what runs cannot be seen, if it cannot: then nothing is asked for.
    pub sight: watch::Receiver<Option<String>>,
    /// How many attempts are taken at once.
    pub capacity: u32,
    /// Once this is cancelled, nothing is asked for any more.
    pub no_more_work: CancellationToken,
}

/// The actor that asks for work.
#[derive(Debug)]
pub struct Poller {
    tools: Arc<Tools>,
    backoff: Backoff,
}

/// What came of one poll.
enum Polled {
    /// Something new is held now, or the controller had time to find something.
    Taken,
    /// An answer before its time that brought nothing new.
    NoNews,
    /// Nothing that counts.
    Failed,
}

impl Poller {
    /// The next incarnation.
    pub fn new(tools: Arc<Tools>) -> Self {
        Self { tools, backoff: Backoff::default() }
    }

    fn step(&mut self, context: &mut Context<Self>) {
        let (tools, failures) = (self.tools.clone(), self.backoff.failures());
        let polled = async move {
            let no_more_work = tools.no_more_work.clone();
            no_more_work.run_until_cancelled(poll(&tools, failures)).await
        };
        context.spawn(polled.into_actor(self).map(|polled, poller, context| match polled {
            None => tracing::info!("no more work is asked for"),
            Some(Polled::Taken) => {
                poller.backoff.reset();
                poller.step(context);
            }
            // What the executor does not take, or has already, is not asked for in a circle.
            Some(Polled::NoNews | Polled::Failed) => {
                context.run_later(poller.backoff.pause(), Self::step);
            }
        }));
    }
}

impl Actor for Poller {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.step(context);
    }
}

octavius_service::panics_when_told!(Poller);

async fn poll(tools: &Tools, failures: u32) -> Polled {
    let mut watched = tools.attempts.held();
    let mut sight = tools.sight.clone();
    // Who always sees has nobody who says so.
    if sight.wait_for(Option::is_none).await.is_err() {
        std::future::pending::<()>().await;
    }
    let (held, free) = room(tools.capacity, &mut watched).await;
    let session = tools.link.session().await;
    let wait = tools.link.deadline() / 2;
    let mut sessions = tools.link.sessions();
    let began = Instant::now();
    let answer = tokio::select! {
        answer = tools.link.poll(session, free, &held, wait) => answer,
        _ = sessions.wait_for(|open| *open != Some(session)) => return Polled::Failed,
        // Fewer places than were asked for: the heartbeat brought work.
        () = less_room(tools.capacity, free, &mut watched) => return Polled::Taken,
        Ok(_) = sight.wait_for(Option::is_some) => return Polled::Failed,
    };
    let grants = match answer {
        Ok(grants) => grants,
        Err(Failure::SessionGone(_)) => return Polled::Failed,
        Err(failure) => {
            match failures {
                0 => tracing::warn!(%failure, "a poll was not answered: tried again until one is"),
                _ => tracing::debug!(%failure, failures, "a poll was not answered"),
            }
            return Polled::Failed;
        }
    };
    let early = began.elapsed() < wait / 2;
    let no_news = if early { Polled::NoNews } else { Polled::Taken };
    if grants.is_empty() {
        return no_news;
    }
    match tools.attempts.take(Take { grants, orders: Vec::new() }).await {
        Ok(true) => Polled::Taken,
        Ok(false) => no_news,
        Err(unanswered) => {
            tracing::warn!(%unanswered, "grants were not taken: they come again");
            Polled::Failed
        }
    }
}

/// Waits until there is room; what is held then, and how much room there is.
async fn room(capacity: u32, watched: &mut watch::Receiver<HeldHere>) -> (Arc<[Held]>, u32) {
    let held = present(watched, |held| rules::free(capacity, held) > 0).await;
    let free = rules::free(capacity, &held);
    (held, free)
}

/// Waits until there is less room than this.
async fn less_room(capacity: u32, free: u32, watched: &mut watch::Receiver<HeldHere>) {
    present(watched, |held| rules::free(capacity, held) < free).await;
}
