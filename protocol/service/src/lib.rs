//! What both servers are made of: supervised actors, configuration files, logging, metrics and health.
//!
//! Nothing here knows jobs, executions or the protocol. The controller and the executor put their actors, their
//! configuration and their metrics in; what a server of ours does in any case is written once, here.

pub mod actor;
pub mod configuration;
pub mod signals;
pub mod telemetry;
