//! How controllers are reached: their addresses, and the way to whichever of several answers.

mod address;

pub use address::{Address, MOST_ADDRESSES, WrongAddress, addresses};

use std::time::Duration;

/// How often a quiet connection is tried. Together with [`KEEP_ALIVE_WITHIN`] it bounds for how long a call may wait at
/// a controller that is frozen, and it is less than what networks take to forget a silent connection.
pub const KEEP_ALIVE: Duration = Duration::from_secs(8);
/// How long a connection may leave that unanswered.
pub const KEEP_ALIVE_WITHIN: Duration = Duration::from_secs(5);
