//! What a server says about itself: its log, its metrics, and whether it is well.

pub mod health;
pub mod logging;
pub mod metrics;
pub(crate) mod places;
mod rolling_file;

pub use rolling_file::KEPT as KEPT_LOG_FILES;
