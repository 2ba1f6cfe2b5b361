//! Making folders go away: what still runs is ended first, the name goes in one step, the files after it.

use super::{
    clock::{self, Pauses},
    folder::{During, Folder},
    processes,
    rules::ending::Wish,
    supervisor::never_ran,
};
use crate::runner::{ExitCause, RunnerError};
use octavius_protocol::id::AttemptId;
use rustix::process::Signal;
use std::{
    fs::{self, Permissions},
    io::{self, ErrorKind},
    os::unix::fs::PermissionsExt,
    path::Path,
    time::Duration,
};
use uuid::Uuid;

/// How a folder's name begins once its attempt is removed.
pub(super) const TRASH: &str = ".trash-";

/// How long it takes at most until a supervisor sees that nobody else has its lock.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// How long a kill may take. Longer: the program hangs in the kernel, and a later try finds out.
const KILL_PATIENCE: Duration = Duration::from_secs(30);

/// How often the leavings of a supervisor that was killed are looked for again: each may just have started another.
const SWEEPS: usize = 50;

/// Asks an attempt to end. What was never let go ends here.
pub(super) fn stop(folder: &Folder, attempt: AttemptId, wish: Wish) -> Result<(), RunnerError> {
    if folder.has_exit() {
        return Ok(());
    }
    folder.write_wish(wish)?;
    let end = clock::since_boot() + LOCK_PATIENCE;
    for pause in Pauses::new(Duration::from_millis(1), Duration::from_millis(50)) {
        if folder.is_started() {
            if !folder.is_kept()? && !folder.has_exit() {
                sweep(attempt);
            }
            return Ok(());
        }
        // With the lock held here no supervisor starts anything, and a later one finds the exit.
        if let Some(_lock) = folder.try_lock()? {
            if folder.has_exit() {
                return Ok(());
            }
            if !folder.is_started() {
                return folder.write_exit(never_ran(ExitCause::Stopped));
            }
        }
        if clock::since_boot() >= end {
            break;
        }
        clock::pause(pause);
    }
    let source = io::Error::from(ErrorKind::TimedOut);
    Err(source).during(|| format!("waiting for the lock of `{}`", folder.path().display()))
}

/// Removes an attempt, whatever state it is in.
pub(super) fn remove(folder: &Folder, attempt: AttemptId) -> Result<(), RunnerError> {
    if !folder.exists() {
        return Ok(());
    }
    stop(folder, attempt, Wish::Kill)?;
    let end = clock::since_boot() + KILL_PATIENCE;
    for pause in Pauses::new(Duration::from_millis(1), Duration::from_millis(100)) {
        if !folder.is_kept()? {
            break;
        }
        if clock::since_boot() >= end {
            let source = io::Error::from(ErrorKind::TimedOut);
            return Err(source).during(|| format!("waiting until attempt {attempt} is killed"));
        }
        clock::pause(pause);
    }
    if !folder.has_exit() {
        sweep(attempt);
    }
    bury(folder, attempt)
}

/// Kills what a supervisor that was killed itself has left.
fn sweep(attempt: AttemptId) {
    for pause in Pauses::new(Duration::from_millis(1), Duration::from_millis(50)).take(SWEEPS) {
        let left = processes::of_attempt(attempt);
        if left.is_empty() {
            return;
        }
        for process in left {
            if let Err(error) = processes::signal(process, Signal::KILL) {
                tracing::warn!(%attempt, pid = process.pid, %error, "a process cannot be killed");
            }
        }
        clock::pause(pause);
    }
    tracing::warn!(%attempt, "processes of an attempt without supervisor are left");
}

/// Takes the folder's name away, and deletes it then.
fn bury(folder: &Folder, attempt: AttemptId) -> Result<(), RunnerError> {
    let Some(parent) = folder.path().parent() else { return Ok(()) };
    let trash = parent.join(format!("{TRASH}{attempt}-{}", Uuid::new_v4()));
    match fs::rename(folder.path(), &trash) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        renamed => renamed.during(|| format!("renaming `{}`", folder.path().display()))?,
    }
    // Not synced: one that a loss of power brings back is found, reported and removed once more.
    delete(&trash);
    Ok(())
}

/// Deletes a folder that has no name any more. What resists is tried again at the next start.
pub(super) fn delete(trash: &Path) {
    let deleted = match fs::remove_dir_all(trash) {
        // Programs leave folders that may not be written, caches of compilers above all.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            open_up(trash);
            fs::remove_dir_all(trash)
        }
        deleted => deleted,
    };
    match deleted {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            tracing::warn!(path = %trash.display(), %error, "a removed attempt's folder stays");
        }
        Ok(()) | Err(_) => {}
    }
}

/// Makes all folders below writable for us, as far as they are ours.
fn open_up(folder: &Path) {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        // What cannot be opened up is told by the deletion that follows.
        let _ = fs::set_permissions(&folder, Permissions::from_mode(0o700));
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        let inner = entries.flatten().filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir()));
        folders.extend(inner.map(|entry| entry.path()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Root deletes anything, so the permissions themselves are looked at.
    #[test]
    fn folders_that_may_not_be_written_are_opened_up_and_deleted() {
        let parent = tempfile::tempdir().unwrap();
        let (trash, inner) = (parent.path().join("trash"), parent.path().join("trash/a/b"));
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("file"), "").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        for folder in [&inner, &trash] {
            fs::set_permissions(folder, Permissions::from_mode(0o500)).unwrap();
        }
        open_up(&trash);
        assert_eq!((mode(&trash), mode(&inner)), (0o700, 0o700));
        delete(&trash);
        assert!(!trash.exists());
    }
}
