//! Why there is no connection, or no answer that counts.

use super::rules::{Meaning, meaning};
use octavius_protocol::{BAD_TOKEN, DOMAIN, REPLACED, TOKEN_EXPIRED, reach::WrongAddress};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Why there is no connection to be had.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The controller's address is none.
    #[error("`cp_host` {0}")]
    Address(#[source] WrongAddress),
    /// The file of the authority cannot be used.
    #[error("`tls_ca_file` {0}")]
    Ca(String),
    /// The certificate that it shows, or its key, cannot be used.
    #[error("{0}")]
    Own(String),
    /// There is a certificate, and nobody to show it to.
    #[error(
        "`tls_cert_file` is given, and no TLS is spoken with `cp_host`: write `https://` before it, or give `tls_ca_file`"
    )]
    Plain,
    /// TLS cannot be set up.
    #[error(
        "TLS cannot be set up: name the PEM file of the authority that is trusted with `tls_ca_file`"
    )]
    Tls(#[source] tonic::transport::Error),
    /// The token cannot go into a header.
    #[error("`access_token` holds what no token holds: give printable ASCII characters alone")]
    Token,
}

/// Why a call has no answer that counts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The session is gone: all wait for the next.
    #[error("the session is gone: {0}")]
    SessionGone(String),
    /// A newer process of this executor took over; in the controller's words.
    #[error("{0}")]
    Replaced(String),
    /// What this executor proves itself with counts no more; in the controller's words.
    #[error("{0}")]
    Unproven(String),
    /// The controller does not want it, now or later.
    #[error("{text}")]
    Refused {
        /// The status code.
        code: Code,
        /// The controller's words.
        text: String,
    },
    /// It may work later.
    #[error("{code:?}: {text}")]
    Later {
        /// The status code.
        code: Code,
        /// What happened, in words.
        text: String,
    },
}

impl Failure {
    /// An answer that makes no sense; perhaps the next one does.
    pub fn nonsense(what: &str) -> Self {
        Self::Later { code: Code::Internal, text: format!("the controller answered with {what}") }
    }

    /// What a failure means where there was no session that could be gone: another place, another installation.
    pub(super) fn of_registration(self) -> Self {
        match self {
            Self::SessionGone(text) => Self::Refused { code: Code::FailedPrecondition, text },
            replaced @ Self::Replaced(_) => replaced,
            unproven @ Self::Unproven(_) => unproven,
            refused @ Self::Refused { .. } => refused,
            later @ Self::Later { .. } => later,
        }
    }

    pub(super) fn from_status(status: &Status) -> Self {
        let (code, mut text) = (status.code(), status.message().to_owned());
        for fault in
            status.get_details_bad_request().into_iter().flat_map(|bad| bad.field_violations)
        {
            text.push_str(&format!("; `{}`: {}", fault.field, fault.description));
        }
        let info = status.get_details_error_info().filter(|info| info.domain == DOMAIN);
        match info.as_ref().map(|info| info.reason.as_str()) {
            Some(REPLACED) => return Self::Replaced(text),
            Some(BAD_TOKEN | TOKEN_EXPIRED) => return Self::Unproven(text),
            Some(_) | None => {}
        }
        match meaning(code as i32) {
            Meaning::SessionGone => Self::SessionGone(text),
            Meaning::Refused => Self::Refused { code, text },
            Meaning::Later => Self::Later { code, text },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_types::ErrorDetails;

    #[test]
    fn a_refusal_names_the_fields_that_are_refused() {
        let details = ErrorDetails::with_bad_request_violation("ended.reason", "is too long");
        let status = Status::with_error_details(Code::InvalidArgument, "1 field", details);
        let text = "1 field; `ended.reason`: is too long".to_owned();
        let refused = Failure::Refused { code: Code::InvalidArgument, text };
        assert_eq!(Failure::from_status(&status), refused);
    }
}
