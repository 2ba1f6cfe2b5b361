//! How the process ends: one number for each of those who can do something about it.

use crate::render::text::{one_line, paragraph};
use octavius_client::{
    Error, Kind, duration,
    v1::{Execution, ExecutionState},
};
use octavius_protocol::code_name;
use serde_json::{Value, json};
use std::{io, process::ExitCode, time::Duration};

/// What the process ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// What was asked for is done.
    Done,
    /// The execution that was waited for ended otherwise than `succeeded`.
    NotSucceeded,
    /// Something given is wrong here, or this machine does not play along.
    Usage,
    /// The controller refused.
    Refused,
    /// Nobody answered in time.
    Unanswered,
    /// The user interrupted.
    Interrupted,
    /// What the program of the execution that was waited for ended with.
    Program(u8),
}

impl Exit {
    /// How a command ends that waited for `execution` until it was final.
    pub(crate) fn of(execution: &Execution) -> Self {
        match execution.state() {
            ExecutionState::Succeeded => Exit::Done,
            _ => Exit::NotSucceeded,
        }
    }

    /// How a command ends that hands on the code of the execution's own program. Where the program did not end by
    /// itself there is none, and a 0 of one that was stopped is no success.
    pub(crate) fn with_code_of(execution: &Execution) -> Self {
        let code = execution.exit_code.and_then(|code| u8::try_from(code).ok());
        match (execution.state(), code) {
            (ExecutionState::Succeeded, _) => Exit::Done,
            (_, None | Some(0)) => Exit::Program(Self::NO_CODE),
            (_, Some(code)) => Exit::Program(code),
        }
    }

    /// What stands for a code where there is none.
    const NO_CODE: u8 = 125;

    /// The status that scripts see.
    pub(crate) fn status(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::NotSucceeded => 1,
            Exit::Usage => 2,
            Exit::Refused => 3,
            Exit::Unanswered => 4,
            Exit::Interrupted => 130,
            Exit::Program(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.status())
    }
}

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was given cannot be meant: what is wrong, and what to write instead.
    Usage(String),
    /// The controller knows nothing that is meant by what was given.
    Unknown(String),
    /// Somebody else than the controller, who was asked, did not answer as one can go on with.
    Unanswered(String),
    /// The client says why.
    Client(Error),
    /// Who read the output has left: there is nobody to tell.
    ReaderLeft,
    /// The output, or a question to the user, did not work.
    Terminal(io::Error),
    /// The user does not want to go on.
    Interrupted,
    /// What was waited for took longer than the user wanted to wait: for how long that was, and what goes on.
    Waited { limit: Duration, goes_on: String },
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Client(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::ReaderLeft,
            io::ErrorKind::Interrupted => Failure::Interrupted,
            _ => Failure::Terminal(error),
        }
    }
}

impl Failure {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Failure::Usage(_) | Failure::Terminal(_) => Exit::Usage,
            Failure::Unknown(_) => Exit::Refused,
            Failure::ReaderLeft => Exit::Done,
            Failure::Interrupted => Exit::Interrupted,
            Failure::Waited { .. } | Failure::Unanswered(_) => Exit::Unanswered,
            Failure::Client(error) => match error.kind() {
                Kind::Usage => Exit::Usage,
                Kind::Refused => Exit::Refused,
                Kind::Unanswered => Exit::Unanswered,
            },
        }
    }

    /// What people are told; nothing where there is nobody to tell. Text of others cannot steer the terminal.
    pub(crate) fn text(&self) -> Option<String> {
        match self {
            Failure::Usage(problem) | Failure::Unknown(problem) | Failure::Unanswered(problem) => {
                Some(paragraph(problem))
            }
            Failure::Client(error) => Some(paragraph(&error.to_string())),
            Failure::Terminal(error) => {
                Some(format!("the terminal or the output cannot be used: {error}"))
            }
            Failure::Waited { limit, goes_on } => Some(paragraph(&waited(*limit, goes_on))),
            Failure::ReaderLeft | Failure::Interrupted => None,
        }
    }

    /// What programs are told: the one document of a command that failed.
    pub(crate) fn document(&self) -> Option<Value> {
        let mut error = json!({ "kind": self.kind(), "message": self.message()? });
        match self {
            Failure::Client(Error::Refused(refusal)) => {
                error["code"] = json!(code_name(refusal.code));
                error["reason"] = json!(refusal.reason);
                let violations = refusal.violations.iter();
                error["violations"] = violations
                    .map(|found| json!({"field": found.field, "description": found.description}))
                    .collect();
                error["help"] = json!(refusal.help);
            }
            Failure::Client(Error::Given(faults)) => {
                error["source"] = json!(faults.source);
                let list = faults.list.iter();
                error["violations"] = list
                    .map(|fault| json!({"field": fault.key, "description": fault.problem}))
                    .collect();
            }
            Failure::Client(Error::Unanswered { address, .. }) => error["address"] = json!(address),
            _ => {}
        }
        Some(json!({ "error": error }))
    }

    fn message(&self) -> Option<String> {
        match self {
            Failure::Usage(problem) | Failure::Unknown(problem) | Failure::Unanswered(problem) => {
                Some(problem.clone())
            }
            Failure::Client(Error::Refused(refusal)) => Some(refusal.message.clone()),
            Failure::Client(error) => Some(error.to_string()),
            Failure::Terminal(error) => Some(one_line(&error.to_string())),
            Failure::Interrupted => Some("interrupted".to_owned()),
            Failure::Waited { limit, goes_on } => Some(waited(*limit, goes_on)),
            Failure::ReaderLeft => None,
        }
    }

    fn kind(&self) -> &'static str {
        match self.exit() {
            _ if matches!(self, Failure::Waited { .. }) => "timeout",
            Exit::Refused => "refused",
            Exit::Unanswered => "unanswered",
            Exit::Interrupted => "interrupted",
            Exit::Done | Exit::NotSucceeded | Exit::Usage | Exit::Program(_) => "usage",
        }
    }
}

fn waited(limit: Duration, goes_on: &str) -> String {
    format!("not over after {}: {goes_on}", duration::text(limit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use octavius_client::{Fault, Faults, Refusal, Silence, Violation};
    use std::collections::BTreeMap;

    fn refused() -> Failure {
        Failure::Client(Error::Refused(Box::new(Refusal {
            code: tonic::Code::NotFound,
            message: "there is no job `gr\u{1b}[31meet`".to_owned(),
            reason: "UNKNOWN_JOB".to_owned(),
            violations: vec![Violation {
                field: "job".to_owned(),
                description: "is unknown".to_owned(),
            }],
            help: vec!["`octavius list` shows the jobs".to_owned()],
            told: BTreeMap::new(),
        })))
    }

    #[test]
    fn each_failure_has_the_status_of_the_contract() {
        let unanswered = Error::Unanswered {
            address: "a".to_owned(),
            silence: Silence::Broken("b".to_owned()),
            earlier: None,
        };
        let given = Faults { source: "f".to_owned(), list: vec![Fault::new("k", "is wrong")] };
        let broken_pipe = io::Error::from(io::ErrorKind::BrokenPipe);
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let statuses = [
            (refused(), 3),
            (Failure::Client(unanswered), 4),
            (Failure::Client(Error::Given(given)), 2),
            (Failure::Usage("x".to_owned()), 2),
            (Failure::Unknown("x".to_owned()), 3),
            (Failure::Unanswered("x".to_owned()), 4),
            (broken_pipe.into(), 0),
            (full.into(), 2),
            (Failure::Interrupted, 130),
            (Failure::Waited { limit: Duration::from_secs(5), goes_on: String::new() }, 4),
        ];
        for (failure, status) in statuses {
            assert_eq!(failure.exit().status(), status, "{failure:?}");
        }
    }

    #[test]
    fn the_code_of_a_program_is_handed_on_where_it_ended_by_itself() {
        use ExecutionState::*;
        let ended = |state: ExecutionState, exit_code| {
            let execution = Execution { state: state.into(), exit_code, ..Execution::default() };
            (Exit::of(&execution).status(), Exit::with_code_of(&execution).status())
        };
        assert_eq!(ended(Succeeded, Some(0)), (0, 0));
        assert_eq!(ended(Failed, Some(7)), (1, 7));
        assert_eq!(ended(Failed, Some(255)), (1, 255));
        assert_eq!(ended(Failed, None), (1, 125), "it could not be started");
        assert_eq!(ended(TimedOut, Some(0)), (1, 125), "it took the stop for a wish to end well");
        assert_eq!(ended(TimedOut, Some(143)), (1, 143));
        assert_eq!(ended(Cancelled, None), (1, 125));
        assert_eq!(ended(Lost, None), (1, 125));
    }

    #[test]
    fn people_are_told_line_by_line_and_their_terminal_is_not_steered() {
        insta::assert_snapshot!(refused().text().unwrap(), @r"
        there is no job `gr\u{1b}[31meet`
          `job` is unknown
          `octavius list` shows the jobs
        ");
    }

    #[test]
    fn programs_get_one_document() {
        insta::assert_json_snapshot!(refused().document().unwrap(), @r#"
        {
          "error": {
            "code": "NOT_FOUND",
            "help": [
              "`octavius list` shows the jobs"
            ],
            "kind": "refused",
            "message": "there is no job `gr\u001b[31meet`",
            "reason": "UNKNOWN_JOB",
            "violations": [
              {
                "description": "is unknown",
                "field": "job"
              }
            ]
          }
        }
        "#);
    }
}
