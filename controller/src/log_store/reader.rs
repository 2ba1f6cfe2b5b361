//! Readers: each goes at its own pace, and holds nothing between two pieces but where it is.
//!
//! What is durable a reader fetches itself, from the index and the folder; only for what is not durable yet, and for
//! word of more, does it ask the actor. So a slow reader holds nobody up, and closed logs are read without the actor.

use super::{
    LogError, LogHandle, LogInfo, Piece, Progress,
    index::{self, Ahead, Place, SegmentEntry},
    look::Look,
    middle,
    rules::{Placed, Tail},
    segment::{self, Damaged},
    segments::Missed,
};
use jiff::Timestamp;
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
    /// The segment that it is in, and those that come next.
    ahead: VecDeque<SegmentEntry>,
    /// An object that was not there, where the index said so.
    gone: Option<String>,
    /// What was read before is passed over, until something is found that was not.
    since: Option<Timestamp>,
    /// Nothing behind it is passed over.
    until: u64,
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
        let (ahead, at_seam) = (VecDeque::new(), offset == 0);
        let (gone, since, until, following) = (None, None, u64::MAX, None);
        Self { logs, attempt, offset, durable: 0, at_seam, ahead, gone, since, until, following }
    }

    /// Passes over what was read before that time, by the executor's clock, up to the first that was not.
    pub(super) fn since(self, since: Option<Timestamp>) -> Self {
        Self { since, ..self }
    }

    /// Passes over nothing behind this offset: who writes fast enough would never let it end.
    pub fn until(self, until: u64) -> Self {
        Self { until, ..self }
    }

    /// Where it stands: the place of the next byte.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next piece, without waiting for the job to write more. Cancel safe. After an error it may be called again:
    /// it goes on where it stands.
    pub async fn next(&mut self) -> Result<Piece, LogError> {
        loop {
            match (self.step().await?, self.since) {
                (Piece::Bytes { offset, chunk, .. }, Some(since))
                    if chunk.observed_at < since && offset < self.until =>
                {
                    tokio::task::consume_budget().await;
                }
                (piece @ (Piece::Bytes { .. } | Piece::Gap { .. }), _) => {
                    self.since = None;
                    return Ok(piece);
                }
                (piece @ (Piece::CaughtUp | Piece::End(_)), _) => return Ok(piece),
            }
        }
    }

    async fn step(&mut self) -> Result<Piece, LogError> {
        for _ in 0..TURNS {
            if let Some(segment) = self.ahead.pop_front() {
                match self.of(segment).await? {
                    Some(piece) => return Ok(piece),
                    None => continue,
                }
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

    /// The piece of a segment at the offset; none if its object went meanwhile, or it ends before.
    async fn of(&mut self, segment: SegmentEntry) -> Result<Option<Piece>, LogError> {
        let (offset, end) = (self.offset, segment.end());
        if let Some(Place::LeftOut(limit)) = segment.place {
            (self.offset, self.at_seam) = (end.max(offset), true);
            let (size, reason) = (end.saturating_sub(offset), middle::reason(limit));
            return Ok((size > 0).then_some(Piece::Gap { offset, size, reason }));
        }
        let unpacked = match self.logs.segments.get(self.attempt, &segment).await {
            Ok(unpacked) => unpacked,
            Err(Missed::Failed(error)) => return Err(error),
            Err(Missed::Gone) => return self.is_gone(segment).await,
        };
        self.gone = None;
        let Some(Placed { offset, chunk }) = segment::piece(&unpacked.chunks, offset) else {
            return Ok(None);
        };
        self.offset = offset + chunk.data.len() as u64;
        self.at_seam = self.offset == end;
        if !self.at_seam {
            self.ahead.push_front(segment);
        }
        Ok(Some(Piece::Bytes { offset, durable: self.durable, chunk }))
    }

    /// The object of a segment is not there. The index told of it a while ago: if it does not any more, all is well.
    async fn is_gone(&mut self, segment: SegmentEntry) -> Result<Option<Piece>, LogError> {
        let (attempt, end) = (self.attempt, segment.end());
        let name = segment.object();
        if name.is_some() && self.gone == name {
            let why = format!(
                "it is not there any more; what comes behind it can be read from byte {end} on"
            );
            let name = name.unwrap_or_default();
            return Err(index::damaged(&name, &Damaged(why)));
        }
        if !index::begins(&self.logs.store, attempt).await? {
            return Err(self.logs.expired(attempt));
        }
        self.gone = name;
        self.ahead.clear();
        self.at_seam = false;
        Ok(None)
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
        let (store, attempt) = (&self.logs.store, self.attempt);
        match index::at(store, attempt, self.offset, self.at_seam).await {
            // It is being removed.
            Err(LogError::Damaged(_)) if !index::begins(store, attempt).await? => {
                Err(self.logs.expired(attempt))
            }
            found => found,
        }
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
            Tail::Beyond(0) if offset <= self.durable => Err(self.logs.expired(attempt)),
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
