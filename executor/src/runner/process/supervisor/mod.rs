//! The supervisor: one process for one attempt, between the executor and the program.
//!
//! It is our own binary, started once more with a hidden command. It is what lets a program outlive its executor: it
//! reads the pipe, bounds the log, enforces the time limit, ends what the program leaves behind, and writes down how it
//! ended. It holds the folder's lock as long as it lives, and finds all it needs in the folder.
//!
//! One thread, no tokio: the parent-death signal of the program hangs on the thread that started it.
//!
//! Not here: who may start an attempt, and when. A supervisor that was killed is not replaced; its attempt is lost.

mod log;
mod program;

use super::{
    clock::{self, Pauses},
    folder::{During, Folder, Kept, Started},
    hidden, processes,
    rules::ending::{Ending, Order, Seen, Status, Wish},
};
use crate::runner::{Exit, ExitCause, ExitLog, RunnerError};
use log::Log;
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::{
        Pid, PidfdFlags, Signal, WaitOptions, getpid, kill_process_group, pidfd_open,
        set_child_subreaper, setsid, wait,
    },
    time::Timespec,
};
use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, PipeReader, Read, Write},
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt},
    path::Path,
    process::ExitCode,
    time::Duration,
};

/// How long a supervisor waits for a lock that somebody only looks at.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// The file `stop` is looked at this often even if no wake arrives.
const RECHECK: Duration = Duration::from_secs(1);

/// How long an exit is tried to be written: a full disk may get room again, and until then nothing else is known.
const WRITE_PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);

/// Bytes that are read at once.
const BUFFER: usize = 64 << 10;

/// Reads in a row before other events are looked at.
const READS: usize = 16;

/// What the hidden command `supervise` does: `arguments` are all that stand behind it. To be called before any other
/// thread exists. Faults go to standard error, which is a file in the attempt's folder.
pub fn supervise(arguments: &[OsString]) -> ExitCode {
    let outcome = match arguments {
        [folder] => Supervisor::run(Path::new(folder)),
        [folder, role] if role == program::ROLE => {
            program::become_it(Path::new(folder));
            return ExitCode::from(program::FAILED);
        }
        _ => Err(RunnerError::Refused(
            "`supervise` is for the executor itself, which gives it the folder of an attempt: use `start`"
                .to_owned(),
        )),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// A line for who looks into the folder of an attempt that went wrong.
fn complain(text: &str) {
    // Where to complain that this failed?
    let _ = writeln!(io::stderr(), "{} {text}", clock::wall());
}

/// Wakes the executor, if that is still there: there is something to see in the folder.
fn say() {
    // A hint, which nothing hangs on.
    let _ = rustix::io::write(io::stdout(), b".");
}

/// A program that runs.
struct Supervisor {
    folder: Folder,
    program: Pid,
    /// Readable when the program has ended. None once that was seen.
    program_ends: Option<OwnedFd>,
    /// None once it is known whether that process has become the program.
    way: Option<program::Way>,
    /// None once all that write have closed it.
    output: Option<PipeReader>,
    control: File,
    log: Log,
    ending: Ending,
    status: Option<Status>,
    wish: Option<Wish>,
    buffer: Vec<u8>,
}

impl Supervisor {
    /// Runs the program of this folder to its end, unless somebody does or did.
    fn run(path: &Path) -> Result<(), RunnerError> {
        // Out of the executor's session: what ends that, ends neither this process nor the program.
        setsid().during(|| "leaving the executor's session".to_owned())?;
        let folder = Folder::at(path.to_owned());
        let Some(_lock) = lock(&folder)? else { return Ok(()) };
        if folder.is_started() || folder.has_exit() {
            return Ok(());
        }
        if folder.wish().is_some() {
            return folder.write_exit(never_ran(ExitCause::Stopped));
        }
        set_child_subreaper(Some(getpid())).during(|| "becoming the subreaper".to_owned())?;
        let Kept { work, allowed, .. } = folder.kept()?;
        let log = Log::new(&folder, allowed.spool_max);
        let control = open_control(&folder)?;
        let start = clock::since_boot();
        if !folder.mark_started(&this_process(start))? {
            return Ok(());
        }
        say();
        // From here on nobody starts the program again: whatever fails has to be written down.
        let program::Started { pid, output, way } = match program::start(&folder) {
            Ok(started) => started,
            Err(error) => {
                return write_exit(&folder, never_ran(not_started(error.to_string())));
            }
        };
        let program_ends = pidfd_open(pid, PidfdFlags::empty());
        if let Err(error) = program_ends {
            // Its end is then seen at the next look.
            complain(&format!("watching the program: {error}"));
        }
        let supervisor = Self {
            folder,
            program: pid,
            program_ends: program_ends.ok(),
            way: Some(way),
            output: Some(output),
            control,
            log,
            ending: Ending::new(start, work.timeout, work.grace),
            status: None,
            wish: None,
            buffer: vec![0; BUFFER],
        };
        supervisor.watch()
    }

    /// Until it is over.
    fn watch(mut self) -> Result<(), RunnerError> {
        // How long to wait for what ends without an event: what the program started, once signals were sent.
        let mut quick = Pauses::new(Duration::from_millis(2), Duration::from_millis(50));
        let mut rechecked = None;
        loop {
            let now = clock::since_boot();
            if rechecked.is_none_or(|last| now >= last + RECHECK) {
                self.wish = self.wish.max(self.folder.wish());
                rechecked = Some(now);
            }
            let left = self.reap();
            let seen = Seen { program: self.status, left, wish: self.wish };
            match self.ending.step(now, seen) {
                Order::Wait => {}
                Order::Terminate => self.terminate(),
                Order::Kill => self.kill(),
                Order::End { cause, status, survivors } => {
                    return self.finish(cause, status, survivors);
                }
            }
            let mut wait = RECHECK;
            if let Some(due) = self.ending.due() {
                wait = wait.min(due.saturating_sub(now));
            }
            if self.ending.has_begun() {
                wait = quick.next().unwrap_or(RECHECK).min(wait.max(Duration::from_millis(2)));
            }
            if self.wait_for_event(wait) {
                rechecked = None;
            }
        }
    }

    /// Waits for the program's end, its output, or a wake; takes the output. Whether there was a wake.
    fn wait_for_event(&mut self, most: Duration) -> bool {
        let mut events = vec![PollFd::new(&self.control, PollFlags::IN)];
        events.extend(self.output.as_ref().map(|output| PollFd::new(output, PollFlags::IN)));
        events.extend(self.way.as_ref().map(|way| PollFd::new(&way.pipe, PollFlags::IN)));
        events.extend(self.program_ends.as_ref().map(|ends| PollFd::new(ends, PollFlags::IN)));
        let most = Timespec::try_from(most).ok();
        if let Err(error) = poll(&mut events, most.as_ref()) {
            if error != Errno::INTR {
                complain(&format!("waiting for events: {error}"));
                clock::pause(Duration::from_millis(10));
            }
            return false;
        }
        let woken = !events[0].revents().is_empty();
        drop(events);
        if woken {
            // It does not matter what is read: what is wanted stands in a file.
            let _ = self.control.read(&mut self.buffer);
        }
        self.hear_start();
        self.take_output(READS);
        woken
    }

    /// Writes down that the program runs, once it does.
    fn hear_start(&mut self) {
        let Some(runs) = self.way.as_mut().and_then(program::Way::hear) else { return };
        self.way = None;
        hidden::wipe();
        if runs && let Err(error) = self.folder.mark_running() {
            complain(&error.to_string());
        }
        say();
    }

    /// Takes what the pipe holds, in a bounded number of reads.
    fn take_output(&mut self, reads: usize) {
        for _ in 0..reads {
            let Some(output) = &mut self.output else { return };
            match output.read(&mut self.buffer) {
                Ok(0) => self.output = None,
                Ok(length) => {
                    // Before anybody can read what it wrote: what writes does run.
                    self.hear_start();
                    self.log.take(&self.buffer[..length]);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    complain(&format!("reading the program's output: {error}"));
                    self.output = None;
                }
            }
        }
    }

    /// Takes note of what has ended. Whether anything is left.
    fn reap(&mut self) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.program => {
                    let (code, signal) = (status.exit_status(), status.terminating_signal());
                    self.status = Some(Status { code, signal });
                    self.program_ends = None;
                }
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return true,
                Err(Errno::CHILD) => return false,
                Err(error) => {
                    complain(&format!("waiting for processes: {error}"));
                    return true;
                }
            }
        }
    }

    /// Asks all that is left to end. What is stopped goes on, so that it hears it.
    fn terminate(&self) {
        let mut others = processes::descendants(getpid());
        if self.status.is_none() {
            // The whole group in one moment, so that none of it sees another one end first. The number is the
            // program's as long as its end was not seen.
            for signal in [Signal::TERM, Signal::CONT] {
                let _ = kill_process_group(self.program, signal);
            }
            let group = self.program.as_raw_nonzero().get();
            others.retain(|process| process.group != group);
        }
        for process in others {
            for signal in [Signal::TERM, Signal::CONT] {
                if let Err(error) = processes::signal(process, signal) {
                    complain(&format!("terminating process {}: {error}", process.pid));
                }
            }
        }
    }

    /// Kills all that is left. To be called again until nothing is: what is killed may just have started another.
    fn kill(&self) {
        for process in processes::descendants(getpid()) {
            // Told at the end, if it is left then.
            let _ = processes::signal(process, Signal::KILL);
        }
    }

    /// Writes down how it ended, behind the last byte of the log.
    fn finish(
        mut self,
        cause: ExitCause,
        status: Status,
        survivors: bool,
    ) -> Result<(), RunnerError> {
        // All that a dead process wrote is in the pipe by now. Who else holds its other end is not waited for.
        let pipe = self.output.as_ref().map_or(Ok(0), rustix::pipe::fcntl_getpipe_size);
        self.take_output(pipe.unwrap_or(1 << 20) / BUFFER + 2);
        let mut written = self.log.finish();
        if survivors {
            let pids: Vec<String> =
                processes::descendants(getpid()).iter().map(|p| p.pid.to_string()).collect();
            let left = format!("could not be killed, and may still write: {}", pids.join(", "));
            complain(&left);
            written.cut = [written.cut, left]
                .into_iter()
                .filter(|text| !text.is_empty())
                .collect::<Vec<_>>()
                .join("; ");
        }
        let cause = match self.folder.not_started() {
            Some(why) => not_started(why),
            None => cause,
        };
        let started = !matches!(cause, ExitCause::NotStarted { .. });
        let exit = Exit {
            cause,
            code: status.code.filter(|_| started),
            signal: status.signal.filter(|_| started),
            log: ExitLog::Whole { size: written.size, crc: written.crc, cut: written.cut },
            note: String::new(),
        };
        write_exit(&self.folder, exit)
    }
}

/// The exit of an attempt whose program never ran.
pub(super) fn never_ran(cause: ExitCause) -> Exit {
    Exit { cause, code: None, signal: None, log: ExitLog::NOTHING, note: String::new() }
}

/// What is said of a program that could not be started.
pub(super) fn not_started(why: String) -> ExitCause {
    ExitCause::NotStarted { code: "start_failed", why }
}

/// What `started` says of this supervisor.
fn this_process(start: Duration) -> Started {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let pid = getpid().as_raw_nonzero().get();
    Started {
        boot: boot.trim().to_owned(),
        since_boot_ns: u64::try_from(start.as_nanos()).unwrap_or(u64::MAX),
        pid,
        pid_started: processes::look(pid).map_or(0, |process| process.started),
    }
}

/// The folder's lock, or none if another supervisor has it. Who only looks has it for a moment.
fn lock(folder: &Folder) -> Result<Option<File>, RunnerError> {
    let end = clock::since_boot() + LOCK_PATIENCE;
    for pause in Pauses::new(Duration::from_millis(1), Duration::from_millis(50)) {
        if let Some(lock) = folder.try_lock()? {
            return Ok(Some(lock));
        }
        if folder.is_started() || clock::since_boot() >= end {
            break;
        }
        clock::pause(pause);
    }
    Ok(None)
}

/// The FIFO, opened so that it never ends and never blocks.
fn open_control(folder: &Folder) -> Result<File, RunnerError> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let opened =
        OpenOptions::new().read(true).write(true).custom_flags(flags).open(folder.control_path());
    opened.during(|| folder.doing("opening", "control"))
}

/// Writes the exit, however long that takes, as long as there is a folder: without it the attempt would be lost.
fn write_exit(folder: &Folder, exit: Exit) -> Result<(), RunnerError> {
    let end = clock::since_boot() + WRITE_PATIENCE;
    for pause in Pauses::new(Duration::from_millis(100), Duration::from_secs(10)) {
        match folder.write_exit(exit.clone()) {
            Ok(()) => return Ok(()),
            Err(error) if folder.is_gone() || clock::since_boot() >= end => return Err(error),
            Err(error) => complain(&format!("{error}; trying again in {pause:?}")),
        }
        clock::pause(pause);
    }
    Ok(())
}
