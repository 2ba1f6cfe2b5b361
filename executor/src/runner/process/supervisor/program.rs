//! The program of an attempt: how it is started, and what its process does before it is the program.
//!
//! The supervisor starts our own binary once more, and that process becomes the program. On the way it asks the kernel
//! to be killed when its parent dies: a program whose supervisor was killed does not go on unseen. (The kernel forgets
//! that for a program with the set-user-id bit, and it does not hold for the program's own children.)

use crate::runner::process::{
    folder::{During, Folder, Kept},
    hidden,
};
use crate::runner::{RunnerError, Work};
use octavius_service::text::cut;
use rustix::process::{
    Pid, Resource, Signal, getppid, getrlimit, set_parent_process_death_signal, setrlimit,
};
use std::{
    ffi::{OsStr, OsString},
    fs::DirBuilder,
    io::{self, PipeReader, PipeWriter, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{fs::DirBuilderExt, process::CommandExt},
    },
    path::Path,
    process::{Command, Stdio},
};

/// What stands behind the folder in the arguments of a process that is to become the program.
pub(super) const ROLE: &str = "program";

/// The exit code of a process that could not become the program.
pub(super) const FAILED: u8 = 127;

/// Where programs are looked for, if the job's arguments do not say otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What was started.
pub(super) struct Started {
    /// The process that becomes the program.
    pub(super) pid: Pid,
    /// Its output and its errors, in the order in which it wrote them.
    pub(super) output: PipeReader,
    /// Tells when it has become the program.
    pub(super) way: Way,
}

/// The way of a process to being the program. It writes a byte when it is ready, another one if it fails then, and the
/// kernel closes its end when it becomes the program.
pub(super) struct Way {
    /// Never blocks.
    pub(super) pipe: PipeReader,
    said: usize,
}

impl Way {
    /// Whether it has become the program; none: that is not known yet.
    pub(super) fn hear(&mut self) -> Option<bool> {
        let mut buffer = [0; 8];
        loop {
            match self.pipe.read(&mut buffer) {
                Ok(0) => return Some(self.said == 1),
                Ok(more) => self.said += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(_) => return Some(false),
            }
        }
    }
}

/// A pipe that is read without ever waiting.
fn pipe() -> Result<(PipeReader, PipeWriter), RunnerError> {
    let (output, input) = io::pipe().during(|| "making a pipe".to_owned())?;
    rustix::io::ioctl_fionbio(&output, true).during(|| "setting up a pipe".to_owned())?;
    Ok((output, input))
}

/// Starts what becomes the program.
pub(super) fn start(folder: &Folder) -> Result<Started, RunnerError> {
    let (output, input) = pipe()?;
    let (way, steps) = pipe()?;
    // This binary as it runs, even if another has been put in its place on the disk.
    let mut command = Command::new("/proc/self/exe");
    command.args(std::env::args_os().skip(1)).arg(ROLE);
    command.env_clear().current_dir(folder.work_path()).process_group(0);
    // What it says on its way goes through what will be its output. Its input is this process's: secrets, or nothing.
    // Nothing else is open in it.
    command.stdin(Stdio::inherit()).stdout(steps).stderr(input);
    let child = command.spawn().during(|| "starting the process of the program".to_owned())?;
    // `command` holds the pipes' other ends: with it gone, the last process that writes closes them.
    Ok(Started { pid: Pid::from_child(&child), output, way: Way { pipe: way, said: 0 } })
}

/// Becomes the program of this folder. Returns only if that cannot be done; why is then in the folder.
pub(super) fn become_it(folder: &Path) {
    let folder = Folder::at(folder.to_owned());
    let error = replace_process(&folder);
    if let Err(unwritten) = folder.write_not_started(&error.to_string()) {
        // Into the job's log, which is what standard error is by now: better there than nowhere.
        let _ = writeln!(io::stderr(), "octavius: {error} ({unwritten})");
    }
}

fn replace_process(folder: &Folder) -> RunnerError {
    let Ready { work, secrets, supervisor, mut way, output } = match prepare_process(folder) {
        Ok(ready) => ready,
        Err(error) => return error,
    };
    let Some((program, arguments)) = work.command.split_first() else {
        return RunnerError::Refused("`command` is empty: name a program".to_owned());
    };
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(environment(&work, secrets, &folder.work_path()));
    command.stdin(Stdio::null()).stdout(output);
    if getppid().is_none_or(|parent| parent.as_raw_nonzero().get() != supervisor) {
        return RunnerError::Refused("the supervisor is gone".to_owned());
    }
    // If it is not heard it only is not known that the program runs.
    let _ = way.write_all(b"r");
    let error = command.exec();
    let _ = way.write_all(b"f");
    RunnerError::Refused(cannot_start(program, &error))
}

/// What a process has that is about to become the program.
struct Ready {
    work: Work,
    secrets: Vec<(String, String)>,
    /// The supervisor's process.
    supervisor: i32,
    /// Where to say that it is ready: closed when another program takes this one's place.
    way: PipeWriter,
    /// Where the program's output goes: to the same place as its errors.
    output: OwnedFd,
}

/// Makes this process what the program is to be in.
fn prepare_process(folder: &Folder) -> Result<Ready, RunnerError> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .during(|| "asking to end with the supervisor".to_owned())?;
    let temporary = folder.work_path().join(".tmp");
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&temporary);
    made.during(|| format!("creating `{}`", temporary.display()))?;
    let doubled =
        |fd: BorrowedFd<'_>| fd.try_clone_to_owned().during(|| "doubling a pipe".to_owned());
    let way = PipeWriter::from(doubled(io::stdout().as_fd())?);
    let output = doubled(io::stderr().as_fd())?;
    let secrets = hidden::take().during(|| "taking the secrets".to_owned())?;
    let Kept { work, allowed, .. } = folder.kept()?;
    if let Some(open_files) = allowed.open_files {
        limit_open_files(open_files).during(|| "limiting open files".to_owned())?;
    }
    let supervisor = folder.started()?.pid;
    Ok(Ready { work, secrets, supervisor, way, output })
}

/// Puts back the limit that the executor had raised for itself. The program may raise it as well.
fn limit_open_files(open_files: u64) -> rustix::io::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(limit.maximum.map_or(open_files, |most| open_files.min(most)));
    setrlimit(Resource::Nofile, limit)
}

/// All that the program's environment holds. Nothing of the executor's.
fn environment(
    work: &Work,
    secrets: Vec<(String, String)>,
    home: &Path,
) -> Vec<(OsString, OsString)> {
    let temporary = home.join(".tmp");
    let ours: [(&str, &OsStr); 4] = [
        ("PATH", PATH.as_ref()),
        ("HOME", home.as_ref()),
        ("LANG", "C.UTF-8".as_ref()),
        ("TMPDIR", temporary.as_ref()),
    ];
    let named = [
        ("OCTAVIUS_EXECUTION_ID", work.attempt.execution.to_string()),
        ("OCTAVIUS_ATTEMPT", work.attempt.attempt.to_string()),
        ("OCTAVIUS_JOB", work.job.clone()),
        ("OCTAVIUS_USER", work.user.clone()),
    ];
    let arguments = work.arguments.iter().map(|(name, value)| (name.into(), value.into()));
    let ours = ours.into_iter().map(|(name, value)| (name.into(), value.into()));
    let secrets = secrets.into_iter().map(|(name, value)| (name.into(), value.into()));
    // A later one of the same name wins.
    ours.chain(arguments)
        .chain(secrets)
        .chain(named.map(|(name, value)| (name.into(), value.into())))
        .collect()
}

/// What was wrong with the command, and what to do.
fn cannot_start(program: &str, error: &io::Error) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => format!(
            "install it (or the interpreter in its first line) where the executor runs, or name it with its whole \
             path in `command`; without a path it is looked for in PATH, which is {PATH} unless an argument says \
             otherwise"
        ),
        io::ErrorKind::PermissionDenied if Path::new(program).is_dir() => {
            "it is a folder: name the program in it".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "make the file executable for the executor's user (`chmod +x`)".to_owned()
        }
        io::ErrorKind::ArgumentListTooLong => {
            "make the arguments smaller: each may hold 131,071 bytes with its name".to_owned()
        }
        _ => "try the command by hand where the executor runs".to_owned(),
    };
    // So short that what was wrong, and the remedy, are never cut off.
    let program = cut(program.to_owned(), 256);
    format!("the command `{program}` could not be started: {error}: {remedy}")
}
