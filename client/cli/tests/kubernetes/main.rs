//! Octavius with a real Kubernetes: in it, as `deploy/` has it, and beside it, with executors that die or freeze.

#![allow(clippy::unwrap_used, clippy::panic)] // a test, and its helpers

mod deployment;
mod sight;
mod twins;
mod world;
