//! The actor on a real store and a real disk.

mod closing;
mod faults;
mod limit;
mod memory;
mod reading;
mod removal;
mod seeking;
mod world;
