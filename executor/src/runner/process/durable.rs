//! Writing so that it is there after a crash: the file is synced before it has its name, the folder after.
//!
//! Everything that decides something about an attempt is written through here. A reader sees a file whole or not at
//! all, in this process and in any other. Only what is `put` into a folder that has no name yet has its own name at once:
//! nobody reads there before the folder is named, and the folder is synced before that.
//!
//! Removal syncs nothing. That a folder which has come apart does not have its old name again after a crash rests on
//! metadata that reach the disk in their order, as with ext4, xfs and btrfs.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};
use uuid::Uuid;

/// Gives `folder` a file `name` that holds `bytes`, in place of the one that has the name now.
pub(super) fn replace(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let making = folder.join(format!(".{name}.{}", Uuid::new_v4()));
    let filled = new_file(&making).and_then(|file| fill(file, bytes));
    let made = filled.and_then(|()| fs::rename(&making, folder.join(name)));
    if let Err(error) = made {
        // It may not be there at all; the first fault is the one to tell.
        let _ = fs::remove_file(&making);
        return Err(error);
    }
    sync_folder(folder)
}

/// Gives `folder` a file `name` if it has none. Whether it was this call that did. After a fault it has none.
pub(super) fn create(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<bool> {
    let (path, making) = (folder.join(name), folder.join(format!(".{name}.{}", Uuid::new_v4())));
    // The name comes last: who saw it before would take for done what may still fail.
    let filled = new_file(&making).and_then(|file| fill(file, bytes));
    let named = filled.and_then(|()| fs::hard_link(&making, &path));
    // It may not be there at all; the first fault is the one to tell.
    let _ = fs::remove_file(&making);
    match named {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(error),
    }
    if let Err(error) = sync_folder(folder) {
        // Nobody else has made it, so nobody else's is taken away.
        let _ = fs::remove_file(path);
        return Err(error);
    }
    Ok(true)
}

/// Gives a folder that nobody else knows of yet a file `name` that holds `bytes`. Its name lasts once the folder is synced.
pub(super) fn put(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    new_file(&folder.join(name)).and_then(|file| fill(file, bytes))
}

/// Makes the names in `folder` last.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// A new file, for its owner alone.
fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Fills a file; its bytes are on disk before this returns.
fn fill(mut file: File, bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(()); // that it is there is said by the folder, which is synced
    }
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_created_once() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(create(folder.path(), "once", b"first").unwrap());
        assert!(!create(folder.path(), "once", b"second").unwrap());
        assert_eq!(read("once"), "first");
        replace(folder.path(), "once", b"third").unwrap();
        assert_eq!(read("once"), "third");
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "something temporary stayed: {left:?}");
    }

    /// Whoever sees `started` takes the program for started: a fault while it is written must not show it first.
    #[test]
    fn a_file_that_is_created_is_seen_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = vec![b'x'; 1 << 20];
        for round in 0..20 {
            let path = folder.path().join(round.to_string());
            std::thread::scope(|scope| {
                let reader = scope.spawn(|| {
                    loop {
                        if let Ok(seen) = fs::read(&path) {
                            return seen.len();
                        }
                    }
                });
                assert!(create(folder.path(), &round.to_string(), &bytes).unwrap());
                assert_eq!(reader.join().unwrap(), bytes.len());
            });
        }
    }
}
