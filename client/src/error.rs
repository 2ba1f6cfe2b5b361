//! What can go wrong between a wish and its answer, kept apart by who can do something about it.
//!
//! `Display` is for people: what, where, remedy, each violation on a line of its own. It never prints its source.

use crate::fault::Faults;
use octavius_protocol::{DOMAIN, reach::ReachError};
use std::{collections::BTreeMap, error::Error as StdError, fmt, path::PathBuf, time::Duration};
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Why a wish was not met.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was given is wrong; nothing was sent.
    #[error("{0}")]
    Given(#[from] Faults),
    /// The settings do not say whom to ask, or how.
    #[error("{0}")]
    Settings(String),
    /// A file could not be read or written.
    #[error("{path} cannot be {attempted}: {cause}", path = path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What was tried: `read` or `written`.
        attempted: &'static str,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// The controller answered, and the answer is no.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// Nobody answered in time. Whether the wish was met is not known.
    #[error("{silence}{earlier}", silence = Unanswered { address, silence }, earlier = InBrackets(earlier))]
    Unanswered {
        /// Who was asked; of several, all with commas between them.
        address: String,
        /// What was heard instead of an answer.
        silence: Silence,
        /// What a try before that came to, where one has to know that as well.
        earlier: Option<String>,
    },
}

/// Who can do something about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The caller: something given is wrong here.
    Usage,
    /// The controller refused.
    Refused,
    /// Nobody answered in time.
    Unanswered,
}

impl Error {
    /// Who can do something about it.
    pub fn kind(&self) -> Kind {
        match self {
            Error::Given(_) | Error::Settings(_) | Error::File { .. } => Kind::Usage,
            Error::Refused(_) => Kind::Refused,
            Error::Unanswered { .. } => Kind::Unanswered,
        }
    }

    /// What a call to `address` came to that ended with `status`.
    pub(crate) fn from_status(address: &str, status: &Status, timeout: Duration) -> Self {
        match Silence::of(status, timeout) {
            Some(silence) => {
                Error::Unanswered { address: address.to_owned(), silence, earlier: None }
            }
            None => Error::Refused(Box::new(Refusal::of(status))),
        }
    }

    /// The same, which tells of a try before that, too. An answer stays as it is.
    pub(crate) fn after(mut self, before: &Error) -> Self {
        if let Error::Unanswered { earlier, .. } = &mut self {
            *earlier = Some(match before {
                Error::Unanswered { silence: Silence::NoConnection(cause), .. } => {
                    format!("before that no connection came about: {cause}")
                }
                Error::Unanswered { silence: Silence::Broken(cause), .. } => {
                    format!("before that it was sent, and may have been done: {cause}")
                }
                Error::Unanswered { silence: Silence::Unavailable(cause), .. } => {
                    format!("before that it could not answer: {cause}")
                }
                other => format!("before that: {other}"),
            });
        }
        self
    }
}

/// A no of the controller, with its details.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status code.
    pub code: Code,
    /// What is wrong, and what to do.
    pub message: String,
    /// The same for programs, such as `UNKNOWN_JOB`; empty where there is none.
    pub reason: String,
    /// What is wrong with which field of the request.
    pub violations: Vec<Violation>,
    /// What may help.
    pub help: Vec<String>,
    /// What programs need to know with the reason, by its name.
    pub told: BTreeMap<String, String>,
}

/// What is wrong with one field of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which field.
    pub field: String,
    /// What is wrong with it, and what to do.
    pub description: String,
}

impl Refusal {
    /// Whether it says nothing of what was asked for: there was no room for it, or it did not come as a whole.
    pub(crate) fn passes(&self) -> bool {
        matches!(self.code, Code::ResourceExhausted | Code::DeadlineExceeded)
    }

    fn of(status: &Status) -> Self {
        let details = status.get_error_details();
        let violations = details.bad_request().map(|found| &found.field_violations);
        let links = details.help().map(|help| &help.links);
        Self {
            code: status.code(),
            message: status.message().to_owned(),
            reason: details.error_info().map(|info| info.reason.clone()).unwrap_or_default(),
            violations: violations
                .into_iter()
                .flatten()
                .map(|found| Violation {
                    field: found.field.clone(),
                    description: found.description.clone(),
                })
                .collect(),
            help: links
                .into_iter()
                .flatten()
                .map(|link| format!("{} {}", link.description, link.url).trim().to_owned())
                .collect(),
            told: details
                .error_info()
                .map(|info| info.metadata.clone().into_iter().collect())
                .unwrap_or_default(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message.as_str() {
            "" => write!(f, "the controller refused: {}", self.code.description())?,
            message => f.write_str(message)?,
        }
        for Violation { field, description } in &self.violations {
            match field.as_str() {
                _ if *description == self.message => {} // it is not said twice
                "" => write!(f, "\n  {description}")?,
                field => write!(f, "\n  `{field}` {description}")?,
            }
        }
        self.help.iter().try_for_each(|help| write!(f, "\n  {help}"))
    }
}

/// What was heard instead of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Silence {
    /// No connection came about: what the system said.
    NoConnection(String),
    /// Somebody is there, and TLS stands between: what to do about it.
    Tls(String),
    /// The connection broke before the answer: what the transport said.
    Broken(String),
    /// Nothing came within this time.
    Late(Duration),
    /// The controller said that it cannot answer at present, and why.
    Unavailable(String),
}

impl Silence {
    /// The silence that `status` stands for; none where it is an answer.
    pub(crate) fn of(status: &Status, timeout: Duration) -> Option<Self> {
        if let Some(nobody) = ReachError::of(status) {
            let text = nobody.to_string();
            return Some(match nobody.is_about_tls() {
                true => Silence::Tls(text),
                false => Silence::NoConnection(text),
            });
        }
        // Only what was made on this side has a source: a status from the wire is an answer.
        let mut chain = std::iter::successors(status.source(), |&error| error.source());
        if chain.any(|error| error.is::<tonic::TimeoutExpired>()) {
            return Some(Silence::Late(timeout));
        }
        if let Some(error) = status.source() {
            let mut chain = std::iter::successors(Some(error), |&error| error.source());
            let connecting = chain.any(|error| error.is::<tonic::ConnectError>());
            let root = root_cause(error);
            return Some(if connecting {
                Silence::NoConnection(root)
            } else {
                Silence::Broken(root)
            });
        }
        match status.code() {
            Code::Unavailable => Some(Silence::Unavailable(status.message().to_owned())),
            // What the controller says in words of its own is an answer. The server's side of the deadline has none, and
            // says CANCELLED.
            Code::DeadlineExceeded | Code::Cancelled if reason(status).is_none() => {
                Some(Silence::Late(timeout))
            }
            _ => None,
        }
    }
}

/// Why, in the controller's words for programs; none where the status is not of its making.
pub(crate) fn reason(status: &Status) -> Option<String> {
    let info = status.get_details_error_info().filter(|info| info.domain == DOMAIN)?;
    Some(info.reason)
}

fn root_cause(error: &(dyn StdError + 'static)) -> String {
    std::iter::successors(Some(error), |&error| error.source()).last().unwrap_or(error).to_string()
}

struct InBrackets<'a>(&'a Option<String>);

impl fmt::Display for InBrackets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|text| write!(f, " ({text})"))
    }
}

struct Unanswered<'a> {
    address: &'a str,
    silence: &'a Silence,
}

impl fmt::Display for Unanswered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, silence } = self;
        let address = address.replace(',', " or ");
        match silence {
            Silence::NoConnection(cause) => write!(
                f,
                "nobody answers at {address} ({cause}): start one there with `controller start`, or name another with `octavius config --cp-host HOST:PORT`"
            ),
            Silence::Tls(why) => write!(f, "{address} cannot be asked: {why}"),
            Silence::Broken(cause) => write!(
                f,
                "the connection to {address} broke before the answer came ({cause}): try again in a moment"
            ),
            Silence::Late(after) => write!(
                f,
                "{address} did not answer within {}s: try again, or allow more with CONNECTION_TIMEOUT_SECS",
                after.as_secs_f32()
            ),
            Silence::Unavailable(message) => {
                write!(f, "the controller at {address} cannot answer at present: {message}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_types::ErrorDetails;

    #[test]
    fn each_violation_has_its_own_line() {
        let mut details = ErrorDetails::new();
        details.add_bad_request_violation("arguments.name", "is missing: add `name=VALUE`");
        details.add_bad_request_violation("arguments.nmae", "is not declared: write `name`");
        details.set_error_info("INVALID_ARGUMENTS", "octavius", []);
        details.add_help_link("`octavius describe greet` shows the arguments", "");
        let status = Status::with_error_details(
            Code::InvalidArgument,
            "2 arguments of `greet` are wrong",
            details,
        );
        let error = Error::from_status("http://localhost:3000", &status, Duration::from_secs(10));
        assert_eq!(error.kind(), Kind::Refused);
        insta::assert_snapshot!(error, @r"
        2 arguments of `greet` are wrong
          `arguments.name` is missing: add `name=VALUE`
          `arguments.nmae` is not declared: write `name`
          `octavius describe greet` shows the arguments
        ");
    }

    #[test]
    fn a_code_without_words_still_says_something() {
        let error = Error::from_status("a", &Status::new(Code::Internal, ""), Duration::ZERO);
        insta::assert_snapshot!(error, @"the controller refused: Internal error");
    }

    #[test]
    fn silence_is_told_apart_from_an_answer() {
        let timeout = Duration::from_secs(10);
        let unavailable = Status::unavailable("the queue starts again");
        assert_eq!(
            Silence::of(&unavailable, timeout),
            Some(Silence::Unavailable("the queue starts again".to_owned()))
        );
        let late = Status::deadline_exceeded("");
        assert_eq!(Silence::of(&late, timeout), Some(Silence::Late(timeout)));
        let stopped = "nothing more of the request came for 20s: send it again";
        let said_by = |domain: &str| {
            let details = ErrorDetails::with_error_info("STOPPED", domain, []);
            Status::with_error_details(Code::DeadlineExceeded, stopped, details)
        };
        let error = Error::from_status("a", &said_by(DOMAIN), timeout);
        assert_eq!((error.kind(), error.to_string().as_str()), (Kind::Refused, stopped));
        assert_eq!(Silence::of(&said_by("a.proxy"), timeout), Some(Silence::Late(timeout)));
        for answer in [Code::NotFound, Code::ResourceExhausted, Code::Internal, Code::Unknown] {
            assert_eq!(Silence::of(&Status::new(answer, ""), timeout), None, "{answer:?}");
        }
    }
}
