//! The last word of an executor that comes back about what was given up as lost: it is kept, and the rest of the log with
//! it. Of an execution that is final it goes into history, which is read and written here in one piece.

use super::{
    JobQueue, QueueError,
    record::{Change, Ending, Record},
    report::Answer,
    rules::{Heard, LeaseName, Report, Verdict},
    show::stored_record,
};
use crate::log_store::{LogError, LogHandle, LogInfo, Sealed};
use actix::prelude::*;
use octavius_protocol::id::{AttemptId, ExecutorId, Session};
use octavius_service::actor::Unanswered;

/// How the log stands of what was given up as lost.
enum Looked {
    /// It is wanted from this offset on.
    Missing(u64),
    /// It has come to its end; none: it is not kept any more.
    Over(Option<LogInfo>),
}

async fn looked(logs: LogHandle, attempt: AttemptId, ending: Ending) -> Result<Looked, QueueError> {
    let Some((size, crc)) = ending.log else { return Ok(Looked::Over(None)) };
    match logs.complete(attempt, size, crc, ending.log_cut).await {
        Ok(Sealed::Missing { next }) => Ok(Looked::Missing(next)),
        // What is another log than its executor's stays as it was cut.
        Ok(Sealed::Whole | Sealed::Different { .. }) => {
            Ok(Looked::Over(Some(logs.info(attempt).await?)))
        }
        Err(LogError::Expired { .. }) => Ok(Looked::Over(None)),
        Err(error) => Err(error.into()),
    }
}

impl JobQueue {
    /// Looks at the log that belongs to the last word about a lost attempt of a live execution.
    pub(super) fn seal_afterwards(
        &self,
        session: Session,
        lease: LeaseName,
        ending: Ending,
    ) -> Answer<Verdict> {
        let LeaseName { attempt, .. } = lease;
        let logs = self.parts.logs.clone();
        let Some(executor) = self.view.executor_of(session).cloned() else {
            return Box::pin(fut::err(QueueError::Session(session)));
        };
        let newest = self.view.live(attempt.execution).map(Record::attempt_id);
        if newest == Some(attempt) {
            // It is about to be cut as it is, and takes meanwhile what comes.
            let next = async move { Ok(Verdict::LogIncomplete(logs.info(attempt).await?.size)) };
            return Box::pin(next.into_actor(self));
        }
        let looked = looked(logs, attempt, ending).into_actor(self);
        Box::pin(looked.then(move |looked, queue, _| -> Answer<Verdict> {
            let log = match queue.log_that_is_over(looked) {
                Ok(log) => log,
                Err(answer) => return Box::pin(fut::ready(answer)),
            };
            let log = log.as_ref().map(|log| (log.size, log.cut.as_str()));
            match queue.view.log_over_afterwards(lease, &executor, log) {
                Some(changes) => queue.recorded(&changes),
                // It is final since: history is asked with its next report.
                None => Box::pin(fut::err(QueueError::Busy(attempt.execution))),
            }
        }))
    }

    /// What to answer to a report about what is not live. The last word about what was lost goes into history.
    pub(super) fn ask_history(
        &mut self,
        session: Session,
        lease: LeaseName,
        report: Report,
    ) -> Answer<Verdict> {
        let Some(executor) = self.view.executor_of(session).cloned() else {
            return Box::pin(fut::err(QueueError::Session(session)));
        };
        let id = lease.attempt.execution;
        let may_write = matches!(report, Report::Ended(_));
        // What was read must be what is written again: nobody else writes or removes it meanwhile.
        if may_write && (self.looks.removes(id) || !self.rewritten.insert(id)) {
            return Box::pin(fut::err(QueueError::Busy(id)));
        }
        let (store, removed) = (self.parts.store.clone(), self.looks.newest_removed());
        let record = async move { stored_record(&store, id).await };
        let verdict = record.into_actor(self).then(move |record, queue, _| match record {
            Ok(Some(record)) => queue.heard_of_history(record, executor, lease, &report),
            Ok(None) => {
                let verdict = Verdict::without_record(id, &report, removed);
                Box::pin(fut::ready(verdict.ok_or(QueueError::NotKnown(id)))) as Answer<Verdict>
            }
            Err(error) => Box::pin(fut::err(error)),
        });
        Box::pin(verdict.map(move |verdict, queue, _| {
            if may_write {
                queue.rewritten.remove(&id);
            }
            verdict
        }))
    }

    fn heard_of_history(
        &mut self,
        mut record: Record,
        executor: ExecutorId,
        lease: LeaseName,
        report: &Report,
    ) -> Answer<Verdict> {
        let (ending, news) = match record.hear_afterwards(lease, &executor, report, self.now()) {
            None => return Box::pin(fut::ok(Verdict::from_history(&record, lease, report))),
            Some(Heard::Verdict(verdict)) => return Box::pin(fut::ok(verdict)),
            Some(Heard::Log { ending, news }) => (ending, news),
        };
        if news {
            tracing::info!(attempt = %lease.attempt, %executor, outcome = ending.outcome.as_str(), "known later of what was lost");
        }
        let change = news.then(|| Change::Afterwards(Box::new(record.clone())));
        let kept = self.commit(change.as_slice());
        let logs = self.parts.logs.clone();
        let looked = kept.then(move |kept, queue, _| {
            let looked = async move {
                kept?;
                looked(logs, lease.attempt, ending).await
            };
            looked.into_actor(queue)
        });
        Box::pin(looked.then(move |looked, queue, _| -> Answer<Verdict> {
            let log = match queue.log_that_is_over(looked) {
                Ok(log) => log,
                Err(answer) => return Box::pin(fut::ready(answer)),
            };
            let log = log.as_ref().map(|log| (log.size, log.cut.as_str()));
            let news = record.log_over_afterwards(lease, &executor, log);
            let change = news.then(|| Change::Afterwards(Box::new(record)));
            queue.recorded(change.as_slice())
        }))
    }

    /// The end of a log that was looked at; none: it is not kept any more. An error is what to answer instead: it has not
    /// come to its end, or the store takes nothing more, and it is said again.
    fn log_that_is_over(
        &self,
        looked: Result<Looked, QueueError>,
    ) -> Result<Option<LogInfo>, Result<Verdict, QueueError>> {
        match looked {
            Ok(Looked::Over(log)) => match self.parts.store.full() {
                Some(why) => Err(Err(Unanswered::Shut { why }.into())),
                None => Ok(log),
            },
            Ok(Looked::Missing(next)) => Err(Ok(Verdict::LogIncomplete(next))),
            Err(error) => Err(Err(error)),
        }
    }

    fn recorded(&self, changes: &[Change]) -> Answer<Verdict> {
        let commit = self.commit(changes);
        Box::pin(commit.map(|committed, _, _| committed.map(|()| Verdict::Recorded)))
    }
}
