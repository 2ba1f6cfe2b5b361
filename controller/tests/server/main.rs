//! A whole controller, asked over loopback as clients and executors ask it.

#![allow(clippy::unwrap_used)] // clippy knows the functions that are tests, not their helpers

#[cfg(feature = "etcd")]
mod backup;
mod burst;
#[cfg(feature = "clouds")]
mod clouds;
mod crowds;
mod executions;
mod executors;
mod faults;
mod hostile;
mod jobs;
mod logs;
mod rerun;
mod retention;
mod secrets;
mod serving;
#[cfg(feature = "etcd")]
mod several;
mod too_much;
mod waits;
mod wire;
mod world;
