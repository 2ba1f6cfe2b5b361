//! One reader of one log: what is there, and what is still to come.
//!
//! The stream holds everything that it needs: when its caller leaves, tonic drops it, and whatever it waits for and its
//! place among the readers go with it.

use super::{
    MOST_FOLLOWERS, Over, Peer, Services,
    convert::{checked, executions},
    door::Rpc,
    status::RequestError,
};
use crate::{
    caller::Caller,
    job_queue::{QueueError, QueueHandle, Shown, record::Record},
    log_store::{LogReader, Piece},
};
use futures::{StreamExt, stream, stream::BoxStream};
use octavius_protocol::{
    id::{AttemptId, AttemptNumber, JobName},
    v1,
};
use octavius_service::actor::Unanswered;
use std::time::Duration;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout_at},
};
use tonic::Status;

/// How often a reader that waits looks whether there is still somebody who could write.
const LOOK: Duration = Duration::from_secs(5);

/// For how long the end of a log that is followed waits for the end of its attempt, and how often it looks for that.
const SETTLED_WITHIN: Duration = Duration::from_secs(2);
const SETTLE: Duration = Duration::from_millis(10);

/// Begins to read.
pub(super) async fn open(
    services: &Services,
    request: v1::ReadLogRequest,
    caller: Caller,
    peer: Option<Peer>,
) -> Result<BoxStream<'static, Result<v1::ReadLogResponse, Status>>, Status> {
    let id = checked(|check| check.id("execution", &request.execution))?;
    let wanted = checked(|check| executions::wanted(&request, check))?;
    let place = services.parts.followers.clone().try_acquire_owned();
    let place = place.map_err(|_| RequestError::Followers { limit: MOST_FOLLOWERS })?;
    services.about_execution(Rpc::ReadLog, &caller, id).await?;
    let shown = services.parts.queue.get(id).await?;
    let newest = shown.record.number;
    let attempt = match request.attempt {
        0 => newest,
        number => AttemptNumber(number),
    };
    checked(|check| {
        check.demand(attempt <= newest, "attempt", || {
            format!("is {attempt}, and the newest of this execution is {newest}")
        })
    })?;
    let attempt = AttemptId { execution: id, attempt };
    let until = match request.follow {
        true => u64::MAX,
        // What comes later was not asked for; else who writes fast enough would never let it end.
        false => services.parts.logs.info(attempt).await?.size,
    };
    let had = had(&shown.record, attempt.attempt);
    let reader = services.parts.logs.open(attempt, wanted, had).await?;
    let (offset, reader) = (reader.offset(), reader.until(until));
    let begins = (request.since.is_some() || request.tail_lines.is_some())
        .then(|| executions::beginning(offset));
    let reading = Reading {
        reader,
        queue: services.parts.queue.clone(),
        ends: services.parts.over.clone(),
        services: services.clone(),
        caller,
        job: shown.record.job.clone(),
        attempt,
        follow: request.follow,
        until,
        over: is_over(&shown, attempt),
        look_at: next_look(),
        last_look: false,
        peer,
        _place: place,
    };
    let answers =
        stream::iter(begins.map(Ok)).chain(stream::unfold(Some(reading), |reading| async move {
            let mut reading = reading?;
            Some(match reading.next().await {
                Ok((answer, true)) => (Ok(answer), Some(reading)),
                Ok((answer, false)) => (Ok(answer), None),
                Err(status) => (Err(status), None),
            })
        }));
    Ok(answers.boxed())
}

/// How large the log of an attempt was, where that is known: the attempt is over.
fn had(record: &Record, attempt: AttemptNumber) -> u64 {
    if attempt == record.number {
        return record.attempt.outcome().map_or(0, |_| record.log_size);
    }
    let earlier = record.earlier.iter().find(|earlier| earlier.number == attempt);
    earlier.map_or(0, |earlier| earlier.log_size)
}

/// With jitter: who began together must not look together for ever.
fn next_look() -> Instant {
    Instant::now() + LOOK.mul_f64(rand::random_range(0.8..1.2))
}

/// Whether nobody writes this log any more.
fn is_over(shown: &Shown, attempt: AttemptId) -> bool {
    shown.record.attempt.outcome().is_some() || shown.record.number > attempt.attempt
}

struct Reading {
    reader: LogReader,
    queue: QueueHandle,
    ends: Over,
    services: Services,
    caller: Caller,
    job: JobName,
    attempt: AttemptId,
    follow: bool,
    /// Where it ends for who does not follow.
    until: u64,
    /// Whether nobody writes any more, as of the last look.
    over: bool,
    /// When it looks again.
    look_at: Instant,
    /// Whether the log was read up to its end since it was known to be over.
    last_look: bool,
    /// Whose answers wait to be written.
    peer: Option<Peer>,
    _place: OwnedSemaphorePermit,
}

impl Reading {
    /// The next answer, and whether others follow.
    async fn next(&mut self) -> Result<(v1::ReadLogResponse, bool), Status> {
        let ends = self.ends.clone();
        tokio::select! {
            biased;
            why = ends.comes() => Err(why),
            answer = self.answer() => answer,
        }
    }

    async fn answer(&mut self) -> Result<(v1::ReadLogResponse, bool), Status> {
        loop {
            let turn = match &self.peer {
                Some(peer) => peer.turn().await,
                None => None,
            };
            let piece = self.reader.next().await?;
            drop(turn);
            // What was taken away meanwhile ends it, also in the middle.
            self.services.still(Rpc::ReadLog, &self.caller, Some(&self.job))?;
            match piece {
                Piece::Bytes { offset, .. } | Piece::Gap { offset, .. } if offset >= self.until => {
                    return Ok((executions::end_for_now(self.until, true), false));
                }
                Piece::Gap { offset, size, reason } => {
                    return Ok((executions::gap(offset, size, reason), true));
                }
                Piece::Bytes { offset, durable, chunk } => {
                    return Ok((executions::chunk(offset, durable, chunk), true));
                }
                Piece::End(info) => {
                    self.settled().await;
                    return Ok((executions::end(info), false));
                }
                Piece::CaughtUp if !self.follow || self.last_look => {
                    let size = self.reader.offset();
                    return Ok((executions::end_for_now(size, !self.over), false));
                }
                // Bytes may have come just before it was over: it is read once more.
                Piece::CaughtUp if self.over => self.last_look = true,
                Piece::CaughtUp => self.wait().await?,
            }
        }
    }

    /// Waits a little until the attempt is over. Its log ends just before: who follows it and looks at the execution then
    /// would find it running else.
    async fn settled(&self) {
        let until = Instant::now() + SETTLED_WITHIN;
        while self.follow && !self.over && Instant::now() < until {
            match self.queue.get(self.attempt.execution).await {
                Ok(shown) if !is_over(&shown, self.attempt) => tokio::time::sleep(SETTLE).await,
                // What cannot be said now does not hold up what can.
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Waits for more bytes, or for the end of who could write them.
    async fn wait(&mut self) -> Result<(), Status> {
        if let Ok(more) = timeout_at(self.look_at, self.reader.more()).await {
            return Ok(more?);
        }
        match self.queue.get(self.attempt.execution).await {
            Ok(shown) => self.over = is_over(&shown, self.attempt),
            // Thousands of readers may look at once. What they read goes on, so that this one just looks again.
            Err(QueueError::Unanswered(Unanswered::Full { .. })) => {}
            Err(error) => return Err(error.into()),
        }
        self.look_at = next_look();
        Ok(())
    }
}
