//! The whole of Octavius as its users have it: the real binaries, started, killed and asked from outside.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)] // a test, and its helpers

mod desk;
mod dev;
mod kills;
mod readme;
mod samples;
mod stories;
mod world;
