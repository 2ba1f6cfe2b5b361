//! Supervised actors: what stands between an actix actor and everybody who talks to it.
//!
//! An actor that stops or panics is built again, with its state from the store, after a growing pause; callers keep
//! their [`Handle`] and get [`Unanswered`] meanwhile. Admission is bounded here, because an actix mailbox bounds
//! nothing. actix's own `Supervisor` is not used: it ends for good when a handler panics, and keeps the same struct
//! when one stops.

mod admission;
mod handle;
mod supervisor;
mod system;

pub use admission::{Priority, Vitals};
pub use handle::{Answer, Gate, Handle, Unanswered};
pub use supervisor::{Cause, RestartPolicy};
pub use system::ActorSystem;

use std::time::Duration;

/// What an actor takes at once, and for how long a caller waits.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most calls that are queued or at work. Over it a call is refused.
    pub waiting: usize,
    /// For how long a caller waits for the answer.
    pub answer: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { waiting: 1024, answer: Duration::from_secs(10) }
    }
}

/// Makes the actor that receives it panic. Only test builds have it.
#[cfg(feature = "fault-injection")]
#[derive(Debug, actix::Message)]
#[rtype(result = "()")]
pub struct Panic;

/// Lets an actor receive `Panic` in test builds; in others it says nothing.
#[macro_export]
macro_rules! panics_when_told {
    ($actor:ty) => {
        #[cfg(feature = "fault-injection")]
        impl actix::Handler<$crate::actor::Panic> for $actor {
            type Result = ();

            #[allow(clippy::panic)]
            fn handle(&mut self, _: $crate::actor::Panic, _: &mut Self::Context) {
                panic!("a test told this actor to panic");
            }
        }
    };
}
