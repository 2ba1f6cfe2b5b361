//! What is not over of one job.

use super::View;
use octavius_protocol::id::{ExecutionId, JobName};

impl View {
    /// The executions of a job's versions from `first_version` on that wait for an executor, and how many an executor
    /// has. Earlier versions belong to another job, which had the name before.
    pub fn of_job(&self, job: &JobName, first_version: u64) -> (Vec<ExecutionId>, usize) {
        let of_job = self
            .live
            .values()
            .map(|live| &live.record)
            .filter(|record| record.job == *job && record.job_version >= first_version);
        let (held, waiting): (Vec<_>, Vec<_>) =
            of_job.partition(|record| record.attempt.held().is_some());
        (waiting.into_iter().map(|record| record.id).collect(), held.len())
    }
}
