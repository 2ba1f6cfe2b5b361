//! Octavius with a real Kubernetes: in it, as `deploy/` has it, and beside it, with executors that die or freeze.

#![allow(clippy::unwrap_used, clippy::panic)] // a test, and its helpers

mod accounts;
mod deployment;
mod dumps;
mod no_room;
mod quiet;
mod sight;
mod troubles;
mod twins;
mod webhook;
mod world;
