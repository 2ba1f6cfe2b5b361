//! Logs that were kept long enough: they are looked for now and then, the oldest executions first.

use super::{LogError, LogStore, index, remove::Remove};
use crate::{
    store::{Commit, StoreHandle, Writer, keys},
    timekeeper::{Timekeeper, Told, submitted_at},
};
use actix::Addr;
use jiff::Timestamp;
use octavius_protocol::id::{AttemptId, ExecutionId};
use std::time::Duration;

/// The most logs that one sweep looks at. Those that it removes are not in the way of the next one.
const AT_MOST: usize = 10_000;
/// What a sweep waits between two logs, so that it is never what the store is busy with.
const PAUSE: Duration = Duration::from_millis(1);

/// Removes now, and again after each `every`, for ever, the logs that were closed more than `keep_for` ago.
pub(super) async fn now_and_then(
    store: StoreHandle,
    logs: Addr<LogStore>,
    keep_for: Duration,
    every: Duration,
) {
    let mut ages = None;
    loop {
        let swept = match how_late(&store, ages.take()).await {
            Ok((now, known)) => {
                ages = Some(known);
                sweep(&store, &logs, keep_for, now).await
            }
            Err(error) => Err(error),
        };
        match swept {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "removed logs that were kept long enough"),
            Err(error) => {
                tracing::warn!(%error, "logs that were kept long enough were left for later");
            }
        }
        tokio::time::sleep(every.mul_f64(rand::random_range(0.9..1.1))).await;
    }
}

/// Says how late it is, and stores that.
#[derive(Debug)]
struct Ages {
    timekeeper: Timekeeper,
    writer: Writer,
}

/// How late it is. What is not known, or could not be stored, is loaded the next time.
async fn how_late(store: &StoreHandle, known: Option<Ages>) -> Result<(Timestamp, Ages), LogError> {
    let mut ages = match known {
        Some(known) => known,
        None => Ages {
            writer: store.enlist("LogStore (ages)").await?,
            timekeeper: Timekeeper::load(store, keys::TIME_FOR_LOGS).await?,
        },
    };
    let Told { time, write } = ages.timekeeper.look();
    if let Some(write) = write.filter(|_| store.full().is_none())
        && let Commit::Refused(why) | Commit::Unknown(why) = ages.writer.commit(vec![write]).await
    {
        return Err(LogError::Away(why));
    }
    Ok((time, ages))
}

/// Removes the logs that were closed more than `keep_for` before `now`, and says how many.
async fn sweep(
    store: &StoreHandle,
    logs: &Addr<LogStore>,
    keep_for: Duration,
    now: Timestamp,
) -> Result<usize, LogError> {
    let end = keys::prefix_end(keys::LOGS);
    let (mut start, mut removed) = (keys::LOGS.to_owned(), 0);
    for _ in 0..AT_MOST {
        // To delete from the index takes room, too.
        if store.full().is_some() {
            break;
        }
        let Some(attempt) = index::first_log(store, start, end.clone()).await? else { break };
        start = keys::prefix_end(&keys::log(attempt));
        // An id says when its execution was submitted: no log behind this one was closed earlier than that.
        if !is_over(submitted(attempt.execution), keep_for, now) {
            break;
        }
        if is_expired(store, attempt, keep_for, now).await? {
            match logs.send(Remove { attempt }).await {
                Ok(Ok(())) => {
                    metrics::counter!("octavius_logs_expired_total").increment(1);
                    removed += 1;
                }
                Ok(Err(error)) => return Err(error),
                Err(error) => return Err(LogError::Away(error.to_string())),
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(removed)
}

/// Whether a log was closed long enough ago, or is what is left of one that was being removed.
async fn is_expired(
    store: &StoreHandle,
    attempt: AttemptId,
    keep_for: Duration,
    now: Timestamp,
) -> Result<bool, LogError> {
    let closed = index::closed_at(store, attempt).await?;
    Ok(closed.is_some_and(|closed| {
        // What an earlier version closed does not say when.
        is_over(closed.max(submitted(attempt.execution)), keep_for, now)
    }))
}

fn is_over(since: Timestamp, keep_for: Duration, now: Timestamp) -> bool {
    Duration::try_from(now.duration_since(since)).is_ok_and(|age| age >= keep_for)
}

/// When an execution was submitted, as its id says.
fn submitted(execution: ExecutionId) -> Timestamp {
    submitted_at(execution).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_when_its_execution_was_submitted() {
        let at: Timestamp = "2026-11-28T06:40:33.123Z".parse().unwrap();
        let mut bytes = [0xff; 16];
        bytes[..6].copy_from_slice(&at.as_millisecond().to_be_bytes()[2..]);
        assert_eq!(submitted(ExecutionId::from_bytes(bytes)), at);
    }
}
