//! The end of an attempt as its Job keeps it, so that an executor that comes later tells the same.

use super::{super::names::ENDED, Seen, code};
use crate::runner::{Exit, ExitCause, ExitLog, Phase};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Told {
    cause: Cause,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    note: String,
    /// Whether there is a log that can be followed.
    log: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Cause {
    Exited,
    TimedOut,
    Stopped,
    NotStarted { code: String, why: String },
    Failed { code: String, why: String },
    Vanished(String),
}

/// What the Job says of the end, if it does.
pub(super) fn read(seen: &Seen) -> Option<Phase> {
    let text = super::super::names::annotation(&seen.any_job()?.metadata, ENDED)?;
    let told: Told = serde_json::from_str(text).ok()?;
    let known = |code: &str| code::ALL.iter().copied().find(|known| *known == code);
    let cause = match told.cause {
        Cause::Vanished(words) => return Some(Phase::Vanished(words)),
        Cause::Exited => ExitCause::Exited,
        Cause::TimedOut => ExitCause::TimedOut,
        Cause::Stopped => ExitCause::Stopped,
        Cause::NotStarted { code, why } => ExitCause::NotStarted { code: known(&code)?, why },
        Cause::Failed { code, why } => ExitCause::Failed { code: known(&code)?, why },
    };
    let log = if told.log { ExitLog::Followed } else { ExitLog::NOTHING };
    Some(Phase::Ended(Exit { cause, code: told.exit_code, signal: None, log, note: told.note }))
}

/// An end as the Job is to say it; none for what is no end.
pub(super) fn written(phase: &Phase) -> Option<String> {
    let told = match phase {
        Phase::Ended(exit) => Told {
            cause: match &exit.cause {
                ExitCause::Exited => Cause::Exited,
                ExitCause::TimedOut => Cause::TimedOut,
                ExitCause::Stopped => Cause::Stopped,
                ExitCause::NotStarted { code, why } => {
                    Cause::NotStarted { code: (*code).to_owned(), why: why.clone() }
                }
                ExitCause::Failed { code, why } => {
                    Cause::Failed { code: (*code).to_owned(), why: why.clone() }
                }
            },
            exit_code: exit.code,
            note: exit.note.clone(),
            log: exit.log == ExitLog::Followed,
        },
        Phase::Vanished(words) => {
            let cause = Cause::Vanished(words.clone());
            Told { cause, exit_code: None, note: String::new(), log: true }
        }
        Phase::Prepared | Phase::Starting(_) | Phase::Running | Phase::Unseen(_) => return None,
    };
    serde_json::to_string(&told).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::kubernetes::seen::fixtures::went;
    use std::sync::Arc;

    #[test]
    fn an_end_is_read_as_it_was_written_whatever_its_code() {
        let of = |cause| {
            Phase::Ended(Exit {
                cause,
                code: None,
                signal: None,
                log: ExitLog::Followed,
                note: String::new(),
            })
        };
        let each = code::ALL.iter().flat_map(|&code| {
            let why = "words".to_owned();
            [
                of(ExitCause::NotStarted { code, why: why.clone() }),
                of(ExitCause::Failed { code, why }),
            ]
        });
        for end in each {
            let mut seen = went();
            let job = Arc::make_mut(seen.job.as_mut().unwrap());
            let annotations = job.metadata.annotations.as_mut().unwrap();
            annotations.insert(ENDED.to_owned(), written(&end).unwrap());
            assert_eq!(read(&seen), Some(end));
        }
    }
}
