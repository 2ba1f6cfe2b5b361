//! Finding where a reader begins who wants the last lines, or what is younger than a time, without reading all of it.

use super::{
    LogError, LogHandle, LogReader, LogStore, index, index::Place, rules::Placed, segments::Missed,
};
use actix::{Context, Handler, Message, MessageResult};
use jiff::Timestamp;
use octavius_protocol::id::AttemptId;
use octavius_service::actor::Priority;

/// What of a log a reader wants; of several wishes the one that begins last counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// From this byte on.
    pub offset: u64,
    /// What the executor read at this time or later, by its own clock.
    pub since: Option<Timestamp>,
    /// The last lines of what is there now.
    pub tail_lines: Option<u64>,
}

/// The bytes of a log in memory that are not durable yet; none where it is not in memory.
#[derive(Debug, Message)]
#[rtype(result = "Option<Vec<Placed>>")]
struct Pending {
    attempt: AttemptId,
}

impl Handler<Pending> for LogStore {
    type Result = MessageResult<Pending>;

    fn handle(&mut self, Pending { attempt }: Pending, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.logs.get(&attempt).map(|live| live.log.pending()))
    }
}

impl LogHandle {
    /// A reader that stands where `wanted` begins. `had`: how large the log was, where that is known of an execution
    /// that is over; if nothing of it is left, it was kept as long as logs are.
    pub async fn open(
        &self,
        attempt: AttemptId,
        wanted: Wanted,
        had: u64,
    ) -> Result<LogReader, LogError> {
        let Wanted { mut offset, since, tail_lines } = wanted;
        if had > 0 && !index::begins(&self.store, attempt).await? {
            return Err(self.expired(attempt));
        }
        if let Some(since) = since {
            offset = offset.max(self.younger(attempt, since).await?);
        }
        if let Some(lines) = tail_lines {
            offset = offset.max(self.last_lines(attempt, lines).await?);
        }
        Ok(self.read(attempt, offset).since(since))
    }

    /// The end of what is durable, and what is behind it.
    async fn end(&self, attempt: AttemptId) -> Result<(u64, Vec<Placed>), LogError> {
        let pending = self.actor.query(Priority::Read, Pending { attempt }).await?;
        let pending = pending.unwrap_or_default();
        match pending.first() {
            Some(first) => Ok((first.offset, pending)),
            None => Ok((self.info(attempt).await?.size, pending)),
        }
    }

    /// Where the first segment begins that has something of that time or later. Times are taken to grow with offsets.
    async fn younger(&self, attempt: AttemptId, since: Timestamp) -> Result<u64, LogError> {
        let (mut low, mut high) = (0, self.end(attempt).await?.0);
        while low < high {
            let middle = low.midpoint(high);
            let Some(segment) = index::containing(&self.store, attempt, middle).await? else {
                high = middle;
                continue;
            };
            match segment.last_at < since.as_millisecond() {
                true => low = segment.end(),
                false => high = segment.offset,
            }
        }
        Ok(low)
    }

    /// Where the last lines begin. What is left out of the middle ends the search.
    async fn last_lines(&self, attempt: AttemptId, lines: u64) -> Result<u64, LogError> {
        let (mut at, pending) = self.end(attempt).await?;
        let mut search = Lines::new(lines);
        if let Some(found) = search.backwards(&pending) {
            return Ok(found);
        }
        while let Some(before) = at.checked_sub(1) {
            let Some(segment) = index::up_to(&self.store, attempt, before).await? else { break };
            if matches!(segment.place, Some(Place::LeftOut(_))) {
                return Ok(segment.offset);
            }
            match self.segments.get(attempt, &segment).await {
                Ok(unpacked) => {
                    if let Some(found) = search.backwards(&unpacked.chunks) {
                        return Ok(found);
                    }
                    at = segment.offset;
                }
                // It went since it was found: what is behind it is the answer.
                Err(Missed::Gone) => return Ok(segment.offset),
                Err(Missed::Failed(error)) => return Err(error),
            }
        }
        Ok(0)
    }
}

/// Looks for the beginning of the last lines from the end on. A last line without its end is one.
#[derive(Debug)]
struct Lines {
    /// How many ends of lines may still be passed.
    left: u64,
    /// Whether the last byte was seen.
    begun: bool,
}

impl Lines {
    fn new(lines: u64) -> Self {
        Self { left: lines, begun: false }
    }

    /// Takes the chunks that lie before those taken last; the place of the first byte once it is found.
    fn backwards(&mut self, chunks: &[Placed]) -> Option<u64> {
        for Placed { offset, chunk } in chunks.iter().rev().filter(|one| one.offset < one.end()) {
            let mut data = &chunk.data[..];
            if !std::mem::replace(&mut self.begun, true) {
                if self.left == 0 {
                    return Some(offset + data.len() as u64);
                }
                data = data.strip_suffix(b"\n").unwrap_or(data);
            }
            while let Some(place) = data.iter().rposition(|byte| *byte == b'\n') {
                self.left -= 1;
                if self.left == 0 {
                    return Some(offset + place as u64 + 1);
                }
                data = &data[..place];
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_store::Chunk;
    use bytes::Bytes;
    use proptest::{collection::vec, prelude::*};

    fn last_lines(log: &[u8], lines: usize) -> Vec<u8> {
        let all: Vec<&[u8]> = log.split_inclusive(|byte| *byte == b'\n').collect();
        all[all.len().saturating_sub(lines)..].concat()
    }

    proptest! {
        #[test]
        fn the_last_lines_are_found_however_the_log_is_cut(
            log in vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..60),
            lines in 0..12u64,
            chunk in 1..9usize,
            segment in 1..5usize,
        ) {
            let mut offset = 0;
            let placed: Vec<Placed> = log.chunks(chunk).map(|data| {
                let chunk = Chunk {
                    observed_at: Timestamp::UNIX_EPOCH,
                    data: Bytes::copy_from_slice(data),
                };
                let placed = Placed { offset, chunk };
                offset = placed.end();
                placed
            }).collect();
            let mut search = Lines::new(lines);
            let found = placed.rchunks(segment).find_map(|chunks| search.backwards(chunks));
            let found = found.unwrap_or(0) as usize;
            prop_assert_eq!(&log[found..], &last_lines(&log, lines as usize)[..]);
        }
    }
}
