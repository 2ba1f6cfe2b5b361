//! A whole controller, asked over loopback as clients and executors ask it.

#![allow(clippy::unwrap_used)] // clippy knows the functions that are tests, not their helpers

mod access;
mod afterwards;
mod askers;
mod audit;
#[cfg(feature = "etcd")]
mod backup;
mod burst;
mod certificates;
#[cfg(feature = "clouds")]
mod clouds;
mod clusters;
mod crowds;
mod executions;
mod executors;
mod faults;
mod hostile;
mod issuer;
mod jobs;
mod logs;
mod pace;
mod permissions;
mod rerun;
mod retention;
mod rotate;
mod secrets;
mod serving;
#[cfg(feature = "etcd")]
mod several;
mod too_much;
mod waits;
mod wire;
mod world;
