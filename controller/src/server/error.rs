//! Why a controller does not serve. The texts name the key and the remedy.

use crate::{
    access::issuer::NeverAsked,
    grpc::DescriptorError,
    log_store::LogStoreError,
    store::{self, TermError},
    vault::KeyFileError,
};
use octavius_service::{
    actor::Unanswered,
    telemetry::{health::AddressError, metrics::MetricsError},
};
use std::{io, net::SocketAddr, time::Duration};

/// Why a controller does not serve.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It was built without etcd.
    #[error(
        "this program was built without etcd: set `store` to `embedded` (variable OCTAVIUS_CONTROLLER_STORE=embedded), or take the `controller` that has it"
    )]
    NoEtcd,
    /// Nobody can listen there.
    #[error("it cannot listen at {address}: {}", remedy(.source))]
    Address {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// TLS cannot be spoken with the files that are named.
    #[error(transparent)]
    Tls(#[from] super::TlsError),
    /// An issuer of tokens cannot be asked with the file that is named.
    #[error(transparent)]
    Issuer(#[from] NeverAsked),
    /// Nobody can listen there for metrics.
    #[error(transparent)]
    MetricsAddress(#[from] AddressError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] store::StartError),
    /// The store does not say who leads.
    #[error(transparent)]
    Term(#[from] TermError),
    /// The master key is missing, or is no key of this store.
    #[error(transparent)]
    MasterKey(#[from] KeyFileError),
    /// What tells whether store and master key belong together could not be read or written.
    #[error("whether the store and its master key belong together could not be settled: {0}")]
    KeyCheck(String),
    /// The logs have no place.
    #[error(transparent)]
    LogStore(#[from] LogStoreError),
    /// An actor did not start.
    #[error("the controller did not start: {0}")]
    Actor(#[from] Unanswered),
    /// The actors took too long to load what is in the store.
    #[error("what is in the store was not loaded within {0:?}")]
    Late(Duration),
    /// Nothing can be measured.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The protocol does not describe itself.
    #[error(transparent)]
    Descriptors(#[from] DescriptorError),
    /// The system gave no thread, or no socket.
    #[error("the system gave too little to start with: {0}")]
    Thread(#[source] io::Error),
}

impl StartError {
    /// Whether the configuration has to be changed, or somebody else has what this controller needs. Else it may work
    /// later as it is.
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::NoEtcd
            | Self::Address { .. }
            | Self::MetricsAddress(_)
            | Self::Tls(_)
            | Self::Issuer(_)
            | Self::MasterKey(_)
            | Self::LogStore(_) => true,
            Self::Store(store::StartError::Open(error)) => !error.is_away(),
            Self::Store(store::StartError::Thread(_))
            | Self::Term(_)
            | Self::KeyCheck(_)
            | Self::Actor(_)
            | Self::Late(_)
            | Self::Metrics(_)
            | Self::Descriptors(_)
            | Self::Thread(_) => false,
        }
    }
}

fn remedy(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another process listens there: stop that, or give `app_port` another port".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            "that is no address of this machine: give `listen_address` one that is, for example `127.0.0.1`"
                .to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "this user may not listen there: give `app_port` a port above 1023".to_owned()
        }
        _ => format!("{error}: give `listen_address` or `app_port` another value"),
    }
}
