//! Executions and logs, between the protocol and the actors.

use super::{
    Check,
    executors::labels,
    time::{self, wait},
};
use crate::{
    job_queue::{
        MOST_REQUEST_ID_BYTES, Shown,
        attempt::Outcome,
        record::{Afterwards, Earlier, Record, Spec, Step},
        rules::{Candidate, Nearness},
        terms::{Own, attempts_key, start_timeout_key, timeout_key},
    },
    log_store::{Chunk, LogInfo, Wanted},
    registry::{HIGHEST_PRIORITY, rules::MOST_ARGUMENTS},
};
use octavius_protocol::{
    MAX_TIME,
    id::ExecutionId,
    secret::HIDDEN,
    v1::{self, ExecutionState},
};
use std::{collections::BTreeMap, time::Duration};

/// A request id that can be kept.
pub(in crate::grpc) fn request_id(id: &str, check: &mut Check) -> Option<()> {
    check.at_most("request_id", id, MOST_REQUEST_ID_BYTES)
}

/// Arguments that some job could take; the registry judges them.
pub(in crate::grpc) fn arguments_of_some_job(
    arguments: &BTreeMap<String, String>,
    check: &mut Check,
) -> Option<()> {
    let count = arguments.len();
    check.demand(count <= MOST_ARGUMENTS, "arguments", || {
        format!(
            "are {count}, and no job takes more than {MOST_ARGUMENTS}: leave out those that are not the job's"
        )
    })
}

/// The longest that a call waits for an end.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Which execution somebody asks for, and how long its end may be waited for.
pub(in crate::grpc) fn awaited(
    request: &v1::GetExecutionRequest,
    check: &mut Check,
) -> Option<(ExecutionId, Duration)> {
    let id = check.id("id", &request.id);
    let wait = wait("wait", request.wait, LONGEST_WAIT, check);
    id.zip(wait)
}

/// An executor, and what stands between it and an execution.
pub(in crate::grpc) fn candidate(candidate: Candidate) -> v1::Candidate {
    let nearness = match candidate.nearness {
        Nearness::Holds => v1::Nearness::Holds,
        Nearness::Free => v1::Nearness::Free,
        Nearness::Full => v1::Nearness::Full,
        Nearness::Away => v1::Nearness::Away,
        Nearness::Unfit => v1::Nearness::Unfit,
    };
    v1::Candidate {
        executor: candidate.executor.into(),
        nearness: nearness.into(),
        words: candidate.words,
    }
}

/// An execution as it stands.
pub(in crate::grpc) fn execution(shown: Shown) -> v1::Execution {
    let Shown { record, spec, reason_code, reason } = shown;
    let over = record.attempt.outcome().is_some();
    let (terms, runs_as) = (terms(&record), record.runs_as());
    let note = record.ending.as_ref().map(|ending| ending.note.clone());
    let note = note.filter(|note| !note.is_empty());
    v1::Execution {
        state: state(Step::from(record.attempt.state)).into(),
        cancelling: record.attempt.cancelling && !over,
        exit_code: record.ending.as_ref().and_then(|ending| ending.exit_code),
        history: whole_history(&record),
        id: record.id.to_string(),
        job: record.job.into(),
        job_version: record.job_version,
        submitted_by: record.user,
        reason,
        reason_code,
        attempt: record.number.0,
        executor: record.executor.map(String::from).unwrap_or_default(),
        notes: record.notes.into_iter().chain(note).collect(),
        waits_for: record.waits_for,
        runs_as: runs_as.unwrap_or_default(),
        log_size: record.log_size,
        log_cut: record.log_cut,
        arguments: arguments(spec),
        attempts: record.earlier.into_iter().map(earlier).collect(),
        known_later: record.afterwards.map(|known| known_later(*known)),
        rerun_of: record.rerun_of.map(|id| id.to_string()).unwrap_or_default(),
        ..terms
    }
}

/// How often it is tried, how long it may take, and where: with who says so.
fn terms(record: &Record) -> v1::Execution {
    let executor = record.executor.as_ref();
    let (policy, tries_from) = record.terms.retry(&record.offer);
    let timeout = record.timeout();
    let start = record.terms.start_timeout(&record.offer);
    let several = policy.attempts > 1;
    v1::Execution {
        max_attempts: record.max_attempts(),
        attempts_from: if several { attempts_key(tries_from, executor) } else { String::new() },
        timeout: timeout.map(|limit| time::duration(limit.time)),
        timeout_from: timeout.map(|limit| timeout_key(limit.from, executor)).unwrap_or_default(),
        start_timeout: Some(time::duration(start.time)),
        start_timeout_from: start_timeout_key(start.from, executor),
        retry_at: record.retry_at.map(time::from_timestamp),
        on: record.terms.own.on.clone(),
        priority: Some(record.terms.priority().into()),
        team: record.terms.team.to_string(),
        concurrency_key: record.concurrency_key.as_deref().unwrap_or_default().to_owned(),
        ..v1::Execution::default()
    }
}

fn earlier(earlier: Earlier) -> v1::Attempt {
    v1::Attempt {
        number: earlier.number.0,
        state: state(Step::Ended(earlier.outcome)).into(),
        reason: earlier.reason,
        reason_code: earlier.code,
        exit_code: earlier.exit_code,
        executor: earlier.executor.map(String::from).unwrap_or_default(),
        log_size: earlier.log_size,
        log_cut: earlier.log_cut,
        history: history(&earlier.history),
        note: earlier.note,
        known_later: earlier.afterwards.map(|known| known_later(*known)),
    }
}

fn known_later(known: Afterwards) -> v1::KnownLater {
    let Afterwards { ending, at, log_is_over } = known;
    v1::KnownLater {
        state: state(Step::Ended(ending.outcome)).into(),
        reason: ending.reason,
        reason_code: ending.code,
        exit_code: ending.exit_code,
        note: ending.note,
        at: Some(time::from_timestamp(at)),
        log_is_coming: !log_is_over,
    }
}

/// What a request says besides the job and its arguments.
pub(in crate::grpc) fn own(
    timeout: Option<prost_types::Duration>,
    start_within: Option<prost_types::Duration>,
    on: BTreeMap<String, String>,
    priority: Option<u32>,
    check: &mut Check,
) -> Option<Own> {
    let timeout_ms = limit("timeout", timeout, check);
    let start_within_ms = limit("start_within", start_within, check);
    labels("on", &on, check)?;
    let priority = match priority {
        None => None,
        Some(number) => Some(priority_of(number, check)?),
    };
    Some(Own { timeout_ms: timeout_ms?, start_within_ms: start_within_ms?, on, priority })
}

fn priority_of(number: u32, check: &mut Check) -> Option<u8> {
    let priority = u8::try_from(number).ok().filter(|number| *number <= HIGHEST_PRIORITY);
    let wanted =
        || format!("is {number}: give a whole number from 0, served last, to {HIGHEST_PRIORITY}");
    priority.or_else(|| check.wrong("priority", wanted))
}

/// A limit of time in milliseconds, if there is one.
pub(super) fn limit(
    field: &str,
    span: Option<prost_types::Duration>,
    check: &mut Check,
) -> Option<Option<u64>> {
    let Some(span) = span else { return Some(None) };
    let span = time::signed(field, span, check)?;
    let longest = u64::try_from(MAX_TIME.as_millis()).unwrap_or(u64::MAX);
    let ms = u64::try_from(span.as_millis()).ok().filter(|ms| (1..=longest).contains(ms));
    let wanted = || format!("is {span:#}: give a time from 1 ms to 8760h, for example `10m`");
    ms.map(Some).or_else(|| check.wrong(field, wanted))
}

/// The steps of all attempts, in order.
fn whole_history(record: &Record) -> Vec<v1::StateChange> {
    let earlier = record.earlier.iter().flat_map(|earlier| history(&earlier.history));
    earlier.chain(history(&record.history)).collect()
}

fn history(steps: &[(Step, jiff::Timestamp)]) -> Vec<v1::StateChange> {
    let change = |(step, at): &(Step, jiff::Timestamp)| v1::StateChange {
        state: state(*step).into(),
        at: Some(time::from_timestamp(*at)),
    };
    steps.iter().map(change).collect()
}

/// Values by name; in the place of those that nobody may see stands that they are secret.
fn arguments(spec: Option<Spec>) -> BTreeMap<String, String> {
    let Some(Spec { arguments, hidden, .. }) = spec else { return BTreeMap::new() };
    let secret = hidden.arguments.into_iter().map(|name| (name, HIDDEN.to_owned()));
    arguments.into_iter().chain(secret).map(|(name, value)| (name.into(), value)).collect()
}

fn state(step: Step) -> ExecutionState {
    match step {
        Step::Pending => ExecutionState::Pending,
        Step::Leased => ExecutionState::Leased,
        Step::Starting => ExecutionState::Starting,
        Step::Running => ExecutionState::Running,
        Step::Ended(Outcome::Succeeded) => ExecutionState::Succeeded,
        Step::Ended(Outcome::Failed) => ExecutionState::Failed,
        Step::Ended(Outcome::Cancelled) => ExecutionState::Cancelled,
        Step::Ended(Outcome::TimedOut) => ExecutionState::TimedOut,
        Step::Ended(Outcome::Lost) => ExecutionState::Lost,
    }
}

/// The step that a state of the protocol is.
pub(super) fn step(state: i32) -> Option<Step> {
    match ExecutionState::try_from(state).ok()? {
        ExecutionState::Unspecified => None,
        ExecutionState::Pending => Some(Step::Pending),
        ExecutionState::Leased => Some(Step::Leased),
        ExecutionState::Starting => Some(Step::Starting),
        ExecutionState::Running => Some(Step::Running),
        ExecutionState::Succeeded => Some(Step::Ended(Outcome::Succeeded)),
        ExecutionState::Failed => Some(Step::Ended(Outcome::Failed)),
        ExecutionState::Cancelled => Some(Step::Ended(Outcome::Cancelled)),
        ExecutionState::TimedOut => Some(Step::Ended(Outcome::TimedOut)),
        ExecutionState::Lost => Some(Step::Ended(Outcome::Lost)),
    }
}

/// A final state that somebody reports.
pub(super) fn outcome(field: &str, reported: i32, check: &mut Check) -> Option<Outcome> {
    match step(reported) {
        Some(Step::Ended(outcome)) => Some(outcome),
        Some(Step::Pending | Step::Leased | Step::Starting | Step::Running) | None => check
            .wrong(field, || {
                format!("is {reported}, which is no final state: give one from 5 to 9")
            }),
    }
}

/// What of a log is to be read.
pub(in crate::grpc) fn wanted(request: &v1::ReadLogRequest, check: &mut Check) -> Option<Wanted> {
    let v1::ReadLogRequest { offset, tail_lines, .. } = *request;
    let since = request.since.map(|since| time::timestamp("since", Some(since), check));
    let since = match since {
        Some(since) => Some(since?),
        None => None,
    };
    Some(Wanted { offset, since, tail_lines })
}

/// The place where an answer begins whose reader did not say it.
pub(in crate::grpc) fn beginning(offset: u64) -> v1::ReadLogResponse {
    let chunk = v1::LogChunk { offset, durable_offset: offset, ..v1::LogChunk::default() };
    v1::ReadLogResponse { part: Some(v1::read_log_response::Part::Chunk(chunk)) }
}

/// What is left out of a log.
pub(in crate::grpc) fn gap(offset: u64, size: u64, reason: String) -> v1::ReadLogResponse {
    let gap = v1::LogGap { offset, size, reason };
    v1::ReadLogResponse { part: Some(v1::read_log_response::Part::Gap(gap)) }
}

/// A part of a log.
pub(in crate::grpc) fn chunk(
    offset: u64,
    durable_offset: u64,
    chunk: Chunk,
) -> v1::ReadLogResponse {
    let Chunk { observed_at, data } = chunk;
    let observed_at = Some(time::from_timestamp(observed_at));
    let chunk = v1::LogChunk { offset, data, durable_offset, observed_at };
    v1::ReadLogResponse { part: Some(v1::read_log_response::Part::Chunk(chunk)) }
}

/// The end of a log that is whole, or as whole as it will be.
pub(in crate::grpc) fn end(info: LogInfo) -> v1::ReadLogResponse {
    let LogInfo { size, cut, closed: _ } = info;
    end_part(v1::LogEnd { size, cut, unfinished: false })
}

/// The end of what there is at present.
pub(in crate::grpc) fn end_for_now(size: u64, unfinished: bool) -> v1::ReadLogResponse {
    end_part(v1::LogEnd { size, cut: String::new(), unfinished })
}

fn end_part(end: v1::LogEnd) -> v1::ReadLogResponse {
    v1::ReadLogResponse { part: Some(v1::read_log_response::Part::End(end)) }
}
