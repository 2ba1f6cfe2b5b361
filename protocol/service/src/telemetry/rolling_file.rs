//! A log file that is set aside when it is full, compressed, and deleted when it is old.
//!
//! `x.log` is written; `x.log.1.zst` is the one before, `x.log.2.zst` the one before that. A file that could not be
//! compressed stays as `x.log.1` and ages like the others. If a file cannot be set aside, its lines go on into it:
//! better a log that is too large than one that is gone.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    thread,
};

/// How many full files are kept.
pub const KEPT: usize = 5;

/// Fast, and a tenth of the size for lines of a log.
const COMPRESSION_LEVEL: i32 = 3;

/// The file that is written, and those before it.
#[derive(Debug)]
pub(super) struct RollingFile {
    path: PathBuf,
    largest: u64,
    file: File,
    size: u64,
    /// When to try again to set the file aside.
    full_at: u64,
    compressing: Option<thread::JoinHandle<()>>,
}

impl RollingFile {
    /// Opens `path` to append to it, with its folder. It is set aside before it would grow beyond `largest` bytes.
    pub(super) fn open(path: &Path, largest: u64) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = append(path)?;
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), largest, file, size, full_at: largest, compressing: None })
    }

    fn set_aside(&mut self) -> io::Result<()> {
        self.wait();
        for age in (1..=KEPT).rev() {
            for ending in ["", ".zst"] {
                let old = self.aside(age, ending);
                let aged = match age {
                    KEPT => fs::remove_file(&old),
                    _ => fs::rename(&old, self.aside(age + 1, ending)),
                };
                aged.or_else(|error| match error.kind() {
                    io::ErrorKind::NotFound => Ok(()),
                    _ => Err(error),
                })?;
            }
        }
        let (full, packed) = (self.aside(1, ""), self.aside(1, ".zst"));
        fs::rename(&self.path, &full)?;
        self.file = append(&self.path)?;
        self.size = 0;
        self.full_at = self.largest;
        // On a thread of its own: the lines of a busy server would wait for it otherwise.
        let compress = move || drop(compress(&full, &packed));
        self.compressing =
            thread::Builder::new().name("log-compress".to_owned()).spawn(compress).ok();
        Ok(())
    }

    fn aside(&self, age: usize, ending: &str) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(format!(".{age}{ending}"));
        name.into()
    }

    fn wait(&mut self) {
        if let Some(compressing) = self.compressing.take() {
            let _ = compressing.join(); // it only leaves the file as it was
        }
    }
}

impl Write for RollingFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let grown = self.size.saturating_add(line.len() as u64);
        if self.size > 0 && grown > self.full_at && self.set_aside().is_err() {
            self.full_at = grown.saturating_add(self.largest);
        }
        let written = self.file.write(line)?;
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for RollingFile {
    fn drop(&mut self) {
        self.wait();
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// Writes `packed` and only then removes `full`, so that a crash between leaves both, never neither.
fn compress(full: &Path, packed: &Path) -> io::Result<()> {
    let part = packed.with_extension("part");
    let packing = || {
        let file = File::create(&part)?;
        zstd::stream::copy_encode(File::open(full)?, &file, COMPRESSION_LEVEL)?;
        file.sync_all()?;
        fs::rename(&part, packed)
    };
    match packing() {
        Ok(()) => fs::remove_file(full),
        Err(error) => {
            let _ = fs::remove_file(&part);
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn unpacked(path: &Path) -> String {
        String::from_utf8(zstd::decode_all(File::open(path).unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn full_files_are_compressed_and_a_few_are_kept_with_every_line_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs/x.log");
        let mut file = RollingFile::open(&path, 20).unwrap();
        for number in 10..30 {
            writeln!(file, "line {number}").unwrap(); // 8 bytes: two in a file
        }
        drop(file);
        let path = folder.path().join("logs");
        let aside = (1..=KEPT).map(|age| format!("x.log.{age}.zst"));
        let wanted: Vec<_> = std::iter::once("x.log".to_owned()).chain(aside).collect();
        assert_eq!(names(&path), wanted);
        let mut whole = fs::read_to_string(path.join("x.log")).unwrap();
        for name in &wanted[1..] {
            whole.insert_str(0, &unpacked(&path.join(name)));
        }
        let last: String = (18..30).map(|number| format!("line {number}\n")).collect();
        assert_eq!(whole, last);
    }

    #[test]
    fn the_next_start_goes_on_in_the_same_file_and_counts_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        for start in 0..3 {
            let mut file = RollingFile::open(&path, 20).unwrap();
            writeln!(file, "start {start}").unwrap(); // 8 bytes
        }
        assert_eq!(names(folder.path()), ["x.log", "x.log.1.zst"]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "start 2\n");
    }

    #[test]
    fn if_a_full_file_cannot_be_set_aside_its_lines_go_on_into_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        fs::create_dir_all(folder.path().join("x.log.5/in the way")).unwrap();
        let mut file = RollingFile::open(&path, 10).unwrap();
        for number in 0..3 {
            writeln!(file, "line {number}").unwrap();
        }
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "line 0\nline 1\nline 2\n");
    }

    #[test]
    fn a_file_that_was_not_compressed_in_time_ages_like_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        fs::write(folder.path().join("x.log.1"), "left by a crash").unwrap();
        let mut file = RollingFile::open(&path, 1).unwrap();
        for line in ["a", "b"] {
            file.write_all(line.as_bytes()).unwrap();
        }
        drop(file);
        assert_eq!(names(folder.path()), ["x.log", "x.log.1.zst", "x.log.2"]);
        assert_eq!(fs::read_to_string(folder.path().join("x.log.2")).unwrap(), "left by a crash");
    }
}
