//! The one place that knows gRPC's codes. Each error names its code and a word for programs in a full match, so that a
//! new one does not compile until it has them; its text is for people and stands as it is.
//!
//! A status travels in HTTP headers, of which clients take 16 KiB: texts and details are bounded here.

use super::{door::DoorError, forward::ForwardError, pace::TooFast};
use crate::{
    access::{
        AccessError, JoinError,
        issuer::{NotIssued, SignIn},
    },
    audit::AuditError,
    job_queue::{DeleteJobError, QueueError, SubmitError},
    liveness::{
        DrainError, ForgetError, HeardError, ListExecutorsError, RegisterError,
        rules::RegisterRefused,
    },
    log_store::LogError,
    registry::{ChangeError, DeleteError, LookUpError, PinError, Violation},
    secrets::SecretError,
    store::ReadError,
};
use octavius_protocol::{
    BAD_TOKEN, DOMAIN, ENDING, LEADER, LEADER_AWAY, NO_LEADER, NO_TOKEN, NOT_LEADING,
    OIDC_CLIENT_ID, OIDC_ISSUER, REPLACED, STARTING, TOKEN_EXPIRED, UNCONFIRMED,
};
use octavius_service::{actor::Unanswered, text::cut};
use std::{collections::HashMap, fmt, time::Duration};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

/// The most bytes of a status's text.
pub(crate) const MOST_TEXT_BYTES: usize = 1024;
/// The most bytes of all faults in a status's details.
const MOST_FAULT_BYTES: usize = 4 * 1024;
/// After how long a call that found no room is worth repeating.
const SOON: Duration = Duration::from_secs(1);
/// After how long what is being started again may be there: who was refused while a controller handed over, which takes
/// tens of milliseconds, has waited less than 300 ms with its jitter.
const AT_ONCE: Duration = Duration::from_millis(200);
/// After how long a queue that was full may have room.
const LATER: Duration = Duration::from_secs(10);

/// What is wrong with a request before any actor sees it, and with calls that wait.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestError {
    /// Fields are wrong; all faults at once.
    #[error("the request is not right")]
    Invalid(Vec<Violation>),
    /// The controller ends.
    #[error("this controller is ending: try again in a moment, at the next one")]
    Ending,
    /// Too many calls are not answered yet.
    #[error("{limit} calls are not answered yet, the most that are taken: try again in a moment")]
    Calls {
        /// The bound.
        limit: usize,
    },
    /// Too much is received at once.
    #[error(
        "{limit} bytes of requests are being received, the most at a time: try again in a moment"
    )]
    Bytes {
        /// The bound.
        limit: usize,
    },
    /// One message comes too slowly.
    #[error("the request did not come within {within:?}: send it again, less at a time")]
    Slow {
        /// How long it was waited for.
        within: Duration,
    },
    /// One message does not come, or not to its end.
    #[error("nothing more of the request came for {after:?}: send it again")]
    Stopped {
        /// How long it was waited for more.
        after: Duration,
    },
    /// One message is too large.
    #[error("the request has {size} bytes, and at most {limit} are taken: send less at a time")]
    TooLarge {
        /// What it says that it has.
        size: usize,
        /// The bound.
        limit: usize,
    },
    /// A backup is being taken.
    #[error("{limit} backup is being taken, the most at a time: take this one after it")]
    Backups {
        /// The bound.
        limit: usize,
    },
    /// A backup broke off.
    #[error("the store was not read to its end: {0}")]
    Backup(String),
    /// Too many read logs.
    #[error("{limit} readers follow logs, the most that are served at a time: try again later")]
    Followers {
        /// The bound.
        limit: usize,
    },
}

/// Why a controller does not answer what only the leader can.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RoleError {
    /// It does not know yet, or loads.
    #[error("this controller is starting: try again in a moment")]
    Starting,
    /// It leads, but its lease may have run out.
    #[error(
        "this controller leads, but etcd has not confirmed that for seconds: try again in a moment"
    )]
    Uncertain,
}

/// What a status says besides its text.
#[derive(Debug)]
struct Meaning {
    code: Code,
    /// For programs.
    reason: &'static str,
    faults: Vec<Violation>,
    retry_after: Option<Duration>,
    help: Option<&'static str>,
    /// What programs need to know with the reason, by its name.
    told: Vec<(&'static str, String)>,
}

impl Meaning {
    fn new(code: Code, reason: &'static str) -> Self {
        Self { code, reason, faults: Vec::new(), retry_after: None, help: None, told: Vec::new() }
    }

    /// A request that has to be changed.
    fn invalid(reason: &'static str, faults: Vec<Violation>) -> Self {
        Self { faults, ..Self::new(Code::InvalidArgument, reason) }
    }

    /// Nobody could answer; the same request may be answered in a moment.
    fn unavailable(reason: &'static str) -> Self {
        Self { retry_after: Some(AT_ONCE), ..Self::new(Code::Unavailable, reason) }
    }

    /// A bound is reached.
    fn full(reason: &'static str, retry_after: Duration, help: &'static str) -> Self {
        let full = Self::new(Code::ResourceExhausted, reason);
        Self { retry_after: Some(retry_after), help: Some(help), ..full }
    }

    /// The one field that is no page token.
    fn page_token(text: &impl fmt::Display) -> Self {
        Self::invalid("PAGE_TOKEN", vec![Violation::new("page_token", text.to_string())])
    }

    fn status(self, text: &impl fmt::Display) -> Status {
        let mut details = ErrorDetails::new();
        let told = self.told.into_iter().map(|(name, value)| (name.to_owned(), value));
        details.set_error_info(self.reason, DOMAIN, told.collect::<HashMap<_, _>>());
        if !self.faults.is_empty() {
            details.set_bad_request(bounded(self.faults));
        }
        if let Some(after) = self.retry_after {
            details.set_retry_info(Some(after));
        }
        if let Some(help) = self.help {
            details.set_help(vec![tonic_types::HelpLink::new(help, "")]);
        }
        Status::with_error_details(self.code, cut(text.to_string(), MOST_TEXT_BYTES), details)
    }
}

/// Faults as details have them: each gets its share of the room.
fn bounded(faults: Vec<Violation>) -> Vec<FieldViolation> {
    let share = MOST_FAULT_BYTES / faults.len().max(1);
    let fault = |Violation { field, description }| {
        let field = cut(field, share / 4);
        let description = cut(description, share - share / 4);
        FieldViolation::new(field, description)
    };
    faults.into_iter().map(fault).collect()
}

fn unanswered(error: &Unanswered) -> Meaning {
    match error {
        Unanswered::Full { .. } => {
            let help = "More calls wait than are let in: call less often, or from fewer clients.";
            Meaning::full("BUSY", SOON, help)
        }
        Unanswered::Down { .. } => Meaning::unavailable(STARTING),
        Unanswered::Shut { .. } => {
            let help = "Room has to be made for the store: `/readyz` of the controller says where.";
            Meaning::full("STORE_FULL", LATER, help)
        }
        Unanswered::Restarted { .. } | Unanswered::Late { .. } => Meaning::unavailable(UNCONFIRMED),
    }
}

fn pin(error: PinError) -> Meaning {
    match error {
        PinError::LookUp(error) => look_up(&error),
        PinError::Doomed(_) => Meaning::unavailable("JOB_DOOMED"),
        PinError::BadArguments { violations, .. } => Meaning::invalid("BAD_ARGUMENTS", violations),
        PinError::Unanswered(error) => unanswered(&error),
    }
}

fn look_up(error: &LookUpError) -> Meaning {
    match error {
        LookUpError::Unknown { .. } => Meaning::new(Code::NotFound, "UNKNOWN_JOB"),
        LookUpError::NoVersion { .. } => Meaning::new(Code::NotFound, "UNKNOWN_VERSION"),
        LookUpError::Store(_) => Meaning::unavailable("STORE"),
        LookUpError::PageToken(_) => Meaning::page_token(error),
        LookUpError::Unanswered(error) => unanswered(error),
    }
}

fn secret(error: SecretError) -> Meaning {
    match error {
        SecretError::Invalid(faults) => Meaning::invalid("INVALID_SECRET", faults),
        SecretError::NotSet { .. } => Meaning::new(Code::NotFound, "SECRET_NOT_SET"),
        SecretError::Full { .. } => Meaning::new(Code::ResourceExhausted, "TOO_MANY_SECRETS"),
        SecretError::Replaced { .. } => {
            let help = "A value stays as long as an execution may need it.";
            Meaning::full("TOO_MANY_VALUES", LATER, help)
        }
        SecretError::NotStored(_) => Meaning::unavailable("NOT_STORED"),
        SecretError::Unconfirmed(_) => Meaning::unavailable(UNCONFIRMED),
        SecretError::Unanswered(error) => unanswered(&error),
    }
}

fn audit(error: &AuditError) -> Meaning {
    match error {
        AuditError::Unanswered(error) => unanswered(error),
        AuditError::NotStored(_) => Meaning::unavailable("NOT_STORED"),
        AuditError::Read(_) => Meaning::unavailable("STORE"),
        AuditError::PageToken(_) => Meaning::page_token(error),
    }
}

fn access(error: AccessError) -> Meaning {
    match error {
        AccessError::NoToken(_) => Meaning::new(Code::NotFound, "UNKNOWN_TOKEN"),
        AccessError::Configured(_) => Meaning::new(Code::FailedPrecondition, "TOKEN_CONFIGURED"),
        AccessError::NoRole { .. } => Meaning::new(Code::NotFound, "UNKNOWN_ROLE"),
        AccessError::Full { .. } => Meaning::new(Code::ResourceExhausted, "TOO_MANY_TOKENS"),
        AccessError::NoRandom(_) => Meaning::unavailable("NO_RANDOM"),
        AccessError::PageToken(_) => Meaning::page_token(&error),
        AccessError::NotStored(_) => Meaning::unavailable("NOT_STORED"),
        AccessError::Unconfirmed(_) => Meaning::unavailable(UNCONFIRMED),
        AccessError::Unanswered(error) => unanswered(&error),
    }
}

fn queue(error: &QueueError) -> Meaning {
    match error {
        QueueError::Unknown(_) => Meaning::new(Code::NotFound, "UNKNOWN_EXECUTION"),
        QueueError::NotKept { .. } => Meaning::new(Code::NotFound, "EXECUTION_NOT_KEPT"),
        QueueError::Over { .. } => Meaning::new(Code::FailedPrecondition, "EXECUTION_OVER"),
        QueueError::NotKnown(_) => Meaning::unavailable("ATTEMPT_NOT_KNOWN"),
        QueueError::Busy(_) => Meaning::unavailable("EXECUTION_BUSY"),
        QueueError::Session(_) => Meaning::new(Code::FailedPrecondition, "SESSION_CLOSED"),
        QueueError::PageToken(_) => Meaning::page_token(error),
        QueueError::ParkedOfOne { .. } => {
            Meaning::full("TOO_MANY_PARKED", SOON, "An executor parks one call for work.")
        }
        QueueError::Parked { .. } => Meaning::full(
            "TOO_MANY_PARKED",
            SOON,
            "Executors park two calls each, and who waits for an end one.",
        ),
        QueueError::Unanswered(error) => unanswered(error),
        QueueError::Store(_) => Meaning::unavailable("STORE"),
    }
}

fn delete(error: &DeleteError) -> Meaning {
    match error {
        DeleteError::LookUp(error) => look_up(error),
        DeleteError::UnderWay(_) => Meaning::unavailable("JOB_DOOMED"),
        DeleteError::NotStored(_) => Meaning::unavailable("NOT_STORED"),
        DeleteError::Unconfirmed(_) => Meaning::unavailable(UNCONFIRMED),
        DeleteError::Unanswered(error) => unanswered(error),
    }
}

fn refused(error: &RegisterRefused) -> Meaning {
    match error {
        RegisterRefused::Level { .. } => Meaning::new(Code::FailedPrecondition, "PROTOCOL_LEVEL"),
        RegisterRefused::Installation { .. } => {
            Meaning::new(Code::FailedPrecondition, "OTHER_INSTALLATION")
        }
        RegisterRefused::OtherPlace { .. } => {
            Meaning::new(Code::FailedPrecondition, "EXECUTOR_ELSEWHERE")
        }
        RegisterRefused::Replaced { .. } => Meaning::new(Code::FailedPrecondition, REPLACED),
        RegisterRefused::Full { .. } => {
            let help = "Take out those that are gone for good with `octavius executors forget`.";
            Meaning::full("TOO_MANY_EXECUTORS", LATER, help)
        }
    }
}

/// Writes `From<$error> for Status`: the error's own text, and what `$meaning` makes of it.
macro_rules! statuses {
    ($($error:ty => |$value:ident| $meaning:expr;)+) => {$(
        impl From<$error> for Status {
            fn from(error: $error) -> Self {
                let text = error.to_string();
                let $value = error;
                let meaning: Meaning = $meaning;
                meaning.status(&text)
            }
        }
    )+};
}

statuses! {
    RequestError => |error| match error {
        RequestError::Invalid(faults) => Meaning::invalid("INVALID_REQUEST", faults),
        RequestError::TooLarge { .. } => Meaning::new(Code::InvalidArgument, "TOO_LARGE"),
        RequestError::Slow { .. } => Meaning::new(Code::DeadlineExceeded, "SLOW"),
        RequestError::Stopped { .. } => Meaning::new(Code::DeadlineExceeded, "STOPPED"),
        RequestError::Ending => Meaning::unavailable(ENDING),
        RequestError::Calls { .. } | RequestError::Bytes { .. } => {
            let help = "More is asked than can be answered: call less often, or from fewer clients.";
            Meaning::full("BUSY", SOON, help)
        }
        RequestError::Backups { .. } => {
            Meaning::full("BACKUPS", LATER, "A backup holds a moment of the store until it is read.")
        }
        RequestError::Backup(_) => Meaning::unavailable("STORE"),
        RequestError::Followers { .. } => {
            Meaning::full("TOO_MANY_FOLLOWERS", LATER, "Each `getlogs --follow` is one of them.")
        }
    };
    TooFast => |_error| {
        let help = "Each person has as many calls a second as `calls_per_second` of the controller says, and five times as many at once.";
        Meaning::full("TOO_FAST", SOON, help)
    };
    RoleError => |error| match error {
        RoleError::Starting => Meaning::unavailable(STARTING),
        RoleError::Uncertain => Meaning::unavailable(NO_LEADER),
    };
    ForwardError => |error| match error {
        ForwardError::NotLeading { leader } => {
            Meaning { told: vec![(LEADER, leader)], ..Meaning::unavailable(NOT_LEADING) }
        }
        ForwardError::NoLeader => {
            Meaning { retry_after: Some(SOON), ..Meaning::unavailable(NO_LEADER) }
        }
        ForwardError::NoWay { .. } | ForwardError::Away { .. } => {
            Meaning::unavailable(LEADER_AWAY)
        }
        ForwardError::Lost { .. } => Meaning::unavailable(UNCONFIRMED),
        ForwardError::Calls { .. } => {
            let help = "More is asked than can be passed on: call less often, or from fewer clients.";
            Meaning::full("BUSY", SOON, help)
        }
    };
    DoorError => |error| match error {
        DoorError::Name => {
            let most = super::door::MOST_NAME_BYTES;
            let what = format!("is no name: give 1 to {most} visible ASCII characters");
            Meaning::invalid("CALLER", vec![Violation::new(super::door::USER, what)])
        }
        DoorError::NoToken { sign_in, .. } => {
            let told = sign_in.map(|SignIn { issuer, client_id }| {
                vec![(OIDC_ISSUER, issuer), (OIDC_CLIENT_ID, client_id)]
            });
            let refused = Meaning::new(Code::Unauthenticated, NO_TOKEN);
            Meaning { told: told.unwrap_or_default(), ..refused }
        }
        DoorError::BadToken { .. } => Meaning::new(Code::Unauthenticated, BAD_TOKEN),
        DoorError::Expired { .. } => Meaning::new(Code::Unauthenticated, TOKEN_EXPIRED),
        DoorError::Uncertified(_) | DoorError::PassedOnUncertified(_) => {
            Meaning::new(Code::Unauthenticated, "NO_CERTIFICATE")
        }
        DoorError::Loading => Meaning::unavailable(STARTING),
        DoorError::Issued(NotIssued::Away { .. }) => Meaning::unavailable("ISSUER_AWAY"),
        DoorError::Issued(NotIssued::Expired { .. }) => {
            Meaning::new(Code::Unauthenticated, TOKEN_EXPIRED)
        }
        DoorError::Issued(
            NotIssued::Large { .. }
            | NotIssued::Form
            | NotIssued::Algorithm
            | NotIssued::NoKey { .. }
            | NotIssued::UnknownKey { .. }
            | NotIssued::Signature
            | NotIssued::Issuer { .. }
            | NotIssued::Audience { .. }
            | NotIssued::Claim { .. }
            | NotIssued::Unverified
            | NotIssued::Account { .. }
            | NotIssued::NotYet { .. },
        ) => Meaning::new(Code::Unauthenticated, BAD_TOKEN),
        DoorError::NotFor { .. } | DoorError::NotAllowed { .. } | DoorError::NoMore { .. } => {
            Meaning::new(Code::PermissionDenied, "NOT_ALLOWED")
        }
    };
    AccessError => |error| access(error);
    AuditError => |error| audit(&error);
    JoinError => |error| match error {
        JoinError::Over(_) => Meaning::new(Code::Unauthenticated, BAD_TOKEN),
        JoinError::Taken { .. } => Meaning::new(Code::AlreadyExists, "EXECUTOR_JOINED"),
        JoinError::Label { .. } | JoinError::Other { .. } => {
            Meaning::new(Code::PermissionDenied, "NOT_ALLOWED")
        }
        JoinError::Access(error) => access(error),
    };
    ChangeError => |error| match error {
        ChangeError::Invalid(faults) => Meaning::invalid("INVALID_JOB", faults),
        ChangeError::AlreadyExists { .. } => Meaning::new(Code::AlreadyExists, "JOB_EXISTS"),
        ChangeError::LookUp(error) => look_up(&error),
        ChangeError::OtherVersion { .. } => Meaning::new(Code::FailedPrecondition, "OTHER_VERSION"),
        ChangeError::Doomed(_) => Meaning::unavailable("JOB_DOOMED"),
        ChangeError::Full { .. } => {
            let full = Meaning::new(Code::ResourceExhausted, "TOO_MANY_JOBS");
            Meaning { help: Some("`octavius list` shows them."), ..full }
        }
        ChangeError::NotStored(_) => Meaning::unavailable("NOT_STORED"),
        ChangeError::Unconfirmed(_) => Meaning::unavailable(UNCONFIRMED),
        ChangeError::Unanswered(error) => unanswered(&error),
    };
    DeleteJobError => |error| match error {
        DeleteJobError::Registry(error) => delete(&error),
        DeleteJobError::InUse { .. } => Meaning::new(Code::FailedPrecondition, "JOB_IN_USE"),
        DeleteJobError::Queue { why, .. } => queue(&why),
        DeleteJobError::Unconfirmed { .. } => Meaning::unavailable(UNCONFIRMED),
    };
    LookUpError => |error| look_up(&error);
    SecretError => |error| secret(error);
    SubmitError => |error| match error {
        SubmitError::Pin(error) => pin(error),
        SubmitError::NoFirst(error) => queue(&error),
        SubmitError::NotAgain { violations, .. } => Meaning::invalid("BAD_ARGUMENTS", violations),
        SubmitError::Invalid(faults) => Meaning::invalid("INVALID_REQUEST", faults),
        SubmitError::UnsetSecrets(_) => {
            Meaning::new(Code::FailedPrecondition, "SECRETS_NOT_SET")
        }
        SubmitError::Secrets(error) => secret(error),
        SubmitError::Full { .. } => {
            Meaning::full("QUEUE_FULL", LATER, "`octavius executors` shows who takes work.")
        }
        SubmitError::TeamFull { .. } => {
            Meaning::full("TEAM_FULL", LATER, "`octavius executions` shows what waits.")
        }
        SubmitError::AtLimit(_) => {
            Meaning::full("JOB_LIMIT", LATER, "`octavius executions` shows what runs.")
        }
        SubmitError::NoExecutor(_) => Meaning::new(Code::FailedPrecondition, "NO_EXECUTOR"),
        SubmitError::TooMuch { .. } => {
            Meaning::full("TOO_MANY_BYTES", SOON, "Large arguments wait for others of their size.")
        }
        SubmitError::OtherContent { .. } => Meaning::new(Code::AlreadyExists, "REQUEST_ID_USED"),
        SubmitError::Unconfirmed(_) | SubmitError::Store(_) => Meaning::unavailable(UNCONFIRMED),
        SubmitError::Unanswered(error) => unanswered(&error),
    };
    ReadError => |error| match error {
        ReadError::Backend(_) => Meaning::unavailable("STORE"),
        ReadError::Unanswered(error) => unanswered(&error),
    };
    QueueError => |error| queue(&error);
    LogError => |error| match error {
        LogError::Unanswered(error) => unanswered(&error),
        LogError::Away(_) => Meaning::unavailable("LOGS_AWAY"),
        LogError::Damaged(_) => Meaning::new(Code::DataLoss, "LOG_DAMAGED"),
        LogError::Expired { .. } => Meaning::new(Code::NotFound, "LOG_NOT_KEPT"),
        LogError::Open(_) => Meaning::new(Code::FailedPrecondition, "LOG_OPEN"),
        LogError::OutOfRange { .. } => Meaning::new(Code::OutOfRange, "OFFSET"),
        LogError::Full { .. } => {
            Meaning::full("LOG_BUFFER_FULL", SOON, "Bytes arrive faster than they are stored.")
        }
    };
    RegisterError => |error| match error {
        RegisterError::Refused(error) => refused(&error),
        RegisterError::Store { .. } | RegisterError::Queue { .. } => Meaning::unavailable("STORE"),
        RegisterError::Unanswered(error) => unanswered(&error),
    };
    HeardError => |error| match error {
        HeardError::Session(_) => Meaning::new(Code::FailedPrecondition, "SESSION_CLOSED"),
        HeardError::Unanswered(error) => unanswered(&error),
    };
    DrainError => |error| match error {
        DrainError::NotFound(_) => Meaning::new(Code::NotFound, "UNKNOWN_EXECUTOR"),
        DrainError::Store { .. } | DrainError::Queue { .. } => Meaning::unavailable("STORE"),
        DrainError::Unanswered(error) => unanswered(&error),
    };
    ForgetError => |error| match error {
        ForgetError::NotFound(_) => Meaning::new(Code::NotFound, "UNKNOWN_EXECUTOR"),
        ForgetError::Heard(_) => Meaning::new(Code::FailedPrecondition, "EXECUTOR_HEARD"),
        ForgetError::Store { .. } | ForgetError::Queue { .. } => Meaning::unavailable("STORE"),
        ForgetError::Unanswered(error) => unanswered(&error),
    };
    ListExecutorsError => |error| match error {
        ListExecutorsError::PageToken(_) => Meaning::page_token(&error),
        ListExecutorsError::Unanswered(error) => unanswered(&error),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::MOST_NAMED;

    #[test]
    fn a_status_fits_into_the_headers_that_clients_take() {
        let huge = "ä".repeat(100_000);
        let faults = vec![Violation::new(huge.clone(), huge.clone()); MOST_NAMED + 1];
        let status = Meaning::invalid("INVALID_REQUEST", faults).status(&huge);
        assert!(status.message().len() <= 1024 && status.message().ends_with('…'));
        assert!(status.details().len() <= 6 * 1024, "{}", status.details().len());
        let details = status.get_error_details();
        assert_eq!(details.bad_request().unwrap().field_violations.len(), MOST_NAMED + 1);
        let headers = status.into_http::<tonic::body::Body>().into_parts().0.headers;
        let size: usize =
            headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        assert!(size < 15 * 1024, "{size} bytes of headers");
    }

    #[test]
    fn a_status_says_why_to_programs_and_what_to_do_to_people() {
        let unanswered = Unanswered::Full { actor: "JobQueue", limit: 1024 };
        let status = Status::from(SubmitError::Unanswered(unanswered));
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.message().contains("1024 calls wait"), "{}", status.message());
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("BUSY", DOMAIN));
        assert_eq!(details.retry_info().unwrap().retry_delay, Some(SOON));
        assert!(details.help().is_some());
    }

    #[test]
    fn faults_keep_their_fields() {
        let faults = vec![Violation::new("arguments.name", "is required and missing")];
        let error = PinError::BadArguments { job: "hello".to_owned(), violations: faults };
        let status = Status::from(SubmitError::Pin(error));
        assert_eq!(status.code(), Code::InvalidArgument);
        let details = status.get_error_details();
        let fault = &details.bad_request().unwrap().field_violations[0];
        assert_eq!(fault.field, "arguments.name");
        assert_eq!(fault.description, "is required and missing");
    }
}
