//! Running again what an execution ran: a request like any other, made from what was submitted then.

use super::{
    QueueError, QueueHandle, SubmitError, SubmitRequest,
    handle::Accepted,
    record::{Again, Spec},
    show::stored_spec,
};
use crate::{
    caller::Caller,
    registry::{PinError, Pinned, RegistryHandle},
};
use octavius_protocol::id::{ExecutionId, VariableName};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// A wish that what an execution ran be run again, as it came in. Its `Debug` shows no values.
#[derive(Clone, PartialEq, Eq)]
pub struct RerunRequest {
    /// The execution that is run again.
    pub id: ExecutionId,
    /// Whether in its version of the job, and not the current one.
    pub same_version: bool,
    /// Values by argument name, in the place of those of then.
    pub arguments: BTreeMap<String, String>,
    /// The caller's name for this wish; empty: none.
    pub request_id: String,
    /// Who asks.
    pub by: Caller,
}

impl fmt::Debug for RerunRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RerunRequest")
            .field("id", &self.id)
            .field("same_version", &self.same_version)
            .field("arguments", &self.arguments.keys())
            .field("request_id", &self.request_id)
            .field("user", &self.by.name())
            .finish()
    }
}

/// What a request to run a job knows of the execution that it runs again.
#[derive(Clone, PartialEq, Eq)]
pub struct Rerun {
    /// Which one it is, and what was said of it.
    pub(super) again: Again,
    /// The values that are given anew.
    pub(super) anew: BTreeMap<String, String>,
    /// What was submitted then; none: nothing is known of it any more.
    first: Option<First>,
}

#[derive(Clone, PartialEq, Eq)]
struct First {
    version: u64,
    /// The arguments that were given and whose values were not kept.
    not_kept: BTreeSet<VariableName>,
}

impl fmt::Debug for Rerun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rerun").field("again", &self.again).finish_non_exhaustive()
    }
}

impl QueueHandle {
    /// Accepts a wish that what an execution ran be run again. The answer comes after the new one is on disk.
    pub async fn rerun(&self, request: RerunRequest) -> Result<Accepted, SubmitError> {
        let first = stored_spec(&self.store, &self.vault, request.id).await?;
        match self.submit(of(request, first)).await {
            Err(SubmitError::NoFirst(why)) => {
                Err(SubmitError::NoFirst(self.why_unknown(why).await))
            }
            submitted => submitted,
        }
    }
}

/// The request to run again what was submitted first. Where that is not known any more, the same wish may have been met
/// before nevertheless.
fn of(request: RerunRequest, first: Option<Spec>) -> SubmitRequest {
    let RerunRequest { id, same_version, arguments: anew, request_id, by } = request;
    let again = Again { of: id, same_version, anew: anew.keys().cloned().collect() };
    let Some(first) = first else {
        let rerun = Some(Rerun { again, anew, first: None });
        let (job, own) = Default::default();
        return SubmitRequest {
            job,
            arguments: BTreeMap::new(),
            request_id,
            by,
            own,
            require_executor: false,
            rerun,
        };
    };
    let kept = first.given().map(|(name, value)| (name.to_string(), value.clone()));
    let arguments = kept.chain(anew.clone()).collect();
    let not_kept = first.hidden.arguments.difference(&first.defaulted).cloned().collect();
    let known = First { version: first.job_version, not_kept };
    let rerun = Some(Rerun { again, anew, first: Some(known) });
    SubmitRequest {
        job: first.job.into(),
        arguments,
        request_id,
        by,
        own: first.own,
        require_executor: false,
        rerun,
    }
}

impl Rerun {
    /// The job's version for what is run again, with the arguments checked against it.
    pub(super) async fn pin(
        self,
        registry: &RegistryHandle,
        job: String,
        arguments: BTreeMap<String, String>,
    ) -> Result<Pinned, SubmitError> {
        let Again { of, same_version, .. } = self.again;
        let Some(First { version, not_kept }) = self.first else {
            return Err(SubmitError::NoFirst(QueueError::Unknown(of)));
        };
        let version = if same_version { version } else { 0 };
        let pinned = registry.pin_again(job, version, arguments, not_kept).await;
        pinned.map_err(|error| match error {
            PinError::BadArguments { job, violations } if same_version => SubmitError::NotAgain {
                first: of,
                job: format!("version {version} of job `{job}`"),
                violations,
            },
            PinError::BadArguments { job, violations } => SubmitError::NotAgain {
                first: of,
                job: format!(
                    "job `{job}` as it is now: `--same-version` takes it as it was, and `octavius execute` other arguments"
                ),
                violations,
            },
            other => other.into(),
        })
    }
}
