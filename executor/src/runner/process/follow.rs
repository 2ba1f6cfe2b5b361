//! Reading a log while it is written, from any place on.
//!
//! The cursor is the offset as decimal text: the log of this kind is a file, and a place in it stays what it is.

use super::{
    folder::{During, Folder},
    rules::chunks::{Record, split},
};
use crate::runner::{LogPiece, RunnerError};
use bytes::Bytes;
use std::{
    fs::File,
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
};

/// Records that are read at once.
const RECORDS: usize = 512;

/// The place that a cursor names. Empty: the start.
pub(super) fn place(cursor: &Bytes) -> Result<u64, RunnerError> {
    if cursor.is_empty() {
        return Ok(0);
    }
    let text = str::from_utf8(cursor).ok();
    text.and_then(|text| text.parse().ok()).ok_or_else(|| {
        RunnerError::Refused(format!(
            "the cursor `{}` is not one of this runner, which are offsets in decimal: start from the empty one",
            String::from_utf8_lossy(cursor)
        ))
    })
}

/// Up to `most` bytes at `offset`, if there are any by now.
pub(super) fn read(
    folder: &Folder,
    offset: u64,
    most: usize,
) -> Result<Option<LogPiece>, RunnerError> {
    let Some(log) = open(folder, "log")? else { return Ok(None) };
    let size = log.metadata().during(|| folder.doing("looking at", "log"))?.len();
    let there = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX).min(most);
    if there == 0 {
        return Ok(None);
    }
    let mut bytes = vec![0; there];
    log.read_exact_at(&mut bytes, offset).during(|| folder.doing("reading", "log"))?;
    // Behind the bytes, for their records are written before them.
    let records = records(folder, offset, offset + there as u64)?;
    Ok(Some(LogPiece {
        offset,
        chunks: split(offset, Bytes::from(bytes), &records),
        cursor: Bytes::from((offset + there as u64).to_string()),
    }))
}

/// The records that say of the bytes from `start` to `end` when they were written.
fn records(folder: &Folder, start: u64, end: u64) -> Result<Vec<Record>, RunnerError> {
    let Some(times) = open(folder, "log.times")? else { return Ok(Vec::new()) };
    read_records(&times, start, end).during(|| folder.doing("reading", "log.times"))
}

fn read_records(times: &File, start: u64, end: u64) -> io::Result<Vec<Record>> {
    let size = Record::SIZE as u64;
    let count = times.metadata()?.len() / size;
    // Their offsets grow: the first that is behind `start` is found by halving.
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low.midpoint(high);
        let mut bytes = [0; Record::SIZE];
        times.read_exact_at(&mut bytes, middle * size)?;
        if Record::from_bytes(bytes).offset <= start { low = middle + 1 } else { high = middle }
    }
    let mut found = Vec::new();
    let mut at = low.saturating_sub(1);
    while at < count {
        let length = RECORDS.min(usize::try_from(count - at).unwrap_or(RECORDS));
        let mut bytes = vec![0; length * Record::SIZE];
        times.read_exact_at(&mut bytes, at * size)?;
        let (records, _) = bytes.as_chunks();
        let records = records.iter().map(|&record| Record::from_bytes(record));
        let before = found.len();
        found.extend(records.take_while(|record| record.offset < end));
        if found.len() - before < length {
            break;
        }
        at += length as u64;
    }
    Ok(found)
}

fn open(folder: &Folder, name: &str) -> Result<Option<File>, RunnerError> {
    match File::open(folder.path().join(name)) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).during(|| folder.doing("opening", name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// The records of a stretch are those in it, and the one before it.
        #[test]
        fn the_right_records_are_found(
            gaps in prop::collection::vec(1u64..9, 0..1_500),
            start in 0u64..9_000,
            length in 1u64..9_000,
        ) {
            let mut offset = 0;
            let mut all = Vec::new();
            for (wall, gap) in (0..).zip(gaps) {
                all.push(Record { offset, wall });
                offset += gap;
            }
            let mut file = tempfile::tempfile().unwrap();
            for record in &all {
                file.write_all(&record.to_bytes()).unwrap();
            }
            let end = start + length;
            let first = all.iter().rposition(|record| record.offset <= start).unwrap_or(0);
            let expected: Vec<Record> =
                all.into_iter().skip(first).filter(|record| record.offset < end).collect();
            prop_assert_eq!(read_records(&file, start, end).unwrap(), expected);
        }
    }

    #[test]
    fn a_cursor_of_somebody_else_is_refused() {
        assert_eq!(place(&Bytes::new()).unwrap(), 0);
        assert_eq!(place(&Bytes::from("1048576")).unwrap(), 1 << 20);
        for bad in ["-1", "2026-01-01T00:00:00Z 3", "\u{fffd}"] {
            let refused = place(&Bytes::from(bad)).unwrap_err().to_string();
            assert!(refused.contains(bad) && refused.contains("empty one"), "{refused}");
        }
    }
}
