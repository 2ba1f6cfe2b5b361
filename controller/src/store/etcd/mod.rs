//! The store in an etcd: entries are keys under a prefix, transactions are etcd's own.
//!
//! `etcd-client` neither changes to another member nor tries again: a connection here is to one member, and whoever
//! gets an error from it opens another, to the next one that answers (`dial`); a login is made anew on the connection that
//! there is (`login`). Every call has its deadline where it is made. `election` says who leads.
//!
//! Written against etcd 3.4 and later: no more than 128 operations and 1.5 MiB in a transaction, no key twice, and
//! after the alarm NOSPACE no puts until a person disarms it.

mod backend;
mod compact;
mod dial;
mod election;
mod errors;
mod lease;
mod login;
#[cfg(feature = "bench")]
pub mod raw;
#[cfg(test)]
mod tests;

pub use compact::compact_while;
pub use dial::EtcdOpener;
pub use election::{Elected, Election, LeaderRecord, Standing};

use secrecy::SecretString;
use std::{path::PathBuf, time::Duration};

/// How an etcd is reached, and which part of it is ours.
#[derive(Clone, Debug)]
pub struct EtcdSettings {
    /// Its members, `http://HOST:PORT` or `https://HOST:PORT`; at least one.
    pub endpoints: Vec<String>,
    /// User and password, where it asks for them.
    pub user: Option<(String, SecretString)>,
    /// The certificates that its members' own are checked with, PEM; else those of the system.
    pub ca_file: Option<PathBuf>,
    /// A certificate and its key, PEM, where it asks for one.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// For how long one member may take to answer the first call.
    pub dial_timeout: Duration,
    /// How many operations it takes in a transaction: its `--max-txn-ops`.
    pub max_txn_ops: usize,
    /// How many bytes it takes in a request: its `--max-request-bytes`.
    pub max_request_bytes: usize,
    /// All our keys begin with this.
    pub prefix: String,
}

impl EtcdSettings {
    /// All members, for texts.
    pub fn place(&self) -> String {
        self.endpoints.join(",")
    }
}
