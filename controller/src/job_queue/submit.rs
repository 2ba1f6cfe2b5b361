//! New executions, and the wish that one end.

use super::{
    Accepted, JobQueue, QueueError, Shown, SubmitError, SubmitRequest,
    record::{Change, Hidden, Record, Spec},
    rules::{CutWanted, Submission},
    show::{shown, stored_spec},
    storage,
    terms::Terms,
    waiting::over,
};
use crate::{
    audit::About,
    caller::Caller,
    registry::{OnLost, Pinned, RegistryHandle, Violation, quoted},
    secrets::SecretsHandle,
    store::{StoreHandle, keys},
    vault::Vault,
};
use actix::prelude::*;
use octavius_protocol::id::{ExecutionId, VariableName};
use std::{collections::BTreeMap, time::Duration};
use tokio::sync::watch;
use uuid::Uuid;

/// The most bytes of a request id.
pub const MOST_REQUEST_ID_BYTES: usize = 128;

/// Accepts one request to run a job. The answer comes after the execution is on disk.
#[derive(Debug, Message)]
#[rtype(result = "Result<Submitted, SubmitError>")]
pub(super) struct Submit(pub(super) SubmitRequest);

/// What came of a request.
#[derive(Debug)]
pub(super) enum Submitted {
    Accepted(Box<Accepted>),
    /// The same request is being accepted: ask again when this closes.
    InFlight(watch::Receiver<()>),
}

impl Handler<Submit> for JobQueue {
    type Result = ResponseActFuture<Self, Result<Submitted, SubmitError>>;

    fn handle(&mut self, Submit(request): Submit, _: &mut Self::Context) -> Self::Result {
        if request.request_id.len() > MOST_REQUEST_ID_BYTES {
            let description = format!(
                "it has {} bytes: give at most {MOST_REQUEST_ID_BYTES}, for example a UUID",
                request.request_id.len()
            );
            let violation = Violation { field: "request_id".to_owned(), description };
            return Box::pin(fut::err(SubmitError::Invalid(vec![violation])));
        }
        let wish = (request.by.name().to_owned(), request.request_id.clone());
        if !request.request_id.is_empty() {
            if let Some(first) = self.submitting.get(&wish) {
                return Box::pin(fut::ok(Submitted::InFlight(first.subscribe())));
            }
            self.submitting.insert(wish.clone(), watch::Sender::new(()));
        }
        let preparing = self.preparing.begin(&request.job);
        let store = self.parts.store.clone();
        let (registry, secrets) = (self.parts.registry.clone(), self.parts.secrets.clone());
        let prepared = async move {
            if let Some(first) = first_of(&store, secrets.vault(), &request).await? {
                return Ok(Prepared::Found(first, Box::new(request)));
            }
            new(&registry, &secrets, request).await
        };
        let decided = prepared.into_actor(self).then(|prepared, queue, _| queue.decide(prepared));
        Box::pin(decided.map(move |submitted, queue, _| {
            queue.submitting.remove(&wish);
            queue.preparing.end(preparing);
            submitted
        }))
    }
}

enum Prepared {
    Found(Box<(ExecutionId, Spec)>, Box<SubmitRequest>),
    /// The job, what is asked for, and the values of its secrets.
    New(Box<Pinned>, Box<SubmitRequest>, BTreeMap<VariableName, Uuid>),
}

/// Prepares what no execution stands for.
async fn new(
    registry: &RegistryHandle,
    secrets: &SecretsHandle,
    request: SubmitRequest,
) -> Result<Prepared, SubmitError> {
    let (job, arguments) = (request.job.clone(), request.arguments.clone());
    let pinned = match request.rerun.clone() {
        Some(rerun) => rerun.pin(registry, job, arguments).await?,
        None => registry.pin(job, 0, arguments).await?,
    };
    let values = secrets.pin(&pinned.job, &pinned.uid, &pinned.secrets).await;
    let values = values.map_err(SubmitError::Secrets)??;
    Ok(Prepared::New(Box::new(pinned), Box::new(request), values))
}

/// The execution that this request id stands for already.
async fn first_of(
    store: &StoreHandle,
    vault: &Vault,
    request: &SubmitRequest,
) -> Result<Option<Box<(ExecutionId, Spec)>>, SubmitError> {
    if request.request_id.is_empty() {
        return Ok(None);
    }
    let key = keys::request(request.by.name(), &request.request_id);
    // What is still being accepted is in `submitting`.
    let Some(value) = store.get_landed(&key).await.map_err(QueueError::from)? else {
        return Ok(None);
    };
    let first: storage::RequestRecord = storage::decode_value(&key, &value)
        .map_err(|unreadable| SubmitError::Store(unreadable.to_string()))?;
    // Without what was submitted the execution is gone, and was kept long enough.
    let Some(spec) = stored_spec(store, vault, first).await? else { return Ok(None) };
    match storage::same_content(&spec, request) {
        true => Ok(Some(Box::new((first, spec)))),
        false => {
            let request_id = request.request_id.clone();
            Err(SubmitError::OtherContent { request_id, first })
        }
    }
}

impl JobQueue {
    fn decide(
        &mut self,
        prepared: Result<Prepared, SubmitError>,
    ) -> ResponseActFuture<Self, Result<Submitted, SubmitError>> {
        let (pinned, request, secrets) = match prepared {
            Err(error) => return Box::pin(fut::err(error)),
            Ok(Prepared::Found(first, request)) => return self.found(*first, *request),
            Ok(Prepared::New(pinned, request, secrets)) => (*pinned, *request, secrets),
        };
        let mut other = other_labels(&pinned, &request);
        other.extend(priority_too_high(&pinned, &request));
        other.extend(values_for_others(&pinned, &request));
        if !other.is_empty() {
            return Box::pin(fut::err(SubmitError::Invalid(other)));
        }
        let by = request.by.clone();
        let submission = self.submission(pinned, request, secrets);
        let spec = submission.spec.clone();
        if let Some(violation) = too_large(&spec) {
            return Box::pin(fut::err(SubmitError::Invalid(vec![violation])));
        }
        let submitted = match self.view.submit(submission, self.now()) {
            Ok(submitted) => submitted,
            Err(refused) => return Box::pin(fut::err(refused.into())),
        };
        let record = submitted.record;
        let again = spec.again.as_ref().map(|again| format!("again what {} ran", again.of));
        let did = by.did(about(&record).and(again.unwrap_or_default()));
        let commit = self.commit_with(&submitted.changes, did);
        let replaced = self.commit_each(&submitted.replaced);
        let over = over(&submitted.replaced);
        let both = commit.then(|stored, _, _| replaced.map(|replaced, _, _| stored.and(replaced)));
        Box::pin(both.map(move |committed, queue, context| {
            committed?;
            for attempt in over {
                queue.close_log(attempt, context);
            }
            queue.wake_polls();
            let execution = Shown { spec: Some(spec), ..shown(&queue.view, &record) };
            Ok(Submitted::Accepted(Box::new(Accepted { execution, created: true })))
        }))
    }

    fn submission(
        &mut self,
        pinned: Pinned,
        request: SubmitRequest,
        secrets: BTreeMap<VariableName, Uuid>,
    ) -> Submission {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let terms = Terms {
            retry: pinned.retry,
            timeout_ms: pinned.timeout.map(ms),
            start_timeout_ms: pinned.start_timeout.map(ms),
            queue_timeout_ms: pinned.queue_timeout.map(ms),
            concurrency: pinned.concurrency,
            on_limit: pinned.on_limit,
            rerun_lost: pinned.on_lost == OnLost::Rerun,
            team: pinned.team,
            priority: pinned.priority,
            selector: pinned.executor_selector,
            own: request.own.clone(),
        };
        let hidden = |name: &VariableName| pinned.secret_arguments.contains(name);
        let (hidden, arguments): (BTreeMap<_, _>, _) =
            pinned.arguments.into_iter().partition(|(name, _)| hidden(name));
        let hidden = Hidden::new(secrets, hidden);
        Submission {
            id: self.next_id(),
            spec: Spec {
                job: pinned.job,
                job_uid: pinned.uid,
                job_version: pinned.version,
                user: request.by.name().to_owned(),
                image_name: pinned.image_name,
                command: pinned.command,
                arguments,
                hidden,
                defaulted: pinned.defaulted,
                timeout_ms: terms.timeout_ms,
                namespace: pinned.namespace,
                resources: pinned.resources,
                kubernetes: pinned.kubernetes,
                own: request.own,
                again: request.rerun.map(|rerun| rerun.again),
            },
            terms: self.terms.share(terms),
            concurrency_key: pinned.concurrency_key,
            require_executor: request.require_executor,
            request_id: Some(request.request_id).filter(|id| !id.is_empty()),
        }
    }

    /// Shows the execution that the request id stands for. One that was kept long enough, and was removed since its
    /// request id was looked up, stands for nothing any more: then the request is a new one.
    fn found(
        &self,
        (id, spec): (ExecutionId, Spec),
        request: SubmitRequest,
    ) -> ResponseActFuture<Self, Result<Submitted, SubmitError>> {
        let live = self.view.live(id).map(|record| shown(&self.view, record));
        let store = self.parts.store.clone();
        let (registry, secrets) = (self.parts.registry.clone(), self.parts.secrets.clone());
        let looked = async move {
            let shown = match live {
                Some(shown) => Ok(shown),
                None => super::show::stored(&store, id).await,
            };
            match shown {
                Ok(shown) => {
                    let execution = Shown { spec: Some(spec), ..shown };
                    Ok(Looked::Known(Box::new(Accepted { execution, created: false })))
                }
                Err(QueueError::Unknown(_)) => {
                    Ok(Looked::Gone(new(&registry, &secrets, request).await))
                }
                Err(other) => Err(SubmitError::from(other)),
            }
        };
        Box::pin(looked.into_actor(self).then(|looked, queue, _| match looked {
            Ok(Looked::Known(accepted)) => Box::pin(fut::ok(Submitted::Accepted(accepted))),
            Ok(Looked::Gone(prepared)) => queue.decide(prepared),
            Err(error) => Box::pin(fut::err(error)),
        }))
    }
}

fn about(record: &Record) -> About {
    About::job(&record.job).execution(record.id)
}

/// What was found where a request id led.
enum Looked {
    Known(Box<Accepted>),
    /// Nothing any more, and what the request is as a new one.
    Gone(Result<Prepared, SubmitError>),
}

/// The labels that a request wants to be others than the job does.
fn other_labels(pinned: &Pinned, request: &SubmitRequest) -> Vec<Violation> {
    let others = request.own.on.iter().filter_map(|(name, value)| {
        let wanted = pinned.executor_selector.get(name).filter(|wanted| *wanted != value)?;
        let description = format!(
            "wants {name} to be {}, and `executor_selector` of job `{}` wants {}: leave it out, or change the job",
            quoted(value),
            pinned.job,
            quoted(wanted)
        );
        Some(Violation { field: "on".to_owned(), description })
    });
    others.collect()
}

/// The values that are for groups to which whoever asks does not belong.
fn values_for_others(pinned: &Pinned, request: &SubmitRequest) -> Vec<Violation> {
    let others = pinned.for_groups.iter().filter(|(_, groups)| !request.by.is_of_any(groups));
    let others = others.map(|(name, groups)| {
        let value = pinned.arguments.get(name).map(|value| quoted(value)).unwrap_or_default();
        let groups = groups.iter().map(|group| quoted(group)).collect::<Vec<_>>().join(", ");
        let description =
            format!("is {value}, which is for {groups} alone, and you are in no such group");
        Violation { field: format!("arguments.{name}"), description }
    });
    others.collect()
}

/// What is wrong with the priority that a request wants.
fn priority_too_high(pinned: &Pinned, request: &SubmitRequest) -> Option<Violation> {
    let (wanted, most) = (request.own.priority?, pinned.max_priority);
    let description = format!(
        "is {wanted}, and executions of job `{}` have {most} at the most: give less, or raise `max_priority` in the job",
        pinned.job
    );
    (wanted > most).then(|| Violation { field: "priority".to_owned(), description })
}

/// The most bytes of what was submitted, as it is stored: a transaction of the store takes 1 MiB.
pub(crate) const STORED: usize = 900 << 10;

/// What is wrong with the size of what would be stored: sealed values take a third more there.
fn too_large(spec: &Spec) -> Option<Violation> {
    let rest = serde_json::to_vec(spec).map_or(usize::MAX, |stored| stored.len());
    let values = spec.arguments.iter().map(|(name, value)| name.as_str().len() + value.len() + 32);
    let stored = rest.saturating_add(values.sum::<usize>() / 3 * 4);
    let description = format!(
        "take {stored} bytes as they are stored, with the job's command and pod template: give at most {STORED}"
    );
    (stored > STORED).then(|| Violation { field: "arguments".to_owned(), description })
}

/// Takes a user's wish that an execution end. None: it is not live.
#[derive(Debug, Message)]
#[rtype(result = "Result<Option<Record>, QueueError>")]
pub(super) struct Cancel {
    pub(super) id: ExecutionId,
    pub(super) by: Caller,
    /// Whether nobody waits for the word of its holder.
    pub(super) force: bool,
}

impl Handler<Cancel> for JobQueue {
    type Result = ResponseActFuture<Self, Result<Option<Record>, QueueError>>;

    fn handle(&mut self, cancel: Cancel, _: &mut Self::Context) -> Self::Result {
        let Cancel { id, by, force } = cancel;
        let cancelled = match force {
            false => self.view.cancel(id, by.name(), self.now()),
            true => self.view.force(id, by.name(), self.now()),
        };
        let Some(cancelled) = cancelled else { return Box::pin(fut::ok(None)) };
        let over = cancelled.changes.iter().any(|change| matches!(change, Change::Done(_)));
        let did = (!cancelled.changes.is_empty())
            .then(|| by.did(about(&cancelled.record).and(if force { "by force" } else { "" })));
        let commit = self.commit_with(&cancelled.changes, did.flatten());
        Box::pin(commit.then(move |committed, queue, context| -> Self::Result {
            if let Err(error) = committed {
                return Box::pin(fut::err(error));
            }
            queue.wake_attend(cancelled.wake);
            queue.wake_polls(); // its place may be free
            if over {
                queue.close_log(cancelled.record.attempt_id(), context);
            }
            match cancelled.cut {
                // Its place is free already. Where the log cannot be closed now, the next tick tries again.
                Some(CutWanted { lease, why, .. }) => {
                    Box::pin(queue.cut(lease, why).map(|_, _, _| Ok(Some(cancelled.record))))
                }
                None => Box::pin(fut::ok(Some(cancelled.record))),
            }
        }))
    }
}
