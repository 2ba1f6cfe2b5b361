//! The agent of one place: it pulls work from the controller, runs it, and sends states and logs back.
//!
//! `Poller` asks for work, `Attempts` runs what it was given through a [`runner::Runner`], `Heartbeat` says what is
//! held here and brings orders back. All three are supervised actors; what they know of attempts is found again
//! after a restart, because a runner keeps it outside of this process.

pub mod attempts;
pub mod belonging;
pub mod configuration;
pub mod heartbeat;
pub mod lease;
pub mod limits;
pub mod link;
mod mask;
pub mod metrics;
pub mod poller;
pub mod proof;
pub mod runner;
pub mod server;
pub mod state_dir;
mod watched;
