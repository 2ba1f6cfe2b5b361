//! The Rust client of Octavius: a [`Client`] with one method for each thing that a user can ask a controller.
//!
//! It reads the user's files ([`Settings`], [`definition`]), repeats what is safe to repeat, takes up a log where it
//! was cut off, and says in [`Error`] who can do something about a failure. What is printed, and how a process ends,
//! is not here: that is the command line's.

mod client;
pub mod definition;
pub mod duration;
mod error;
mod fault;
mod follow;
mod near;
mod pause;
mod settings;
mod state;
mod values;

pub use client::{AuditPages, Client, ExecutionPages, Update};
pub use error::{Error, Kind, Refusal, Silence, Violation};
pub use fault::{Fault, Faults};
pub use follow::{LogItem, LogStream, Notice};
pub use octavius_protocol::v1;
pub use settings::{
    Absent, Choice, Contents, ContextName, FileKey, Found, Listed, Settings, Sources, Surroundings,
};
pub use state::{EXECUTION_STATES, execution_word, executor_word, is_final};
pub use values::{parse_values, read_values};
