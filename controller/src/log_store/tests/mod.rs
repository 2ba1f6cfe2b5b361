//! The actor on a real store and a real disk.

mod closing;
#[cfg(feature = "clouds")]
mod clouds;
mod faults;
mod limit;
mod memory;
mod reading;
mod removal;
mod seeking;
mod world;
