//! Writes what the program says: the log, the times of its pieces, its checksum, and what is missing from it.
//!
//! A fault of the disk does not stop the program. The file ends where it was full, the last bytes are kept in memory,
//! tried again at the end, and what is missing is told.

use crate::runner::process::{
    clock,
    folder::Folder,
    rules::{
        bound::{Bound, marker, too_long},
        chunks::{Record, record_is_due},
    },
};
use crc::{CRC_64_XZ, Crc, Digest, Table};
use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    time::Duration,
};

static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_XZ);

/// The log of an attempt while its program runs.
pub(super) struct Log {
    /// What the program wrote.
    file: Lazy,
    /// When; not written any more once a record was cut in its middle: none behind it would be found.
    times: Lazy,
    times_end: bool,
    most: u64,
    bound: Bound,
    digest: Digest<'static, u64, Table<16>>,
    size: u64,
    newline_last: bool,
    /// When the last record was due: since boot, and wall clock.
    stamp: Option<(Duration, i64)>,
    fault: Option<io::Error>,
}

/// A file that is made when it is first written.
struct Lazy {
    path: PathBuf,
    file: Option<File>,
}

impl Lazy {
    fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    fn open(&mut self) -> io::Result<&mut File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => {
                let mut options = OpenOptions::new();
                options.write(true).create(true).truncate(true).mode(0o600).open(&self.path)?
            }
        };
        Ok(self.file.insert(file))
    }

    fn sync(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), File::sync_all)
    }
}

/// What became of a log.
pub(super) struct Written {
    /// Bytes in the file.
    pub(super) size: u64,
    /// CRC-64/XZ of these bytes.
    pub(super) crc: u64,
    /// What is missing, in words.
    pub(super) cut: String,
}

impl Log {
    /// An empty log that will hold `most` bytes.
    pub(super) fn new(folder: &Folder, most: u64) -> Self {
        Self {
            file: Lazy::new(folder.log_path()),
            times: Lazy::new(folder.times_path()),
            times_end: false,
            most,
            bound: Bound::new(most),
            digest: CRC.digest(),
            size: 0,
            newline_last: true,
            stamp: None,
            fault: None,
        }
    }

    /// Takes bytes that the program has just written.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        let now = clock::since_boot();
        let (new, wall) = match self.stamp {
            Some((last, wall)) if !record_is_due(Some(last), now) => (false, wall),
            Some(_) | None => (true, clock::wall()),
        };
        if new {
            self.stamp = Some((now, wall));
        }
        let room = self.bound.room(bytes.len());
        if new && room > 0 {
            self.record(wall);
        }
        let written = self.write(&bytes[..room]);
        self.bound.wrote(written, room);
        self.bound.keep(&bytes[written..], wall);
    }

    /// Writes what was held back, and makes all of it last.
    pub(super) fn finish(mut self) -> Written {
        // A disk that was full may have room again.
        let fault = self.fault.take();
        let rest = self.bound.take_rest();
        let mut cut = String::new();
        if rest.left_out > 0 {
            cut = match fault {
                None => too_long(rest.left_out, self.most),
                Some(fault) => format!(
                    "{} bytes are left out, the log could not be written: {fault}",
                    rest.left_out
                ),
            };
            let line_end = if self.newline_last { "" } else { "\n" };
            self.record(rest.pieces.first().map_or_else(clock::wall, |piece| piece.0));
            self.write(format!("{line_end}{}", marker(&cut)).as_bytes());
        }
        for (wall, bytes) in rest.pieces {
            if self.fault.is_none() {
                self.record(wall);
                self.write(&bytes);
            }
        }
        if let Err(error) = self.sync() {
            self.fault.get_or_insert(error);
        }
        if let Some(fault) = self.fault {
            cut = format!("the end of the log is missing, it could not be written: {fault}");
        }
        Written { size: self.size, crc: self.digest.finalize(), cut }
    }

    /// How many of `bytes` could be written.
    fn write(&mut self, bytes: &[u8]) -> usize {
        let mut written = 0;
        while written < bytes.len() && self.fault.is_none() {
            match self.file.open().and_then(|file| file.write(&bytes[written..])) {
                Ok(0) => self.fault = Some(io::ErrorKind::WriteZero.into()),
                Ok(more) => written += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.fault = Some(error),
            }
        }
        self.digest.update(&bytes[..written]);
        self.size += written as u64;
        if let Some(last) = bytes[..written].last() {
            self.newline_last = *last == b'\n';
        }
        written
    }

    /// The next bytes were written at `wall`. Before the bytes themselves, so that who sees them sees their time.
    fn record(&mut self, wall: i64) {
        let record = Record { offset: self.size, wall }.to_bytes();
        if !self.times_end {
            let written = self.times.open().and_then(|file| file.write_all(&record));
            self.times_end = written.is_err();
        }
    }

    fn sync(&self) -> io::Result<()> {
        // Their names are synced with the folder, by whoever writes `exit`.
        self.file.sync()?;
        if self.times_end { Ok(()) } else { self.times.sync() }
    }
}
