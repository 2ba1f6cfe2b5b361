//! The file: a line that says what it is, a head in JSON, then entries and objects of logs, each with its length, and at
//! the end how many there were and a checksum of all before it.
//!
//! Numbers are little-endian. Whoever reads one to its end knows that it is whole; what is damaged, cut off or longer is
//! an error that says where.

use crate::store::{Entry, keys};
use bytes::Bytes;
use crc::{CRC_64_XZ, Crc, Digest, Table};
use serde::{Deserialize, Serialize};
use std::io::{self, ErrorKind, Read, Write};

/// The first bytes of every backup.
const MAGIC: &[u8; 16] = b"OCTAVIUS BACKUP\n";
/// The version of this format.
const FORMAT: u32 = 1;
/// More than a head has.
const MOST_HEAD: usize = 64 << 10;
/// More than a key, and the name of an object, have.
const MOST_NAME: usize = 64 << 10;
/// More than a value has, and what is packed of one segment of a log.
const MOST_VALUE: usize = 64 << 20;
const ENTRY: u8 = 1;
const OBJECT: u8 = 2;
const END: u8 = 3;

static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_XZ);

/// What a backup is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The layout of the keys.
    pub schema: u64,
    /// The installation's id: a UUID.
    pub installation: String,
    /// When it was taken, by the clock of the machine that took it.
    pub taken_at: jiff::Timestamp,
    /// From which kind of store.
    pub store: String,
    /// By which version of the controller.
    pub version: String,
    /// Whether the bytes of logs are in it.
    pub logs: bool,
}

/// How much a backup has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Keys.
    pub entries: u64,
    /// Objects of logs.
    pub objects: u64,
}

/// Why a file is not a backup that can be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is something else.
    #[error("it is no backup: it does not begin as one")]
    NoBackup,
    /// It is of a later version.
    #[error(
        "it is a backup of format {found}, and this version reads format {FORMAT}: restore it with the `controller` that took it, or a newer one"
    )]
    Newer {
        /// Its format.
        found: u32,
    },
    /// It ends too early.
    #[error("it ends at byte {at}, in the middle: it was cut off, so take another copy of it")]
    Cut {
        /// Where.
        at: u64,
    },
    /// Its bytes are not those that were written.
    #[error("it is damaged ({why}, before byte {at}): take another copy of it")]
    Damaged {
        /// Up to where it was read.
        at: u64,
        /// What is wrong.
        why: String,
    },
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[source] io::Error),
}

/// One part of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A key and what it holds.
    Entry(Entry),
    /// An object of a log.
    Object(String, Bytes),
}

/// Writes a backup.
pub(super) struct Writer<W> {
    out: W,
    digest: Digest<'static, u64, Table<16>>,
    counts: Counts,
}

impl<W: Write> Writer<W> {
    /// Begins it.
    pub(super) fn begin(out: W, head: &Head) -> io::Result<Self> {
        let mut writer = Self { out, digest: CRC.digest(), counts: Counts::default() };
        writer.put(MAGIC)?;
        writer.put(&FORMAT.to_le_bytes())?;
        writer.put_sized(&serde_json::to_vec(head)?)?;
        Ok(writer)
    }

    /// Writes an entry. Their keys ascend.
    pub(super) fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        self.counts.entries += 1;
        self.part(ENTRY, entry.key.as_bytes(), &entry.value)
    }

    /// Writes an object, behind all entries.
    pub(super) fn object(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.counts.objects += 1;
        self.part(OBJECT, name.as_bytes(), bytes)
    }

    /// Ends it, and gives back what it was written to.
    pub(super) fn end(mut self) -> io::Result<(W, Counts)> {
        self.put(&[END])?;
        self.put(&self.counts.entries.to_le_bytes())?;
        self.put(&self.counts.objects.to_le_bytes())?;
        let sum = self.digest.finalize().to_le_bytes();
        self.out.write_all(&sum)?;
        self.out.flush()?;
        Ok((self.out, self.counts))
    }

    /// How much was written.
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// What was written so far can be read by others.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn part(&mut self, kind: u8, name: &[u8], bytes: &[u8]) -> io::Result<()> {
        self.put(&[kind])?;
        self.put_sized(name)?;
        self.put_sized(bytes)
    }

    fn put_sized(&mut self, bytes: &[u8]) -> io::Result<()> {
        let size = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        self.put(&size.to_le_bytes())?;
        self.put(bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.out.write_all(bytes)
    }
}

/// Reads a backup.
pub(super) struct Reader<R> {
    input: R,
    digest: Digest<'static, u64, Table<16>>,
    at: u64,
    last: Option<String>,
    counts: Counts,
    head: Head,
}

impl<R: Read> Reader<R> {
    /// Reads its head.
    pub(super) fn begin(input: R) -> Result<Self, FileError> {
        let head = Head {
            schema: 0,
            installation: String::new(),
            taken_at: jiff::Timestamp::UNIX_EPOCH,
            store: String::new(),
            version: String::new(),
            logs: false,
        };
        let counts = Counts::default();
        let mut reader = Self { input, digest: CRC.digest(), at: 0, last: None, counts, head };
        let magic = reader.take::<16>().map_err(|error| match error {
            FileError::Cut { .. } => FileError::NoBackup,
            other => other,
        })?;
        if magic != *MAGIC {
            return Err(FileError::NoBackup);
        }
        let found = reader.number()?;
        if found != FORMAT {
            return Err(FileError::Newer { found });
        }
        let head = reader.sized(MOST_HEAD)?;
        reader.head = serde_json::from_slice(&head)
            .map_err(|error| reader.damaged(format!("its head: {error}")))?;
        Ok(reader)
    }

    /// What it is of.
    pub(super) fn head(&self) -> &Head {
        &self.head
    }

    /// How much was read.
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// The next part; none: the file has ended, and is whole.
    pub(super) fn next(&mut self) -> Result<Option<Part>, FileError> {
        match self.take::<1>()? {
            [ENTRY] if self.counts.objects == 0 => {
                let key = self.text()?;
                if self.last.as_ref().is_some_and(|last| *last >= key) {
                    return Err(self.damaged(format!("`{key}` is not behind the key before it")));
                }
                if !key.starts_with(keys::ALL) {
                    return Err(self.damaged(format!("`{key}` is no key of a store")));
                }
                self.last = Some(key.clone());
                self.counts.entries += 1;
                let value = self.sized(MOST_VALUE)?;
                Ok(Some(Part::Entry(Entry { key, value: value.into() })))
            }
            [OBJECT] => {
                self.counts.objects += 1;
                let name = self.text()?;
                Ok(Some(Part::Object(name, self.sized(MOST_VALUE)?.into())))
            }
            [END] => self.end().map(|()| None),
            [kind] => Err(self.damaged(format!("a part of kind {kind}"))),
        }
    }

    fn end(&mut self) -> Result<(), FileError> {
        let entries = u64::from_le_bytes(self.take()?);
        let objects = u64::from_le_bytes(self.take()?);
        if (Counts { entries, objects }) != self.counts {
            let Counts { entries: had, .. } = self.counts;
            return Err(self.damaged(format!("{had} entries of {entries}")));
        }
        let sum = self.digest.clone().finalize().to_le_bytes();
        if self.take::<8>()? != sum {
            return Err(self.damaged("the checksum is another".to_owned()));
        }
        match self.input.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.damaged("something is behind its end".to_owned())),
            Err(error) => Err(FileError::Unreadable(error)),
        }
    }

    fn text(&mut self) -> Result<String, FileError> {
        let name = self.sized(MOST_NAME)?;
        String::from_utf8(name).map_err(|_| self.damaged("a name that is no text".to_owned()))
    }

    fn sized(&mut self, most: usize) -> Result<Vec<u8>, FileError> {
        let size = self.number()? as usize;
        if size > most {
            return Err(self.damaged(format!("a part of {size} bytes")));
        }
        let mut bytes = Vec::new();
        let read = (&mut self.input).take(size as u64).read_to_end(&mut bytes);
        let read = read.map_err(FileError::Unreadable)?;
        self.at += read as u64;
        if read < size {
            return Err(FileError::Cut { at: self.at });
        }
        self.digest.update(&bytes);
        Ok(bytes)
    }

    fn number(&mut self) -> Result<u32, FileError> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    fn take<const SIZE: usize>(&mut self) -> Result<[u8; SIZE], FileError> {
        let mut bytes = [0; SIZE];
        match self.input.read_exact(&mut bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                return Err(FileError::Cut { at: self.at });
            }
            Err(error) => return Err(FileError::Unreadable(error)),
        }
        self.at += SIZE as u64;
        self.digest.update(&bytes);
        Ok(bytes)
    }

    fn damaged(&self, why: String) -> FileError {
        FileError::Damaged { at: self.at, why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        Head {
            schema: 1,
            installation: "i".to_owned(),
            taken_at: jiff::Timestamp::UNIX_EPOCH,
            store: "etcd".to_owned(),
            version: "1".to_owned(),
            logs: true,
        }
    }

    fn parts() -> Vec<Part> {
        let entry = |key: &str, value: &'static [u8]| {
            Part::Entry(Entry { key: key.to_owned(), value: Bytes::from_static(value) })
        };
        vec![
            entry("v1/a", b"1"),
            entry("v1/b", b""),
            Part::Object("o/1".to_owned(), Bytes::from_static(b"log")),
        ]
    }

    fn written() -> Vec<u8> {
        let mut writer = Writer::begin(Vec::new(), &head()).unwrap();
        for part in parts() {
            match part {
                Part::Entry(entry) => writer.entry(&entry).unwrap(),
                Part::Object(name, bytes) => writer.object(&name, &bytes).unwrap(),
            }
        }
        writer.end().unwrap().0
    }

    fn read(bytes: &[u8]) -> Result<Vec<Part>, FileError> {
        let mut reader = Reader::begin(bytes)?;
        let mut parts = Vec::new();
        while let Some(part) = reader.next()? {
            parts.push(part);
        }
        Ok(parts)
    }

    #[test]
    fn what_was_written_is_read() {
        let bytes = written();
        assert_eq!(Reader::begin(&bytes[..]).unwrap().head(), &head());
        assert_eq!(read(&bytes).unwrap(), parts());
    }

    #[test]
    fn a_file_that_is_cut_anywhere_longer_or_changed_in_any_byte_is_refused() {
        let bytes = written();
        for end in 0..bytes.len() {
            let refused = read(&bytes[..end]).unwrap_err();
            let right = matches!(refused, FileError::Cut { .. } | FileError::NoBackup);
            assert!(right, "cut at {end}: {refused}");
        }
        for at in 0..bytes.len() {
            for bit in [0x01, 0x80] {
                let mut changed = bytes.clone();
                changed[at] ^= bit;
                assert!(read(&changed).is_err(), "byte {at} was changed");
            }
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(read(&longer).unwrap_err().to_string().contains("behind its end"));
        let mut newer = bytes;
        newer[MAGIC.len()] = 9;
        let refused = read(&newer).unwrap_err().to_string();
        assert!(refused.contains("format 9") && refused.contains("format 1"), "{refused}");
    }
}
