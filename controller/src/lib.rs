//! The control plane: which jobs exist, who runs them, what became of them, and their logs.
//!
//! Eight supervised actors own the state; gRPC handlers around them only translate. What an actor decides is a plain
//! function in its `rules` file, which knows neither actix nor tonic nor the store.

pub mod access;
pub mod audit;
pub mod backup;
pub mod caller;
pub mod configuration;
mod folder;
pub mod grpc;
pub mod init;
pub mod job_queue;
pub mod limits;
pub mod liveness;
pub mod log_store;
pub mod metrics;
mod pauses;
pub mod registry;
pub mod rotate;
pub mod secrets;
pub mod server;
pub mod store;
mod timekeeper;
pub mod vault;
pub mod web;

/// The controller's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
