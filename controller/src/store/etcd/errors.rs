//! What etcd says, as what the store has to know of it.

use super::super::backend::CommitError;
use etcd_client::Error;
use tonic::Code;

/// After this alarm etcd takes no puts until a person has made room and disarmed it.
const NO_SPACE: &str = "database space exceeded";
/// What to do then.
pub(super) const MAKE_ROOM: &str = "compact its history, defragment its members, then `etcdctl alarm disarm`, or raise `--quota-backend-bytes`";

/// What came of a transaction whose call failed. Only what etcd refuses before it proposes the transaction to its members
/// certainly did not happen.
pub(super) fn of_commit(endpoint: &str, error: &Error) -> CommitError {
    let text = format!("etcd at {endpoint}: {}", said(error));
    let Error::GRpcStatus(status) = error else { return CommitError::Unknown(text) };
    let message = status.message();
    match status.code() {
        Code::ResourceExhausted if message.contains(NO_SPACE) => {
            CommitError::Full(format!("{text}: {MAKE_ROOM}"))
        }
        Code::ResourceExhausted if message.contains("larger than max") => CommitError::Refused(
            format!("{text}: raise etcd's `--max-request-bytes` to at least 1.5 MiB"),
        ),
        Code::InvalidArgument if message.contains("too many operations") => {
            CommitError::Refused(format!("{text}: raise etcd's `--max-txn-ops` to at least 128"))
        }
        Code::InvalidArgument if message.contains("request is too large") => CommitError::Refused(
            format!("{text}: raise etcd's `--max-request-bytes` to at least 1.5 MiB"),
        ),
        Code::InvalidArgument if message.contains("duplicate key") => CommitError::Refused(text),
        Code::PermissionDenied => CommitError::Refused(format!(
            "{text}: give the user of `etcd_user` a role that may read and write our prefix"
        )),
        _ => CommitError::Unknown(text),
    }
}

/// Whether it is about who we are: trying again does not help.
pub(super) fn is_denied(error: &Error) -> bool {
    let Error::GRpcStatus(status) = error else { return false };
    let message = status.message();
    match status.code() {
        Code::PermissionDenied => true,
        Code::Unauthenticated => !message.contains("invalid auth token"),
        Code::InvalidArgument | Code::FailedPrecondition => [
            "authentication failed",
            "user name is empty",
            "user name not found",
            "authentication is not enabled",
        ]
        .iter()
        .any(|known| message.contains(known)),
        _ => false,
    }
}

/// Whether the login of the call is not taken any more: it ran out, is not known after a restart, or users were changed
/// since it was made. Nothing happened.
pub(super) fn wants_login(error: &Error) -> bool {
    let Error::GRpcStatus(status) = error else { return false };
    let told = ["invalid auth token", "revision of auth store is old"];
    told.iter().any(|told| status.message().contains(told))
}

/// Whether the revision that was asked for was compacted away.
pub(super) fn is_compacted(error: &Error) -> bool {
    matches!(error, Error::GRpcStatus(status)
        if status.code() == Code::OutOfRange && status.message().contains("compacted"))
}

/// Whether an answer was larger than we take.
pub(super) fn is_too_large(error: &Error) -> bool {
    matches!(error, Error::GRpcStatus(status)
        if status.code() == Code::OutOfRange && status.message().contains("decoded message length"))
}

/// Whether it is for want of room.
pub(super) fn is_full(error: &Error) -> bool {
    matches!(error, Error::GRpcStatus(status) if status.message().contains(NO_SPACE))
}

/// The text alone, with its causes.
pub(super) fn said(error: &Error) -> String {
    match error {
        Error::GRpcStatus(status) => {
            let mut text = format!("{} ({:?})", status.message(), status.code());
            let mut source = std::error::Error::source(status);
            while let Some(cause) = source {
                text.push_str(&format!(": {cause}"));
                source = cause.source();
            }
            text
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Status;

    #[test]
    fn only_what_etcd_refuses_before_it_proposes_it_certainly_did_not_happen() {
        let of = |code, text: &str| {
            of_commit("here", &Error::GRpcStatus(Status::new(code, format!("etcdserver: {text}"))))
        };
        let full = of(Code::ResourceExhausted, "mvcc: database space exceeded");
        assert!(matches!(full, CommitError::Full(_)), "{full:?}");
        for (code, text, remedy) in [
            (Code::InvalidArgument, "too many operations in txn request", "--max-txn-ops"),
            (Code::InvalidArgument, "request is too large", "--max-request-bytes"),
            (Code::PermissionDenied, "permission denied", "etcd_user"),
        ] {
            match of(code, text) {
                CommitError::Refused(why) => assert!(why.contains(remedy), "{why}"),
                other => panic!("{text}: {other:?}"),
            }
        }
        for (code, text) in [
            (Code::Unavailable, "request timed out"),
            (Code::ResourceExhausted, "too many requests"),
            (Code::Unauthenticated, "invalid auth token"),
            (Code::InvalidArgument, "revision of auth store is old"),
            (Code::Unknown, "leader changed"),
        ] {
            let unknown = of(code, text);
            assert!(matches!(unknown, CommitError::Unknown(_)), "{text}: {unknown:?}");
        }
    }
}
