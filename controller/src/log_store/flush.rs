//! Making bytes durable: first the segment, synced, then the index. The actor goes on meanwhile.

use super::{
    LogError, LogFolder, LogStore,
    end::End,
    index::{self, Place, SegmentEntry},
    middle::LeftOut,
    rules::Flush,
    segment::{self, ObjectName},
    thin::{Thinned, thinned},
};
use crate::store::{Commit, StoreHandle, Writer};
use actix::{ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, WrapFuture};
use jiff::Timestamp;
use octavius_protocol::id::AttemptId;
use tokio::{sync::watch, time::Instant};

/// A segment that is not larger when packed is a part of its index entry.
const INLINE: usize = 4 << 10;

/// What came of a flush.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is on disk, and so much is left out of the middle of the log.
    Done(Option<LeftOut>),
    /// It is not, and may be tried again.
    Failed(String),
    /// The index may or may not say that it is: what is in memory is no longer to be trusted.
    Doubtful(String),
}

/// Stores all that waits, from now on without delay. Answers with what is left, in bytes, as it becomes less.
#[derive(Debug, Message)]
#[rtype(result = "watch::Receiver<usize>")]
pub(super) struct Drain;

impl Handler<Drain> for LogStore {
    type Result = actix::MessageResult<Drain>;

    fn handle(&mut self, _: Drain, ctx: &mut Context<Self>) -> Self::Result {
        self.draining = true;
        self.tick(ctx);
        actix::MessageResult(self.waiting.subscribe())
    }
}

impl LogStore {
    pub(super) fn flush_if_due(
        &mut self,
        attempt: AttemptId,
        hurry: bool,
        ctx: &mut Context<Self>,
    ) {
        let (now, hurry) = (self.now(), hurry || self.in_a_hurry());
        let live = self.logs.get(&attempt);
        if live.is_some_and(|live| live.log.flush_is_due(now, hurry, &self.limits)) {
            self.flush(attempt, ctx);
        }
    }

    pub(super) fn flush(&mut self, attempt: AttemptId, ctx: &mut Context<Self>) {
        if self.store.full().is_some() {
            return; // the tick tries again
        }
        let Some(live) = self.logs.get_mut(&attempt) else { return };
        let flush = live.log.begin_flush(&self.limits);
        let tools = Tools {
            store: self.store.clone(),
            writer: self.writer.clone(),
            folder: self.folder.clone(),
            term: self.term,
        };
        let work = async move { tools.stored(attempt, flush).await }.into_actor(self);
        ctx.spawn(work.map(move |outcome, store, ctx| store.flushed(attempt, outcome, ctx)));
    }

    fn flushed(&mut self, attempt: AttemptId, outcome: Outcome, ctx: &mut Context<Self>) {
        let now = self.now();
        let trouble = match outcome {
            Outcome::Done(left_out) => {
                let limits = self.limits;
                // It is in memory: a log with a flush under way does not leave.
                let _ = self.change(attempt, |log| log.flushed(left_out, &limits));
                if self.logs.get(&attempt).is_some_and(|live| live.trouble.is_some()) {
                    // An outage is over: with the next tick all that failed in it comes, a few at a time.
                    self.logs.values_mut().for_each(|live| live.log.may_try_again());
                }
                None
            }
            Outcome::Failed(why) => {
                tracing::warn!(%attempt, why, "a log could not be stored and is tried again");
                let jitter = rand::random_range(0.8..1.2);
                let _ = self.change(attempt, |log| log.not_flushed(now, jitter));
                Some(why)
            }
            Outcome::Doubtful(why) => {
                tracing::error!(%attempt, why, "the index of the logs is in doubt: read again");
                ctx.stop();
                return;
            }
        };
        if let Some(live) = self.logs.get_mut(&attempt) {
            live.trouble = trouble;
        }
        self.flush_if_due(attempt, false, ctx);
    }
}

/// What a flush works with.
struct Tools {
    store: StoreHandle,
    writer: Writer,
    folder: LogFolder,
    term: u64,
}

impl Tools {
    /// Stores one flush, and what goes with it of the middle.
    async fn stored(&self, attempt: AttemptId, flush: Flush) -> Outcome {
        let began = Instant::now();
        let segment = match placed(&self.folder, self.term, attempt, &flush).await {
            Ok(place) => place.and_then(|place| SegmentEntry::new(&flush, place)),
            Err(error) => return Outcome::Failed(error.to_string()),
        };
        let thinned = match &flush.thinning {
            Some(thinning) => thinned(&self.store, &self.writer, attempt, *thinning).await,
            None => Ok(Thinned::default()),
        };
        let Thinned { mut writes, left_out, objects } = match thinned {
            Ok(thinned) => thinned,
            Err(why) => return Outcome::Doubtful(why),
        };
        let left_out = left_out.or(flush.left_out);
        writes.extend(segment.as_ref().map(|segment| index::segment(attempt, segment)));
        let end = flush.end.map(|end| End { left_out, ..end });
        writes.extend(end.map(|end| index::closed(attempt, end, Timestamp::now())));
        let outcome = self.writer.commit(writes).await;
        metrics::histogram!("octavius_log_flush_seconds").record(began.elapsed());
        match outcome {
            Commit::Done => {
                let segments = u64::from(segment.is_some());
                metrics::counter!("octavius_log_segments_total").increment(segments);
                self.folder.delete_all(objects).await;
                Outcome::Done(left_out)
            }
            Commit::Refused(why) | Commit::Unknown(why) => Outcome::Doubtful(why),
        }
    }
}

/// Puts the chunks where they belong; nowhere if there are none.
async fn placed(
    folder: &LogFolder,
    term: u64,
    attempt: AttemptId,
    flush: &Flush,
) -> Result<Option<Place>, LogError> {
    let Some(first) = flush.chunks.first() else { return Ok(None) };
    let (offset, chunks) = (first.offset, flush.chunks.clone());
    let _turn = folder.turn().await;
    let packed = folder.packing(move || segment::packed(chunks)).await;
    let packed = packed.map_err(std::io::Error::other).and_then(|packed| packed);
    let packed = packed.map_err(|error| LogError::Away(format!("compressing failed: {error}")))?;
    if packed.len() <= INLINE {
        return Ok(Some(Place::Inline(packed)));
    }
    let name = ObjectName::new(attempt, offset, term, &packed).text();
    folder.put(&name, packed).await?;
    Ok(Some(Place::Object(name)))
}
