//! What both servers are made of: supervised actors, configuration files, logging, metrics and health.
//!
//! Nothing here knows jobs, executions or the protocol. The controller and the executor put their actors, their
//! configuration and their metrics in; what a server of ours does in any case is written once, here.

pub mod actor;
pub mod configuration;
pub mod limits;
mod open_files;
pub mod signals;
pub mod telemetry;
pub mod text;

pub use open_files::{open_files_at_start, raise_open_files};
