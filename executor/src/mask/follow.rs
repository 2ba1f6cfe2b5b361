//! Following a runner's log, masked.

use super::{
    MASK, Masker,
    place::{Line, Place},
    scan::Found,
};
use crate::runner::{LogPiece, Runner, RunnerError};
use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use octavius_protocol::id::AttemptId;
use std::time::Duration;
use tokio::time::Instant;

/// How long it may take to read again what was read a moment ago.
const AGAIN: Duration = Duration::from_secs(5);

/// How a runner's log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogEnd {
    /// It is not known to.
    Unknown,
    /// With so many bytes.
    At(u64),
    /// Where the runner has nothing more.
    Silence,
}

/// What was read behind a place.
struct Read {
    /// The place in the runner's log.
    start: u64,
    chunks: Vec<(i64, Bytes)>,
    length: usize,
    /// The runner's cursors, each behind so many of these bytes; the first is where it began.
    cursors: Vec<(usize, Bytes)>,
}

impl Read {
    fn push(&mut self, piece: LogPiece) {
        self.length += piece.size();
        self.chunks.extend(piece.chunks);
        self.cursors.push((self.length, piece.cursor));
    }

    /// The last cursor that is not behind so many bytes.
    fn cursor(&self, most: usize) -> (usize, &Bytes) {
        let behind = self.cursors.partition_point(|(length, _)| *length <= most);
        let (length, cursor) = &self.cursors[behind.saturating_sub(1)];
        (*length, cursor)
    }

    fn text(&self) -> Bytes {
        match &self.chunks[..] {
            [(_, only)] => only.clone(),
            several => {
                let mut text = BytesMut::with_capacity(self.length);
                several.iter().for_each(|(_, bytes)| text.extend_from_slice(bytes));
                text.freeze()
            }
        }
    }
}

impl Masker {
    /// As [`Runner::follow`], of the log as it is when all values are masked: behind `cursor`, which is at `offset` of
    /// that. Behind its end a line says how many values are.
    pub(crate) async fn follow(
        &self,
        runner: &dyn Runner,
        attempt: AttemptId,
        (offset, cursor): (u64, &Bytes),
        most: usize,
        within: Duration,
        end: LogEnd,
    ) -> Result<Option<LogPiece>, RunnerError> {
        let place = Place::from_bytes(cursor)?;
        let start = place.raw(offset);
        if place.line == Line::Over {
            return Ok(None);
        }
        if matches!(end, LogEnd::At(size) if start >= size) {
            return Ok(place.last_words(offset));
        }
        let deadline = Instant::now() + within;
        let cursors = vec![(0, place.inner.clone())];
        let mut read = Read { start, chunks: Vec::new(), length: 0, cursors };
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let (_, behind) = read.cursor(read.length);
            let more = most.saturating_sub(read.length).max(1);
            let piece = runner.follow(attempt, behind, more, left).await?;
            let came = piece.is_some();
            if let Some(piece) = piece {
                expect(piece.offset, start + read.length as u64)?;
                read.push(piece);
            }
            let is_end = match end {
                LogEnd::Unknown => false,
                LogEnd::At(size) => start + read.length as u64 >= size,
                LogEnd::Silence => !came,
            };
            let text = read.text();
            let found = self.find(text.clone(), is_end).await.map_err(|source| {
                RunnerError::Failed { what: "masking a log".to_owned(), source }
            })?;
            if found.decided > 0
                && let Some(inner) = inner(runner, attempt, &read, &text, found.decided).await?
            {
                return Ok(Some(place.masked(&read, &found, inner)));
            }
            if is_end && text.is_empty() {
                return Ok(place.last_words(offset));
            }
            // Else all of it is held back, and there may be more.
            if !came {
                return Ok(None);
            }
        }
    }
}

/// The runner's cursor behind so many bytes of what was read; none: there is none yet.
async fn inner(
    runner: &dyn Runner,
    attempt: AttemptId,
    read: &Read,
    text: &Bytes,
    length: usize,
) -> Result<Option<Bytes>, RunnerError> {
    let (mut at, cursor) = read.cursor(length);
    let mut cursor = cursor.clone();
    // It ends in the middle of a piece. The runner gives that again, but no more of it.
    while at < length {
        let Some(again) = runner.follow(attempt, &cursor, length - at, AGAIN).await? else {
            return Ok(None);
        };
        expect(again.offset, read.start + at as u64)?;
        for (_, bytes) in &again.chunks {
            let Some(same) = text[at..length].strip_prefix(&bytes[..]) else {
                // Other words, or more than was asked for: more is read first.
                return Ok(None);
            };
            at = length - same.len();
        }
        cursor = again.cursor;
    }
    Ok(Some(cursor))
}

fn expect(got: u64, wanted: u64) -> Result<(), RunnerError> {
    if got == wanted {
        return Ok(());
    }
    Err(RunnerError::Refused(format!(
        "a piece of the log begins at {got} and not at {wanted}, where it was asked for"
    )))
}

impl Place {
    /// What is decided of what was read behind this place, masked.
    fn masked(self, read: &Read, found: &Found, inner: Bytes) -> LogPiece {
        let chunks = masked(&read.chunks, found);
        let offset = read.start.saturating_add_signed(-self.less);
        let size: usize = chunks.iter().map(|(_, bytes)| bytes.len()).sum();
        let ends_a_line = chunks.last().is_some_and(|(_, bytes)| bytes.ends_with(b"\n"));
        let place = Self {
            less: self.less + found.decided as i64 - size as i64,
            count: self.count + found.places.len() as u64,
            line: if ends_a_line { Line::Begun } else { Line::Middle },
            inner,
        };
        LogPiece { offset, chunks, cursor: place.to_bytes() }
    }

    /// Says behind the end, which is at `offset`, how many values are masked; none: none is.
    fn last_words(self, offset: u64) -> Option<LogPiece> {
        let values = match self.count {
            0 => return None,
            1 => "1 value of a secret is".to_owned(),
            count => format!("{count} values of secrets are"),
        };
        let before = if self.line == Line::Middle { "\n" } else { "" };
        let words = format!("{before}[octavius: {values} masked in this log]\n");
        let place = Self { less: self.less - words.len() as i64, line: Line::Over, ..self };
        let chunks = vec![(Timestamp::now().as_millisecond(), Bytes::from(words))];
        Some(LogPiece { offset, chunks, cursor: place.to_bytes() })
    }
}

/// What is decided of some chunks, with a mask in the chunk in which what it replaces begins.
fn masked(chunks: &[(i64, Bytes)], found: &Found) -> Vec<(i64, Bytes)> {
    let mut places = found.places.iter().peekable();
    let (mut all, mut start, mut from) = (Vec::with_capacity(chunks.len()), 0, 0);
    for (time, chunk) in chunks {
        let end = (start + chunk.len()).min(found.decided);
        let part = |from: usize, to: usize| chunk.slice(from - start..to - start);
        let mut parts = Vec::new();
        while from < end {
            match places.next_if(|place| place.start < end) {
                Some(place) => {
                    parts.extend([part(from, place.start), Bytes::from_static(MASK.as_bytes())]);
                    from = place.end;
                }
                None => {
                    parts.push(part(from, end));
                    from = end;
                }
            }
        }
        let bytes = match &parts[..] {
            [only] => only.clone(),
            several => several.concat().into(),
        };
        if !bytes.is_empty() {
            all.push((*time, bytes));
        }
        start += chunk.len();
    }
    all
}

#[cfg(test)]
mod tests;
