//! The commands, each in a file of its own: its flags, and what it does.

pub(crate) mod audit;
pub(crate) mod cancel;
pub(crate) mod completion;
pub(crate) mod config;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod demo;
pub(crate) mod describe;
pub(crate) mod dev;
pub(crate) mod execute;
pub(crate) mod executions;
pub(crate) mod executors;
pub(crate) mod explain;
pub(crate) mod getlogs;
pub(crate) mod list;
pub(crate) mod login;
pub(crate) mod man;
pub(crate) mod rerun;
pub(crate) mod role;
pub(crate) mod secret;
pub(crate) mod status;
pub(crate) mod token;
pub(crate) mod update;
pub(crate) mod version;
pub(crate) mod wait;
