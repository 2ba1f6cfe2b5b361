//! The whole of Octavius as its users have it: the real binaries, started, killed and asked from outside.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)] // a test, and its helpers

mod access;
mod addresses;
mod afterwards;
mod attempts;
mod cluster;
mod commands;
mod compaction;
mod cut_off;
mod definitions;
mod desk;
mod dev;
mod elected;
mod endings;
mod finding;
mod fleet;
mod full;
mod hostile;
mod installation;
mod jobs;
mod kills;
mod logins;
mod logs;
mod outages;
mod pty;
mod readme;
mod refusals;
mod rerun;
mod rounds;
mod samples;
mod secrets;
mod secure;
mod server_logs;
mod shells;
mod signals;
mod starts;
mod stories;
mod storm;
mod storms;
mod terminal;
mod user;
mod values;
mod waiting;
mod world;
