//! How an attempt ended, in the controller's words: a pure function of what the runner and the controller said.

use crate::runner::{Exit, ExitCause, ExitLog};
use octavius_service::{configuration::Setting as _, text::cut};
use std::time::Duration;

/// The most bytes of a text in a report: the controller refuses longer ones, again and again.
pub(crate) const MOST_TEXT_BYTES: usize = 4096;

/// A final state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The program exited with 0.
    Succeeded,
    /// The program exited otherwise, or never started.
    Failed,
    /// Stopped because somebody asked.
    Cancelled,
    /// Stopped by its time limit.
    TimedOut,
    /// Nobody can say how it ended.
    Lost,
}

/// A whole log, as the controller checks it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WholeLog {
    /// Its size in bytes.
    pub size: u64,
    /// Its CRC-64/XZ.
    pub crc: u64,
    /// What is missing from it, in words; empty where nothing is.
    pub cut: String,
}

/// What is reported of an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The final state.
    pub outcome: Outcome,
    /// For programs: a word; empty where there is none.
    pub code: &'static str,
    /// In words.
    pub reason: String,
    /// The exit code of the program, if it exited.
    pub exit_code: Option<i32>,
    /// The log that belongs to it.
    pub log: WholeLog,
    /// What its user should know besides, and what changes nothing of how it ended; often empty.
    pub note: String,
}

/// What there is to say about an attempt that is over here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Over {
    /// The runner knows how it ended.
    Exited(Exit),
    /// It was let go, and its keeper is gone; with what the runner knows of that.
    KeeperGone(String),
    /// What was prepared for it is gone.
    PreparedGone,
    /// It was stopped before anything was made for it.
    NeverMade,
    /// It could not be made; with the runner's words.
    Refused(String),
}

impl Over {
    /// Whether a program ran: then the controller hears of that before it hears of the end.
    pub fn ran(&self) -> bool {
        match self {
            Self::Exited(exit) => match exit.cause {
                ExitCause::Exited | ExitCause::TimedOut => true,
                ExitCause::Failed { .. } => exit.code.is_some(),
                ExitCause::Stopped | ExitCause::NotStarted { .. } => false,
            },
            Self::KeeperGone(_) | Self::PreparedGone | Self::NeverMade | Self::Refused(_) => false,
        }
    }

    /// What is reported. `timeout` is the attempt's limit, `stop` why it was stopped, and `arrived` what the
    /// controller has of the log where that is all there is.
    pub fn ending(
        &self,
        timeout: Option<Duration>,
        stop: Option<&str>,
        arrived: Option<WholeLog>,
    ) -> Ending {
        let mut log = arrived.unwrap_or_else(|| self.own_log());
        log.cut = cut(log.cut, MOST_TEXT_BYTES);
        let (outcome, code, reason) = match self {
            Self::Exited(exit) => exited(exit, timeout, stop),
            Self::KeeperGone(why) if !why.is_empty() => (Outcome::Lost, "vanished", why.clone()),
            Self::KeeperGone(_) => (
                Outcome::Lost,
                "vanished",
                "what kept watch over the program is gone without a word: whether the program ended, and how, \
                 is not known"
                    .to_owned(),
            ),
            Self::PreparedGone => (
                Outcome::Lost,
                "vanished",
                "what was prepared for this attempt is gone from the executor: whether its program ran is not \
                 known"
                    .to_owned(),
            ),
            Self::NeverMade => (Outcome::Cancelled, "cancelled", stopped(stop, "before it was started")),
            Self::Refused(why) => (Outcome::Failed, "start_failed", why.clone()),
        };
        let exit_code = match self {
            Self::Exited(exit) => exit.code,
            Self::KeeperGone(_) | Self::PreparedGone | Self::NeverMade | Self::Refused(_) => None,
        };
        let reason = cut(reason, MOST_TEXT_BYTES);
        let note = match self {
            Self::Exited(exit) => cut(exit.note.clone(), MOST_TEXT_BYTES),
            Self::KeeperGone(_) | Self::PreparedGone | Self::NeverMade | Self::Refused(_) => {
                String::new()
            }
        };
        Ending { outcome, code, reason, exit_code, log, note }
    }

    fn own_log(&self) -> WholeLog {
        match self {
            Self::Exited(Exit { log: ExitLog::Whole { size, crc, cut }, .. }) => {
                WholeLog { size: *size, crc: *crc, cut: cut.clone() }
            }
            Self::Exited(Exit { log: ExitLog::Followed, .. }) => WholeLog::default(),
            Self::KeeperGone(_) | Self::PreparedGone | Self::NeverMade | Self::Refused(_) => {
                WholeLog::default() // nothing was written: the CRC-64/XZ of no bytes is 0
            }
        }
    }
}

impl Ending {
    /// The end alone, for a controller that cannot take what is said about it: what happened and how large the log is.
    #[must_use]
    pub fn minimal(&self) -> Self {
        let reason =
            "the controller refused what the executor said of this end: see the executor's log";
        let log = WholeLog { cut: String::new(), ..self.log.clone() };
        Self { reason: reason.to_owned(), log, note: String::new(), ..self.clone() }
    }
}

fn exited(
    exit: &Exit,
    timeout: Option<Duration>,
    stop: Option<&str>,
) -> (Outcome, &'static str, String) {
    match (&exit.cause, exit.code, exit.signal) {
        (ExitCause::Exited, Some(0), _) => {
            (Outcome::Succeeded, "", "the program exited with 0".to_owned())
        }
        (ExitCause::Exited, Some(code), _) => {
            (Outcome::Failed, "exit_code", format!("the program exited with {code}"))
        }
        (ExitCause::Exited, None, Some(signal)) => {
            let name = signal_name(signal);
            (Outcome::Failed, "signal", format!("the program was ended by signal {signal}{name}"))
        }
        (ExitCause::Exited, None, None) => {
            (Outcome::Failed, "exit_code", "the program ended without an exit code".to_owned())
        }
        (ExitCause::TimedOut, ..) => {
            let limit = timeout.map_or_else(String::new, |limit| format!(" of {}", limit.shown()));
            (Outcome::TimedOut, "timeout", format!("stopped after its time limit{limit}"))
        }
        (ExitCause::Stopped, ..) => (Outcome::Cancelled, "cancelled", stopped(stop, "")),
        (ExitCause::NotStarted { code, why } | ExitCause::Failed { code, why }, ..) => {
            (Outcome::Failed, *code, why.clone())
        }
    }
}

fn stopped(why: Option<&str>, when: &str) -> String {
    let gap = if when.is_empty() { "" } else { " " };
    match why.filter(|why| !why.is_empty()) {
        Some(why) => format!("stopped{gap}{when}: {why}"),
        None => format!("stopped{gap}{when}"),
    }
}

/// What the common signals are called, in brackets.
fn signal_name(signal: i32) -> &'static str {
    match signal {
        1 => " (SIGHUP)",
        2 => " (SIGINT)",
        3 => " (SIGQUIT)",
        4 => " (SIGILL)",
        6 => " (SIGABRT)",
        7 => " (SIGBUS)",
        8 => " (SIGFPE)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        13 => " (SIGPIPE)",
        15 => " (SIGTERM)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(cause: ExitCause, code: Option<i32>, signal: Option<i32>) -> Over {
        let log = ExitLog::Whole { size: 3, crc: 7, cut: "a gap".to_owned() };
        Over::Exited(Exit { cause, code, signal, log, note: String::new() })
    }

    #[track_caller]
    fn check(over: &Over, outcome: Outcome, code: &str, reason: &str) {
        let ending =
            over.ending(Some(Duration::from_secs(300)), Some("a cancel was asked for"), None);
        assert_eq!((ending.outcome, ending.code, &*ending.reason), (outcome, code, reason));
    }

    #[test]
    fn an_end_is_told_with_its_cause() {
        use ExitCause::{Exited, Failed, NotStarted, Stopped, TimedOut};
        let ended = |code, signal| exit(Exited, code, signal);
        check(&ended(Some(0), None), Outcome::Succeeded, "", "the program exited with 0");
        check(&ended(Some(3), None), Outcome::Failed, "exit_code", "the program exited with 3");
        let killed = "the program was ended by signal 9 (SIGKILL)";
        check(&ended(None, Some(9)), Outcome::Failed, "signal", killed);
        let late = "stopped after its time limit of 5m";
        check(&exit(TimedOut, Some(0), None), Outcome::TimedOut, "timeout", late);
        let cancelled = "stopped: a cancel was asked for";
        check(&exit(Stopped, Some(143), None), Outcome::Cancelled, "cancelled", cancelled);
        let missing =
            NotStarted { code: "start_failed", why: "there is no program `x`".to_owned() };
        check(
            &exit(missing, None, None),
            Outcome::Failed,
            "start_failed",
            "there is no program `x`",
        );
        let memory = Failed { code: "oom_killed", why: "killed for memory".to_owned() };
        let memory = exit(memory, Some(137), None);
        check(&memory, Outcome::Failed, "oom_killed", "killed for memory");
        assert!(memory.ran(), "what has an exit code ran");
        let early = "stopped before it was started: a cancel was asked for";
        check(&Over::NeverMade, Outcome::Cancelled, "cancelled", early);
        check(&Over::Refused("no".to_owned()), Outcome::Failed, "start_failed", "no");
        let gone = Over::KeeperGone(String::new()).ending(None, None, None);
        assert!(gone.code == "vanished" && gone.reason.starts_with("what kept watch"), "{gone:?}");
        check(
            &Over::KeeperGone("its Job is gone".to_owned()),
            Outcome::Lost,
            "vanished",
            "its Job is gone",
        );
        assert_eq!(Over::PreparedGone.ending(None, None, None).outcome, Outcome::Lost);
    }

    #[test]
    fn the_exit_code_stands_beside_every_cause_that_has_one() {
        let late = exit(ExitCause::TimedOut, Some(0), None).ending(None, None, None);
        assert_eq!((late.outcome, late.exit_code), (Outcome::TimedOut, Some(0)));
        assert_eq!(late.reason, "stopped after its time limit");
    }

    #[test]
    fn a_text_of_any_length_is_cut_to_what_the_controller_takes() {
        let ending = Over::Refused("é".repeat(5000)).ending(None, None, None);
        assert!(ending.reason.len() <= MOST_TEXT_BYTES && ending.reason.ends_with("é…"));
    }

    #[test]
    fn what_the_runner_notes_besides_changes_no_outcome() {
        let note = "a process of it was killed for memory".to_owned();
        let over = match exit(ExitCause::Exited, Some(0), None) {
            Over::Exited(exit) => Over::Exited(Exit { note: note.clone(), ..exit }),
            over => over,
        };
        let ending = over.ending(None, None, None);
        assert_eq!((ending.outcome, ending.note), (Outcome::Succeeded, note));
    }

    #[test]
    fn what_arrived_stands_in_for_a_log_that_is_not_whole() {
        let over = exit(ExitCause::Exited, Some(0), None);
        let whole = WholeLog { size: 3, crc: 7, cut: "a gap".to_owned() };
        assert_eq!(over.ending(None, None, None).log, whole);
        let arrived = WholeLog { size: 2, crc: 5, cut: "the end is gone".to_owned() };
        assert_eq!(over.ending(None, None, Some(arrived.clone())).log, arrived);
    }
}
