//! The folder of one attempt: what lies in it, and what may be read from that.
//!
//! | name | what |
//! | --- | --- |
//! | the folder itself | locked by the supervisor as long as it lives; that and nothing else says that it does |
//! | `work.json` | what to run, under which epoch, and the name that the attempt's folder has for ever: a UUID |
//! | `secrets` | the names of its secrets, a line each, if it has any; their values are in no file |
//! | `started` | the program was, or is about to be, started: it never will be again |
//! | `running` | another name of `started`: the program was started, what runs is it. For who looks, nothing is decided by it |
//! | `stop` | somebody wants it to end |
//! | `control` | a FIFO that wakes the supervisor; what it is to do stands in `stop` |
//! | `not_started` | why the program could not be started |
//! | `exit` | how it ended; the last that the supervisor writes |
//! | `log`, `log.times` | what the program wrote, and when, if it wrote anything |
//! | `supervisor.log` | what the supervisor has to say about itself |
//! | `work/` | the program's working folder |
//!
//! So few files, because making and deleting them is a good part of what a short attempt costs.

mod work;

pub(super) use work::{Allowed, Kept};

use super::{
    durable,
    rules::{self, Facts, ending::Wish},
    supervisor::not_started,
};
use crate::runner::{Exit, ExitCause, ExitLog, Found, Identity, Phase, RunnerError, Work};
use octavius_protocol::secret::SecretValues;
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, DirBuilder, File, Metadata, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};
use uuid::Uuid;
use work::{WorkFile, encode};

const WORK: &str = "work.json";
const SECRETS: &str = "secrets";
const STARTED: &str = "started";
const RUNNING: &str = "running";
const STOP: &str = "stop";
const NOT_STARTED: &str = "not_started";
const EXIT: &str = "exit";

/// What `started` holds: for who looks, for nothing is decided by it. (That a supervisor lives is told by its lock.)
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Started {
    /// Which boot of the machine it was.
    pub(super) boot: String,
    /// When, in nanoseconds since that boot.
    pub(super) since_boot_ns: u64,
    /// The supervisor's process.
    pub(super) pid: i32,
    /// When that process started, in ticks since boot.
    pub(super) pid_started: u64,
}

/// What `exit` holds.
#[derive(Debug, Serialize, Deserialize)]
struct ExitFile {
    cause: CauseFile,
    code: Option<i32>,
    signal: Option<i32>,
    log_size: u64,
    log_crc: u64,
    log_cut: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CauseFile {
    Exited,
    TimedOut,
    Stopped,
    NotStarted(String),
}

/// Says what was tried when input or output failed.
pub(super) trait During<T> {
    /// The error, with what was tried before it.
    fn during(self, what: impl FnOnce() -> String) -> Result<T, RunnerError>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, what: impl FnOnce() -> String) -> Result<T, RunnerError> {
        self.map_err(|source| RunnerError::Failed { what: what(), source: source.into() })
    }
}

/// Where one attempt is kept.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// The folder at `path`, whether it is there or not.
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the program works.
    pub(super) fn work_path(&self) -> PathBuf {
        self.path.join("work")
    }

    pub(super) fn log_path(&self) -> PathBuf {
        self.path.join("log")
    }

    pub(super) fn times_path(&self) -> PathBuf {
        self.path.join("log.times")
    }

    pub(super) fn control_path(&self) -> PathBuf {
        self.path.join("control")
    }

    pub(super) fn supervisor_log_path(&self) -> PathBuf {
        self.path.join("supervisor.log")
    }

    pub(super) fn exists(&self) -> bool {
        self.path.exists()
    }

    /// Fills a folder that is not there yet with all that an attempt needs, on disk before this returns.
    pub(super) fn fill(&self, work: &Work, allowed: Allowed) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(&self.path)?;
        DirBuilder::new().mode(0o700).create(self.work_path())?;
        let identity = Identity(Uuid::new_v4().to_string());
        let kept = Kept { work: work.clone(), allowed, identity };
        durable::put(&self.path, WORK, &encode(&kept)?)?;
        let names: String = work
            .secrets
            .iter()
            .flat_map(SecretValues::names)
            .map(|name| format!("{name}\n"))
            .collect();
        if !names.is_empty() {
            durable::put(&self.path, SECRETS, names.as_bytes())?;
        }
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, self.control_path(), mode)?;
        durable::sync_folder(&self.path)
    }

    /// What to run, what it may have, and the folder's name.
    pub(super) fn kept(&self) -> Result<Kept, RunnerError> {
        let file: WorkFile = self.read_json(WORK)?;
        let mut kept = file.decoded(&self.path.join(WORK))?;
        kept.work.secrets = self.secrets()?.is_empty().then(SecretValues::default);
        Ok(kept)
    }

    /// The names of the secrets that the program wants: the same under every epoch.
    pub(super) fn secrets(&self) -> Result<Vec<String>, RunnerError> {
        match fs::read_to_string(self.path.join(SECRETS)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            read => {
                let names = read.during(|| self.doing("reading", SECRETS))?;
                Ok(names.lines().map(str::to_owned).collect())
            }
        }
    }

    /// Puts other work in place of the one that is kept.
    pub(super) fn replace_work(&self, kept: &Kept) -> Result<(), RunnerError> {
        let bytes = encode(kept).during(|| self.doing("encoding", WORK))?;
        durable::replace(&self.path, WORK, &bytes).during(|| self.doing("writing", WORK))
    }

    /// All that is known of the attempt.
    pub(super) fn found(&self) -> Result<Found, RunnerError> {
        let Kept { work, identity, .. } = self.kept()?;
        Ok(Found { work, identity, phase: self.phase()? })
    }

    /// How far the attempt is. The order of the looks is explained at [`Facts`].
    pub(super) fn phase(&self) -> Result<Phase, RunnerError> {
        let started = self.is_started();
        let running = self.path.join(RUNNING).exists();
        let kept = self.is_kept()?;
        let exit = if self.has_exit() { Some(self.exit()?) } else { None };
        Ok(rules::phase(Facts { started, running, kept, exit }))
    }

    /// Whether a program was, or was about to be, started here.
    pub(super) fn is_started(&self) -> bool {
        self.path.join(STARTED).exists()
    }

    /// Whether it is said how it ended.
    pub(super) fn has_exit(&self) -> bool {
        self.path.join(EXIT).exists()
    }

    /// Whether somebody holds the lock: a supervisor, or for a moment somebody who makes sure that none comes.
    pub(super) fn is_kept(&self) -> Result<bool, RunnerError> {
        let file = File::open(&self.path).during(|| self.locking())?;
        match file.try_lock_shared() {
            // Closing the file is not enough: a process that is just being forked holds it, too.
            Ok(()) => file.unlock().during(|| self.locking()).map(|()| false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error).during(|| self.locking()),
        }
    }

    /// Takes the lock, if nobody has it. None also if the folder is another one by now.
    pub(super) fn try_lock(&self) -> Result<Option<File>, RunnerError> {
        let file = File::open(&self.path).during(|| self.locking())?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error).during(|| self.locking()),
        }
        let place = |seen: &Metadata| (seen.dev(), seen.ino());
        let named = fs::metadata(&self.path).during(|| self.locking())?;
        let held = file.metadata().during(|| self.locking())?;
        Ok((place(&named) == place(&held)).then_some(file))
    }

    fn locking(&self) -> String {
        format!("locking `{}`", self.path.display())
    }

    /// Writes that the program is started now, by the supervisor that is `keeper`. False: it was already, and must not
    /// be again.
    pub(super) fn mark_started(&self, keeper: &Started) -> Result<bool, RunnerError> {
        let bytes = serde_json::to_vec(keeper).during(|| self.doing("encoding", STARTED))?;
        let made = durable::create(&self.path, STARTED, &bytes);
        made.during(|| self.doing("writing", STARTED))
    }

    /// Who started the program, and when.
    pub(super) fn started(&self) -> Result<Started, RunnerError> {
        self.read_json(STARTED)
    }

    /// Writes that the process that was started is the program by now.
    pub(super) fn mark_running(&self) -> Result<(), RunnerError> {
        // Not made to last: after a crash of the machine nothing runs.
        let made = fs::hard_link(self.path.join(STARTED), self.path.join(RUNNING));
        made.during(|| self.doing("writing", RUNNING))
    }

    /// Writes why the program could not be started.
    pub(super) fn write_not_started(&self, why: &str) -> Result<(), RunnerError> {
        let written = durable::replace(&self.path, NOT_STARTED, why.as_bytes());
        written.during(|| self.doing("writing", NOT_STARTED))
    }

    /// Why the program could not be started, if it could not.
    pub(super) fn not_started(&self) -> Option<String> {
        fs::read_to_string(self.path.join(NOT_STARTED)).ok()
    }

    /// Whether somebody has taken the folder away, not by `remove`, which waits for the end. A fault of the disk is no such sign.
    pub(super) fn is_gone(&self) -> bool {
        let looked = fs::symlink_metadata(&self.path);
        looked.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    }

    /// What somebody wants, if anybody does. Who takes the folder away wants the program killed: without it nobody
    /// could stop it any more, or learn how it ended.
    pub(super) fn wish(&self) -> Option<Wish> {
        if self.is_gone() {
            return Some(Wish::Kill);
        }
        match fs::read(self.path.join(STOP)).ok()?.as_slice() {
            b"kill" => Some(Wish::Kill),
            _ => Some(Wish::Terminate),
        }
    }

    /// Writes down what somebody wants, and wakes the supervisor. What is already more urgent stays.
    pub(super) fn write_wish(&self, wish: Wish) -> Result<(), RunnerError> {
        if self.wish().is_none_or(|already| already < wish) {
            let text: &[u8] = match wish {
                Wish::Terminate => b"terminate",
                Wish::Kill => b"kill",
            };
            let written = durable::replace(&self.path, STOP, text);
            written.during(|| self.doing("writing", STOP))?;
        }
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let control = OpenOptions::new().write(true).custom_flags(flags).open(self.control_path());
        if let Ok(mut control) = control {
            // Nobody there, or enough wakes already: the supervisor looks at `stop` each second anyway.
            let _ = control.write(b"!");
        }
        Ok(())
    }

    /// How it ended.
    pub(super) fn exit(&self) -> Result<Exit, RunnerError> {
        let file: ExitFile = self.read_json(EXIT)?;
        let cause = match file.cause {
            CauseFile::Exited => ExitCause::Exited,
            CauseFile::TimedOut => ExitCause::TimedOut,
            CauseFile::Stopped => ExitCause::Stopped,
            CauseFile::NotStarted(why) => not_started(why),
        };
        Ok(Exit {
            cause,
            code: file.code,
            signal: file.signal,
            log: ExitLog::Whole { size: file.log_size, crc: file.log_crc, cut: file.log_cut },
            note: String::new(),
        })
    }

    /// Writes how it ended. Only for who holds the lock.
    pub(super) fn write_exit(&self, exit: Exit) -> Result<(), RunnerError> {
        let cause = match exit.cause {
            ExitCause::Exited => CauseFile::Exited,
            ExitCause::TimedOut => CauseFile::TimedOut,
            ExitCause::Stopped => CauseFile::Stopped,
            // Nothing but its own supervisor ends a process, so the second does not occur.
            ExitCause::NotStarted { why, .. } | ExitCause::Failed { why, .. } => {
                CauseFile::NotStarted(why)
            }
        };
        let (log_size, log_crc, log_cut) = match exit.log {
            ExitLog::Whole { size, crc, cut } => (size, crc, cut),
            ExitLog::Followed => (0, 0, String::new()),
        };
        let file =
            ExitFile { cause, code: exit.code, signal: exit.signal, log_size, log_crc, log_cut };
        let bytes = serde_json::to_vec(&file).during(|| self.doing("encoding", EXIT))?;
        durable::replace(&self.path, EXIT, &bytes).during(|| self.doing("writing", EXIT))
    }

    /// Text for an error: what was done with which file.
    pub(super) fn doing(&self, what: &str, name: &str) -> String {
        format!("{what} `{}`", self.path.join(name).display())
    }

    fn read_json<T: for<'de> Deserialize<'de>>(&self, name: &str) -> Result<T, RunnerError> {
        let bytes = fs::read(self.path.join(name)).during(|| self.doing("reading", name))?;
        serde_json::from_slice(&bytes).during(|| self.doing("decoding", name))
    }
}
