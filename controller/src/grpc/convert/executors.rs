//! The executors' protocol, between its messages and the actors.

use super::{
    Check,
    executions::{limit, outcome},
    jobs::resources,
    time::{self, wait},
};
use crate::{
    job_queue::{
        Leased,
        record::Ending,
        rules::{Holding, LeaseName, Order, OrderKind, Report, RunnerKind, Verdict},
        terms::ExecutorTerms,
    },
    liveness::{ExecutorState, Registration, Seen},
    log_store::{Appended, Chunk, LogInfo},
    registry::{
        quoted,
        rules::running::{MOST_LABEL_BYTES, MOST_LABELS, is_label},
    },
};
use bytes::Bytes;
use octavius_protocol::{
    MAX_APPEND, MAX_CURSOR, MAX_HELD,
    id::{AttemptId, AttemptNumber, Epoch, Session},
    v1::{self, ReportVerdict, report_request::Event},
};
use octavius_service::text::cut;
use prost::Message;
use std::{collections::BTreeMap, time::Duration};
use uuid::Uuid;

pub(in crate::grpc) use super::time::duration;

pub(crate) const MOST_VERSION_BYTES: usize = 128;
pub(crate) const MOST_IDENTITY_BYTES: usize = 256;
pub(crate) const MOST_CODE_BYTES: usize = 64;
pub(crate) const MOST_REASON_BYTES: usize = 4_096;
pub(crate) const MOST_WAITS_FOR_BYTES: usize = 1_024;
pub(crate) const MOST_UNSEEN_BYTES: usize = 1_024;
/// The most bytes of grants in an answer. Those that are left out are repeated in the next one.
pub(crate) const MOST_GRANT_BYTES: usize = 3 << 20;
/// How long after a terminate a kill follows.
pub(crate) const GRACE: Duration = Duration::from_secs(10);

/// What an executor says of itself.
pub(in crate::grpc) fn registration(
    given: v1::RegisterRequest,
    check: &mut Check,
) -> Option<Registration> {
    let executor = check.id("executor", &given.executor);
    let place = uuid("place", &given.place, check);
    let instance = uuid("instance", &given.instance, check);
    let runner = match given.runner.as_str() {
        "process" => Some(RunnerKind::Process),
        "kubernetes" => Some(RunnerKind::Kubernetes),
        other => check.wrong("runner", || {
            format!("is {}, and there are `process` and `kubernetes`", quoted(other))
        }),
    };
    let capacity = given.capacity as usize;
    check.demand((1..=MAX_HELD).contains(&capacity), "capacity", || {
        format!("is {capacity}: give the number of attempts at once, from 1 to {MAX_HELD}")
    });
    check.at_most("version", &given.version, MOST_VERSION_BYTES);
    labels("labels", &given.labels, check);
    let timeout_ms = limit("default_timeout", given.default_timeout, check);
    let start_timeout_ms = limit("default_start_timeout", given.default_start_timeout, check);
    let offer = ExecutorTerms {
        job_retries: given.job_retries,
        timeout_ms: timeout_ms?,
        start_timeout_ms: start_timeout_ms?,
    };
    Some(Registration {
        executor: executor?,
        place: place?,
        instance: instance?,
        version: given.version,
        protocol_level: given.protocol_level,
        runner: runner?,
        labels: given.labels,
        capacity,
        offer,
        installation: given.installation.chars().take(80).collect(),
    })
}

/// Labels that an executor could have.
pub(super) fn labels(
    field: &str,
    given: &BTreeMap<String, String>,
    check: &mut Check,
) -> Option<()> {
    let few = check.demand(given.len() <= MOST_LABELS, field, || {
        format!("are {}, and an executor has at most {MOST_LABELS}", given.len())
    });
    let each = given.iter().take(MOST_LABELS).map(|(name, value)| {
        check.demand(is_label(name, value), field, || {
            let name = quoted(name);
            format!("have {name}, of which name or value is no label: a name has 1 to {MOST_LABEL_BYTES} bytes, a value up to {MOST_LABEL_BYTES}")
        })
    });
    let each: Vec<_> = each.collect();
    few.and(each.into_iter().collect())
}

fn uuid(field: &str, text: &str, check: &mut Check) -> Option<Uuid> {
    let wanted = || format!("is {}, which is no UUID", quoted(text));
    Uuid::parse_str(text).ok().or_else(|| check.wrong(field, wanted))
}

/// A sign of life.
#[derive(Debug)]
pub(in crate::grpc) struct Attend {
    pub(in crate::grpc) session: Session,
    pub(in crate::grpc) held: Vec<LeaseName>,
    /// Those of which it lacks the secrets.
    pub(in crate::grpc) lacking: Vec<LeaseName>,
    pub(in crate::grpc) wait: Duration,
    pub(in crate::grpc) unseen: String,
}

/// Reads a sign of life; it waits `longest` at the most.
pub(in crate::grpc) fn attend(
    given: v1::AttendRequest,
    longest: Duration,
    check: &mut Check,
) -> Option<Attend> {
    let session = session(given.session, check);
    let lacks_secrets: Vec<bool> = given.held.iter().map(|one| one.lacks_secrets).collect();
    let held = held(given.held, check);
    let wait = wait("wait", given.wait, longest, check);
    let unseen = cut(given.unseen, MOST_UNSEEN_BYTES);
    let held = held?;
    let lacking = held.iter().zip(lacks_secrets).filter(|(_, lacks)| *lacks);
    let lacking = lacking.map(|(lease, _)| *lease).collect();
    Some(Attend { session: session?, held, lacking, wait: wait?, unseen })
}

/// A wish for work.
#[derive(Debug)]
pub(in crate::grpc) struct Poll {
    pub(in crate::grpc) session: Session,
    pub(in crate::grpc) free: usize,
    pub(in crate::grpc) held: Vec<LeaseName>,
    pub(in crate::grpc) wait: Duration,
}

/// Reads a wish for work; it waits `longest` at the most.
pub(in crate::grpc) fn poll(
    given: v1::PollRequest,
    longest: Duration,
    check: &mut Check,
) -> Option<Poll> {
    let session = session(given.session, check);
    let free = given.free as usize;
    let free_right = check.demand(free > 0, "free", || "is 0: ask when there is room".to_owned());
    let held = held(given.held, check);
    let wait = wait("wait", given.wait, longest, check);
    free_right?;
    Some(Poll { session: session?, free, held: held?, wait: wait? })
}

/// The session of whoever calls.
fn session(given: u64, check: &mut Check) -> Option<Session> {
    check.demand(given > 0, "session", || {
        "is missing: register, and give the session of the answer".to_owned()
    })?;
    Some(Session(given))
}

fn held(given: Vec<v1::HeldAttempt>, check: &mut Check) -> Option<Vec<LeaseName>> {
    let count = given.len();
    check.demand(count <= MAX_HELD, "held", || {
        format!("has {count} attempts, and an executor holds at most {MAX_HELD}")
    })?;
    // Each is looked at, so that all faults come at once.
    let read: Vec<_> = given
        .into_iter()
        .enumerate()
        .map(|(index, one)| lease_name(&format!("held[{index}].lease"), one.lease, check))
        .collect();
    read.into_iter().collect()
}

fn lease_name(field: &str, given: Option<v1::LeaseName>, check: &mut Check) -> Option<LeaseName> {
    let v1::LeaseName { execution, attempt, epoch } = check.given(field, given)?;
    let execution = check.id(&format!("{field}.execution"), &execution);
    let from_one = || "is 0, and counts from 1".to_owned();
    let attempt_right = check.demand(attempt > 0, &format!("{field}.attempt"), from_one);
    let epoch_right = check.demand(epoch > 0, &format!("{field}.epoch"), from_one);
    attempt_right?;
    epoch_right?;
    let attempt = AttemptId { execution: execution?, attempt: AttemptNumber(attempt) };
    Some(LeaseName { attempt, epoch: Epoch(epoch) })
}

fn from_lease_name(lease: LeaseName) -> v1::LeaseName {
    v1::LeaseName {
        execution: lease.attempt.execution.to_string(),
        attempt: lease.attempt.attempt.0,
        epoch: lease.epoch.0,
    }
}

/// An order.
pub(in crate::grpc) fn order(order: Order) -> v1::Order {
    let kind = match order.kind {
        OrderKind::Stop => v1::OrderKind::Stop,
        OrderKind::Release => v1::OrderKind::Release,
    };
    let lease = Some(from_lease_name(order.lease));
    v1::Order { lease, kind: kind.into(), reason: order.reason.to_owned() }
}

/// As many grants as an answer holds: at least one if there is any.
pub(in crate::grpc) fn leases(grants: Vec<Leased>, installation: &str) -> Vec<v1::Lease> {
    let mut size = 0;
    let mut fits = |lease: &v1::Lease| {
        let first = size == 0;
        size += lease.encoded_len();
        first || size <= MOST_GRANT_BYTES
    };
    let lease = |leased| lease(leased, installation);
    grants.into_iter().map(lease).take_while(|lease| fits(lease)).collect()
}

fn lease(leased: Leased, installation: &str) -> v1::Lease {
    let Leased { grant, spec, secrets } = leased;
    v1::Lease {
        name: Some(from_lease_name(grant.lease)),
        job: spec.job.into(),
        user: spec.user,
        image_name: spec.image_name,
        command: spec.command,
        arguments: spec.arguments.into_iter().map(|(name, value)| (name.into(), value)).collect(),
        timeout: grant.timeout.map(duration),
        start_timeout: grant.start_timeout.map(duration),
        grace: Some(duration(GRACE)),
        identity: grant.identity.unwrap_or_default(),
        secrets: secrets.expose().map(|(name, value)| (name.to_owned(), value.into())).collect(),
        namespace: spec.namespace.map(String::from).unwrap_or_default(),
        resources: spec.resources.map(resources),
        kubernetes: spec.kubernetes,
        installation: installation.to_owned(),
        stop_if_unheard: grant.stop_if_unheard.map(duration),
    }
}

/// A holder's word.
#[derive(Debug)]
pub(in crate::grpc) struct Told {
    pub(in crate::grpc) session: Session,
    pub(in crate::grpc) lease: LeaseName,
    pub(in crate::grpc) report: Report,
}

/// Reads a holder's word.
pub(in crate::grpc) fn told(given: v1::ReportRequest, check: &mut Check) -> Option<Told> {
    let session = session(given.session, check);
    let lease = lease_name("lease", given.lease, check);
    let report = match check.given("event", given.event)? {
        Event::Prepared(v1::Prepared { identity }) => {
            let right = (1..=MOST_IDENTITY_BYTES).contains(&identity.len());
            check.demand(right, "prepared.identity", || {
                format!("has {} bytes: give 1 to {MOST_IDENTITY_BYTES}", identity.len())
            })?;
            Report::Prepared(identity)
        }
        Event::Starting(v1::Starting { reason }) => {
            Report::Starting(cut(reason, MOST_WAITS_FOR_BYTES))
        }
        Event::Running(v1::Running { unseen }) if unseen.is_empty() => Report::Running,
        Event::Running(v1::Running { unseen }) => Report::Unseen(cut(unseen, MOST_WAITS_FOR_BYTES)),
        Event::Ended(ended) => Report::Ended(ending(ended, check)?),
    };
    Some(Told { session: session?, lease: lease?, report })
}

fn ending(given: v1::Ended, check: &mut Check) -> Option<Ending> {
    let outcome = outcome("ended.state", given.state, check);
    // However much is said of it: an end that is refused would be said again and again.
    Some(Ending {
        outcome: outcome?,
        code: cut(given.reason_code, MOST_CODE_BYTES),
        reason: cut(given.reason, MOST_REASON_BYTES),
        exit_code: given.exit_code,
        log: Some((given.log_size, given.log_crc)),
        log_cut: cut(given.log_cut, MOST_REASON_BYTES),
        note: cut(given.note, MOST_REASON_BYTES),
    })
}

/// What a holder's word came to.
pub(in crate::grpc) fn verdict(verdict: Verdict, term: Option<v1::Term>) -> v1::ReportResponse {
    let answer = |verdict: ReportVerdict| v1::ReportResponse {
        term,
        verdict: verdict.into(),
        ..v1::ReportResponse::default()
    };
    match verdict {
        Verdict::Recorded => answer(ReportVerdict::Recorded),
        Verdict::LogIncomplete(log_offset) => {
            v1::ReportResponse { log_offset, ..answer(ReportVerdict::LogIncomplete) }
        }
        Verdict::Superseded(reason) => {
            v1::ReportResponse { reason, ..answer(ReportVerdict::Superseded) }
        }
    }
}

/// Bytes for a log.
#[derive(Debug)]
pub(in crate::grpc) struct Append {
    pub(in crate::grpc) session: Session,
    pub(in crate::grpc) lease: LeaseName,
    pub(in crate::grpc) offset: u64,
    pub(in crate::grpc) chunks: Vec<Chunk>,
    pub(in crate::grpc) cursor: Bytes,
}

/// Reads bytes for a log.
pub(in crate::grpc) fn append(given: v1::AppendRequest, check: &mut Check) -> Option<Append> {
    let session = session(given.session, check);
    let lease = lease_name("lease", given.lease, check);
    let size: usize = given.chunks.iter().map(|chunk| chunk.data.len()).sum();
    check.demand(size <= MAX_APPEND, "chunks", || {
        format!("have {size} bytes, and one append takes at most {MAX_APPEND}: send the rest in the next")
    });
    check.demand(given.offset.checked_add(size as u64).is_some(), "offset", || {
        format!("is {}, and no log is that large", given.offset)
    });
    let cursor = given.cursor.len();
    check.demand(cursor <= MAX_CURSOR, "cursor", || {
        format!("has {cursor} bytes, and at most {MAX_CURSOR} are kept")
    });
    let chunks: Vec<_> = given
        .chunks
        .into_iter()
        .enumerate()
        .map(|(index, v1::AppendChunk { observed_at, data })| {
            let field = format!("chunks[{index}].observed_at");
            let observed_at = time::timestamp(&field, observed_at, check)?;
            Some(Chunk { observed_at, data }.of_its_own())
        })
        .collect();
    Some(Append {
        session: session?,
        lease: lease?,
        offset: given.offset,
        chunks: chunks.into_iter().collect::<Option<_>>()?,
        cursor: given.cursor.into(),
    })
}

/// How far the controller has a log.
pub(in crate::grpc) fn appended(appended: Appended, term: Option<v1::Term>) -> v1::AppendResponse {
    v1::AppendResponse {
        term,
        next_offset: appended.next,
        durable_offset: appended.durable,
        next_crc: appended.next_crc,
        next_cursor: appended.next_cursor.into(),
        closed: appended.closed,
    }
}

/// The answer to who does not hold the attempt any more: nothing is taken from it.
pub(in crate::grpc) fn no_longer_held(
    info: &LogInfo,
    term: Option<v1::Term>,
) -> v1::AppendResponse {
    v1::AppendResponse {
        term,
        next_offset: info.size,
        durable_offset: info.size,
        closed: true,
        ..v1::AppendResponse::default()
    }
}

/// An executor as it is shown.
pub(in crate::grpc) fn executor(seen: Seen, held: Holding) -> v1::Executor {
    let Seen { record, state, silent_for, unseen } = seen;
    let state = match state {
        ExecutorState::Ready => v1::ExecutorState::Ready,
        ExecutorState::Expired => v1::ExecutorState::Expired,
        ExecutorState::Lost => v1::ExecutorState::Lost,
        ExecutorState::Unknown => v1::ExecutorState::Unknown,
    };
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    v1::Executor {
        id: record.id.into(),
        state: state.into(),
        runner: record.runner.as_str().to_owned(),
        version: record.version,
        capacity: count(record.capacity),
        held: count(held.attempts),
        ended: count(held.ended),
        labels: record.labels,
        silent_for: silent_for.map(duration),
        registered_at: Some(time::from_timestamp(record.registered_at)),
        unseen,
        drained_at: record.drained.as_ref().map(|drained| time::from_timestamp(drained.at)),
        drained_by: record.drained.map(|drained| drained.by).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests;
