//! Configuration: one file of JSON or YAML, overridden by environment variables, checked as a whole.
//!
//! A server states its keys once, with [`section!`](crate::section): name, type, default and meaning. The struct, the
//! checks, the warnings and `docs/configuration.md` all come from that. Every fault is found in one go, and each says
//! where it is, what it is, and what to do. Values of secrets, and of keys that nobody knows (a mistyped
//! `access_token` would be one), are never shown. Which keys exist is not known here.

pub mod duration;
mod file;
mod in_force;
mod load;
mod page;
mod problem;
mod section;
mod setting;
mod size;
mod tree;

pub use in_force::{Derived, Form, InForce, Origin, Said, Shown, said};
pub use load::{Loaded, from_values, load, load_with};
pub use page::page;
pub use problem::{Fault, Place, Problem, Problems, Warning};
pub use section::{Bounds, Condition, Key, Section, Table, WithoutEffect, table};
pub use setting::{Setting, parse_text};
pub use size::Bytes;

/// How a secret is shown.
pub const HIDDEN: &str = "(hidden)";

/// What the macros of this crate need to name; not for others.
#[doc(hidden)]
pub mod private {
    pub use super::load::Values;
    pub use serde_json::Value;
}
