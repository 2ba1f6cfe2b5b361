//! Which entries of the audit somebody asks to see.

use super::{Check, listing::MOST_USER_BYTES, time};
use crate::audit::Wanted;
use jiff::Timestamp;
use octavius_protocol::{
    id::{ExecutionId, JobName},
    v1,
};

/// Reads which entries are wanted.
pub(in crate::grpc) fn wanted(request: &v1::ListAuditRequest, check: &mut Check) -> Option<Wanted> {
    let v1::ListAuditRequest { by, job, execution, since, until, refused, .. } = request;
    let right = check.at_most("by", by, MOST_USER_BYTES);
    let right = match job.as_str() {
        "" => right,
        job => check.id::<JobName>("job", job).map(drop).and(right),
    };
    let right = match execution.as_str() {
        "" => right,
        execution => check.id::<ExecutionId>("execution", execution).map(drop).and(right),
    };
    let mut moment = |field: &str, at: Option<prost_types::Timestamp>| match at {
        None => Some(None),
        Some(_) => time::timestamp(field, at, check).map(Some),
    };
    let (since, until): (Option<Option<Timestamp>>, Option<Option<Timestamp>>) =
        (moment("since", *since), moment("until", *until));
    right?;
    let (since, until) = (since?, until?);
    if let (Some(since), Some(until)) = (since, until) {
        check.demand(since < until, "until", || {
            "is not later than `since`: nothing can lie between".to_owned()
        })?;
    }
    Some(Wanted {
        by: by.clone(),
        job: job.clone(),
        execution: execution.clone(),
        since,
        until,
        refused: *refused,
    })
}
