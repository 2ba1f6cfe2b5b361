//! What an attempt runs on. One trait, two kinds, `process` and `kubernetes`, and one conformance suite.
//!
//! The two phases keep promise 2. *Prepare* makes what cannot run yet, and names it for ever; the executor tells the
//! controller that name; only when that is on disk may it *go*. Who finds an attempt prepared may let it go; who
//! finds it gone says `lost` and never makes it again.

#[cfg(feature = "kubernetes")]
pub mod kubernetes;
pub mod process;
#[cfg(any(test, feature = "fault-injection"))]
pub mod suite;

use async_trait::async_trait;
use bytes::Bytes;
use octavius_protocol::{
    id::{AttemptId, Epoch},
    secret::SecretValues,
};
use std::{collections::BTreeMap, fmt, time::Duration};
use tokio::sync::watch;

/// All that it takes to run one attempt. Its `Debug` shows no values of arguments: they may be secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Work {
    /// Which attempt.
    pub attempt: AttemptId,
    /// By which grant.
    pub epoch: Epoch,
    /// The job's name.
    pub job: String,
    /// Who asked for the execution.
    pub user: String,
    /// The container image; of no use to the kind `process`.
    pub image_name: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Environment variables by name.
    pub arguments: BTreeMap<String, String>,
    /// Environment variables that nobody may see. No runner keeps them with the rest. None: it has some, and they are
    /// not here: they were in the memory of an earlier process.
    pub secrets: Option<SecretValues>,
    /// How long the program may run; none: no limit.
    pub timeout: Option<Duration>,
    /// How long after a terminate a kill follows.
    pub grace: Duration,
    /// For how long the program may run on while the controller answers nothing; none: no limit.
    pub stop_if_unheard: Option<Duration>,
    /// The namespace that the job names; none: as the executor's file says. As all that follows here, of use to the kind
    /// `kubernetes` alone.
    pub namespace: Option<String>,
    /// What the program needs.
    pub resources: Resources,
    /// The job's partial pod template: a JSON object, or empty.
    pub template: String,
    /// How long it may take from its grant until its program runs; none: nobody says, or it is not known any more.
    pub start_timeout: Option<Duration>,
    /// The id of the installation that granted it; empty: it is not known any more.
    pub installation: String,
}

/// What a program needs, in Kubernetes' words: `cpu` to `500m`, `memory` to `1Gi`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// What is set aside for it.
    pub requests: BTreeMap<String, String>,
    /// What it gets at the most.
    pub limits: BTreeMap<String, String>,
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { attempt, epoch, job, user, image_name, command, arguments, .. } = self;
        let Self { secrets, timeout, grace, stop_if_unheard, .. } = self;
        let Self { namespace, resources, start_timeout, .. } = self;
        f.debug_struct("Work")
            .field("attempt", attempt)
            .field("epoch", epoch)
            .field("job", job)
            .field("user", user)
            .field("image_name", image_name)
            .field("command", command)
            .field("arguments", &arguments.keys())
            .field("secrets", secrets)
            .field("timeout", timeout)
            .field("grace", grace)
            .field("stop_if_unheard", stop_if_unheard)
            .field("namespace", namespace)
            .field("resources", resources)
            .field("start_timeout", start_timeout)
            .finish_non_exhaustive()
    }
}

/// What a runner made for an attempt, by the name that it has for ever.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity(pub String);

/// How far an attempt is, as the runner finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Made, and unable to run yet.
    Prepared,
    /// Let go, and its program is not known to run: what it waits for, in the words of what it waits for; empty where
    /// nothing is known.
    Starting(String),
    /// The program runs.
    Running,
    /// The program ran when it was last seen, and why it is not known at present whether it still does. It may be seen again.
    Unseen(String),
    /// It is over.
    Ended(Exit),
    /// It was let go, and nobody can say how it ended: its keeper is gone. With what is known of that, in words; empty
    /// where nothing is.
    Vanished(String),
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// What ended it.
    pub cause: ExitCause,
    /// Its exit code, if it exited by itself or after a terminate.
    pub code: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// The log that belongs to it.
    pub log: ExitLog,
    /// What its user should know besides, and what changes nothing of how it ended; often empty.
    pub note: String,
}

/// What a runner knows of the log of a program that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExitLog {
    /// It is kept whole.
    Whole {
        /// Its size in bytes.
        size: u64,
        /// Its CRC-64/XZ.
        crc: u64,
        /// What is missing from it, in words; empty where nothing is.
        cut: String,
    },
    /// It is as much as `follow` reads: how much that is is known when it is read to its end.
    Followed,
}

impl ExitLog {
    /// The log of what wrote nothing.
    pub const NOTHING: Self = Self::Whole { size: 0, crc: 0, cut: String::new() }; // the CRC-64/XZ of no bytes is 0
}

/// What ended a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExitCause {
    /// It ended by itself. Wins over a stop that was not yet sent.
    Exited,
    /// It was stopped because its time was up.
    TimedOut,
    /// It was stopped because somebody asked.
    Stopped,
    /// It could not be started.
    NotStarted {
        /// For programs: a word.
        code: &'static str,
        /// What was wrong, where, and what to do.
        why: String,
    },
    /// What it ran on ended it: killed for memory, evicted, its node lost.
    Failed {
        /// For programs: a word.
        code: &'static str,
        /// In the words of what ended it.
        why: String,
    },
}

/// One attempt that a runner keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it was made from.
    pub work: Work,
    /// What was made.
    pub identity: Identity,
    /// How far it is.
    pub phase: Phase,
}

/// Bytes of a log, with what it takes to go on behind them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPiece {
    /// The place of the first byte.
    pub offset: u64,
    /// Pieces that were written within 100 ms each: wall clock of this machine, in milliseconds since 1970, and bytes.
    pub chunks: Vec<(i64, Bytes)>,
    /// How `follow` finds the place behind these bytes: at most 256 bytes.
    pub cursor: Bytes,
}

impl LogPiece {
    /// How many bytes it has.
    pub fn size(&self) -> usize {
        self.chunks.iter().map(|(_, bytes)| bytes.len()).sum()
    }
}

/// Why a runner could not do something.
#[derive(Debug, thiserror::Error)]
pub enum RunnerError {
    /// It cannot be done, now or later; the text is for the user: what, where, remedy.
    #[error("{0}")]
    Refused(String),
    /// It may work later.
    #[error("{what}: {source}")]
    Failed {
        /// What was tried.
        what: String,
        /// What came of it.
        source: std::io::Error,
    },
    /// It was certainly not done, and may work later; the text is for the user: what, where, remedy.
    #[error("{0}")]
    NotYet(String),
    /// Nothing is kept under this attempt.
    #[error("nothing is kept of attempt {0}")]
    Unknown(AttemptId),
}

/// What attempts run on. Every method may be called again after a crash, with the same outcome.
#[async_trait]
pub trait Runner: Send + Sync + std::fmt::Debug + 'static {
    /// All attempts that are kept here, for a fresh start.
    async fn find(&self) -> Result<Vec<Found>, RunnerError>;

    /// One attempt that is kept here, as it is now.
    async fn look(&self, attempt: AttemptId) -> Result<Found, RunnerError>;

    /// The same, where its work is known, which may say where to look.
    async fn look_for(&self, work: &Work) -> Result<Found, RunnerError> {
        self.look(work.attempt).await
    }

    /// Makes what cannot run yet. Again, and with the same or a newer epoch: finds what is there, keeps the newer epoch.
    async fn prepare(&self, work: &Work) -> Result<Identity, RunnerError>;

    /// Lets it run, with the secrets that it was prepared for: they are not kept, and are given again where this is
    /// called again. At most once, however often it is called. Refused without a secret that it was prepared for.
    async fn go(&self, attempt: AttemptId, secrets: &SecretValues) -> Result<(), RunnerError>;

    /// Waits until the attempt's phase is another than `seen`, `within` at the most, and says what it is then.
    async fn wait(
        &self,
        attempt: AttemptId,
        seen: &Phase,
        within: Duration,
    ) -> Result<Phase, RunnerError>;

    /// Asks it to end: terminate, grace, kill, of all that it started. Returns when that is asked for, not when it is
    /// done. What is prepared and did not go ends as `Stopped`, without ever running.
    async fn stop(&self, attempt: AttemptId) -> Result<(), RunnerError>;

    /// Up to `most` bytes of the log behind `cursor` (empty: from the start), waiting `within` for the first byte. None:
    /// there is nothing yet, or the log is over; once the program has ended it means over. What cannot be read now, and
    /// may be later, is an error then.
    async fn follow(
        &self,
        attempt: AttemptId,
        cursor: &Bytes,
        most: usize,
        within: Duration,
    ) -> Result<Option<LogPiece>, RunnerError>;

    /// Removes all that is kept of it. What still runs is stopped first. Nothing there: done.
    async fn remove(&self, attempt: AttemptId) -> Result<(), RunnerError>;

    /// Why it cannot be seen at present how attempts are, if it cannot: then no new ones are taken. Here: it always can.
    fn sight(&self) -> watch::Receiver<Option<String>> {
        watch::Sender::new(None).subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempts::{Take, rules::Wishes};
    use crate::lease::Grant;

    #[test]
    fn nobody_who_shows_work_shows_the_values_of_its_arguments() {
        let mut work = suite::command(&["echo"]);
        work.arguments.insert("password".to_owned(), "planted-secret".to_owned());
        work.secrets.get_or_insert_default().insert("TOKEN", "planted-secret".to_owned());
        let grant = Grant { work: work.clone(), identity: None };
        let take = Take { grants: vec![grant.clone()], orders: Vec::new() };
        let wishes = Wishes { grant: Some(grant), ..Wishes::default() };
        for shown in [format!("{work:?}"), format!("{take:#?}"), format!("{wishes:?}")] {
            assert!(shown.contains("password"), "{shown}");
            assert!(!shown.contains("planted-secret"), "{shown}");
        }
    }
}
