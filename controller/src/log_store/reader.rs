//! Readers: each goes at its own pace and holds one segment at a time.
//!
//! What is durable a reader fetches itself, from the index and the folder; only for what is not durable yet, and for
//! word of more, does it ask the actor. So a slow reader holds nobody up, and closed logs are read without the actor.

use super::{
    LogError, LogHandle, LogInfo, Piece, Progress,
    index::{self, Ahead, Place, SegmentEntry},
    look::Look,
    rules::{Placed, Tail},
    segment::{self, Damaged, ObjectName},
};
use octavius_protocol::id::AttemptId;
use octavius_service::actor::{Priority, Unanswered};
use std::{cmp::Ordering, collections::VecDeque, time::Duration};
use tokio::{sync::watch, time::Instant};

/// `more` returns after this time in any case, so that its caller can look whether it is still wanted.
const MORE_WITHIN: Duration = Duration::from_secs(5);
/// A reader finds something in two turns, or in three if bytes became durable meanwhile.
const TURNS: usize = 8;
/// For how long a reader asks again where too many ask at once.
const LET_IN_WITHIN: Duration = Duration::from_secs(30);
/// The first pause before it asks again; each further one is twice as long, with jitter.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// One reader of one log.
#[derive(Debug)]
pub struct LogReader {
    logs: LogHandle,
    attempt: AttemptId,
    /// Where it stands.
    offset: u64,
    /// Everything before is known to be durable. It only grows, also over restarts of the actor.
    durable: u64,
    /// Whether a segment is known to begin where it stands, if one covers it.
    at_seam: bool,
    /// What is left of the segment that it is in.
    pieces: VecDeque<Placed>,
    /// The segments that come next.
    ahead: VecDeque<SegmentEntry>,
    following: Option<Following>,
}

/// A reader that has reached the end of what is durable, and hears of more.
#[derive(Debug)]
struct Following(watch::Receiver<Progress>);

impl Following {
    fn new(progress: watch::Receiver<Progress>) -> Self {
        metrics::gauge!("octavius_log_followers").increment(1.0);
        Self(progress)
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        metrics::gauge!("octavius_log_followers").decrement(1.0);
    }
}

impl LogReader {
    pub(super) fn new(logs: LogHandle, attempt: AttemptId, offset: u64) -> Self {
        let (pieces, ahead) = (VecDeque::new(), VecDeque::new());
        let at_seam = offset == 0;
        Self { logs, attempt, offset, durable: 0, at_seam, pieces, ahead, following: None }
    }

    /// The next piece, without waiting for the job to write more. Cancel safe. After an error it may be called again:
    /// it goes on where it stands.
    pub async fn next(&mut self) -> Result<Piece, LogError> {
        for _ in 0..TURNS {
            if let Some(Placed { offset, chunk }) = self.pieces.pop_front() {
                self.offset = offset + chunk.data.len() as u64;
                return Ok(Piece::Bytes { offset, durable: self.durable, chunk });
            }
            if let Some(segment) = self.ahead.front() {
                let chunks = fetched(&self.logs, segment).await?;
                self.pieces = segment::pieces(&chunks, self.offset);
                self.ahead.pop_front();
                self.at_seam = true;
                continue;
            }
            if !self.is_behind_durable() {
                match in_turn(|| self.find()).await? {
                    Ahead::Segments(segments) => {
                        let end = segments.last().map_or(0, SegmentEntry::end);
                        self.durable = self.durable.max(end);
                        self.ahead = segments.into();
                        continue;
                    }
                    Ahead::End(info) => return self.end(info),
                    Ahead::Nothing => {}
                }
            }
            if let Some(piece) = self.look().await? {
                return Ok(piece);
            }
        }
        let text = format!("the index has nothing at {}, and it should have", self.offset);
        Err(LogError::Away(text))
    }

    /// Waits until `next` has more to say than `CaughtUp`; five seconds at the most. Cancel safe.
    pub async fn more(&mut self) -> Result<(), LogError> {
        let offset = self.offset;
        let Some(Following(progress)) = &mut self.following else { return Ok(()) };
        let more = progress.wait_for(|progress| progress.closed || progress.next > offset);
        let ended = matches!(tokio::time::timeout(MORE_WITHIN, more).await, Ok(Err(_)));
        if ended {
            // The actor begins anew or forgot the log: `next` asks again.
            self.following = None;
        }
        Ok(())
    }

    /// Whether it is known that the index has nothing at the offset.
    fn is_behind_durable(&self) -> bool {
        self.following.as_ref().is_some_and(|Following(progress)| {
            let progress = progress.borrow();
            progress.durable <= self.offset && !progress.closed
        })
    }

    /// What the index has from the offset on.
    async fn find(&self) -> Result<Ahead, LogError> {
        let (store, attempt, offset) = (&self.logs.store, self.attempt, self.offset);
        if !self.at_seam
            && let Some(segment) = index::containing(store, attempt, offset).await?
        {
            return Ok(Ahead::Segments(vec![segment]));
        }
        index::ahead(store, attempt, offset).await
    }

    fn end(&self, info: LogInfo) -> Result<Piece, LogError> {
        let (offset, size) = (self.offset, info.size);
        match offset.cmp(&size) {
            Ordering::Equal => Ok(Piece::End(info)),
            Ordering::Greater => Err(LogError::OutOfRange { offset, size }),
            Ordering::Less => {
                let why = Damaged(format!("it ends at {size}, and no segment begins at {offset}"));
                Err(index::damaged(&format!("the log of {}", self.attempt), &why))
            }
        }
    }

    /// What the actor has at the offset; none if it became durable.
    async fn look(&mut self) -> Result<Option<Piece>, LogError> {
        let offset = self.offset;
        let (logs, attempt) = (&self.logs.actor, self.attempt);
        let looked =
            in_turn(|| async move { logs.query(Priority::Read, Look { attempt, offset }).await? });
        let looked = looked.await?;
        self.durable = self.durable.max(looked.progress.borrow().durable);
        match &mut self.following {
            Some(Following(progress)) => *progress = looked.progress,
            None => self.following = Some(Following::new(looked.progress)),
        }
        match looked.tail {
            Tail::Durable => Ok(None),
            Tail::Bytes(chunk) => {
                self.offset = offset + chunk.data.len() as u64;
                self.at_seam = false;
                Ok(Some(Piece::Bytes { offset, durable: self.durable, chunk }))
            }
            Tail::CaughtUp => Ok(Some(Piece::CaughtUp)),
            Tail::End(info) => Ok(Some(Piece::End(info))),
            Tail::Beyond(size) => Err(LogError::OutOfRange { offset, size }),
        }
    }
}

/// Asks, and asks again while too many others do: one append wakes all followers of a log in the same moment, and they
/// may be more than are let in. So it is no reason to end a reader, as long as its turn comes.
async fn in_turn<T, F>(mut ask: impl FnMut() -> F) -> Result<T, LogError>
where
    F: Future<Output = Result<T, LogError>>,
{
    let deadline = Instant::now() + LET_IN_WITHIN;
    let mut pause = FIRST_PAUSE;
    loop {
        let full = match ask().await {
            Err(full @ LogError::Unanswered(Unanswered::Full { .. })) => full,
            answer => return answer,
        };
        // From nothing on: who was refused in one moment must not come back in one moment.
        let jittered = pause.mul_f64(rand::random_range(0.0..1.0));
        if Instant::now() + jittered >= deadline {
            return Err(full);
        }
        tokio::time::sleep(jittered).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// The chunks of a segment, from wherever they are.
async fn fetched(logs: &LogHandle, segment: &SegmentEntry) -> Result<Vec<Placed>, LogError> {
    let (offset, size) = (segment.offset, segment.size);
    let name = match &segment.place {
        Some(Place::Inline(packed)) => {
            let chunks = segment::unpacked(offset, size, packed);
            return chunks.map_err(|why| index::damaged(&format!("the segment at {offset}"), &why));
        }
        Some(Place::Object(name)) => name.clone(),
        None => {
            let why = Damaged("it is in a place that this version does not know".to_owned());
            return Err(index::damaged(&format!("the segment at {offset}"), &why));
        }
    };
    let packed = logs.folder.get(&name).await?;
    let object = name.clone();
    let unpacked = tokio::task::spawn_blocking(move || {
        let name = ObjectName::parse(&name).ok_or_else(|| Damaged("a strange name".to_owned()))?;
        name.fits(&packed)?;
        segment::unpacked(offset, size, &packed)
    });
    let unpacked = unpacked.await.unwrap_or_else(|error| Err(Damaged(error.to_string())));
    unpacked.map_err(|why| index::damaged(&object, &why))
}
