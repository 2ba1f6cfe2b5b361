//! A file as it would be if it were written to: what is written stays in memory, and the file is as it was.

#![allow(clippy::disallowed_types)] // redb asks for what threads can share, and this is no actor's state

use redb::StorageBackend;
use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::unix::fs::FileExt,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What is held in memory is held in blocks of this many bytes.
const BLOCK: u64 = 4096;

/// A file, and what was written over it. Dropping it forgets what was written.
#[derive(Debug)]
pub(super) struct Overlay {
    file: File,
    /// How much of the file there is to read.
    size: u64,
    written: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    length: u64,
    /// Of the file, what was not cut off meanwhile.
    below: u64,
    blocks: BTreeMap<u64, Vec<u8>>,
}

impl Overlay {
    pub(super) fn over(file: File) -> io::Result<Self> {
        let size = file.metadata()?.len();
        let written = Mutex::new(Written { length: size, below: size, blocks: BTreeMap::new() });
        Ok(Self { file, size, written })
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A block as it is now; behind the end are zeros.
    fn block(&self, written: &Written, number: u64) -> io::Result<Vec<u8>> {
        if let Some(block) = written.blocks.get(&number) {
            return Ok(block.clone());
        }
        let mut block = vec![0; BLOCK as usize];
        let begin = number * BLOCK;
        let there = written.below.min(self.size).saturating_sub(begin).min(BLOCK) as usize;
        self.file.read_exact_at(&mut block[..there], begin)?;
        Ok(block)
    }
}

/// The parts of a range, by block: which block, from where in it, and how much of the range it has.
fn parts(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == length {
            return None;
        }
        let at = offset + done as u64;
        let within = (at % BLOCK) as usize;
        let size = (BLOCK as usize - within).min(length - done);
        let range = done..done + size;
        done += size;
        Some((at / BLOCK, within, range))
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.written().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let written = self.written();
        if offset.saturating_add(out.len() as u64) > written.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (number, within, range) in parts(offset, out.len()) {
            let block = self.block(&written, number)?;
            let size = range.len();
            out[range].copy_from_slice(&block[within..within + size]);
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut written = self.written();
        let end = length / BLOCK;
        // What was cut off is not there again when it grows.
        if !length.is_multiple_of(BLOCK) {
            let mut last = self.block(&written, end)?;
            last[(length % BLOCK) as usize..].fill(0);
            written.blocks.insert(end, last);
        }
        written.blocks.retain(|number, _| number * BLOCK < length);
        written.below = written.below.min(length);
        written.length = length;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut written = self.written();
        for (number, within, range) in parts(offset, data.len()) {
            let mut block = self.block(&written, number)?;
            let size = range.len();
            block[within..within + size].copy_from_slice(&data[range]);
            written.blocks.insert(number, block);
        }
        written.length = written.length.max(offset + data.len() as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_the_file_is_as_it_was() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let bytes: Vec<u8> = (0..10_000u32).map(|n| (n % 251) as u8).collect();
        std::fs::write(file.path(), &bytes).unwrap();
        let overlay = Overlay::over(File::open(file.path()).unwrap()).unwrap();
        let mut wanted = bytes.clone();
        wanted[4_000..9_000].fill(7);
        overlay.write(4_000, &[7; 5_000]).unwrap();
        overlay.set_len(9_500).unwrap();
        overlay.set_len(20_000).unwrap();
        wanted.truncate(9_500);
        wanted.resize(20_000, 0);
        let mut read = vec![1; 20_000];
        overlay.read(0, &mut read).unwrap();
        assert!(read == wanted);
        assert!(overlay.read(19_999, &mut [0; 2]).is_err());
        assert!(std::fs::read(file.path()).unwrap() == bytes);
    }
}
