//! The actor on a real store and a real disk.

mod closing;
mod faults;
mod memory;
mod reading;
mod world;
