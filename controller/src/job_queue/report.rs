//! What a holder says of an attempt, and the log that ends it.

use super::{
    JobQueue, QueueError,
    record::Ending,
    rules::{LeaseName, Report, Reported, Verdict},
};
use crate::log_store::{LogError, Sealed};
use actix::prelude::*;
use octavius_protocol::id::Session;
use octavius_service::actor::Unanswered;

/// What a handler answers when the store has confirmed.
pub(super) type Answer<T> = ResponseActFuture<JobQueue, Result<T, QueueError>>;

impl From<LogError> for QueueError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Unanswered(unanswered) => Self::Unanswered(unanswered),
            other => Self::Store(other.to_string()),
        }
    }
}

/// What a holder says of an attempt.
#[derive(Debug, Message)]
#[rtype(result = "Result<Verdict, QueueError>")]
pub(super) struct TakeReport {
    pub(super) session: Session,
    pub(super) lease: LeaseName,
    pub(super) report: Report,
}

impl Handler<TakeReport> for JobQueue {
    type Result = Answer<Verdict>;

    fn handle(&mut self, taken: TakeReport, _: &mut Self::Context) -> Self::Result {
        let TakeReport { session, lease, report } = taken;
        let reported = match self.view.report(session, lease, report.clone(), self.now()) {
            Ok(reported) => reported,
            Err(unknown) => return Box::pin(fut::err(unknown.into())),
        };
        match reported {
            Reported::Verdict(changes, verdict) => {
                let commit = self.commit(&changes);
                Box::pin(commit.map(|committed, _, _| committed.map(|()| verdict)))
            }
            Reported::NotKnown => Box::pin(fut::err(QueueError::NotKnown(lease.attempt.execution))),
            Reported::Seal(changes, ending) => {
                self.wake_polls(); // its place is free
                let commit = self.commit(&changes);
                Box::pin(commit.then(move |committed, queue, _| match committed {
                    Ok(()) => queue.seal(lease, ending),
                    Err(error) => Box::pin(fut::err(error)),
                }))
            }
            Reported::Afterwards(changes, ending) => {
                let commit = self.commit(&changes);
                Box::pin(commit.then(move |committed, queue, _| match committed {
                    Ok(()) => queue.seal_afterwards(session, lease, ending),
                    Err(error) => Box::pin(fut::err(error)),
                }))
            }
            Reported::AskHistory => self.ask_history(session, lease, report),
        }
    }
}

impl JobQueue {
    /// Asks for the whole log; with it the execution is over.
    fn seal(&self, lease: LeaseName, ending: Ending) -> Answer<Verdict> {
        let Some((size, crc)) = ending.log else {
            return Box::pin(fut::ok(Verdict::Superseded(ending.reason)));
        };
        let (logs, cut) = (self.parts.logs.clone(), ending.log_cut.clone());
        let sealed = async move {
            let sealed = logs.seal(lease.attempt, size, crc, cut).await?;
            // What readers are told is what the log says of itself: it may have been cut before.
            Ok((sealed, logs.info(lease.attempt).await?))
        };
        Box::pin(sealed.into_actor(self).then(move |sealed, queue, _| -> Answer<Verdict> {
            match sealed {
                Ok((Sealed::Whole, log)) => queue.finish(lease, log.size, &log.cut),
                Ok((Sealed::Missing { next }, _)) => {
                    Box::pin(fut::ok(Verdict::LogIncomplete(next)))
                }
                // Who could not hear how much arrived says so.
                Ok((Sealed::Different { .. }, _)) if !ending.log_cut.is_empty() => {
                    queue.cut(lease, ending.log_cut)
                }
                Ok((Sealed::Different { crc: here }, _)) => {
                    let why = format!(
                        "the log here is not the executor's: its checksum is {here:016x}, not {crc:016x}"
                    );
                    queue.cut(lease, why)
                }
                Err(error) => Box::pin(fut::err(LogError::into(error))),
            }
        }))
    }

    /// Closes a log as it is; with that the execution is over.
    pub(super) fn cut(&self, lease: LeaseName, why: String) -> Answer<Verdict> {
        let logs = self.parts.logs.clone();
        let cut = async move { logs.cut(lease.attempt, why).await };
        Box::pin(cut.into_actor(self).then(move |cut, queue, _| -> Answer<Verdict> {
            match cut {
                Ok(log) => queue.finish(lease, log.size, &log.cut),
                // The next tick, or the holder's next report, tries again.
                Err(error) => Box::pin(fut::err(error.into())),
            }
        }))
    }

    fn finish(&mut self, lease: LeaseName, log_size: u64, log_cut: &str) -> Answer<Verdict> {
        if let Some(why) = self.parts.store.full() {
            return Box::pin(fut::err(Unanswered::Shut { why }.into())); // its holder says it again
        }
        let change = self.view.sealed(lease, log_size, log_cut, self.now());
        let commit = self.commit(change.as_slice());
        Box::pin(commit.map(|committed, queue, _| {
            queue.wake_polls();
            committed.map(|()| Verdict::Recorded)
        }))
    }
}
