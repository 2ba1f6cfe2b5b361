//! Why nobody was reached.

use super::Address;
use std::{error::Error as StdError, fmt, net::SocketAddr, sync::Arc};
use tonic::Status;

/// Nobody was reached: no connection came about, and nothing was sent. It says why, for each who was tried.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{text}")]
pub struct ReachError {
    text: Arc<str>,
    tls: bool,
}

/// Why one was not reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Somebody is there, and the two sides do not agree about TLS or a certificate.
    Tls(String),
    /// Anything else.
    Other(String),
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls(text) | Self::Other(text) => f.write_str(text),
        }
    }
}

/// What came of one who was tried.
#[derive(Clone, Debug)]
pub(super) struct Cause {
    whom: String,
    what: What,
}

impl Cause {
    pub(super) fn of(address: &Address, socket: Option<SocketAddr>, what: What) -> Self {
        let named = address.to_string();
        let whom = match socket {
            Some(socket) if address.host() != socket.ip().to_string() => {
                format!("{named} at {}", socket.ip())
            }
            _ => named,
        };
        Self { whom, what }
    }
}

impl ReachError {
    /// Of whom was tried: where only one was given, what came of it is enough if that is always the same.
    pub(super) fn new(given: &[Address], tried: Vec<Cause>) -> Self {
        let same = tried.windows(2).all(|pair| pair[0].what == pair[1].what);
        let tls = tried.iter().any(|cause| matches!(cause.what, What::Tls(_)));
        let text = match tried.first() {
            Some(first) if same && given.len() == 1 => first.what.to_string(),
            _ => {
                let told = tried.iter().map(|Cause { whom, what }| format!("{whom}: {what}"));
                told.collect::<Vec<_>>().join("; ")
            }
        };
        Self { text: text.into(), tls }
    }

    /// Whether somebody is there, and what stands between is TLS: to try again changes nothing.
    pub fn is_about_tls(&self) -> bool {
        self.tls
    }

    pub(super) fn into_status(self) -> Status {
        let mut status = Status::unavailable(self.to_string());
        status.set_source(Arc::new(self));
        status
    }

    /// What a status of this side says of nobody who was reached; none: it says something else.
    pub fn of(status: &Status) -> Option<&Self> {
        let mut chain = std::iter::successors(status.source(), |&error| error.source());
        chain.find_map(|error| error.downcast_ref())
    }
}

pub(super) fn is_of_connecting(error: &(dyn StdError + 'static)) -> bool {
    let mut chain = std::iter::successors(Some(error), |&error| error.source());
    chain.any(|error| error.is::<tonic::ConnectError>())
}

pub(super) fn root(error: &(dyn StdError + 'static)) -> String {
    std::iter::successors(Some(error), |&error| error.source()).last().unwrap_or(error).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_who_were_tried_are_named_where_there_are_several() {
        let address = |text| Address::parse(text, false).unwrap();
        let given = [address("a:1"), address("127.0.0.1:2")];
        let refused = || What::Other("Connection refused".to_owned());
        let at = |port| Some(SocketAddr::from(([127, 0, 0, 1], port)));
        let tried =
            vec![Cause::of(&given[0], at(1), refused()), Cause::of(&given[1], at(2), refused())];
        let both = ReachError::new(&given, tried.clone()).to_string();
        let wanted =
            "http://a:1 at 127.0.0.1: Connection refused; http://127.0.0.1:2: Connection refused";
        assert_eq!(both, wanted);
        assert_eq!(ReachError::new(&given[..1], tried).to_string(), "Connection refused");
        let status = ReachError::new(&given, Vec::new()).into_status();
        assert!(ReachError::of(&status).is_some());
        assert!(ReachError::of(&Status::unavailable("x")).is_none());
    }
}
