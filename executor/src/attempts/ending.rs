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

/// What may have stopped an attempt.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stops<'a> {
    /// Its time limit.
    pub timeout: Option<Duration>,
    /// For how long its program may run on while the controller answers nothing.
    pub unheard: Option<Duration>,
    /// Why the controller, or whoever ends this executor, asked for it; none: nobody did.
    pub asked: Option<&'a str>,
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

    /// The same, with the words of others as `shown` makes them. Whole: it has to come before they are cut.
    #[must_use]
    pub fn in_words(self, shown: impl Fn(String) -> String) -> Self {
        let shown = |words: String| if words.is_empty() { words } else { shown(words) };
        match self {
            Self::Exited(Exit { cause, code, signal, log, note }) => {
                let cause = match cause {
                    ExitCause::NotStarted { code, why } => {
                        ExitCause::NotStarted { code, why: shown(why) }
                    }
                    ExitCause::Failed { code, why } => ExitCause::Failed { code, why: shown(why) },
                    ExitCause::Exited | ExitCause::TimedOut | ExitCause::Stopped => cause,
                };
                Self::Exited(Exit { cause, code, signal, log, note: shown(note) })
            }
            Self::KeeperGone(why) => Self::KeeperGone(shown(why)),
            Self::Refused(why) => Self::Refused(shown(why)),
            Self::PreparedGone | Self::NeverMade => self,
        }
    }

    /// What is reported. `arrived` is what the controller has of the log where that is all there is.
    pub fn ending(&self, stops: Stops<'_>, arrived: Option<WholeLog>) -> Ending {
        let own = self.own_log();
        let mut log = match arrived {
            Some(arrived) if arrived.cut.is_empty() => WholeLog { cut: own.cut, ..arrived },
            Some(arrived) => arrived,
            None => own,
        };
        log.cut = cut(log.cut, MOST_TEXT_BYTES);
        let (outcome, code, reason) = match self {
            Self::Exited(exit) => exited(exit, stops),
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
            Self::NeverMade => (Outcome::Cancelled, "cancelled", stopped(stops.asked, "before it was started")),
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

fn exited(exit: &Exit, stops: Stops<'_>) -> (Outcome, &'static str, String) {
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
            let limit =
                stops.timeout.map_or_else(String::new, |limit| format!(" of {}", limit.shown()));
            (Outcome::TimedOut, "timeout", format!("stopped after its time limit{limit}"))
        }
        (ExitCause::Stopped, ..) => match (stops.asked, stops.unheard) {
            // Nobody asked, or whoever knew of it is gone: then it was the silence.
            (None, Some(limit)) => (Outcome::Lost, "unheard", unheard(limit)),
            (asked, _) => (Outcome::Cancelled, "cancelled", stopped(asked, "")),
        },
        (ExitCause::NotStarted { code, why } | ExitCause::Failed { code, why }, ..) => {
            (Outcome::Failed, *code, why.clone())
        }
    }
}

fn unheard(limit: Duration) -> String {
    format!(
        "stopped by its executor, which had no answer of the controller for {}: another attempt may have begun by \
         then, since what is lost is tried again",
        limit.shown()
    )
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

    fn limits() -> Stops<'static> {
        let (timeout, unheard) = (Duration::from_secs(300), Duration::from_secs(450));
        Stops { timeout: Some(timeout), unheard: Some(unheard), asked: None }
    }

    #[track_caller]
    fn check(over: &Over, outcome: Outcome, code: &str, reason: &str) {
        let ending = over.ending(Stops { asked: Some("a cancel was asked for"), ..limits() }, None);
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
        let gone = Over::KeeperGone(String::new()).ending(Stops::default(), None);
        assert!(gone.code == "vanished" && gone.reason.starts_with("what kept watch"), "{gone:?}");
        check(
            &Over::KeeperGone("its Job is gone".to_owned()),
            Outcome::Lost,
            "vanished",
            "its Job is gone",
        );
        assert_eq!(Over::PreparedGone.ending(Stops::default(), None).outcome, Outcome::Lost);
    }

    #[test]
    fn what_nobody_asked_to_stop_was_stopped_for_silence_and_is_lost() {
        let stopped = exit(ExitCause::Stopped, Some(143), None);
        let ending = stopped.ending(limits(), None);
        assert_eq!((ending.outcome, ending.code), (Outcome::Lost, "unheard"));
        assert!(ending.reason.contains("no answer of the controller for 450s"), "{ending:?}");
        let unlimited = Stops { unheard: None, ..limits() };
        assert_eq!(stopped.ending(unlimited, None).outcome, Outcome::Cancelled);
        // One that came to its own end while it was to be stopped has that.
        let own = exit(ExitCause::Exited, Some(0), None).ending(limits(), None);
        assert_eq!(own.outcome, Outcome::Succeeded);
    }

    #[test]
    fn the_exit_code_stands_beside_every_cause_that_has_one() {
        let late = exit(ExitCause::TimedOut, Some(0), None).ending(Stops::default(), None);
        assert_eq!((late.outcome, late.exit_code), (Outcome::TimedOut, Some(0)));
        assert_eq!(late.reason, "stopped after its time limit");
    }

    #[test]
    fn a_text_of_any_length_is_cut_to_what_the_controller_takes() {
        let ending = Over::Refused("é".repeat(5000)).ending(Stops::default(), None);
        assert!(ending.reason.len() <= MOST_TEXT_BYTES && ending.reason.ends_with("é…"));
    }

    #[test]
    fn what_the_runner_notes_besides_changes_no_outcome() {
        let note = "a process of it was killed for memory".to_owned();
        let over = match exit(ExitCause::Exited, Some(0), None) {
            Over::Exited(exit) => Over::Exited(Exit { note: note.clone(), ..exit }),
            over => over,
        };
        let ending = over.ending(Stops::default(), None);
        assert_eq!((ending.outcome, ending.note), (Outcome::Succeeded, note));
    }

    #[test]
    fn words_of_others_are_shown_as_they_may_be() {
        let hidden = |over: Over| {
            let over = over.in_words(|words| words.replace("planted", "[masked]"));
            let Ending { reason, note, .. } = over.ending(Stops::default(), None);
            (reason, note)
        };
        let why = || "no image planted".to_owned();
        for over in [
            exit(ExitCause::Failed { code: "image", why: why() }, None, None),
            exit(ExitCause::NotStarted { code: "image", why: why() }, None, None),
            Over::KeeperGone(why()),
            Over::Refused(why()),
        ] {
            assert_eq!(hidden(over).0, "no image [masked]");
        }
        let noted = match exit(ExitCause::Exited, Some(0), None) {
            Over::Exited(exit) => Over::Exited(Exit { note: why(), ..exit }),
            over => over,
        };
        let shown = hidden(noted);
        assert_eq!(shown, ("the program exited with 0".to_owned(), "no image [masked]".to_owned()));
        let long = Over::Refused("é".repeat(MOST_TEXT_BYTES / 2 - 3) + "planted");
        assert!(!hidden(long).0.contains("pl"), "a part of a value is left where words are cut");
    }

    #[test]
    fn what_arrived_stands_in_for_a_log_that_is_not_whole() {
        let over = exit(ExitCause::Exited, Some(0), None);
        let whole = WholeLog { size: 3, crc: 7, cut: "a gap".to_owned() };
        assert_eq!(over.ending(Stops::default(), None).log, whole);
        let arrived = WholeLog { size: 2, crc: 5, cut: "the end is gone".to_owned() };
        assert_eq!(over.ending(Stops::default(), Some(arrived.clone())).log, arrived);
        // One that was masked on its way lacks what it lacked before.
        let masked = WholeLog { size: 2, crc: 5, cut: String::new() };
        let told = WholeLog { cut: "a gap".to_owned(), ..masked.clone() };
        assert_eq!(over.ending(Stops::default(), Some(masked)).log, told);
    }
}
