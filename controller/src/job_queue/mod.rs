//! The queue (in the making).
pub mod attempt;
mod handle;
pub mod record;
pub mod rules;
pub use handle::*;
