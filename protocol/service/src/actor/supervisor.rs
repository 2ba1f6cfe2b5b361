//! The loop that keeps one actor alive.

use super::admission::Vitals;
use actix::{Actor, Addr, Context};
use futures::FutureExt;
use std::{any::Any, panic::AssertUnwindSafe, sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinError, time::Instant};

/// How long to pause before an actor is built again.
#[derive(Clone, Copy, Debug)]
pub struct RestartPolicy {
    /// The first pause; each further one is twice as long, up to `longest`.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
    /// Who served for so long begins with the first pause again.
    pub healthy_after: Duration,
    /// For how long building may take.
    pub build_within: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            longest: Duration::from_secs(30),
            healthy_after: Duration::from_secs(60),
            build_within: Duration::from_secs(60),
        }
    }
}

/// Why an actor had to be built again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A handler panicked, or what builds it.
    Panic,
    /// It stopped itself, because it no longer trusted what it knew.
    Stop,
    /// Building it failed, or took too long.
    Build,
}

impl Cause {
    /// All of them, as a metric's label has them.
    pub const ALL: [Self; 3] = [Self::Panic, Self::Stop, Self::Build];

    /// The cause as a metric's label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Stop => "stop",
            Self::Build => "build",
        }
    }
}

impl RestartPolicy {
    /// The pause after `in_a_row` ends without a healthy time between, before jitter.
    fn pause(&self, in_a_row: u32) -> Duration {
        let factor = 2u32.saturating_pow(in_a_row.saturating_sub(1).min(31));
        self.first.saturating_mul(factor).min(self.longest)
    }
}

/// Builds an actor, waits for its end, and again, for ever. Ends only with its arbiter.
pub(super) async fn run<A, F, Fut>(
    vitals: Arc<Vitals>,
    policy: RestartPolicy,
    slot: watch::Sender<Option<Addr<A>>>,
    mut build: F,
) where
    A: Actor<Context = Context<A>>,
    F: FnMut() -> Fut,
    Fut: Future<Output = anyhow::Result<A>>,
{
    let actor = vitals.name();
    let mut in_a_row = 0;
    panics(actor).absolute(0);
    for cause in Cause::ALL {
        restarts(actor, cause).absolute(0);
    }
    loop {
        let (cause, why) = match built(policy.build_within, &mut build).await {
            Err(failed) => failed,
            Ok(instance) => {
                let since = Instant::now();
                let ended = serve(&vitals, &slot, instance).await;
                if since.elapsed() >= policy.healthy_after {
                    in_a_row = 0;
                }
                match ended.map_err(JoinError::try_into_panic) {
                    Ok(()) => (Cause::Stop, "stopped itself".to_owned()),
                    Err(Ok(panic)) => (Cause::Panic, panic_text(&*panic)),
                    Err(Err(_)) => return, // cancelled: the arbiter goes down
                }
            }
        };
        if cause == Cause::Panic {
            panics(actor).increment(1);
        }
        in_a_row += 1;
        let pause = policy.pause(in_a_row).mul_f64(rand::random_range(0.8..1.2));
        tracing::error!(actor, cause = cause.label(), %why, in_a_row, ?pause, "an actor ended and is built again");
        tokio::time::sleep(pause).await;
        restarts(actor, cause).increment(1);
    }
}

/// The next incarnation, or why there is none. A panic ends the try and never the supervisor.
async fn built<A, Fut>(
    within: Duration,
    build: &mut impl FnMut() -> Fut,
) -> Result<A, (Cause, String)>
where
    Fut: Future<Output = anyhow::Result<A>>,
{
    // Whatever a panic left half done in it is only what the next try begins with.
    let building = AssertUnwindSafe(async { build().await }).catch_unwind();
    match tokio::time::timeout(within, building).await {
        Ok(Ok(Ok(instance))) => Ok(instance),
        Ok(Ok(Err(error))) => Err((Cause::Build, format!("{error:#}"))),
        Ok(Err(panic)) => Err((Cause::Panic, panic_text(&*panic))),
        Err(_) => Err((Cause::Build, format!("not built within {within:?}"))),
    }
}

/// Serves until the actor ends. The task is our own, so that its handle tells a panic from a stop.
async fn serve<A: Actor<Context = Context<A>>>(
    vitals: &Vitals,
    slot: &watch::Sender<Option<Addr<A>>>,
    instance: A,
) -> Result<(), JoinError> {
    // Room for all whom admission lets in: a full mailbox would let later calls overtake.
    let (mailbox, waiting) = actix::dev::channel::channel(vitals.limit());
    let context = Context::<A>::with_receiver(waiting);
    let addr = Addr::new(mailbox);
    let task = tokio::task::spawn_local(context.into_future(instance));
    vitals.set_up(true); // before anybody can learn of it through the handle
    slot.send_replace(Some(addr));
    let ended = task.await;
    vitals.set_up(false);
    slot.send_replace(None);
    ended
}

fn restarts(actor: &'static str, cause: Cause) -> metrics::Counter {
    metrics::counter!("octavius_actor_restarts_total", "actor" => actor, "cause" => cause.label())
}

fn panics(actor: &'static str) -> metrics::Counter {
    metrics::counter!("octavius_actor_panics_total", "actor" => actor)
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_never_overflow() {
        let policy = RestartPolicy::default();
        let pauses: Vec<_> = (1..=20).map(|n| policy.pause(n)).collect();
        assert_eq!(pauses[0], policy.first);
        assert!(pauses.windows(2).all(|pair| pair[1] == (pair[0] * 2).min(policy.longest)));
        assert_eq!(policy.pause(u32::MAX), policy.longest);
    }
}
