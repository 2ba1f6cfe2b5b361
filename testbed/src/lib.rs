//! What tests stand on: real etcd that can be killed and frozen, a real Kubernetes, a real S3 that can fail, an issuer of identity tokens, ways between two parts that can be cut, free ports, a judge of who led, a search for what must lie nowhere.
//!
//! For tests, for chaos and for the bench; no server of ours may depend on it. What it cannot do ends the test: it
//! panics, and says why.

#![allow(clippy::unwrap_used)] // see above

pub mod cluster;
pub mod etcd;
pub mod http;
pub mod issuer;
pub mod leaders;
pub mod leaks;
pub mod ports;
pub mod proxy;
pub mod s3;
pub mod server;
