//! The kind `process`: an attempt is a folder on this machine, and its program a child of a supervisor process.
//!
//! Secrets are in no file and on no command line: they go from memory to the program's environment (`hidden`).
//!
//! Owns the folders below `attempts/` of the state directory, and nothing in memory: what can be known of an attempt
//! is read from its folder each time, so an executor that was killed loses nothing. Who may be alive is told by locks,
//! never by numbers of processes.
//!
//! Promised: a program is started at most once per folder (the file `started` is there before it, and is never taken
//! away); what it started does not outlive it; its log is whole or says what is missing. Not promised: anything about
//! an attempt whose supervisor was killed. It is `Vanished`; its program is killed by the kernel, and what that has
//! started goes on until `stop` or `remove` finds it by its environment. All jobs run as the executor's user.
//!
//! Not here: when to prepare, to let go and to remove, which is the executor's business.

mod clock;
mod durable;
mod folder;
mod follow;
mod hidden;
mod looks;
mod processes;
mod removal;
mod rules;
mod supervisor;
mod wakes;

pub(crate) use rules::chunks::SPAN as LOG_PIECE_SPAN;
pub use supervisor::supervise;

use self::{
    folder::{Allowed, During, Folder, Kept},
    looks::{Followed, looks_at_logs},
    removal::TRASH,
    rules::ending::Wish,
    wakes::Wakes,
};
use super::{Found, Identity, LogPiece, Phase, Runner, RunnerError, Work};
use crate::configuration::LEAST_SPOOL;
use async_trait::async_trait;
use bytes::Bytes;
use octavius_protocol::{id::AttemptId, secret::SecretValues};
use octavius_service::open_files_at_start;
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::{self, DirBuilder, OpenOptions},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{process::Child, sync::Mutex, time::Instant};
use uuid::Uuid;

/// How a folder's name begins while an attempt is prepared in it.
const MAKING: &str = ".making-";

/// How long a supervisor may take until it says that it is about to start the program.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// How long until its folder is looked at, if nothing is heard of a supervisor that was just started.
const UNHEARD_START: Duration = Duration::from_millis(50);

/// How a supervisor is started: our own binary, with the arguments that make it call [`supervise`]. The attempt's
/// folder is added as the last one.
#[derive(Clone, Debug)]
pub struct SupervisorCommand {
    /// The binary.
    pub program: PathBuf,
    /// What stands before the folder: the hidden command.
    pub arguments: Vec<OsString>,
}

/// Runs attempts as processes of this machine.
#[derive(Debug)]
pub struct ProcessRunner {
    attempts: PathBuf,
    supervisor: Arc<SupervisorCommand>,
    spool_max: u64,
    /// Tells this runner's half-made folders from those of one that died.
    instance: Uuid,
    /// One prepare of an attempt at a time: two would each put their epoch over the other's. Attempts share these locks:
    /// enough of them that the disk is busy with many at once.
    preparing: [Arc<Mutex<()>>; 64],
    /// So many logs are followed at present.
    followed: AtomicU32,
    wakes: Wakes,
}

impl ProcessRunner {
    /// Opens what is kept below `state_dir`, which is made if it is not there. Blocks for a moment.
    ///
    /// Of each log at most `spool_max` bytes are kept: its beginning and its end. Refused below 64 KiB.
    pub fn open(
        state_dir: &Path,
        supervisor: SupervisorCommand,
        spool_max: u64,
    ) -> Result<Self, RunnerError> {
        let least = LEAST_SPOOL.0;
        if spool_max < least {
            return Err(RunnerError::Refused(format!(
                "`spool_max` is `{spool_max}`: give at least {least} bytes, for example `1GiB`"
            )));
        }
        if let Err(error) = pidfd_open(getpid(), PidfdFlags::empty()) {
            return Err(RunnerError::Refused(format!(
                "the runner `process` needs Linux 5.3 or newer, where a process can be held ({error}): use a newer \
                 kernel, or `runner`: `kubernetes`"
            )));
        }
        let attempts = state_dir.join("attempts");
        let doing =
            |what: &str| format!("{what} `{}`, which is below `state_dir`", attempts.display());
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&attempts)
            .during(|| doing("creating"))?;
        // Supervisors work elsewhere, so the path has to hold from everywhere.
        let attempts = attempts.canonicalize().during(|| doing("finding"))?;
        Ok(Self {
            attempts,
            supervisor: Arc::new(supervisor),
            spool_max,
            instance: Uuid::new_v4(),
            preparing: std::array::from_fn(|_| Arc::default()),
            followed: AtomicU32::new(0),
            wakes: Wakes::default(),
        })
    }

    /// What keeps two prepares of one attempt apart.
    fn preparing(&self, attempt: AttemptId) -> Arc<Mutex<()>> {
        let mut hasher = DefaultHasher::new();
        attempt.hash(&mut hasher);
        let lock = hasher.finish() % self.preparing.len() as u64;
        self.preparing[lock as usize].clone()
    }

    /// The folder of an attempt that is kept.
    fn folder(&self, attempt: AttemptId) -> Folder {
        Folder::at(self.attempts.join(attempt.to_string()))
    }

    /// Does something with a kept attempt's folder where that may block.
    async fn with<T: Send + 'static>(
        &self,
        attempt: AttemptId,
        work: impl FnOnce(&Folder) -> Result<T, RunnerError> + Send + 'static,
    ) -> Result<T, RunnerError> {
        let folder = self.folder(attempt);
        blocking(move || {
            let done =
                if folder.exists() { work(&folder) } else { Err(RunnerError::Unknown(attempt)) };
            // It may have been removed meanwhile: then that is the answer, not the file that was missed.
            if done.is_err() && !folder.exists() {
                Err(RunnerError::Unknown(attempt))
            } else {
                done
            }
        })
        .await
    }
}

#[async_trait]
impl Runner for ProcessRunner {
    async fn find(&self) -> Result<Vec<Found>, RunnerError> {
        let (attempts, instance) = (self.attempts.clone(), self.instance);
        blocking(move || find(&attempts, instance)).await
    }

    async fn look(&self, attempt: AttemptId) -> Result<Found, RunnerError> {
        self.with(attempt, Folder::found).await
    }

    async fn prepare(&self, work: &Work) -> Result<Identity, RunnerError> {
        check(work)?;
        let folder = self.folder(work.attempt);
        let making = format!("{MAKING}{}-{}-{}", self.instance, work.attempt, Uuid::new_v4());
        let making = Folder::at(self.attempts.join(making));
        let work = work.clone();
        let allowed = Allowed { spool_max: self.spool_max, open_files: open_files_at_start() };
        let one_at_a_time = self.preparing(work.attempt).lock_owned().await;
        blocking(move || {
            // Held in here, because who asked may be gone before this is done.
            let _one_at_a_time = one_at_a_time;
            prepare(&folder, &making, &work, allowed)
        })
        .await
    }

    async fn go(&self, attempt: AttemptId, secrets: &SecretValues) -> Result<(), RunnerError> {
        let (command, secrets) = (self.supervisor.clone(), secrets.clone());
        let child = self
            .with(attempt, move |folder| {
                if folder.is_started() || folder.has_exit() {
                    return Ok(None);
                }
                let given: BTreeSet<&str> = secrets.names().collect();
                if let Some(name) = folder.secrets()?.iter().find(|name| !given.contains(&name[..]))
                {
                    return Err(RunnerError::Refused(format!(
                        "the secret {name} of attempt {attempt} is not here: it has to be sent again"
                    )));
                }
                spawn(&command, folder, &secrets).map(Some)
            })
            .await?;
        let Some(child) = child else { return Ok(()) };
        let mut wake = self.wakes.listen(attempt, child);
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            wake.pause(UNHEARD_START).await;
            let ended = wake.ended();
            let state = self.with(attempt, move |folder| {
                let began = folder.is_started() || folder.has_exit();
                // Whether another one is there counts only once this one has left.
                Ok((began, ended.is_some() && folder.is_kept()?))
            });
            match (state.await?, ended) {
                ((true, _), _) => return Ok(()),
                // It left because another one was there already: that one says it soon.
                ((false, true), Some(_)) | ((false, _), None) if Instant::now() < deadline => {}
                ((false, _), ended) => return Err(self.not_started(attempt, ended)),
            }
        }
    }

    async fn wait(
        &self,
        attempt: AttemptId,
        seen: &Phase,
        within: Duration,
    ) -> Result<Phase, RunnerError> {
        let deadline = Instant::now() + within;
        let mut wake = self.wakes.of(attempt); // before the first look
        for pause in wake.pauses() {
            let phase = self.with(attempt, Folder::phase).await?;
            let left = deadline.saturating_duration_since(Instant::now());
            if phase != *seen || left.is_zero() {
                return Ok(phase);
            }
            wake.pause(pause.min(left)).await;
        }
        Ok(seen.clone())
    }

    async fn stop(&self, attempt: AttemptId) -> Result<(), RunnerError> {
        self.with(attempt, move |folder| removal::stop(folder, attempt, Wish::Terminate)).await
    }

    async fn follow(
        &self,
        attempt: AttemptId,
        cursor: &Bytes,
        most: usize,
        within: Duration,
    ) -> Result<Option<LogPiece>, RunnerError> {
        let (place, most) = (follow::place(cursor)?, most.max(1));
        let deadline = Instant::now() + within;
        let _followed = Followed::new(&self.followed);
        let mut wake = self.wakes.of(attempt);
        for pause in looks_at_logs(self.followed.load(Relaxed)) {
            let is_kept = wake.is_kept();
            let look = self.with(attempt, move |folder| {
                // In this order: what is over before a look at the log is over with all of its log.
                let over =
                    !is_kept && matches!(folder.phase()?, Phase::Ended(_) | Phase::Vanished(_));
                Ok((over, follow::read(folder, place, most)?))
            });
            let (over, piece) = look.await?;
            let left = deadline.saturating_duration_since(Instant::now());
            if piece.is_some() || over || left.is_zero() {
                return Ok(piece);
            }
            wake.pause(pause.min(left)).await;
        }
        Ok(None)
    }

    async fn remove(&self, attempt: AttemptId) -> Result<(), RunnerError> {
        let folder = self.folder(attempt);
        blocking(move || removal::remove(&folder, attempt)).await
    }
}

impl ProcessRunner {
    /// Why a supervisor did not start its program.
    fn not_started(&self, attempt: AttemptId, ended: Option<ExitStatus>) -> RunnerError {
        let how =
            ended.map_or_else(|| "is silent".to_owned(), |status| format!("ended ({status})"));
        RunnerError::Failed {
            what: format!(
                "the supervisor of attempt {attempt} {how} before it started the program, see `{}`",
                self.folder(attempt).supervisor_log_path().display()
            ),
            source: io::Error::from(ErrorKind::TimedOut),
        }
    }
}

/// Runs what may block where that harms nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RunnerError> + Send + 'static,
) -> Result<T, RunnerError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(error).during(|| "working with the files of an attempt".to_owned()),
    }
}

/// Refuses what no program could be started with.
fn check(work: &Work) -> Result<(), RunnerError> {
    let refuse = |text: String| Err(RunnerError::Refused(text));
    if work.command.first().is_none_or(String::is_empty) {
        return refuse(format!(
            "`command` of the job `{}` names no program: the runner `process` needs one, for example `[\"sh\", \
             \"-c\", \"date\"]`",
            work.job
        ));
    }
    if let Some(word) = work.command.iter().find(|word| word.contains('\0')) {
        return refuse(format!("`command` holds a NUL in {word:?}: no program can be given that"));
    }
    let arguments = work.arguments.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let secrets = work.secrets.iter().flat_map(SecretValues::expose);
    for (name, value) in arguments.chain(secrets) {
        if name.is_empty() || name.contains(['=', '\0']) {
            return refuse(format!("the argument {name:?} cannot name an environment variable"));
        }
        if value.contains('\0') {
            return refuse(format!(
                "the argument `{name}` holds a NUL: leave it out, or encode it"
            ));
        }
    }
    Ok(())
}

/// What [`Runner::prepare`] does with the files.
fn prepare(
    folder: &Folder,
    making: &Folder,
    work: &Work,
    allowed: Allowed,
) -> Result<Identity, RunnerError> {
    if !folder.exists() {
        let made = making.fill(work, allowed).and_then(|()| {
            match fs::rename(making.path(), folder.path()) {
                // Another runner was faster: its folder is as good.
                Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {
                    fs::remove_dir_all(making.path())
                }
                renamed => renamed,
            }
        });
        if made.is_err() {
            // It may not be there at all; the first fault is the one to tell.
            let _ = fs::remove_dir_all(making.path());
        }
        made.during(|| format!("preparing `{}`", folder.path().display()))?;
    }
    let mut kept: Kept = folder.kept()?;
    if work.epoch < kept.work.epoch {
        return Err(RunnerError::Refused(format!(
            "attempt {} is held under epoch {}, and {} is older: its lease has ended",
            work.attempt, kept.work.epoch, work.epoch
        )));
    }
    if work.epoch > kept.work.epoch {
        kept.work.epoch = work.epoch;
        folder.replace_work(&kept)?;
    }
    // Each time: the one who renamed it may have died before it was synced.
    let parent = folder.path().parent().unwrap_or(folder.path());
    durable::sync_folder(parent).during(|| format!("syncing `{}`", parent.display()))?;
    Ok(kept.identity)
}

/// What [`Runner::find`] does with the files. One damaged folder does not hide the others.
fn find(attempts: &Path, instance: Uuid) -> Result<Vec<Found>, RunnerError> {
    let reading = || format!("reading `{}`", attempts.display());
    let own = format!("{MAKING}{instance}");
    let mut found = Vec::new();
    for entry in fs::read_dir(attempts).during(reading)? {
        let entry = entry.during(reading)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(TRASH) || (name.starts_with(MAKING) && !name.starts_with(&own)) {
            removal::delete(&entry.path());
        } else if name.parse::<AttemptId>().is_ok() {
            match Folder::at(entry.path()).found() {
                Ok(attempt) => found.push(attempt),
                Err(error) => tracing::error!(%error, "an attempt cannot be read and is left out"),
            }
        }
    }
    found.sort_unstable_by_key(|found| found.work.attempt);
    Ok(found)
}

/// Starts a supervisor. It leaves our session by itself, and takes nothing of ours with it.
fn spawn(
    command: &SupervisorCommand,
    folder: &Folder,
    secrets: &SecretValues,
) -> Result<Child, RunnerError> {
    let path = folder.supervisor_log_path();
    let errors = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
    let errors = errors.during(|| format!("opening `{}`", path.display()))?;
    let mut supervisor = tokio::process::Command::new(&command.program);
    supervisor.args(&command.arguments).arg(folder.path());
    supervisor.env_clear().current_dir("/");
    supervisor.stdin(hidden::input(secrets)?).stdout(Stdio::piped()).stderr(errors);
    supervisor.spawn().during(|| format!("starting the supervisor `{}`", command.program.display()))
}
