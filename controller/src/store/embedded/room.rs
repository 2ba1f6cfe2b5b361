//! Whether there is room on the disk, before a commit fails for want of it.

use std::{
    fs::File,
    io::{self, Write as _},
    path::Path,
};

/// So much stays free where the data is: enough to open the file again after a failure, and to write down what was
/// decided before the gate shut.
pub(crate) const RESERVE_MIB: u64 = 16;
/// What is written to see whether there is room again.
const PROBE: &str = "room.probe";
const PROBE_BYTES: usize = 1 << 20;

/// Whether an error means that there is no room, now.
pub(super) fn is_want_of_room(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// Why nothing more should be written to `folder`; none: there is room, or nobody can tell.
pub(super) fn full(folder: &Path, thoroughly: bool) -> Option<String> {
    let place = folder.display();
    let remedy = "make room there; what is stored is shown meanwhile, executors keep what they have to say, and everything goes on by itself";
    let room = rustix::fs::statvfs(folder).ok()?;
    let mib = room.f_bavail.saturating_mul(room.f_frsize) >> 20;
    if mib < RESERVE_MIB {
        return Some(format!(
            "the store is full: {mib} MiB are free where `data_dir` is (`{place}`), and nothing is written with less than {RESERVE_MIB}: {remedy}"
        ));
    }
    // A quota is not seen in what the disk has free.
    let error = if thoroughly { probe(folder).err() } else { None };
    error.filter(is_want_of_room).map(|error| {
        format!("the store is full: writing to `data_dir` (`{place}`) gives \"{error}\": {remedy}")
    })
}

fn probe(folder: &Path) -> io::Result<()> {
    let file = folder.join(PROBE);
    let written = File::create(&file).and_then(|mut probe| {
        probe.write_all(&vec![0; PROBE_BYTES])?;
        probe.sync_all()
    });
    let removed = std::fs::remove_file(&file);
    written.and(removed)
}
