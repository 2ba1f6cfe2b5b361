//! Final executions that were kept long enough: they are looked for now and then, a few at a time, and removed with all
//! that there is of them.
//!
//! First their logs go, which are `LogStore`'s, and then everything else in one transaction. Whatever happens in between,
//! what is left is an execution that is final and still whole but for its logs, and the next look finds it again. Only
//! what lies in history is looked at: what is not final is not there.

use super::{JobQueue, record::Record, rules::retain, storage, trust};
use crate::{
    log_store::LogHandle,
    store::{Entry, Range, ReadError, StoreHandle, keys},
};
use actix::prelude::*;
use futures::{StreamExt, future, stream};
use jiff::Timestamp;
use std::time::Duration;

/// How many records are looked at in one step: all that there is of them fits in one transaction.
const AT_ONCE: usize = 16;
/// How many executions' logs are removed at a time.
const LOGS_AT_ONCE: usize = 4;
/// What is waited between two steps, so that this is never what the store is busy with.
const PAUSE: Duration = Duration::from_millis(5);

/// For how long final executions are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retention {
    /// For how long after their end, by this machine's clock.
    pub(crate) keep_for: Duration,
    /// How often it is looked for those that were kept so long.
    pub(crate) every: Duration,
}

impl Retention {
    /// Keeps them for so long, and not much longer.
    pub(crate) fn of(keep_for: Duration) -> Self {
        let every = (keep_for / 10).clamp(Duration::from_millis(100), Duration::from_mins(10));
        Self { keep_for, every }
    }
}

/// Looks at the next records behind this key of history; none: from those on that may be old enough. Answered when that
/// is done; what is behind them is looked at by the next such message, which the actor sends to itself.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct LookForOld {
    behind: Option<String>,
}

impl LookForOld {
    /// The first step of a look.
    pub(super) const FIRST: Self = Self { behind: None };
}

/// What one step found.
struct Step {
    /// Those whose logs are gone, and that can go, too.
    over: Vec<Record>,
    /// Where the next step goes on; none: the look is over.
    last: Option<String>,
}

impl Handler<LookForOld> for JobQueue {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, LookForOld { behind }: LookForOld, _: &mut Self::Context) -> Self::Result {
        let (store, logs) = (self.parts.store.clone(), self.parts.logs.clone());
        let keep_for = self.parts.retention.keep_for;
        let first = behind.is_none();
        let looking = async move {
            let pause = if first { Duration::ZERO } else { PAUSE };
            tokio::time::sleep(pause).await;
            step(&store, &logs, keep_for, behind).await
        };
        let removed = looking.into_actor(self).then(|step, queue, _| queue.remove(step));
        Box::pin(removed.map(|next, queue, context| match next {
            Some(behind) => context.notify(LookForOld { behind: Some(behind) }),
            None => {
                let every = queue.parts.retention.every.mul_f64(rand::random_range(0.9..1.1));
                context.notify_later(LookForOld::FIRST, every);
            }
        }))
    }
}

impl JobQueue {
    /// Removes what a step found, and answers where the next one begins.
    fn remove(&mut self, step: Result<Step, ReadError>) -> ResponseActFuture<Self, Option<String>> {
        let Step { over, last } = match step {
            Ok(step) => step,
            Err(error) => {
                tracing::warn!(%error, "executions that were kept long enough are left for later");
                return Box::pin(fut::ready(None));
            }
        };
        // To delete takes room, too.
        if self.parts.store.full().is_some() {
            return Box::pin(fut::ready(None));
        }
        if over.is_empty() {
            return Box::pin(fut::ready(last));
        }
        let count = over.len();
        let removed = self.writer.commit(over.iter().flat_map(storage::removal).collect());
        Box::pin(removed.into_actor(self).map(move |outcome, _, context| {
            trust(outcome, context).ok()?;
            metrics::counter!("octavius_executions_removed_total").increment(count as u64);
            tracing::debug!(count, "removed executions that were kept long enough");
            last
        }))
    }
}

/// Looks at a few records of history, and removes the logs of those that were kept long enough.
async fn step(
    store: &StoreHandle,
    logs: &LogHandle,
    keep_for: Duration,
    behind: Option<String>,
) -> Result<Step, ReadError> {
    let nothing = Step { over: Vec::new(), last: None };
    let now = Timestamp::now();
    if store.full().is_some() {
        return Ok(nothing);
    }
    let all = Range::prefix(keys::DONE, AT_ONCE);
    let range = match behind {
        Some(behind) => all.after(&behind),
        None => match retain::newest_that_may_be_over(keep_for, now) {
            // What was submitted later cannot have ended earlier.
            Some(newest) => Range { start: keys::done(newest), ..all },
            None => return Ok(nothing),
        },
    };
    let page = store.range(range).await?;
    let last = page.entries.last().map(|entry| entry.key.clone()).filter(|_| page.more);
    let old = page.entries.iter().filter_map(readable);
    let old = old.filter(|record| retain::is_over(record, keep_for, now));
    let over = stream::iter(old.collect::<Vec<_>>()).map(|record| without_logs(logs, record));
    let over = over.buffer_unordered(LOGS_AT_ONCE).filter_map(future::ready).collect().await;
    Ok(Step { over, last })
}

fn readable(entry: &Entry) -> Option<Record> {
    let record = storage::decode(entry);
    record.inspect_err(|error| tracing::warn!(%error, "left where it is")).ok()
}

/// The record of an execution whose logs are gone now; none: they could not be removed, and it stays for the next look.
async fn without_logs(logs: &LogHandle, record: Record) -> Option<Record> {
    match logs.remove_all(record.id).await {
        Ok(_) => Some(record),
        Err(error) => {
            tracing::warn!(execution = %record.id, %error, "its logs could not be removed: it is left for later");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_looked_for_old_ones_as_often_as_their_time_needs() {
        let every = |seconds| Retention::of(Duration::from_secs(seconds)).every;
        assert_eq!(every(0), Duration::from_millis(100));
        assert_eq!(every(3_600), Duration::from_mins(6));
        assert_eq!(every(30 * 86_400), Duration::from_mins(10));
    }
}
